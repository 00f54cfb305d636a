//! A projection follows the log: over restarts, over events that it cannot take in, and over logs that are not the one it knew.

use std::fs;
use std::sync::Arc;

use quipu_domain::schema::SchemaVersion;
use quipu_engine::{NewSchema, Upcaster};
use quipu_projections::{NotDone, Phase, ReadModelRefusal};
use serde_json::json;

use crate::support::{LONG, SavedLog, Shop, declared, event, orders, placed, shipped};

#[test]
fn events_change_tables_and_a_restart_goes_on_where_it_was() {
    let shop = Shop::open();
    shop.publish(&[placed(1), placed(2)]);
    let released = shop.projections.apply(orders()).unwrap();
    assert_eq!((released.release, released.is_live, released.is_known), (1, true, false));
    shop.publish_and_wait(&[shipped(1), placed(3)]);
    let rows = shop.rows("orders", "orders");
    let ids: Vec<_> = rows.iter().map(|row| (row["id"].as_str().unwrap(), row["status"].as_str().unwrap())).collect();
    assert_eq!(ids, [("order/1", "shipped"), ("order/2", "placed"), ("order/3", "placed")]);
    assert_eq!(rows[0]["customer"], "c1");
    assert_eq!(rows[0]["total"], 1.5);
    assert_eq!(rows[0]["placed_at"], "2026-01-31T09:30:00Z");

    let shop = shop.reopen();
    shop.publish_and_wait(&[shipped(2)]);
    let rows = shop.rows("orders", "orders");
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1]["status"], "shipped");
    assert_eq!(shop.until("orders", |release| release.phase == Phase::Following).position, 5);
    assert!(shop.projections.apply(orders()).unwrap().is_known);
    assert_eq!(shop.digests("orders"), shop.scratch_build(orders()));
}

#[test]
fn an_event_that_cannot_be_taken_in_stops_its_projection_and_no_other() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    let counting = declared(json!({
        "projection": "counting",
        "tables": "create table counted (type text primary key, events integer)",
        "on": { "*": "insert into counted values (:type, 1) on conflict do update set events = events + 1" }
    }));
    shop.projections.apply(counting).unwrap();
    // An order that is placed twice breaks the key of the table.
    let twice = event("order.placed", 99, 1, json!({"customerId": "c", "total": 1}));
    let end = [placed(1), twice, shipped(1)].map(|event| shop.publish(&[event])).into_iter().max().unwrap();
    shop.projections.wait("counting", end, LONG).unwrap();
    let stopped = shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    let Phase::Stopped(failed) = &stopped.phase else { unreachable!() };
    assert_eq!((failed.position, failed.id.as_str(), failed.kind.as_str()), (2, "order.placed-99", "order.placed"));
    assert!(failed.statement.as_ref().unwrap().starts_with("insert into orders"), "{failed:?}");
    assert!(failed.error.contains("UNIQUE constraint failed: orders.id"), "{failed:?}");
    assert_eq!(stopped.position, 1);
    assert_eq!(shop.rows("orders", "orders")[0]["status"], "placed");

    // It says so to whoever waits, and still does after a restart.
    let shop = shop.reopen();
    shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    let waited = shop.projections.wait("orders", 3, std::time::Duration::from_millis(10));
    let Err(NotDone::Refused(ReadModelRefusal::NotYet { stopped: Some(why), .. })) = waited else {
        panic!("{waited:?}")
    };
    assert!(why.contains("position 2"), "{why}");

    shop.projections.skip("orders", 2, "placed twice by the old shop").unwrap();
    shop.projections.wait("orders", 3, LONG).unwrap();
    assert_eq!(shop.rows("orders", "orders")[0]["status"], "shipped");
    assert_eq!(shop.projections.status("orders").unwrap().skipped[&2], "placed twice by the old shop");
    assert!(shop.projections.skip("orders", 4, "there is none").is_err());
    assert!(shop.projections.skip("orders", 1, " ").is_err());
}

#[test]
fn a_commit_is_taken_in_as_a_whole_or_not_at_all() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    let twice = event("order.placed", 99, 1, json!({}));
    let prepared = [placed(1), twice].map(|event| shop.tenant.prepare(&event, None).unwrap());
    shop.tenant.append_wait(quipu_engine::Append { events: prepared.into(), ..Default::default() }).unwrap();
    let stopped = shop.until("orders", |release| matches!(release.phase, Phase::Stopped(_)));
    assert_eq!(stopped.position, 0);
    assert!(shop.rows("orders", "orders").is_empty());
}

#[test]
fn a_read_model_of_another_log_is_built_again() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2)]);
    let folder = shop.close();
    let before = fs::read(folder.path().join("tenants/shop/read-models/orders/1.sqlite")).unwrap();

    // The log is restored from elsewhere: as many events, and others.
    fs::remove_dir_all(folder.path().join("tenants")).unwrap();
    let shop = Shop::open_in(Arc::clone(&folder));
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(7), placed(8)]);
    let folder = shop.close();
    for end in ["", "-wal", "-shm"] {
        drop(fs::remove_file(folder.path().join(format!("tenants/shop/read-models/orders/1.sqlite{end}"))));
    }
    fs::write(folder.path().join("tenants/shop/read-models/orders/1.sqlite"), before).unwrap();
    let shop = Shop::open_in(folder);
    shop.publish_and_wait(&[placed(9)]);
    let rows = shop.rows("orders", "orders");
    let ids: Vec<_> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["order/7", "order/8", "order/9"]);
}

