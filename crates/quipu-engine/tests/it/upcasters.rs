//! Upcasters: registered with what they are held against, and read through by readers and subscriptions. What is stored stays.

use std::sync::Arc;

use quipu_domain::schema::{SchemaRules, SchemaVersion, compatibility::Level};
use quipu_domain::{Data, Subscription};
use quipu_engine::{
    Answer, DeadLetterFilter, NewSchema, NotDone, Recorded, SchemaRefusal, Tenant, UpcastReason, Upcaster,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::schemas::{new, open, publish, refusal};

/// Amounts were numbers of a currency, then cents, then objects.
const FIRST: &str = r#"{"type":"object","properties":{"total":{"type":"number"}},"required":["total"]}"#;
const SECOND: &str = r#"{"type":"object","properties":{"cents":{"type":"integer"}},"required":["cents"]}"#;
const THIRD: &str = r#"{"type":"object","properties":{"amount":{"type":"object","properties":{"cents":{"type":"integer"}},
    "required":["cents"]}},"required":["amount"]}"#;
const TO_CENTS: &str = "{cents: (.total * 100 | round)}";

fn jq(text: &str) -> Option<Upcaster> {
    Some(Upcaster::Jq(text.into()))
}

fn with(text: &str, upcaster: Option<Upcaster>) -> NewSchema {
    NewSchema { upcaster, ..new(text) }
}

fn attach(tenant: &Tenant) {
    let function = |value: Value| match value["cents"].as_i64() {
        Some(cents) if cents >= 0 => Ok(json!({ "amount": { "cents": cents } })),
        _ => Err(format!("expected cents, found {value}")),
    };
    tenant.attach_upcaster("wrap", Arc::new(function));
}

