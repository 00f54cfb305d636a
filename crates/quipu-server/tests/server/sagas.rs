//! Sagas over HTTP: who sees what of an instance, who intervenes, and that tenants are apart.

use std::time::Duration;

use serde_json::{Value, json};

use crate::access::{closed, code, everything, key, key_of, send};
use crate::client::Answer;
use crate::host::{Host, within};

const PAY: &str = "
saga: order
starts_on: order.placed
steps:
  - pay:
      send: payment.charge
      await: payment.charged
      fail_on: payment.declined
      timeout: 30d
      compensate: { send: payment.refund, await: payment.refunded, fail_on: payment.kept, timeout: 30d, retry: { max: 1 } }
      set: '{receipt: .event.data.receipt}'
  - pack: { send: parcel.pack, await: parcel.packed, fail_on: parcel.broken, timeout: 30d, compensate: none }
fails_with: order.failed
";

/// A server with this saga, and keys for it.
struct Shop {
    host: Host,
    admin: String,
}

impl Shop {
    async fn open() -> Self {
        let host = closed().await;
        let admin = key(&host, everything());
        let shop = Self { host, admin };
        let applied = shop.send("PUT", "/v1/sagas/order", &shop.admin, Some(("application/yaml", PAY))).await;
        assert_eq!((applied.status, &applied.json()["outcome"]), (201, &json!("new")), "{applied:?}");
        shop
    }

    async fn send(&self, method: &str, target: &str, key: &str, body: Option<(&str, &str)>) -> Answer {
        send(&self.host, method, target, Some(key), body).await
    }

    async fn get(&self, target: &str) -> Value {
        self.send("GET", target, &self.admin, None).await.json()
    }

    async fn act(&self, number: u64, act: &str, body: &str) -> Answer {
        let target = format!("/v1/saga-instances/{number}/{act}");
        self.send("POST", &target, &self.admin, Some(("application/json", body))).await
    }

    async fn publish(&self, kind: &str, order: &str, data: &str) {
        let event = format!(
            r#"{{"specversion":"1.0","id":"{kind}-{order}","source":"/shop","type":"{kind}","correlationid":"{order}","data":{data}}}"#
        );
        let sent = self.send("POST", "/v1/events", &self.admin, Some(("application/cloudevents+json", &event))).await;
        assert_eq!(sent.status, 200, "{sent:?}");
    }

