//! Why a subscription is not moving, over HTTP: every reason there is, in a sentence and in data.

use std::sync::Arc;

use quipu_domain::Event;
use quipu_engine::{Clock, Options};
use quipu_store::DiskStorage;
use serde_json::{Value, json};

use crate::client::Client;
use crate::host::Host;
use crate::platform::{Hands, Platform, allowing, eventually};
use crate::receiver::{Receiver, Reply, answer};

/// A platform and somebody who uses it; each subscription here has the events of the type that is its name.
struct Desk {
    platform: Platform,
    client: Client,
}

impl Desk {
    /// Two open dead letters hold a subscription back.
    async fn new() -> Self {
        let (folder, clock) = (Arc::new(tempfile::tempdir().unwrap()), Hands::new());
        let storage = Arc::new(DiskStorage::new(folder.path()));
        let options = Options { dead_letters_max: 2, ..Options::default() };
        let host = Host::start_as(storage, Arc::clone(&clock) as Arc<dyn Clock>, allowing(), options).await;
        let client = host.client().await;
        Self { platform: Platform { host, clock, folder }, client }
    }

    fn subscribe(&self, name: &str, mut members: Value) {
        members["pattern"] = json!({"type":[name]});
        let definition = serde_json::from_value(members).unwrap();
        assert!(self.platform.tenant().create_subscription(name, definition).unwrap());
    }

    /// One that pushes; `push` has the members of its endpoint.
    async fn push(&self, name: &str, mut members: Value, receiver: &Receiver, mut push: Value) {
        push["url"] = receiver.url().into();
        members["push"] = push;
        self.subscribe(name, members);
        self.platform.rotate(name).await;
    }

    fn publish(&self, name: &str, count: u64) {
        let tenant = self.platform.tenant();
        let from = tenant.position();
        let events = (from..from + count).map(|n| {
            let event = Event::builder(n.to_string(), "/test", name).subject(format!("s{n}")).build().unwrap();
            tenant.prepare(&event, None).unwrap()
        });
        tenant.publish_wait(events.collect()).unwrap();
    }

