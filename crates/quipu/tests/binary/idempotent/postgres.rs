//! PostgreSQL: one server, a connection a worker.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quipu::idempotent::postgres::{first_time, forget_before};
use tokio_postgres::Client;

use super::{Life, Order, deliveries, lives_of_a_worker};
use crate::cluster::{Cluster, block_on, connect};
use crate::process::DEADLINE;

async fn charged(client: &Client) -> Vec<i64> {
    let rows = client.query("SELECT total FROM charged ORDER BY total", &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Once somebody waits for somebody else's transaction.
async fn until_somebody_waits(client: &Client) {
    let begun = Instant::now();
    while client.query_one("SELECT count(*) FROM pg_locks WHERE NOT granted", &[]).await.unwrap().get::<_, i64>(0) == 0
    {
        assert!(begun.elapsed() < DEADLINE, "expected a worker that waits, found none");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn a_worker_killed_between_its_effect_and_its_answer_has_the_effect_once() {
    if let Some(life) = Life::of_this_process() {
        return life.run(|life, delivery, order| async move {
            let mut client = connect(&life.folder).await;
            let transaction = client.transaction().await?;
            if first_time(&transaction, &delivery).await? {
                transaction.execute("INSERT INTO charged VALUES ($1)", &[&order.total]).await?;
            }
            life.reach("before-commit");
            transaction.commit().await?;
            life.reach("after-commit");
            Ok(())
        });
    }
    let cluster = Cluster::start();
    let folder = cluster.folder.path();
    let create = async { connect(folder).await.batch_execute("CREATE TABLE charged (total bigint)").await };
    block_on(create).unwrap();
    let test = "idempotent::postgres::a_worker_killed_between_its_effect_and_its_answer_has_the_effect_once";
    assert_eq!(lives_of_a_worker(test, folder), ["1", "1", "1", "2", "3"]);
    assert_eq!(block_on(async { charged(&connect(folder).await).await }), [1, 2, 3]);
}

#[test]
fn of_workers_with_the_same_delivery_at_once_one_has_the_effect() {
    const WORKERS: usize = 8;
    let cluster = Cluster::start();
    let (_store, deliveries) = deliveries(20);
    let deliveries = Arc::new(deliveries);
    block_on(async {
        let client = connect(cluster.folder.path()).await;
        client.batch_execute("CREATE TABLE charged (total bigint)").await.unwrap();
        let together = Arc::new(tokio::sync::Barrier::new(WORKERS));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..WORKERS {
            let (deliveries, together) = (Arc::clone(&deliveries), Arc::clone(&together));
            let mut client = connect(cluster.folder.path()).await;
            workers.spawn(async move {
                // All of them find no table, and make it.
                for delivery in deliveries.iter() {
                    together.wait().await;
                    let transaction = client.transaction().await.unwrap();
                    if first_time(&transaction, delivery).await.unwrap() {
                        let total = delivery.data::<Order>().unwrap().total;
                        transaction.execute("INSERT INTO charged VALUES ($1)", &[&total]).await.unwrap();
                    }
                    transaction.commit().await.unwrap();
                }
            });
        }
        // The first that fails ends the test; the others may wait for it.
        while let Some(worker) = workers.join_next().await {
            worker.unwrap();
        }
        assert_eq!(charged(&client).await, (1..=20).collect::<Vec<_>>());
    });
}

#[test]
fn a_second_worker_waits_for_the_first_and_an_effect_rolled_back_is_not_recorded() {
    let cluster = Cluster::start();
    let (_store, deliveries) = deliveries(2);
    block_on(async {
        let folder = cluster.folder.path();
        let (mut first, observer) = (connect(folder).await, connect(folder).await);
        assert_eq!(forget_before(&observer, SystemTime::now()).await.unwrap(), 0);
        // Before the table is there, and when it is; ended by a rollback, and by a commit.
        for (delivery, commits) in [(0, false), (0, true), (1, false), (1, true)] {
            let holding = first.transaction().await.unwrap();
            assert!(first_time(&holding, &deliveries[delivery]).await.unwrap());
            let mut second = connect(folder).await;
            let delivery = deliveries[delivery].clone();
            let waiting = tokio::spawn(async move {
                let transaction = second.transaction().await.unwrap();
                first_time(&transaction, &delivery).await.unwrap()
            });
            until_somebody_waits(&observer).await;
            assert!(!waiting.is_finished());
            if commits {
                holding.commit().await.unwrap()
            } else {
                holding.rollback().await.unwrap()
            }
            assert_eq!(waiting.await.unwrap(), !commits);
        }
        assert_eq!(forget_before(&observer, SystemTime::now() - Duration::from_secs(600)).await.unwrap(), 0);
        let transaction = first.transaction().await.unwrap();
        assert_eq!(forget_before(&transaction, SystemTime::now() + Duration::from_secs(600)).await.unwrap(), 2);
        assert!(first_time(&transaction, &deliveries[0]).await.unwrap());
    });
}
