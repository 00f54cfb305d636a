//! The secrets of webhooks: where they are, who can read them, and how long they are good.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use quipu_engine::{Fault, Tenant};
use quipu_server::secrets::{OVERLAP_MS, Secrets};
use quipu_server::webhook::Secret;

use crate::platform::{Hands, Platform, allowing, engine};
use crate::receiver::Receiver;

fn texts(secrets: &[Secret]) -> Vec<String> {
    secrets.iter().map(|secret| secret.expose().to_string()).collect()
}

fn open(tenant: &Arc<Tenant>) -> Secrets {
    Secrets::open(Arc::clone(tenant)).unwrap()
}

#[test]
fn the_newest_comes_first_and_the_ones_before_end_after_a_day_also_after_a_restart() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Hands::new());
    let engine = engine(folder.path(), &clock);
    let tenant = engine.tenant("test").unwrap();
    let secrets = open(&tenant);
    let first = secrets.begin("s", None).unwrap();
    clock.wait_ms(OVERLAP_MS * 10);
    assert_eq!(texts(&secrets.valid("s")), texts(std::slice::from_ref(&first)), "without another one it has no end");
    let (info, second) = secrets.rotate("s", None).unwrap();
    assert_eq!((info.id, info.until), (2, None));
    clock.wait_ms(OVERLAP_MS - 1);
    for secrets in [&secrets, &open(&tenant)] {
        assert_eq!(texts(&secrets.valid("s")), texts(&[second.clone(), first.clone()]));
        assert!(secrets.valid("other").is_empty());
    }
    clock.wait_ms(1);
    for secrets in [&secrets, &open(&tenant)] {
        assert_eq!(texts(&secrets.valid("s")), texts(std::slice::from_ref(&second)));
        assert_eq!(secrets.list("s").iter().map(|info| info.id).collect::<Vec<_>>(), [2]);
    }
    assert_eq!(secrets.rotate("s", Some(second)).unwrap().0.id, 2, "it is the newest already");
}

#[test]
fn of_more_than_four_the_oldest_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), &Hands::new());
    let secrets = open(&engine.tenant("test").unwrap());
    let all: Vec<_> = (0..6).map(|_| secrets.rotate("s", None).unwrap().1).collect();
    let newest: Vec<_> = all.iter().rev().take(4).cloned().collect();
    assert_eq!(texts(&secrets.valid("s")), texts(&newest));
    assert_eq!(secrets.begin("s", None).map(|_| secrets.valid("s").len()).unwrap(), 1, "another one of its name");
    secrets.keep(|name| name != "s").unwrap();
    assert!(secrets.valid("s").is_empty() && open(&engine.tenant("test").unwrap()).valid("s").is_empty());
}

