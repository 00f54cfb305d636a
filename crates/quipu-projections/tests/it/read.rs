//! Questions to a read model: filters, order, paging, SQL, and read-your-writes.

use std::collections::BTreeMap;
use std::time::Duration;

use quipu_domain::projection::Projection;
use quipu_projections::{NotDone, Order, ReadModelRefusal, SqlQuery, TableQuery, Test};
use serde_json::json;

use crate::support::{LONG, Shop, declared, event, orders, placed};

fn shop_of(orders_placed: u64) -> Shop {
    shop_with(orders(), orders_placed)
}

pub fn shop_with(orders: Projection, orders_placed: u64) -> Shop {
    let shop = Shop::open();
    shop.projections.apply(orders).unwrap();
    let events: Vec<_> = (1..=orders_placed).map(placed).collect();
    shop.publish_and_wait(&events);
    shop
}

fn filters(texts: &[&str]) -> Vec<(String, Test, String)> {
    texts.iter().map(|text| Test::parse(text).unwrap()).collect()
}

#[test]
fn filters_and_orders() {
    filters_and_orders_in(&shop_of(9));
}

/// What nine orders give, whichever database they are in.
pub fn filters_and_orders_in(shop: &Shop) {
    let ask = |texts: &[&str], order: &[&str]| {
        let order = order.iter().map(|text| Order::parse(text)).collect();
        let query = TableQuery { filters: filters(texts), order, limit: 100, cursor: None };
        let rows = shop.projections.rows("orders", "orders", &query).unwrap().rows;
        rows.iter().map(|row| row["id"].as_str().unwrap()["order/".len()..].to_owned()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ask(&["customer=c1"], &[]), "1 4 7");
    assert_eq!(ask(&["customer=c1", "total>=4.5"], &[]), "4 7");
    assert_eq!(ask(&["total>4.5", "total<=6.5"], &[]), "5 6");
    assert_eq!(ask(&["customer!=c1"], &["customer", "-total"]), "9 6 3 8 5 2");
    assert_eq!(ask(&["total<2"], &[]), "1");
    assert_eq!(ask(&["customer=null"], &[]), "");
    assert_eq!(ask(&["customer!=null"], &["-total"]).split(' ').count(), 9);
    assert_eq!(ask(&["customer<null"], &[]), "");
    // What looks like SQL is a value.
    assert_eq!(ask(&["customer=c1' or 1=1 --"], &[]), "");
}

#[test]
fn pages_go_on_where_the_one_before_ended_in_any_order() {
    let shop = Shop::open();
    let table = declared(json!({
        "projection": "p",
        "tables": "create table t (id text primary key, a integer, b text) without rowid",
        "on": { "x": "insert into t values (:subject, :data.a, :data.b)" }
    }));
    shop.projections.apply(table).unwrap();
    let events: Vec<_> = (0..60)
        .map(|n| {
            event("x", n, n, json!({"a": (n % 4 != 0).then_some(n % 5), "b": (n % 7 != 0).then(|| n.to_string())}))
        })
        .collect();
    shop.publish_and_wait(&events);
    pages_in(&shop, "t", &[&[], &["a"], &["-a"], &["a", "-b"], &["-b", "a"], &["id"], &["-id"]]);
}

/// That pages of the 60 rows of a table are all of them, in each of these orders, and that a cursor is of one order.
pub fn pages_in(shop: &Shop, table: &str, orders: &[&[&str]]) {
    for order in orders {
        let order: Vec<Order> = order.iter().map(|text| Order::parse(text)).collect();
        let all = TableQuery { order: order.clone(), limit: 1_000, ..TableQuery::default() };
        let all = shop.projections.rows("p", table, &all).unwrap();
        assert_eq!((all.rows.len(), all.next, all.position), (60, None, 60));
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let query = TableQuery { order: order.clone(), limit: 7, cursor, ..TableQuery::default() };
            let page = shop.projections.rows("p", table, &query).unwrap();
            assert!(page.rows.len() <= 7);
            paged.extend(page.rows);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(paged, all.rows, "{table} {order:?}");
    }
    let page = TableQuery { limit: 1, ..TableQuery::default() };
    let cursor = shop.projections.rows("p", table, &page).unwrap().next;
    let other = TableQuery { order: vec![Order::parse("a")], limit: 1, cursor, ..TableQuery::default() };
    let refused = shop.projections.rows("p", table, &other);
    assert!(matches!(refused, Err(NotDone::Refused(ReadModelRefusal::InvalidQuestion { .. }))), "{refused:?}");
}

#[test]
fn what_is_not_there_is_named() {
    let shop = shop_of(1);
    let refused = shop.projections.rows("orders", "invoices", &TableQuery::default()).unwrap_err();
    assert_eq!(refused.to_string(), "expected a table of the projection, one of orders, found invoices");
    let query = TableQuery { filters: filters(&["price=1"]), ..TableQuery::default() };
    let refused = shop.projections.rows("orders", "orders", &query).unwrap_err();
    assert!(refused.to_string().contains("one of id, customer, status, total, placed_at, found price"), "{refused}");
    assert!(shop.projections.rows("orders", "_quipu", &TableQuery::default()).is_err());
    assert!(shop.projections.rows("orders", "sqlite_master", &TableQuery::default()).is_err());
    assert!(shop.projections.rows("invoices", "orders", &TableQuery::default()).is_err());
    assert!(Test::parse("status").is_err());
    assert!(Test::parse("=shipped").is_err());
}

#[test]
fn whoever_writes_reads_what_it_wrote() {
    let shop = shop_of(1);
    for order in 2..50 {
        let position = shop.publish(&[placed(order)]);
        shop.projections.wait("orders", position, LONG).unwrap();
        let query = TableQuery { filters: filters(&[&format!("id=order/{order}")]), ..TableQuery::default() };
        let answer = shop.projections.rows("orders", "orders", &query).unwrap();
        assert_eq!(answer.rows.len(), 1);
        assert!(answer.position >= position);
    }
    let waited = shop.projections.wait("orders", 1_000, Duration::from_millis(20));
    let Err(NotDone::Refused(ReadModelRefusal::NotYet { wanted, position, stopped })) = waited else { panic!() };
    assert_eq!((wanted, position, stopped), (1_000, 49, None));
}

#[test]
fn sql_is_answered_within_its_limits() {
    let shop = shop_of(9);
    let ask = |sql: &str, parameters: &[(&str, serde_json::Value)], limit: usize| {
        let parameters: BTreeMap<_, _> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        shop.projections.sql("orders", &SqlQuery { sql: sql.to_owned(), parameters, limit })
    };
    let sums = "select customer, sum(total) as total from orders where total < :most group by customer order by 1";
    let answer = ask(sums, &[("most", json!(8))], 100).unwrap();
    assert_eq!(
        json!(answer.rows),
        json!([{"customer":"c0","total":10.0},{"customer":"c1","total":13.5},{"customer":"c2","total":8.0}])
    );
    assert_eq!((answer.position, answer.is_cut), (9, false));
    let cut = ask("select * from orders", &[], 2).unwrap();
    assert_eq!((cut.rows.len(), cut.is_cut), (2, true));
    // The time of day is nobody's secret, and nothing is kept of an answer.
    assert_eq!(ask("select random() is not null as there", &[], 1).unwrap().rows[0]["there"], 1);
    for refused in [
        "delete from orders",
        "insert into orders (id) values ('x') returning id",
        "select 1; select 2",
        "select",
        "select * from _quipu",
        "select * from sqlite_master",
        "pragma table_info(orders)",
        "select * from pragma_table_info('orders')",
        "attach 'other.sqlite' as other",
        "select load_extension('x')",
        "create table x (a)",
        "begin",
        "select :nothing, :most",
    ] {
        let answer = ask(refused, &[("missing", json!(1))], 10);
        let is_refused = matches!(answer, Err(NotDone::Refused(ReadModelRefusal::Sql { .. })));
        assert!(is_refused, "{refused}: {answer:?}");
    }
    // The same large value many times over.
    let columns: Vec<String> = (0..400).map(|number| format!("v as c{number}")).collect();
    let wide = format!("with x(v) as materialized (select hex(zeroblob(100000))) select {} from x", columns.join(","));
    let answer = ask(&wide, &[], 1).unwrap_err();
    assert!(answer.to_string().contains("ask for fewer columns"), "{answer}");
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n";
    let answer = ask(endless, &[], 1);
    assert!(matches!(answer, Err(NotDone::Refused(ReadModelRefusal::TooLong { .. }))), "{answer:?}");
}
