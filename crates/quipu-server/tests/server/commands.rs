//! Commands over HTTP: what an endpoint answers is appended under the version that its command was sent with, once.

use quipu_domain::{Direction, Event, Filter};
use serde_json::{Value, json};

use crate::access::{key, send};
use crate::consumers::without_log;
use crate::platform::{Platform, definition, eventually};
use crate::receiver::{Receiver, Reply, answer};

/// A reply with these events, or whatever it is.
fn reply(body: &str) -> Reply {
    Reply::Bytes(answer(200, "content-type: application/cloudevents-batch+json\r\n", body))
}

const ANSWERS: &str = r#","answers":true"#;

/// Publishes a command.
fn command(platform: &Platform, id: &str, subject: Option<&str>) {
    let builder = Event::builder(id.to_owned(), "/shop", "order.pay").json(r#"{"cents":900}"#);
    let builder = subject.into_iter().fold(builder, |builder, subject| builder.subject(subject.to_owned()));
    publish(platform, &builder.build().unwrap());
}

fn publish(platform: &Platform, event: &Event<'_>) {
    let prepared = platform.tenant().prepare(event, None).unwrap();
    platform.tenant().publish_wait(vec![prepared]).unwrap();
}

/// All events behind a position, as JSON without the name of the log.
fn events(platform: &Platform, after: u64) -> Vec<Value> {
    let page = platform.tenant().read(&Filter::default(), Direction::Forward, Some(after + 1), 100).unwrap();
    let json = |recorded: &quipu_engine::Recorded| {
        let mut text = Vec::new();
        recorded.write_json(&mut text);
        let mut event: Value = serde_json::from_slice(&text).unwrap();
        event["id"] = without_log(event["id"].as_str().unwrap()).into();
        event.as_object_mut().unwrap().remove("recordedtime");
        event
    };
    page.events.iter().map(json).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_to_a_command_goes_to_its_stream_as_what_it_led_to() {
    let body = r#"[
        {"type":"order.paid","data":{"cents":900.50},"tags":["customer:c1"]},
        {"specversion":"1.0","id":"mine","source":"/mine","subject":"other","correlationid":"mine","type":"order.closed"}
    ]"#;
    let platform = Platform::start().await;
    let mut receiver = Receiver::start(vec![reply(body)]).await;
    platform.push("billing", &receiver.url(), ANSWERS).await;
    command(&platform, "c1", Some("order/1"));
    let asked = receiver.next().await;
    assert_eq!((asked.header("ce-id"), asked.header("quipu-stream-version")), ("c1", "1"));
    // What it has answered itself is no command, or it would answer for ever.
    platform.acknowledged("billing", 3).await;
    let expected = [
        json!({"specversion":"1.0","id":"billing/1/1","source":"/subscriptions/billing","type":"order.paid","subject":"order/1",
            "causationid":"c1","correlationid":"c1","tags":"customer:c1","data":{"cents":900.5},"position":2,"streamversion":2}),
        json!({"specversion":"1.0","id":"billing/1/2","source":"/subscriptions/billing","type":"order.closed","subject":"order/1",
            "causationid":"c1","correlationid":"c1","position":3,"streamversion":3}),
    ];
    assert_eq!(events(&platform, 1), expected);
    assert_eq!((receiver.waiting(), platform.tenant().position()), (0, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_no_stream_and_an_answer_without_events_are_taken() {
    let platform = Platform::start().await;
    let replies = vec![reply(r#"[{"type":"order.paid"}]"#), reply("[]"), reply("")];
    let mut receiver = Receiver::start(replies).await;
    for (id, subject) in [("c1", None), ("c2", Some("order/1")), ("c3", Some("order/1"))] {
        command(&platform, id, subject);
    }
    platform.push("billing", &receiver.url(), &format!(r#"{ANSWERS},"ordering":"strict""#)).await;
    let mut versions = Vec::new();
    for _ in 0..3 {
        versions.push(receiver.next().await.header("quipu-stream-version").to_owned());
    }
    assert_eq!(versions, ["", "2", "2"]);
    platform.acknowledged("billing", 4).await;
    let found = events(&platform, 3);
    assert_eq!((found.len(), found[0].get("subject"), &found[0]["causationid"]), (1, None, &json!("c1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_overtaken_is_asked_for_again_with_the_version_of_then() {
    let platform = Platform::start().await;
    // The first answer takes its time.
    let slow = answer(200, "content-type: application/json\r\n", r#"[{"type":"order.paid"}]"#);
    let mut receiver = Receiver::start(vec![Reply::Drip(slow), reply(r#"[{"type":"order.refused"}]"#)]).await;
    platform.push("billing", &receiver.url(), &format!(r#"{ANSWERS},"pattern":{{"type":["order.pay"]}}"#)).await;
    command(&platform, "c1", Some("order/1"));
    assert_eq!(receiver.next().await.header("quipu-stream-version"), "1");
    publish(&platform, &Event::builder("x", "/shop", "order.cancelled").subject("order/1").build().unwrap());
    let failed = eventually(async || Some(platform.info("billing")).filter(|info| info.counts.failed == 1)).await;
    assert_eq!((failed.counts.acknowledged, platform.tenant().position()), (0, 2));
    platform.clock.wait_ms(10);
    let again = receiver.next().await;
    assert_eq!((again.header("quipu-stream-version"), again.header("quipu-attempt")), ("2", "2"));
    platform.acknowledged("billing", 1).await;
    let found = events(&platform, 2);
    assert_eq!((found.len(), &found[0]["type"], &found[0]["streamversion"]), (1, &json!("order.refused"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_delivered_once_more_appends_nothing_again() {
    let platform = Platform::start().await;
    let replies =
        vec![reply(r#"[{"type":"order.paid"},{"type":"order.closed"}]"#), reply(r#"[{"type":"order.other"}]"#)];
    let mut receiver = Receiver::start(replies).await;
    platform.push("billing", &receiver.url(), &format!(r#"{ANSWERS},"pattern":{{"type":["order.pay"]}}"#)).await;
    command(&platform, "c1", Some("order/1"));
    receiver.next().await;
    platform.acknowledged("billing", 1).await;
    assert_eq!(platform.tenant().position(), 3);
    let sought = r#"{"to":"beginning"}"#;
    let mut client = platform.host.client().await;
    let answered = client.post("/v1/subscriptions/billing/seek", "application/json", sought).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    receiver.next().await;
    platform.acknowledged("billing", 2).await;
    assert_eq!(platform.tenant().position(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_for_later_waits_and_waits_once() {
    let platform = Platform::start().await;
    let later = r#"{"type":"payment.missed","deliverat":"2026-01-31T10:00:00Z"}"#;
    let replies = [format!(r#"[{later},{{"type":"order.held"}}]"#), format!(r#"[{later}]"#)];
    let other = later.replace("10:00", "11:00");
    let replies = [&replies[0], &replies[0], &replies[1], &format!("[{other}]")].map(|body| reply(body));
    let mut receiver = Receiver::start(replies.into()).await;
    platform.push("billing", &receiver.url(), &format!(r#"{ANSWERS},"pattern":{{"type":["order.pay"]}}"#)).await;
    command(&platform, "c1", Some("order/1"));
    let waiting = |platform: &Platform| {
        let page = platform.tenant().timers(None, 10).unwrap();
        page.timers.iter().map(|timer| without_log(timer.event().id())).collect::<Vec<_>>()
    };
    let again = async |count: u64| {
        let mut client = platform.host.client().await;
        let sought = client.post("/v1/subscriptions/billing/seek", "application/json", r#"{"to":"beginning"}"#).await;
        assert_eq!(sought.status, 200, "{}", sought.text());
        platform.acknowledged("billing", count).await;
    };
    receiver.next().await;
    platform.acknowledged("billing", 1).await;
    assert_eq!((waiting(&platform), platform.tenant().position()), (vec!["billing/1/1".to_owned()], 2));
    again(2).await;
    assert_eq!((waiting(&platform).len(), platform.tenant().position()), (1, 2));
    // A command all of whose answer waits, and then another answer to it, which comes too late.
    command(&platform, "c2", None);
    platform.acknowledged("billing", 3).await;
    assert_eq!(waiting(&platform), ["billing/1/1", "billing/3/1"]);
    let mut client = platform.host.client().await;
    let sought = client.post("/v1/subscriptions/billing/seek", "application/json", r#"{"to":{"position":3}}"#).await;
    assert_eq!(sought.status, 200, "{}", sought.text());
    platform.acknowledged("billing", 4).await;
    let due = platform.tenant().timers(None, 10).unwrap().timers.iter().map(|timer| timer.due).max();
    assert_eq!((waiting(&platform).len(), due.unwrap().to_string().as_str()), (2, "2026-01-31T10:00:00.000Z"));
    platform.clock.wait_ms(30 * 60 * 1_000);
    eventually(async || (platform.tenant().position() == 5).then_some(())).await;
    let found = events(&platform, 3);
    assert_eq!((&found[0]["id"], &found[0]["causationid"]), (&json!("billing/1/1"), &json!("c1")), "{found:?}");
    assert!(waiting(&platform).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_may_not_be_appended_fails_and_says_why() {
    let many = format!("[{}]", vec![r#"{"type":"a"}"#; 101].join(","));
    let large = format!(r#"[{{"type":"a","data":"{}"}}]"#, "x".repeat(1 << 20));
    for (body, said) in [
        ("{}", "expected"),
        ("[1]", "event 0: expected a JSON object"),
        (r#"[{"type":"a"},{"data":1}]"#, "event 1: "),
        (r#"[{"type":"a"},{"type":"quipu.delivery.failed"}]"#, "event 1: "),
        (r#"[{"type":"a","tenantid":"other"}]"#, "expected no tenantid"),
        (r#"[{"type":"a","data":1,"data_base64":"AA=="}]"#, "data"),
        (&many, "expected at most 100 events, found 101"),
        (&large, "expected an answer of at most 1048576 bytes"),
    ] {
        let platform = Platform::start().await;
        let mut receiver = Receiver::start(vec![reply(body)]).await;
        let members = format!(r#"{ANSWERS},"retry":{{"maxattempts":1}}"#);
        platform.push("billing", &receiver.url(), &members).await;
        command(&platform, "c1", Some("order/1"));
        receiver.next().await;
        let dead = eventually(async || Some(platform.info("billing")).filter(|info| info.dead_letters == 1)).await;
        assert_eq!((dead.counts.acknowledged, platform.tenant().position()), (0, 1));
        let mut client = platform.host.client().await;
        let text = client.get("/v1/deadletters/1").await.text().to_owned();
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_publish_everything_lets_no_endpoint_publish() {
    let platform = Platform::start().await;
    let text = |name: &str, members: &str| {
        let mut text = serde_json::to_value(definition("http://127.0.0.1:1/", members)).unwrap();
        text["name"] = name.into();
        text.to_string()
    };
    let narrow = json!([
        {"permissions": ["manage"]},
        {"permissions": ["publish"], "pattern": {"type": ["order.paid"]}},
    ]);
    for (grants, status) in [
        (json!([{"permissions": ["manage"]}]), 403),
        (narrow, 403),
        (json!([{"permissions": ["manage", "publish"]}]), 201),
    ] {
        let key = key(&platform.host, grants);
        let ask = async |method: &str, target: &str, body: &str| {
            send(&platform.host, method, target, Some(&key), Some(("application/json", body))).await
        };
        let name = format!("s{status}");
        let plain = ask("POST", "/v1/subscriptions", &text("plain", "")).await;
        assert!([200, 201].contains(&plain.status), "{}", plain.text());
        let made = ask("POST", "/v1/subscriptions", &text(&name, ANSWERS)).await;
        assert_eq!(made.status, status, "{}", made.text());
        let body = serde_json::to_string(&definition("http://127.0.0.1:1/", ANSWERS)).unwrap();
        let changed = ask("PUT", "/v1/subscriptions/plain", &body).await;
        assert_eq!(changed.status, if status == 201 { 200 } else { 403 }, "{}", changed.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_command_is_forged_by_nobody_who_may_publish_some_events() {
    let platform = Platform::start().await;
    let some = json!([{"permissions": ["publish"], "pattern": {"type": ["order.paid"]}}]);
    for (grants, source, status) in [
        (some.clone(), "/subscriptions/billing", 403),
        (some.clone(), "/quipu/sagas/order_fulfilment", 403),
        (some, "/shop", 200),
        (json!([{"permissions": ["publish"]}]), "/subscriptions/billing", 200),
    ] {
        let key = key(&platform.host, grants);
        let event = json!({"specversion": "1.0", "id": "1", "source": source, "type": "order.paid"}).to_string();
        let body = Some(("application/cloudevents+json", event.as_str()));
        let sent = send(&platform.host, "POST", "/v1/events", Some(&key), body).await;
        assert_eq!(sent.status, status, "{source}: {}", sent.text());
    }
}

/// A command that a worker has fetched: how it is named in an append, and its idempotency key.
async fn fetched(platform: &Platform) -> (Value, String) {
    let mut client = platform.host.client().await;
    let pulled = client.post("/v1/subscriptions/worker/pull", "application/json", r#"{"waitms":5000}"#).await;
    let pulled: Value = serde_json::from_str(pulled.text()).unwrap();
    let delivery = &pulled["deliveries"][0]["delivery"];
    let named = json!({"subscription": "worker", "position": delivery["position"], "token": delivery["token"]});
    (named, delivery["idempotencykey"].as_str().unwrap().to_owned())
}

/// What a worker decides.
struct Decided<'a> {
    kind: &'a str,
    id: &'a str,
    version: u64,
    acknowledge: &'a Value,
}

async fn append(platform: &Platform, key: Option<&str>, decided: Decided<'_>) -> (u16, Value) {
    let Decided { kind, id, version, acknowledge } = decided;
    let body = json!({
        "events": [{"specversion": "1.0", "id": id, "source": "/worker", "type": kind, "subject": "order/1"}],
        "conditions": [{"stream": "order/1", "version": version}],
        "acknowledge": acknowledge,
    });
    let sent = send(&platform.host, "POST", "/v1/append", key, Some(("application/json", &body.to_string()))).await;
    (sent.status, serde_json::from_str(sent.text()).unwrap())
}

/// A subscription that a worker fetches from, and a command.
async fn commanded() -> Platform {
    let platform = Platform::start().await;
    let made = r#"{"name":"worker","pattern":{"type":["order.pay"]},"start":"beginning"}"#;
    let mut client = platform.host.client().await;
    assert_eq!(client.post("/v1/subscriptions", "application/json", made).await.status, 201);
    command(&platform, "c1", Some("order/1"));
    platform
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_a_command_with_events_in_one_step() {
    let platform = commanded().await;
    let (acknowledge, key) = fetched(&platform).await;
    let id = format!("{key}/1");
    let decided = |version| Decided { kind: "order.paid", id: &id, version, acknowledge: &acknowledge };
    publish(&platform, &Event::builder("x", "/shop", "order.noted").subject("order/1").build().unwrap());
    // Somebody was faster: the command stays with the worker, who decides on what is there now.
    let (status, refused) = append(&platform, None, decided(1)).await;
    assert_eq!((status, &refused["code"]), (409, &json!("condition-failed")), "{refused}");
    assert_eq!(platform.info("worker").summary.in_flight, 1);
    let (status, done) = append(&platform, None, decided(2)).await;
    assert_eq!((status, &done["acknowledged"]), (200, &json!(true)), "{done}");
    assert_eq!((platform.info("worker").counts.acknowledged, platform.tenant().position()), (1, 3));
    // A worker that did not hear it asks again.
    let (status, again) = append(&platform, None, decided(2)).await;
    assert_eq!((status, &again["duplicate"], &again["acknowledged"]), (200, &json!(true), &json!(false)), "{again}");
    assert_eq!(platform.tenant().position(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_to_a_worker_once_more_keeps_its_first_answer() {
    let platform = commanded().await;
    let (acknowledge, key) = fetched(&platform).await;
    let id = format!("{key}/1");
    let (status, _) =
        append(&platform, None, Decided { kind: "order.paid", id: &id, version: 1, acknowledge: &acknowledge }).await;
    assert_eq!(status, 200);
    // As after a crash, in which the acknowledgement was lost.
    let mut client = platform.host.client().await;
    client.post("/v1/subscriptions/worker/seek", "application/json", r#"{"to":"beginning"}"#).await;
    let (acknowledge, same) = fetched(&platform).await;
    assert_eq!(same, key);
    // The worker decides on a state that its first answer is in, and comes to another one.
    let other = Decided { kind: "order.payment.refused", id: &id, version: 2, acknowledge: &acknowledge };
    let (status, refused) = append(&platform, None, other).await;
    assert_eq!(
        (status, &refused["code"], &refused["acknowledged"]),
        (409, &json!("id-conflict"), &json!(true)),
        "{refused}"
    );
    assert_eq!((platform.info("worker").summary.in_flight, platform.tenant().position()), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_time_is_over_appends_nothing() {
    let platform = commanded().await;
    let (acknowledge, key) = fetched(&platform).await;
    let id = format!("{key}/1");
    let changed = |member: &str, value: Value| {
        let mut changed = acknowledge.clone();
        changed[member] = value;
        changed
    };
    for (acknowledge, id, status, said) in [
        (changed("token", json!("none")), id.as_str(), 409, "delivery-not-in-flight"),
        (changed("token", json!("0000000000000000")), &id, 409, "delivery-not-in-flight"),
        (changed("deadletter", json!(7)), &id, 409, "delivery-not-in-flight"),
        (changed("subscription", json!("nobody")), &id, 400, "/events/0/id"),
        // With another id, whoever answers it next would not know.
        (acknowledge.clone(), "mine", 400, "/events/0/id"),
        (acknowledge.clone(), &key, 400, "/events/0/id"),
        (acknowledge.clone(), &format!("{key}/"), 400, "/events/0/id"),
    ] {
        let decided = Decided { kind: "order.paid", id, version: 1, acknowledge: &acknowledge };
        let (found, answer) = append(&platform, None, decided).await;
        assert_eq!(found, status, "{answer}");
        assert!(answer.to_string().contains(said), "{said}: {answer}");
    }
    platform.clock.wait_ms(31_000);
    eventually(async || Some(()).filter(|()| platform.info("worker").summary.in_flight == 0)).await;
    let decided = Decided { kind: "order.paid", id: &id, version: 1, acknowledge: &acknowledge };
    assert_eq!(append(&platform, None, decided).await.0, 409);
    let empty = json!({"events": [], "acknowledge": acknowledge}).to_string();
    let sent = send(&platform.host, "POST", "/v1/append", None, Some(("application/json", &empty))).await;
    assert_eq!(sent.status, 400, "{}", sent.text());
    assert_eq!(platform.tenant().position(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_consume_a_subscription_acknowledges_nothing_of_it() {
    let platform = commanded().await;
    let (acknowledge, idempotency_key) = fetched(&platform).await;
    let id = format!("{idempotency_key}/1");
    for (grants, status) in [
        (json!([{"permissions": ["publish"]}]), 403),
        (json!([{"permissions": ["publish"]}, {"permissions": ["consume"], "subscriptions": ["other"]}]), 403),
        (json!([{"permissions": ["consume"]}]), 403),
        (json!([{"permissions": ["publish", "consume"]}]), 200),
    ] {
        let key = key(&platform.host, grants);
        let decided = Decided { kind: "order.paid", id: &id, version: 1, acknowledge: &acknowledge };
        let (found, answer) = append(&platform, Some(&key), decided).await;
        assert_eq!(found, status, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_answers_a_command_with_a_timer_and_is_not_acknowledged_for_one_that_is_taken() {
    let platform = commanded().await;
    let (acknowledge, key) = fetched(&platform).await;
    let taken = Event::builder("taken", "/shop", "order.noted").json("1").build().unwrap();
    publish(&platform, &taken);
    let body = |timer: &str| {
        json!({
            "events": [{"specversion": "1.0", "id": format!("{key}/1"), "source": "/worker", "type": "order.held"}],
            "timers": [{"afterms": 5_000, "event": {"specversion": "1.0", "id": timer, "source": "/shop", "type": "order.late"}}],
            "acknowledge": acknowledge,
        })
        .to_string()
    };
    let ask = async |timer: &str| {
        let body = body(timer);
        send(&platform.host, "POST", "/v1/append", None, Some(("application/json", &body))).await
    };
    // The source and id of the timer's event are those of another: the command stays with the worker.
    let refused = ask("taken").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert_eq!(refused.json().get("acknowledged"), None);
    assert_eq!(platform.info("worker").summary.in_flight, 1);
    let done = ask("late").await.json();
    assert_eq!((&done["acknowledged"], &done["timers"][0]["timer"]), (&json!(true), &json!(1)), "{done}");
    assert_eq!(platform.info("worker").counts.acknowledged, 1);
    let again = ask("late").await.json();
    assert_eq!((&again["duplicate"], &again["timers"][0]["duplicate"]), (&json!(true), &json!(true)), "{again}");
}
