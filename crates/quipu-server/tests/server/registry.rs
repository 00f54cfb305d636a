//! The Confluent dialect: each of its routes and of its errors, as a client of Kafka meets them. The real Python client is run by
//! `scripts/registry`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quipu_domain::Permission;
use quipu_domain::access::KeySecret;
use serde_json::{Value, json};

use crate::access::{closed, everything, key, key_of, permissions, send};
use crate::client::{Answer, Client};
use crate::host::{Host, event};

const MEDIA: &str = "application/vnd.schemaregistry.v1+json";
const ORDER: &str = r#"{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]}"#;
const WIDER: &str =
    r#"{"type":"object","properties":{"total":{"type":"number"},"note":{"type":"string"}},"required":["total"]}"#;
const BROKEN: &str = r#"{"type":"object","properties":{"total":{"type":"string"}},"required":["total"]}"#;

/// A server, and somebody who speaks to it as a registry.
struct Shop {
    _host: Host,
    client: Client,
}

impl Shop {
    async fn open() -> Self {
        let host = Host::start().await;
        let client = host.client().await;
        Self { client, _host: host }
    }

    async fn ask(&mut self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let (target, body) = (format!("/registry{path}"), body.map(|body| body.to_string()).unwrap_or_default());
        self.client.request(method, &target, &[("content-type", MEDIA), ("accept", MEDIA)], body.as_bytes()).await
    }

