//! Who may do what: every operation of the catalogue without a credential, with each permission but its own, with its own,
//! and with the key of another tenant.

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use quipu_api::catalogue::Needs;
use quipu_api::{OPERATIONS, Operation};
use quipu_domain::Permission;
use quipu_domain::access::KeySecret;
use quipu_engine::{NewKey, TENANT_SYSTEM, Tenant};
use quipu_server::{Anybody, Server};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

use crate::client::{Answer, Client};
use crate::host::{Host, event, within};
use crate::websocket::Socket;

/// A server that takes nobody without a credential, for the tenant `test` and another.
pub async fn closed() -> Host {
    Host::start_beside("other", Server { anybody: Anybody::None, ..Server::default() }).await
}

pub fn key_of(tenant: &Arc<Tenant>, name: &str, grants: Value, user: Option<&str>) -> String {
    let grants = serde_json::from_value(grants).unwrap();
    let new = NewKey { name: "a test".into(), grants, user: user.map(str::to_owned), certificate: None, life_ms: None };
    let (info, secret) = tenant.create_key(new).unwrap();
    secret.token(name, &info.id).to_string()
}

/// A key of the tenant of the tests.
pub fn key(host: &Host, grants: Value) -> String {
    key_of(&host.tenant, "test", grants, None)
}

pub fn permissions(all: impl Iterator<Item = Permission>) -> Value {
    json!([{ "permissions": all.map(|one| one.as_str()).collect::<Vec<_>>() }])
}

/// What may be granted in a tenant.
pub fn in_a_tenant() -> impl Iterator<Item = Permission> {
    Permission::ALL.iter().copied().filter(|one| *one != Permission::Operate)
}

pub fn everything() -> Value {
    permissions(in_a_tenant())
}

