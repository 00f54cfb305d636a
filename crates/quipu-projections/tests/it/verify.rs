//! A read model is built again and held against what is there: what somebody changed, in it or in the log, is found and named.

use std::fs;

use proptest::prelude::*;
use quipu_engine::{Head, ProjectionRefusal, Since, Verdict, VerdictOutcome, WantedRelease};
use quipu_projections::{NotDone, Phase};
use quipu_testkit::tamper;
use rusqlite::Connection;
use serde_json::json;

use crate::support::{LONG, Shop, declared, event, orders, placed, shipped};

impl Shop {
    pub fn verify(&self, baseline: Option<&str>) -> Verdict {
        self.projections.verify("orders", "key:1", baseline, &mut |_| true).unwrap().unwrap()
    }

    /// What somebody does to the live read model behind everybody's back.
    fn by_hand(&self, sql: &str) {
        let file = self.file("orders", self.projections.status("orders").unwrap().live);
        Connection::open(file).unwrap().execute_batch(sql).unwrap();
    }

    fn sandboxes(&self) -> usize {
        fs::read_dir(self.folder.path().join("tenants/shop/sandbox")).map_or(0, Iterator::count)
    }
}

pub fn since(position: u64, kind: &str) -> Option<Since> {
    Some(Since { position, kind: kind.into() })
}

#[test]
fn what_the_log_says_is_equal_and_the_verdict_is_kept() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2), shipped(2)]);
    let head = shop.tenant.head();
    let verdict = shop.verify(None);
    assert_eq!((verdict.outcome, verdict.number, verdict.position), (VerdictOutcome::Equal, 1, 3));
    assert_eq!((verdict.by.as_str(), verdict.release, verdict.baseline.as_deref()), ("key:1", 1, None));
    assert_eq!((verdict.from, verdict.to), (Head::START, head));
    assert!(verdict.asked < verdict.found && verdict.declaration.len() == 64, "{verdict:?}");
    let table = &verdict.tables[0];
    assert_eq!((table.table.as_str(), table.differing), ("orders", Some(0)));
    assert_eq!(table.kept, table.rebuilt);
    assert_eq!(table.kept.as_ref().unwrap().rows, 2);
    assert_eq!(shop.sandboxes(), 0);

    let second = shop.verify(None);
    assert_eq!(second.tables, verdict.tables);
    let shop = shop.reopen();
    assert_eq!(shop.projections.verdicts("orders").unwrap(), [second, verdict]);
    assert!(shop.projections.verdicts("nothing").is_err());
}

#[test]
fn rows_that_somebody_changed_by_hand_are_named_with_the_event_behind_them() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    let all: Vec<_> = (1..=4).map(placed).collect();
    shop.publish_and_wait(&all);
    shop.publish_and_wait(&[shipped(2), shipped(4)]);
    shop.by_hand(
        "update orders set total = 0 where id = 'order/2'; delete from orders where id = 'order/3';
         insert into orders (id) values ('order/9')",
    );
    let verdict = shop.verify(None);
    assert_eq!(verdict.outcome, VerdictOutcome::Differs);
    assert_eq!(verdict.tables[0].differing, Some(3));
    let [changed, deleted, added] = &verdict.rows[..] else { panic!("{verdict:?}") };
    assert_eq!((changed.table.as_str(), json!(changed.key)), ("orders", json!({"id": "order/2"})));
    assert_eq!((json!(changed.kept), json!(changed.rebuilt)), (json!({"total": 0.0}), json!({"total": 2.5})));
    assert_eq!(changed.since, since(5, "order.shipped"));
    assert_eq!(json!(deleted.key), json!({"id": "order/3"}));
    assert!(deleted.kept.is_none() && deleted.rebuilt.as_ref().unwrap()["status"] == "placed");
    assert_eq!(deleted.since, since(3, "order.placed"));
    assert_eq!((json!(added.key), &added.rebuilt, &added.since), (json!({"id": "order/9"}), &None, &None));
    assert_eq!(shop.sandboxes(), 0);
    // Twenty are named and all are counted.
    let more: Vec<_> = (10..40).map(placed).collect();
    shop.publish_and_wait(&more);
    shop.by_hand("update orders set customer = 'x'");
    let verdict = shop.verify(None);
    assert_eq!((verdict.tables[0].differing, verdict.rows.len()), (Some(35), 20));
    assert!(verdict.rows.iter().all(|row| row.since.is_some()), "{verdict:?}");
}

