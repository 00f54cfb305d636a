//! Payloads: what is too large for the log is beside it, once, and is what was sent for whoever asks.

use std::borrow::Cow;
use std::fs;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quipu_domain::schema::{Enforcement, SchemaRules};
use quipu_domain::{DATAREF, Data, Direction, Event, Filter, InvalidEvent, Quotas, Refusal, Value};
use quipu_engine::{Answer, Fault, NewSchema, Options, Published, Tenant};
use quipu_store::{DiskStorage, Payloads, backup, check};
use tempfile::TempDir;

use crate::support::*;

const PAYLOAD_MAX: usize = 8 << 10;

fn options() -> Options {
    Options { claim_check_bytes: 1 << 10, payload_bytes_max: PAYLOAD_MAX, ..small() }
}

fn tenant(folder: &TempDir) -> Arc<Tenant> {
    open(folder.path(), options()).unwrap()
}

fn sent(id: &str, data: Data<'static>) -> Event<'static> {
    Event::builder(id.to_owned(), "/test", "report.made").subject("s").data(data).build().unwrap()
}

/// JSON of some 2 KB.
fn large(id: &str, total: u32) -> Event<'static> {
    sent(id, Data::Json(format!(r#"{{"total":{total},"pad":"{}"}}"#, "x".repeat(2_000)).into()))
}

fn payload_files(folder: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(folder.join("t/payloads")).into_iter().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

fn is_recorded(published: &Published) -> bool {
    matches!(published, Published::Recorded(_))
}

fn positions(tenant: &Arc<Tenant>, name: &str) -> Result<Vec<u64>, String> {
    let handed = tenant.pull(name, 100).map_err(|e| e.to_string())?;
    let ids: Vec<_> = handed.iter().map(|handed| (handed.id, handed.token, Answer::Ack)).collect();
    tenant.answer(name, ids).unwrap();
    Ok(handed.iter().map(|handed| handed.id.position).collect())
}

#[test]
fn large_data_is_beside_the_log_once_and_comes_back_as_it_was_sent() {
    let folder = TempDir::new().unwrap();
    let events = [
        sent("1", Data::Json(format!("[ 1.50, \"{}\" ]", "x".repeat(2_000)).into())),
        sent("2", Data::Text("ä\r\n".repeat(600).into())),
        sent("3", Data::Binary(Cow::Owned((0..=255).cycle().take(2_000).collect()))),
    ];
    {
        let tenant = tenant(&folder);
        publish_all(&tenant, &events);
        publish(&tenant, &sent("4", events[0].data().clone()));
        publish(&tenant, &sent("5", Data::Json("{}".into())));
        tenant.close().unwrap();
    }
    let tenant = tenant(&folder);
    assert_eq!(payload_files(folder.path()).len(), 3, "the same data is there once");
    let page = tenant.read(&Filter::default(), Direction::Forward, None, 10).unwrap();
    for (recorded, event) in page.events.iter().zip(&events) {
        let found = recorded.event();
        assert_eq!((found.data().bytes(), found.id()), (None, event.id()));
        assert!(found.attribute(DATAREF).unwrap().starts_with("quipu:payload/blake3/"), "{found:?}");
        assert!(recorded.bytes() < 200, "{}", recorded.bytes());
        assert_eq!(tenant.resolve(recorded.clone()).unwrap().event(), *event);
    }
    assert_eq!(page.events[4].event().data(), &Data::Json("{}".into()));
    let stats = tenant.stats().unwrap();
    let bytes: usize = events.iter().map(|event| event.data().bytes().unwrap().0.len()).sum();
    assert_eq!((stats.payloads, stats.payload_bytes), (3, bytes as u64));
}

#[test]
fn what_is_too_large_is_refused_and_a_reference_of_the_sender_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    let fits = sent("1", Data::Text("x".repeat(PAYLOAD_MAX).into()));
    assert!(is_recorded(&publish(&tenant, &fits)));
    let over = sent("2", Data::Text("x".repeat(PAYLOAD_MAX + 1).into()));
    let refused = tenant.prepare(&over, None).err().unwrap();
    assert_eq!(refused, InvalidEvent::TooLarge { limit: PAYLOAD_MAX, actual: PAYLOAD_MAX + 1 });
    let uri = Value::Text("https://bucket.example/1".into());
    let own = large("3", 1).with_attribute(DATAREF, Some(uri));
    assert!(is_recorded(&publish(&tenant, &own)));
    assert_eq!(tenant.event_at(2).unwrap().unwrap().event(), own);
    assert_eq!(payload_files(folder.path()).len(), 1);
}

#[test]
fn a_repeat_is_known_by_its_data_wherever_that_is() {
    let folder = TempDir::new().unwrap();
    let spaced = |event: &Event<'static>| {
        let Data::Json(text) = event.data() else { panic!() };
        sent(event.id(), Data::Json(text.replace(':', " : ").into()))
    };
    {
        let tenant = tenant(&folder);
        assert!(is_recorded(&publish(&tenant, &large("1", 1))));
        for again in [large("1", 1), spaced(&large("1", 1))] {
            assert!(matches!(publish(&tenant, &again), Published::Duplicate(place) if place.position == 1));
        }
        for other in [large("1", 2), sent("1", Data::Json("{}".into()))] {
            let refused = Published::Refused(Refusal::IdConflict { index: 0, position: 1 });
            assert_eq!(publish(&tenant, &other), refused);
        }
        assert_eq!(payload_files(folder.path()).len(), 1, "what nothing refers to was removed");
        tenant.close().unwrap();
    }
    // With another limit the same data is in the event.
    let tenant = open(folder.path(), Options { claim_check_bytes: 1 << 20, ..options() }).unwrap();
    assert!(matches!(publish(&tenant, &spaced(&large("1", 1))), Published::Duplicate(_)));
    assert!(is_recorded(&publish(&tenant, &large("2", 1))));
    tenant.close().unwrap();
    drop(tenant);
    let tenant = self::tenant(&folder);
    assert!(matches!(publish(&tenant, &spaced(&large("2", 1))), Published::Duplicate(_)));
}

#[test]
fn what_is_refused_leaves_no_payload_but_never_takes_one_that_is_needed() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    let wrong = |event: &Event<'_>| tenant.publish_wait(vec![tenant.prepare(event, Some(7)).unwrap()]).unwrap();
    assert!(matches!(wrong(&large("1", 1))[0], Published::Refused(Refusal::WrongVersion { .. })));
    assert!(payload_files(folder.path()).is_empty());
    // The same data in one publish: one of the two is refused.
    let same = [tenant.prepare(&large("2", 1), Some(7)).unwrap(), tenant.prepare(&large("3", 1), None).unwrap()];
    let published = tenant.publish_wait(same.into()).unwrap();
    assert!(!is_recorded(&published[0]) && is_recorded(&published[1]));
    assert!(!is_recorded(&wrong(&large("4", 1))[0]));
    assert_eq!(payload_files(folder.path()).len(), 1);
    assert_eq!(tenant.resolve(tenant.event_at(1).unwrap().unwrap()).unwrap().event(), large("3", 1));
}

#[test]
fn many_at_once_with_the_same_data_never_lose_it() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path(), options());
    let tenant = engine.tenant("t").unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let tenant = &tenant;
            scope.spawn(move || {
                for n in 0..40u32 {
                    // Half of them claim a version that they are not, so that what they wrote is removed.
                    let claim = (n % 2 == 1).then_some(1_000_000);
                    let event = large(&format!("{thread}-{n}"), n / 8);
                    tenant.publish_wait(vec![tenant.prepare(&event, claim).unwrap()]).unwrap();
                }
            });
        }
    });
    for position in 1..=tenant.position() {
        tenant.resolve(tenant.event_at(position).unwrap().unwrap()).unwrap();
    }
    assert_eq!((tenant.position(), tenant.stats().unwrap().payloads), (80, 5));
}

