//! What the catalog may cost the server: an export has an end, and few read the log for it at once.

use std::sync::Mutex;
use std::sync::mpsc;

use quipu_server::Server;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::client::{Answer, Client};
use crate::disk::{Call, Disk};
use crate::host::{Host, event, within};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_more_types_than_it_may_have_is_asked_for_in_parts() {
    let host = Host::start().await;
    let mut client = host.client().await;
    for part in 0..10 {
        let message = |number: usize| (format!("many.t{part}{number:03}"), json!({}));
        let messages: serde_json::Map<_, _> = (0..1_000).map(message).collect();
        let document = json!({"asyncapi": "3.0.0", "info": {"title": "t"}, "components": {"messages": messages}});
        let imported = client.post("/v1/catalog/asyncapi", "application/json", &document.to_string()).await;
        assert_eq!((imported.status, imported.json()["items"].as_array().unwrap().len()), (200, 1_000));
    }
    for path in ["/v1/catalog/asyncapi", "/v1/catalog/mermaid"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    assert_eq!(client.publish(&event("1", "more.than", "s")).await.status, 200);
    for path in ["/v1/catalog/asyncapi", "/v1/catalog/mermaid"] {
        let refused = client.get(path).await;
        assert_eq!((refused.status, &refused.json()["parameter"]), (400, &json!("prefix")), "{path} {refused:?}");
        assert!(refused.json()["detail"].as_str().unwrap().contains("at most 10000 types"), "{refused:?}");
        assert_eq!(client.get(&format!("{path}?prefix=many.")).await.status, 200, "{path}");
    }
}

/// Asks on a connection of its own.
async fn asks(host: &Host, method: &'static str, target: &'static str, body: &'static str) -> JoinHandle<Answer> {
    let mut client = Client::connect(host.address).await;
    tokio::spawn(async move { client.send(method, target, "application/json", body).await })
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_the_catalog_waits_for_those_who_read_the_log_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (reached, mut is_reached) = tokio::sync::mpsc::unbounded_channel();
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    // Reading the file of what was seen comes first, and waits here until the test is done.
    let storage = Disk::hooked(folder.path(), move |call| {
        if matches!(call, Call::List(folder) if folder.ends_with("/catalog")) {
            let _ = reached.send(());
            let _ = released.lock().unwrap().recv();
        }
        Ok(())
    });
    let host = Host::start_on(storage, Server::default()).await;
    // Two may read: one does, and another waits for what it reads.
    let mut asked = vec![asks(&host, "GET", "/v1/catalog", "").await];
    within(is_reached.recv()).await.unwrap();
    for _ in 0..4 {
        asked.push(asks(&host, "GET", "/v1/catalog?prefix=a", "").await);
    }
    let mut other = host.client().await;
    for _ in 0..20 {
        assert_eq!(other.get("/v1/stats").await.status, 200);
    }
    // An import reads nothing of that, and waits all the same.
    let document = r#"{"asyncapi":"3.0.0","info":{"title":"t"},"components":{"messages":{"a.b":{}}}}"#;
    let waiting = [
        asks(&host, "POST", "/v1/catalog/asyncapi?dryrun=true", document).await,
        asks(&host, "POST", "/v1/catalog/asyncapi", document).await,
        asks(&host, "GET", "/v1/catalog/asyncapi", "").await,
        asks(&host, "GET", "/v1/catalog/mermaid", "").await,
    ];
    for _ in 0..50 {
        assert_eq!(other.get("/v1/stats").await.status, 200, "nobody else waits");
    }
    assert!(waiting.iter().chain(&asked).all(|asked| !asked.is_finished()));
    drop(release);
    for asked in asked.into_iter().chain(waiting) {
        assert_eq!(within(asked).await.unwrap().status, 200);
    }
}
