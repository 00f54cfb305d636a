//! Subscriptions that push, from the log to somebody's endpoint: what arrives, in which order, and what becomes of it when
//! definitions change, secrets are replaced, or the server ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quipu_server::Server;

use crate::consumers::without_log;
use crate::platform::{Platform, allowing, copy_as_killed, definition, eventually, position, signed_by};
use crate::receiver::{Received, Receiver, Reply, answer};

/// The first arrivals of each event, by subject.
fn order(received: &[Received]) -> BTreeMap<String, Vec<u64>> {
    let mut seen = BTreeSet::new();
    let mut order: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for one in received.iter().filter(|one| seen.insert(position(one))) {
        order.entry(one.header("ce-subject").to_owned()).or_default().push(position(one));
    }
    order
}

fn is_in_order(received: &[Received]) -> bool {
    order(received).values().all(|positions| positions.is_sorted())
}

async fn next(receiver: &mut Receiver, count: usize) -> Vec<Received> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        all.push(receiver.next().await);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_events_arrive_once_signed_and_in_order_per_key() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(204).await);
    let secret = platform.push("billing", &receiver.url(), "").await;
    platform.publish((0..100).map(|n| format!("s{}", n % 10)));
    platform.publish((0..100).map(|n| format!("s{}", n % 7)));
    let received = next(&mut receiver, 200).await;
    platform.acknowledged("billing", 200).await;
    let positions: BTreeSet<u64> = received.iter().map(position).collect();
    assert_eq!(positions, (1..=200).collect());
    assert!(is_in_order(&received));
    for one in &received {
        assert_eq!(signed_by(one, &[&secret]), (vec![true], 1));
        assert_eq!(without_log(one.header("webhook-id")), format!("billing/{}", position(one)));
        assert_eq!((one.header("quipu-subscription"), one.header("quipu-attempt")), ("billing", "1"));
    }
    let info = platform.info("billing");
    assert_eq!((info.counts.handed_out, info.counts.failed, info.dead_letters), (200, 0, 0));
    assert!(receiver.connections() > 1, "keys do not wait for each other");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_of_a_key_is_on_its_way_and_other_keys_go_on() {
    let silence = Reply::Silence;
    let (platform, mut receiver) = (Platform::start().await, Receiver::start(vec![silence]).await);
    platform.push("s", &receiver.url(), "").await;
    platform.publish(["a", "a", "b", "a", "c"].map(str::to_owned));
    let mut received = next(&mut receiver, 3).await;
    received.sort_by_key(position);
    assert_eq!(received.iter().map(position).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(platform.info("s").counts.handed_out, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_signs_beside_the_one_before_for_a_day() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(200).await);
    let old = platform.push("s", &receiver.url(), "").await;
    platform.publish(["a".to_owned()]);
    assert_eq!(signed_by(&receiver.next().await, &[&old]), (vec![true], 1));
    platform.acknowledged("s", 1).await;
    let mut sent = 1;
    let new = platform.rotate("s").await;
    for (wait_ms, expected) in
        [(0, (vec![true, true], 2)), (86_399_000, (vec![true, true], 2)), (1_000, (vec![true, false], 1))]
    {
        platform.clock.wait_ms(wait_ms);
        platform.publish(["a".to_owned()]);
        assert_eq!(signed_by(&receiver.next().await, &[&new, &old]), expected);
        // Time must not go on while it is on its way.
        sent += 1;
        platform.acknowledged("s", sent).await;
    }
    let listed = platform.host.client().await.get("/v1/subscriptions/s/secrets").await;
    let text = r#"{"name":"s","secrets":[{"id":2,"created":"2026-01-31T09:30:00.000Z","ageseconds":86400}]}"#;
    assert_eq!((listed.status, listed.text()), (200, text));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_nothing_is_sent_and_it_is_said() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(200).await);
    platform.tenant().create_subscription("s", definition(&receiver.url(), "")).unwrap();
    platform.publish(["a".to_owned()]);
    let found = eventually(async || Some(platform.endpoint("s").await).filter(|found| found["endpoint"].is_string()));
    let sentence = found.await["sentence"].as_str().unwrap().to_owned();
    assert!(sentence.contains("nothing is sent unsigned"), "{sentence}");
    assert_eq!(receiver.connections(), 0);
    let secret = platform.rotate("s").await;
    assert_eq!(signed_by(&receiver.next().await, &[&secret]), (vec![true], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_changes_is_followed_at_once() {
    let platform = Platform::start().await;
    let (mut first, mut second) = (Receiver::answering(200).await, Receiver::answering(200).await);
    platform.push("s", &first.url(), "").await;
    platform.publish(["a".to_owned()]);
    assert_eq!(position(&first.next().await), 1);
    platform.acknowledged("s", 1).await;
    platform.tenant().update_subscription("s", definition(&second.url(), "")).unwrap();
    platform.publish(["a".to_owned()]);
    assert_eq!(position(&second.next().await), 2);
    platform.acknowledged("s", 2).await;
    platform.tenant().pause_subscription("s", true).unwrap();
    platform.publish(["a".to_owned()]);
    let found = eventually(async || Some(platform.endpoint("s").await).filter(|found| found["endpoint"].is_null()));
    assert_eq!(found.await["sentence"], "It is paused; resume it.");
    assert_eq!(platform.info("s").counts.handed_out, 2);
    platform.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(position(&second.next().await), 3);
    platform.tenant().delete_subscription("s").unwrap();
    let answer = platform.host.client().await.get("/v1/subscriptions/s/endpoint").await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("subscription-not-found")));
    // Another one of the same name is another one.
    platform.push("s", &first.url(), "").await;
    assert_eq!(position(&first.next().await), 1);
}

/// Deleting wakes whoever pushes by the old definition, and by then the name may be another subscription's.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_made_again_is_never_pushed_to_the_endpoint_of_the_one_before() {
    let platform = Platform::start().await;
    let mut receivers = [Receiver::answering(200).await, Receiver::answering(200).await];
    platform.publish(["a".to_owned()]);
    for i in 0..60 {
        let receiver = &mut receivers[i % 2];
        platform.tenant().create_subscription("s", definition(&receiver.url(), "")).unwrap();
        if i == 0 {
            platform.rotate("s").await;
        }
        assert_eq!(position(&receiver.next().await), 1, "subscription {i}");
        platform.tenant().delete_subscription("s").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_goes_on_where_it_was() {
    // The 51st is answered with "later", which stops all that were not sent yet.
    let later = Reply::Bytes(answer(503, "retry-after: 3600\r\n", ""));
    let mut replies = vec![Reply::Bytes(answer(200, "", "")); 50];
    replies.extend([later, Reply::Bytes(answer(200, "", ""))]);
    let (platform, mut receiver) = (Platform::start().await, Receiver::start(replies).await);
    let secret = platform.push("s", &receiver.url(), "").await;
    platform.publish((0..100).map(|n| format!("s{}", n % 10)));
    platform.circuit_is("s", "open").await;
    let killed = Arc::new(copy_as_killed(platform.folder.path()));
    let clock = Arc::clone(&platform.clock);
    platform.stop().await;
    let before = receiver.waiting();
    clock.wait_ms(3_601_000);
    let again = Platform::start_in(killed, clock, allowing()).await;
    eventually(async || {
        let info = again.info("s");
        (info.scan == 100 && info.summary == quipu_domain::delivery::Summary::default()).then_some(())
    })
    .await;
    assert!((51..100).contains(&before), "{before}");
    assert!(receiver.waiting() <= 100 + before, "at most what was not written down is sent again");
    let mut received = Vec::new();
    while order(&received).values().map(Vec::len).sum::<usize>() < 100 {
        received.push(receiver.next().await);
    }
    assert!(is_in_order(&received));
    assert!(received.iter().all(|one| signed_by(one, &[&secret]).0 == [true]));
    assert_eq!(again.info("s").dead_letters, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_when_the_server_ends_is_waited_for_and_the_rest_is_sent_after_it() {
    let slow = Reply::Drip(answer(200, "", ""));
    let (platform, mut receiver) = (Platform::start().await, Receiver::start(vec![slow]).await);
    platform.push("s", &receiver.url(), r#","maxinflight":1"#).await;
    platform.publish(["a", "b"].map(str::to_owned));
    assert_eq!(position(&receiver.next().await), 1);
    let tenant = Arc::clone(platform.tenant());
    let (folder, clock) = platform.stop().await;
    let info = tenant.subscription("s").unwrap();
    assert_eq!((info.counts.acknowledged, info.counts.failed, info.summary.in_flight), (1, 0, 0));
    drop(tenant);
    let again = Platform::start_in(folder, clock, allowing()).await;
    assert_eq!(position(&receiver.next().await), 2);
    again.acknowledged("s", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_not_lost_to_a_deadline_that_is_shorter_than_the_endpoint_may_take() {
    let slow = Reply::Drip(answer(200, "", ""));
    let (platform, mut receiver) = (Platform::start().await, Receiver::start(vec![slow]).await);
    platform.push("s", &receiver.url(), r#","ackdeadlinems":1000"#).await;
    platform.publish(["a".to_owned()]);
    receiver.next().await;
    platform.clock.wait_ms(10_000);
    platform.acknowledged("s", 1).await;
    assert_eq!(platform.info("s").counts.failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_called_unless_configuration_allows_them() {
    let mut receiver = Receiver::answering(200).await;
    let platform = Platform::start_with(Server::default()).await;
    // As one that was made while the configuration allowed it.
    platform.tenant().create_subscription("s", definition(&receiver.url(), "")).unwrap();
    platform.rotate("s").await;
    platform.push("named", &receiver.url().replace("127.0.0.1", "localhost"), r#","retry":{"maxattempts":1}"#).await;
    platform.publish(["a".to_owned()]);
    let sentence = eventually(async || {
        let found = platform.endpoint("s").await["sentence"].as_str().unwrap().to_owned();
        Some(found).filter(|sentence| sentence.contains("expected a public address"))
    });
    assert!(!sentence.await.contains("hunter2"));
    // Where a name leads is seen when it is called.
    eventually(async || (platform.info("named").dead_letters == 1).then_some(())).await;
    assert_eq!((receiver.connections(), platform.info("s").counts.handed_out), (0, 0));
    let (folder, clock) = platform.stop().await;
    let allowed = Platform::start_in(folder, clock, allowing()).await;
    assert_eq!(position(&receiver.next().await), 1);
    allowed.acknowledged("s", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_get_no_answer_are_what_a_subscription_waits_for() {
    let (platform, receiver) = (Platform::start().await, Receiver::start(vec![Reply::Silence]).await);
    platform.publish((0..100).map(|n| n.to_string()));
    let explain = async |name: &str| {
        let mut client = platform.host.client().await;
        client.get(&format!("/v1/subscriptions/{name}/explain")).await.json()
    };
    platform.push("s", &receiver.url(), r#","ordering":"none""#).await;
    let found = eventually(async || {
        let found = explain("s").await;
        (found["reason"] == "waiting-for-acks" && found["count"] == 32).then_some(found)
    });
    let found = found.await;
    assert_eq!(found["deliveries"].as_array().unwrap().len(), 10);
    let sentence = found["sentence"].as_str().unwrap();
    assert!(sentence.starts_with("Waiting for answers to 32 deliveries, the oldest of position 1,"), "{found}");
}
