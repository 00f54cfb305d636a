//! Relays, the database and the server of Quipu are killed at any moment, while two relays take what two writers publish.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use quipu::{Event, outbox};
use rustix::process::Signal;
use tokio_postgres::Client;

use super::Shop;
use crate::cluster::{block_on, connect, try_connect};

/// Processes killed, one after the other.
const KILLS: usize = 24;

/// Publishes to a stream of its own, one to three events a transaction, and writes down in the same transaction how
/// many they are by now, until it is told to stop.
fn writer(folder: &Path, name: &'static str, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (folder, stop): (PathBuf, _) = (folder.to_owned(), Arc::clone(stop));
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            // It ends with the connection, and what it does not know to be committed it asks the next one.
            let _ = block_on(write(&folder, name, &stop));
        }
    })
}

async fn write(folder: &Path, name: &'static str, stop: &AtomicBool) -> Result<(), tokio_postgres::Error> {
    let mut client = try_connect(folder).await?;
    while !stop.load(Ordering::Relaxed) {
        let transaction = client.transaction().await?;
        let row = transaction.query_one("SELECT count FROM written WHERE name = $1 FOR UPDATE", &[&name]).await?;
        let before: i64 = row.get(0);
        let after = before + 1 + before % 3;
        transaction.execute("UPDATE written SET count = $2 WHERE name = $1", &[&name, &after]).await?;
        for n in before + 1..=after {
            let event = Event::builder(format!("{name}-{n}"), "/shop", "order.changed").subject(name);
            outbox::publish(&transaction, &event.json(n.to_string()).build().unwrap()).await?;
        }
        transaction.commit().await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

async fn written(client: &Client) -> Vec<(String, i64)> {
    let rows = client.query("SELECT name, count FROM written ORDER BY name", &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[test]
fn each_event_is_recorded_once_and_in_order_whatever_is_killed() {
    let mut shop = Shop::open();
    let create = "CREATE TABLE written (name text PRIMARY KEY, count bigint NOT NULL); \
         INSERT INTO written VALUES ('a', 0), ('b', 0)";
    shop.with(async |client| client.batch_execute(create).await.unwrap());
    let folder = shop.cluster.folder.path().to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [writer(&folder, "a", &stop), writer(&folder, "b", &stop)];
    let mut relays = [shop.relaying(&[]), shop.relaying(&[])];
    let address = shop.server.address().to_owned();
    for kill in 0..KILLS {
        // As many events as make the moment another one in each round, and some of them relayed.
        let wanted = (kill as i64 + 1) * 40 + (kill as i64 * 17) % 23;
        super::until("the writers go on", || {
            block_on(async { written(&connect(&folder).await).await }).iter().map(|(_, count)| count).sum::<i64>()
                >= wanted
        });
        match kill % 6 {
            0 | 2 | 4 => {
                let relay = &mut relays[kill / 2 % 2];
                relay.kill().unwrap();
                relay.wait().unwrap();
                relays[kill / 2 % 2] = shop.relaying(&[]);
            }
            1 => shop.cluster.crash(Signal::KILL),
            3 => shop.cluster.crash(Signal::QUIT),
            _ => {
                shop.server.kill();
                shop.server = shop.user.serve_on(&address, &[]);
            }
        }
        // One that has ended by itself was away too long, or found what it cannot go on with; the end shows which.
        for relay in &mut relays {
            if relay.try_wait().unwrap().is_some() {
                *relay = shop.relaying(&[]);
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    for mut relay in relays {
        relay.kill().unwrap();
        relay.wait().unwrap();
    }
    shop.relay(&[]).ok();
    let events = shop.run(&["event", "list", "-o", "ndjson"]).ok().lines();
    for (name, count) in shop.with(async |client| written(&client).await) {
        let recorded = events.iter().filter(|event| event["subject"] == name.as_str());
        let recorded: Vec<i64> = recorded.map(|event| event["data"].as_i64().unwrap()).collect();
        assert_eq!(recorded, (1..=count).collect::<Vec<_>>(), "{name}");
        assert!(count > 100, "{name}: expected a test worth its name, found {count} events");
    }
    assert_eq!((shop.count("quipu_outbox"), shop.count("quipu_outbox_refused")), (0, 0));
}