    /// What is there.
    async fn get(&mut self, path: &str) -> Value {
        let answer = self.ask("GET", path, None).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, MEDIA), "{path}: {}", answer.text());
        answer.json()
    }

    /// The answer to something that is done.
    async fn done(&mut self, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.ask(method, path, body).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, MEDIA), "{path}: {}", answer.text());
        answer.json()
    }

    /// The number and the message of what is refused.
    async fn refused(&mut self, method: &str, path: &str, body: Option<Value>) -> (u64, String) {
        let answer = self.ask(method, path, body).await;
        let body = answer.json();
        let number = body["error_code"].as_u64().unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
        let begins = if number >= 10_000 { number / 100 } else { number };
        assert_eq!((begins, answer.header("content-type")), (answer.status.into(), MEDIA), "{method} {path}: {body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        (number, body["message"].as_str().unwrap().to_owned())
    }

    /// Registers a schema, and gives its id.
    async fn register(&mut self, subject: &str, text: &str) -> u64 {
        let registered = self.done("POST", &format!("/subjects/{subject}/versions"), Some(schema(text))).await;
        registered["id"].as_u64().unwrap()
    }

    async fn publish(&mut self, id: &str, data: &str) -> u16 {
        let event = event(id, "order.placed", "order/1").replace(r#"{"n":1}"#, data);
        self.client.publish(&event).await.status
    }
}

fn schema(text: &str) -> Value {
    json!({ "schema": text, "schemaType": "JSON", "references": [] })
}

fn with(mut value: Value, name: &str, member: Value) -> Value {
    value[name] = member;
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_under_a_name_is_found_under_it_and_is_the_schema_of_the_type() {
    let mut shop = Shop::open().await;
    assert_eq!(shop.get("/subjects").await, json!([]));
    let registered = shop.done("POST", "/subjects/order.placed-value/versions", Some(schema(ORDER))).await;
    let expected =
        json!({ "subject": "order.placed-value", "version": 1, "id": 1, "schemaType": "JSON", "schema": ORDER });
    assert_eq!(registered, expected);
    // The same again, otherwise spaced, and by the other name, is the same.
    assert_eq!(shop.register("order.placed-value?normalize=True", &ORDER.replace(':', ": ")).await, 1);
    assert_eq!(shop.register("order.placed", ORDER).await, 1);
    assert_eq!(shop.register("order.placed-value", WIDER).await, 2);
    // The same text has the same id, whatever it is for.
    assert_eq!(shop.register("address", ORDER).await, 1);
    let subjects = ["address", "address-value", "order.placed", "order.placed-value"];
    assert_eq!(shop.get("/subjects?deleted=false&deleted_only=false&offset=0&limit=-1").await, json!(subjects));
    assert_eq!(shop.get("/subjects?subjectPrefix=:*:order").await, json!(subjects[2..]));
    assert_eq!(shop.get("/subjects?offset=1&limit=2").await, json!(subjects[1..3]));
    for name in ["order.placed", "order.placed-value", ":.:order.placed-value"] {
        assert_eq!(shop.get(&format!("/subjects/{name}/versions")).await, json!([1, 2]));
        for (version, number) in [("1", 1), ("2", 2), ("latest", 2), ("-1", 2)] {
            let found = shop.get(&format!("/subjects/{name}/versions/{version}")).await;
            assert_eq!(
                (&found["subject"], &found["version"], &found["id"]),
                (&json!(name), &json!(number), &json!(number))
            );
        }
    }
    // One and the same registry: what is ours is the dialect's, and the other way round.
    let ours = shop.client.get("/v1/schemas/order.placed/versions/1").await.json();
    assert_eq!((&ours["id"], &ours["schema"]["required"]), (&json!(1), &json!(["total"])));
    let body = json!({ "schema": { "type": "integer" } }).to_string();
    assert_eq!(shop.client.post("/v1/schemas/shop.opened", "application/json", &body).await.status, 201);
    let found = shop.get("/subjects/shop.opened-value/versions/latest").await;
    assert_eq!((&found["schema"], &found["id"]), (&json!(r#"{"type":"integer"}"#), &json!(3)));
    // And events are held to it.
    let rules = r#"{"enforcement":"enforce"}"#;
    assert_eq!(shop.client.send("PUT", "/v1/schemarules", "application/json", rules).await.status, 200);
    assert_eq!(shop.publish("1", r#"{"total":"5"}"#).await, 422);
    assert_eq!(shop.publish("1", r#"{"total":5}"#).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_read_by_version_by_number_and_as_a_text() {
    let mut shop = Shop::open().await;
    shop.register("order.placed-value", ORDER).await;
    shop.register("order.placed-value", WIDER).await;
    assert_eq!(
        shop.get("/schemas/ids/2?subject=order.placed-value").await,
        json!({ "schemaType": "JSON", "schema": WIDER })
    );
    let text: Value = serde_json::from_str(ORDER).unwrap();
    assert_eq!(shop.get("/schemas/ids/1/schema").await, text);
    assert_eq!(shop.get("/subjects/order.placed-value/versions/1/schema").await, text);
    assert_eq!(shop.get("/schemas/ids/1/subjects").await, json!(["order.placed", "order.placed-value"]));
    assert_eq!(shop.get("/schemas/ids/1/subjects?subject=order.placed-value").await, json!(["order.placed-value"]));
    let versions = json!([{ "subject": "order.placed-value", "version": 2 }]);
    assert_eq!(shop.get("/schemas/ids/2/versions?offset=1").await, versions);
    let listed = shop.get("/schemas?subjectPrefix=order.placed-&latestOnly=true").await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["version"]), (1, &json!(2)));
    let listed = shop.get("/schemas?subjectPrefix=order.placed-").await;
    assert_eq!(listed[0]["schema"], json!(ORDER));
    assert_eq!(listed[1]["subject"], json!("order.placed-value"));
    assert_eq!(shop.get("/schemas/types").await, json!(["JSON"]));
    assert_eq!(shop.get("/contexts").await, json!(["."]));
    assert_eq!(shop.get("").await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_looked_up_by_what_it_is() {
    let mut shop = Shop::open().await;
    assert_eq!(shop.refused("POST", "/subjects/order.placed-value", Some(schema(ORDER))).await.0, 40401);
    shop.register("order.placed-value", ORDER).await;
    shop.register("order.placed-value", WIDER).await;
    let asked = "/subjects/order.placed-value?normalize=True&deleted=False";
    let found = shop.done("POST", asked, Some(schema(WIDER))).await;
    assert_eq!((&found["version"], &found["id"], &found["schema"]), (&json!(2), &json!(2), &json!(WIDER)));
    assert_eq!(shop.refused("POST", asked, Some(schema(BROKEN))).await.0, 40403);
    assert_eq!(shop.refused("POST", asked, Some(schema("{"))).await.0, 42201);
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_refer_to_each_other_by_subject_and_version() {
    let mut shop = Shop::open().await;
    shop.register("address", r#"{"type":"string","maxLength":9}"#).await;
    let text = r#"{"type":"object","properties":{"to":{"$ref":"address.json"}}}"#;
    let references = json!([{ "name": "address.json", "subject": "address", "version": 1 }]);
    let body = with(schema(text), "references", references.clone());
    let registered = shop.done("POST", "/subjects/parcel-value/versions", Some(body.clone())).await;
    assert_eq!(registered["references"], references);
    assert_eq!(shop.get("/schemas/ids/2").await["references"], references);
    assert_eq!(shop.get("/subjects/address-value/versions/1/referencedby").await, json!([2]));
    assert_eq!(shop.get("/subjects/parcel/versions/1/referencedby").await, json!([]));
    assert_eq!(shop.done("POST", "/subjects/parcel", Some(body.clone())).await["version"], json!(1));
    // One that says in its text what it refers to is told of in the same way.
    let own = r#"{"type":"array","items":{"$ref":"quipu:address.v1"}}"#;
    let registered = shop.done("POST", "/subjects/list-value/versions", Some(schema(own))).await;
    let expected = json!([{ "name": "quipu:address.v1", "subject": "address", "version": 1 }]);
    assert_eq!(registered["references"], expected);
    // What is referred to must be there, and is not deleted.
    let missing =
        with(body.clone(), "references", json!([{ "name": "address.json", "subject": "address", "version": 2 }]));
    let (number, message) = shop.refused("POST", "/subjects/parcel-value/versions", Some(missing)).await;
    assert_eq!(number, 42201, "{message}");
    assert!(message.contains("no version 2"), "{message}");
    let twice = with(body, "references", json!([references[0], references[0]]));
    assert_eq!(shop.refused("POST", "/subjects/parcel-value/versions", Some(twice)).await.0, 42201);
    for path in ["/subjects/address/versions/1", "/subjects/address"] {
        let (number, message) = shop.refused("DELETE", path, None).await;
        assert_eq!(number, 42206, "{message}");
        assert!(message.contains("refers to address.v1"), "{message}");
    }
    // With what refers to it deleted it can be too, and not for good while that is kept.
    for path in ["/subjects/parcel", "/subjects/list", "/subjects/address"] {
        assert_eq!(shop.done("DELETE", path, None).await, json!([1]));
    }
    assert_eq!(shop.get("/subjects/address/versions/1/referencedby").await, json!([]));
    let (number, message) = shop.refused("DELETE", "/subjects/address?permanent=true", None).await;
    assert_eq!(number, 42206, "{message}");
    for path in ["/subjects/parcel", "/subjects/list", "/subjects/address"] {
        assert_eq!(shop.done("DELETE", &format!("{path}?permanent=true"), None).await, json!([1]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_breaks_readers_is_refused_and_says_what_it_breaks() {
    let mut shop = Shop::open().await;
    let compatibility = "/compatibility/subjects/order.placed-value/versions";
    // Nothing stands against the first one.
    for path in [compatibility.to_owned(), format!("{compatibility}/latest")] {
        assert_eq!(shop.done("POST", &path, Some(schema(ORDER))).await, json!({ "is_compatible": true }));
    }
    assert_eq!(shop.refused("POST", &format!("{compatibility}/1"), Some(schema(ORDER))).await.0, 40402);
    shop.register("order.placed-value", ORDER).await;
    shop.register("order.placed-value", WIDER).await;
    assert_eq!(shop.publish("1", r#"{"total":5}"#).await, 200);
    for version in ["", "/1", "/2", "/latest"] {
        let path = format!("{compatibility}{version}?normalize=False&verbose=");
        let yes = shop.done("POST", &format!("{path}False"), Some(schema(WIDER))).await;
        assert_eq!(yes, json!({ "is_compatible": true }), "{version}");
        let yes = shop.done("POST", &format!("{path}True"), Some(schema(WIDER))).await;
        assert_eq!(yes, json!({ "is_compatible": true, "messages": [] }), "{version}");
        let no = shop.done("POST", &format!("{path}True"), Some(schema(BROKEN))).await;
        assert_eq!(no["is_compatible"], json!(false), "{version}");
        let messages = no["messages"].as_array().unwrap();
        let (first, last) = (messages[0].as_str().unwrap(), messages.last().unwrap().as_str().unwrap());
        let compared = if version == "/1" { 1 } else { 2 };
        assert!(first.starts_with(&format!("not backward compatible with version {compared} at /total: ")), "{first}");
        assert!(first.contains(r#"as in {"total":"#), "{first}");
        assert_eq!(last, "1 of 1 stored events break it, the first at position 1");
    }
    let (number, message) = shop.refused("POST", "/subjects/order.placed-value/versions", Some(schema(BROKEN))).await;
    assert_eq!(number, 40901);
    assert!(message.contains("backward compatible") && message.contains("at position 1"), "{message}");
    assert_eq!(shop.get("/subjects/order.placed-value/versions").await, json!([1, 2]));
    // What it is held to decides: forward, a field that is required may not go.
    shop.done("PUT", "/config/order.placed-value", Some(json!({ "compatibility": "FORWARD" }))).await;
    let less = schema(r#"{"type":"object","properties":{"note":{"type":"string"}}}"#);
    let no = shop.done("POST", &format!("{compatibility}/latest?verbose=true"), Some(less.clone())).await;
    assert!(no["messages"][0].as_str().unwrap().starts_with("not forward compatible with version 2"), "{no}");
    shop.done("PUT", "/config/order.placed-value", Some(json!({ "compatibility": "NONE" }))).await;
    let yes = shop.done("POST", &format!("{compatibility}/latest"), Some(less)).await;
    assert_eq!(yes, json!({ "is_compatible": true }));
    assert_eq!(shop.register("order.placed-value", BROKEN).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_is_that_of_the_subject_or_of_all_and_our_other_rules_stay() {
    let mut shop = Shop::open().await;
    let rules = r#"{"enforcement":"enforce"}"#;
    assert_eq!(shop.client.send("PUT", "/v1/schemarules", "application/json", rules).await.status, 200);
    let level = |level: &str| json!({ "compatibilityLevel": level });
    assert_eq!(shop.get("/config").await, level("BACKWARD"));
    let (number, message) = shop.refused("GET", "/config/order.placed-value", None).await;
    assert_eq!(number, 40408, "{message}");
    assert_eq!(shop.get("/config/order.placed-value?defaultToGlobal=true").await, level("BACKWARD"));
    let set = json!({ "compatibility": "FULL_TRANSITIVE" });
    assert_eq!(shop.done("PUT", "/config", Some(set.clone())).await, set);
    assert_eq!(shop.get("/config").await, level("FULL_TRANSITIVE"));
    assert_eq!(shop.get("/config/order.placed-value?defaultToGlobal=True").await, level("FULL_TRANSITIVE"));
    // A subject that is not there yet may have a level, and is still not there.
    let set = json!({ "compatibility": "FORWARD" });
    assert_eq!(shop.done("PUT", "/config/order.placed-value", Some(set.clone())).await, set);
    assert_eq!(shop.get("/config/order.placed").await, level("FORWARD"));
    assert_eq!(shop.get("/subjects").await, json!([]));
    assert_eq!(shop.refused("GET", "/subjects/order.placed/versions", None).await.0, 40401);
    let ours = shop.client.get("/v1/schemas").await.json();
    assert_eq!(shop.client.get("/v1/schemarules").await.json(), ours["rules"]);
    assert_eq!(ours["rules"], json!({ "compatibility": "full-transitive", "enforcement": "enforce" }));
    assert_eq!(ours["types"][0]["rules"], json!({ "compatibility": "forward" }));
    // Both are taken back, and nothing but the level is.
    assert_eq!(shop.done("DELETE", "/config/order.placed-value", None).await, level("FORWARD"));
    assert_eq!(shop.refused("DELETE", "/config/order.placed-value", None).await.0, 40401);
    assert_eq!(shop.done("DELETE", "/config", None).await, level("FULL_TRANSITIVE"));
    assert_eq!(shop.get("/config").await, level("BACKWARD"));
    let ours = shop.client.get("/v1/schemas").await.json();
    assert_eq!((&ours["rules"], &ours["types"]), (&json!({ "enforcement": "enforce" }), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_is_read_and_write_and_no_other_is_promised() {
    let mut shop = Shop::open().await;
    for path in ["/mode", "/mode/order.placed-value"] {
        assert_eq!(shop.get(path).await, json!({ "mode": "READWRITE" }));
        let set = json!({ "mode": "READWRITE" });
        assert_eq!(shop.done("PUT", &format!("{path}?force=False"), Some(set.clone())).await, set);
        for (mode, number) in [("READONLY", 42205), ("IMPORT", 42205), ("SLEEPY", 42204)] {
            let (found, message) = shop.refused("PUT", path, Some(json!({ "mode": mode }))).await;
            assert_eq!(found, number, "{message}");
        }
    }
    assert_eq!(shop.done("DELETE", "/mode/order.placed-value", None).await, json!({ "mode": "READWRITE" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_hidden_and_kept_until_it_is_deleted_for_good() {
    let mut shop = Shop::open().await;
    shop.register("order.placed-value", ORDER).await;
    shop.register("order.placed-value", WIDER).await;
    let one = "/subjects/order.placed-value/versions/1";
    let (number, message) = shop.refused("DELETE", &format!("{one}?permanent=true"), None).await;
    assert_eq!(number, 40407, "{message}");
    assert_eq!(shop.done("DELETE", one, None).await, json!(1));
    assert_eq!(shop.refused("DELETE", one, None).await.0, 40406);
    assert_eq!(shop.refused("GET", one, None).await.0, 40402);
    assert_eq!(shop.get(&format!("{one}?deleted=true")).await["id"], json!(1));
    assert_eq!(shop.get("/subjects/order.placed-value/versions").await, json!([2]));
    assert_eq!(shop.get("/subjects/order.placed-value/versions?deleted=true").await, json!([1, 2]));
    assert_eq!(shop.get("/subjects/order.placed-value/versions?deletedOnly=true").await, json!([1]));
    // Data that was written with it is read.
    assert_eq!(shop.get("/schemas/ids/1").await["schema"], json!(ORDER));
    assert_eq!(shop.refused("GET", "/schemas/ids/1/subjects", None).await.0, 40403);
    assert_eq!(shop.get("/schemas/ids/1/subjects?deleted=true&limit=1").await, json!(["order.placed"]));
    assert_eq!(shop.refused("POST", "/subjects/order.placed", Some(schema(ORDER))).await.0, 40403);
    let found = shop.done("POST", "/subjects/order.placed?deleted=True", Some(schema(ORDER))).await;
    assert_eq!(found["version"], json!(1));
    let compatibility = "/compatibility/subjects/order.placed-value/versions/1";
    assert_eq!(shop.refused("POST", compatibility, Some(schema(ORDER))).await.0, 40402);
    // Everybody sees why.
    let ours = shop.client.get("/v1/schemas/order.placed/versions/1").await.json();
    assert_eq!(ours["deprecated"], json!("deleted in the registry"));
    // To register it again takes that back.
    assert_eq!(shop.register("order.placed-value", ORDER).await, 1);
    assert_eq!(shop.get("/subjects/order.placed-value/versions").await, json!([1, 2]));
    assert!(shop.client.get("/v1/schemas/order.placed/versions/1").await.json()["deprecated"].is_null());
    // The reason that it had before survives both.
    let deprecate = "/v1/schemas/order.placed/versions/1/deprecate";
    let body = json!({ "reason": "too narrow" }).to_string();
    assert_eq!(shop.client.post(deprecate, "application/json", &body).await.status, 200);
    let reason = |answer: &Value| answer["deprecated"].clone();
    assert_eq!(shop.done("DELETE", one, None).await, json!(1));
    let ours = shop.client.get("/v1/schemas/order.placed/versions/1").await.json();
    assert_eq!(reason(&ours), json!("deleted in the registry: too narrow"));
    assert_eq!(shop.refused("GET", one, None).await.0, 40402);
    assert_eq!(shop.register("order.placed-value", ORDER).await, 1);
    assert_eq!(reason(&shop.client.get("/v1/schemas/order.placed/versions/1").await.json()), json!("too narrow"));
    // The whole subject, and then for good.
    let subject = "/subjects/order.placed-value";
    assert_eq!(shop.refused("DELETE", &format!("{subject}?permanent=true"), None).await.0, 40405);
    assert_eq!(shop.done("DELETE", subject, None).await, json!([1, 2]));
    assert_eq!(shop.refused("DELETE", subject, None).await.0, 40404);
    assert_eq!(shop.get("/subjects").await, json!([]));
    assert_eq!(shop.get("/subjects?deleted=true").await, json!(["order.placed", "order.placed-value"]));
    assert_eq!(shop.refused("GET", &format!("{subject}/versions/latest"), None).await.0, 40401);
    assert_eq!(shop.done("DELETE", &format!("{subject}?permanent=true"), None).await, json!([1, 2]));
    assert_eq!(shop.refused("DELETE", &format!("{subject}?permanent=true"), None).await.0, 40401);
    assert_eq!(shop.refused("GET", "/schemas/ids/1", None).await.0, 40403);
    // A number is not given twice.
    let registered = shop.done("POST", &format!("{subject}/versions"), Some(schema(ORDER))).await;
    assert_eq!((&registered["version"], &registered["id"]), (&json!(3), &json!(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_events_have_is_not_deleted_for_good_and_with_it_none_of_its_subject() {
    let mut shop = Shop::open().await;
    shop.register("order.placed-value", ORDER).await;
    shop.register("order.placed-value", WIDER).await;
    assert_eq!(shop.publish("1", r#"{"total":5}"#).await, 200);
    assert_eq!(shop.done("DELETE", "/subjects/order.placed-value", None).await, json!([1, 2]));
    for path in ["/subjects/order.placed-value", "/subjects/order.placed-value/versions/1"] {
        let (number, message) = shop.refused("DELETE", &format!("{path}?permanent=true"), None).await;
        assert_eq!(number, 42205, "{message}");
        assert!(message.contains("the event at position 1 uses order.placed.v1"), "{message}");
    }
    let kept = shop.get("/subjects/order.placed-value/versions?deleted=true").await;
    assert_eq!(kept, json!([1, 2]));
    // Its events are held to it as before.
    let rules = r#"{"enforcement":"enforce"}"#;
    assert_eq!(shop.client.send("PUT", "/v1/schemarules", "application/json", rules).await.status, 200);
    assert_eq!(shop.publish("2", r#"{"total":"5"}"#).await, 422);
    // What no event has goes.
    let two = "/subjects/order.placed-value/versions/2?permanent=true";
    assert_eq!(shop.done("DELETE", two, None).await, json!(2));
    assert_eq!(shop.get("/subjects/order.placed-value/versions?deleted=true").await, json!([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_documented_number() {
    let mut shop = Shop::open().await;
    shop.register("order.placed-value", ORDER).await;
    let versions = "/subjects/order.placed-value/versions";
    let body = || schema(ORDER);
    for (method, path, body, number) in [
        ("GET", "/subjects/none/versions", None, 40401),
        ("GET", "/subjects/none/versions/1", None, 40401),
        ("DELETE", "/subjects/none", None, 40401),
        ("DELETE", "/subjects/none/versions/1", None, 40401),
        ("GET", "/subjects/order.placed-value/versions/9", None, 40402),
        ("DELETE", "/subjects/order.placed-value/versions/9", None, 40402),
        ("GET", "/subjects/order.placed-value/versions/9/referencedby", None, 40402),
        ("GET", "/subjects/order.placed-value/versions/0", None, 42202),
        ("GET", "/subjects/order.placed-value/versions/x/schema", None, 42202),
        ("DELETE", "/subjects/order.placed-value/versions/x", None, 42202),
        ("POST", "/compatibility/subjects/order.placed-value/versions/x", Some(body()), 42202),
        ("GET", "/schemas/ids/9", None, 40403),
        ("GET", "/schemas/ids/x", None, 40403),
        ("GET", "/schemas/ids/9/schema", None, 40403),
        ("GET", "/schemas/ids/9/versions", None, 40403),
        ("POST", versions, Some(schema("no JSON")), 42201),
        ("POST", versions, Some(schema(r#"{"type":"strin"}"#)), 42201),
        ("POST", versions, Some(schema(r#"{"$ref":"https://example.com/x.json"}"#)), 42201),
        ("POST", versions, Some(json!({ "schemaType": "JSON" })), 42201),
        ("POST", versions, Some(json!({ "schema": "{}" })), 42201),
        ("POST", versions, Some(with(body(), "schemaType", json!("AVRO"))), 42201),
        ("POST", versions, Some(with(body(), "schemaType", json!("PROTOBUF"))), 42201),
        ("POST", versions, Some(with(schema(WIDER), "version", json!(1))), 42201),
        ("POST", versions, Some(with(body(), "metadata", json!({ "properties": { "owner": "shop" } }))), 42201),
        ("POST", versions, Some(with(body(), "ruleSet", json!({ "domainRules": [{}] }))), 42210),
        ("POST", versions, Some(with(body(), "id", json!(7))), 42205),
        ("POST", "/subjects/order.placed.v2/versions", Some(body()), 42208),
        ("POST", "/subjects/order%20placed/versions", Some(body()), 42208),
        ("POST", "/subjects/-value/versions", Some(body()), 42208),
        ("POST", "/subjects/:.other:order/versions", Some(body()), 42208),
        ("PUT", "/config/order%0Aplaced", Some(json!({ "compatibility": "FULL" })), 42208),
        ("PUT", "/config", Some(json!({ "compatibility": "SIDEWAYS" })), 42203),
        ("PUT", "/config", Some(json!({ "compatibility": "FULL", "alias": "a" })), 42205),
        ("PUT", "/config", Some(json!([])), 400),
        ("GET", "/associations/resources/-/orders?resourceType=topic&associationType=value", None, 404),
        ("GET", "/subjects/order.placed-value/metadata", None, 404),
        ("PATCH", "/subjects", None, 405),
    ] {
        let (found, message) = shop.refused(method, path, body).await;
        assert_eq!(found, number, "{method} {path}: {message}");
        assert!(!message.is_empty() && message.len() < 600, "{method} {path}: {message}");
    }
    assert_eq!(shop.get(versions).await, json!([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_answers_are_of_the_media_types_of_the_dialect() {
    let mut shop = Shop::open().await;
    let versions = "/registry/subjects/a-value/versions";
    for media_type in [MEDIA, "application/vnd.schemaregistry+json", "application/json", "application/octet-stream"] {
        let answer = shop.client.post(versions, media_type, &schema(ORDER).to_string()).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, MEDIA), "{media_type}: {answer:?}");
    }
    let answer = shop.client.post(versions, "text/plain", &schema(ORDER).to_string()).await;
    assert_eq!((answer.status, answer.json()["error_code"].clone()), (415, json!(415)));
    for (accept, status, media_type) in [
        ("application/json", 200, "application/json"),
        ("application/vnd.schemaregistry+json, application/json", 200, "application/vnd.schemaregistry+json"),
        ("*/*", 200, MEDIA),
        ("text/html", 406, MEDIA),
    ] {
        let answer = shop.client.request("GET", "/registry/subjects", &[("accept", accept)], b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (status, media_type), "{accept}");
    }
    // A body is not read beyond what any other may have.
    let long = [("content-type", MEDIA), ("content-length", "99999999999")];
    let answer = shop.client.request("PUT", "/registry/config", &long, b"").await;
    assert_eq!((answer.status, answer.json()["error_code"].clone()), (413, json!(413)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_as_a_password_or_behind_bearer_and_its_permissions_hold() {
    let host = closed().await;
    let (writer, reader) =
        (key(&host, json!([{"permissions":["schema"]}])), key(&host, json!([{"permissions":["read"]}])));
    let wrong = KeySecret::new([1; 32]).token("test", "0123456789abcdef").to_string();
    let basic = |password: &str| format!("Basic {}", STANDARD.encode(format!("somebody:{password}")));
    let bearer = |token: &str| format!("Bearer {token}");
    let register = |authorization: String| {
        let host = &host;
        async move {
            let mut client = Client::connect(host.address).await;
            let headers = [("authorization", authorization.as_str()), ("content-type", MEDIA)];
            let headers = if authorization.is_empty() { &headers[1..] } else { &headers[..] };
            let body = schema(ORDER).to_string();
            client.request("POST", "/registry/subjects/order.placed-value/versions", headers, body.as_bytes()).await
        }
    };
    for authorization in [basic(&writer), bearer(&writer)] {
        assert_eq!(register(authorization).await.status, 200);
    }
    for authorization in [basic(&reader), bearer(&reader)] {
        let answer = register(authorization).await;
        assert_eq!((answer.status, answer.json()["error_code"].clone()), (403, json!(403)), "{answer:?}");
    }
    for authorization in [basic(&wrong), bearer(&wrong), basic(""), "Basic !".to_owned(), String::new()] {
        let answer = register(authorization.clone()).await;
        assert_eq!((answer.status, answer.json()["error_code"].clone()), (401, json!(401)), "{authorization}");
        assert!(!answer.header("www-authenticate").is_empty(), "{answer:?}");
    }
    // Nothing but the dialect takes passwords.
    let mut client = Client::connect(host.address).await;
    let answer = client.request("GET", "/v1/schemas", &[("authorization", &basic(&writer))], b"").await;
    assert_eq!(answer.status, 401);
    // Whoever is known reads.
    let mut client = Client::connect(host.address).await;
    let answer = client.request("GET", "/registry/subjects", &[("authorization", &basic(&reader))], b"").await;
    assert_eq!(answer.json(), json!(["order.placed", "order.placed-value"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_has_a_registry_of_its_own() {
    let host = closed().await;
    let ours = key(&host, everything());
    let theirs = key_of(&host.engine.tenant("other").unwrap(), "other", everything(), None);
    let body = schema(ORDER).to_string();
    let body = Some((MEDIA, body.as_str()));
    let versions = "/registry/subjects/order.placed-value/versions";
    assert_eq!(send(&host, "POST", versions, Some(&ours), body).await.status, 200);
    for (method, path, body, status) in [
        ("GET", "/subjects/order.placed-value/versions", None, 404),
        ("GET", "/subjects/order.placed-value/versions/1?deleted=true", None, 404),
        ("GET", "/schemas/ids/1", None, 404),
        ("GET", "/schemas/ids/1/versions?deleted=true", None, 404),
        ("POST", "/subjects/order.placed-value?deleted=true", body, 404),
        ("POST", "/compatibility/subjects/order.placed-value/versions/1", body, 404),
        ("DELETE", "/subjects/order.placed-value", None, 404),
        ("DELETE", "/config/order.placed-value", None, 404),
    ] {
        let answer = send(&host, method, &format!("/registry{path}"), Some(&theirs), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    assert_eq!(send(&host, "GET", "/registry/subjects", Some(&theirs), None).await.json(), json!([]));
    assert_eq!(send(&host, "GET", "/registry/schemas", Some(&theirs), None).await.json(), json!([]));
    // Numbers begin anew: they tell nothing of others.
    let registered = send(&host, "POST", versions, Some(&theirs), body).await;
    assert_eq!((registered.status, &registered.json()["id"]), (200, &json!(1)));
    let deleted = send(&host, "DELETE", "/registry/subjects/order.placed-value", Some(&theirs), None).await;
    assert_eq!(deleted.json(), json!([1]));
    assert_eq!(send(&host, "GET", versions, Some(&ours), None).await.json(), json!([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_stands_in_the_trail_as_the_operation_that_it_is() {
    let host = closed().await;
    let (admin, auditor) = (key(&host, permissions([Permission::Schema].into_iter())), key(&host, everything()));
    let body = |text: &str| schema(text).to_string();
    let (order, broken) = (body(ORDER), body(BROKEN));
    let level = json!({ "compatibility": "FULL" }).to_string();
    for (method, path, body, status) in [
        ("POST", "/subjects/order%2Fplaced-value/versions", Some(&order), 200),
        ("POST", "/subjects/order%2Fplaced-value/versions", Some(&broken), 409),
        ("POST", "/subjects/order%2Fplaced-value", Some(&order), 200),
        ("GET", "/subjects/order%2Fplaced-value/versions", None, 200),
        ("POST", "/compatibility/subjects/order%2Fplaced-value/versions/latest", Some(&order), 200),
        ("PUT", "/config", Some(&level), 200),
        ("PUT", "/config/order%2Fplaced-value", Some(&level), 200),
        ("DELETE", "/subjects/order%2Fplaced-value/versions/1", None, 200),
        ("DELETE", "/subjects/order%2Fplaced-value/versions/1?permanent=true", None, 200),
    ] {
        let body = body.map(|body| (MEDIA, body.as_str()));
        let answer = send(&host, method, &format!("/registry{path}"), Some(&admin), body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
    let trail = send(&host, "GET", "/v1/audit?limit=1000", Some(&auditor), None).await.json();
    let acts = trail["acts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|act| act["operation"].as_str().unwrap().starts_with("schema."));
    let found: Vec<_> = acts
        .map(|act| {
            [&act["operation"], &act["subject"], &act["outcome"]].map(|member| member.as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [
        ["schema.register", "schemas/order/placed", "done"],
        ["schema.register", "schemas/order/placed", "refused"],
        ["schema.check", "schemas/order/placed", "done"],
        ["schema.defaults", "schemarules", "done"],
        ["schema.rules", "schemas/order/placed", "done"],
        ["schema.deprecate", "schemas/order/placed/versions/1", "done"],
        ["schema.remove", "schemas/order/placed/versions/1", "done"],
    ];
    assert_eq!(found, expected.map(|act| act.map(str::to_owned)));
    let refused = trail["acts"].as_array().unwrap().iter().find(|act| act["outcome"] == "refused").unwrap();
    assert_eq!(refused["code"], "incompatible-schema", "{refused}");
}

#[tokio::test]
async fn a_body_and_its_references_are_refused_before_they_cost_anything() {
    let mut shop = Shop::open().await;
    shop.done("POST", "/subjects/order.placed/versions", Some(json!({"schema": ORDER, "schemaType": "JSON"}))).await;
    let reference = |n: usize| json!({"name": format!("r{n}"), "subject": "order.placed", "version": 1});
    let many: Vec<Value> = (0..65).map(reference).collect();
    let body = json!({"schema": ORDER, "schemaType": "JSON", "references": many});
    let refused = shop.refused("POST", "/subjects/order.placed", Some(body)).await;
    assert_eq!((refused.0, refused.1.contains("at most 64 references, found 65")), (42201, true), "{}", refused.1);
    let long = json!({"schema": "x".repeat(1 << 20), "schemaType": "JSON"});
    let refused = shop.refused("POST", "/subjects/order.placed", Some(long)).await;
    assert_eq!((refused.0, refused.1.contains("at most 1048576 bytes")), (413, true), "{}", refused.1);
}
