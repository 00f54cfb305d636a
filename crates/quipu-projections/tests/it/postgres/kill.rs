//! The database is killed at any moment, and what follows it is closed and opened: each event counts once.

use proptest::prelude::*;
use quipu_engine::VerdictOutcome;
use quipu_projections::Phase;
use rustix::process::Signal;
use serde_json::json;

use super::in_postgres;
use crate::cluster::Cluster;
use crate::support::{LONG, Shop, declared, event};

fn counted(cluster: &Cluster) -> quipu_domain::projection::Projection {
    let declaration = declared(json!({
        "projection": "orders",
        "tables": "create table orders (id text primary key, times integer, total double precision);
                   create table seen (kind text, id text, at integer); create index on seen (at)",
        "on": {
            "order.placed": "insert into orders values (:subject, 1, :data.total)
                             on conflict (id) do update set times = orders.times + 1, total = orders.total * 1.1 + excluded.total",
            "order.shipped": "delete from orders where id = :subject",
            "order.*": ["insert into seen values (:type, :subject, :position)", "delete from seen where at % 7 = :position % 7 and at < :position"]
        }
    }));
    in_postgres(&declaration, cluster)
}

#[test]
fn each_event_counts_once_whatever_is_killed() {
    let mut cluster = Cluster::start_on_port(&[]);
    let mut shop = Shop::open();
    let mut number = 0;
    let mut publish = |shop: &Shop, count: u64| {
        for _ in 0..count {
            number += 1;
            let kind = if number % 5 == 0 { "order.shipped" } else { "order.placed" };
            shop.publish(&[event(kind, number, number % 11, json!({"total": number as f64 / 3.0}))]);
        }
        number
    };
    publish(&shop, 500);
    shop.projections.apply(counted(&cluster)).unwrap();
    for round in 0..6 {
        let shared = std::sync::Arc::clone(&shop.tenant);
        let end = publish(&shop, 300);
        // While it takes them in, or just has: at another moment each time.
        std::thread::sleep(std::time::Duration::from_millis(7 * round));
        match round % 3 {
            0 => cluster.crash(Signal::KILL),
            1 => {
                drop(shared);
                shop = shop.reopen();
            }
            _ => cluster.crash(Signal::QUIT),
        }
        let end = end.max(publish(&shop, 50));
        shop.projections.wait("orders", end, LONG).unwrap();
    }
    shop.until("orders", |release| release.phase == Phase::Following);
    let verdict = shop.verify(None);
    assert_eq!(verdict.outcome, VerdictOutcome::Equal, "{verdict:?}");
    assert_eq!(verdict.position, number);
    cluster.until_schemas(&["orders", "quipu$orders$1"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3))]

    #[test]
    fn after_any_history_a_read_model_is_what_the_log_says(
        steps in prop::collection::vec((0u64..6, 0u8..4), 1..60),
        applied in 0usize..60,
        reopened in 0usize..60,
        killed in 0usize..60,
    ) {
        let mut cluster = Cluster::start_on_port(&[]);
        let mut shop = Shop::open();
        for (number, (order, what)) in steps.iter().enumerate() {
            if number == applied {
                shop.projections.apply(counted(&cluster)).unwrap();
            }
            if number == reopened {
                shop = shop.reopen();
            }
            if number == killed {
                cluster.crash(Signal::QUIT);
            }
            let kind = ["order.placed", "order.placed", "order.shipped", "order.noted"][usize::from(*what)];
            shop.publish(&[event(kind, number as u64, *order, json!({"total": number as f64 / 3.0}))]);
        }
        shop.projections.apply(counted(&cluster)).unwrap();
        shop.projections.wait("orders", steps.len() as u64, LONG).unwrap();
        shop.until("orders", |release| release.phase == Phase::Following);
        let verdict = shop.verify(None);
        prop_assert_eq!(verdict.outcome, VerdictOutcome::Equal, "{:?}", verdict);
        prop_assert_eq!(verdict.position, steps.len() as u64);
    }
}