/// Three versions of one type, an event of each, and both kinds of upcasters.
fn three(tenant: &Arc<Tenant>) {
    attach(tenant);
    tenant.register_schema("order.placed", new(FIRST)).unwrap();
    publish(tenant, "1", "order.placed", r#"{"total":1.5}"#);
    tenant.register_schema("order.placed", with(SECOND, jq(TO_CENTS))).unwrap();
    publish(tenant, "2", "order.placed.v2", r#"{"cents":25}"#);
    tenant.register_schema("order.placed", with(THIRD, Some(Upcaster::Function("wrap".into())))).unwrap();
    publish(tenant, "3", "order.placed.v3", r#"{"amount":{"cents":7}}"#);
}

fn at(tenant: &Arc<Tenant>, position: u64) -> Recorded {
    tenant.event_at(position).unwrap().unwrap()
}

fn read(tenant: &Arc<Tenant>, position: u64, version: SchemaVersion) -> (String, Value) {
    let turned = tenant.upcast(at(tenant, position), version).unwrap();
    assert_eq!(turned.stamp.position, position);
    seen(&turned)
}

fn seen(recorded: &Recorded) -> (String, Value) {
    let event = recorded.event();
    let Data::Json(text) = event.data() else { panic!("{event:?}") };
    (event.kind().to_owned(), serde_json::from_str(text).unwrap())
}

#[test]
fn readers_take_a_version_and_what_is_stored_stays() {
    let folder = TempDir::new().unwrap();
    let (engine, tenant) = open(folder.path());
    three(&tenant);
    let table = [
        (1, SchemaVersion::Stored, "order.placed", json!({"total": 1.5})),
        (1, SchemaVersion::At(1), "order.placed", json!({"total": 1.5})),
        (1, SchemaVersion::At(2), "order.placed.v2", json!({"cents": 150})),
        (1, SchemaVersion::At(3), "order.placed.v3", json!({"amount": {"cents": 150}})),
        (1, SchemaVersion::At(99), "order.placed.v3", json!({"amount": {"cents": 150}})),
        (1, SchemaVersion::Newest, "order.placed.v3", json!({"amount": {"cents": 150}})),
        (2, SchemaVersion::At(1), "order.placed.v2", json!({"cents": 25})),
        (2, SchemaVersion::Newest, "order.placed.v3", json!({"amount": {"cents": 25}})),
        (3, SchemaVersion::Newest, "order.placed.v3", json!({"amount": {"cents": 7}})),
    ];
    for (position, version, kind, data) in &table {
        assert_eq!(read(&tenant, *position, *version), ((*kind).to_owned(), data.clone()), "{position} as {version}");
    }
    assert_eq!(seen(&at(&tenant, 1)).1, json!({"total": 1.5}));
    let verified = tenant.verify_schema("order.placed", SchemaVersion::Newest, 0).unwrap();
    assert_eq!((verified.version, verified.events, verified.earlier, verified.failed), (3, 3, 2, 0), "{verified:?}");
    drop(tenant);
    drop(engine);

    // The log has the expression, and of the function its name.
    let (_engine, tenant) = open(folder.path());
    assert_eq!(read(&tenant, 1, SchemaVersion::At(2)).1, json!({"cents": 150}));
    let SchemaRefusal::NotUpcast { position, failure, .. } =
        refusal(tenant.upcast(at(&tenant, 1), SchemaVersion::Newest))
    else {
        panic!("nobody has attached it");
    };
    assert_eq!((position, failure.version, failure.reason), (1, 3, UpcastReason::NotAttached("wrap".into())));
    attach(&tenant);
    assert_eq!(read(&tenant, 1, SchemaVersion::Newest).1, json!({"amount": {"cents": 150}}));
}

#[test]
fn a_version_that_does_not_read_what_was_written_needs_an_upcaster_that_does() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    let first = NewSchema { examples: vec![json!({"total": 2}), json!({"total": -3})], ..new(FIRST) };
    tenant.register_schema("order.placed", first).unwrap();
    for (id, total) in [("a", "1"), ("b", "1e300"), ("c", "2")] {
        publish(&tenant, id, "order.placed", &format!(r#"{{"total":{total}}}"#));
    }
    let incompatible = refusal(tenant.register_schema("order.placed", new(SECOND)));
    assert!(matches!(incompatible, SchemaRefusal::Incompatible(_)), "{incompatible}");

    // It is held against every example and every stored event.
    let small = r#"{"type":"object","properties":{"cents":{"type":"integer","minimum":0,"maximum":1000}},"required":["cents"]}"#;
    let fails = refusal(tenant.register_schema("order.placed", with(small, jq(TO_CENTS))));
    let SchemaRefusal::UpcasterFails { name, checked } = &fails else { panic!("{fails}") };
    assert_eq!((name.as_str(), checked.events, checked.failed, checked.examples), ("order.placed.v2", 3, 1, 2));
    assert_eq!(checked.first.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [2]);
    assert!(matches!(&checked.failed_examples[..], [(1, 1, failure)] if failure.version == 2), "{checked:?}");
    let checked = tenant.check_schema("order.placed", &with(small, jq(TO_CENTS))).unwrap();
    assert!(!checked.is_compatible() && !checked.is_upcast(), "asking says the same: {checked:?}");
    for (text, what) in [("error(\"no\")", "failed"), ("empty", "failed"), ("{cents: \"1\"}", "breaks")] {
        let fails = refusal(tenant.register_schema("order.placed", with(small, jq(text))));
        let SchemaRefusal::UpcasterFails { checked, .. } = &fails else { panic!("{text}: {fails}") };
        assert_eq!(checked.failed, 3, "{text}");
        assert!(checked.first.iter().all(|(_, failure)| failure.reason.as_str() == what), "{text}: {checked:?}");
    }
    let invalid = refusal(tenant.register_schema("order.placed", with(small, jq("{cents: "))));
    assert!(matches!(invalid, SchemaRefusal::InvalidUpcaster(_)), "{invalid}");
    let nothing = refusal(tenant.register_schema("order.paid", with(FIRST, jq("."))));
    assert!(matches!(nothing, SchemaRefusal::NothingToUpcast { .. }), "{nothing}");

    let clamps = "{cents: ([[.total * 100, 0] | max, 1000] | min | round)}";
    let registered = tenant.register_schema("order.placed", with(small, jq(clamps))).unwrap();
    assert_eq!((registered.schema.version, registered.schema.upcaster), (2, jq(clamps)));
    let again = tenant.register_schema("order.placed", with(small, jq(clamps))).unwrap();
    assert!(again.is_known);
    let other = refusal(tenant.register_schema("order.placed", with(small, jq(". "))));
    assert!(matches!(other, SchemaRefusal::OtherUpcaster { .. }), "{other}");
    assert_eq!(read(&tenant, 2, SchemaVersion::Newest).1, json!({"cents": 1000}));
}

#[test]
fn an_upcaster_does_not_help_those_who_read_the_old_version() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    let full = SchemaRules { compatibility: Some(Level::Full), ..SchemaRules::default() };
    tenant.set_schema_rules(None, full).unwrap();
    tenant.register_schema("order.placed", new(FIRST)).unwrap();
    let refused = refusal(tenant.register_schema("order.placed", with(SECOND, jq(TO_CENTS))));
    let SchemaRefusal::Incompatible(found) = &refused else { panic!("{refused}") };
    assert!(found.checked.verdict.breaks.iter().all(|found| found.direction.to_string() == "forward"), "{found:?}");
}

#[test]
fn an_upcaster_is_replaced_and_removed_only_by_what_reads_all_that_is_stored() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    three(&tenant);
    let fails = refusal(tenant.set_upcaster("order.placed", 2, jq("{cents: .total}")));
    assert!(matches!(fails, SchemaRefusal::UpcasterFails { .. }), "1.5 is no integer: {fails}");
    // What it makes is given to the next one, which refuses it.
    let fails = refusal(tenant.set_upcaster("order.placed", 2, jq("{cents: -1}")));
    let SchemaRefusal::UpcasterFails { checked, .. } = &fails else { panic!("{fails}") };
    assert_eq!(checked.first[0].1.version, 3, "{checked:?}");
    let incompatible = refusal(tenant.set_upcaster("order.placed", 3, None));
    assert!(matches!(incompatible, SchemaRefusal::Incompatible(_)), "{incompatible}");
    let (schema, _) = tenant.set_upcaster("order.placed", 2, jq("{cents: (.total | floor)}")).unwrap();
    assert_eq!(schema.upcaster, jq("{cents: (.total | floor)}"));
    assert_eq!(read(&tenant, 1, SchemaVersion::Newest).1, json!({"amount": {"cents": 1}}));
    let none = SchemaRules { compatibility: Some(Level::None), ..SchemaRules::default() };
    tenant.set_schema_rules(Some("order.placed"), none).unwrap();
    let fails = refusal(tenant.set_upcaster("order.placed", 2, None));
    assert!(matches!(fails, SchemaRefusal::UpcasterFails { .. }), "the next one rests on it: {fails}");
    for version in [3, 2] {
        let (schema, _) = tenant.set_upcaster("order.placed", version, None).unwrap();
        assert_eq!(schema.upcaster, None);
    }
    let verified = tenant.verify_schema("order.placed", SchemaVersion::Newest, 0).unwrap();
    assert_eq!((verified.events, verified.failed), (3, 2), "{verified:?}");
    assert_eq!(verified.first.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(verified.to, tenant.position(), "that is all there is");
    let rest = tenant.verify_schema("order.placed", SchemaVersion::Newest, 2).unwrap();
    assert_eq!((rest.events, rest.failed), (1, 0));
    let second = tenant.verify_schema("order.placed", SchemaVersion::At(2), 0).unwrap();
    assert_eq!((second.version, second.events, second.earlier), (2, 2, 1), "later ones stay as they are: {second:?}");
}

#[test]
fn what_an_upcaster_leads_from_is_not_removed() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("order.placed", new(FIRST)).unwrap();
    tenant.register_schema("order.placed", with(SECOND, jq(TO_CENTS))).unwrap();
    tenant.register_schema("order.placed", with(THIRD, jq("{amount: .}"))).unwrap();
    let used = refusal(tenant.remove_schema("order.placed", 2));
    assert!(matches!(&used, SchemaRefusal::InUse { by, .. } if by.contains("upcaster")), "{used}");
    tenant.remove_schema("order.placed", 3).unwrap();
    tenant.remove_schema("order.placed", 2).unwrap();
    tenant.register_schema("order.placed", with(SECOND, jq(TO_CENTS))).unwrap();
}

#[test]
fn a_function_that_panics_and_an_expression_that_never_ends_are_failures() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.attach_upcaster("panics", Arc::new(|_| panic!("a bug")));
    tenant.register_schema("t.a", new(FIRST)).unwrap();
    publish(&tenant, "1", "t.a", r#"{"total":1}"#);
    for upcaster in [Some(Upcaster::Function("panics".into())), jq("def f: f; f"), jq("[range(1e9)]")] {
        match tenant.register_schema("t.a", with(SECOND, upcaster.clone())) {
            Err(NotDone::RefusedSchema(SchemaRefusal::UpcasterFails { .. } | SchemaRefusal::InvalidUpcaster(_))) => {}
            other => panic!("{upcaster:?}: {other:?}"),
        }
    }
}

fn subscribe(tenant: &Arc<Tenant>, name: &str, definition: &str) {
    let definition: Subscription = serde_json::from_str(definition).unwrap();
    tenant.create_subscription(name, definition).unwrap();
}

/// What a subscription is handed, up to so many and what comes with them.
fn pulled(tenant: &Arc<Tenant>, name: &str, least: usize) -> Vec<(u64, String, Value)> {
    let mut all = Vec::new();
    loop {
        let handed = tenant.pull(name, 100).unwrap();
        if handed.is_empty() {
            if all.len() >= least {
                return all;
            }
            // The engine's thread is routing: whoever waits is woken then.
            std::thread::sleep(std::time::Duration::from_millis(1));
            continue;
        }
        for one in &handed {
            let (kind, data) = seen(&one.recorded);
            all.push((one.recorded.stamp.position, kind, data));
        }
        let answers = handed.iter().map(|one| (one.id, one.token, Answer::Ack)).collect();
        tenant.answer(name, answers).unwrap();
    }
}

#[test]
fn a_subscription_is_matched_and_delivered_in_the_version_it_asks_for() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    three(&tenant);
    let large = r#"{"start":"beginning","schemaversion":"newest",
        "pattern":{"type":["order.placed.v3"],"data":{"amount":{"cents":[{"numeric":[">",20]}]}}}}"#;
    subscribe(&tenant, "large", large);
    subscribe(&tenant, "second", r#"{"start":"beginning","schemaversion":2}"#);
    subscribe(&tenant, "stored", r#"{"start":"beginning"}"#);
    let third = |cents: i64| json!({ "amount": { "cents": cents } });
    let expected = vec![(1, "order.placed.v3".to_owned(), third(150)), (2, "order.placed.v3".to_owned(), third(25))];
    assert_eq!(pulled(&tenant, "large", 2), expected);
    let kinds = |name: &str| pulled(&tenant, name, 3).into_iter().map(|(_, kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds("second"), ["order.placed.v2", "order.placed.v2", "order.placed.v3"]);
    assert_eq!(kinds("stored"), ["order.placed", "order.placed.v2", "order.placed.v3"]);
    // Now they are fed by the router, which asks the same.
    publish(&tenant, "4", "order.placed", r#"{"total":0.1}"#);
    publish(&tenant, "5", "order.placed", r#"{"total":3}"#);
    assert_eq!(pulled(&tenant, "large", 1), [(5, "order.placed.v3".to_owned(), third(300))]);
    assert_eq!(pulled(&tenant, "second", 2).len(), 2);
}

#[test]
fn an_event_that_cannot_be_upcast_ends_as_a_dead_letter() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    three(&tenant);
    subscribe(&tenant, "s", r#"{"schemaversion":"newest","pattern":{"type":["order.placed.v3"]}}"#);
    assert!(pulled(&tenant, "s", 0).is_empty());
    publish(&tenant, "4", "order.placed", r#"{"total":"none"}"#);
    publish(&tenant, "5", "order.placed", r#"{"total":1}"#);
    publish(&tenant, "6", "order.paid", r#"{"total":"none"}"#);
    assert_eq!(pulled(&tenant, "s", 1).iter().map(|(position, ..)| *position).collect::<Vec<_>>(), [5]);
    tenant.checkpoint_deliveries().unwrap();
    let letters = tenant.dead_letters(&DeadLetterFilter::default(), 0, 10);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(serde_json::to_value(letters[0].reason).unwrap(), "upcaster-failed", "{letters:?}");
}

#[test]
fn what_a_pattern_on_data_cannot_be_asked_of_is_not_passed_over() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    three(&tenant);
    let large = r#"{"start":"beginning","schemaversion":"newest",
        "pattern":{"type":["order.placed.v3"],"data":{"amount":{"cents":[{"numeric":[">",1000]}]}}}}"#;
    subscribe(&tenant, "large", large);
    publish(&tenant, "4", "order.placed", r#"{"total":"none"}"#);
    publish(&tenant, "5", "order.paid", r#"{"total":"none"}"#);
    publish(&tenant, "6", "order.placed", r#"{"total":100}"#);
    assert_eq!(pulled(&tenant, "large", 1).iter().map(|(position, ..)| *position).collect::<Vec<_>>(), [6]);
    tenant.checkpoint_deliveries().unwrap();
    let letters = tenant.dead_letters(&DeadLetterFilter::default(), 0, 10);
    assert_eq!(letters.iter().map(|letter| letter.position).collect::<Vec<_>>(), [4], "{letters:?}");
}

#[test]
fn an_upcaster_is_not_removed_if_later_ones_rest_on_it() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    // Every version reads what was written by the one before, so nothing but the chain needs them.
    let optional = |name: &str| format!(r#"{{"type":"object","properties":{{"{name}":{{"type":"string"}}}}}}"#);
    tenant.register_schema("t.a", new(&optional("a"))).unwrap();
    publish(&tenant, "1", "t.a", r#"{"a":"X"}"#);
    tenant.register_schema("t.a", with(&optional("b"), jq("{b: .a}"))).unwrap();
    tenant.register_schema("t.a", with(&optional("c"), jq("{c: (.b | ascii_downcase)}"))).unwrap();
    assert_eq!(read(&tenant, 1, SchemaVersion::Newest).1, json!({"c": "x"}));
    let fails = refusal(tenant.set_upcaster("t.a", 2, None));
    assert!(matches!(fails, SchemaRefusal::UpcasterFails { .. }), "{fails}");
    tenant.set_upcaster("t.a", 3, jq("{c: (.b // \"\" | ascii_downcase)}")).unwrap();
    tenant.set_upcaster("t.a", 2, None).unwrap();
}

#[test]
fn a_version_behind_an_upcaster_reads_what_that_makes() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    let transitive = SchemaRules { compatibility: Some(Level::BackwardTransitive), ..SchemaRules::default() };
    tenant.set_schema_rules(None, transitive).unwrap();
    tenant.register_schema("t.a", new(FIRST)).unwrap();
    publish(&tenant, "1", "t.a", r#"{"total":1.5}"#);
    tenant.register_schema("t.a", with(SECOND, jq(TO_CENTS))).unwrap();
    let noted = SECOND.replace(r#""cents":{"#, r#""note":{"type":"string"},"cents":{"#);
    tenant.register_schema("t.a", new(&noted)).unwrap();
    assert_eq!(read(&tenant, 1, SchemaVersion::Newest), ("t.a.v3".to_owned(), json!({"cents": 150})));
    // And what it does not read is counted as it is read: the one event has no text.
    let texts = noted.replace(r#""integer""#, r#""string""#);
    let SchemaRefusal::Incompatible(found) = refusal(tenant.register_schema("t.a", new(&texts))) else { panic!() };
    assert!(found.checked.verdict.breaks.iter().all(|found| found.version > 1), "{found:?}");
    let stored = found.checked.stored.unwrap();
    assert_eq!((stored.events, stored.breaking, stored.first[0].1.pointer.as_str()), (1, 1, "/cents"));
}

#[test]
fn an_event_without_data_can_be_turned_by_an_expression_that_says_how() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("t.a", new(FIRST)).unwrap();
    let event = quipu_domain::Event::builder("1", "/shop", "t.a").build().unwrap();
    tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).unwrap();
    assert!(tenant.register_schema("t.a", with(SECOND, jq(TO_CENTS))).is_err());
    tenant.register_schema("t.a", with(SECOND, jq("{cents: ((.total? // 0) * 100 | round)}"))).unwrap();
    assert_eq!(read(&tenant, 1, SchemaVersion::Newest).1, json!({"cents": 0}));
}

#[test]
fn the_work_of_a_chain_has_a_limit_that_grows_with_the_data() {
    let folder = TempDir::new().unwrap();
    let (_engine, tenant) = open(folder.path());
    tenant.register_schema("t.a", new("{}")).unwrap();
    publish(&tenant, "1", "t.a", r#"{"total":1}"#);
    let long = refusal(tenant.register_schema("t.a", with(r#"{"title":"2"}"#, jq("[range(30000)] | length"))));
    let SchemaRefusal::UpcasterFails { checked, .. } = &long else { panic!("{long}") };
    assert!(checked.first[0].1.to_string().contains("steps"), "{checked:?}");
    let list = format!("[{}1]", "1,".repeat(50_000));
    publish(&tenant, "2", "t.b", &list);
    tenant.register_schema("t.b", new("{}")).unwrap();
    tenant.register_schema("t.b", with(r#"{"title":"2"}"#, jq("length"))).unwrap();
    assert_eq!(read(&tenant, 2, SchemaVersion::Newest).1, json!(50_001));
}
