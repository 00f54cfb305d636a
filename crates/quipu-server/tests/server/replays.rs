//! Replays over HTTP: marked for whoever gets them, begun only by who may, and kept from endpoints unless they are allowed.

use quipu_server::Server;
use serde_json::{Value, json};

use crate::access::{closed, code, fill, key, permissions, send};
use crate::consumers::{Consumer, outcome, positions, without_log};
use crate::host::{Host, within};
use crate::platform::{Platform, position};
use crate::receiver::Receiver;
use quipu_domain::Permission;
use quipu_engine::NewSchema;

impl Consumer {
    async fn preview_replay(&mut self, body: Value) -> (u16, Value) {
        let answer = self.send("POST", "/v1/replays", &body).await;
        (answer.status, answer.json())
    }

    /// Begins it. Its number.
    async fn begin_replay(&mut self, body: Value) -> u64 {
        let (status, preview) = self.preview_replay(body).await;
        assert_eq!(status, 201, "{preview}");
        let id = preview["id"].as_u64().unwrap();
        let begun = self.send("POST", &format!("/v1/operations/{id}/confirm"), &json!({})).await;
        assert_eq!((begun.status, &begun.json()["state"]), (200, &json!("running")));
        id
    }

    async fn replay_ended(&mut self, id: u64) -> Value {
        within(async {
            loop {
                let operation = self.get(&format!("/v1/operations/{id}")).await;
                if operation["state"] != "running" {
                    return operation;
                }
            }
        })
        .await
    }
}