/// What a request with this header is answered. Of a tail that goes on, the head.
pub async fn send(host: &Host, method: &str, target: &str, key: Option<&str>, body: Option<(&str, &str)>) -> Answer {
    let mut client = Client::connect(host.address).await;
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n");
    if let Some(key) = key {
        head.push_str(&format!("authorization: Bearer {key}\r\n"));
    }
    let (media_type, body) = body.unwrap_or(("application/json", ""));
    head.push_str(&format!("content-type: {media_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
    client.write(head.as_bytes()).await;
    // A tail goes on for ever; one that is refused is answered like all others.
    let (status, headers) = client.head().await;
    let is_endless = target.starts_with("/v1/tail") && status == 200;
    let body = if method == "HEAD" || is_endless { Vec::new() } else { client.body(&headers).await };
    Answer { status, headers, body }
}

pub async fn ask(host: &Host, operation: &Operation, key: Option<&str>) -> Answer {
    let example = &operation.example;
    send(host, operation.method.as_str(), example.target, key, example.body).await
}

pub fn code(answer: &Answer) -> String {
    match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) => body["code"].as_str().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_needs_a_credential_but_those_that_say_so() {
    let host = closed().await;
    let valid = key(&host, everything());
    let wrong = KeySecret::new([1; 32]).token("test", "0123456789abcdef");
    let stranger = valid.replace("qp_test_", "qp_nobody_");
    let keys = [None, Some(wrong.as_str()), Some(&stranger), Some("hunter2")];
    let asked = OPERATIONS.iter().flat_map(|operation| keys.map(|key| (operation, key)));
    // All at once: each that is wrong waits, and not for the others.
    let answers =
        join_all(asked.map(async |(operation, key)| (operation, key, ask(&host, operation, key).await))).await;
    for (operation, key, answer) in answers {
        let is_open = operation.needs == Needs::Nothing;
        assert_eq!(answer.status != 401, is_open, "{} {key:?}: {answer:?}", operation.name);
        if !is_open {
            assert_eq!(code(&answer), "unauthenticated");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            assert!(!answer.text().contains("hunter2"));
        }
    }
    let heads = OPERATIONS.iter().filter(|operation| operation.method.as_str() == "GET");
    let heads =
        heads.map(async |operation| (operation, send(&host, "HEAD", operation.example.target, None, None).await));
    for (operation, head) in join_all(heads).await {
        assert_eq!(head.status == 401, operation.needs != Needs::Nothing, "{}: {head:?}", operation.name);
    }
    for operation in OPERATIONS {
        assert_ne!(ask(&host, operation, Some(&valid)).await.status, 401, "{}", operation.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_needs_its_permission_and_no_other() {
    let host = closed().await;
    for operation in OPERATIONS {
        let (needed, other) = match operation.needs {
            Needs::Permission(needed) | Needs::Part(needed) => (needed, None),
            Needs::Either(needed, other) => (needed, Some(other)),
            Needs::Nothing | Needs::Credential => continue,
        };
        let others = key(&host, permissions(in_a_tenant().filter(|one| *one != needed && Some(*one) != other)));
        let refused = ask(&host, operation, Some(&others)).await;
        assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"), "{}", operation.name);
        assert_eq!(refused.json()["permission"], needed.as_str());
        let system = || host.engine.tenant(TENANT_SYSTEM).unwrap();
        let own = permissions([needed].into_iter());
        let own = match needed {
            // Only there, and there too whoever has all else has it not.
            Permission::Operate => {
                let others = key_of(&system(), TENANT_SYSTEM, everything(), None);
                let refused = ask(&host, operation, Some(&others)).await;
                assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"), "{}", operation.name);
                key_of(&system(), TENANT_SYSTEM, own, None)
            }
            _ => key(&host, own),
        };
        let allowed = ask(&host, operation, Some(&own)).await;
        assert!(!matches!(allowed.status, 401 | 403), "{}: {allowed:?}", operation.name);
    }
}

/// What an answer says, without what chance and the threads beside have made: ids, and how many commits there are.
pub fn without_chance(answer: &Answer) -> (u16, String) {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    // One JSON text, or one a line.
    let Ok(mut texts) = serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<Vec<Value>, _>>() else {
        return (answer.status, text);
    };
    texts.iter_mut().for_each(mask);
    (answer.status, format!("{texts:?}"))
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            // How far read models are is a matter of time.
            if members.contains_key("tables") {
                members.insert("position".to_owned(), json!(0));
            }
            for (name, value) in members.iter_mut() {
                // A body in base64 holds ids.
                if ["commit", "commits", "logbytes", "body", "releases", "tables"].contains(&name.as_str()) {
                    *value = json!(0);
                }
                mask(value);
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(mask);
            if items.iter().all(|item| item.get("grants").is_some()) {
                items.sort_by_key(|item| item["name"].to_string());
            }
        }
        Value::String(text) => {
            let is_chance = |word: &str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
            let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_chance(word));
            let masked = words.fold(text.clone(), |text, word| text.replace(word, "…"));
            *text = masked;
        }
        _ => {}
    }
}

/// Fills a tenant with what the examples of the catalogue ask for.
pub async fn fill(host: &Host, key: &str) {
    for operation in OPERATIONS {
        if matches!(operation.name, "event.publish" | "event.append" | "subscription.create" | "key.create") {
            let answer = ask(host, operation, Some(key)).await;
            assert!(answer.status < 300, "{}: {answer:?}", operation.name);
        }
    }
    for n in 0..20 {
        let event = event(&format!("fill-{n}"), "order.placed", "order/1");
        let published = send(host, "POST", "/v1/events", Some(key), Some(("application/cloudevents+json", &event)));
        assert_eq!(published.await.status, 200);
    }
}

/// Sagas have seen all events: how far they are is a matter of time.
async fn caught_up(tenant: &Arc<Tenant>) {
    let is_behind = || tenant.sagas().unwrap().iter().any(|saga| saga.behind > 0);
    while is_behind() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_key_of_another_tenant_everything_is_as_if_the_tenant_did_not_exist() {
    let (alone, beside) = (closed().await, closed().await);
    let whole = everything();
    let hidden = key(&beside, whole.clone());
    fill(&beside, &hidden).await;
    let filled = beside.tenant.position();
    assert!(filled >= 20);
    // The tenant of the tests is empty in one world and full in the other; who asks is in another tenant.
    let mut keys = Vec::new();
    for host in [&alone, &beside] {
        keys.push(key_of(&host.engine.tenant("other").unwrap(), "other", whole.clone(), None));
    }
    for operation in OPERATIONS {
        let mut answers = Vec::new();
        for (host, key) in [&alone, &beside].into_iter().zip(&keys) {
            caught_up(&host.engine.tenant("other").unwrap()).await;
            answers.push(without_chance(&ask(host, operation, Some(key)).await));
        }
        assert_eq!(answers[0], answers[1], "{}", operation.name);
    }
    assert_eq!(beside.tenant.position(), filled);
    // What is named is there in one of the two worlds only.
    let there = &beside.tenant.keys()[0];
    for (method, tail, body) in
        [("GET", "", None), ("DELETE", "", None), ("POST", "/rotate", Some(("application/json", "{}")))]
    {
        let mut answers = Vec::new();
        for (host, key) in [&alone, &beside].into_iter().zip(&keys) {
            let answer = send(host, method, &format!("/v1/keys/{}{tail}", there.id), Some(key), body).await;
            assert_eq!(answer.status, 404, "{answer:?}");
            answers.push(without_chance(&answer));
        }
        assert_eq!(answers[0], answers[1], "{method} {tail}");
    }
    let hybrid = hidden.replace("qp_test_", "qp_other_");
    assert_eq!(send(&beside, "GET", "/v1/access", Some(&hybrid), None).await.status, 401);
    assert_eq!(beside.tenant.keys().len(), 2);
    // On a WebSocket too.
    for (host, key) in [&alone, &beside].into_iter().zip(&keys) {
        let mut socket = Socket::open_with(host, Some(key)).await;
        socket.send(r#"{"subscribe":{"from":"start"}}"#).await;
        let after = socket.receive().await["subscribed"]["after"].as_u64();
        socket.send(r#"{"consume":{"subscription":"hidden","credits":1}}"#).await;
        // What the requests before have published in this tenant comes first; nothing of the other one does.
        let mut seen = Vec::new();
        let refused = loop {
            let received = socket.receive().await;
            if received.get("error").is_some() {
                break received;
            }
            seen.push(received["id"].as_str().unwrap_or_default().to_owned());
        };
        assert_eq!(refused["error"]["code"], "subscription-not-found", "{refused}");
        assert!(after == Some(0) && seen.iter().all(|id| !id.starts_with("fill-")), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_held_to_its_pattern_in_every_mode_and_dialect() {
    let host = closed().await;
    let narrow = json!([{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}],"source":["/test"]}}]);
    let key = key(&host, narrow);
    let (good, bad) = (event("1", "order.placed", "s"), event("2", "user.created", "s"));
    let elsewhere = good.replace("\"/test\"", "\"/other\"").replace("\"1\"", "\"3\"");
    let publish = async |media_type: &str, body: &str| {
        send(&host, "POST", "/v1/events", Some(&key), Some((media_type, body))).await
    };
    assert_eq!(publish("application/cloudevents+json", &good).await.status, 200);
    for body in [&bad, &elsewhere] {
        let refused = publish("application/cloudevents+json", body).await;
        assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"));
    }
    let batch = publish("application/cloudevents-batch+json", &format!("[{good},{bad},{elsewhere}]")).await.json();
    let codes: Vec<_> = batch["results"].as_array().unwrap().iter().map(|one| &one["error"]["code"]).collect();
    assert_eq!(codes, [&Value::Null, &json!("forbidden"), &json!("forbidden")], "{batch}");
    let lines = publish("application/x-ndjson", &format!("{bad}\n{elsewhere}\n")).await;
    assert_eq!(lines.text().matches(r#""code":"forbidden""#).count(), 2, "{lines:?}");
    let append = json!({ "events": [serde_json::from_str::<Value>(&bad).unwrap()] }).to_string();
    let appended = send(&host, "POST", "/v1/append", Some(&key), Some(("application/json", &append))).await;
    assert_eq!((appended.status, code(&appended).as_str()), (403, "forbidden"), "{appended:?}");
    let mut client = Client::connect(host.address).await;
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("ce-specversion", "1.0"),
        ("ce-id", "4"),
        ("ce-source", "/test"),
        ("ce-type", "user.created"),
        ("content-type", "application/json"),
    ];
    assert_eq!(client.request("POST", "/v1/events", &headers, b"{}").await.status, 403);
    let mut socket = Socket::open_with(&host, Some(&key)).await;
    socket.send(bad.clone()).await;
    assert_eq!(socket.receive().await["ack"]["error"]["code"], "forbidden");
    // What it may not see it cannot ask about by a condition either.
    let condition = json!({"events":[serde_json::from_str::<Value>(&event("9", "order.a", "s")).unwrap()],
        "conditions":[{"after":0,"query":{"items":[{"types":["user.created"]}]}}]});
    let asked = send(&host, "POST", "/v1/append", Some(&key), Some(("application/json", &condition.to_string()))).await;
    assert_eq!(asked.status, 403, "{asked:?}");
    assert_eq!(host.tenant.position(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reader_may_not_see_is_as_if_it_were_absent() {
    let host = closed().await;
    let whole = key(&host, permissions([Permission::Publish].into_iter()));
    for (id, kind, user) in [("1", "a.x", "ada"), ("2", "b.x", "bob"), ("3", "a.x", "bob"), ("4", "b.x", "ada")] {
        let text = event(id, kind, "s").replacen('{', &format!("{{\"userid\":\"{user}\","), 1);
        let published = send(&host, "POST", "/v1/events", Some(&whole), Some(("application/cloudevents+json", &text)));
        assert_eq!(published.await.status, 200);
    }
    let pattern = json!([{"permissions":["read"],"pattern":{"type":[{"prefix":"a."}]}}]);
    let reads = permissions([Permission::Read].into_iter());
    for (key, own) in [
        (key(&host, pattern.clone()), vec!["1", "3"]),
        (key_of(&host.tenant, "test", reads, Some("ada")), vec!["1", "4"]),
        (key_of(&host.tenant, "test", pattern, Some("ada")), vec!["1"]),
    ] {
        let get = async |target: &str| send(&host, "GET", target, Some(&key), None).await;
        for target in ["/v1/events", "/v1/events?direction=backward", "/v1/events?limit=1", "/v1/events?subject=s"] {
            let page = get(target).await.json();
            let mut ids: Vec<_> =
                page["events"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect();
            ids.sort();
            let expected = if target.ends_with("limit=1") { &own[..1] } else { &own[..] };
            assert_eq!(ids, expected, "{target}: {page}");
        }
        for (position, id) in ["1", "2", "3", "4"].into_iter().enumerate().map(|(at, id)| (at + 1, id)) {
            let expected = if own.contains(&id) { 200 } else { 404 };
            assert_eq!(get(&format!("/v1/positions/{position}")).await.status, expected);
            assert_eq!(get(&format!("/v1/event?source=/test&id={id}")).await.status, expected, "{id}");
        }
        for target in ["/v1/streams", "/v1/streams/s", "/v1/positions/1/trace"] {
            assert_eq!(get(target).await.status, 403, "{target}");
        }
        let mut socket = Socket::open_with(&host, Some(&key)).await;
        socket.send(r#"{"subscribe":{"from":"start"}}"#).await;
        socket.receive().await;
        for id in own {
            assert_eq!(socket.receive().await["id"], id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_one_subscription_has_no_other() {
    let host = closed().await;
    let all = key(&host, everything());
    for name in ["billing", "mail"] {
        let made = format!(r#"{{"name":"{name}","start":"beginning"}}"#);
        let made = send(&host, "POST", "/v1/subscriptions", Some(&all), Some(("application/json", &made))).await;
        assert_eq!(made.status, 201);
    }
    let own = key(&host, json!([{"permissions":["consume","observe","redrive"],"subscriptions":["billing"]}]));
    let body = Some(("application/json", "{}"));
    for (method, path, body) in [
        ("POST", "pull", body),
        (
            "POST",
            "answers",
            Some(("application/json", r#"{"answers":[{"position":1,"token":"9a3c51f0e2b46d78","outcome":"ack"}]}"#)),
        ),
        ("GET", "explain", None),
    ] {
        for (name, expected) in [("billing", 200), ("mail", 403), ("absent", 403)] {
            let target = format!("/v1/subscriptions/{name}/{path}");
            let answer = send(&host, method, &target, Some(&own), body).await;
            assert_eq!(answer.status, expected, "{method} {target}: {answer:?}");
        }
    }
    let listed = send(&host, "GET", "/v1/subscriptions", Some(&own), None).await.json();
    assert_eq!(listed["subscriptions"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["subscriptions"][0]["name"], "billing");
    for target in ["/v1/stats", "/v1/keys", "/v1/deadletters/groups"] {
        assert_eq!(send(&host, "GET", target, Some(&own), None).await.status, 403, "{target}");
    }
    let mut socket = Socket::open_with(&host, Some(&own)).await;
    for (name, expected) in [("billing", None), ("mail", Some("forbidden")), ("absent", Some("forbidden"))] {
        socket.send(format!(r#"{{"consume":{{"subscription":"{name}","credits":1}}}}"#)).await;
        let said = socket.receive().await;
        assert_eq!(said["error"]["code"].as_str(), expected, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_to_be_good_for_something_when_its_key_is_revoked() {
    let host = closed().await;
    let all = permissions([Permission::Publish, Permission::Read, Permission::Consume].into_iter());
    let key = key(&host, all);
    let mut socket = Socket::open_with(&host, Some(&key)).await;
    socket.send(r#"{"subscribe":{}}"#).await;
    socket.receive().await;
    socket.send(event("1", "a.b", "s")).await;
    let mut both = [socket.receive().await, socket.receive().await];
    both.sort_by_key(|one| one.get("ack").is_some());
    assert_eq!((&both[0]["id"], &both[1]["ack"]["position"]), (&json!("1"), &json!(1)));
    let id = host.tenant.keys()[0].id.clone();
    host.tenant.revoke_key(&id).unwrap();
    socket.send(event("2", "a.b", "s")).await;
    assert_eq!(socket.receive().await["ack"]["error"]["code"], "unauthenticated");
    let by_another = host.tenant.clone();
    let own = quipu_domain::Event::builder("3", "/test", "a.b").build().unwrap();
    tokio::task::spawn_blocking(move || by_another.publish_wait(vec![by_another.prepare(&own, None).unwrap()]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(socket.receive().await["error"]["code"], "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_made_rotated_and_revoked_over_http_and_shown_once() {
    let host = closed().await;
    let admin = key(&host, permissions([Permission::Administer].into_iter()));
    let ask = async |method: &str, target: &str, key: &str, body: Option<&str>| {
        send(&host, method, target, Some(key), body.map(|body| ("application/json", body))).await
    };
    let asked = r#"{"name":"shop","grants":[{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}]}}],"lifems":60000}"#;
    let made = ask("POST", "/v1/keys", &admin, Some(asked)).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{made:?}");
    let made = made.json();
    let (id, text) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(text.starts_with(&format!("qp_test_{id}_")) && made["expires"] == "2026-01-31T09:31:00.000Z", "{made}");
    let who = ask("GET", "/v1/access", text, None).await.json();
    assert_eq!((&who["tenant"], &who["name"], &who["grants"]), (&json!("test"), &json!("shop"), &made["grants"]));
    for target in ["/v1/keys", &format!("/v1/keys/{id}")] {
        let shown = ask("GET", target, &admin, None).await;
        assert!(shown.status == 200 && !shown.text().contains(&text[text.len() - 20..]), "{shown:?}");
    }
    let rotated = ask("POST", &format!("/v1/keys/{id}/rotate"), &admin, Some(r#"{"keepms":0}"#)).await.json();
    let next = rotated["key"].as_str().unwrap();
    assert_eq!(ask("GET", "/v1/access", text, None).await.status, 401);
    assert_eq!(ask("GET", "/v1/access", next, None).await.status, 200);
    assert_eq!(ask("DELETE", &format!("/v1/keys/{id}"), &admin, None).await.json()["revoked"], id);
    assert_eq!(ask("GET", "/v1/access", next, None).await.status, 401);
    let gone = ask("DELETE", &format!("/v1/keys/{id}"), &admin, None).await;
    assert_eq!((gone.status, code(&gone).as_str()), (404, "key-not-found"));
    let wrong = r#"{"name":"x","grants":[{"permissions":["read"],"subscriptions":["a"]}]}"#;
    let wrong = ask("POST", "/v1/keys", &admin, Some(wrong)).await;
    assert_eq!((wrong.status, &wrong.json()["pointer"]), (400, &json!("/grants/0/subscriptions")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_tenant_is_refused() {
    let host = Host::start().await;
    let mut client = host.client().await;
    let named = |tenant: &str| event("1", "a.b", "s").replacen('{', &format!("{{\"tenantid\":\"{tenant}\","), 1);
    let refused = client.publish(&named("acme")).await;
    assert_eq!((refused.status, code(&refused).as_str()), (403, "foreign-tenant"));
    assert_eq!(client.publish(&named("test")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_many_keys_waits_and_who_has_one_does_not() {
    let host = closed().await;
    let valid = key(&host, permissions([Permission::Read].into_iter()));
    let wrong = KeySecret::new([1; 32]).token("test", "0123456789abcdef");
    for _ in 0..10 {
        assert_eq!(send(&host, "GET", "/v1/access", Some(&wrong), None).await.status, 401);
    }
    let first = std::sync::Mutex::new(Vec::new());
    let asked = async |key: &str, expected: u16| {
        let begin = std::time::Instant::now();
        assert_eq!(send(&host, "GET", "/v1/access", Some(key), None).await.status, expected);
        first.lock().unwrap().push(expected);
        begin.elapsed().as_millis()
    };
    let (slow, _) = tokio::join!(asked(&wrong, 401), asked(&valid, 200));
    // The penalty is a second, during which the other one was answered.
    assert!(slow >= 1_000, "{slow} ms");
    assert_eq!(*first.lock().unwrap(), [200, 401]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrow_publisher_writes_no_checkpoint_and_asks_no_condition_for_its_own_sake() {
    let host = closed().await;
    let narrow = json!([{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}]}}]);
    let (narrow, whole) = (key(&host, narrow), key(&host, permissions([Permission::Publish].into_iter())));
    let good: Value = serde_json::from_str(&event("1", "order.placed", "s")).unwrap();
    let checkpoint = json!({"source":"their-table","number":9});
    for body in [
        json!({"events":[],"checkpoint":checkpoint}),
        json!({"events":[good],"checkpoint":checkpoint}),
        json!({"events":[],"conditions":[{"stream":"s","version":1}],"checkpoint":checkpoint}),
    ] {
        let text = body.to_string();
        let refused = send(&host, "POST", "/v1/append", Some(&narrow), Some(("application/json", &text))).await;
        assert_eq!((refused.status, code(&refused).as_str()), (403, "forbidden"), "{text}");
    }
    assert_eq!(host.tenant.checkpoint("their-table"), None);
    let text = json!({"events":[],"checkpoint":checkpoint}).to_string();
    assert_eq!(send(&host, "POST", "/v1/append", Some(&whole), Some(("application/json", &text))).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_opened_with_a_secret_that_others_know_ends_with_the_secret() {
    let host = closed().await;
    let key = key(&host, permissions([Permission::Publish, Permission::Read].into_iter()));
    let mut socket = Socket::open_with(&host, Some(&key)).await;
    socket.send(event("1", "a.b", "s")).await;
    assert_eq!(socket.receive().await["ack"]["position"], 1);
    let id = host.tenant.keys()[0].id.clone();
    let (_, next) = host.tenant.rotate_key(&id, 0).unwrap();
    socket.send(event("2", "a.b", "s")).await;
    assert_eq!(socket.receive().await["ack"]["error"]["code"], "unauthenticated");
    socket.send(r#"{"subscribe":{}}"#).await;
    assert_eq!(socket.receive().await["error"]["code"], "unauthenticated");
    let mut socket = Socket::open_with(&host, Some(&next.token("test", &id))).await;
    socket.send(event("2", "a.b", "s")).await;
    assert_eq!(socket.receive().await["ack"]["position"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_of_other_subscriptions_are_as_if_they_were_absent() {
    let host = closed().await;
    let all = key(&host, everything());
    let json = "application/json";
    for name in ["billing", "mail"] {
        let made = format!(r#"{{"name":"{name}","start":"beginning","retry":{{"maxattempts":1}}}}"#);
        assert_eq!(send(&host, "POST", "/v1/subscriptions", Some(&all), Some((json, &made))).await.status, 201);
    }
    let event = event("1", "a.b", "s");
    send(&host, "POST", "/v1/events", Some(&all), Some(("application/cloudevents+json", &event))).await;
    for name in ["billing", "mail"] {
        let path = |tail: &str| format!("/v1/subscriptions/{name}/{tail}");
        let pulled = send(&host, "POST", &path("pull"), Some(&all), Some((json, r#"{"waitms":5000}"#))).await.json();
        let token =
            pulled["deliveries"][0]["delivery"]["token"].as_str().unwrap_or_else(|| panic!("{pulled}")).to_owned();
        let answer = json!({"answers":[{"position":1,"token":token,"outcome":"giveup","error":"no"}]}).to_string();
        let answered = send(&host, "POST", &path("answers"), Some(&all), Some((json, &answer))).await;
        assert_eq!(answered.json()["done"], 1, "{answered:?}");
    }
    let narrow = |permission: &[&str]| json!([{"permissions":permission,"subscriptions":["mail"]}]);
    let (own, editor) = (key(&host, narrow(&["redrive"])), key(&host, narrow(&["redrive", "edit"])));
    let ask = async |key: &str, method: &str, target: &str, body: Option<&str>| {
        send(&host, method, target, Some(key), body.map(|body| (json, body))).await
    };
    let listed = crate::platform::eventually(async || {
        let listed = ask(&all, "GET", "/v1/deadletters", None).await.json();
        Some(listed).filter(|listed| listed["deadletters"].as_array().is_some_and(|all| all.len() == 2))
    });
    let listed = listed.await;
    let id = |name: &str| {
        let of = listed["deadletters"].as_array().unwrap().iter().find(|one| one["subscription"] == name);
        of.unwrap()["id"].as_u64().unwrap()
    };
    let (mail, billing) = (id("mail"), id("billing"));
    let seen = ask(&own, "GET", "/v1/deadletters", None).await.json();
    assert_eq!(seen["deadletters"].as_array().unwrap().len(), 1, "{seen}");
    assert_eq!(ask(&own, "GET", &format!("/v1/deadletters/{mail}"), None).await.status, 200);
    let absent = ask(&own, "GET", &format!("/v1/deadletters/{}", billing + 100), None).await;
    let hidden = ask(&own, "GET", &format!("/v1/deadletters/{billing}"), None).await;
    let number = |answer: &Answer, id: u64| answer.text().replace(&id.to_string(), "N");
    assert_eq!((hidden.status, number(&hidden, billing)), (404, number(&absent, billing + 100)));
    for (what, body) in [("redrive", "{}"), ("discard", r#"{"reason":"x"}"#)] {
        let target = format!("/v1/deadletters/{billing}/{what}");
        assert_eq!(ask(&own, "POST", &target, Some(body)).await.status, 404, "{what}");
    }
    let redrive = format!("/v1/deadletters/{mail}/redrive");
    assert_eq!(ask(&own, "POST", &redrive, Some(r#"{"to":"billing"}"#)).await.status, 403);
    let edited = format!(r#"{{"event":{event}}}"#);
    assert_eq!(ask(&own, "POST", &redrive, Some(&edited)).await.status, 403);
    assert_eq!(ask(&editor, "POST", &redrive, Some(&edited)).await.status, 200);
    // A name that is written otherwise is the same name.
    let consumer = key(&host, json!([{"permissions":["observe"],"subscriptions":["mail"]}]));
    assert_eq!(ask(&consumer, "GET", "/v1/subscriptions/%6dail", None).await.status, 200);
    assert_eq!(ask(&consumer, "GET", "/v1/subscriptions/%62illing", None).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_with_a_key_does_not_outlive_it() {
    let server = Server { anybody: Anybody::None, heartbeat: Duration::from_millis(100), ..Server::default() };
    let host = Host::start_beside("other", server).await;
    let key = key(&host, everything());
    let id = host.tenant.keys()[0].id.clone();
    let begin = async |head: &str| {
        let mut client = Client::connect(host.address).await;
        client.write(format!("{head}host: localhost\r\nauthorization: Bearer {key}\r\n").as_bytes()).await;
        client
    };
    let mut tail = begin("GET /v1/tail HTTP/1.1\r\n").await;
    tail.write(b"\r\n").await;
    assert_eq!(tail.head().await.0, 200);
    let socket = Socket::open_with(&host, Some(&key)).await;
    let body = r#"{"name":"mine","grants":[{"permissions":["administer"]}]}"#;
    let typed = |kind: &str, length: usize| format!("content-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
    let mut maker = begin("POST /v1/keys HTTP/1.1\r\n").await;
    maker.write(typed("application/json", body.len() + 1).as_bytes()).await;
    maker.write(b" ").await;
    let line = event("1", "a.b", "s") + "\n";
    let mut loader = begin("POST /v1/events HTTP/1.1\r\n").await;
    loader.write(typed("application/x-ndjson", 2 * line.len()).as_bytes()).await;
    loader.write(line.as_bytes()).await;
    crate::platform::eventually(async || (host.tenant.position() == 1).then_some(())).await;
    host.tenant.revoke_key(&id).unwrap();
    maker.write(body.as_bytes()).await;
    assert_eq!(maker.answer("POST").await.status, 401);
    assert!(host.tenant.keys().is_empty());
    loader.write(line.replace("\"1\"", "\"2\"").as_bytes()).await;
    assert!(loader.answer("POST").await.text().contains(r#""code":"unauthenticated""#));
    assert_eq!(host.tenant.position(), 1);
    // Those that only wait are ended.
    within(async { while tail.chunk().await.is_some() {} }).await;
    let Socket(mut socket) = socket;
    let said = within(async {
        let mut said = String::new();
        while let Some(Ok(message)) = socket.next().await {
            said.push_str(&message.to_string());
        }
        said
    });
    assert!(said.await.contains("unauthenticated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_proxy_has_passed_on_needs_a_key() {
    let host = Host::start().await;
    let mut client = host.client().await;
    assert_eq!(client.get("/v1/access").await.json()["tenant"], "test");
    for name in ["x-forwarded-for", "Forwarded", "Via", "x-real-ip"] {
        let answer = client.request("GET", "/v1/access", &[(name, "for=10.0.0.7")], b"").await;
        assert_eq!((answer.status, code(&answer).as_str()), (401, "unauthenticated"), "{name}");
    }
}
