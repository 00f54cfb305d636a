//! Schemas as a tenant keeps them: registered, held to, compared, also after a restart and against stored events.

use std::path::Path;
use std::sync::Arc;

use quipu_domain::schema::compatibility::{Answer, Level};
use quipu_domain::schema::{Enforcement, SchemaRules, UnknownTypes};
use quipu_domain::{Event, Refusal};
use quipu_engine::{Append, Engine, NewSchema, NotAppended, NotDone, Published, SCHEMA_MARK, SchemaRefusal, Tenant};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{engine, small};

const ORDER: &str = r#"{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]}"#;

pub fn open(folder: &Path) -> (Engine, Arc<Tenant>) {
    let engine = engine(folder, small());
    let tenant = engine.tenant("t").unwrap();
    (engine, tenant)
}

pub fn new(text: &str) -> NewSchema {
    NewSchema { text: text.into(), ..NewSchema::default() }
}

fn rules(enforcement: Enforcement) -> SchemaRules {
    SchemaRules { enforcement: Some(enforcement), ..SchemaRules::default() }
}

pub fn publish(tenant: &Arc<Tenant>, id: &str, kind: &str, data: &str) -> Published {
    let event = Event::builder(id, "/shop", kind).subject("order/1").json(data.to_owned()).build().unwrap();
    tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).unwrap().pop().unwrap()
}

fn is_recorded(published: &Published) -> bool {
    matches!(published, Published::Recorded(_))
}

