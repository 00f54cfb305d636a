//! Endpoints that fail, ask to be left alone, are gone or want less: what is tried again and when, and what is left to
//! others meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quipu_domain::Subscription;
use quipu_domain::delivery::{CircuitState, Reason};
use quipu_engine::DeadLetterFilter;
use quipu_server::pusher::{NotMade, Pushers};
use quipu_server::webhook::Secret;

use crate::host::within;
use crate::platform::{Hands, Platform, definition, engine, eventually, position, publish, signed_by};
use crate::receiver::{Receiver, Reply, answer};

fn replies(statuses: &[u16]) -> Vec<Reply> {
    statuses.iter().map(|status| Reply::Bytes(answer(*status, "", ""))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_is_left_alone_and_one_probe_decides() {
    let receiver = Receiver::start(replies(&[500, 500, 500, 500, 500, 500, 200])).await;
    let platform = Platform::start().await;
    let members = r#","ordering":"none","maxinflight":1,"retry":{"maxattempts":3,"backoff":{"delaysms":[1000]}}"#;
    platform.push("s", &receiver.url(), members).await;
    platform.publish((0..20).map(|n| n.to_string()));
    let found = platform.circuit_is("s", "open").await;
    assert_eq!(found["until"], "2026-01-31T09:30:05.000Z");
    let sentence = format!(
        "The circuit of http://{} is open: it failed, and is tried again at 2026-01-31T09:30:05.000Z.",
        receiver.address
    );
    assert_eq!(found["sentence"], sentence);
    // The probe fails: twice as long.
    platform.clock.wait_ms(5_000);
    let again = eventually(async || {
        let found = platform.endpoint("s").await;
        (found["until"] == "2026-01-31T09:30:15.000Z").then_some(found)
    });
    assert_eq!(again.await["circuit"], "open");
    eventually(async || (platform.info("s").counts.failed == 6).then_some(())).await;
    // The next one does not: everything goes.
    platform.clock.wait_ms(10_000);
    platform.acknowledged("s", 20).await;
    assert_eq!(platform.endpoint("s").await["circuit"], "closed");
    let mut receiver = receiver;
    let mut attempts = Vec::new();
    for _ in 0..26 {
        let received = receiver.next().await;
        attempts.push((position(&received), received.header("quipu-attempt").to_owned()));
    }
    assert_eq!(receiver.waiting(), 0, "six failures and twenty deliveries");
    let first: BTreeSet<u64> = attempts.iter().filter(|(_, attempt)| attempt == "1").map(|(at, _)| *at).collect();
    assert_eq!(first, (1..=20).collect(), "what was not sent was no attempt");
    assert!(attempts.iter().all(|(_, attempt)| attempt != "4"), "{attempts:?}");
    assert_eq!(platform.info("s").dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_gets_no_answer_shows_that_it_is_on_its_way() {
    let mut script = replies(&[500, 500, 500, 500, 500]);
    script.push(Reply::Silence);
    let platform = Platform::start().await;
    let (receiver, mut other) = (Receiver::start(script).await, Receiver::answering(200).await);
    platform.push("s", &receiver.url(), r#","ordering":"none","maxinflight":1"#).await;
    platform.push("neighbour", &receiver.url().replace("hook", "elsewhere"), "").await;
    platform.push("other", &other.url(), "").await;
    platform.publish((0..20).map(|n| n.to_string()));
    platform.circuit_is("s", "open").await;
    assert_eq!(platform.circuit_is("neighbour", "open").await["circuit"], "open", "they share the endpoint");
    for _ in 0..20 {
        other.next().await;
    }
    platform.clock.wait_ms(6_000);
    let found = platform.circuit_is("s", "probing").await;
    assert!(found["sentence"].as_str().unwrap().contains("is probing"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_says_when_is_called_then() {
    let later = Reply::Bytes(answer(503, "retry-after: 60\r\n", ""));
    let mut script = vec![later];
    script.extend(replies(&[200]));
    let (platform, mut receiver) = (Platform::start().await, Receiver::start(script).await);
    platform.push("s", &receiver.url(), r#","retry":{"maxattempts":2,"backoff":{"delaysms":[1]}}"#).await;
    platform.publish(["a", "a"].map(str::to_owned));
    let first = receiver.next().await;
    let found = platform.circuit_is("s", "open").await;
    // And as long as the answer took.
    assert!(found["until"].as_str().unwrap().starts_with("2026-01-31T09:31:00."), "{found}");
    // The circuit opens before the engine is told, and only from then on it waits.
    eventually(async || (platform.info("s").counts.failed == 1).then_some(())).await;
    platform.clock.wait_ms(59_000);
    platform.publish(["b".to_owned()]);
    assert_eq!(platform.endpoint("s").await["circuit"], "open");
    platform.clock.wait_ms(2_000);
    platform.acknowledged("s", 3).await;
    let at = |received: &crate::receiver::Received| received.header("webhook-timestamp").parse::<u64>().unwrap();
    for _ in 0..3 {
        assert_eq!(at(&receiver.next().await), at(&first) + 61);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_pauses_the_subscription_and_says_why() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::start(replies(&[410, 200])).await);
    platform.push("s", &receiver.url(), "").await;
    platform.publish(["a", "a"].map(str::to_owned));
    assert_eq!(position(&receiver.next().await), 1);
    eventually(async || platform.info("s").definition.paused.then_some(())).await;
    let reason = platform.info("s").definition.paused_reason.clone().unwrap();
    let expected = format!("http://{} answered 410, it wants no more webhooks", receiver.address);
    assert!(reason.starts_with(&expected) && !reason.contains("hunter2"), "{reason}");
    let found = platform.endpoint("s").await;
    assert_eq!(found["sentence"], format!("It is paused: {reason}."));
    let letters = eventually(async || {
        let letters = platform.tenant().dead_letters(&DeadLetterFilter::default(), 0, 10);
        (!letters.is_empty()).then_some(letters)
    });
    let letters = letters.await;
    assert_eq!((letters.len(), letters[0].position, letters[0].reason), (1, 1, Reason::EndpointGone));
    platform.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(position(&receiver.next().await), 2);
    platform.acknowledged("s", 1).await;
    assert_eq!(platform.info("s").definition.paused_reason, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_hang_leave_places_to_others_and_one_alone_has_all_that_its_subscription_may() {
    let platform = Platform::start().await;
    platform.publish((0..60).map(|n| n.to_string()));
    let mut hanging = Vec::new();
    let waiting = |hanging: &[Receiver]| hanging.iter().map(Receiver::waiting).sum::<usize>();
    for n in 0..16 {
        let receiver = Receiver::start(vec![Reply::Silence]).await;
        let text = serde_json::to_string(&definition(&receiver.url(), r#","ordering":"none""#)).unwrap();
        let patient = serde_json::from_str(&text.replace(r#""timeoutms":15000"#, r#""timeoutms":60000"#)).unwrap();
        platform.tenant().create_subscription(&format!("hanging{n}"), patient).unwrap();
        platform.rotate(&format!("hanging{n}")).await;
        hanging.push(receiver);
        if n == 0 {
            eventually(async || (waiting(&hanging) == 32).then_some(())).await;
        }
    }
    eventually(async || (waiting(&hanging) >= 400).then_some(())).await;
    let mut healthy = Receiver::answering(200).await;
    platform.push("healthy", &healthy.url(), "").await;
    platform.acknowledged("healthy", 60).await;
    for _ in 0..60 {
        healthy.next().await;
    }
    assert!(waiting(&hanging) < 480, "{}", waiting(&hanging));
    assert!(healthy.connections() > 1, "it has more than one place");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_gets_no_more_than_its_rate_however_many_push_there() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(200).await);
    let limited = definition(&receiver.url(), "");
    let limited =
        serde_json::to_string(&limited).unwrap().replace(r#""url""#, r#""ratelimit":{"persecond":2,"burst":4},"url""#);
    let limited: Subscription = serde_json::from_str(&limited).unwrap();
    platform.tenant().create_subscription("s", limited).unwrap();
    platform.rotate("s").await;
    eventually(async || Some(platform.endpoint("s").await).filter(|found| found["endpoint"].is_string())).await;
    platform.push("free", &receiver.url(), "").await;
    platform.publish((0..6).map(|n| n.to_string()));
    let mut taken = 4;
    let handed = || ["s", "free"].map(|name| platform.info(name).counts.acknowledged).iter().sum::<u64>();
    for _ in 0..4 {
        eventually(async || (handed() == taken).then_some(())).await;
        let found =
            eventually(async || Some(platform.endpoint("free").await).filter(|found| found["until"].is_string()));
        assert!(found.await["sentence"].as_str().unwrap().starts_with("The rate limit of http://127.0.0.1:"));
        platform.clock.wait_ms(1_000);
        taken += 2;
    }
    eventually(async || (handed() == 12).then_some(())).await;
    for _ in 0..12 {
        assert_eq!(receiver.next().await.header("quipu-attempt"), "1", "what was held back was no attempt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_pushes_is_made_with_its_secret_which_nobody_else_sees() {
    let (folder, mut receiver) = (tempfile::tempdir().unwrap(), Receiver::answering(200).await);
    let engine = engine(folder.path(), &Hands::new());
    let tenant = engine.tenant("test").unwrap();
    let (url, members) = (receiver.url(), "");
    let pushers = Pushers::open(Arc::clone(&tenant), vec!["127.0.0.1".parse().unwrap()]).unwrap();
    let pushing = tokio::spawn(Arc::clone(&pushers).run(std::future::pending(), Duration::from_secs(1)));
    let of = |url: &str, secret: Option<&str>| {
        let mut text = serde_json::to_value(definition(url, members)).unwrap();
        secret.into_iter().for_each(|secret| text["push"]["secret"] = secret.into());
        serde_json::from_value::<Subscription>(text).unwrap()
    };
    for (definition, code) in [
        (of("ftp://a.example/", None), "invalid-url"),
        (of("http://10.0.0.7/", None), "address-refused"),
        (of(&url, Some("whsec_c2hvcnQ=")), "invalid-secret"),
    ] {
        for not_made in
            [pushers.create("x", definition.clone()).unwrap_err(), pushers.change("x", definition).unwrap_err()]
        {
            let problem = not_made.problem("/push");
            assert_eq!(problem.code, code);
            assert!(!problem.detail.contains("c2hvcnQ"), "{}", problem.detail);
        }
    }
    assert!(matches!(pushers.secrets("x"), Err(NotMade::NotDone(_))), "nothing was made");
    let created = pushers.create("made", of(&url, None)).unwrap();
    let secret = created.secret.unwrap();
    assert!(created.is_new && pushers.create("made", of(&url, None)).unwrap().secret.is_none());
    let given = Secret::generate([7; 32]);
    assert!(pushers.create("given", of(&url, Some(&given.expose()))).unwrap().secret.is_none());
    assert!(pushers.change("given", of(&url, Some(&secret.expose()))).unwrap().is_none());
    assert_eq!(pushers.secrets("given").unwrap().len(), 2);
    publish(&tenant, ["a".to_owned()]);
    for _ in 0..2 {
        let received = receiver.next().await;
        let expected = match received.header("quipu-subscription") {
            "made" => (vec![true, false], 1),
            _ => (vec![true, true], 2),
        };
        assert_eq!(signed_by(&received, &[&secret, &given]), expected);
    }
    assert_eq!(pushers.circuit(&url), Some(CircuitState::Closed));
    pushers.delete("given").unwrap();
    assert!(pushers.create("given", of(&url, None)).unwrap().is_new);
    assert_eq!(pushers.secrets("given").unwrap().len(), 1, "the secrets of one that was deleted are gone");
    pushing.abort();
    assert!(within(pushing).await.unwrap_err().is_cancelled());
}
