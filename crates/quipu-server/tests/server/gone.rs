//! Endpoints that are gone: the subscription is paused, also where the disk does not let that be recorded at once, and its
//! definition can be given back as it was shown.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu_domain::Event;
use quipu_engine::{Clock, Options, Tenant};
use quipu_store::OpenMode;
use serde_json::Value;

use crate::disk::{Call, Disk};
use crate::host::Host;
use crate::platform::{Hands, Platform, allowing, definition, eventually, position};
use crate::receiver::{Receiver, Reply, answer};

/// Once 410, then 200.
async fn once_gone() -> Receiver {
    Receiver::start([410, 200].map(|status| Reply::Bytes(answer(status, "", ""))).to_vec()).await
}

/// Publishes until nothing more is taken.
fn fill(tenant: &Arc<Tenant>) {
    for n in 0.. {
        if tenant.refuses_appends().is_some() {
            return;
        }
        let event = Event::builder(n.to_string(), "/fill", "t.a").subject(n.to_string()).json("1").build().unwrap();
        // Refused as soon as too many runs wait.
        let _ = tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_cannot_be_recorded_is_tried_again_and_nothing_is_sent_before() {
    let (folder, clock) = (Arc::new(tempfile::tempdir().unwrap()), Hands::new());
    // Appends are refused while there are no index runs, until the disk takes them again.
    let refuses = Arc::new(AtomicBool::new(true));
    let refused = Arc::clone(&refuses);
    let storage = Disk::hooked(folder.path(), move |call| match call {
        Call::Open(path, OpenMode::CreateNew) if path.contains("/index/") && refused.load(Ordering::SeqCst) => {
            Err(io::Error::other("no runs here"))
        }
        _ => Ok(()),
    });
    let options = Options { run_events: 20, ..Options::default() };
    let host = Host::start_as(storage, Arc::clone(&clock) as Arc<dyn Clock>, allowing(), options).await;
    let platform = Platform { host, clock, folder };
    let (mut gone, mut other) = (once_gone().await, Receiver::answering(200).await);
    for (name, receiver) in [("s", &gone), ("other", &other)] {
        platform.tenant().create_subscription(name, definition(&receiver.url(), r#","maxinflight":1"#)).unwrap();
    }
    fill(platform.tenant());
    // Nothing is sent without a secret, so all begins now.
    platform.rotate("s").await;
    assert_eq!(position(&gone.next().await), 1);
    eventually(async || (platform.info("s").summary.in_flight == 0).then_some(())).await;
    // Another plan for the same endpoint.
    platform.rotate("s").await;
    platform.rotate("other").await;
    for _ in 0..20 {
        other.next().await;
    }
    assert!(!platform.info("s").definition.paused && platform.tenant().refuses_appends().is_some());
    assert_eq!(gone.waiting(), 0, "it is gone, whether or not that can be recorded");
    refuses.store(false, Ordering::SeqCst);
    while platform.tenant().maintain().unwrap() {}
    eventually(async || platform.info("s").definition.paused.then_some(())).await;
    assert_eq!(gone.waiting(), 0);
    platform.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(position(&gone.next().await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_given_back_as_it_was_shown_and_why_it_is_paused_is_not_for_clients_to_say() {
    let (platform, mut gone) = (Platform::start().await, once_gone().await);
    platform.push("s", &gone.url(), "").await;
    platform.publish(["a".to_owned()]);
    gone.next().await;
    eventually(async || platform.info("s").definition.paused.then_some(())).await;
    let mut client = platform.host.client().await;
    let shown = client.get("/v1/subscriptions/s").await.json();
    let reason = shown["pausedreason"].as_str().unwrap().to_owned();
    assert!(reason.contains("answered 410"), "{reason}");
    let mut definition = shown["definition"].clone();
    let text = definition.to_string();
    let put = client.send("PUT", "/v1/subscriptions/s", "application/json", &text).await;
    assert_eq!(
        (put.status, &put.json()["definition"], &put.json()["pausedreason"]),
        (200, &definition, &shown["pausedreason"])
    );
    definition["name"] = "s".into();
    let made = client.post("/v1/subscriptions", "application/json", &definition.to_string()).await;
    assert_eq!(made.status, 200, "the same again is no mistake: {}", made.text());
    definition["pausedreason"] = "because".into();
    let created = client.post("/v1/subscriptions", "application/json", &definition.to_string()).await;
    definition.as_object_mut().unwrap().remove("name");
    let changed = client.send("PUT", "/v1/subscriptions/s", "application/json", &definition.to_string()).await;
    for refused in [created, changed] {
        let problem = refused.json();
        assert_eq!((refused.status, &problem["code"]), (400, &Value::from("invalid-subscription")), "{problem}");
        assert_eq!(problem["pointer"], "/pausedreason");
    }
    let again = client.get("/v1/subscriptions/s").await.json();
    assert_eq!((&again["definition"], &again["pausedreason"]), (&shown["definition"], &shown["pausedreason"]));
    client.post("/v1/subscriptions/s/resume", "application/json", "").await;
    assert_eq!(client.get("/v1/subscriptions/s").await.json().get("pausedreason"), None);
}
