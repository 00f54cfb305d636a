//! What the checkpoint alone does: relays of one outbox at once, each stopped in the middle of what it does again and
//! again, with answers that get lost. The store sees another id each time that an event comes, so that it takes a
//! repetition for a new event, as it does beyond the deduplication window.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quipu::{Append, Error, Event, Filter, Quipu, Refusal, outbox};
use quipu_connect::outbox::{Database, Done, NotRelayed, NotTaken, OnRefused, Relay, Target, Until};

use crate::cluster::{Cluster, block_on, connect};
use crate::process::User;

const EVENTS: i64 = 400;
const RELAYS: u64 = 3;

/// The number of the next append, of all relays.
static APPENDS: AtomicU64 = AtomicU64::new(0);
/// Appends that another relay had made before.
static BEHIND: AtomicU64 = AtomicU64::new(0);

struct Forgetful(Quipu);

impl Target for Forgetful {
    fn checkpoint(&mut self, source: &str) -> Result<u64, NotTaken> {
        Ok(self.0.checkpoint(source).unwrap_or(0))
    }

    fn append(&mut self, events: &[&str], source: &str, number: u64) -> Result<Done, NotTaken> {
        let append = APPENDS.fetch_add(1, Ordering::Relaxed);
        let renamed = events.iter().enumerate().map(|(index, text)| {
            let mut event: serde_json::Value = serde_json::from_str(text).unwrap();
            event["id"] = format!("{append}-{index}").into();
            quipu::parse_event(event.to_string().as_bytes()).unwrap().event.into_owned()
        });
        match self.0.append(Append::of(renamed).checkpoint(source, number)) {
            Ok(_) if append.is_multiple_of(3) => Err(NotTaken::Interrupted("the answer got lost".into())),
            Ok(_) => Ok(Done::Recorded),
            Err(Error::Refused(Refusal::CheckpointBehind { .. })) => {
                BEHIND.fetch_add(1, Ordering::Relaxed);
                Err(NotTaken::Behind)
            }
            Err(other) => panic!("expected an append, found {other}"),
        }
    }
}

/// Relays, over one connection after the other, until the store has all; each is dropped wherever it is after a while.
async fn relay(url: &str, quipu: Quipu, number: u64) {
    let database = Database::of(url, None).unwrap();
    let mut relay = Relay::new(database, Forgetful(quipu.clone()), OnRefused::Stop);
    let mut life = number;
    while quipu.position() < EVENTS as u64 {
        life = (life * 31 + 7) % 43;
        match tokio::time::timeout(Duration::from_millis(20 + 3 * life), relay.run(Until::Stopped)).await {
            Err(_) | Ok(Err(NotRelayed::Interrupted(_))) => {}
            Ok(other) => panic!("expected a relay that goes on, found {other:?}"),
        }
    }
}

async fn publish_all(folder: &Path) {
    let mut client = connect(folder).await;
    for n in 1..=EVENTS {
        let transaction = client.transaction().await.unwrap();
        let event = Event::builder(n.to_string(), "/shop", "order.changed").subject("order/1").json(n.to_string());
        outbox::publish(&transaction, &event.build().unwrap()).await.unwrap();
        transaction.commit().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn of_relays_at_once_the_slower_is_refused_and_nothing_is_repeated() {
    let (user, cluster) = (User::new(), Cluster::start());
    user.run(&["outbox", "install", "--database-url", &cluster.url()]).ok();
    let quipu = Quipu::in_memory().unwrap();
    std::thread::scope(|scope| {
        let folder: PathBuf = cluster.folder.path().to_owned();
        scope.spawn(move || block_on(publish_all(&folder)));
        for number in 1..=RELAYS {
            let (quipu, url) = (quipu.clone(), cluster.url());
            scope.spawn(move || block_on(relay(&url, quipu, number)));
        }
    });
    let recorded = quipu.events(Filter::default()).map(|recorded| {
        let mut json = Vec::new();
        quipu::write_event(&mut json, &recorded.unwrap().event(), None);
        serde_json::from_slice::<serde_json::Value>(&json).unwrap()["data"].as_i64().unwrap()
    });
    assert_eq!(recorded.collect::<Vec<_>>(), (1..=EVENTS).collect::<Vec<_>>());
    assert!(BEHIND.load(Ordering::Relaxed) > 0, "expected a relay that came second, found none");
}
