//! A changed projection is built beside the one that answers, compared with it, and takes its place, or gives it back; and a read model is
//! held against the log.

use quipu_engine::{VerdictOutcome, WantedRelease};
use quipu_projections::{Phase, ReleaseStatus};
use serde_json::json;

use super::{in_postgres, orders_in_postgres};
use crate::cluster::Cluster;
use crate::releases::forgetful;
use crate::support::{LONG, Shop, declared, event, orders, placed, shipped};
use crate::verify::since;

fn is_at(position: u64) -> impl Fn(&ReleaseStatus) -> bool {
    move |release| release.phase == Phase::Following && release.position == position
}

#[test]
fn a_mistake_is_seen_before_the_switch() {
    let (cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2), shipped(2)]);
    let released = shop.projections.apply(in_postgres(&forgetful(), &cluster)).unwrap();
    assert_eq!((released.release, released.is_live), (2, false));
    shop.until_next("orders", is_at(3));
    assert_eq!(shop.rows("orders", "orders")[1]["total"], 2.5);
    let compared = shop.projections.compare("orders").unwrap();
    assert_eq!((compared.is_equal(), compared.live, compared.next, compared.position), (false, 1, 2, 3));
    let table = &compared.tables[0];
    assert_eq!((table.table.as_str(), table.differing), ("orders", 1));
    assert_eq!((table.live.as_ref().unwrap().rows, table.next.as_ref().unwrap().rows), (2, 2));
    let difference = &table.differences[0];
    assert_eq!(json!(difference.key), json!({"id": "order/2"}));
    assert_eq!((json!(difference.live), json!(difference.next)), (json!({"total": 2.5}), json!({"total": 0.0})));

    // Given up, it is gone. From one kind of database to the other nothing differs.
    shop.projections.drop_release("orders").unwrap();
    cluster.until_schemas(&["orders", "quipu$orders$1"]);
    assert_eq!(shop.projections.apply(orders()).unwrap().release, 3);
    shop.until_next("orders", is_at(3));
    assert!(shop.projections.compare("orders").unwrap().is_equal());
}

