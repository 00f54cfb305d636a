//! The audit trail over HTTP: what stands in it of each operation of the catalogue, done and refused, and who reads it.

use quipu_api::catalogue::Needs;
use quipu_api::{OPERATIONS, Operation};
use quipu_domain::access::KeySecret;
use quipu_engine::{Head, verify_export};
use quipu_server::{Anybody, Server};
use serde_json::{Value, json};

use crate::access::{ask, closed, everything, in_a_tenant, key, key_of, permissions, send};
use crate::client::Client;
use crate::host::{Host, event, within};
use crate::websocket::Socket;

/// What the trail has for these parameters, the oldest first; whoever asks must be an auditor.
async fn acts(host: &Host, auditor: &str, question: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = send(host, "GET", &format!("/v1/audit?limit=1000&{question}{cursor}"), Some(auditor), None).await;
        assert_eq!(page.status, 200, "{page:?}");
        let page = page.json();
        all.extend(page["acts"].as_array().unwrap().clone());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn auditor(host: &Host) -> String {
    key(host, json!([{"permissions":["audit"]}]))
}

pub fn actor(key: &str) -> String {
    format!("key:{}", key.split('_').nth(2).unwrap())
}

/// What changes nothing and only asks.
fn only_asks(operation: &Operation) -> bool {
    operation.method.as_str() == "GET" || matches!(operation.name, "pattern.test" | "projection.sql")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_that_administers_stands_in_the_trail_with_its_outcome_and_nothing_else_does() {
    let host = closed().await;
    let (auditor, admin) = (auditor(&host), key(&host, everything()));
    let mut audited = 0;
    for operation in OPERATIONS {
        let answer = ask(&host, operation, Some(&admin)).await;
        let question = format!("actor={}&operation={}", actor(&admin), operation.name);
        let found = acts(&host, &auditor, &question).await;
        if !operation.is_audited() {
            assert!(found.is_empty(), "{}: {found:?}", operation.name);
            continue;
        }
        audited += 1;
        let outcome = if answer.status < 400 { "done" } else { "refused" };
        assert_eq!(found.len(), 1, "{}: {found:?}", operation.name);
        let act = &found[0];
        assert_eq!((&act["outcome"], &act["actor"]["name"]), (&json!(outcome), &json!("a test")), "{act}");
        assert_eq!(act["address"], "127.0.0.1");
        if outcome == "refused" {
            assert_eq!(act["code"], answer.json()["code"], "{act}");
        }
    }
    // Whatever needs the permission to change something is one.
    let changes = ["subscription.delete", "deadletter.redrive", "key.create", "secret.rotate", "operation.confirm"];
    assert!(changes.iter().all(|name| quipu_api::operation(name).unwrap().is_audited()));
    assert!(audited > 15, "{audited}");
    let unaudited = OPERATIONS.iter().filter(|operation| !operation.is_audited() && !only_asks(operation));
    let unaudited: Vec<_> = unaudited.map(|operation| operation.name).collect();
    let timers = ["timer.set", "timer.cancel", "timer.cancelkey"];
    let others = ["delivery.pull", "delivery.answer", "access.ticket"];
    assert_eq!(unaudited, [&["event.publish", "event.append"], &timers[..], &others].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_stands_in_the_trail_of_whoever_was_known_and_of_strangers() {
    let guarded: Vec<_> = OPERATIONS.iter().filter(|operation| operation.needs != Needs::Nothing).collect();
    // A trail notes a hundred kinds of refusals a minute, and there are more operations.
    for some in guarded.chunks(80) {
        let host = closed().await;
        let auditor = auditor(&host);
        for operation in some {
            let Some(needed) = in_a_tenant().find(|one| one.as_str() == operation.needs.to_string()) else { continue };
            let others = key(&host, permissions(in_a_tenant().filter(|one| *one != needed)));
            assert_eq!(ask(&host, operation, Some(&others)).await.status, 403);
            let found = acts(&host, &auditor, &format!("actor={}&outcome=refused", actor(&others))).await;
            assert_eq!(found.len(), 1, "{}: {found:?}", operation.name);
            assert_eq!((&found[0]["operation"], &found[0]["code"]), (&json!(operation.name), &json!("forbidden")));
        }
    }
    let host = closed().await;
    let auditor = auditor(&host);
    let wrong = KeySecret::new([1; 32]).token("test", "0123456789abcdef").to_string();
    let nobody = auditor.replace("qp_test_", "qp_nobody_");
    let list = quipu_api::operation("key.list").unwrap();
    // Who means no tenant that is there stands in the trail of those who know all tenants.
    let system = host.engine.tenant("system").unwrap();
    let operators = key_of(&system, "system", json!([{"permissions":["audit"]}]), None);
    for (keys, auditor) in [(vec![Some(wrong.as_str()); 3], &auditor), (vec![Some(nobody.as_str()), None], &operators)]
    {
        let kinds = keys.iter().collect::<std::collections::HashSet<_>>().len();
        for key in keys {
            assert_eq!(ask(&host, list, key).await.status, 401);
        }
        let found = acts(&host, auditor, "actor=stranger").await;
        assert_eq!(found.len(), kinds, "once a minute: {found:?}");
        assert_eq!((&found[0]["code"], &found[0]["operation"]), (&json!("unauthenticated"), &json!("key.list")));
        assert!(!format!("{found:?}").contains(nobody.rsplit('_').next().unwrap()), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_may_not_be_published_are_refused_in_the_trail_whatever_way_they_came() {
    let host = closed().await;
    let auditor = auditor(&host);
    let narrow = || key(&host, json!([{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}]}}]));
    let (good, bad) = (event("1", "order.placed", "o/1"), event("2", "user.named", "u/1"));
    let batch = format!("[{good},{bad}]");
    let lines = format!("{good}\n{bad}\n");
    for (target, media_type, body) in [
        ("/v1/events", "application/cloudevents+json", bad.as_str()),
        ("/v1/events", "application/cloudevents-batch+json", &batch),
        ("/v1/events", "application/x-ndjson", &lines),
        ("/v1/append", "application/json", &format!("{{\"events\":{batch}}}")),
    ] {
        let key = narrow();
        let answer = send(&host, "POST", target, Some(&key), Some((media_type, body))).await;
        assert!(answer.text().contains("forbidden"), "{answer:?}");
        let found = acts(&host, &auditor, &format!("actor={}", actor(&key))).await;
        assert_eq!(found.len(), 1, "{media_type}: {found:?}");
        assert_eq!((&found[0]["outcome"], &found[0]["code"]), (&json!("refused"), &json!("forbidden")));
    }
    let key = narrow();
    let mut socket = Socket::open_with(&host, Some(&key)).await;
    socket.send(&bad).await;
    assert!(socket.receive().await.to_string().contains("forbidden"));
    let found = acts(&host, &auditor, &format!("actor={}", actor(&key))).await;
    assert_eq!((found.len(), &found[0]["operation"]), (1, &json!("event.connect")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_says_what_was_done_to_what_and_no_secret() {
    let host = closed().await;
    let (auditor, admin) = (auditor(&host), key(&host, everything()));
    let body = r#"{"name":"shop","grants":[{"permissions":["publish"]}]}"#;
    let made = send(&host, "POST", "/v1/keys", Some(&admin), Some(("application/json", body))).await.json();
    let (id, text) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let rotate = format!("/v1/keys/{id}/rotate");
    let rotated = send(&host, "POST", &rotate, Some(&admin), Some(("application/json", "{}"))).await.json();
    send(&host, "DELETE", &format!("/v1/keys/{id}"), Some(&admin), None).await;
    let found = acts(&host, &auditor, &format!("subject=keys/{id}")).await;
    let operations: Vec<_> = found.iter().map(|act| act["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["key.create", "key.rotate", "key.revoke"]);
    assert_eq!(found[0]["details"]["grants"], json!([{"permissions":["publish"]}]));
    let push = r#"{"name":"hook","push":{"url":"https://hooks.example.com/a?token=s3cr3t"}}"#;
    let made = send(&host, "POST", "/v1/subscriptions", Some(&admin), Some(("application/json", push))).await;
    assert_eq!(made.status, 201, "{made:?}");
    let found = acts(&host, &auditor, "subject=subscriptions/hook").await;
    assert_eq!(found[0]["details"]["push"]["url"], "https://hooks.example.com", "{found:?}");
    let secret = made.json()["secret"].as_str().unwrap().to_owned();
    for target in ["/v1/audit?limit=1000", "/v1/audit/report", "/v1/audit/export"] {
        let all = send(&host, "GET", target, Some(&auditor), None).await;
        let all = all.text();
        let rotated = rotated["key"].as_str().unwrap();
        for hidden in [text, rotated, &secret, "s3cr3t", &auditor, &admin] {
            let hidden = hidden.rsplit('_').next().unwrap();
            assert!(!all.contains(hidden), "{target} has {hidden}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_is_read_by_auditors_and_correlated_by_the_request() {
    let host = closed().await;
    let (auditor, admin) =
        (auditor(&host), key(&host, permissions(in_a_tenant().filter(|one| one.as_str() != "audit"))));
    let bearer = format!("Bearer {admin}");
    let headers = [("authorization", bearer.as_str()), ("ce-correlationid", "case%2017")];
    let answer = Client::connect(host.address).await.request("DELETE", "/v1/keys/5f", &headers, b"").await;
    assert_eq!(answer.status, 404);
    let found = acts(&host, &auditor, "correlationid=case%2017").await;
    assert_eq!((found.len(), &found[0]["code"]), (1, &json!("key-not-found")));
    // Who reads it stands in it.
    assert_eq!(acts(&host, &auditor, "operation=audit.list&outcome=done").await.len(), 1);
    for (question, expected) in [
        ("timefrom=2026-01-31T09:30:00Z&correlationid=case%2017", 1),
        ("timefrom=2026-01-31T09:30:01Z", 0),
        ("timeto=2026-01-31T09:29:59Z", 0),
        ("outcome=begun", 0),
    ] {
        assert_eq!(acts(&host, &auditor, question).await.len(), expected, "{question}");
    }
    for question in ["who=me", "outcome=maybe", "timefrom=now", "limit=0", "actor=a&actor=b"] {
        let answer = send(&host, "GET", &format!("/v1/audit?{question}"), Some(&auditor), None).await;
        assert_eq!((answer.status, answer.json()["code"].as_str()), (400, Some("invalid-parameter")), "{question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_json_or_a_page_to_print_and_an_export_is_verified_without_the_server() {
    let host = closed().await;
    let (auditor, admin) = (auditor(&host), key(&host, everything()));
    for n in 0..30 {
        let body = format!(r#"{{"name":"<b>{n}</b>","grants":[{{"permissions":["read"]}}]}}"#);
        send(&host, "POST", "/v1/keys", Some(&admin), Some(("application/json", &body))).await;
    }
    let target = "/v1/audit/report?operation=key.create";
    let report = send(&host, "GET", target, Some(&auditor), None).await.json();
    assert_eq!((&report["tenant"], &report["complete"]), (&json!("test"), &json!(true)));
    assert_eq!((report["acts"].as_array().unwrap().len(), &report["question"]), (30, &json!("operation=key.create")));
    let bearer = format!("Bearer {auditor}");
    let headers = [("authorization", bearer.as_str()), ("accept", "text/html")];
    let answer = Client::connect(host.address).await.request("GET", target, &headers, b"").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'; style-src"));
    let page = answer.text();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("&lt;b&gt;29&lt;/b&gt;") && !page.contains("<b>"));
    let export = send(&host, "GET", "/v1/audit/export", Some(&auditor), None).await;
    let export = export.text();
    let kept = Head::parse(report["head"].as_str().unwrap());
    let verified = verify_export(export.as_bytes(), kept).unwrap();
    assert_eq!((verified.problem, verified.tenant.as_str()), (None, "test"));
    assert!(verified.events >= 62, "{}", verified.events);
    // A report takes no pages.
    assert_eq!(send(&host, "GET", "/v1/audit/report?limit=3", Some(&auditor), None).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_down_is_not_done() {
    let host = closed().await;
    let admin = key(&host, everything());
    let keys = host.tenant.keys().len();
    // Something stands where the trail should be.
    std::fs::write(host.folder().join("tenants/test/audit"), "").unwrap();
    let of_tenants = |operation: &&Operation| operation.is_audited() && !operation.name.starts_with("tenant.");
    for operation in OPERATIONS.iter().filter(of_tenants) {
        let answer = ask(&host, operation, Some(&admin)).await;
        assert!(answer.status >= 500, "{}: {answer:?}", operation.name);
    }
    assert_eq!((host.tenant.keys().len(), host.tenant.subscriptions().len()), (keys, 0));
    assert_eq!(send(&host, "GET", "/v1/events", Some(&admin), None).await.status, 200, "reading goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_try_for_long_fill_no_disk() {
    let host = Host::start_beside("other", Server { anybody: Anybody::None, ..Server::default() }).await;
    let auditor = auditor(&host);
    let wrong = KeySecret::new([1; 32]).token("test", "0123456789abcdef").to_string();
    let tries = (0..300).map(async |n: u32| {
        let operation = &OPERATIONS[n as usize % OPERATIONS.len()];
        if operation.needs != Needs::Nothing {
            within(ask(&host, operation, Some(&wrong))).await;
        }
    });
    futures_util::future::join_all(tries).await;
    let found = acts(&host, &auditor, "actor=stranger").await;
    assert!(!found.is_empty() && found.len() <= OPERATIONS.len(), "{}", found.len());
    assert_eq!(key_of(&host.tenant, "test", everything(), None).len(), auditor.len());
}
