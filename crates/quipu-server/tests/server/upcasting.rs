//! Events in a version of their schema: for readers, tails and subscriptions, and what is said where that is not possible.

use serde_json::{Value, json};

use crate::consumers::Consumer;
use crate::host::Host;
use crate::tail::Tail;

const UPCASTER: &str = "{cents: (.total * 100 | round)}";

fn order(id: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"order.placed","subject":"o/1","data":{data}}}"#
    )
}

fn total(kind: &str) -> Value {
    json!({"type": "object", "properties": {"total": {"type": kind}}, "required": ["total"]})
}

fn cents() -> Value {
    json!({"type": "object", "properties": {"cents": {"type": "integer"}}, "required": ["cents"]})
}

/// Two versions of one type, and an event of the first.
async fn two_versions(host: &Host) -> Consumer {
    let mut consumer = Consumer::connect(host).await;
    let first = consumer.send("POST", "/v1/schemas/order.placed", &json!({ "schema": total("number") })).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(consumer.0.publish(&order("1", r#"{"total":1.5}"#)).await.status, 200);
    let without = consumer.send("POST", "/v1/schemas/order.placed", &json!({ "schema": cents() })).await;
    assert_eq!((without.status, without.json()["code"].as_str()), (409, Some("incompatible-schema")));
    let second = json!({ "schema": cents(), "upcaster": { "jq": UPCASTER } });
    let checked = consumer.send("POST", "/v1/schemas/order.placed/check", &second).await.json();
    assert_eq!((&checked["compatible"], &checked["upcaster"]["events"]), (&json!(true), &json!(1)), "{checked}");
    let second = consumer.send("POST", "/v1/schemas/order.placed", &second).await;
    assert_eq!((second.status, &second.json()["schema"]["upcaster"]["jq"]), (201, &json!(UPCASTER)), "{second:?}");
    consumer
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_are_given_the_version_they_ask_for() {
    let host = Host::start().await;
    let mut consumer = two_versions(&host).await;
    for (target, pointer) in [
        ("/v1/events?limit=1&", "/events/0"),
        ("/v1/streams/o/1?", "/events/0"),
        ("/v1/positions/1?", ""),
        ("/v1/event?source=/shop&id=1&", ""),
    ] {
        for (version, kind, data) in [
            ("newest", "order.placed.v2", json!({"cents": 150})),
            ("2", "order.placed.v2", json!({"cents": 150})),
            ("1", "order.placed", json!({"total": 1.5})),
            ("stored", "order.placed", json!({"total": 1.5})),
        ] {
            let answer = consumer.get(&format!("{target}schemaversion={version}")).await;
            let event = answer.pointer(pointer).unwrap();
            assert_eq!((&event["type"], &event["data"]), (&json!(kind), &data), "{target}{version}");
            assert_eq!((&event["position"], &event["streamversion"]), (&json!(1), &json!(1)));
        }
        let bad = consumer.0.get(&format!("{target}schemaversion=0")).await;
        assert_eq!((bad.status, &bad.json()["parameter"]), (400, &json!("schemaversion")), "{target}");
    }
    let verified = consumer.get("/v1/schemas/order.placed/verification").await;
    assert_eq!(
        verified,
        json!({"type":"order.placed","version":2,"events":1,"earlier":1,"failed":0,"to":1,"position":1})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_in_a_version_is_named_and_stays_readable() {
    let host = Host::start().await;
    let mut consumer = two_versions(&host).await;
    consumer.subscribe(json!({"name": "s", "start": "beginning", "schemaversion": "newest"})).await;
    assert_eq!(consumer.0.publish(&order("2", r#"{"total":"none"}"#)).await.status, 200);
    for target in
        ["/v1/events?schemaversion=newest", "/v1/positions/2?schemaversion=2", "/v1/streams/o/1?schemaversion=newest"]
    {
        let answer = consumer.0.get(target).await;
        let problem = answer.json();
        assert_eq!((answer.status, problem["code"].as_str()), (409, Some("not-upcast")), "{target}: {problem}");
        assert_eq!(
            (&problem["position"], &problem["version"], &problem["reason"]),
            (&json!(2), &json!(2), &json!("failed"))
        );
    }
    assert_eq!(consumer.get("/v1/positions/2").await["data"]["total"], "none");
    let verified = consumer.get("/v1/schemas/order.placed/verification?version=2").await;
    assert_eq!((&verified["failed"], &verified["first"][0]["position"]), (&json!(1), &json!(2)), "{verified}");

    // A tail says why it ends, in front of it.
    let mut tail = Tail::open(&host, "/v1/tail?from=start&schemaversion=newest", "").await;
    assert_eq!(tail.message().await, (1, "1".to_owned()));
    let last = tail.block().await;
    assert!(last.starts_with("event: error\ndata: {") && last.contains("not-upcast"), "{last}");

    // A subscription goes on, and has a dead letter.
    let pulled = consumer.pull(10, 20_000).await;
    assert_eq!((pulled.len(), &pulled[0]["event"]["data"]), (1, &json!({"cents": 150})), "{pulled:?}");

    // An upcaster that takes it into account reads all of it.
    let path = "/v1/schemas/order.placed/versions/2/upcaster";
    let worse = consumer.send("PUT", path, &json!({"jq": "error(.total)"})).await;
    let problem = worse.json();
    assert_eq!((worse.status, problem["code"].as_str()), (409, Some("upcaster-fails")), "{problem}");
    assert_eq!((&problem["upcaster"]["events"], &problem["upcaster"]["failed"]), (&json!(2), &json!(2)), "{problem}");
    assert!(!worse.text().contains("none"), "an expression says in its error what it has read: {problem}");
    let mended = json!({"jq": "{cents: ((.total | tonumber? // 0) * 100 | round)}"});
    let set = consumer.send("PUT", path, &mended).await;
    assert_eq!((set.status, &set.json()["compatibility"]["upcaster"]["failed"]), (200, &json!(0)), "{set:?}");
    assert_eq!(consumer.get("/v1/positions/2?schemaversion=newest").await["data"], json!({"cents": 0}));
    let nonsense = consumer.send("PUT", path, &json!({"jq": "{cents: "})).await;
    assert_eq!((nonsense.status, &nonsense.json()["pointer"]), (400, &json!("/upcaster/jq")), "{nonsense:?}");
    let removed = consumer.send("PUT", path, &json!({})).await;
    assert_eq!((removed.status, removed.json()["code"].as_str()), (409, Some("incompatible-schema")), "{removed:?}");
}
