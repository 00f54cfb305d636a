//! Subscriptions that deliver something else than the event: what consumers see of it over HTTP and receivers of webhooks
//! in the body, and the dead letters of events that nothing can be made of.

use quipu_server::webhook::Secret;
use serde_json::{Value, json};

use crate::consumers::{Consumer, outcome, positions};
use crate::host::Host;
use crate::platform::{Platform, eventually, position, signed_by};
use crate::receiver::Receiver;

/// Paths, templates that make JSON and text, and jq; the outcome of each for [`order`], and its media type.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("path", r#"{"path":"$.data.total"}"#, "19.90", "application/json"),
    ("paths", r#"{"path":"$.data.lines[*].sku"}"#, r#"["x","y"]"#, "application/json"),
    (
        "json",
        r#"{"template":{"paths":{"id":"$.data.id","note":"$.data.note"},"template":"{\"text\": \"<id>: <note>\", \"by\": \"<aws.events.rule-name>\"}"}}"#,
        r#"{"text":"o-9: say \"hi\"","by":"json"}"#,
        "application/json",
    ),
    (
        "text",
        r#"{"template":{"paths":{"id":"$.data.id","total":"$.data.total"},"template":"Order <id> for <total>, \"new\""}}"#,
        r#"Order o-9 for 19.90, "new""#,
        "text/plain; charset=utf-8",
    ),
    ("jq", r#"{"jq":".data | {id, skus: [.lines[].sku]}"}"#, r#"{"id":"o-9","skus":["x","y"]}"#, "application/json"),
];

/// Transformations that make something of an order with a customer only, and what is said of one without.
const FAULTS: [(&str, &str, &str); 2] = [
    (
        "path",
        r#"{"path":"$.data.customer.name"}"#,
        "$.data.customer.name: expected something at the path, found nothing",
    ),
    (
        "jq",
        r#"{"jq":".data | .customer.name // error(\"no customer of \" + .id)"}"#,
        ".data | .customer.name // error(\"no customer of \" + .id): no customer of o-9",
    ),
];

/// An order of this subject, which has no customer.
fn order(id: &str, subject: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"order.placed","subject":"{subject}","data":{}}}"#,
        r#"{"id":"o-9","total":19.90,"note":"say \"hi\"","lines":[{"sku":"x"},{"sku":"y"}]}"#
    )
}

