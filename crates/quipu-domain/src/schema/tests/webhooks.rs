//! Schemas learned from real events: GitHub's webhooks, see the data's own page.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::schema::{Document, Inference, InferenceLimits, Limits, Validator};

/// The data of all events by type.
fn events() -> BTreeMap<String, Vec<Value>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/github-webhooks.ndjson");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|fault| panic!("{}: {fault}", file.display()));
    let mut events: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        events.entry(event["type"].as_str().unwrap().to_owned()).or_default().push(event["data"].take());
    }
    assert_eq!(events.len(), 161);
    events
}

fn learned(event_type: &str, events: &[Value]) -> Document {
    let mut inference = Inference::new(InferenceLimits::default());
    events.iter().for_each(|event| inference.observe(event));
    let schema = inference.schema(event_type).to_string();
    Document::parse(&schema, &Limits::default()).unwrap_or_else(|refusal| panic!("{event_type}: {refusal}"))
}

#[test]
fn a_learned_schema_accepts_every_event_of_its_type_and_names_every_mistake() {
    let mut mutants = 0;
    for (event_type, events) in events() {
        let document = learned(&event_type, &events);
        let validator = document.validator();
        for event in &events {
            assert_eq!(validator.violations(event, 3), [], "{event_type}");
        }
        let mut left = MUTANTS_MAX;
        mutate(&validator, document.value(), &events[0], &mut events[0].clone(), "", &mut left);
        assert!(left < MUTANTS_MAX, "{event_type} has no required field");
        mutants += MUTANTS_MAX - left;
    }
    assert!(mutants > 5_000, "{mutants}");
}

/// Most mistakes tried of one type: all of GitHub's events have thousands.
const MUTANTS_MAX: usize = 40;

/// Spoils required fields of an event in turn: of another type, and missing.
fn mutate(validator: &Validator, schema: &Value, place: &Value, event: &mut Value, pointer: &str, left: &mut usize) {
    let required = schema["required"].as_array().map_or(&[][..], Vec::as_slice);
    for name in required.iter().filter_map(Value::as_str) {
        if *left == 0 {
            return;
        }
        let at = crate::schema::pointer::member(pointer, name);
        let field = &schema["properties"][name];
        let right = event.pointer(&at).unwrap().clone();
        let types = field["type"].to_string();
        let wrong = [json!(true), json!("x"), json!([])].into_iter().zip(["boolean", "string", "array"]);
        let wrong = wrong.into_iter().find(|(_, name)| !types.contains(name)).unwrap().0;
        *event.pointer_mut(&at).unwrap() = wrong;
        expect(validator, event, &at, "type");
        event.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
        expect(validator, event, &at, "required");
        event.pointer_mut(pointer).unwrap()[name] = right;
        *left -= 2;
        if place[name].is_object() {
            mutate(validator, field, &place[name], event, &at, left);
        }
    }
}

fn expect(validator: &Validator, event: &Value, pointer: &str, keyword: &str) {
    let found = validator.violations(event, 10);
    assert_eq!(found.len(), 1, "{pointer}: {found:?}");
    assert_eq!((found[0].pointer.as_str(), found[0].keyword.as_str()), (pointer, keyword));
}