#[test]
fn rows_of_tables_of_every_kind_lead_to_their_last_event() {
    let shop = Shop::open();
    let tables = "create table plain (a text, n integer);
        create table pairs (a text collate nocase, b integer, n integer, primary key (a, b)) without rowid;
        create table replaced (a text primary key, n integer)";
    let projection = declared(json!({
        "projection": "orders",
        "tables": tables,
        "on": {
            "order.placed": [
                "insert into plain values (:subject, 0)",
                "insert into pairs values (:subject, 1, 0)",
                "insert or replace into replaced values (:subject, 0)"
            ],
            "order.shipped": [
                "update plain set n = n + 1 where a = :subject",
                "update pairs set n = n + 1 where a = :subject",
                "insert or replace into replaced values (:subject, 1)"
            ],
            "order.cleared": ["delete from replaced", "insert into replaced values ('order/1', 1)"]
        }
    }));
    shop.projections.apply(projection).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2), shipped(1), shipped(2), event("order.cleared", 1, 1, json!({}))]);
    shop.by_hand("update plain set n = 7; update pairs set n = 7; update replaced set n = 7");
    let verdict = shop.verify(None);
    let rows: Vec<_> =
        verdict.rows.iter().map(|row| (row.table.as_str(), row.since.as_ref().unwrap().position)).collect();
    // That all are deleted and one is made again as it was is no change.
    assert_eq!(rows, [("pairs", 3), ("pairs", 4), ("plain", 3), ("plain", 4), ("replaced", 3)]);
}

#[test]
fn an_event_that_was_tampered_with_is_named() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    for order in 1..=6 {
        shop.publish_and_wait(&[placed(order), shipped(order)]);
    }
    assert_eq!(shop.verify(None).outcome, VerdictOutcome::Equal);
    tamper(&shop.folder.path().join("tenants/shop/log"), "order.placed-4", "\"c1\"", "\"c2\"");
    let verdict = shop.verify(None);
    assert_eq!((verdict.outcome, verdict.position), (VerdictOutcome::Tampered, 6));
    let problem = verdict.problem.as_ref().unwrap();
    assert!(problem.contains("positions 7 to 8,"), "{problem}");
    // Up to the commit before it is as it was.
    assert_eq!(shop.verify(None).to, verdict.to);
    assert!(problem.starts_with(&format!("commit {},", verdict.to.commit + 1)), "{problem}");
    assert!(verdict.tables.is_empty());
    // Against the live read model and nothing else: what is asked reads it as before.
    assert_eq!(shop.rows("orders", "orders").len(), 6);
}

#[test]
fn an_event_that_was_tampered_with_and_cannot_be_taken_in_is_named_as_that() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    shop.publish_and_wait(&[placed(2)]);
    shop.publish_and_wait(&[placed(3)]);
    // Now it is placed twice.
    tamper(&shop.folder.path().join("tenants/shop/log"), "order.placed-2", "order/2", "order/1");
    let verdict = shop.verify(None);
    assert_eq!(verdict.outcome, VerdictOutcome::Tampered, "{verdict:?}");
    assert!(verdict.problem.unwrap().contains("the event at position 2,"));
}

#[test]
fn a_baseline_is_what_it_was_and_is_told_from_what_another_declaration_gives() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2)]);
    let made = shop.projections.create_baseline("orders", "first", "key:1").unwrap();
    assert_eq!((made.position, made.tables[0].rows, made.release), (2, 2, 1));
    shop.publish_and_wait(&[placed(3), shipped(1)]);
    let shop = shop.reopen();
    assert_eq!(shop.projections.baselines("orders").unwrap(), std::slice::from_ref(&made));
    let verdict = shop.verify(Some("first"));
    assert_eq!((verdict.outcome, verdict.position, verdict.to), (VerdictOutcome::Equal, 2, made.head));
    assert_eq!(verdict.baseline.as_deref(), Some("first"));
    // The live one is another by now, and a baseline does not look at it.
    shop.by_hand("delete from orders");
    assert_eq!(shop.verify(Some("first")).outcome, VerdictOutcome::Equal);

    let mut other = serde_json::to_value(orders()).unwrap();
    other["on"]["order.placed"] = "insert into orders (id, customer) values (:subject, :data.customerId)".into();
    shop.projections.apply(declared(other)).unwrap();
    shop.until_next("orders", |release| release.phase == Phase::Following && release.position == 4);
    shop.projections.switch("orders", WantedRelease::Next).unwrap();
    let verdict = shop.verify(Some("first"));
    assert_eq!((verdict.outcome, verdict.tables[0].differing), (VerdictOutcome::Differs, None));
    assert_ne!(verdict.declaration, made.declaration);

    let refusal = |result: Result<(), NotDone>| match result {
        Err(NotDone::Engine(quipu_engine::NotDone::RefusedProjection(refusal))) => refusal,
        other => panic!("{other:?}"),
    };
    let create = |name: &str| shop.projections.create_baseline("orders", name, "key:1").map(drop);
    assert!(matches!(refusal(create("first")), ProjectionRefusal::BaselineExists { .. }));
    assert!(matches!(refusal(create("a/b")), ProjectionRefusal::InvalidBaseline { .. }));
    shop.projections.remove_baseline("orders", "first").unwrap();
    let gone = shop.projections.verify("orders", "key:1", Some("first"), &mut |_| true).map(drop);
    assert!(matches!(refusal(gone), ProjectionRefusal::NoBaseline { .. }));
    assert!(matches!(
        refusal(shop.projections.remove_baseline("orders", "first")),
        ProjectionRefusal::NoBaseline { .. }
    ));
}