/// The same order with one.
fn order_with_customer(id: &str, subject: &str) -> String {
    order(id, subject).replace(r#""total""#, r#""customer":{"name":"Ada"},"total""#)
}

impl Consumer {
    /// Makes a subscription whose definition has these members, each with a comma before it; what is answered.
    async fn transform(&mut self, name: &str, transform: &str, members: &str) -> Value {
        let definition = format!(r#"{{"name":"{name}","start":"beginning","transform":{transform}{members}}}"#);
        let made = self.0.post("/v1/subscriptions", "application/json", &definition).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.json()
    }

    /// The text of a pull that waits.
    async fn pulled(&mut self, name: &str) -> String {
        let pull = json!({"max":10,"waitms":20_000});
        let answer = self.send("POST", &format!("/v1/subscriptions/{name}/pull"), &pull).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text().to_owned()
    }

    /// The one dead letter of a subscription, with all that is known of it.
    async fn dead_letter_of(&mut self, name: &str) -> Value {
        let target = format!("/v1/deadletters?subscription={name}");
        let id = eventually(async || {
            let page = self.get(&target).await;
            let letters = page["deadletters"].as_array().unwrap();
            assert!(letters.len() <= 1, "{page}");
            letters.first().map(|letter| letter["id"].clone())
        });
        let id = id.await;
        self.get(&format!("/v1/deadletters/{id}")).await
    }
}

/// What a dead letter of a transformation says, with the whole event and the error of its only attempt.
async fn assert_says_why(consumer: &mut Consumer, name: &str, at: u64, error: &str) {
    let letter = consumer.dead_letter_of(name).await;
    assert_eq!((&letter["subscription"], &letter["position"]), (&json!(name), &json!(at)), "{letter}");
    assert_eq!((&letter["reason"], &letter["state"]), (&json!("transformation-failed"), &json!("open")), "{letter}");
    assert_eq!((&letter["attempts"], letter["history"].as_array().unwrap().len()), (&json!(1), 1), "{letter}");
    assert_eq!(letter["history"][0]["error"], error);
    assert_eq!(letter["event"], consumer.get(&format!("/v1/positions/{at}")).await, "the event, not an outcome");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_hands_out_the_outcome_in_the_place_of_the_event() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    assert_eq!(consumer.0.publish(&order("1", "a")).await.status, 200);
    for (name, transform, expected, media_type) in KINDS {
        consumer.transform(name, transform, "").await;
        let pulled = consumer.pulled(name).await;
        // A text is a string of JSON; JSON comes byte for byte as it was made.
        let is_json = media_type == "application/json";
        let expected = if is_json { expected.to_owned() } else { json!(expected).to_string() };
        let begin = format!(r#"{{"deliveries":[{{"transformed":{expected},"delivery":{{"position":1,"token":"#);
        assert!(pulled.starts_with(&begin), "expected {begin}, found {pulled}");
        let delivery = serde_json::from_str::<Value>(&pulled).unwrap()["deliveries"][0].clone();
        let mut event = consumer.get("/v1/positions/1").await;
        event.as_object_mut().unwrap().remove("data").expect("an event with data");
        assert_eq!(delivery["attributes"], event, "all of the event but its data");
        let handle = delivery["delivery"].clone();
        let key = handle["idempotencykey"].as_str().unwrap();
        assert!(key.starts_with(&format!("{name}/")) && key.ends_with("/1"), "{key}");
        let answers = json!({"answers":[outcome(&json!({ "delivery": handle }), "ack")]});
        let answered = consumer.send("POST", &format!("/v1/subscriptions/{name}/answers"), &answers).await;
        assert_eq!(answered.json()["done"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_has_the_outcome_as_its_signed_body_and_the_attributes_in_headers() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(204).await);
    let mut consumer = Consumer::connect(&platform.host).await;
    assert_eq!(consumer.0.publish(&order("1", "a")).await.status, 200);
    for (name, transform, expected, media_type) in KINDS {
        let push = format!(r#","push":{{"url":"{}"}}"#, receiver.url());
        let made = consumer.transform(name, transform, &push).await;
        let secret = Secret::parse(made["secret"].as_str().unwrap()).unwrap();
        let received = receiver.next().await;
        assert_eq!(String::from_utf8_lossy(&received.body), expected);
        assert_eq!(received.header("content-type"), media_type);
        assert_eq!((received.header("ce-id"), received.header("ce-subject"), position(&received)), ("1", "a", 1));
        assert_eq!(signed_by(&received, &[&secret]), (vec![true], 1));
        platform.acknowledged(name, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_nothing_is_made_of_is_a_dead_letter_with_the_expression_and_the_reason() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    // Behind it one of the same key and one of another: both go on.
    for event in [order("1", "a"), order_with_customer("2", "a"), order_with_customer("3", "b")] {
        assert_eq!(consumer.0.publish(&event).await.status, 200);
    }
    for (name, transform, error) in FAULTS {
        consumer.transform(name, transform, "").await;
        let mut delivered = Vec::new();
        while delivered.len() < 2 {
            let pulled: Value = serde_json::from_str(&consumer.pulled(name).await).unwrap();
            delivered.extend(pulled["deliveries"].as_array().unwrap().clone());
        }
        assert!(delivered.iter().all(|one| one["transformed"] == "Ada"), "{delivered:?}");
        assert!(delivered.iter().all(|one| one["delivery"]["attempt"] == 1), "waiting behind it was no attempt");
        let mut at = positions(&delivered);
        at.sort_unstable();
        assert_eq!(at, [2, 3]);
        assert_says_why(&mut consumer, name, 1, error).await;
        let counts = consumer.get(&format!("/v1/subscriptions/{name}")).await["counts"].clone();
        assert_eq!((&counts["deadlettered"], &counts["failed"]), (&json!(1), &json!(1)), "{counts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_of_an_event_that_nothing_is_made_of_and_the_next_one_is() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(204).await);
    let mut consumer = Consumer::connect(&platform.host).await;
    for event in [order("1", "a"), order_with_customer("2", "a")] {
        assert_eq!(consumer.0.publish(&event).await.status, 200);
    }
    for (name, transform, error) in FAULTS {
        let push = format!(r#","push":{{"url":"{}"}}"#, receiver.url());
        consumer.transform(name, transform, &push).await;
        let received = receiver.next().await;
        assert_eq!((position(&received), &received.body[..]), (2, &br#""Ada""#[..]));
        platform.acknowledged(name, 1).await;
        assert_says_why(&mut consumer, name, 1, error).await;
    }
    assert_eq!(receiver.waiting(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_copy_is_transformed_when_its_dead_letter_is_redriven() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    assert_eq!(consumer.0.publish(&order("1", "a")).await.status, 200);
    let (_, transform, _) = FAULTS[0];
    consumer.transform("s", transform, "").await;
    assert!(consumer.pull(10, 0).await.is_empty());
    let letter = consumer.dead_letter_of("s").await;
    let copy: Value = serde_json::from_str(&order_with_customer("1", "a")).unwrap();
    let target = format!("/v1/deadletters/{}/redrive", letter["id"]);
    let redriven = consumer.send("POST", &target, &json!({ "event": copy })).await;
    assert_eq!(redriven.status, 200, "{redriven:?}");
    let delivered = consumer.pull(10, 20_000).await;
    assert_eq!((positions(&delivered), &delivered[0]["transformed"]), (vec![1], &json!("Ada")));
    assert_eq!(delivered[0].get("event"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transformation_that_makes_no_sense_is_refused_with_its_place() {
    let host = Host::start().await;
    let mut consumer = Consumer::connect(&host).await;
    for (transform, pointer, column) in [
        (json!({"path":"data"}), "/transform/path", Some(1)),
        (json!({"jq":".data | nothere"}), "/transform/jq", Some(9)),
        (json!({"template":{"paths":{},"template":"<id>"}}), "/transform/template/template", Some(1)),
        (json!({"path":"$.data","jq":".data"}), "/transform", None),
    ] {
        let definition = json!({ "name": "s", "transform": transform });
        let answer = consumer.send("POST", "/v1/subscriptions", &definition).await;
        let refused = answer.json();
        assert_eq!((answer.status, refused["code"].as_str()), (400, Some("invalid-subscription")), "{refused}");
        assert_eq!((&refused["pointer"], refused["column"].as_u64()), (&json!(pointer), column), "{refused}");
    }
    assert_eq!(consumer.0.get("/v1/subscriptions/s").await.status, 404);
}
