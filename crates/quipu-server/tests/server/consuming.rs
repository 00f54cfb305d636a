//! Durable subscriptions over a WebSocket: credits, answers, several subscriptions on a connection, and what is left
//! behind when it ends.

use quipu_server::Server;
use serde_json::{Value, json};

use crate::consumers::{Consumer, outcome, positions};
use crate::host::Host;
use crate::platform::eventually;
use crate::websocket::Socket;

impl Socket {
    async fn ask(&mut self, frame: Value) -> Value {
        self.send(frame.to_string()).await;
        self.receive().await
    }

    /// The next frame, which has deliveries.
    async fn pushed(&mut self) -> Vec<Value> {
        let frame = self.receive().await;
        let deliveries = frame["deliveries"]["deliveries"].as_array();
        deliveries.unwrap_or_else(|| panic!("expected deliveries, found {frame}")).clone()
    }

    /// Deliveries until there are so many.
    async fn pushed_up_to(&mut self, count: usize) -> Vec<Value> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.pushed().await);
        }
        all
    }
}

fn consume(credits: u32) -> Value {
    json!({"consume":{"subscription":"s","credits":credits}})
}

fn answers(deliveries: &[Value], word: &str) -> Value {
    let answers: Vec<_> = deliveries.iter().map(|delivery| outcome(delivery, word)).collect();
    json!({"answer":{"subscription":"s","answers":answers}})
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_pushed_while_credits_last() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"ordering":"none"})).await;
    for n in 1..=5 {
        consumer.publish(&n.to_string(), "a").await;
    }
    let mut socket = Socket::open(&host).await;
    assert_eq!(socket.ask(consume(2)).await, json!({"consuming":{"subscription":"s","credits":2}}));
    let first = socket.pushed_up_to(2).await;
    assert_eq!(positions(&first), [1, 2]);
    assert_eq!(first[0]["event"], consumer.get("/v1/positions/1").await);
    // Without credits the next frame is the answer, whatever is ready.
    let answered = socket.ask(answers(&first, "ack")).await;
    let done = json!({"subscription":"s","done":2,"refused":0,"results":[{"status":"done"},{"status":"done"}]});
    assert_eq!(answered, json!({ "answered": done }));
    socket.send(json!({"credit":{"subscription":"s","credits":2}}).to_string()).await;
    assert_eq!(socket.receive().await, json!({"consuming":{"subscription":"s","credits":2}}));
    let second = socket.pushed_up_to(2).await;
    assert_eq!(positions(&second), [3, 4]);
    // An answer may bring the next credits along.
    let mut with_credits = answers(&second, "ack");
    with_credits["answer"]["credits"] = 1.into();
    socket.send(with_credits.to_string()).await;
    let frames = [socket.receive().await, socket.receive().await];
    assert!(frames.iter().any(|frame| frame["answered"]["done"] == 2), "{frames:?}");
    assert!(frames.iter().any(|frame| frame["deliveries"]["deliveries"][0]["delivery"]["position"] == 5), "{frames:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_later_is_pushed_at_once() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    let mut socket = Socket::open(&host).await;
    socket.ask(consume(100)).await;
    for id in ["1", "2", "3"] {
        consumer.publish(id, id).await;
        assert_eq!(positions(&socket.pushed_up_to(1).await), [id.parse::<u64>().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_consumes_several_subscriptions_up_to_a_limit() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    let mut socket = Socket::open(&host).await;
    for n in 0..17 {
        let name = format!("s{n}");
        let made = consumer.send("POST", "/v1/subscriptions", &json!({ "name": name })).await;
        assert_eq!(made.status, 201);
        let frame = socket.ask(json!({"consume":{"subscription":name,"credits":1}})).await;
        match n {
            16 => assert_eq!(frame["error"]["code"], "invalid-request", "{frame}"),
            _ => assert_eq!(frame["consuming"]["subscription"], name),
        }
    }
    assert_eq!(socket.ask(json!({"stop":"s0"})).await, json!({"stopped":{"subscription":"s0"}}));
    consumer.publish("1", "a").await;
    let mut names = Vec::new();
    for _ in 0..15 {
        let frame = socket.receive().await;
        names.push(frame["deliveries"]["subscription"].as_str().unwrap().to_owned());
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 15);
    assert!(!names.contains(&"s0".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_frames_are_answered_and_the_connection_goes_on() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    let mut socket = Socket::open(&host).await;
    let answer = json!({"subscription":"s","answers":[{"position":1,"token":"00000000000000ff","outcome":"ack"}]});
    let of_none = json!({"subscription":"none","answers":answer["answers"]});
    let with_credits = json!({"subscription":"s","answers":answer["answers"],"credits":1});
    for (frame, code) in [
        (json!({"consume":{"subscription":"none","credits":1}}), "subscription-not-found"),
        (json!({"consume":{"subscription":"s","credits":0}}), "invalid-request"),
        (json!({"consume":{"subscription":"s","credits":10_001}}), "invalid-request"),
        (json!({"consume":{"subscription":"s"}}), "invalid-request"),
        (json!({"consume":7}), "invalid-request"),
        (json!({"credit":{"subscription":"s","credits":1}}), "invalid-request"),
        (json!({"stop":"s"}), "invalid-request"),
        (json!({"stop":"s","credit":{"subscription":"s","credits":1}}), "invalid-request"),
        (json!({"answer":{"subscription":"s","answers":[]}}), "invalid-request"),
        (json!({ "answer": of_none }), "subscription-not-found"),
        (json!({ "answer": with_credits }), "invalid-request"),
    ] {
        let answered = socket.ask(frame.clone()).await;
        assert_eq!(answered["error"]["code"], code, "{frame} {answered}");
    }
    let answered = socket.ask(json!({ "answer": answer })).await;
    assert_eq!(answered["answered"]["results"][0]["error"]["code"], "delivery-not-in-flight");
    socket.ask(consume(1)).await;
    assert_eq!(socket.ask(consume(1)).await["error"]["subscription"], "s", "it is consumed already");
    let over = socket.ask(json!({"credit":{"subscription":"s","credits":10_000}})).await;
    assert_eq!(over["error"]["code"], "invalid-request");
    consumer.publish("1", "a").await;
    assert_eq!(positions(&socket.pushed().await), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_deleted_ends_with_an_error() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    let mut socket = Socket::open(&host).await;
    socket.ask(consume(1)).await;
    consumer.0.request("DELETE", "/v1/subscriptions/s", &[], b"").await;
    let ended = socket.receive().await;
    assert_eq!(
        (&ended["error"]["code"], &ended["error"]["subscription"]),
        (&json!("subscription-not-found"), &json!("s"))
    );
    assert_eq!(socket.ask(json!({"stop":"s"})).await["error"]["code"], "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_connection_leaves_unanswered_can_be_answered_from_another() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"ackdeadlinems":1000,"retry":{"backoff":{"delaysms":[0]}}})).await;
    consumer.publish("1", "a").await;
    consumer.publish("2", "b").await;
    let mut socket = Socket::open(&host).await;
    socket.ask(consume(2)).await;
    let deliveries = socket.pushed_up_to(2).await;
    drop(socket);
    assert_eq!(consumer.answer(json!([outcome(&deliveries[0], "ack")])).await["done"], 1);
    assert!(consumer.pull(10, 0).await.is_empty(), "the other is in flight until its deadline");
    host.advance(1_000);
    let again = consumer.pull(10, 20_000).await;
    assert_eq!((positions(&again), &again[0]["delivery"]["attempt"]), (vec![2], &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_handed_little() {
    let host = Host::start_with(Server::default()).await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"ordering":"none","maxinflight":10_000})).await;
    let mut socket = Socket::open(&host).await;
    socket.ask(consume(10_000)).await;
    for n in 0..30 {
        let big =
            json!({"specversion":"1.0","id":n.to_string(),"source":"/test","type":"t","data":"x".repeat(900 << 10)});
        assert_eq!(consumer.0.publish(&big.to_string()).await.status, 200);
    }
    // 27 MB are ready, and the other consumer gets what the buffers between here and the server do not hold.
    let mut fetched = 0;
    loop {
        let deliveries = consumer.pull(100, 500).await;
        if deliveries.is_empty() {
            break;
        }
        fetched += deliveries.len();
    }
    assert!(fetched >= 10, "{fetched} of 30 were left to the other consumer");
    assert!(!socket.pushed().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_takes_as_many_answers_as_can_be_in_flight_and_no_more() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    let mut socket = Socket::open(&host).await;
    let answer = json!({"position":u64::MAX,"token":"ffffffffffffffff","outcome":"nack","error":"x".repeat(50)});
    for (count, pointer) in [(10_000, "/answered/refused"), (10_001, "/error/code")] {
        let frame = socket.ask(json!({"answer":{"subscription":"s","answers":vec![answer.clone(); count]}})).await;
        let found = frame.pointer(pointer);
        assert!(found == Some(&json!(10_000)) || found == Some(&json!("invalid-request")), "{count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_without_credits_does_not_ask() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"ordering":"none"})).await;
    consumer.publish("1", "a").await;
    let mut socket = Socket::open(&host).await;
    socket.ask(consume(1)).await;
    let deliveries = socket.pushed().await;
    socket.ask(answers(&deliveries, "ack")).await;
    host.tenant.seek_subscription("s", &quipu_domain::StartAt::Beginning).unwrap();
    let explained = eventually(async || {
        let explained = consumer.get("/v1/subscriptions/s/explain").await;
        (explained["reason"] == "nobody-asks").then_some(explained)
    });
    assert_eq!(explained.await["sentence"], "No consumer asks; 1 event was not looked at yet.");
    socket.send(json!({"credit":{"subscription":"s","credits":1}}).to_string()).await;
    let frames = [socket.receive().await, socket.receive().await];
    assert!(frames.iter().any(|frame| frame["deliveries"]["deliveries"][0]["delivery"]["position"] == 1), "{frames:?}");
    // It is told of what comes later too.
    socket.send(json!({"credit":{"subscription":"s","credits":1}}).to_string()).await;
    socket.receive().await;
    consumer.publish("2", "a").await;
    assert_eq!(positions(&socket.pushed().await), [2]);
}
