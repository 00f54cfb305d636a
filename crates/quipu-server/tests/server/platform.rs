//! A server whose subscriptions push to a receiver of the test, with a clock that the test moves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use quipu_domain::{Event, Subscription, Timestamp};
use quipu_engine::{Clock, Engine, Options, SubscriptionInfo, Tenant, World};
use quipu_server::Server;
use quipu_server::webhook::{Secret, sign};
use quipu_store::DiskStorage;
use serde_json::Value;
use tempfile::TempDir;

use crate::host::{Dice, Host, within};
use crate::receiver::Received;

/// The time, as far as a test has moved it.
pub struct Hands(AtomicI64);

impl Hands {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Timestamp::parse("2026-01-31T09:30:00Z").unwrap().0)))
    }

    pub fn wait_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub struct Platform {
    pub host: Host,
    pub clock: Arc<Hands>,
    pub folder: Arc<TempDir>,
}

impl Platform {
    /// That may push to this machine.
    pub async fn start() -> Self {
        Self::start_with(allowing()).await
    }

    pub async fn start_with(server: Server) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), Hands::new(), server).await
    }

    pub async fn start_in(folder: Arc<TempDir>, clock: Arc<Hands>, server: Server) -> Self {
        let storage = Arc::new(DiskStorage::new(folder.path()));
        let host = Host::start_at(storage, Arc::clone(&clock) as Arc<dyn Clock>, server).await;
        Self { host, clock, folder }
    }

    pub fn tenant(&self) -> &Arc<Tenant> {
        &self.host.tenant
    }

    /// Makes a subscription that pushes there, and its secret, as users do: both at once. A secret that came later would be
    /// another plan, beside which what was sent by the first one goes on.
    pub async fn push(&self, name: &str, url: &str, members: &str) -> Secret {
        let mut text = serde_json::to_value(definition(url, members)).unwrap();
        text["name"] = name.into();
        let mut client = self.host.client().await;
        let answer = client.post("/v1/subscriptions", "application/json", &text.to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        Secret::parse(answer.json()["secret"].as_str().unwrap()).unwrap()
    }

    pub async fn rotate(&self, name: &str) -> Secret {
        let mut client = self.host.client().await;
        let answer = client.post(&format!("/v1/subscriptions/{name}/secrets"), "application/json", "{}").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        Secret::parse(answer.json()["secret"].as_str().unwrap()).unwrap()
    }

    /// Publishes events of these subjects.
    pub fn publish(&self, subjects: impl IntoIterator<Item = String>) {
        publish(self.tenant(), subjects);
    }

    pub fn info(&self, name: &str) -> SubscriptionInfo {
        self.tenant().subscription(name).unwrap()
    }

    /// What is said of the endpoint.
    pub async fn endpoint(&self, name: &str) -> Value {
        let mut client = self.host.client().await;
        let answer = client.get(&format!("/v1/subscriptions/{name}/endpoint")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Waits until the endpoint's circuit is this.
    pub async fn circuit_is(&self, name: &str, circuit: &str) -> Value {
        eventually(async || Some(self.endpoint(name).await).filter(|found| found["circuit"] == circuit)).await
    }

    /// Waits until so many deliveries are acknowledged.
    pub async fn acknowledged(&self, name: &str, count: u64) {
        eventually(async || (self.info(name).counts.acknowledged >= count).then_some(())).await;
        assert_eq!(self.info(name).counts.acknowledged, count);
    }

    pub async fn stop(mut self) -> (Arc<TempDir>, Arc<Hands>) {
        self.host.begin_shutdown();
        self.host.stopped().await;
        (self.folder, self.clock)
    }
}

/// An engine without a server.
pub fn engine(folder: &Path, clock: &Arc<Hands>) -> Engine {
    let (storage, clock) = (Arc::new(DiskStorage::new(folder)), Arc::clone(clock));
    Engine::open(World { storage, clock, random: Arc::new(Dice) }, Options::default()).unwrap()
}

/// A server that may push to this machine.
pub fn allowing() -> Server {
    Server { webhook_allowed: vec!["127.0.0.1".parse().unwrap()], ..Server::default() }
}

/// From the beginning to an endpoint; `members` are more of them, each with a comma before it.
pub fn definition(url: &str, members: &str) -> Subscription {
    let text = format!(r#"{{"start":"beginning","push":{{"url":"{url}"}}{members}}}"#);
    serde_json::from_str(&text).unwrap()
}

/// Publishes events of these subjects.
pub fn publish(tenant: &Arc<Tenant>, subjects: impl IntoIterator<Item = String>) {
    let events = subjects.into_iter().enumerate().map(|(n, subject)| {
        let id = format!("{}-{n}", tenant.position());
        let event = Event::builder(id, "/test", "t.a").subject(subject).json("{\"n\":1}").build().unwrap();
        tenant.prepare(&event, None).unwrap()
    });
    tenant.publish_wait(events.collect()).unwrap();
}

/// Asks again until there is an answer.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    within(async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
}

/// The position of the event that came.
pub fn position(received: &Received) -> u64 {
    received.header("ce-position").parse().unwrap()
}

/// With which of these secrets it was signed, and with how many in all.
pub fn signed_by(received: &Received, secrets: &[&Secret]) -> (Vec<bool>, usize) {
    let found: Vec<&str> = received.header("webhook-signature").split(' ').collect();
    let (id, at) = (received.header("webhook-id"), received.header("webhook-timestamp").parse().unwrap());
    let is_signed = |secret: &&Secret| {
        let signature = sign(std::slice::from_ref(*secret), id, at, &received.body);
        found.contains(&signature.to_str().unwrap())
    };
    (secrets.iter().map(is_signed).collect(), found.len())
}

/// What a process that is killed now leaves behind: everything that was written, and no lock.
pub fn copy_as_killed(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        std::fs::create_dir_all(to.path().join(&folder)).unwrap();
        for entry in std::fs::read_dir(from.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if entry.file_name() != "lock" {
                std::fs::copy(entry.path(), to.path().join(path)).unwrap();
            }
        }
    }
    to
}