#[test]
fn a_switch_is_at_once_and_there_is_a_way_back() {
    let (cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    shop.publish_and_wait(&[placed(1), shipped(1)]);
    shop.until("orders", is_at(2));
    // Whoever may read what is live may read what is live afterwards.
    cluster.sql("create role reader; grant usage on schema orders to reader; alter default privileges in schema orders grant select on tables to reader;
                 grant select on all tables in schema orders to reader");
    shop.projections.apply(in_postgres(&forgetful(), &cluster)).unwrap();
    shop.until_next("orders", is_at(2));
    let seen = |expected: serde_json::Value| {
        let until = std::time::Instant::now() + LONG;
        loop {
            let sql =
                "select total, status, (select position from orders._quipu) at from orders.orders order by id limit 1";
            let found = cluster.ask(sql);
            if found == [expected.clone()] {
                return;
            }
            assert!(std::time::Instant::now() < until, "{found:?}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    };
    seen(json!({"total": 1.5, "status": "shipped", "at": 2}));
    assert_eq!(shop.projections.switch("orders", WantedRelease::Next).unwrap(), 2);
    assert_eq!(shop.rows("orders", "orders")[0]["total"], 0.0);
    seen(json!({"total": 0, "status": "shipped", "at": 2}));
    cluster.sql("set role reader; select * from orders.orders");
    // What was live goes on, so that the way back leads to now and not to then.
    shop.publish_and_wait(&[placed(2)]);
    let shop = shop.reopen();
    assert_eq!(shop.projections.switch("orders", WantedRelease::Previous).unwrap(), 1);
    shop.projections.wait("orders", 3, LONG).unwrap();
    assert_eq!(shop.rows("orders", "orders").len(), 2);
    seen(json!({"total": 1.5, "status": "shipped", "at": 3}));
    // Other columns, in another order, and another table; what a view of somebody's rests on stays.
    let third = declared(json!({
        "projection": "orders", "tables": "create table orders (status text, total real, id text primary key); create table more (a integer)",
        "on": { "order.placed": "insert into orders values ('new', 7, :subject)" }
    }));
    shop.projections.apply(in_postgres(&third, &cluster)).unwrap();
    shop.until_next("orders", is_at(3));
    assert_eq!(shop.projections.switch("orders", WantedRelease::Next).unwrap(), 3);
    seen(json!({"total": 7, "status": "new", "at": 3}));
    assert_eq!(cluster.ask("select count(*) from orders.more"), [json!({"count": 0})]);
    cluster.until_schemas(&["orders", "quipu$orders$1", "quipu$orders$3"]);
    assert_eq!(shop.projections.switch("orders", WantedRelease::Previous).unwrap(), 1);
    seen(json!({"total": 1.5, "status": "shipped", "at": 3}));
    assert_eq!(cluster.ask("select count(*) from pg_views where schemaname = 'orders'"), [json!({"count": 2})]);

    shop.projections.remove("orders").unwrap();
    cluster.until_schemas(&[]);
    // One of the same name is another: nothing of the old one is taken for it.
    assert_eq!(shop.projections.apply(in_postgres(&orders(), &cluster)).unwrap().release, 4);
}

#[test]
fn what_others_made_in_the_schema_of_the_views_stays() {
    let (cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    shop.until("orders", is_at(1));
    cluster.sql("create table orders.mine (a text); insert into orders.mine values ('kept')");
    shop.projections.remove("orders").unwrap();
    cluster.until_schemas(&["orders"]);
    assert_eq!(cluster.ask("select a from orders.mine"), [json!({"a": "kept"})]);
}

#[test]
fn what_a_crash_left_is_removed_when_it_is_opened_again() {
    let (cluster, declaration) = orders_in_postgres();
    let shop = Shop::open();
    shop.projections.apply(declaration).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    shop.until("orders", is_at(1));
    let folder = shop.close();
    let mark = "(select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = 'quipu$orders$1')";
    cluster.sql(&format!(
        "create schema quipu$orders$9; create table quipu$orders$9.t (a text); create schema quipu$orders$verify$0; create schema quipu$orders$other;
         do $$ begin execute format('comment on schema quipu$orders$9 is %L', {mark}); execute format('comment on schema quipu$orders$verify$0 is %L', {mark});
         execute format('comment on schema quipu$orders$other is %L', {mark}); end $$; create schema quipu$orders$8"
    ));
    let _shop = Shop::open_in(folder);
    // What has our mark and no name of ours is somebody's, and so is what has our name and no mark.
    cluster.until_schemas(&["orders", "quipu$orders$1", "quipu$orders$8", "quipu$orders$other"]);
}

#[test]
fn rows_that_somebody_changed_by_hand_are_named_with_the_event_behind_them() {
    let cluster = Cluster::start_on_port(&[]);
    let shop = Shop::open();
    let tables = "create table orders (id text primary key, status text, total double precision);
        create table plain (a text, n integer); create table pairs (a text, b integer, n numeric, primary key (b, a))";
    let declaration = declared(json!({
        "projection": "orders",
        "tables": tables,
        "on": {
            "order.placed": [
                "insert into orders values (:subject, 'placed', :data.total)",
                "insert into plain values (:subject, 0)",
                "insert into pairs values (:subject, 1, 0.5)"
            ],
            "order.shipped": [
                "update orders set status = 'shipped' where id = :subject",
                "update pairs set n = n + 1 where a = :subject"
            ]
        }
    }));
    shop.projections.apply(in_postgres(&declaration, &cluster)).unwrap();
    let all: Vec<_> = (1..=4).map(placed).collect();
    shop.publish_and_wait(&all);
    shop.publish_and_wait(&[shipped(2), shipped(4)]);
    let verdict = shop.verify(None);
    assert_eq!((verdict.outcome, verdict.position), (VerdictOutcome::Equal, 6));
    let baseline = shop.projections.create_baseline("orders", "first", "key:1").unwrap();
    assert_eq!((baseline.position, baseline.tables.len()), (6, 3));

    cluster.sql(
        "set search_path = quipu$orders$1; update orders set total = 0 where id = 'order/2'; delete from orders where id = 'order/3';
         insert into orders (id) values ('order/9'); update pairs set n = 7 where a = 'order/4'; insert into plain values ('order/1', 0)",
    );
    let verdict = shop.verify(None);
    assert_eq!(verdict.outcome, VerdictOutcome::Differs);
    let rows: Vec<_> = verdict.rows.iter().map(|row| (row.table.as_str(), json!(row.key), row.since.clone())).collect();
    assert_eq!(
        rows,
        [
            ("orders", json!({"id": "order/2"}), since(5, "order.shipped")),
            ("orders", json!({"id": "order/3"}), since(3, "order.placed")),
            ("orders", json!({"id": "order/9"}), None),
            ("pairs", json!({"b": 1, "a": "order/4"}), since(6, "order.shipped")),
            ("plain", json!({"a": "order/1", "n": 0}), since(1, "order.placed")),
        ]
    );
    assert_eq!(
        (json!(verdict.rows[0].kept), json!(verdict.rows[0].rebuilt)),
        (json!({"total": 0.0}), json!({"total": 2.5}))
    );
    assert_eq!((json!(verdict.rows[3].kept), json!(verdict.rows[3].rebuilt)), (json!({"n": 7}), json!({"n": 1.5})));
    assert_eq!(shop.verify(Some("first")).outcome, VerdictOutcome::Equal);
    cluster.until_schemas(&["orders", "quipu$orders$1"]);
    // Cancelled, it leaves nothing either; and what cannot be taken in is named.
    let cancelled = shop.projections.verify("orders", "key:1", None, &mut |progress| progress.position < 1);
    assert!(matches!(cancelled, Ok(None)), "{cancelled:?}");
    cluster.until_schemas(&["orders", "quipu$orders$1"]);
    shop.publish(&[event("order.placed", 9, 1, json!({}))]);
    shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    let verdict = shop.verify(None);
    assert_eq!(verdict.outcome, VerdictOutcome::Stopped);
    assert!(verdict.problem.as_ref().unwrap().contains("position 7"), "{verdict:?}");
}
