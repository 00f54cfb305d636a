//! A projection follows the log: over restarts of both, over events that it cannot take in, and over logs that are not the one it knew.

use std::sync::Arc;
use std::time::Duration;

use quipu_engine::VerdictOutcome;
use quipu_projections::{NotDone, Phase, ReadModelRefusal};
use serde_json::json;

use super::{in_postgres, orders_in_postgres};
use crate::cluster::Cluster;
use crate::support::{LONG, SavedLog, Shop, declared, event, orders, placed, shipped};

#[test]
fn events_change_tables_and_a_restart_goes_on_where_it_was() {
    let (mut cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.publish(&[placed(1), placed(2)]);
    let released = shop.projections.apply(declaration.clone()).unwrap();
    assert_eq!((released.release, released.is_live, released.is_known), (1, true, false));
    shop.publish_and_wait(&[shipped(1), placed(3)]);
    let rows = shop.rows("orders", "orders");
    let ids: Vec<_> = rows.iter().map(|row| (row["id"].as_str().unwrap(), row["status"].as_str().unwrap())).collect();
    assert_eq!(ids, [("order/1", "shipped"), ("order/2", "placed"), ("order/3", "placed")]);
    assert_eq!((&rows[0]["customer"], &rows[0]["total"]), (&json!("c1"), &json!(1.5)));
    assert_eq!(rows[0]["placed_at"], "2026-01-31T09:30:00Z");
    // Any tool sees the live release, and how far it is.
    shop.until("orders", |release| release.phase == Phase::Following);
    assert_eq!(
        cluster.ask("select id, total from orders.orders where status = 'shipped'"),
        [json!({"id": "order/1", "total": 1.5})]
    );
    assert_eq!(cluster.ask("select position from orders._quipu"), [json!({"position": 4})]);

    // Restarted, both of them.
    let shop = shop.reopen();
    shop.publish_and_wait(&[shipped(2)]);
    assert_eq!(shop.rows("orders", "orders")[1]["status"], "shipped");
    cluster.crash(rustix::process::Signal::QUIT);
    let position = shop.publish(&[shipped(3)]);
    shop.projections.wait("orders", position, LONG).unwrap();
    assert_eq!(shop.rows("orders", "orders")[2]["status"], "shipped");
    assert!(shop.projections.apply(declaration).unwrap().is_known);
    assert_eq!(shop.verify(None).outcome, VerdictOutcome::Equal);
    let release = shop.until("orders", |release| release.phase == Phase::Following && release.bytes > 0);
    assert_eq!(release.position, position);
    // Both stores have the same rows.
    let mut in_sqlite = serde_json::to_value(orders()).unwrap();
    in_sqlite["projection"] = "in-sqlite".into();
    shop.projections.apply(declared(in_sqlite)).unwrap();
    shop.projections.wait("in-sqlite", position, LONG).unwrap();
    assert_eq!(shop.rows("in-sqlite", "orders"), shop.rows("orders", "orders"));
    assert_eq!(shop.digests("in-sqlite"), shop.digests("orders"));
}

#[test]
fn an_event_that_cannot_be_taken_in_stops_its_projection_and_no_other() {
    let (cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    let counting = declared(json!({
        "projection": "counting",
        "tables": "create table counted (type text primary key, events integer)",
        "on": { "*": "insert into counted values (:type, 1) on conflict (type) do update set events = counted.events + 1" }
    }));
    shop.projections.apply(in_postgres(&counting, &cluster)).unwrap();
    // An order that is placed twice breaks the key of the table. What is around it in the same batch is not to blame.
    let twice = event("order.placed", 99, 1, json!({"customerId": "c", "total": 1}));
    let end = [placed(1), placed(2), twice, shipped(1), placed(3)].map(|event| shop.publish(&[event]))[4];
    shop.projections.wait("counting", end, LONG).unwrap();
    let stopped = shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = &stopped.phase else { unreachable!() };
    assert_eq!((failed.position, failed.id.as_str(), failed.kind.as_str()), (3, "order.placed-99", "order.placed"));
    assert!(failed.statement.as_ref().unwrap().starts_with("insert into orders"), "{failed:?}");
    assert!(failed.error.contains("orders_pkey") && failed.error.contains("order/1"), "{failed:?}");
    assert_eq!(stopped.position, 2);

    let shop = shop.reopen();
    shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    shop.projections.skip("orders", 3, "placed twice by the old shop").unwrap();
    shop.projections.wait("orders", end, LONG).unwrap();
    assert_eq!(shop.rows("orders", "orders").len(), 3);
    assert_eq!(shop.rows("orders", "orders")[0]["status"], "shipped");
    assert_eq!(shop.rows("counting", "counted")[0]["events"], 4);
    assert_eq!(shop.verify(None).outcome, VerdictOutcome::Equal);
}

#[test]
fn a_commit_is_taken_in_as_a_whole_or_not_at_all() {
    let (_cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    let twice = event("order.placed", 99, 1, json!({}));
    let prepared = [placed(1), twice].map(|event| shop.tenant.prepare(&event, None).unwrap());
    shop.tenant.append_wait(quipu_engine::Append { events: prepared.into(), ..Default::default() }).unwrap();
    let stopped = shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    assert_eq!(stopped.position, 0);
    assert!(shop.rows("orders", "orders").is_empty());
}

#[test]
fn values_of_every_kind_reach_columns_of_every_type() {
    let cluster = Cluster::start_on_port(&[]);
    let shop = Shop::open();
    let kinds = declared(json!({
        "projection": "kinds",
        "tables": "create type size as enum ('small', 'large'); create domain positive as integer check (value > 0);
                   create table t (id text primary key, i integer, b bigint, r real, d double precision, n numeric, f boolean, s size,
                                   p positive, j jsonb, js json, at timestamptz, day date, raw bytea, list jsonb, flag integer)",
        "on": { "x": "insert into t values (:subject, :data.i, :data.b, :data.r, :data.d, :data.n, :data.f, :data.s, :data.p, :data, \
                      :data.text, :time, :data.day, :data.none, :data.list, :data.f)" }
    }));
    shop.projections.apply(in_postgres(&kinds, &cluster)).unwrap();
    let data = json!({"i": 7, "b": 9_007_199_254_740_993_i64, "r": 1.5, "d": 0.1, "n": 2.25, "f": true, "s": "large", "p": 3, "text": "it's \"so\"",
                      "day": "2026-01-31", "list": [1, "a"]});
    shop.publish_and_wait(&[event("x", 1, 1, data.clone()), event("x", 2, 2, json!({}))]);
    let rows = shop.rows("kinds", "t");
    assert_eq!(
        json!(rows[0]),
        json!({"id": "order/1", "i": 7, "b": 9_007_199_254_740_993_i64, "r": 1.5, "d": 0.1, "n": 2.25, "f": true, "s": "large", "p": 3, "j": data,
               "js": "it's \"so\"", "at": "2026-01-31 09:30:00+00", "day": "2026-01-31", "raw": null, "list": [1, "a"], "flag": 1})
    );
    assert!(
        rows[1].iter().all(|(column, value)| ["id", "j", "at"].contains(&column.as_str()) || value.is_null()),
        "{rows:?}"
    );
    // What a type does not take stops it, and says so.
    shop.publish(&[event("x", 3, 3, json!({"i": "seven"}))]);
    let stopped = shop.until("kinds", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = stopped.phase else { unreachable!() };
    assert!(failed.position == 3 && failed.error.contains("invalid input syntax for type integer"), "{failed:?}");
    shop.projections.skip("kinds", 3, "no number").unwrap();
    // So does a time that is another whenever it is read.
    shop.publish(&[event("x", 4, 4, json!({"day": "tomorrow"}))]);
    let stopped = shop.until("kinds", |release| matches!(&release.phase, Phase::Stopped(of) if of.position == 4));
    let Phase::Stopped(failed) = stopped.phase else { unreachable!() };
    assert!(failed.error.contains("current time") && failed.statement.is_some(), "{failed:?}");
}

#[test]
fn a_read_model_that_is_ahead_of_its_log_is_built_again() {
    let (_cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    let folder = shop.close();
    let saved = SavedLog::of(&folder);
    let shop = Shop::open_in(folder);
    (2..9).for_each(|number| shop.publish_and_wait(&[placed(number)]));
    assert_eq!(shop.rows("orders", "orders").len(), 8);
    let folder = shop.close();
    saved.put_back(&folder);
    let shop = Shop::open_in(folder);
    assert_eq!(shop.tenant.position(), 1);
    shop.until("orders", |release| release.phase == Phase::Following && release.position == 1);
    assert_eq!(shop.rows("orders", "orders").len(), 1);
    // As many as there were, and others.
    (11..18).for_each(|number| shop.publish_and_wait(&[placed(number)]));
    assert_eq!(shop.verify(None).outcome, VerdictOutcome::Equal);
}

#[test]
fn a_read_model_that_somebody_dropped_is_built_again() {
    let (cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2)]);
    cluster.sql("drop schema quipu$orders$1 cascade");
    let position = shop.publish(&[placed(3)]);
    shop.projections.wait("orders", position, LONG).unwrap();
    shop.until("orders", |release| release.phase == Phase::Following && release.position == position);
    assert_eq!(shop.rows("orders", "orders").len(), 3);
    // And shown again to whoever looks from elsewhere.
    let begun = std::time::Instant::now();
    let views = "select count(*) from pg_views where schemaname = 'orders' and viewname = 'orders'";
    while cluster.ask(views) != [json!({"count": 1})] {
        assert!(begun.elapsed() < LONG, "expected the view, found none");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(cluster.ask("select count(*) from orders.orders"), [json!({"count": 3})]);
}

#[test]
fn a_schema_of_somebody_else_is_never_touched() {
    let (cluster, declaration) = orders_in_postgres();
    let refused = |shop: &Shop, named: &str| {
        let refused = shop.projections.apply(declaration.clone());
        let Err(NotDone::Refused(ReadModelRefusal::Store { error })) = refused else { panic!("{refused:?}") };
        assert!(error.contains(named) && error.contains("did not"), "{error}");
    };
    let one = Shop::open();
    one.publish(&[placed(1)]);
    one.projections.apply(declaration.clone()).unwrap();
    one.projections.wait("orders", 1, LONG).unwrap();
    one.until("orders", |release| release.phase == Phase::Following);
    // Another log: its first event is another.
    let other = Shop::open();
    other.publish(&[placed(7)]);
    refused(&other, "schema orders ");
    other
        .projections
        .apply(declared({
            let mut value = serde_json::to_value(orders()).unwrap();
            value["projection"] = "mine".into();
            value
        }))
        .unwrap();
    one.publish_and_wait(&[placed(2)]);
    assert_eq!(one.rows("orders", "orders").len(), 2);
    // One that nobody marked.
    one.projections.remove("orders").unwrap();
    cluster.until_schemas(&[]);
    cluster.sql("create schema orders; create table orders.orders (mine text); insert into orders.orders values ('x')");
    refused(&one, "schema orders ");
    cluster.sql("drop schema orders cascade; create schema quipu$orders$7");
    refused(&one, "schema quipu$orders$7 ");
    // And one that somebody else made meanwhile is waited for, and left as it is.
    cluster.sql("drop schema quipu$orders$7");
    one.projections.apply(declaration.clone()).unwrap();
    one.projections.wait("orders", 2, LONG).unwrap();
    let folder = one.close();
    cluster.sql("comment on schema quipu$orders$2 is 'quipu read model of the log 0123'");
    let one = Shop::open_in(folder);
    let failing = one.until("orders", |release| matches!(release.phase, Phase::Failing { .. }));
    let Phase::Failing { error } = failing.phase else { unreachable!() };
    assert!(error.contains("quipu$orders$2") && error.contains("did not"), "{error}");
    assert_eq!(cluster.ask("select count(*) from quipu$orders$2.orders"), [json!({"count": 2})]);
}

#[test]
fn two_servers_of_one_log_never_take_an_event_in_twice() {
    let cluster = Cluster::start_on_port(&[]);
    let counting = declared(json!({
        "projection": "counting",
        "tables": "create table counted (type text primary key, events integer)",
        "on": { "*": "insert into counted values (:type, 1) on conflict (type) do update set events = counted.events + 1" }
    }));
    let shop = Shop::open();
    shop.projections.apply(in_postgres(&counting, &cluster)).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    // The one that took over, and the one that does not know yet.
    let elsewhere = tempfile::TempDir::new().unwrap();
    let pool = Arc::new(quipu_projections::Pool::new(1).unwrap());
    let open = || {
        let (tenant, pool) = (Arc::clone(&shop.tenant), Arc::clone(&pool));
        quipu_projections::Projections::open(tenant, Some(elsewhere.path()), pool, || {}).unwrap()
    };
    let second = open();
    let late = second.wait("counting", 1, Duration::from_secs(4));
    let Err(NotDone::Refused(ReadModelRefusal::NotYet { stopped: Some(why), .. })) = late else { panic!("{late:?}") };
    assert!(why.contains("another server"), "{why}");
    (2..40).for_each(|number| _ = shop.publish(&[placed(number)]));
    // The lock of the first one is lost, and both go on.
    cluster.sql("select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'");
    (40..80).for_each(|number| _ = shop.publish(&[placed(number)]));
    let until = std::time::Instant::now() + LONG;
    while cluster.ask("select position from counting._quipu") != [json!({"position": 79})] {
        assert!(std::time::Instant::now() < until);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(cluster.ask("select events from counting.counted"), [json!({"events": 79})]);
}