/// Leaves a payload in the folder of a tenant that no event refers to, as a crash does between the two.
fn leave(folder: &Path, tenant: &str, event: &Event<'_>) {
    let bytes = event.data().bytes().unwrap().0;
    let payloads = Payloads::open(Arc::new(DiskStorage::new(folder)), tenant).unwrap();
    payloads.keep(*blake3::hash(bytes).as_bytes(), bytes).unwrap().keep();
}

#[test]
fn what_a_crash_left_is_removed_after_opening_and_what_events_refer_to_stays() {
    let folder = TempDir::new().unwrap();
    {
        let engine = engine(folder.path(), options());
        engine.create_tenant("a", Quotas::default()).unwrap();
        publish_all(&engine.existing_tenant("a").unwrap(), &[large("1", 1), large("2", 2)]);
    }
    (3..40).for_each(|total| leave(folder.path(), "tenants/a", &large("lost", total)));
    let engine = engine(folder.path(), options());
    let tenant = engine.existing_tenant("a").unwrap();
    // Its threads do it by themselves, soon; a test that waits for ever is ended by who runs it.
    while tenant.stats().unwrap().payloads > 2 {
        std::thread::yield_now();
    }
    for (position, event) in [(1, large("1", 1)), (2, large("2", 2))] {
        assert_eq!(tenant.resolve(tenant.event_at(position).unwrap().unwrap()).unwrap().event(), event);
    }
}

