//! Operations on many dead letters: nothing before the confirmation, everything after it, and each item accounted for.

use serde_json::{Value, json};

use crate::consumers::{Consumer, outcome};
use crate::host::{Host, within};

impl Consumer {
    /// So many dead letters of subscription `s`, that failed in the same way.
    async fn with_dead_letters(host: &Host, count: u64) -> Self {
        let mut consumer = Self::connect(host).await;
        consumer.subscribe(json!({"ordering":"none"})).await;
        for n in 0..count {
            consumer.publish(&n.to_string(), &n.to_string()).await;
        }
        let mut given_up = 0;
        while given_up < count {
            let deliveries = consumer.pull(1_000, 20_000).await;
            given_up += deliveries.len() as u64;
            let answers: Vec<_> = deliveries.iter().map(|delivery| outcome(delivery, "giveup")).collect();
            consumer.answer(json!(answers)).await;
        }
        within(async { while consumer.open().await.len() < count as usize {} }).await;
        consumer
    }

    async fn open(&mut self) -> Vec<u64> {
        let page = self.get("/v1/deadletters?limit=10000").await;
        page["deadletters"].as_array().unwrap().iter().map(|letter| letter["id"].as_u64().unwrap()).collect()
    }

    async fn preview(&mut self, body: Value) -> (u16, Value) {
        let answer = self.send("POST", "/v1/operations", &body).await;
        (answer.status, answer.json())
    }

    async fn step(&mut self, id: &Value, verb: &str) -> (u16, Value) {
        let answer = self.0.request("POST", &format!("/v1/operations/{id}/{verb}"), &[], b"").await;
        (answer.status, answer.json())
    }