/// With its mark, which an answer needs.
fn answered(delivery: &Value, word: &str) -> Value {
    let mut answer = outcome(delivery, word);
    answer["replay"] = delivery["delivery"]["replay"].clone();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_sees_the_mark_and_answers_with_it_until_the_verdict() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    for n in 1..=3 {
        consumer.publish(&n.to_string(), "a").await;
    }
    consumer.subscribe(json!({"retry":{"maxattempts":1}})).await;
    let asked = json!({"to":"s","from":{"position":2},"pattern":{"type":["t"]}});
    let (status, preview) = consumer.preview_replay(asked.clone()).await;
    assert_eq!((status, &preview["total"], &preview["types"]), (201, &json!(2), &json!([{"type":"t","events":2}])));
    assert_eq!(preview["work"], json!({"replay":{"to":"s","from":2,"until":3,"pattern":{"type":["t"]}}}));
    let id = consumer.begin_replay(asked).await;
    let deliveries = consumer.pull(10, 20_000).await;
    assert_eq!(positions(&deliveries), [2, 3]);
    let handle = &deliveries[0]["delivery"];
    assert_eq!((&handle["replay"], &handle["redriven"]), (&json!(id), &json!(false)));
    assert_eq!(without_log(handle["idempotencykey"].as_str().unwrap()), format!("s/2/replay-{id}"));
    let unmarked = consumer.answer(json!([outcome(&deliveries[0], "ack")])).await;
    assert_eq!(unmarked["results"][0]["error"]["code"], "delivery-not-in-flight");
    let answers = json!([answered(&deliveries[0], "ack"), answered(&deliveries[1], "giveup")]);
    assert_eq!(consumer.answer(answers).await["done"], 2);
    let operation = consumer.replay_ended(id).await;
    assert_eq!(
        (&operation["state"], &operation["done"], &operation["refused"]),
        (&json!("finished"), &json!(2), &json!(1))
    );
    let replay = &operation["replay"];
    assert_eq!(
        (&replay["acknowledged"], &replay["deadlettered"], &replay["position"]),
        (&json!(1), &json!(1), &json!(3))
    );
    assert_eq!(replay["verdict"]["outcome"], "deadlettered");
    for head in ["fromhead", "untilhead"] {
        let text = replay["verdict"][head].as_str().unwrap();
        assert!(quipu_engine::Head::parse(text).is_some(), "{text}");
    }
    assert_eq!(consumer.get("/v1/deadletters/1").await["replay"], id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_called_only_where_webhooks_are_allowed_and_sees_the_mark() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(204).await);
    platform.push("billing", &receiver.url(), "").await;
    platform.publish((0..10).map(|n| format!("s{}", n % 2)));
    for _ in 0..10 {
        assert_eq!(receiver.next().await.header("quipu-replay"), "");
    }
    platform.acknowledged("billing", 10).await;
    let mut consumer = Consumer::connect(&platform.host).await;
    let (status, refused) = consumer.preview_replay(json!({"to":"billing"})).await;
    assert_eq!(
        (status, &refused["code"], &refused["pointer"]),
        (400, &json!("invalid-operation"), &json!("/webhooks"))
    );
    let (_, preview) = consumer.preview_replay(json!({"to":"billing","webhooks":true})).await;
    assert_eq!(preview["callsendpoint"], true);
    let id = consumer.begin_replay(json!({"to":"billing","webhooks":true,"strict":true})).await;
    let mut order = Vec::new();
    for _ in 0..10 {
        let received = receiver.next().await;
        assert_eq!(received.header("quipu-replay"), id.to_string());
        assert!(received.header("webhook-id").ends_with(&format!("/replay-{id}")));
        order.push(position(&received));
    }
    assert_eq!(order, (1..=10).collect::<Vec<_>>(), "one after the other");
    assert_eq!(consumer.replay_ended(id).await["replay"]["verdict"]["outcome"], "acknowledged");
    assert_eq!(receiver.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_begun_only_by_who_may_replay_and_redrive_and_makes_a_shadow_only_for_who_may_manage() {
    let host = closed().await;
    fill(&host, &key(&host, crate::access::everything())).await;
    let of = |all: &[Permission]| key(&host, permissions(all.iter().copied()));
    let post = async |key: &str, target: &str, body: &str| {
        send(&host, "POST", target, Some(key), Some(("application/json", body))).await
    };
    let (replay, redrive) = (of(&[Permission::Replay]), of(&[Permission::Redrive]));
    let both = of(&[Permission::Replay, Permission::Redrive]);
    let plain = r#"{"to":"billing"}"#;
    // Not even counted, which a pattern makes a way to read; and the same whether or not there is one.
    for to in ["billing", "nobody"] {
        let refused = post(&replay, "/v1/replays", &json!({ "to": to }).to_string()).await;
        assert_eq!((code(&refused).as_str(), &refused.json()["permission"]), ("forbidden", &json!("redrive")));
    }
    let previewed = post(&redrive, "/v1/replays", plain).await;
    assert_eq!(previewed.status, 201, "{}", previewed.text());
    let confirm = format!("/v1/operations/{}/confirm", previewed.json()["id"]);
    for key in [&replay, &redrive] {
        assert_eq!(code(&post(key, &confirm, "").await), "forbidden");
    }
    assert_eq!(post(&both, &confirm, "").await.status, 200);
    let shadow = r#"{"to":"copy","shadow":{"of":"billing"}}"#;
    let refused = post(&both, "/v1/replays", shadow).await;
    assert_eq!((code(&refused).as_str(), &refused.json()["permission"]), ("forbidden", &json!("manage")));
    let all = of(&[Permission::Replay, Permission::Redrive, Permission::Manage]);
    let text = r#"{"type":"object","required":["never-there"]}"#.to_owned();
    host.tenant.register_schema("order.placed", NewSchema { text, ..NewSchema::default() }).unwrap();
    let previewed = post(&all, "/v1/replays", shadow).await;
    assert_eq!(previewed.json()["failures"].as_array().unwrap().len(), 20);
    let confirm = format!("/v1/operations/{}/confirm", previewed.json()["id"]);
    assert_eq!(code(&post(&both, &confirm, "").await), "forbidden");
    assert_eq!(post(&all, &confirm, "").await.status, 200);
    assert!(host.tenant.definition("copy").unwrap().shadow);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_makes_no_sense_is_refused_at_its_place() {
    let host = Host::start_with(Server::default()).await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.publish("1", "a").await;
    consumer.subscribe(json!({})).await;
    for (body, status, code, pointer) in [
        (json!({"to":"none"}), 404, "subscription-not-found", None),
        (json!({"to":"s","from":{"position":9}}), 400, "invalid-operation", Some("/from/position")),
        (json!({"to":"s","from":"now"}), 400, "invalid-operation", Some("/until")),
        (json!({"to":"s","speed":0}), 400, "invalid-operation", Some("/speed")),
        (json!({"to":"s","speed":1,"ratepersecond":1}), 400, "invalid-operation", Some("/speed")),
        (json!({"to":"s","ratepersecond":0}), 400, "invalid-operation", Some("/ratepersecond")),
        (json!({"to":"s","pattern":{"type":"a"}}), 400, "invalid-pattern", None),
        (json!({"to":"s","shadow":{}}), 409, "subscription-exists", None),
        (json!({"to":"a b","shadow":{}}), 400, "invalid-subscription", Some("/name")),
        (json!({"to":"c","shadow":{"of":"none"}}), 400, "invalid-operation", Some("/shadow/of")),
    ] {
        let (found, refused) = consumer.preview_replay(body.clone()).await;
        assert_eq!((found, refused["code"].as_str().unwrap()), (status, code), "{body}: {refused}");
        assert_eq!(refused.get("pointer").and_then(Value::as_str), pointer, "{body}: {refused}");
    }
    let redirected = consumer
        .send("POST", "/v1/operations", &json!({"work":{"replay":{"to":"s","from":1,"until":1}},"select":{}}))
        .await;
    assert_eq!((redirected.status, &redirected.json()["pointer"]), (400, &json!("/work")));
}
