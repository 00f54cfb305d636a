//! Health over a disk that fails: the server lives, says that and why it cannot append, and goes on to serve reads.

use std::sync::Arc;

use quipu_server::Server;
use quipu_testkit::{FaultyDisk, Kind, Trigger};

use crate::host::{Host, event};
use crate::secret_bodies::Log;

#[tokio::test]
async fn a_server_whose_disk_failed_is_not_ready_and_says_why() {
    let disk = FaultyDisk::new(1);
    let host = Host::start_on(Arc::new(disk.clone()), Server::default()).await;
    let mut client = host.client().await;
    assert_eq!(client.publish(&event("1", "t", "s")).await.status, 200);
    assert_eq!(client.get("/health/ready").await.json()["status"], "ready");

    disk.fail(Kind::Sync, Trigger::Percent(100));
    let refused = client.publish(&event("2", "t", "s")).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    // The disk works again, but nobody knows what reached it: only a restart finds out.
    disk.fail(Kind::Sync, Trigger::Never);
    let ready = client.get("/health/ready").await;
    assert_eq!((ready.status, ready.json()["code"].as_str()), (503, Some("unavailable")));
    assert_eq!(ready.header("retry-after"), "1");
    let detail = ready.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("cannot sync") && detail.contains("restart"), "{detail}");
    assert_eq!(client.publish(&event("3", "t", "s")).await.json()["code"], "unavailable");

    assert_eq!(client.get("/health/live").await.status, 200);
    assert_eq!(client.get("/v1/positions/1").await.json()["id"], "1");
}

#[tokio::test]
async fn a_server_whose_disk_is_full_is_not_ready_and_says_so() {
    let disk = FaultyDisk::new(1);
    let host = Host::start_on(Arc::new(disk.clone()), Server::default()).await;
    let mut client = host.client().await;
    assert_eq!(client.publish(&event("1", "t", "s")).await.status, 200);
    disk.limit_bytes(Some(disk.bytes()));
    let mut n = 1;
    let refused = loop {
        n += 1;
        let answer = client.publish(&event(&n.to_string(), "t", "s")).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!((refused.status, refused.json()["code"].as_str()), (507, Some("disk-full")));
    let ready = client.get("/health/ready").await;
    assert_eq!((ready.status, ready.json()["code"].as_str()), (507, Some("disk-full")));
    assert_eq!(client.get("/v1/positions/1").await.status, 200);
}

#[tokio::test]
async fn the_log_hears_once_of_a_fault_that_anybody_may_ask_about() {
    let log = Log::default();
    // On this thread, which is the one that serves.
    let _guard = tracing::subscriber::set_default(log.clone());
    let disk = FaultyDisk::new(1);
    let host = Host::start_on(Arc::new(disk.clone()), Server::default()).await;
    let mut client = host.client().await;
    disk.fail(Kind::Sync, Trigger::Percent(100));
    // Which fault it is the disk chooses.
    let failed = client.publish(&event("1", "t", "s")).await.status;
    assert!(matches!(failed, 503 | 507), "{failed}");
    let told = || log.0.lock().unwrap().matches("a request met a fault").count();
    let before = told();
    for _ in 0..5 {
        assert_eq!(client.get("/health/ready").await.status, failed);
    }
    assert_eq!((before, told()), (1, 2));
}