#[test]
fn a_file_that_is_not_what_was_written_is_refused_without_being_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), &Hands::new());
    let tenant = engine.tenant("test").unwrap();
    for (text, expected) in [
        (r#"{"format":1,"subscriptions":{"s":[{"id":1,"secret":"whsec_hunter2","#, "damaged"),
        (r#"{"format":1,"subscriptions":{"s":[{"id":1,"secret":"whsec_hunter2","made":0}]}}"#, "damaged"),
        (r#"{"format":1,"subscriptions":"whsec_hunter2"}"#, "damaged"),
        (r#"{"format":2,"subscriptions":{}}"#, "format 2"),
        ("", "damaged"),
    ] {
        tenant.write_private("webhooks.json", text.as_bytes()).unwrap();
        let fault = Secrets::open(Arc::clone(&tenant)).unwrap_err();
        assert!(matches!(fault, Fault::Damaged { .. } | Fault::UnknownFormat { .. }));
        let said = fault.to_string();
        assert!(said.contains(expected) && said.contains("secrets/webhooks.json"), "{said}");
        assert!(!said.contains("hunter2") && !format!("{fault:?}").contains("hunter2"), "{said}");
    }
}

/// Every file below a folder that has these bytes, by its path.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if std::fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_in_one_file_that_only_its_owner_may_read() {
    let (platform, mut receiver) = (Platform::start().await, Receiver::answering(200).await);
    let secret = platform.push("s", &receiver.url(), "").await.expose();
    platform.publish(["a".to_owned()]);
    receiver.next().await;
    platform.acknowledged("s", 1).await;
    let (folder, clock) = platform.stop().await;
    let file = folder.path().join("tenants/test/secrets/webhooks.json");
    assert_eq!(files_with(folder.path(), &secret), [file.to_string_lossy()]);
    assert_eq!(files_with(folder.path(), "\"push\"").len(), 2, "the definition itself is in the log and in the trail");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // A server does not begin with secrets that it cannot read.
    std::fs::write(&file, "{").unwrap();
    let mut again = Platform::start_in(folder, clock, allowing()).await;
    let error = again.host.failed().await;
    assert!(error.contains("webhooks.json is damaged"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_no_rotation_is_refused_with_its_code_and_not_repeated() {
    let (platform, receiver) = (Platform::start().await, Receiver::answering(200).await);
    let secret = platform.push("s", &receiver.url(), "").await.expose();
    platform.tenant().create_subscription("pulled", quipu_domain::Subscription::default()).unwrap();
    let mut client = platform.host.client().await;
    for (name, body, code) in [
        ("s", r#"{"secret":"whsec_aHVudGVyMg=="}"#, "invalid-secret"),
        ("s", r#"{"secret":"aHVudGVyMg=="}"#, "invalid-secret"),
        ("s", r#"{"secret":["aHVudGVyMg=="]}"#, "invalid-request"),
        ("s", r#"{"key":"aHVudGVyMg=="}"#, "invalid-request"),
        ("s", r#"["aHVudGVyMg=="]"#, "invalid-request"),
        ("s", r#"{"secret":"aHVudGVyMg=="#, "malformed-json"),
        ("pulled", "{}", "invalid-request"),
        ("nobody", "{}", "subscription-not-found"),
    ] {
        let answer = client.post(&format!("/v1/subscriptions/{name}/secrets"), "application/json", body).await;
        assert_eq!(answer.json()["code"], code, "{body}");
        assert!(!answer.text().contains("aHVudGVyMg"), "{}", answer.text());
    }
    // One that is given is not shown; the answer is for nobody's cache.
    let body = format!(r#"{{"secret":"{}"}}"#, *Secret::generate([3; 32]).expose());
    let answer = client.post("/v1/subscriptions/s/secrets", "application/json", &body).await;
    assert_eq!(answer.headers.get("cache-control").map(String::as_str), Some("no-store"));
    assert_eq!((answer.json()["secret"].is_null(), answer.json()["secrets"].as_array().unwrap().len()), (true, 2));
    let listed = client.get("/v1/subscriptions/s/secrets").await;
    assert!(!listed.text().contains("whsec_") && !listed.text().contains(&**secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_is_made_again_with_another_secret_is_refused_and_keeps_its_own() {
    let platform = Platform::start().await;
    let mut client = platform.host.client().await;
    let text = |byte: u8| Secret::generate([byte; 32]).expose().to_string();
    let (first, second) = (text(1), text(2));
    let mut make = async |members: &str| {
        let body = format!(r#"{{"name":"s","push":{{"url":"http://127.0.0.1:1/"{members}}}}}"#);
        client.post("/v1/subscriptions", "application/json", &body).await
    };
    let with = |secret: &str| format!(r#","secret":"{secret}""#);
    assert_eq!(make(&with(&first)).await.status, 201);
    assert_eq!(make(&with(&first)).await.status, 200, "it is the same");
    assert_eq!(make("").await.status, 200, "nothing is said of its secret");
    let refused = make(&with(&second)).await;
    let problem = refused.json();
    assert_eq!((refused.status, problem["code"].as_str()), (409, Some("subscription-exists")));
    assert_eq!((problem["name"].as_str(), problem["pointer"].as_str()), (Some("s"), Some("/push/secret")));
    assert!(!refused.text().contains("whsec_"), "{}", refused.text());
    // Whoever rotates makes another the newest; the one before is good for a day only.
    let rotated = platform.rotate("s").await.expose().to_string();
    assert_eq!(make(&with(&first)).await.status, 409);
    assert_eq!(make(&with(&rotated)).await.status, 200);
    let (folder, _) = platform.stop().await;
    assert_eq!(files_with(folder.path(), &second), [] as [String; 0]);
}
