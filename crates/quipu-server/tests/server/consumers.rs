//! Consumers over HTTP: the long poll, several consumers, answers in and out of time, and clients that go away.

use std::time::{Duration, Instant};

use quipu_server::Server;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::host::{DEADLINE, Host, event};

/// A client with the few requests of a consumer.
pub struct Consumer(pub Client);

impl Consumer {
    pub async fn connect(host: &Host) -> Self {
        Self(host.client().await)
    }

    pub async fn send(&mut self, method: &str, target: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.0.request(method, target, &headers, body.to_string().as_bytes()).await
    }

    /// Makes a subscription `s`.
    pub async fn subscribe(&mut self, mut definition: Value) {
        definition["name"] = "s".into();
        let made = self.send("POST", "/v1/subscriptions", &definition).await;
        assert_eq!(made.status, 201, "{made:?}");
    }

    pub async fn publish(&mut self, id: &str, subject: &str) {
        assert_eq!(self.0.publish(&event(id, "t", subject)).await.status, 200);
    }

    pub async fn pull(&mut self, max: u32, wait_ms: u32) -> Vec<Value> {
        let answer = self.send("POST", "/v1/subscriptions/s/pull", &json!({"max":max,"waitms":wait_ms})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["deliveries"].as_array().unwrap().clone()
    }

    pub async fn answer(&mut self, answers: Value) -> Value {
        let answer = self.send("POST", "/v1/subscriptions/s/answers", &json!({"answers":answers})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub async fn get(&mut self, target: &str) -> Value {
        let answer = self.0.get(target).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

/// The answer to a delivery with this outcome.
pub fn outcome(delivery: &Value, outcome: &str) -> Value {
    let handle = &delivery["delivery"];
    let mut answer = json!({"position":handle["position"],"token":handle["token"],"outcome":outcome});
    if let Some(dead_letter) = handle.get("deadletter") {
        answer["deadletter"] = dead_letter.clone();
    }
    answer
}

/// Positions of deliveries.
pub fn positions(deliveries: &[Value]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery["delivery"]["position"].as_u64().unwrap()).collect()
}

fn code(answered: &Value, index: usize) -> &str {
    answered["results"][index]["error"]["code"].as_str().unwrap_or_default()
}

/// An idempotency key without the name of the log, which is another in each run.
pub fn without_log(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    assert!(parts[1].len() == 16 && u64::from_str_radix(parts[1], 16).is_ok(), "{key}");
    [&parts[..1], &parts[2..]].concat().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_carries_the_event_and_what_the_answer_needs() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"ackdeadlinems":5000})).await;
    consumer.publish("1", "a").await;
    let deliveries = consumer.pull(10, 20_000).await;
    let read = consumer.get("/v1/positions/1").await;
    let delivery = &deliveries[0]["delivery"];
    let (token, key) = (delivery["token"].clone(), delivery["key"].clone());
    let idempotency_key = delivery["idempotencykey"].as_str().unwrap();
    assert_eq!(without_log(idempotency_key), "s/1");
    let handle = json!({"position":1,"token":token,"attempt":1,"deadline":"2026-01-31T09:30:05.000Z",
        "idempotencykey":idempotency_key,"key":key,"redriven":false});
    assert_eq!(deliveries, [json!({"event":read,"delivery":handle})]);
    let answered = consumer.answer(json!([outcome(&deliveries[0], "ack")])).await;
    assert_eq!(answered, json!({"done":1,"refused":0,"results":[{"status":"done"}]}));
    let subscription = consumer.get("/v1/subscriptions/s").await;
    assert_eq!((&subscription["position"], &subscription["counts"]["acknowledged"]), (&json!(1), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_of_one_key_name_the_same_and_one_without_names_none() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"key":"order"})).await;
    for (id, attribute) in [("1", r#","order":"a""#), ("2", r#","order":"b""#), ("3", r#","order":"a""#), ("4", "")] {
        let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"{attribute}}}"#);
        assert_eq!(consumer.0.publish(&event).await.status, 200);
    }
    let mut deliveries = consumer.pull(10, 20_000).await;
    deliveries.sort_by_key(|delivery| delivery["delivery"]["position"].as_u64());
    let keys: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["delivery"]["key"]).collect();
    assert_eq!((keys[0].as_str().map(str::len), keys[3]), (Some(32), &Value::Null), "{keys:?}");
    assert!(keys[0] == keys[2] && keys[0] != keys[1], "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_goes_back_untried_with_what_came_behind_it_in_its_key() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    for (id, subject) in [("1", "a"), ("2", "a"), ("3", "a"), ("4", "b")] {
        consumer.publish(id, subject).await;
    }
    let deliveries = consumer.pull(10, 20_000).await;
    let at = |position| deliveries.iter().find(|delivery| delivery["delivery"]["position"] == position).unwrap();
    let released = consumer.answer(json!([outcome(at(2), "release"), outcome(at(3), "release")])).await;
    assert_eq!((released["done"].as_u64(), code(&released, 1)), (Some(1), "delivery-not-in-flight"));
    let answered = consumer.answer(json!([outcome(at(1), "ack"), outcome(at(4), "ack")])).await;
    assert_eq!(answered["done"], 2);
    let again = consumer.pull(10, 20_000).await;
    let attempts: Vec<_> = again.iter().map(|delivery| delivery["delivery"]["attempt"].as_u64()).collect();
    assert_eq!((positions(&again), attempts), (vec![2, 3], vec![Some(1), Some(1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_waits_is_answered_as_soon_as_there_is_something() {
    let host = Host::start().await;
    let (mut consumer, mut other) = (Consumer::connect(&host).await, Consumer::connect(&host).await);
    consumer.subscribe(json!({"pattern":{"type":["t"]}})).await;
    let begin = Instant::now();
    let (deliveries, ()) = tokio::join!(consumer.pull(1, 19_000), async {
        other.0.publish(&event("1", "other", "a")).await;
        other.publish("2", "a").await;
    });
    assert_eq!(positions(&deliveries), [2]);
    assert!(begin.elapsed() < Duration::from_secs(19), "it did not wait to the end");
    assert!(consumer.pull(1, 1).await.is_empty(), "nothing more comes, and the time is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_waits_is_woken_by_what_is_tried_again_and_by_a_resumption() {
    let host = Host::start().await;
    let (mut consumer, mut other) = (Consumer::connect(&host).await, Consumer::connect(&host).await);
    consumer.subscribe(json!({"retry":{"backoff":{"delaysms":[60_000]}}})).await;
    consumer.publish("1", "a").await;
    let first = consumer.pull(1, 20_000).await;
    consumer.answer(json!([outcome(&first[0], "nack")])).await;
    assert!(consumer.pull(1, 0).await.is_empty());
    let (again, ()) = tokio::join!(consumer.pull(1, 20_000), async { host.advance(60_000) });
    assert_eq!(again[0]["delivery"]["attempt"], 2);
    consumer.answer(json!([outcome(&again[0], "ack")])).await;
    other.0.post("/v1/subscriptions/s/pause", "", "").await;
    consumer.publish("2", "a").await;
    assert!(consumer.pull(1, 0).await.is_empty());
    let (resumed, _) = tokio::join!(consumer.pull(1, 20_000), other.0.post("/v1/subscriptions/s/resume", "", ""));
    assert_eq!(positions(&resumed), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_waits_is_told_that_its_subscription_was_deleted() {
    let host = Host::start().await;
    let (mut consumer, mut other) = (Consumer::connect(&host).await, Consumer::connect(&host).await);
    consumer.subscribe(json!({})).await;
    let request = json!({"waitms":20_000});
    let (answer, _) = tokio::join!(
        consumer.send("POST", "/v1/subscriptions/s/pull", &request),
        other.0.request("DELETE", "/v1/subscriptions/s", &[], b"")
    );
    assert_eq!((answer.status, answer.json()["code"].as_str()), (404, Some("subscription-not-found")));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_consumers_share_the_events_and_a_key_stays_with_one_of_them() {
    let host = Host::start().await;
    let (mut one, mut two) = (Consumer::connect(&host).await, Consumer::connect(&host).await);
    one.subscribe(json!({})).await;
    for n in 0..40 {
        one.publish(&n.to_string(), &format!("key-{}", n % 4)).await;
    }
    let first = one.pull(5, 20_000).await;
    let second = two.pull(100, 20_000).await;
    let keys = |deliveries: &[Value]| -> Vec<String> {
        deliveries.iter().map(|delivery| delivery["event"]["subject"].as_str().unwrap().to_owned()).collect()
    };
    let of_first = keys(&first);
    assert!(keys(&second).iter().all(|key| !of_first.contains(key)), "{first:?} {second:?}");
    let acks = |deliveries: &[Value]| deliveries.iter().map(|delivery| outcome(delivery, "ack")).collect::<Vec<_>>();
    let mut done: Vec<u64> = positions(&first).into_iter().chain(positions(&second)).collect();
    assert_eq!(one.answer(acks(&first).into()).await["refused"], 0);
    assert_eq!(two.answer(acks(&second).into()).await["refused"], 0);
    while done.len() < 40 {
        let rest = two.pull(100, 20_000).await;
        done.extend(positions(&rest));
        assert_eq!(two.answer(acks(&rest).into()).await["refused"], 0);
    }
    done.sort_unstable();
    assert_eq!(done, (1..=40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_a_foreign_and_a_repeated_answer_are_refused_each_for_itself() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"ackdeadlinems":1000,"retry":{"backoff":{"delaysms":[0]}}})).await;
    for (id, key) in [("1", "a"), ("2", "b"), ("3", "c")] {
        consumer.publish(id, key).await;
    }
    let deliveries = consumer.pull(3, 20_000).await;
    assert_eq!(positions(&deliveries), [1, 2, 3]);
    let mut foreign = outcome(&deliveries[1], "ack");
    foreign["token"] = deliveries[2]["delivery"]["token"].clone();
    let mut unreadable = outcome(&deliveries[1], "ack");
    unreadable["token"] = "not a token".into();
    let ack = outcome(&deliveries[0], "ack");
    let answered = consumer.answer(json!([ack, foreign, unreadable, ack])).await;
    assert_eq!((&answered["done"], &answered["refused"]), (&json!(1), &json!(3)));
    assert_eq!([1, 2, 3].map(|index| code(&answered, index)), ["delivery-not-in-flight"; 3]);
    consumer
        .answer(json!([{"position":2,"token":deliveries[1]["delivery"]["token"],"outcome":"extend","ms":600_000}]))
        .await;
    host.advance(1_000);
    let again = consumer.pull(3, 20_000).await;
    assert_eq!((positions(&again), &again[0]["delivery"]["attempt"]), (vec![3], &json!(2)), "2 was extended");
    let answered = consumer.answer(json!([outcome(&deliveries[2], "ack"), outcome(&deliveries[1], "ack")])).await;
    assert_eq!((code(&answered, 0), &answered["results"][1]["status"]), ("delivery-not-in-flight", &json!("done")));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_a_run_come_in_its_order() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    for id in ["1", "2", "3"] {
        consumer.publish(id, "a").await;
    }
    let mut run = consumer.pull(10, 20_000).await;
    if run.len() < 3 {
        // What was routed only afterwards comes when the first is done.
        consumer.answer(run.iter().map(|one| outcome(one, "ack")).collect::<Vec<_>>().into()).await;
        run = consumer.pull(10, 20_000).await;
    }
    assert!(run.len() > 1, "{run:?}");
    let answered = consumer.answer(json!([outcome(&run[1], "ack")])).await;
    assert_eq!(code(&answered, 0), "answer-out-of-order");
    assert_eq!(answered["results"][0]["error"]["first"], run[0]["delivery"]["position"]);
    let in_order = consumer.answer(json!([outcome(&run[0], "ack"), outcome(&run[1], "ack")])).await;
    assert_eq!(in_order["done"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_that_is_gone_does_not_fetch_is_there_for_the_next() {
    // One address gets three quarters of them, as many as there are clients: others get in when those are really gone.
    let host = Host::start_with(Server { connections_max: 12, ..Server::default() }).await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    let mut gone = Vec::new();
    for _ in 0..8 {
        let mut client = host.client().await;
        let head = "POST /v1/subscriptions/s/pull HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        client.write(format!("{head}content-length: 16\r\n\r\n{{\"waitms\":30000}}").as_bytes()).await;
        gone.push(client);
    }
    drop(gone);
    let (mut others, deadline) = (Vec::new(), Instant::now() + DEADLINE);
    while others.len() < 8 {
        assert!(Instant::now() < deadline, "the server does not see that its clients are gone");
        let mut other = host.client().await;
        if other.get("/health/live").await.status == 200 {
            others.push(other);
        }
    }
    consumer.publish("1", "a").await;
    let deliveries = consumer.pull(1, 20_000).await;
    assert_eq!((positions(&deliveries), &deliveries[0]["delivery"]["attempt"]), (vec![1], &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_a_bounded_size() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"ordering":"none"})).await;
    for n in 0..12 {
        let big =
            json!({"specversion":"1.0","id":n.to_string(),"source":"/test","type":"t","data":"x".repeat(700 << 10)});
        assert_eq!(consumer.0.publish(&big.to_string()).await.status, 200);
    }
    let mut fetched = 0;
    let mut pulls = 0;
    while fetched < 12 {
        let deliveries = consumer.pull(100, 20_000).await;
        assert!((1..=6).contains(&deliveries.len()), "{} of 700 KiB in one answer", deliveries.len());
        assert!(deliveries.iter().all(|delivery| delivery["delivery"]["attempt"] == 1));
        fetched += deliveries.len();
        pulls += 1;
    }
    assert!(pulls >= 2);
    let subscription = consumer.get("/v1/subscriptions/s").await;
    assert_eq!(subscription["counts"]["handedout"], 12, "what was over counts for nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_counts_what_waits_behind_a_blocked_key() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    // A long run of one key: more than are unfinished deliveries at once.
    for n in 1..=100 {
        consumer.publish(&n.to_string(), "a").await;
    }
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen = consumer.pull(1, 20_000).await;
    }
    let explained = consumer.get("/v1/subscriptions/s/explain").await;
    assert_eq!((&explained["lag"]["events"], &explained["lag"]["unseen"]), (&json!(100), &json!(0)), "{explained}");
    assert_eq!(explained["reason"], "waiting-for-acks");
    assert_eq!(explained["deliveries"], json!([{"position":1,"due":"2026-01-31T09:30:30.000Z"}]));
    host.advance(1_500);
    assert_eq!(consumer.get("/v1/subscriptions/s/explain").await["lag"]["seconds"], 1.5);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_events_do_not_hold_up_what_comes_behind_them() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    // Of one key, and more than are unfinished deliveries at once: that an event has expired is found when it is read.
    for n in 1..=70 {
        let mut event = json!({"specversion":"1.0","id":n.to_string(),"source":"/test","type":"t","subject":"a"});
        if (2..70).contains(&n) {
            event["expirytime"] = "2026-01-31T09:30:10Z".into();
        }
        assert_eq!(consumer.0.publish(&event.to_string()).await.status, 200);
    }
    let first = consumer.pull(1, 20_000).await;
    assert_eq!(positions(&first), [1]);
    host.advance(20_000);
    consumer.answer(json!([outcome(&first[0], "ack")])).await;
    assert_eq!(positions(&consumer.pull(2, 0).await), [70], "without waiting");
    assert_eq!(consumer.get("/v1/subscriptions/s").await["counts"]["expired"], 68);
}