#[test]
fn what_a_crash_left_stays_if_an_event_on_its_way_found_it_there() {
    for stage in ["submitted", "decided", "flushed"] {
        let folder = TempDir::new().unwrap();
        leave(folder.path(), "t", &large("1", 1));
        leave(folder.path(), "t", &large("2", 2));
        let tenant = tenant(&folder);
        tenant
            .publish(vec![prepare(&tenant, &large("1", 1))], |published| assert!(is_recorded(&published.unwrap()[0])));
        if stage != "submitted" {
            tenant.decide();
        }
        if stage == "flushed" {
            tenant.flush();
        }
        assert_eq!(tenant.search_payloads(100).unwrap(), 98, "{stage}");
        while tenant.decide() + tenant.flush() > 0 {}
        assert_eq!(tenant.stats().unwrap().payloads, 1, "{stage}");
        assert_eq!(tenant.resolve(tenant.event_at(1).unwrap().unwrap()).unwrap().event(), large("1", 1), "{stage}");
    }
}

#[test]
fn a_payload_that_is_gone_or_changed_is_named_and_its_sender_brings_it_back() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    publish(&tenant, &event("0", "s"));
    publish(&tenant, &large("1", 1));
    let path = payload_files(folder.path()).pop().unwrap();
    let damage: [fn(&Path); 2] = [
        |path| fs::remove_file(path).unwrap(),
        |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes[1_000] ^= 1;
            fs::write(path, bytes).unwrap();
        },
    ];
    for damage in damage {
        damage(&path);
        let recorded = tenant.event_at(2).unwrap().unwrap();
        let Err(Fault::Damaged { path: named, detail, .. }) = tenant.resolve(recorded.clone()) else { panic!() };
        assert!(
            named.ends_with(path.file_name().unwrap().to_str().unwrap()) && detail.contains("position 2"),
            "{detail}"
        );
        assert!(tenant.event_at(1).unwrap().is_some());
        let report = check(&DiskStorage::new(folder.path()), "t", &mut |_, _| ()).unwrap();
        assert!(report.problems[0].contains("position 2"), "{report:?}");
        assert!(matches!(publish(&tenant, &large("1", 1)), Published::Duplicate(_)));
        assert_eq!(tenant.resolve(recorded).unwrap().event(), large("1", 1));
    }
}