pub fn refusal<T: std::fmt::Debug>(result: Result<T, NotDone>) -> SchemaRefusal {
    match result {
        Err(NotDone::RefusedSchema(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_schema_is_there_after_a_restart_and_the_same_again_is_the_same() {
    let folder = TempDir::new().unwrap();
    {
        let (_engine, tenant) = open(folder.path());
        let first = tenant.register_schema("order.placed", new(ORDER)).unwrap();
        assert_eq!((first.schema.version, first.schema.id, first.is_known), (1, 1, false));
        let spaced = ORDER.replace(':', " : ");
        let again = tenant.register_schema("order.placed", new(&spaced)).unwrap();
        assert_eq!((again.schema.version, again.is_known), (1, true));
        let other = tenant.register_schema("order.paid", new(ORDER)).unwrap();
        assert_eq!((other.schema.id, other.schema.version), (1, 1), "the same text has the same number");
        tenant.set_schema_rules(None, rules(Enforcement::Enforce)).unwrap();
        tenant.deprecate_schema("order.paid", 1, Some("nobody pays".into())).unwrap();
    }
    for _ in 0..2 {
        let (_engine, tenant) = open(folder.path());
        let all = tenant.schemas(None, 9).types;
        assert_eq!(all.iter().map(|of| of.kind.as_str()).collect::<Vec<_>>(), ["order.paid", "order.placed"]);
        assert_eq!(all[0].versions[0].deprecated.as_deref(), Some("nobody pays"));
        assert_eq!(tenant.schema("order.placed", 1).unwrap().text, ORDER);
        assert_eq!(tenant.schema_rules().enforcement, Some(Enforcement::Enforce));
        assert!(matches!(publish(&tenant, "x", "order.placed", "{}"), Published::Refused(_)));
        // The second time from a snapshot.
        tenant.maintain().unwrap();
    }
}

#[test]
fn types_are_listed_page_by_page_and_a_page_ends_where_much_is_said() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    let kinds: Vec<_> = (0..9).map(|n| format!("a{n}.b")).collect();
    for kind in kinds.iter().rev() {
        tenant.register_schema(kind, new(ORDER)).unwrap();
    }
    let mut pages = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = tenant.schemas(after.as_deref(), 4);
        pages.push(page.types.iter().map(|of| of.kind.clone()).collect::<Vec<_>>());
        after = page.types.last().map(|of| of.kind.clone());
        if !page.has_more {
            break;
        }
    }
    assert_eq!(pages, [&kinds[..4], &kinds[4..8], &kinds[8..]]);
    // A mebibyte of descriptions: the page ends behind the type that reaches it, and the next one goes on.
    for version in 2..=300 {
        let text = format!(r#"{{"title":"{version}"}}"#);
        let description = Some("x".repeat(4_000));
        tenant.register_schema("a1.b", NewSchema { description, ..new(&text) }).unwrap();
    }
    let page = tenant.schemas(None, 9);
    assert_eq!((page.types.len(), page.has_more), (2, true));
    assert_eq!(tenant.schemas(Some("a1.b"), 9).types.len(), 7);
}

#[test]
fn data_that_breaks_its_schema_is_refused_marked_or_taken_as_the_rules_say() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("order.placed", new(ORDER)).unwrap();
    let bad = r#"{"total":"5"}"#;
    assert!(is_recorded(&publish(&tenant, "1", "order.placed", bad)), "nobody looks by default");
    tenant.set_schema_rules(Some("order.placed"), rules(Enforcement::Enforce)).unwrap();
    let Published::Refused(Refusal::BreaksSchema { schema, violations, .. }) =
        publish(&tenant, "2", "order.placed.v1", bad)
    else {
        panic!()
    };
    assert_eq!((schema.as_str(), violations[0].pointer.as_str()), ("order.placed.v1", "/total"));
    assert!(is_recorded(&publish(&tenant, "2", "order.placed", r#"{"total":5}"#)));
    // What was recorded before is answered as it was, and not held to what came later.
    assert!(matches!(publish(&tenant, "1", "order.placed", bad), Published::Duplicate(_)));
    tenant.set_schema_rules(Some("order.placed"), rules(Enforcement::Warn)).unwrap();
    let Published::Recorded(place) = publish(&tenant, "3", "order.placed", bad) else { panic!() };
    let recorded = tenant.event_at(place.position).unwrap().unwrap();
    assert_eq!(recorded.event().attribute(SCHEMA_MARK), Some("#/total"));
    let of = tenant.schema_type("order.placed").unwrap();
    assert_eq!((of.refused, of.marked), (1, 1));
    // A version without a schema, and a type without one.
    assert!(is_recorded(&publish(&tenant, "4", "order.placed.v2", "{}")));
    tenant
        .set_schema_rules(None, SchemaRules { unknown: Some(UnknownTypes::Refuse), ..SchemaRules::default() })
        .unwrap();
    for (id, kind, known) in [("5", "order.placed.v2", vec![1]), ("6", "order.place", vec![])] {
        let Published::Refused(Refusal::NoSchema { known: found, .. }) = publish(&tenant, id, kind, "{}") else {
            panic!()
        };
        assert_eq!(found, known);
    }
    // An append is refused as a whole, and says which event it was.
    tenant.set_schema_rules(None, rules(Enforcement::Enforce)).unwrap();
    tenant.set_schema_rules(Some("order.placed"), SchemaRules::default()).unwrap();
    let events = [r#"{"total":1}"#, "{}"].map(|data| {
        let event = Event::builder(data, "/shop", "order.placed").subject("order/2").json(data).build().unwrap();
        tenant.prepare(&event, None).unwrap()
    });
    let refused = tenant.append_wait(Append { events: events.into(), ..Append::default() });
    assert!(matches!(refused, Err(NotAppended::Refused(Refusal::BreaksSchema { index: 1, .. }))), "{refused:?}");
}

#[test]
fn an_event_that_was_prepared_before_the_rules_changed_is_held_to_those_that_are() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("order.placed", new(ORDER)).unwrap();
    let event = Event::builder("1", "/shop", "order.placed").subject("order/1").json("{}").build().unwrap();
    let early = tenant.prepare(&event, None).unwrap();
    tenant.set_schema_rules(None, rules(Enforcement::Enforce)).unwrap();
    let refused = tenant.publish_wait(vec![early]).unwrap().pop().unwrap();
    assert!(matches!(refused, Published::Refused(Refusal::BreaksSchema { .. })), "{refused:?}");
    // And the other way round.
    let late = tenant.prepare(&event, None).unwrap();
    tenant.set_schema_rules(None, rules(Enforcement::Off)).unwrap();
    assert!(is_recorded(&tenant.publish_wait(vec![late]).unwrap().pop().unwrap()));
}

#[test]
fn a_new_version_is_held_to_those_before_it_and_to_what_is_stored() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("order.placed", new(ORDER)).unwrap();
    for (id, data) in [("1", r#"{"total":1}"#), ("2", r#"{"total":2}"#)] {
        publish(&tenant, id, "order.placed", data);
    }
    let wider =
        r#"{"type":"object","properties":{"total":{"type":"number"},"note":{"type":"string"}},"required":["total"]}"#;
    let narrower = r#"{"type":"object","properties":{"total":{"type":"string"}},"required":["total"]}"#;
    let SchemaRefusal::Incompatible(why) = refusal(tenant.register_schema("order.placed", new(narrower))) else {
        panic!()
    };
    assert_eq!((why.name.as_str(), why.checked.level), ("order.placed.v2", Level::Backward));
    assert_eq!((why.checked.verdict.answer, why.checked.verdict.breaks[0].pointer.as_str()), (Answer::No, "/total"));
    let stored = why.checked.stored.as_ref().unwrap();
    assert_eq!((stored.events, stored.breaking, stored.first[0].0), (2, 2, 1));
    assert_eq!(tenant.schema_type("order.placed").unwrap().versions.len(), 1, "nothing is registered");
    let second = tenant.register_schema("order.placed", new(wider)).unwrap();
    assert_eq!((second.schema.version, second.schema.id), (2, 2));
    let (from, to, changes) = tenant.diff_schemas("order.placed", None, None).unwrap();
    assert_eq!((from, to, changes[0].path.as_str()), (1, 2, "/note"));
    // Whoever wants no such care says so.
    let none = SchemaRules { compatibility: Some(Level::None), ..SchemaRules::default() };
    tenant.set_schema_rules(Some("order.placed"), none).unwrap();
    assert_eq!(tenant.register_schema("order.placed", new(narrower)).unwrap().schema.version, 3);
}

#[test]
fn what_is_used_is_neither_changed_nor_removed() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("order.address", new(r#"{"type":"object","required":["city"]}"#)).unwrap();
    let refers = r#"{"type":"object","properties":{"to":{"$ref":"quipu:order.address.v1"}}}"#;
    tenant.register_schema("order.sent", new(refers)).unwrap();
    let by = |result| match refusal::<()>(result) {
        SchemaRefusal::InUse { by, .. } => by,
        other => panic!("{other:?}"),
    };
    assert_eq!(by(tenant.remove_schema("order.address", 1)), "the schema order.sent.v1");
    publish(&tenant, "1", "order.sent", "{}");
    assert_eq!(by(tenant.remove_schema("order.sent", 1)), "the event at position 1");
    let changed = NewSchema { version: Some(1), ..new(ORDER) };
    assert!(matches!(refusal(tenant.register_schema("order.sent", changed)), SchemaRefusal::Exists { .. }));
    tenant.register_schema("order.kept", new(ORDER)).unwrap();
    tenant.remove_schema("order.kept", 1).unwrap();
    assert!(matches!(refusal(tenant.schema("order.kept", 1)), SchemaRefusal::NotFound { .. }));
    let kept = tenant.register_schema("order.kept", new("{}")).unwrap();
    assert_eq!(kept.schema.version, 2, "no number is used twice");
    // However it is called.
    let escaped = r#"{"properties":{"to":{"$ref":"quipu:order.kept.v\u0032"}}}"#;
    tenant.register_schema("order.escaped", new(escaped)).unwrap();
    assert_eq!(by(tenant.remove_schema("order.kept", 2)), "the schema order.escaped.v1");
    let unsaid = r#"{"properties":{"to":{"$ref":"quipu:order.address"}}}"#;
    tenant.register_schema("order.unsaid", new(unsaid)).unwrap();
    let references = [("kept".to_owned(), "order.kept.v2".to_owned())].into();
    let named = NewSchema { references, ..new(r#"{"properties":{"to":{"$ref":"kept"}}}"#) };
    tenant.register_schema("order.named", named).unwrap();
    // What is referred to holds too, and one text has all of it.
    tenant.set_schema_rules(None, rules(Enforcement::Enforce)).unwrap();
    let refused = publish(&tenant, "2", "order.sent", r#"{"to":{}}"#);
    assert!(
        matches!(&refused, Published::Refused(Refusal::BreaksSchema { violations, .. }) if violations[0].pointer == "/to/city"),
        "{refused:?}"
    );
    assert!(!tenant.bundled_schema("order.sent", 1).unwrap().to_string().contains("quipu:order.address.v1\"}"));
}

/// Lists in lists.
fn nested(levels: usize) -> serde_json::Value {
    (0..levels).fold(json!([]), |inner, _| json!([inner]))
}

#[test]
fn what_makes_no_sense_is_not_registered() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    for (kind, new) in [
        ("order.placed.v2", new(ORDER)),
        ("", new(ORDER)),
        ("a b", new(ORDER)),
        ("order.placed", new(r#"{"type":"money"}"#)),
        ("order.placed", new(r#"{"$ref":"quipu:order.address.v1"}"#)),
        ("order.placed", new(r#"{"$ref":"https://example.com/schema.json"}"#)),
        ("order.placed", NewSchema { examples: vec![json!({"total":"5"})], ..new(ORDER) }),
        ("order.placed", NewSchema { examples: vec![nested(70)], ..new("{}") }),
        ("order.placed", NewSchema { version: Some(u32::MAX), ..new(ORDER) }),
        ("order.placed", NewSchema { owner: Some("x".repeat(1_000)), ..new(ORDER) }),
    ] {
        refusal(tenant.register_schema(kind, new));
    }
    assert!(tenant.schemas(None, 1).types.is_empty());
}

#[test]
fn a_schema_is_proposed_from_what_was_published() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    assert!(matches!(refusal(tenant.infer_schema("order.placed")), SchemaRefusal::NotFound { .. }));
    for (id, data) in [("1", r#"{"total":1,"note":"x"}"#), ("2", r#"{"total":2.5}"#)] {
        publish(&tenant, id, "order.placed", data);
    }
    let (count, schema) = tenant.infer_schema("order.placed").unwrap();
    assert_eq!((count, &schema["required"]), (2, &json!(["total"])));
    let registered = tenant.register_schema("order.placed", new(&schema.to_string())).unwrap();
    assert_eq!(registered.schema.version, 1);
    tenant.set_schema_rules(None, rules(Enforcement::Enforce)).unwrap();
    assert!(is_recorded(&publish(&tenant, "3", "order.placed", r#"{"total":7}"#)));
    assert!(matches!(publish(&tenant, "4", "order.placed", r#"{"note":"x"}"#), Published::Refused(_)));
}

/// The webhooks of GitHub, as they are published.
fn webhooks() -> Vec<Event<'static>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/github/events.ndjson");
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(|line| quipu_domain::parse_event(line.as_bytes()).unwrap().event.into_owned()).collect()
}

fn publish_event(tenant: &Arc<Tenant>, event: &Event<'_>) -> Published {
    tenant.publish_wait(vec![tenant.prepare(event, None).unwrap()]).unwrap().pop().unwrap()
}

#[test]
fn schemas_learned_from_webhooks_take_all_of_them_and_no_mutant() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let (_engine, teacher) = open(folders[0].path());
    let (_other, tenant) = open(folders[1].path());
    let events = webhooks();
    for event in &events {
        assert!(!matches!(publish_event(&teacher, event), Published::Refused(_)));
    }
    let kinds: std::collections::BTreeSet<_> = events.iter().map(Event::kind).collect();
    assert_eq!((events.len(), kinds.len()), (329, 161));
    for kind in &kinds {
        let (_, schema) = teacher.infer_schema(kind).unwrap();
        tenant.register_schema(kind, new(&schema.to_string())).unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    let all = SchemaRules { unknown: Some(UnknownTypes::Refuse), ..rules(Enforcement::Enforce) };
    tenant.set_schema_rules(None, all).unwrap();
    for event in &events {
        let published = publish_event(&tenant, event);
        assert!(!matches!(published, Published::Refused(_)), "{}: {published:?}", event.kind());
    }
    assert_eq!(tenant.position(), 324);
    let mut mutants = 0;
    for kind in kinds {
        let event = events.iter().find(|event| event.kind() == kind).unwrap();
        let quipu_domain::Data::Json(text) = event.data() else { panic!("{kind}") };
        let mut data: serde_json::Value = serde_json::from_str(text).unwrap();
        // A field that is always there is something else now.
        let (_, schema) = teacher.infer_schema(kind).unwrap();
        let field = schema["required"][0].as_str().unwrap().to_owned();
        data[field.as_str()] = match &data[field.as_str()] {
            serde_json::Value::Array(_) => json!("x"),
            _ => json!([]),
        };
        let mutant = Event::builder(format!("mutant-{kind}"), "/test", kind).json(data.to_string()).build().unwrap();
        let published = publish_event(&tenant, &mutant);
        let Published::Refused(Refusal::BreaksSchema { violations, .. }) = published else {
            panic!("{kind}: {published:?}")
        };
        let pointers: Vec<_> = violations.iter().map(|one| one.pointer.as_str()).collect();
        assert_eq!(pointers, [format!("/{field}")], "{kind}");
        mutants += 1;
    }
    assert_eq!((mutants, tenant.position()), (161, 324));
}

#[test]
fn a_schema_is_found_by_what_it_is_and_said_to_be_used_by_what_refers_to_it() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("address", new(r#"{"type":"string"}"#)).unwrap();
    let references = [("a.json".to_owned(), "address.v1".to_owned())].into();
    let text = r#"{"type":"object","properties":{"to":{"$ref":"a.json"},"from":{"$ref":"quipu:address"}}}"#;
    let parcel = NewSchema { references, ..new(text) };
    assert!(tenant.find_schema("parcel", &parcel).unwrap().is_none());
    let registered = tenant.register_schema("parcel", parcel.clone()).unwrap().schema;
    let spaced = NewSchema { text: parcel.text.replace(',', " , "), ..parcel };
    assert_eq!(tenant.find_schema("parcel", &spaced).unwrap().unwrap().id, registered.id);
    assert!(tenant.find_schema("address", &spaced).unwrap().is_none());
    let found = tenant.schema_references("parcel", 1).unwrap();
    let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.kind.as_str(), one.version)).collect();
    assert_eq!(found, [("a.json", "address", 1), ("quipu:address", "address", 1)]);
    let entries = tenant.schema_entries(None);
    let entries: Vec<_> = entries.iter().map(|one| (one.kind.as_str(), one.version, one.id)).collect();
    assert_eq!(entries, [("address", 1, 1), ("parcel", 1, 2)]);
    let found = tenant.schema_entries_with_id(2);
    assert_eq!((found.len(), found[0].kind.as_str()), (1, "parcel"));
    assert_eq!(tenant.schema_entries(Some("parcel"))[0].uses, ["address.v1"; 2]);
    assert!(matches!(refusal(tenant.schema_references("parcel", 2)), SchemaRefusal::NotFound { .. }));
}

#[test]
fn a_schema_is_compared_with_the_version_that_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    let rules = SchemaRules { compatibility: Some(Level::None), ..SchemaRules::default() };
    tenant.set_schema_rules(None, rules).unwrap();
    let texts = r#"{"type":"object","properties":{"total":{"type":"string"}}}"#;
    for text in [ORDER, texts] {
        tenant.register_schema("order.placed", new(text)).unwrap();
    }
    assert_eq!(tenant.set_schema_level(None, Some(Level::Backward)).unwrap(), Some(Level::None));
    let answer = |version| tenant.check_schema_with("order.placed", version, &new(ORDER)).unwrap().verdict.answer;
    assert_eq!((answer(1), answer(2)), (Answer::Yes, Answer::No));
    assert!(matches!(
        refusal(tenant.check_schema_with("order.placed", 3, &new(ORDER))),
        SchemaRefusal::NotFound { .. }
    ));
}

#[test]
fn a_level_is_changed_without_the_other_rules() {
    let folder = TempDir::new().unwrap();
    {
        let (_engine, tenant) = open(folder.path());
        tenant.set_schema_rules(Some("order.placed"), rules(Enforcement::Enforce)).unwrap();
        assert_eq!(tenant.set_schema_level(Some("order.placed"), Some(Level::Full)).unwrap(), None);
        assert_eq!(tenant.schema_level(Some("order.placed")), Level::Full);
        assert_eq!(
            (tenant.schema_level(None), tenant.schema_level(Some("order.moved"))),
            (Level::Backward, Level::Backward)
        );
    }
    let (_engine, tenant) = open(folder.path());
    let expected = SchemaRules { compatibility: Some(Level::Full), ..rules(Enforcement::Enforce) };
    assert_eq!(tenant.schema_type_rules("order.placed"), expected);
    assert_eq!(tenant.set_schema_level(Some("order.placed"), None).unwrap(), Some(Level::Full));
    assert_eq!(tenant.schema_type_rules("order.placed"), rules(Enforcement::Enforce));
}

#[test]
fn versions_are_removed_or_deprecated_together_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("address", new(r#"{"type":"string"}"#)).unwrap();
    tenant.register_schema("address", new(r#"{"type":["string","null"]}"#)).unwrap();
    tenant.register_schema("order.placed", new(ORDER)).unwrap();
    let uses = r#"{"type":"object","properties":{"to":{"$ref":"quipu:order.placed.v1"},"total":{"type":"number"}}}"#;
    tenant.register_schema("order.placed", new(uses)).unwrap();
    let versions = |kind: &str| tenant.schema_entries(Some(kind)).iter().map(|one| one.version).collect::<Vec<_>>();
    let reason = || Some("old".to_owned());
    let deprecate = |versions: [u32; 2]| tenant.deprecate_schemas("address", &versions.map(|one| (one, reason())));
    assert!(matches!(refusal(deprecate([1, 3])), SchemaRefusal::NotFound { .. }));
    assert!(tenant.schema_entries(Some("address")).iter().all(|one| one.deprecated.is_none()));
    deprecate([1, 2]).unwrap();
    assert!(tenant.schema_entries(Some("address")).iter().all(|one| one.deprecated == reason()));
    // One that an event has keeps the others.
    assert!(is_recorded(&publish(&tenant, "1", "address.v2", r#""x""#)));
    assert!(matches!(refusal(tenant.remove_schemas("address", &[1, 2])), SchemaRefusal::InUse { .. }));
    assert_eq!(versions("address"), [1, 2]);
    // One that another refers to goes with it, and not alone.
    assert!(matches!(refusal(tenant.remove_schemas("order.placed", &[1])), SchemaRefusal::InUse { .. }));
    tenant.remove_schemas("order.placed", &[1, 2]).unwrap();
    assert!(versions("order.placed").is_empty());
}

#[test]
fn an_event_that_was_prepared_before_its_rules_changed_has_the_mark_that_they_ask_for() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("order.placed", new(ORDER)).unwrap();
    let prepared = |id: &str| {
        let event = Event::builder(id, "/shop", "order.placed").json("{}").build().unwrap();
        tenant.prepare(&event, None).unwrap()
    };
    let mark = |event| {
        let published = tenant.publish_wait(vec![event]).unwrap().pop().unwrap();
        let Published::Recorded(place) = published else { panic!("{published:?}") };
        let recorded = tenant.event_at(place.position).unwrap().unwrap();
        recorded.event().attribute(SCHEMA_MARK).map(str::to_owned)
    };
    let without = prepared("1");
    tenant.set_schema_rules(None, rules(Enforcement::Warn)).unwrap();
    assert_eq!(mark(without).as_deref(), Some("#/total"));
    let (with, appended) = (prepared("2"), prepared("3"));
    tenant.set_schema_rules(None, rules(Enforcement::Off)).unwrap();
    assert_eq!(mark(with), None);
    tenant.set_schema_rules(None, rules(Enforcement::Warn)).unwrap();
    let append = Append { events: vec![appended, prepared("4")], ..Append::default() };
    let places = tenant.append_wait(append).unwrap().events;
    for place in places {
        let recorded = tenant.event_at(place.position).unwrap().unwrap();
        assert_eq!(recorded.event().attribute(SCHEMA_MARK), Some("#/total"));
    }
    assert_eq!(tenant.schema_type("order.placed").unwrap().marked, 3);
}

#[test]
fn a_version_is_not_removed_while_an_event_of_it_is_on_its_way() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    // So that whatever is of a version without a schema was recorded while it had one.
    tenant
        .set_schema_rules(None, SchemaRules { unknown: Some(UnknownTypes::Refuse), ..SchemaRules::default() })
        .unwrap();
    for round in 0..200 {
        let kind = format!("t.a{round}");
        tenant.register_schema(&kind, new(ORDER)).unwrap();
        let event = Event::builder("1", format!("/{round}"), kind.clone()).json(r#"{"total":1}"#).build().unwrap();
        let begin = std::sync::Barrier::new(2);
        let (published, gone) = std::thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                begin.wait();
                for _ in 0..round % 10 {
                    std::hint::spin_loop();
                }
                let prepared = tenant.prepare(&event, None).unwrap();
                tenant.publish_wait(vec![prepared]).unwrap().pop().unwrap()
            });
            begin.wait();
            let gone = tenant.remove_schema(&kind, 1).is_ok();
            (publisher.join().unwrap(), gone)
        });
        assert_eq!(is_recorded(&published), !gone, "round {round}: {published:?}");
    }
}