    /// The operation, once it has ended. Time is moved, since a rate may hold it back.
    async fn ended(&mut self, host: &Host, id: &Value) -> Value {
        within(async {
            loop {
                let operation = self.get(&format!("/v1/operations/{id}")).await;
                if operation["ended"].is_string() {
                    return operation;
                }
                host.advance(100);
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_previewed_is_redriven_once_confirmed_and_not_before() {
    let host = Host::start().await;
    let mut consumer = Consumer::with_dead_letters(&host, 7).await;
    let all = consumer.open().await;
    let listed = consumer.get("/v1/deadletters?limit=5").await["deadletters"].clone();
    let body = json!({"work":{"redrive":{}},"select":{"subscription":"s","type":"t"}});
    let (status, preview) = consumer.preview(body).await;
    assert_eq!((status, &preview["state"], &preview["total"]), (201, &json!("previewed"), &json!(7)));
    assert_eq!((&preview["sample"], &preview["remainingseconds"]), (&listed, &Value::Null));
    assert!(consumer.pull(10, 0).await.is_empty(), "a preview does nothing");
    let items = consumer.get(&format!("/v1/operations/{}/items", preview["id"])).await;
    assert!(items["items"].as_array().unwrap().iter().all(|item| item["outcome"] == "waiting"), "{items}");
    let (status, begun) = consumer.step(&preview["id"], "confirm").await;
    assert_eq!((status, &begun["id"], &begun["work"]), (200, &preview["id"], &json!({"redrive":{}})));
    let ended = consumer.ended(&host, &preview["id"]).await;
    let found = (&ended["state"], &ended["done"], &ended["refused"], &ended["remainingseconds"]);
    assert_eq!(found, (&json!("finished"), &json!(7), &json!(0), &Value::Null));
    let mut again = Vec::new();
    while again.len() < all.len() {
        again.extend(consumer.pull(10, 20_000).await.iter().map(|one| one["delivery"]["deadletter"].as_u64().unwrap()));
    }
    again.sort_unstable();
    assert_eq!(again, all, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_says_what_became_of_it_page_by_page() {
    let host = Host::start().await;
    let mut consumer = Consumer::with_dead_letters(&host, 3).await;
    let all = consumer.open().await;
    let body = json!({"work":{"discard":{"reason":"a test"}},"select":{"ids":[all[2], all[0], all[1], all[0], 99]}});
    let id = consumer.preview(body).await.1["id"].clone();
    let faster = consumer.send("POST", &format!("/v1/deadletters/{}/discard", all[1]), &json!({"reason":"x"})).await;
    assert_eq!(faster.status, 200);
    consumer.step(&id, "confirm").await;
    let ended = consumer.ended(&host, &id).await;
    assert_eq!((&ended["total"], &ended["done"], &ended["refused"]), (&json!(3), &json!(3), &json!(1)));
    let first = consumer.get(&format!("/v1/operations/{id}/items?limit=2")).await;
    assert_eq!(first["items"][0], json!({"id":all[0],"outcome":"done"}));
    assert_eq!((&first["items"][1]["outcome"], &first["next"]), (&json!("refused"), &json!(2)));
    assert!(first["items"][1]["error"].as_str().unwrap().contains("before"), "{first}");
    let rest = consumer.get(&format!("/v1/operations/{id}/items?from=2")).await;
    assert_eq!(rest, json!({"items":[{"id":all[2],"outcome":"done"}],"next":null}));
    let beyond = consumer.get(&format!("/v1/operations/{id}/items?from={}", u64::MAX)).await;
    assert_eq!(beyond, json!({"items":[],"next":null}));
    let letter = consumer.get(&format!("/v1/deadletters/{}", all[2])).await;
    assert_eq!((&letter["state"], &letter["discardreason"]), (&json!("discarded"), &json!("a test")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_confirmed_once_and_what_has_ended_is_not_cancelled() {
    let host = Host::start().await;
    let mut consumer = Consumer::with_dead_letters(&host, 3).await;
    let body = json!({"work":{"discard":{"reason":"a test"}},"select":{},"ratepersecond":1});
    let (_, preview) = consumer.preview(body.clone()).await;
    assert_eq!(preview["remainingseconds"], 3);
    let id = &preview["id"];
    assert_eq!(consumer.step(id, "confirm").await.0, 200);
    let (status, again) = consumer.step(id, "confirm").await;
    assert_eq!((status, &again["code"], &again["state"]), (409, &json!("operation-state"), &json!("running")));
    let (status, cancelled) = consumer.step(id, "cancel").await;
    assert_eq!((status, &cancelled["state"]), (200, &json!("cancelled")));
    assert!(cancelled["done"].as_u64().unwrap() <= 1, "time stands still: the rate allows one, {cancelled}");
    let (status, again) = consumer.step(id, "cancel").await;
    assert_eq!((status, &again["state"]), (409, &json!("cancelled")));
    let (_, unwanted) = consumer.preview(body).await;
    assert_eq!(consumer.step(&unwanted["id"], "cancel").await.1["state"], "cancelled");
    let (status, gone) = consumer.step(&unwanted["id"], "confirm").await;
    assert_eq!((status, &gone["code"]), (404, &json!("operation-not-found")));
    let all = consumer.get("/v1/operations").await;
    assert_eq!(all["operations"], json!([cancelled]), "a preview that was cancelled is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_forgotten_and_there_are_only_so_many() {
    let host = Host::start().await;
    let mut consumer = Consumer::with_dead_letters(&host, 1).await;
    let body = json!({"work":{"redrive":{}},"select":{}});
    let (_, first) = consumer.preview(body.clone()).await;
    for _ in 1..100 {
        assert_eq!(consumer.preview(body.clone()).await.0, 201);
    }
    let (status, refused) = consumer.preview(body.clone()).await;
    assert_eq!((status, &refused["code"], &refused["limit"]), (409, &json!("too-many-operations"), &json!(100)));
    host.advance(15 * 60 * 1_000);
    let (status, late) = consumer.step(&first["id"], "confirm").await;
    assert_eq!((status, &late["code"]), (404, &json!("operation-not-found")));
    assert_eq!(consumer.preview(body).await.0, 201);
}
