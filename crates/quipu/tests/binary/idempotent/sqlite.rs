//! SQLite: one file, a connection a worker.

use std::path::Path;
use std::sync::{Barrier, Mutex};
use std::time::{Duration, SystemTime};

use quipu::Delivery;
use quipu::idempotent::sqlite::{first_time, forget_before};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tempfile::TempDir;

use super::{Life, Order, deliveries, lives_of_a_worker};

fn open(folder: &Path) -> Connection {
    let connection = Connection::open(folder.join("shop.sqlite")).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    connection.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE IF NOT EXISTS charged (total INTEGER)").unwrap();
    connection
}

fn charged(connection: &Connection) -> Vec<i64> {
    let mut statement = connection.prepare("SELECT total FROM charged ORDER BY total").unwrap();
    statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_worker_killed_between_its_effect_and_its_answer_has_the_effect_once() {
    if let Some(life) = Life::of_this_process() {
        let database = Mutex::new(open(&life.folder));
        return life.run(move |life, delivery, order| {
            let mut database = database.lock().unwrap();
            let transaction = database.transaction().unwrap();
            if first_time(&transaction, &delivery).unwrap() {
                transaction.execute("INSERT INTO charged VALUES (?1)", [order.total]).unwrap();
            }
            life.reach("before-commit");
            transaction.commit().unwrap();
            life.reach("after-commit");
            std::future::ready(Ok(()))
        });
    }
    let folder = TempDir::new().unwrap();
    let test = "idempotent::sqlite::a_worker_killed_between_its_effect_and_its_answer_has_the_effect_once";
    assert_eq!(lives_of_a_worker(test, folder.path()), ["1", "1", "1", "2", "3"]);
    assert_eq!(charged(&open(folder.path())), [1, 2, 3]);
}

#[test]
fn of_workers_with_the_same_delivery_at_once_one_has_the_effect() {
    const WORKERS: usize = 4;
    let (folder, deliveries) = deliveries(20);
    for journal in ["DELETE", "WAL"] {
        for (begins, behavior) in
            [("deferred", TransactionBehavior::Deferred), ("immediate", TransactionBehavior::Immediate)]
        {
            let database = open(folder.path());
            database.pragma_update(None, "journal_mode", journal).unwrap();
            // The first delivery finds no table.
            database.execute_batch("DELETE FROM charged; DROP TABLE IF EXISTS quipu_processed").unwrap();
            let together = Barrier::new(WORKERS);
            let charge = |database: &mut Connection, delivery: &Delivery| {
                let transaction = database.transaction_with_behavior(behavior)?;
                if first_time(&transaction, delivery)? {
                    let total = delivery.data::<Order>().unwrap().total;
                    transaction.execute("INSERT INTO charged VALUES (?1)", [total])?;
                }
                transaction.commit()
            };
            let work = || {
                let mut database = open(folder.path());
                let outcomes = deliveries.iter().map(|delivery| {
                    together.wait();
                    charge(&mut database, delivery)
                });
                // Looked at in the end: who stops before leaves the others waiting.
                let outcomes: Vec<rusqlite::Result<()>> = outcomes.collect();
                outcomes.into_iter().for_each(Result::unwrap);
            };
            std::thread::scope(|scope| (0..WORKERS).for_each(|_| _ = scope.spawn(work)));
            assert_eq!(charged(&database), (1..=20).collect::<Vec<_>>(), "{journal} {begins}");
        }
    }
}

#[test]
fn a_second_worker_waits_for_the_first_and_an_effect_rolled_back_is_not_recorded() {
    let (folder, deliveries) = deliveries(1);
    let (mut first, mut second) = (open(folder.path()), open(folder.path()));
    first.pragma_update(None, "journal_mode", "WAL").unwrap();
    second.busy_timeout(Duration::ZERO).unwrap();

    let holding = first.transaction().unwrap();
    assert!(first_time(&holding, &deliveries[0]).unwrap());
    let refused = first_time(&second.transaction().unwrap(), &deliveries[0]).unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseBusy), "it would have waited");
    holding.rollback().unwrap();

    // It has read before the other commits, and may not write after it.
    let reading = second.transaction().unwrap();
    assert_eq!(reading.query_row("SELECT count(*) FROM charged", (), |row| row.get(0)), Ok(0));
    let committing = first.transaction().unwrap();
    assert!(first_time(&committing, &deliveries[0]).unwrap());
    assert!(!first_time(&committing, &deliveries[0]).unwrap());
    committing.commit().unwrap();
    let refused = first_time(&reading, &deliveries[0]).unwrap_err();
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::DatabaseBusy));
    drop(reading);
    assert!(!first_time(&second.transaction().unwrap(), &deliveries[0]).unwrap());
}

#[test]
fn keys_older_than_a_time_are_forgotten() {
    let (_folder, deliveries) = deliveries(3);
    let mut database = Connection::open_in_memory().unwrap();
    let before = SystemTime::now() - Duration::from_secs(1);
    assert_eq!(forget_before(&database, before), Ok(0));
    let transaction = database.transaction().unwrap();
    assert!(deliveries.iter().all(|delivery| first_time(&transaction, delivery).unwrap()));
    assert!(!deliveries.iter().any(|delivery| first_time(&transaction, delivery).unwrap()));
    transaction.commit().unwrap();
    assert_eq!(forget_before(&database, before), Ok(0));
    assert_eq!(forget_before(&database, SystemTime::now() + Duration::from_secs(1)), Ok(3));
    assert!(first_time(&database.transaction().unwrap(), &deliveries[0]).unwrap());
}