    async fn post(&mut self, name: &str, operation: &str, body: Value) -> Value {
        let target = format!("/v1/subscriptions/{name}/{operation}");
        let answer = self.client.post(&target, "application/json", &body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn pull(&mut self, name: &str, max: u32) -> Vec<Value> {
        self.post(name, "pull", json!({"max":max})).await["deliveries"].as_array().unwrap().clone()
    }

    /// Pulls one, or as many, and says what becomes of all.
    async fn finish(&mut self, name: &str, max: u32, outcome: &str) {
        let deliveries = self.pull(name, max).await;
        assert_eq!(deliveries.len(), max as usize);
        self.say(name, &deliveries, outcome).await;
    }

    async fn say(&mut self, name: &str, deliveries: &[Value], outcome: &str) {
        let answers: Vec<Value> = deliveries.iter().map(|one| crate::consumers::outcome(one, outcome)).collect();
        assert_eq!(self.post(name, "answers", json!({"answers":answers})).await["refused"], 0);
    }

    async fn explain(&mut self, name: &str) -> Value {
        let answer = self.client.get(&format!("/v1/subscriptions/{name}/explain")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    async fn has_dead_letters(&self, name: &str, count: u64) {
        eventually(async || (self.platform.info(name).dead_letters == count).then_some(())).await;
    }
}

fn failing() -> Vec<Reply> {
    (0..5).map(|_| Reply::Bytes(answer(500, "", ""))).collect()
}

/// Those that consumers pull, each held back by something else.
async fn hold_back_pulled(desk: &mut Desk) {
    desk.subscribe("paused", json!({"paused":true}));
    desk.subscribe("full", json!({"maxinflight":1}));
    desk.publish("full", 2);
    desk.pull("full", 2).await;
    desk.subscribe("retried", json!({"retry":{"maxattempts":2,"backoff":{"delaysms":[60_000]}}}));
    desk.publish("retried", 1);
    desk.finish("retried", 1, "nack").await;
    desk.subscribe("parked", json!({"deadletter":{"key":"park"}}));
    desk.publish("parked", 1);
    desk.finish("parked", 1, "giveup").await;
    desk.has_dead_letters("parked", 1).await;
    desk.subscribe("dead", json!({}));
    desk.publish("dead", 3);
    desk.finish("dead", 2, "giveup").await;
    desk.has_dead_letters("dead", 2).await;
    desk.subscribe("limited", json!({"ratelimit":{"persecond":0.1,"burst":1}}));
    desk.publish("limited", 2);
    desk.finish("limited", 1, "ack").await;
    desk.subscribe("mismatched", json!({"start":"beginning"}));
    assert!(desk.pull("mismatched", 1).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_said_in_a_sentence_and_in_data() {
    let mut desk = Desk::new().await;
    let (gone, slow) = (Receiver::answering(410).await, Receiver::answering(200).await);
    let failing = Receiver::start(failing()).await;
    let retry = json!({"ordering":"none","maxinflight":1,"retry":{"maxattempts":3,"backoff":{"delaysms":[1000]}}});
    desk.push("gone", json!({}), &gone, json!({})).await;
    desk.push("open", retry, &failing, json!({})).await;
    let rate = json!({"ratelimit":{"persecond":0.1,"burst":1}});
    desk.push("slow", json!({}), &slow, rate).await;
    desk.publish("gone", 1);
    desk.publish("open", 10);
    desk.publish("slow", 2);
    eventually(async || desk.platform.info("gone").definition.paused.then_some(())).await;
    desk.platform.circuit_is("open", "open").await;
    desk.platform.acknowledged("slow", 1).await;
    hold_back_pulled(&mut desk).await;
    desk.subscribe("ignored", json!({"start":"beginning"}));
    desk.subscribe("behind", json!({"ordering":"none"}));
    desk.publish("behind", 100);
    // From here on its pace is measured.
    assert_eq!(desk.explain("behind").await["reason"], "nobody-asks");
    desk.finish("behind", 10, "ack").await;
    desk.platform.clock.wait_ms(1_000);
    desk.finish("behind", 10, "ack").await;
    desk.subscribe("idle", json!({}));

    let newest = desk.platform.tenant().position();
    let parked = desk.explain("parked").await["position"].clone();
    let dead_letter = desk.explain("parked").await["deadletter"].clone();
    let reason = desk.platform.info("gone").definition.paused_reason.clone().unwrap();
    assert!(reason.contains("answered 410"), "{reason}");
    let (of_open, of_slow) = (failing.address, slow.address);
    let mut said = vec![
        // `a_stored_definition_that_is_not_accepted_any_more_is_kept_paused_and_says_why`, in the engine: nobody can make one.
        "definition-refused".to_owned(),
        // `hand_outs_stop_while_too_much_was_given_up_that_is_not_written_and_go_on_when_it_is`, there too.
        "dead-letters-unwritten".to_owned(),
    ];
    for (name, sentence, data) in [
        ("paused", "It is paused; resume it.".to_owned(), json!({"reason":"paused"})),
        ("gone", format!("It is paused: {reason}."), json!({"reason":"paused","pausedreason":reason})),
        (
            "dead",
            "2 of its dead letters are open, and at most 2 may be; redrive or discard some, and it goes on.".into(),
            json!({"reason":"too-many-dead-letters","open":2,"limit":2}),
        ),
        (
            "open",
            format!(
                "The circuit of http://{of_open} is open: it failed, and is tried again at 2026-01-31T09:30:05.000Z."
            ),
            json!({"reason":"endpoint-held","circuit":"open","until":"2026-01-31T09:30:05.000Z"}),
        ),
        (
            "slow",
            format!("The rate limit of http://{of_slow} lets the next webhook go at 2026-01-31T09:30:10.000Z."),
            json!({"reason":"endpoint-held","circuit":"closed","until":"2026-01-31T09:30:10.000Z"}),
        ),
        (
            "limited",
            "The rate limit lets the next delivery go at 2026-01-31T09:30:10.000Z.".into(),
            json!({"reason":"rate-limited","until":"2026-01-31T09:30:10.000Z"}),
        ),
        (
            "behind",
            "Catching up: 80 events are left, at 20 a second: about 4 s.".into(),
            json!({"reason":"catching-up","events":80,"persecond":20.0,"etaseconds":4}),
        ),
        (
            "ignored",
            format!("No consumer asks; {newest} events were not looked at yet."),
            json!({"reason":"nobody-asks","ready":0,"unseen":newest}),
        ),
        (
            "full",
            "Waiting for answers to 1 delivery, the oldest of position 14, due 2026-01-31T09:30:30.000Z.".into(),
            json!({"reason":"waiting-for-acks","count":1,"deliveries":[{"position":14,"due":"2026-01-31T09:30:30.000Z"}]}),
        ),
        (
            "retried",
            "1 delivery waits for its next attempt; position 16 is tried at 2026-01-31T09:31:00.000Z.".into(),
            json!({"reason":"waiting-for-retry","position":16,"until":"2026-01-31T09:31:00.000Z","count":1}),
        ),
        (
            "parked",
            format!("A key is parked by the event at position 17; redrive or discard dead letter {dead_letter}."),
            json!({"reason":"key-parked","position":17,"deadletter":dead_letter}),
        ),
        (
            "mismatched",
            format!("No event since position 0 matches; every one up to {newest} was looked at."),
            json!({"reason":"no-match-since","position":0,"lookedat":newest}),
        ),
        (
            "idle",
            format!("Idle: everything up to position {newest} is finished."),
            json!({"reason":"idle","position":newest}),
        ),
    ] {
        let mut explained = desk.explain(name).await;
        let lag = explained.as_object_mut().unwrap().remove("lag").unwrap();
        let mut expected = data;
        said.push(expected["reason"].as_str().unwrap().to_owned());
        (expected["name"], expected["sentence"]) = (name.into(), sentence.into());
        assert_eq!(explained, expected, "{name}: {lag}");
        // What is not known is not zero: only of what has nothing before it this is known.
        let has_nothing = matches!(name, "paused" | "mismatched" | "idle");
        let is_known = lag["events"] == 0 && lag["seconds"] == 0.0;
        assert!(name == "paused" || is_known == has_nothing, "{name}: {lag}");
    }
    assert_eq!(parked, 17);
    said.sort();
    said.dedup();
    assert_eq!(said, reasons());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_go_past_a_consumer_that_hangs_do_not_catch_it_up() {
    let mut desk = Desk::new().await;
    desk.subscribe("full", json!({"maxinflight":1}));
    desk.publish("full", 2);
    desk.pull("full", 2).await;
    for _ in 0..3 {
        let explained = desk.explain("full").await;
        assert_eq!(explained["reason"], "waiting-for-acks", "{explained}");
        desk.platform.clock.wait_ms(1_000);
        desk.publish("another", 20);
        assert!(desk.pull("full", 1).await.is_empty());
    }
}

/// Every reason that the API knows, sorted.
fn reasons() -> Vec<String> {
    let document = quipu_api::openapi();
    let kinds = document["components"]["schemas"]["ExplainAnswer"]["oneOf"].as_array().unwrap();
    let reason = |kind: &Value| kind["properties"]["reason"]["const"].as_str().unwrap().to_owned();
    let mut reasons: Vec<String> = kinds.iter().map(reason).collect();
    reasons.sort();
    reasons
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_are_behind_are_catching_up_and_say_for_how_long() {
    let mut desk = Desk::new().await;
    desk.subscribe("s", json!({}));
    desk.publish("s", 1_000);
    assert_eq!(desk.explain("s").await["reason"], "nobody-asks");
    for turn in 0..20 {
        let (one, other) = (desk.pull("s", 20).await, desk.pull("s", 20).await);
        let explained = desk.explain("s").await;
        let left = 1_000 - turn * 40;
        assert_eq!((&explained["reason"], &explained["events"]), (&json!("catching-up"), &json!(left)), "{explained}");
        if turn >= 12 {
            let (pace, eta) = (explained["persecond"].as_f64().unwrap(), explained["etaseconds"].as_f64().unwrap());
            assert!((380.0..450.0).contains(&pace) && eta == (f64::from(left) / pace).ceil(), "{explained}");
        }
        desk.platform.clock.wait_ms(100);
        desk.say("s", &one, "ack").await;
        desk.say("s", &other, "ack").await;
    }
    desk.platform.clock.wait_ms(5_001);
    let explained = desk.explain("s").await;
    assert_eq!((&explained["reason"], &explained["ready"]), (&json!("nobody-asks"), &json!(200)), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_that_are_answered_catch_up_and_do_not_wait_for_acks() {
    let mut desk = Desk::new().await;
    let receiver = Receiver::answering(200).await;
    desk.push("s", json!({"ordering":"none"}), &receiver, json!({"ratelimit":{"persecond":10.0,"burst":10}})).await;
    desk.publish("s", 100);
    desk.platform.acknowledged("s", 10).await;
    let mut paces = Vec::new();
    for turn in 2..8 {
        desk.platform.clock.wait_ms(1_001);
        desk.platform.acknowledged("s", turn * 10).await;
        // Of the engine alone: between webhooks the rate limit of the endpoint is the reason.
        paces.push(desk.platform.tenant().explain_subscription("s").unwrap().standstill.to_string());
        assert_eq!(desk.explain("s").await["reason"], "endpoint-held");
    }
    assert!(paces.iter().all(|said| said.starts_with("Catching up: ")), "{paces:?}");
    // It is known a second after somebody looked first, which may be in the first turn.
    assert!(paces[1..].iter().all(|said| said.contains(" a second: ")), "{paces:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_after_a_quiet_while_is_not_waited_for_before_it_falls_silent() {
    let mut desk = Desk::new().await;
    let mut replies = vec![Reply::Bytes(answer(200, "", "")); 11];
    replies.push(Reply::Silence);
    let receiver = Receiver::start(replies).await;
    desk.push("s", json!({"ordering":"none"}), &receiver, json!({"timeoutms":30_000})).await;
    desk.publish("s", 1);
    desk.platform.acknowledged("s", 1).await;
    desk.platform.clock.wait_ms(10_000);
    assert_eq!(desk.explain("s").await["reason"], "idle");
    desk.publish("s", 100);
    desk.platform.acknowledged("s", 11).await;
    eventually(async || (desk.platform.info("s").summary.in_flight == 32).then_some(())).await;
    let explained = desk.explain("s").await;
    let found = (&explained["reason"], &explained["events"], &explained["persecond"]);
    assert_eq!(found, (&json!("catching-up"), &json!(90), &Value::Null), "ten were answered just now: {explained}");
    desk.platform.clock.wait_ms(5_001);
    let explained = desk.explain("s").await;
    assert_eq!((&explained["reason"], &explained["count"]), (&json!("waiting-for-acks"), &json!(32)), "{explained}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_left_alone_holds_nothing_back_where_nothing_waits() {
    let mut desk = Desk::new().await;
    let (slow, failing) = (Receiver::answering(200).await, Receiver::start(failing()).await);
    desk.push("slow", json!({}), &slow, json!({"ratelimit":{"persecond":0.1,"burst":1}})).await;
    desk.publish("slow", 1);
    desk.platform.acknowledged("slow", 1).await;
    assert_ne!(desk.platform.endpoint("slow").await["until"], Value::Null, "its bucket is empty");
    assert_eq!(desk.explain("slow").await["reason"], "idle");
    desk.publish("slow", 1);
    assert_eq!(desk.explain("slow").await["reason"], "endpoint-held");
    desk.push("open", json!({"ordering":"none","maxinflight":1}), &failing, json!({})).await;
    desk.publish("open", 10);
    desk.platform.circuit_is("open", "open").await;
    assert_eq!(desk.explain("open").await["reason"], "endpoint-held");
    desk.push("neighbour", json!({}), &failing, json!({})).await;
    assert_eq!(desk.platform.circuit_is("neighbour", "open").await["circuit"], "open", "they share the endpoint");
    assert_eq!(desk.explain("neighbour").await["reason"], "idle");
    desk.publish("neighbour", 1);
    assert_eq!(desk.explain("neighbour").await["reason"], "endpoint-held");
}
