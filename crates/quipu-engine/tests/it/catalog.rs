//! The catalog: what is declared and what was observed, also after a restart, and when the file of what was seen is lost or of another
//! log.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::schema::{Enforcement, SchemaRules};
use quipu_domain::{Event, Subscription, Takes};
use quipu_engine::{CatalogAsked, CatalogRefusal, CatalogType, Declaration, Finding, NewSchema, NotDone, Tenant};
use tempfile::TempDir;

use crate::support::{Hands, open, open_at, small};

fn publish(tenant: &Arc<Tenant>, source: &str, kind: &str, count: usize) {
    let event = |number: usize| {
        let id = format!("{source} {kind} {} {number}", tenant.position());
        Event::builder(&id, source, kind).json(r#"{"total":1}"#.to_owned()).build().unwrap().into_owned()
    };
    let events = (0..count).map(|number| tenant.prepare(&event(number), None).unwrap()).collect();
    tenant.publish_wait(events).unwrap();
}

fn declared(publishers: &[&str], consumers: &[&str]) -> Declaration {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Declaration { publishers: names(publishers), consumers: names(consumers), ..Declaration::default() }
}

fn subscribe(tenant: &Arc<Tenant>, name: &str, pattern: &str) {
    let definition: Subscription = serde_json::from_str(&format!(r#"{{"pattern":{pattern}}}"#)).unwrap();
    tenant.create_subscription(name, definition).unwrap();
}

fn line(tenant: &Arc<Tenant>, kind: &str) -> CatalogType {
    tenant.catalog(&CatalogAsked::default()).unwrap().types.into_iter().find(|line| line.kind == kind).unwrap()
}

fn kinds(tenant: &Arc<Tenant>) -> Vec<String> {
    tenant.catalog(&CatalogAsked::default()).unwrap().types.into_iter().map(|line| line.kind).collect()
}

fn shown(tenant: &Arc<Tenant>) -> String {
    format!("{:?}", tenant.catalog(&CatalogAsked::default()).unwrap())
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("t/catalog")).map_or(0, Iterator::count)
}

#[test]
fn what_was_published_is_counted_by_version_and_source() {
    let (folder, hands) = (TempDir::new().unwrap(), Arc::new(Hands::default()));
    let tenant = open_at(folder.path(), small(), Arc::clone(&hands)).unwrap();
    publish(&tenant, "/shop", "order.placed", 3);
    publish(&tenant, "/till", "order.placed.v2", 2);
    let hour = 60 * 60 * 1_000_000;
    hands.0.store(2 * hour, Ordering::Relaxed);
    publish(&tenant, "/shop", "order.placed.v2", 1);
    let seen = line(&tenant, "order.placed");
    assert_eq!((seen.events, seen.last_hour, seen.last_day), (6, 1, 6));
    assert_eq!((seen.first.unwrap().0, seen.last.unwrap().0), (1, 6));
    let versions: Vec<_> = seen.versions.iter().map(|of| (of.version, of.events, of.is_registered)).collect();
    assert_eq!(versions, [(1, 3, false), (2, 3, false)]);
    let sources: Vec<_> = seen.publishers.iter().map(|of| (of.name.as_str(), of.events)).collect();
    assert_eq!(sources, [("/shop", 4), ("/till", 2)]);
    hands.0.store(40 * hour, Ordering::Relaxed);
    assert_eq!((line(&tenant, "order.placed").last_hour, line(&tenant, "order.placed").last_day), (0, 0));
}

#[test]
fn what_is_declared_and_what_was_observed_are_held_against_each_other() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    publish(&tenant, "/shop", "order.placed", 1);
    publish(&tenant, "/shop", "order.paid", 1);
    let schema = NewSchema { text: r#"{"type":"object"}"#.into(), ..NewSchema::default() };
    tenant.register_schema("order.sent", schema.clone()).unwrap();
    tenant.register_schema("order.paid", schema).unwrap();
    tenant.declare("order.lost", declared(&["/shop"], &["support"])).unwrap();
    subscribe(&tenant, "wanting", r#"{"type":["order.returned.v2"]}"#);
    let found = |kind| line(&tenant, kind).findings;
    assert_eq!(kinds(&tenant), ["order.lost", "order.paid", "order.placed", "order.returned", "order.sent"]);
    assert_eq!(found("order.placed"), [Finding::Unconsumed, Finding::Undeclared]);
    assert_eq!(found("order.paid"), [Finding::Unconsumed]);
    assert_eq!(found("order.sent"), [Finding::Unseen]);
    assert_eq!(found("order.lost"), [Finding::Unpublished, Finding::Unseen]);
    assert_eq!(found("order.returned"), [Finding::Unpublished]);
    subscribe(&tenant, "billing", r#"{"type":[{"prefix":"order.p"}],"subject":["s"]}"#);
    tenant.declare("order.placed", declared(&[], &[])).unwrap();
    assert!(found("order.placed").is_empty() && found("order.paid").is_empty());
    publish(&tenant, "/shop", "order.lost", 1);
    publish(&tenant, "/shop", "order.returned.v2", 1);
    assert!(found("order.lost").is_empty());
    assert_eq!(found("order.returned"), [Finding::Undeclared]);
}

#[test]
fn who_reads_a_type_is_decided_by_the_pattern() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    publish(&tenant, "/shop", "order.placed", 1);
    publish(&tenant, "/shop", "order.placed.v2", 1);
    publish(&tenant, "/shop", "customer.moved", 1);
    tenant.create_subscription("everything", Subscription::default()).unwrap();
    subscribe(&tenant, "all", r#"{"type":[{"prefix":"order."}]}"#);
    subscribe(&tenant, "one-version", r#"{"type":["order.placed.v2"]}"#);
    subscribe(&tenant, "some", r#"{"type":[{"prefix":"order."}],"data":{"total":[1]}}"#);
    subscribe(&tenant, "whatever", r#"{"data":{"total":[1]}}"#);
    tenant.declare("order.placed", declared(&["/shop", "/app"], &["billing", "all"])).unwrap();
    let placed = line(&tenant, "order.placed");
    let takes: Vec<_> = placed.consumers.iter().map(|of| (of.name.as_str(), of.is_declared, of.takes)).collect();
    assert_eq!(
        takes,
        [
            ("all", true, Some(Takes::All)),
            ("billing", true, None),
            ("everything", false, Some(Takes::All)),
            ("one-version", false, Some(Takes::Some)),
            ("some", false, Some(Takes::Some)),
            ("whatever", false, Some(Takes::AnyType)),
        ]
    );
    let publishers: Vec<_> = placed.publishers.iter().map(|of| (of.name.as_str(), of.is_declared, of.events)).collect();
    assert_eq!(publishers, [("/app", true, 0), ("/shop", true, 2)]);
    let moved: Vec<_> = line(&tenant, "customer.moved").consumers.into_iter().map(|of| of.name).collect();
    assert_eq!(moved, ["everything", "whatever"]);
}

#[test]
fn violations_are_counted_as_the_log_has_them() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let text = r#"{"type":"object","properties":{"total":{"type":"string"}}}"#.into();
    tenant.register_schema("order.placed", NewSchema { text, ..NewSchema::default() }).unwrap();
    let rules = |enforcement| SchemaRules { enforcement: Some(enforcement), ..SchemaRules::default() };
    tenant.set_schema_rules(None, rules(Enforcement::Warn)).unwrap();
    publish(&tenant, "/shop", "order.placed", 2);
    tenant.set_schema_rules(None, rules(Enforcement::Enforce)).unwrap();
    publish(&tenant, "/shop", "order.placed", 3);
    let placed = line(&tenant, "order.placed");
    assert_eq!((placed.events, placed.marked, placed.refused), (2, 2, 3));
    drop(tenant);
    let tenant = open(folder.path(), small()).unwrap();
    assert_eq!(line(&tenant, "order.placed").marked, 2);
}

#[test]
fn a_restart_gives_the_same_answer() {
    let folder = TempDir::new().unwrap();
    let before = {
        let tenant = open(folder.path(), small()).unwrap();
        for round in 0..30 {
            publish(&tenant, &format!("/s{}", round % 7), &format!("a.t{}.v{}", round % 5, round % 3 + 1), 2);
        }
        tenant.declare("a.t1", declared(&["/s1"], &["x"])).unwrap();
        tenant.declare("a.t9", declared(&[], &["x"])).unwrap();
        tenant.withdraw("a.t9").unwrap();
        tenant.close().unwrap();
        shown(&tenant)
    };
    assert!(before.contains("a.t1") && !before.contains("a.t9"));
    for _ in 0..2 {
        let tenant = open(folder.path(), small()).unwrap();
        assert_eq!(shown(&tenant), before);
        // The second time from a snapshot.
        tenant.maintain().unwrap();
        tenant.close().unwrap();
    }
}

#[test]
fn the_file_of_what_was_seen_is_used_only_for_the_log_that_it_was_made_from() {
    let folder = TempDir::new().unwrap();
    let options = || quipu_engine::Options { segment_bytes: 64 << 20, run_events: 200_000, ..small() };
    let before = {
        let tenant = open(folder.path(), options()).unwrap();
        for _ in 0..10 {
            publish(&tenant, "/shop", "order.placed", 10_100);
        }
        let shown = shown(&tenant);
        tenant.close().unwrap();
        shown
    };
    assert_eq!(files(folder.path()), 1);
    {
        let tenant = open(folder.path(), options()).unwrap();
        assert_eq!(shown(&tenant), before);
        publish(&tenant, "/till", "order.placed", 1);
        assert_eq!(line(&tenant, "order.placed").publishers.len(), 2, "it goes on where the file ends");
        tenant.close().unwrap();
    }
    // Another log with the file of this one.
    let other = TempDir::new().unwrap();
    let tenant = open(other.path(), options()).unwrap();
    publish(&tenant, "/other", "a.b", 3);
    tenant.close().unwrap();
    drop(tenant);
    std::fs::create_dir_all(other.path().join("t/catalog")).unwrap();
    for entry in std::fs::read_dir(folder.path().join("t/catalog")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), other.path().join("t/catalog").join(entry.file_name())).unwrap();
    }
    let tenant = open(other.path(), options()).unwrap();
    assert_eq!(kinds(&tenant), ["a.b"]);
    publish(&tenant, "/other", "a.c", 1);
    assert_eq!((kinds(&tenant), line(&tenant, "a.b").events), (vec!["a.b".to_owned(), "a.c".to_owned()], 3));
}

#[test]
fn a_declaration_that_makes_no_sense_is_refused_and_nothing_is_written() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let many = Declaration { publishers: (0..65).map(|n| format!("/s{n}")).collect(), ..Declaration::default() };
    let owner = |owner: String| Declaration { owner: Some(owner), ..Declaration::default() };
    let table = [
        ("order.placed.v2", declared(&[], &[]), CatalogRefusal::InvalidType { name: "order.placed.v2".into() }),
        ("", declared(&[], &[]), CatalogRefusal::InvalidType { name: String::new() }),
        ("a.b", many, CatalogRefusal::TooManyNames { member: "publishers", limit: 64 }),
        ("a.b", declared(&[""], &[]), CatalogRefusal::InvalidName { member: "publishers" }),
        ("a.b", declared(&[], &["a\nb"]), CatalogRefusal::InvalidName { member: "consumers" }),
        ("a.b", owner("x".repeat(257)), CatalogRefusal::TooLong { member: "owner", limit: 256 }),
    ];
    for (kind, declaration, expected) in table {
        match tenant.declare(kind, declaration) {
            Err(NotDone::RefusedCatalog(refusal)) => assert_eq!(refusal, expected),
            other => panic!("{kind} {other:?}"),
        }
    }
    assert!(matches!(tenant.withdraw("a.b"), Err(NotDone::RefusedCatalog(CatalogRefusal::NotFound { .. }))));
    assert!(kinds(&tenant).is_empty());
    let lines = Declaration { description: Some("one\ntwo".into()), ..Declaration::default() };
    tenant.declare("a.b", lines.clone()).unwrap();
    assert_eq!(tenant.declaration("a.b"), Some(lines));
}

#[test]
fn a_page_has_as_many_types_as_were_asked_for_and_says_that_more_come() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for kind in ["a.a", "a.b", "a.c", "b.a"] {
        publish(&tenant, "/s", kind, 1);
    }
    tenant.declare("a.c", declared(&[], &["mail"])).unwrap();
    let page = |prefix: &str, after: Option<&str>, finding: Option<Finding>, limit: usize| {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        let info = tenant.catalog(&CatalogAsked { prefix, after, finding, limit: Some(limit) }).unwrap();
        (info.types.into_iter().map(|line| line.kind).collect::<Vec<_>>().join(" "), info.has_more)
    };
    assert_eq!(page("a.", None, None, 2), ("a.a a.b".to_owned(), true));
    assert_eq!(page("a.", Some("a.b"), None, 2), ("a.c".to_owned(), false));
    assert_eq!(page("", None, Some(Finding::Unconsumed), 2), ("a.a a.b".to_owned(), true));
    assert_eq!(page("", Some("a.b"), Some(Finding::Unconsumed), 1), ("b.a".to_owned(), false));
}

#[test]
fn consumers_and_sources_beyond_those_that_are_shown_are_counted() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for number in 0..40 {
        publish(&tenant, &format!("/s{number}"), &format!("a.b.v{}", number % 2 + 1), 1);
    }
    for number in 0..70 {
        subscribe(&tenant, &format!("s{number:02}"), r#"{"type":["a.b.v1","a.b.v2"]}"#);
    }
    tenant.declare("a.b", declared(&["/s39"], &["z"])).unwrap();
    let seen = line(&tenant, "a.b");
    assert_eq!((seen.publishers.len(), seen.other_sources, seen.events), (33, 7, 40));
    assert_eq!((seen.consumers.len(), seen.other_consumers), (64, 7));
    assert!(seen.consumers.iter().any(|consumer| consumer.name == "z" && consumer.is_declared));
}
