//! The catalog: what is declared and what was observed, also after a restart, and when the file of what was seen is lost or of another
//! log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::schema::{Enforcement, SchemaRules};
use quipu_domain::{Event, Subscription, Takes};
use quipu_engine::{
    CatalogAsked, CatalogRefusal, CatalogType, Declaration, Finding, ImportOutcome, ImportedPart, ImportedType,
    ImportedVersion, NewSchema, NotDone, Tenant, Upcaster,
};
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
fn projections_are_readers() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for kind in ["order.placed", "order.paid", "order.lost.v3", "customer.moved"] {
        publish(&tenant, "/shop", kind, 1);
    }
    let projection = |name: &str, on: &str| {
        let text = format!(r#"{{"projection":"{name}","tables":"create table t (a)","on":{on}}}"#);
        tenant.release_projection(serde_json::from_str(&text).unwrap()).unwrap();
    };
    projection(
        "orders",
        r#"{"order.placed":"delete from t","order.lost":"delete from t","cart.left":"delete from t"}"#,
    );
    projection("large", r#"{"order.*":{"when":{"data":{"total":[5]}},"do":["delete from t"]}}"#);
    projection("all", r#"{"*":"delete from t"}"#);
    let takes = |kind: &str| {
        let consumers = line(&tenant, kind).consumers.into_iter();
        consumers.map(|of| (of.name["projections/".len()..].to_owned(), of.takes.unwrap())).collect::<Vec<_>>()
    };
    let of = |all: &[(&str, Takes)]| all.iter().map(|(name, takes)| ((*name).to_owned(), *takes)).collect::<Vec<_>>();
    assert_eq!(takes("order.placed"), of(&[("all", Takes::All), ("large", Takes::Some), ("orders", Takes::All)]));
    assert_eq!(takes("order.paid"), of(&[("all", Takes::All), ("large", Takes::Some)]));
    assert_eq!(takes("order.lost"), of(&[("all", Takes::All), ("large", Takes::Some), ("orders", Takes::All)]));
    assert_eq!(takes("customer.moved"), of(&[("all", Takes::All)]));
    // One that is asked for and was never published is there.
    assert!(line(&tenant, "cart.left").findings.contains(&Finding::Unpublished));
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

fn version(version: u32, text: &str) -> ImportedVersion {
    let schema = NewSchema { version: Some(version), text: text.to_owned(), ..NewSchema::default() };
    ImportedVersion { schema, deprecated: None }
}

fn types<const N: usize>(types: [(&str, Vec<ImportedVersion>); N]) -> BTreeMap<String, ImportedType> {
    let imported = |versions| ImportedType { versions, declaration: declared(&["/import"], &[]) };
    types.into_iter().map(|(kind, versions)| (kind.to_owned(), imported(versions))).collect()
}

const TOTAL: &str = r#"{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]}"#;
const CENTS: &str = r#"{"type":"object","properties":{"cents":{"type":"number"}},"required":["cents"]}"#;

fn refused(part: &ImportedPart) -> bool {
    matches!(part.outcome, ImportOutcome::Refused(_))
}

/// Imports of which parts are refused, for what is there and for what comes before them in the import.
fn imports() -> Vec<(BTreeMap<String, ImportedType>, Vec<bool>)> {
    let with = |of: ImportedVersion, change: fn(&mut ImportedVersion)| {
        let mut of = of;
        change(&mut of);
        of
    };
    let upcast = |of: ImportedVersion| {
        with(of, |of| of.schema.upcaster = Some(Upcaster::Jq("{cents: (.total * 100)}".to_owned())))
    };
    let broken = |of: ImportedVersion| with(of, |of| of.schema.examples = vec![serde_json::json!({"total": "much"})]);
    let noted = |of: ImportedVersion| with(of, |of| of.deprecated = Some("x".repeat(5_000)));
    let mut crowded = types([("a.b", vec![version(1, TOTAL)])]);
    let many = (0..65).map(|number| format!("/s{number}")).collect();
    crowded.get_mut("a.b").unwrap().declaration.publishers = many;
    vec![
        (types([("a.b", vec![version(1, TOTAL), version(2, CENTS)])]), vec![false, true, false]),
        (types([("a.b", vec![version(1, TOTAL), upcast(version(2, CENTS))])]), vec![false, false, false]),
        (
            types([("a.b", vec![version(1, TOTAL), broken(version(2, TOTAL)), version(3, TOTAL)])]),
            vec![false, true, false, false],
        ),
        (types([("a.b", vec![noted(version(1, TOTAL))])]), vec![true, false]),
        (
            types([("a.b", vec![version(1, "{\"type\":5}")]), ("c.d", vec![version(7, CENTS)])]),
            vec![true, false, false, false],
        ),
        (
            types([("old.known", vec![version(1, TOTAL)]), ("old.other", vec![version(1, CENTS)])]),
            vec![false, false, true, false],
        ),
        (types([("old.stored", vec![version(1, TOTAL), version(2, CENTS)])]), vec![false, true, false]),
        (types([("a.b.v2", vec![version(1, TOTAL)])]), vec![true, true]),
        (crowded, vec![false, true]),
    ]
}

/// A tenant in which some of that is there.
fn before_imports(folder: &Path) -> Arc<Tenant> {
    let tenant = open(folder, small()).unwrap();
    for kind in ["old.known", "old.other"] {
        tenant.register_schema(kind, version(1, TOTAL).schema).unwrap();
    }
    publish(&tenant, "/s", "old.stored", 3);
    tenant
}

#[test]
fn a_dry_run_says_what_the_import_then_says_and_changes_nothing() {
    for (types, expected) in imports() {
        let folder = TempDir::new().unwrap();
        let tenant = before_imports(folder.path());
        let (commits, before) = (tenant.stats().unwrap().commits, shown(&tenant));
        let foreseen = tenant.foresee_import(&types).unwrap();
        assert_eq!((tenant.stats().unwrap().commits, shown(&tenant)), (commits, before));
        let taken = tenant.import_types(&types).unwrap();
        assert_eq!(foreseen, taken);
        assert_eq!(taken.iter().map(refused).collect::<Vec<_>>(), expected, "{taken:?}");
    }
}

#[test]
fn an_import_is_one_commit_and_the_same_again_is_none() {
    for (types, _) in imports() {
        let folder = TempDir::new().unwrap();
        let tenant = before_imports(folder.path());
        let commits = tenant.stats().unwrap().commits;
        let taken = tenant.import_types(&types).unwrap();
        let is_new = |part: &ImportedPart| part.outcome == ImportOutcome::New;
        let after = commits + u64::from(taken.iter().any(is_new));
        assert_eq!(tenant.stats().unwrap().commits, after);
        let again = tenant.import_types(&types).unwrap();
        assert!(!again.iter().any(is_new), "{again:?}");
        assert_eq!(taken.iter().map(refused).collect::<Vec<_>>(), again.iter().map(refused).collect::<Vec<_>>());
        assert_eq!(tenant.stats().unwrap().commits, after);
        let before = shown(&tenant);
        tenant.close().unwrap();
        drop(tenant);
        assert_eq!(shown(&open(folder.path(), small()).unwrap()), before, "it is in the log");
    }
}

#[test]
fn an_import_is_held_to_what_comes_beside_it() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let tenant = &tenant;
            scope.spawn(move || {
                for round in 0..10 {
                    let (own, shared) = (format!("own.t{thread}-{round}"), format!("shared.t{round}"));
                    // One of the four is first, and the others find another schema or the same there.
                    let text = if thread % 2 == 0 { TOTAL } else { CENTS };
                    let both = types([(own.as_str(), vec![version(1, TOTAL)]), (&shared, vec![version(1, text)])]);
                    tenant.import_types(&both).unwrap();
                    tenant.register_schema(&format!("beside.t{thread}-{round}"), version(1, TOTAL).schema).unwrap();
                }
            });
        }
    });
    let all = tenant.schemas(None, 1_000).types;
    assert_eq!(all.len(), 4 * 10 + 10 + 4 * 10);
    assert!(all.iter().all(|of| of.versions.len() == 1));
    assert_eq!(kinds(&tenant).len(), 90);
}

#[test]
fn versions_say_what_turns_the_data_of_the_one_before() {
    let folder = TempDir::new().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let mut second = version(2, CENTS).schema;
    second.upcaster = Some(Upcaster::Jq("{cents: (.total * 100)}".to_owned()));
    tenant.register_schema("a.b", version(1, TOTAL).schema).unwrap();
    tenant.register_schema("a.b", second).unwrap();
    publish(&tenant, "/s", "a.b.v3", 1);
    let upcasters: Vec<_> =
        line(&tenant, "a.b").versions.iter().map(|of| of.upcaster.as_ref().map(Upcaster::as_str)).collect();
    assert_eq!(upcasters, [None, Some("jq"), None]);
}