#[test]
fn a_read_model_that_is_ahead_of_its_log_is_built_again() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1)]);
    let folder = shop.close();
    let saved = SavedLog::of(&folder);
    let shop = Shop::open_in(folder);
    (2..9).for_each(|number| shop.publish_and_wait(&[placed(number)]));
    let folder = shop.close();
    saved.put_back(&folder);
    let shop = Shop::open_in(folder);
    assert_eq!(shop.tenant.position(), 1);
    let built = shop.until("orders", |release| release.phase == Phase::Following && release.position == 1);
    assert_eq!((built.position, shop.rows("orders", "orders").len()), (1, 1));
}

#[test]
fn a_read_model_that_is_ruined_or_gone_is_built_again() {
    let shop = Shop::open();
    shop.projections.apply(orders()).unwrap();
    shop.publish_and_wait(&[placed(1), placed(2)]);
    let whole = shop.digests("orders");
    let folder = shop.close();
    let file = folder.path().join("tenants/shop/read-models/orders/1.sqlite");
    for ruin in [b"no database at all".to_vec(), Vec::new()] {
        fs::write(&file, ruin).unwrap();
        let shop = Shop::open_in(Arc::clone(&folder));
        shop.projections.wait("orders", 2, LONG).unwrap();
        assert_eq!(shop.digests("orders"), whole);
        shop.close();
    }
    fs::remove_file(&file).unwrap();
    let stray = folder.path().join("tenants/shop/read-models/orders/9.sqlite");
    fs::write(&stray, "left by a crash").unwrap();
    let shop = Shop::open_in(folder);
    shop.projections.wait("orders", 2, LONG).unwrap();
    assert_eq!(shop.digests("orders"), whole);
    assert!(!stray.exists());
}

#[test]
fn events_are_read_in_the_version_that_is_asked_for() {
    let shop = Shop::open();
    let schema = |text: &str, jq: Option<&str>| NewSchema {
        text: text.into(),
        upcaster: jq.map(|jq| Upcaster::Jq(jq.to_owned())),
        ..NewSchema::default()
    };
    let first = r#"{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]}"#;
    let second = r#"{"type":"object","properties":{"cents":{"type":"integer"}},"required":["cents"]}"#;
    shop.tenant.register_schema("order.placed", schema(first, None)).unwrap();
    shop.publish(&[event("order.placed", 1, 1, json!({"total": 1.5}))]);
    shop.tenant.register_schema("order.placed", schema(second, Some("{cents: (.total * 100 | round)}"))).unwrap();
    for (name, version) in
        [("newest", SchemaVersion::Newest), ("stored", SchemaVersion::Stored), ("one", SchemaVersion::At(1))]
    {
        let mut declaration = declared(json!({
            "projection": name,
            "tables": "create table seen (type text, total real, cents integer)",
            "on": { "order.placed": "insert into seen values (:type, :data.total, :data.cents)" }
        }));
        declaration.schema_version = version;
        shop.projections.apply(declaration).unwrap();
        shop.projections.wait(name, 1, LONG).unwrap();
    }
    assert_eq!(shop.rows("newest", "seen")[0]["cents"], 150);
    assert_eq!(shop.rows("newest", "seen")[0]["type"], "order.placed.v2");
    assert_eq!(shop.rows("stored", "seen")[0]["total"], 1.5);
    assert_eq!(shop.rows("one", "seen")[0]["total"], 1.5);
}

/// As the first one of the documentation of [`quipu_projections::Project`].
struct PerType(u32, bool);

impl quipu_projections::Project for PerType {
    fn version(&self) -> u32 {
        self.0
    }

    fn tables(&self) -> &str {
        "create table per_type (type text primary key, events integer)"
    }

    fn apply(
        &self,
        tables: &quipu_projections::rusqlite::Connection,
        event: &quipu_engine::Recorded,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.1 && event.event().kind() == "order.shipped" {
            return Err("nothing is shipped here".into());
        }
        let sql = "insert into per_type values (?, ?) on conflict do update set events = events + excluded.events";
        tables.prepare_cached(sql)?.execute((event.event().kind(), self.0))?;
        Ok(())
    }
}

#[test]
fn a_projection_in_code_is_kept_as_one_in_sql_is() {
    let shop = Shop::open();
    shop.publish(&[placed(1)]);
    shop.projections.attach("per-type", PerType(1, false)).unwrap();
    let end = shop.publish(&[placed(2), shipped(1)]);
    shop.projections.wait("per-type", end, LONG).unwrap();
    let counted = |shop: &Shop| {
        let rows = shop.rows("per-type", "per_type");
        rows.iter().map(|row| row["events"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(counted(&shop), [2, 1]);
    // Another version begins anew; one that cannot go on says why, and where.
    let shop = shop.reopen();
    shop.projections.attach("per-type", PerType(5, true)).unwrap();
    let waited = shop.projections.wait("per-type", end, std::time::Duration::from_secs(1));
    let Err(NotDone::Refused(ReadModelRefusal::NotYet { stopped: Some(why), .. })) = waited else {
        panic!("{waited:?}")
    };
    assert!(why.contains("nothing is shipped here"), "{why}");
    shop.projections.attach("per-type", PerType(6, false)).unwrap();
    shop.projections.wait("per-type", end, LONG).unwrap();
    assert_eq!(counted(&shop), [12, 6]);
    shop.projections.apply(orders()).unwrap();
    assert!(shop.projections.attach("orders", PerType(1, false)).is_err());
}
