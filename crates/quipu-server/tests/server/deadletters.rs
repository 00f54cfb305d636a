//! Dead letters: how they come about, how they are found, and what can be decided about them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::consumers::{Consumer, outcome, positions, without_log};
use crate::host::{Host, within};

impl Consumer {
    /// Gives a delivery up, and waits until the dead letter is durable.
    async fn give_up(&mut self, delivery: &Value, error: &str) {
        let before = self.get("/v1/deadletters?state=all&limit=10000").await["deadletters"].as_array().unwrap().len();
        let mut answer = outcome(delivery, "giveup");
        answer["error"] = error.into();
        assert_eq!(self.answer(json!([answer])).await["done"], 1);
        within(async {
            while self.get("/v1/deadletters?state=all&limit=10000").await["deadletters"].as_array().unwrap().len()
                == before
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn decide(&mut self, id: u64, word: &str, body: Value) -> (u16, Value) {
        let answer = self.send("POST", &format!("/v1/deadletters/{id}/{word}"), &body).await;
        (answer.status, answer.json())
    }

    async fn ids(&mut self, query: &str) -> Vec<u64> {
        let page = self.get(&format!("/v1/deadletters?{query}")).await;
        page["deadletters"].as_array().unwrap().iter().map(|letter| letter["id"].as_u64().unwrap()).collect()
    }
}

async fn with_a_dead_letter(host: &Host, definition: Value) -> Consumer {
    let mut consumer = Consumer::connect(host).await;
    consumer.subscribe(definition).await;
    consumer.publish("1", "a").await;
    let deliveries = consumer.pull(1, 20_000).await;
    host.advance(12);
    consumer.give_up(&deliveries[0], "no customer 4711").await;
    consumer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_tells_the_whole_story() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({"retry":{"maxattempts":2,"backoff":{"delaysms":[1000]}}})).await;
    consumer.publish("1", "a").await;
    let first = consumer.pull(1, 20_000).await;
    host.advance(12);
    let mut nack = outcome(&first[0], "nack");
    nack["error"] = "no customer 4711".into();
    consumer.answer(json!([nack])).await;
    host.advance(1_000);
    let second = consumer.pull(1, 20_000).await;
    host.advance(30_000);
    within(async { while consumer.ids("").await.is_empty() {} }).await;
    assert_eq!(second[0]["delivery"]["attempt"], 2);
    let event = consumer.get("/v1/positions/1").await;
    let mut letter = consumer.get("/v1/deadletters/1").await;
    letter.as_object_mut().unwrap().remove("time");
    assert_eq!(
        letter,
        json!({"id":1,"subscription":"s","position":1,"type":"t","reason":"attempts-exhausted","attempts":2,
        "fingerprint":"no acknowledgement within # ms","parkskey":false,"state":"open","event":event,
        "history":[
            {"number":1,"time":"2026-01-31T09:30:00.000Z","durationms":12,"error":"no customer 4711"},
            {"number":2,"time":"2026-01-31T09:30:01.012Z","durationms":30000,"error":"no acknowledgement within 30000 ms"},
        ]})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_filtered_paged_and_grouped() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    consumer.subscribe(json!({})).await;
    for (n, error) in ["no customer 1", "no customer 2", "timeout"].iter().enumerate() {
        consumer.publish(&n.to_string(), &n.to_string()).await;
        let delivery = consumer.pull(1, 20_000).await;
        consumer.give_up(&delivery[0], error).await;
    }
    assert_eq!(consumer.ids("").await, [1, 2, 3]);
    assert_eq!(consumer.ids("fingerprint=no%20customer%20%23&subscription=s&type=t").await, [1, 2]);
    assert!(consumer.ids("subscription=other").await.is_empty());
    let page = consumer.get("/v1/deadletters?limit=2").await;
    let cursor = page["cursor"].as_str().unwrap().to_owned();
    assert_eq!(consumer.ids(&format!("limit=2&cursor={cursor}")).await, [3]);
    let other = consumer.0.get(&format!("/v1/deadletters?type=t&cursor={cursor}")).await;
    assert_eq!(other.json()["code"], "invalid-cursor", "a cursor belongs to its question");
    let groups = consumer.get("/v1/deadletters/groups?limit=1").await;
    assert_eq!((&groups["groups"][0]["count"], &groups["cut"]), (&json!(2), &json!(true)));
    assert_eq!((&groups["groups"][0]["oldest"]["id"], &groups["groups"][0]["newest"]["id"]), (&json!(1), &json!(2)));
    assert_eq!(consumer.decide(2, "discard", json!({"reason":"a test"})).await.0, 200);
    assert_eq!(consumer.ids("").await, [1, 3]);
    assert_eq!(consumer.ids("state=discarded").await, [2]);
    assert!(consumer.ids("state=redriven").await.is_empty());
    assert_eq!(consumer.ids("state=all").await, [1, 2, 3]);
    assert_eq!(consumer.get("/v1/subscriptions/s").await["deadletters"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_one_says_so_and_when_it_fails_again_where_it_comes_from() {
    let host = Host::start().await;
    let mut consumer = with_a_dead_letter(&host, json!({})).await;
    let (status, decided) = consumer.decide(1, "redrive", json!({})).await;
    assert_eq!((status, &decided["deadletter"]["state"]), (200, &json!("redriven")));
    assert_eq!(decided["deadletter"]["redrivento"], "s");
    let again = consumer.pull(1, 20_000).await;
    let handle = &again[0]["delivery"];
    assert_eq!((&handle["redriven"], &handle["deadletter"], &handle["attempt"]), (&json!(true), &json!(1), &json!(1)));
    let key = handle["idempotencykey"].as_str().unwrap();
    assert_eq!(without_log(key), "s/1", "the same event for the same subscription");
    consumer.give_up(&again[0], "still no customer").await;
    let failed = consumer.get("/v1/deadletters/2").await;
    assert_eq!((&failed["redrivenfrom"], &failed["position"]), (&json!(1), &json!(1)));
    for (word, body) in [("redrive", json!({})), ("discard", json!({"reason":"x"}))] {
        let (status, refused) = consumer.decide(1, word, body).await;
        assert_eq!((status, refused["code"].as_str()), (409, Some("dead-letter-decided")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_can_go_to_another_subscription() {
    let host = Host::start().await;
    let mut consumer = with_a_dead_letter(&host, json!({})).await;
    assert_eq!(consumer.decide(1, "redrive", json!({"to":"none"})).await.1["code"], "subscription-not-found");
    let made = consumer.send("POST", "/v1/subscriptions", &json!({"name":"other","pattern":{"type":["x"]}})).await;
    assert_eq!(made.status, 201);
    assert_eq!(consumer.decide(1, "redrive", json!({"to":"other"})).await.0, 200);
    assert!(consumer.pull(1, 0).await.is_empty());
    let answer = consumer.send("POST", "/v1/subscriptions/other/pull", &json!({"waitms":20_000})).await.json();
    let key = answer["deliveries"][0]["delivery"]["idempotencykey"].as_str().unwrap();
    assert_eq!(without_log(key), "other/1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_copy_is_delivered_in_the_place_of_the_event_and_refers_to_the_original() {
    let host = Host::start().await;
    let mut consumer = with_a_dead_letter(&host, json!({})).await;
    let mut event = consumer.get("/v1/deadletters/1").await["event"].clone();
    for (bad, code) in [
        (json!({"id":"1"}), "invalid-event"),
        (json!({"specversion":"1.0","id":"1","source":"/s","type":"t","time":"noon"}), "invalid-event"),
        (json!(7), "invalid-request"),
    ] {
        let (status, refused) = consumer.decide(1, "redrive", json!({ "event": bad })).await;
        assert_eq!((status, &refused["code"], &refused["pointer"]), (400, &json!(code), &json!("/event")));
    }
    event["data"] = json!({"n":2});
    let (status, decided) = consumer.decide(1, "redrive", json!({ "event": event })).await;
    assert_eq!((status, &decided["copy"]), (200, &json!(2)));
    let delivered = consumer.pull(1, 20_000).await;
    assert_eq!((&delivered[0]["event"], positions(&delivered)), (&event, vec![1]));
    let key = delivered[0]["delivery"]["idempotencykey"].as_str().unwrap();
    assert_eq!(without_log(key), "s/1/2", "it is not what was processed before");
    let copy = consumer.get("/v1/deadletters/2").await;
    assert_eq!((&copy["copyof"], &copy["event"]), (&json!(1), &event));
    assert_eq!(consumer.get("/v1/positions/1").await["data"], json!({"n":1}), "the log stays as it is");
    assert_eq!(consumer.get("/v1/deadletters/1").await["event"]["data"], json!({"n":1}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_key_waits_for_a_decision_and_says_why() {
    let host = Host::start().await;
    let mut consumer = with_a_dead_letter(&host, json!({"deadletter":{"key":"park"}})).await;
    consumer.publish("2", "a").await;
    consumer.publish("3", "b").await;
    let others = consumer.pull(10, 20_000).await;
    assert_eq!(positions(&others), [3], "other keys go on");
    consumer.answer(json!([outcome(&others[0], "ack")])).await;
    let explained = consumer.get("/v1/subscriptions/s/explain").await;
    assert_eq!((&explained["reason"], &explained["deadletter"]), (&json!("key-parked"), &json!(1)), "{explained}");
    assert_eq!(explained["sentence"], "A key is parked by the event at position 1; redrive or discard dead letter 1.");
    assert_eq!(explained["lag"]["events"], 2);
    assert_eq!(consumer.decide(1, "redrive", json!({})).await.0, 200);
    let again = consumer.pull(10, 20_000).await;
    assert_eq!(positions(&again)[0], 1, "the key goes on in its order");
    consumer.answer(json!([outcome(&again[0], "ack")])).await;
    if again.len() == 1 {
        assert_eq!(positions(&consumer.pull(10, 20_000).await), [2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_parked_key_goes_on_with_the_next() {
    let host = Host::start().await;
    let mut consumer = with_a_dead_letter(&host, json!({"deadletter":{"key":"park"}})).await;
    consumer.publish("2", "a").await;
    assert!(consumer.pull(10, 0).await.is_empty());
    let (status, decided) = consumer.decide(1, "discard", json!({"reason":"a test order"})).await;
    assert_eq!((status, &decided["deadletter"]["discardreason"]), (200, &json!("a test order")));
    assert_eq!(positions(&consumer.pull(10, 20_000).await), [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_decide_at_once_one_does() {
    let host = Host::start().await;
    let mut consumer = with_a_dead_letter(&host, json!({})).await;
    let (mut deciding, together) = (Vec::new(), Arc::new(Barrier::new(8)));
    for n in 0..8 {
        let (mut other, together) = (Consumer::connect(&host).await, Arc::clone(&together));
        deciding.push(tokio::spawn(async move {
            together.wait().await;
            match n % 2 {
                0 => other.decide(1, "redrive", json!({})).await.0,
                _ => other.decide(1, "discard", json!({"reason":"x"})).await.0,
            }
        }));
    }
    let mut statuses = Vec::new();
    for one in deciding {
        statuses.push(within(one).await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    let state = consumer.get("/v1/deadletters/1").await["state"].clone();
    assert_eq!(consumer.pull(10, 0).await.len(), usize::from(state == "redriven"));
}