    /// Waits until an instance stands so.
    async fn until(&self, number: u64, holds: impl Fn(&Value) -> bool) -> Value {
        within(async {
            loop {
                let found = self.get(&format!("/v1/saga-instances/{number}")).await;
                if holds(&found) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

fn waits_for(instance: &Value, text: &str) -> bool {
    instance["waiting"][0]["sentence"].as_str().is_some_and(|sentence| sentence.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_seen_by_observers_and_its_events_only_by_readers() {
    let shop = Shop::open().await;
    shop.publish("order.placed", "o1", r#"{"total":79}"#).await;
    shop.until(1, |found| waits_for(found, "pay, attempt 1")).await;
    shop.publish("payment.charged", "o1", r#"{"receipt":"r-17"}"#).await;
    shop.until(1, |found| waits_for(found, "pack, attempt 1")).await;
    let observer = key(&shop.host, json!([{"permissions": ["observe"]}]));
    let narrow =
        json!([{"permissions": ["observe"]}, {"permissions": ["read"], "pattern": {"type": ["payment.charge"]}}]);
    let narrow = key(&shop.host, narrow);
    let see = async |key: &str| {
        let instance = shop.send("GET", "/v1/saga-instances/1", key, None).await;
        let timeline = shop.send("GET", "/v1/saga-instances/1/timeline", key, None).await;
        assert_eq!((instance.status, timeline.status), (200, 200));
        (instance.json(), timeline.json())
    };
    let (instance, timeline) = see(&shop.admin).await;
    assert_eq!(instance["variables"], json!({"receipt": "r-17"}));
    assert_eq!(instance["acts"], json!(["cancel", "pause"]));
    let entries = timeline["entries"].as_array().unwrap();
    let what: Vec<&str> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["begun", "tried", "finished", "variablesset", "tried"], "{timeline}");
    assert_eq!(entries[0]["event"]["event"]["data"], json!({"total": 79}));
    assert_eq!((&entries[1]["sent"]["type"], &entries[1]["attempt"]), (&json!("payment.charge"), &json!(1)));
    assert_eq!(entries[1]["untiltime"], "2026-03-02T09:30:00.000Z");
    assert_eq!(entries[2]["event"]["event"]["data"], json!({"receipt": "r-17"}));

    let (instance, timeline) = see(&observer).await;
    assert!(instance["variables"].is_null() && instance["key"] == "o1", "{instance}");
    assert_eq!(timeline["entries"][0]["event"]["type"], "order.placed");
    assert!(!timeline.to_string().contains("data") && !timeline.to_string().contains("r-17"), "{timeline}");
    let (instance, timeline) = see(&narrow).await;
    assert!(instance["variables"].is_null(), "{instance}");
    assert!(timeline["entries"][0]["event"]["event"].is_null(), "{timeline}");
    assert_eq!(timeline["entries"][1]["sent"]["event"]["type"], "payment.charge");

    // Who may look may not intervene, and who may intervene may not declare.
    let refused = shop.send("POST", "/v1/saga-instances/1/cancel", &observer, Some(("application/json", "{}"))).await;
    assert_eq!((refused.status, &refused.json()["permission"]), (403, &json!("intervene")));
    let intervener = key(&shop.host, json!([{"permissions": ["intervene"]}]));
    let refused = shop.send("PUT", "/v1/sagas/order", &intervener, Some(("application/yaml", PAY))).await;
    assert_eq!((refused.status, &refused.json()["permission"]), (403, &json!("orchestrate")));
    let refused = shop.send("DELETE", "/v1/sagas/order", &intervener, None).await;
    assert_eq!(refused.status, 403);
    // One who may look at some subscriptions sees no saga, whatever its name.
    let some = key(&shop.host, json!([{"permissions": ["observe"], "subscriptions": ["order"]}]));
    for target in
        ["/v1/sagas", "/v1/sagas/order", "/v1/sagas/order/diagram", "/v1/saga-instances", "/v1/saga-instances/1"]
    {
        assert_eq!(shop.send("GET", target, &some, None).await.status, 403, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_decide_what_an_instance_asks_and_the_trail_says_who_and_why() {
    let shop = Shop::open().await;
    for order in ["o1", "o2", "o3"] {
        shop.publish("order.placed", order, "{}").await;
        shop.publish("payment.charged", order, "{}").await;
        shop.publish("parcel.broken", order, "{}").await;
        shop.publish("payment.kept", order, "{}").await;
    }
    for number in 1..=3 {
        shop.until(number, |found| found["state"] == "needsperson").await;
    }
    let stuck = shop.get("/v1/saga-instances?stuck=30d").await;
    assert_eq!(stuck["instances"].as_array().unwrap().len(), 3, "{stuck}");
    assert_eq!(stuck["instances"][0]["failure"], json!({"step": "pack", "reason": "it was refused"}));
    assert_eq!(stuck["instances"][0]["acts"], json!(["pause", "retry", "skip", "resolve"]));
    // The newest first, page by page.
    let first = shop.get("/v1/saga-instances?limit=2&state=needsperson").await;
    let numbers = |page: &Value| {
        page["instances"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&first), [3, 2]);
    let cursor = first["cursor"].as_str().unwrap();
    let last = shop.get(&format!("/v1/saga-instances?limit=2&state=needsperson&cursor={cursor}")).await;
    assert_eq!((numbers(&last), &last["cursor"], &last["total"]), (vec![1], &Value::Null, &json!(3)));
    let found = shop.get("/v1/saga-instances?search=2&saga=order").await;
    assert_eq!(numbers(&found), [2]);
    assert_eq!(numbers(&shop.get("/v1/saga-instances?key=o3&saga=order&stuck=1h").await), [3]);
    assert_eq!(numbers(&shop.get("/v1/saga-instances?older=1s").await), [0; 0]);
    shop.host.advance(2_000);
    assert_eq!(numbers(&shop.get("/v1/saga-instances?older=1s").await), [3, 2, 1]);

    for (act, body, status, found, pointer) in [
        ("skip", "{}", 400, "invalid-request", "/reason"),
        ("resolve", r#"{"reason":" "}"#, 400, "invalid-request", "/reason"),
        ("cancel", r#"{"from":"pay"}"#, 400, "invalid-request", "/from"),
        ("retry", r#"{"from":"nowhere"}"#, 400, "invalid-request", "/from"),
        ("retry", r#"{"why":"so"}"#, 400, "invalid-request", ""),
        ("retry", "{", 400, "malformed-json", ""),
        ("resume", "{}", 409, "saga-state", ""),
        ("cancel", "{}", 409, "saga-state", ""),
    ] {
        let refused = shop.act(1, act, body).await;
        assert_eq!((refused.status, code(&refused).as_str()), (status, found), "{act} {body}: {refused:?}");
        if found == "invalid-request" {
            assert_eq!(refused.json()["pointer"], pointer, "{act} {body}");
        }
    }
    let resolved = shop.act(1, "resolve", r#"{"reason":"refunded at the counter"}"#).await;
    assert_eq!((resolved.status, &resolved.json()["state"]), (200, &json!("resolved")), "{resolved:?}");
    let skipped = shop.act(2, "skip", r#"{"reason":"it was never charged"}"#).await;
    assert_eq!(skipped.json()["state"], "failed", "{skipped:?}");
    let retried = shop.act(3, "retry", "{}").await;
    assert_eq!(retried.json()["state"], "compensating", "{retried:?}");
    shop.publish("payment.refunded", "o3", "{}").await;
    shop.until(3, |found| found["state"] == "compensated").await;
    assert_eq!(shop.act(3, "pause", "{}").await.status, 409);
    assert_eq!(shop.act(9, "pause", "{}").await.status, 404);

    let trail = shop.get("/v1/audit?operation=instance.resolve&outcome=done").await;
    let act = &trail["acts"][0];
    assert_eq!(
        (&act["subject"], &act["details"]["reason"]),
        (&json!("saga-instances/1"), &json!("refunded at the counter"))
    );
    let timeline = shop.get("/v1/saga-instances/1/timeline").await;
    assert!(timeline.to_string().contains("refunded at the counter"), "{timeline}");
    let applied = shop.get("/v1/audit?operation=saga.apply&outcome=done").await;
    assert_eq!(applied["acts"][0]["details"]["declaration"]["saga"], "order", "{applied}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_has_sagas_and_instances_of_its_own() {
    let shop = Shop::open().await;
    shop.publish("order.placed", "o1", "{}").await;
    shop.until(1, |found| waits_for(found, "pay")).await;
    let other = shop.host.engine.tenant("other").unwrap();
    let stranger = key_of(&other, "other", everything(), None);
    let event = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","correlationid":"o1"}"#;
    let sent = shop.send("POST", "/v1/events", &stranger, Some(("application/cloudevents+json", event))).await;
    assert_eq!(sent.status, 200);
    assert_eq!(shop.send("GET", "/v1/sagas", &stranger, None).await.json()["declared"], json!([]));
    assert_eq!(shop.send("GET", "/v1/saga-instances", &stranger, None).await.json()["instances"], json!([]));
    for (method, target, body) in [
        ("GET", "/v1/sagas/order", None),
        ("GET", "/v1/sagas/order/diagram", None),
        ("DELETE", "/v1/sagas/order", None),
        ("GET", "/v1/saga-instances/1", None),
        ("GET", "/v1/saga-instances/1/timeline", None),
        ("POST", "/v1/saga-instances/1/cancel", Some(("application/json", "{}"))),
    ] {
        assert_eq!(shop.send(method, target, &stranger, body).await.status, 404, "{method} {target}");
    }
    assert_eq!(other.position(), 1, "nothing was published for it");
    assert!(waits_for(&shop.get("/v1/saga-instances/1").await, "pay"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_on_many_is_for_who_may_intervene_and_dead_letters_are_not() {
    let shop = Shop::open().await;
    for order in ["o1", "o2", "o3"] {
        shop.publish("order.placed", order, "{}").await;
    }
    shop.until(3, |found| waits_for(found, "pay, attempt 1")).await;
    let intervener = key(&shop.host, json!([{"permissions": ["intervene"]}]));
    let redriver = key(&shop.host, json!([{"permissions": ["redrive"]}]));
    let body = r#"{"work":{"act":"cancel","reason":"recalled"},"select":{"saga":"order","states":["running"]}}"#;
    let preview =
        async |key: &str| shop.send("POST", "/v1/saga-operations", key, Some(("application/json", body))).await;
    assert_eq!(preview(&redriver).await.json()["permission"], "intervene");
    let previewed = preview(&intervener).await;
    let found = previewed.json();
    assert_eq!((previewed.status, &found["total"], &found["state"]), (201, &json!(3), &json!("previewed")), "{found}");
    assert_eq!(found["work"], json!({"saga": {"act": "cancel", "reason": "recalled"}}));
    assert_eq!(found["sample"].as_array().unwrap().len(), 3);
    let id = found["id"].as_u64().unwrap();
    for (method, target) in [
        ("POST", format!("/v1/operations/{id}/confirm")),
        ("POST", format!("/v1/operations/{id}/cancel")),
        ("GET", format!("/v1/operations/{id}")),
        ("GET", format!("/v1/operations/{id}/items")),
    ] {
        let refused = shop.send(method, &target, &redriver, None).await;
        assert_eq!((refused.status, &refused.json()["permission"]), (403, &json!("intervene")), "{target}");
    }
    let listed = async |key: &str| shop.send("GET", "/v1/operations", key, None).await.json()["operations"].clone();
    assert_eq!((listed(&redriver).await, listed(&intervener).await[0]["id"].as_u64()), (json!([]), Some(id)));
    let begun = shop.send("POST", &format!("/v1/operations/{id}/confirm"), &intervener, None).await;
    assert_eq!(begun.status, 200, "{begun:?}");
    let done = within(async {
        loop {
            shop.host.advance(100);
            let found = shop.send("GET", &format!("/v1/operations/{id}"), &intervener, None).await.json();
            if found["ended"].is_string() {
                return found;
            }
        }
    })
    .await;
    assert_eq!((&done["state"], &done["done"], &done["refused"]), (&json!("finished"), &json!(3), &json!(0)), "{done}");
    let timeline = shop.get("/v1/saga-instances/2/timeline").await;
    let acts: Vec<&Value> =
        timeline["entries"].as_array().unwrap().iter().filter(|one| one["what"] == "cancelled").collect();
    assert_eq!((acts.len(), &acts[0]["operation"], &acts[0]["text"]), (1, &json!(id), &json!("recalled")));
    let trail = shop.get(&format!("/v1/audit?subject=operations/{id}")).await;
    assert!(
        trail.to_string().contains("instance.preview") && trail.to_string().contains("operation.confirm"),
        "{trail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_asked_what_a_changed_saga_would_have_made_of_it() {
    let shop = Shop::open().await;
    shop.publish("order.placed", "o1", "{}").await;
    shop.until(1, |found| waits_for(found, "pay, attempt 1")).await;
    shop.publish("payment.declined", "o1", "{}").await;
    shop.until(1, |found| found["state"] == "compensated").await;
    let declaration = shop.get("/v1/sagas/order").await["declaration"].clone();
    let ask = async |declaration: &Value| {
        let body = json!({"declaration": declaration}).to_string();
        shop.send("POST", "/v1/saga-what-if", &shop.admin, Some(("application/json", &body))).await
    };
    let same = ask(&declaration).await.json();
    assert_eq!((&same["same"], &same["differences"]), (&json!(1), &json!([])), "{same}");
    let mut changed = declaration.clone();
    changed["steps"][0]["pay"]["fail_on"] = json!("payment.refused");
    let found = ask(&changed).await.json();
    assert_eq!((&found["otherwise"], &found["differences"][0]["wouldbe"]), (&json!(1), &json!("running")), "{found}");
    let refused = ask(&json!({"saga": "order"})).await;
    assert_eq!(code(&refused), "invalid-saga", "{refused:?}");
    let intervener = key(&shop.host, json!([{"permissions": ["intervene"]}]));
    let refused = shop.send("POST", "/v1/saga-what-if", &intervener, Some(("application/json", "{}"))).await;
    assert_eq!((refused.status, &refused.json()["permission"]), (403, &json!("orchestrate")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_has_no_secret_of_a_declaration_refused_or_not() {
    let shop = Shop::open().await;
    let apply = async |http: Value| {
        let step = json!({"http": http, "compensate": "none"});
        let saga = json!({"saga": "leaks", "starts_on": "a.b", "steps": [{"call": step}]});
        let target = "/v1/sagas/leaks";
        shop.send("PUT", target, &shop.admin, Some(("application/json", &saga.to_string()))).await.status
    };
    let refused = [
        json!("https://user:hunter2@example.com/?token=hunter2"),
        json!("ftp://user:hunter2@example.com/"),
        json!({"url": "https://example.com/", "headers": {"authorization": "hunter2"}}),
    ];
    for http in refused {
        assert_eq!(apply(http.clone()).await, 400, "{http}");
    }
    assert_eq!(apply(json!("https://example.com/?token=hunter2")).await, 201);
    assert_eq!(apply(json!({"url": "https://example.com/hunter2", "method": "PUT"})).await, 201);
    let trail = shop.get("/v1/audit?operation=saga.apply&subject=sagas/leaks").await;
    let acts = trail["acts"].as_array().unwrap();
    assert_eq!(acts.len(), 5, "{trail}");
    assert!(!trail.to_string().contains("hunter2"), "{trail}");
    let told = |act: &Value| act["details"]["declaration"]["saga"].clone();
    let done: Vec<_> = acts.iter().filter(|act| act["outcome"] == "done").map(told).collect();
    assert_eq!(done, ["leaks", "leaks"], "{trail}");
}
