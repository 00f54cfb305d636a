//! A changed projection is built beside the one that answers, compared with it, and takes its place, or gives it back.

use quipu_engine::WantedRelease;
use quipu_projections::{NotDone, Phase, ReadModelRefusal};
use serde_json::json;

use crate::support::{LONG, Shop, declared, event, orders, placed, shipped};

/// The one of the documentation, and a mistake: who ships an order forgets what it costs.
pub fn forgetful() -> quipu_domain::projection::Projection {
    let mut declaration = serde_json::to_value(orders()).unwrap();
    declaration["on"]["order.shipped"] = "update orders set status = 'shipped', total = 0 where id = :subject".into();
    declared(declaration)
}

#[test]
fn a_mistake_is_seen_before_the_switch() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2), shipped(2)]);
    let released = shop.projections.apply(forgetful()).unwrap();
    assert_eq!((released.release, released.is_live), (2, false));
    shop.until_next("orders", |release| release.phase == Phase::Following && release.position == 3);
    // What is live answers as before.
    assert_eq!(shop.rows("orders", "orders")[1]["total"], 2.5);

    let compared = shop.projections.compare("orders").unwrap();
    assert!(!compared.is_equal());
    assert_eq!((compared.live, compared.next, compared.position), (1, 2, 3));
    let table = &compared.tables[0];
    assert_eq!((table.table.as_str(), table.differing), ("orders", 1));
    assert_eq!((table.live.as_ref().unwrap().rows, table.next.as_ref().unwrap().rows), (2, 2));
    let difference = &table.differences[0];
    assert_eq!(json!(difference.key), json!({"id": "order/2"}));
    assert_eq!(json!(difference.live), json!({"total": 2.5}));
    assert_eq!(json!(difference.next), json!({"total": 0.0}));

    // Given up, it is gone; the right one is the same, and nothing differs.
    shop.projections.drop_release("orders").unwrap();
    assert!(!shop.file("orders", 2).exists());
    let mut right = serde_json::to_value(orders()).unwrap();
    right["tables"] = format!("{};", right["tables"].as_str().unwrap()).into();
    assert_eq!(shop.projections.apply(declared(right)).unwrap().release, 3);
    shop.until_next("orders", |release| release.phase == Phase::Following && release.position == 3);
    assert!(shop.projections.compare("orders").unwrap().is_equal());
}

#[test]
fn a_switch_is_at_once_and_there_is_a_way_back() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    assert!(shop.projections.switch("orders", WantedRelease::Next).is_err());
    assert!(shop.projections.switch("orders", WantedRelease::Previous).is_err());
    shop.publish_and_wait(&[placed(1), shipped(1)]);
    shop.projections.apply(forgetful()).unwrap();
    shop.until_next("orders", |release| release.phase == Phase::Following && release.position == 2);
    assert_eq!(shop.projections.switch("orders", WantedRelease::Next).unwrap(), 2);
    assert_eq!(shop.rows("orders", "orders")[0]["total"], 0.0);
    // What was live goes on, so that the way back leads to now and not to then.
    shop.publish_and_wait(&[placed(2)]);
    let shop = shop.reopen();
    assert_eq!(shop.projections.switch("orders", WantedRelease::Previous).unwrap(), 1);
    shop.projections.wait("orders", 3, LONG).unwrap();
    assert_eq!(shop.rows("orders", "orders").len(), 2);
    assert_eq!(shop.rows("orders", "orders")[0]["total"], 1.5);
    // And forth again.
    assert_eq!(shop.projections.switch("orders", WantedRelease::Next).unwrap(), 2);
    // The way back leads to what was live before, and not to what was never wanted.
    assert_eq!(shop.projections.switch("orders", WantedRelease::Previous).unwrap(), 1);
    assert_eq!(shop.projections.switch("orders", WantedRelease::Previous).unwrap(), 2);
    // The one that is before what is live goes when another takes its place.
    let third = declared(json!({
        "projection": "orders", "tables": "create table orders (id text)",
        "on": { "order.placed": "insert into orders values (:subject)" }
    }));
    shop.projections.apply(third).unwrap();
    shop.until_next("orders", |release| release.phase == Phase::Following && release.position == 3);
    assert_eq!(shop.projections.switch("orders", WantedRelease::Next).unwrap(), 3);
    assert!(!shop.file("orders", 1).exists());
    assert!(shop.file("orders", 2).exists());
    shop.projections.remove("orders").unwrap();
    assert!(!shop.file("orders", 3).exists());
    assert!(shop.projections.status("orders").is_err());
    // One of the same name is another: nothing of the old one is taken for it.
    assert_eq!(shop.projections.apply(orders()).unwrap().release, 4);
}

#[test]
fn nothing_is_switched_to_that_stands_still() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1), event("order.returned", 1, 1, json!({}))]);
    let mut wrong = serde_json::to_value(orders()).unwrap();
    wrong["on"]["order.returned"] = "insert into orders (id) values (:subject)".into();
    shop.projections.apply(declared(wrong)).unwrap();
    shop.until_next("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    let refused = shop.projections.switch("orders", WantedRelease::Next);
    let Err(NotDone::Refused(ReadModelRefusal::NotBuilt { release: 2, stopped: Some(why), .. })) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.contains("order.returned"), "{why}");
    assert!(shop.projections.compare("orders").is_err());
    // A fix takes its place; what is live never noticed.
    shop.projections.apply(orders()).unwrap();
    assert_eq!(shop.projections.status("orders").unwrap().releases.len(), 1);
    assert_eq!(shop.rows("orders", "orders").len(), 1);
}

#[test]
fn tables_and_columns_that_only_one_has_are_told() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    let next = declared(json!({
        "projection": "orders",
        "tables": "create table orders (id text primary key, customer text, note text); create table other (a integer)",
        "on": { "order.placed": "insert into orders values (:subject, :data.customerId, 'x')" }
    }));
    shop.projections.apply(next).unwrap();
    shop.until_next("orders", |release| release.phase == Phase::Following && release.position == 1);
    let compared = shop.projections.compare("orders").unwrap();
    let names: Vec<_> = compared.tables.iter().map(|table| (table.table.as_str(), table.is_equal())).collect();
    assert_eq!(names, [("orders", false), ("other", false)]);
    assert_eq!(compared.tables[0].columns_new, ["note"]);
    assert_eq!(compared.tables[0].columns_gone, ["status", "total", "placed_at"]);
    assert_eq!(compared.tables[0].differing, 0);
    assert!(compared.tables[1].live.is_none());
}