#[test]
fn patterns_keys_and_transformations_see_the_data() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    let make = |name: &str, definition: &str| {
        tenant.create_subscription(name, serde_json::from_str(definition).unwrap()).unwrap();
    };
    for (start, name) in [("now", "fed"), ("beginning", "behind")] {
        make(name, &format!(r#"{{"start":"{start}","pattern":{{"data":{{"total":[7]}}}},"key":"data.total"}}"#));
    }
    make("reference", r#"{"pattern":{"dataref":[{"exists":true}],"data":{"total":[7]}}}"#);
    make("plain", "{}");
    make("resolved", r#"{"data":"resolved"}"#);
    make("changed", r#"{"transform":{"path":"$.data.total"}}"#);
    // Fed by the router from here on.
    for name in ["fed", "reference", "plain", "resolved", "changed"] {
        assert_eq!(positions(&tenant, name), Ok(vec![]), "{name}");
    }
    for (id, total) in [("1", 7), ("2", 8), ("3", 7)] {
        publish(&tenant, &large(id, total));
    }
    for name in ["fed", "behind", "reference"] {
        let handed = tenant.pull(name, 10).unwrap();
        let places: Vec<_> = handed.iter().map(|handed| (handed.id.position, handed.key.is_some())).collect();
        // Those of one key come one after the other, or together as one run.
        assert_eq!(places.first().map(|place| place.0), Some(1), "{name}");
        assert!(places.iter().all(|place| place.0 != 2), "{name}");
        assert!(handed.iter().all(|handed| handed.recorded.event().payload().is_some()), "{name}");
    }
    let handed = tenant.pull("resolved", 10).unwrap();
    assert_eq!(handed[0].recorded.event(), large("1", 7));
    assert!(tenant.pull("plain", 10).unwrap()[0].recorded.event().payload().is_some());
    let changed = tenant.pull("changed", 10).unwrap();
    assert_eq!(changed[0].transformed.as_ref().unwrap().body, b"7");
    let seven = tenant.pull_within("resolved", 10, 1).unwrap();
    assert!(seven.len() <= 1, "what is resolved counts with all its bytes");
}

#[test]
fn a_damaged_payload_stops_those_who_look_at_data_and_nobody_else() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    for (name, definition) in [("data", r#"{"pattern":{"data":{"total":[7]}}}"#), ("all", "{}")] {
        tenant.create_subscription(name, serde_json::from_str(definition).unwrap()).unwrap();
        assert_eq!(positions(&tenant, name), Ok(vec![]));
    }
    publish(&tenant, &large("1", 7));
    let path = payload_files(folder.path()).pop().unwrap();
    fs::rename(&path, path.with_extension("away")).unwrap();
    publish(&tenant, &sent("2", Data::Json(r#"{"total":7}"#.into())));
    assert_eq!(positions(&tenant, "all"), Ok(vec![1, 2]));
    let stuck = positions(&tenant, "data").unwrap_err();
    assert!(stuck.contains("position 1") && stuck.contains("no file"), "{stuck}");
    fs::rename(path.with_extension("away"), &path).unwrap();
    assert_eq!(positions(&tenant, "data"), Ok(vec![1, 2]));
}

#[test]
fn a_schema_holds_for_data_that_is_kept_beside_the_log() {
    let folder = TempDir::new().unwrap();
    let tenant = tenant(&folder);
    publish(&tenant, &large("0", 1));
    let (count, learned) = tenant.infer_schema("report.made").unwrap();
    assert_eq!((count, learned["properties"]["total"]["type"].as_str()), (1, Some("integer")));
    let text = r#"{"type":"object","properties":{"total":{"maximum":5}}}"#;
    tenant.register_schema("report.made", NewSchema { text: text.into(), ..NewSchema::default() }).unwrap();
    let rules = SchemaRules { enforcement: Some(Enforcement::Enforce), ..SchemaRules::default() };
    // Prepared before the rule was made: looked at again in the loop.
    let early = tenant.prepare(&large("1", 6), None).unwrap();
    tenant.set_schema_rules(None, rules).unwrap();
    assert!(matches!(tenant.publish_wait(vec![early]).unwrap()[0], Published::Refused(_)));
    assert!(matches!(publish(&tenant, &large("2", 6)), Published::Refused(_)));
    assert!(is_recorded(&publish(&tenant, &large("3", 5))));
    assert_eq!(payload_files(folder.path()).len(), 2);
}

#[test]
fn payloads_count_for_the_storage_quota() {
    let folder = TempDir::new().unwrap();
    let engine = engine(folder.path(), options());
    let quotas = Quotas { storage_bytes: NonZeroU64::new(40_000), ..Quotas::default() };
    engine.create_tenant("a", quotas).unwrap();
    let tenant = engine.existing_tenant("a").unwrap();
    let mut taken = 0;
    let refused = loop {
        let event = sent(&format!("{taken}"), Data::Text(format!("{taken:8000}").into()));
        match tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]) {
            Ok(_) => taken += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(refused, Fault::StorageQuota { limit: 40_000 }), "{refused}");
    assert!((3..=6).contains(&taken), "{taken}");
    let used = engine.tenant_usage("a").unwrap().unwrap().storage_bytes;
    assert!((40_000..56_000).contains(&used), "{used}");
    assert_eq!(tenant.stats().unwrap().payloads, taken, "what was refused wrote nothing");
}

#[test]
fn a_backup_has_the_payloads_and_a_check_counts_what_nothing_refers_to() {
    let (folder, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let tenant = tenant(&folder);
    publish_all(&tenant, &[large("1", 1), large("2", 2), large("3", 1)]);
    tenant.close().unwrap();
    let (storage, target) = (DiskStorage::new(folder.path()), DiskStorage::new(copy.path()));
    let report = backup(&storage, "t", &target, &mut |_, _| ()).unwrap();
    assert_eq!((report.check.payloads, report.check.orphans, report.check.problems.len()), (2, (0, 0), 0));
    let restored = open(copy.path(), options()).unwrap();
    assert_eq!(restored.resolve(restored.event_at(3).unwrap().unwrap()).unwrap().event(), large("3", 1));
    let orphan = folder.path().join("t/payloads/00");
    fs::create_dir_all(&orphan).unwrap();
    fs::write(orphan.join("0".repeat(62)), b"12345").unwrap();
    let report = check(&storage, "t", &mut |_, _| ()).unwrap();
    assert_eq!((report.payloads, report.orphans, report.problems.len()), (2, (1, 5), 0));
}
