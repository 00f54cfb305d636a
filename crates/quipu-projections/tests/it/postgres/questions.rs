//! Questions: filters, order, paging and SQL, and what SQL may not do.

use std::collections::BTreeMap;

use quipu_projections::{NotDone, ReadModelRefusal, SqlQuery, TableQuery, Test};
use serde_json::{Value, json};

use super::{in_postgres, orders_in_postgres};
use crate::cluster::Cluster;
use crate::read::{filters_and_orders_in, pages_in, shop_with};
use crate::support::{Shop, declared, event};

fn shop_of(orders_placed: u64) -> (Cluster, Shop) {
    let (cluster, declaration) = orders_in_postgres();
    (cluster, shop_with(declaration, orders_placed))
}

#[test]
fn filters_and_orders() {
    let (_cluster, shop) = shop_of(9);
    filters_and_orders_in(&shop);
    let ask = |filter: &str| {
        let filters = vec![Test::parse(filter).unwrap()];
        shop.projections.rows("orders", "orders", &TableQuery { filters, limit: 100, ..TableQuery::default() })
    };
    // What is no value of the column is refused.
    let refused = ask("total>=much").unwrap_err();
    assert!(matches!(refused, NotDone::Refused(ReadModelRefusal::InvalidQuestion { .. })), "{refused:?}");
    let refused = shop.projections.rows("orders", "invoices", &TableQuery::default()).unwrap_err();
    assert_eq!(refused.to_string(), "expected a table of the projection, one of orders, found invoices");
    assert!(ask("price=1").unwrap_err().to_string().contains("found price"));
    assert!(shop.projections.rows("orders", "_quipu", &TableQuery::default()).is_err());
}

#[test]
fn pages_go_on_where_the_one_before_ended_in_any_order() {
    let cluster = Cluster::start_on_port(&[]);
    let shop = Shop::open();
    let tables = declared(json!({
        "projection": "p",
        "tables": "create table t (id text primary key, a integer, b text, r real, at timestamptz);
                   create table alike (a integer, j jsonb); create view seen as select a, b from t",
        "on": { "x": ["insert into t values (:subject, :data.a, :data.b, :data.r, :data.at)", "insert into alike values (:data.a, :data)"] }
    }));
    shop.projections.apply(in_postgres(&tables, &cluster)).unwrap();
    let events: Vec<_> = (0..60)
        .map(|n| {
            let data = json!({"a": (n % 4 != 0).then_some(n % 5), "b": (n % 7 != 0).then(|| n.to_string()), "r": n as f64 / 3.0,
                              "at": format!("2026-01-{:02}T00:00:00.123456Z", n % 28 + 1)});
            event("x", n, n, data)
        })
        .collect();
    shop.publish_and_wait(&events);
    pages_in(&shop, "t", &[&[], &["a"], &["-a"], &["a", "-b"], &["-b", "a"], &["id"], &["-id"], &["r"], &["-at", "r"]]);
    pages_in(&shop, "alike", &[&[], &["-a"], &["-j"]]);
    let seen = shop.projections.rows("p", "seen", &TableQuery { limit: 9, ..TableQuery::default() }).unwrap();
    assert_eq!(seen.rows.len(), 9);
}

#[test]
fn sql_is_answered_within_its_limits_and_changes_nothing() {
    let (cluster, shop) = shop_of(9);
    cluster.sql("create table public.theirs (a text)");
    let ask = |sql: &str, parameters: &[(&str, Value)], limit: usize| {
        let parameters: BTreeMap<_, _> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        shop.projections.sql("orders", &SqlQuery { sql: sql.to_owned(), parameters, limit })
    };
    let sums =
        "select customer, sum(total) as total from orders where total < :most group by customer order by 1 -- all\n;";
    let answer = ask(sums, &[("most", json!(8))], 100).unwrap();
    assert_eq!(
        json!(answer.rows),
        json!([{"customer":"c0","total":10.0},{"customer":"c1","total":13.5},{"customer":"c2","total":8.0}])
    );
    assert_eq!(
        (answer.columns, answer.position, answer.is_cut),
        (vec!["customer".to_owned(), "total".to_owned()], 9, false)
    );
    let cut = ask("select * from orders order by id desc", &[], 2).unwrap();
    assert_eq!((cut.rows.len(), cut.rows[0]["id"].as_str(), cut.is_cut), (2, Some("order/9"), true));
    let twice =
        ask("select 1 as a, 2 as a, :x::jsonb as j, :x::jsonb ->> 'b' as b", &[("x", json!({"b": "c"}))], 1).unwrap();
    assert_eq!(json!(twice.rows[0]), json!({"a": 2, "j": {"b": "c"}, "b": "c"}));
    for refused in [
        "delete from orders",
        "insert into orders (id) values ('x') returning id",
        "with gone as (delete from orders returning id) select id from gone",
        "select 1; select 2",
        "select 1) asked (c0); drop table orders; select * from (select 1",
        "select 1) asked (c0), (select 2",
        "select",
        "",
        "show all",
        "explain select 1",
        "select * into other from orders",
        "select * from orders for update",
        "select nextval('x')",
        "create table x (a)",
        "begin",
        "commit",
        "copy orders to stdout",
        "do $$ begin delete from orders; end $$",
        "set search_path = public",
        "select :nothing, :most",
        "select $1",
        // Questions only ask: neither settings, nor locks, nor what others do, are changed by them.
        "select set_config('search_path', 'public', false)",
        "select pg_advisory_lock(7)",
        "select pg_cancel_backend(1)",
        "select pg_sleep(60)",
        "select random()",
        "select * from pg_stat_activity",
    ] {
        let parameters: &[(&str, Value)] = if refused.contains(":most") { &[("missing", json!(1))] } else { &[] };
        let answer = ask(refused, parameters, 10);
        let is_refused = matches!(answer, Err(NotDone::Refused(ReadModelRefusal::Sql { .. })));
        assert!(is_refused, "{refused}: {answer:?}");
    }
    assert_eq!(ask("select current_setting('search_path') as at", &[], 1).unwrap().rows[0]["at"], "\"quipu$orders$1\"");
    // The same large value many times over, and more than a row may have altogether.
    let columns: Vec<String> = (0..400).map(|number| format!("v as c{number}")).collect();
    let wide = |bytes: u32| {
        format!("with x(v) as materialized (select repeat('a', {bytes})) select {} from x", columns.join(","))
    };
    let answer = ask(&wide(110_000), &[], 1).unwrap_err();
    assert!(answer.to_string().contains("ask for fewer columns"), "{answer}");
    let answer = ask(&wide(500_000), &[], 1).unwrap_err();
    assert!(answer.to_string().contains("an answer of more than"), "{answer:?}");
    let many = ask("select repeat('a', 1000000) as a from generate_series(1, 1000)", &[], 1_000).unwrap();
    assert!(many.rows.len() < 12 && many.is_cut, "{}", many.rows.len());
    let endless = "with recursive n(i) as (select 1 union all select i % 9 + 1 from n) select max(i) from n";
    let answer = ask(endless, &[], 1);
    assert!(matches!(answer, Err(NotDone::Refused(ReadModelRefusal::TooLong { .. }))), "{answer:?}");
    assert_eq!(shop.rows("orders", "orders").len(), 9);
}