#[test]
fn what_is_passed_over_afterwards_is_a_difference_and_what_cannot_be_rebuilt_is_named() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2)]);
    shop.projections.skip("orders", 2, "it was none").unwrap();
    let verdict = shop.verify(None);
    assert_eq!(verdict.outcome, VerdictOutcome::Differs);
    assert_eq!(json!(verdict.rows[0].key), json!({"id": "order/2"}));
    // Placed twice, it stops the live one too.
    shop.publish(&[event("order.placed", 9, 1, json!({}))]);
    shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    let verdict = shop.verify(None);
    assert_eq!(verdict.outcome, VerdictOutcome::Stopped);
    assert!(verdict.problem.as_ref().unwrap().contains("position 3"), "{verdict:?}");
}

#[test]
fn a_verification_that_is_cancelled_or_cut_short_leaves_nothing() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    let mut told = Vec::new();
    let cancelled = shop.projections.verify("orders", "key:1", None, &mut |progress| {
        told.push((progress.position, progress.end));
        told.len() < 2
    });
    assert!(matches!(cancelled, Ok(None)), "{cancelled:?}");
    assert_eq!(told, [(0, 1), (1, 1)]);
    assert!(shop.projections.verdicts("orders").unwrap().is_empty());
    assert_eq!(shop.sandboxes(), 0);
    // What a crash leaves is gone at the next opening.
    let folder = shop.close();
    let sandbox = folder.path().join("tenants/shop/sandbox");
    fs::create_dir_all(&sandbox).unwrap();
    fs::write(sandbox.join("0.sqlite"), "left by a crash").unwrap();
    let shop = Shop::open_in(folder);
    assert_eq!(shop.sandboxes(), 0);
    shop.projections.wait("orders", 1, LONG).unwrap();
    assert_eq!(shop.verify(None).outcome, VerdictOutcome::Equal);
}

#[test]
fn the_newest_verdicts_are_kept() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    let verdict = shop.verify(None);
    for _ in 0..105 {
        shop.tenant.keep_verdict("orders", verdict.clone()).unwrap();
    }
    let shop = shop.reopen();
    let numbers: Vec<_> = shop.projections.verdicts("orders").unwrap().iter().map(|verdict| verdict.number).collect();
    assert_eq!(numbers, (7..=106).rev().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn after_any_history_a_read_model_is_what_the_log_says(
        steps in prop::collection::vec((0u64..6, 0u8..4), 1..60),
        applied in 0usize..60,
        reopened in 0usize..60,
    ) {
        let mut shop = Shop::open();
        let declaration = declared(json!({
            "projection": "orders",
            "tables": "create table orders (id text primary key, times integer, total real) without rowid;
                       create table seen (kind text, id text); create table first (id text unique on conflict ignore)",
            "on": {
                "order.placed": "insert into orders values (:subject, 1, :data.total) on conflict do update set times = times + 1, total = total * 1.1 + excluded.total",
                "order.shipped": ["delete from orders where id = :subject", "insert or ignore into first values (:subject)"],
                "order.*": ["insert into seen values (:type, :subject)", "delete from seen where rowid % 7 = :position % 7"]
            }
        }));
        for (number, (order, what)) in steps.iter().enumerate() {
            if number == applied {
                shop.projections.apply(declaration.clone()).unwrap();
            }
            if number == reopened {
                shop = shop.reopen();
            }
            let kind = ["order.placed", "order.placed", "order.shipped", "order.noted"][usize::from(*what)];
            shop.publish(&[event(kind, number as u64, *order, json!({"total": number as f64 / 3.0}))]);
        }
        shop.projections.apply(declaration).unwrap();
        shop.projections.wait("orders", steps.len() as u64, LONG).unwrap();
        shop.until("orders", |release| release.phase == Phase::Following);
        let verdict = shop.verify(None);
        prop_assert_eq!(verdict.outcome, VerdictOutcome::Equal, "{:?}", verdict);
        prop_assert_eq!(verdict.position, steps.len() as u64);
    }
}
