//! What breaks, as SARIF 2.1.0 (OASIS, <https://docs.oasis-open.org/sarif/sarif/v2.1.0/>), which code hosts show beside the line.
//! One result a break. A schema that may not be registered has at least one result, one that may has none.

use quipu_api::schema::CompatibilityAnswer;
use serde_json::{Value, json};

use super::super::client::encode;
use super::check::{counter_example, stored, wrong};
use super::place::place;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

struct Rule {
    id: &'static str,
    name: &'static str,
    short: &'static str,
    full: &'static str,
}

const RULES: [Rule; 4] = [
    Rule {
        id: "schema-backward",
        name: "SchemaBackward",
        short: "The new version does not read what the old one writes",
        full: "Whoever reads the new version cannot read events that were written as the old one, those in the log among them.",
    },
    Rule {
        id: "schema-forward",
        name: "SchemaForward",
        short: "The old version does not read what the new one writes",
        full: "Whoever still reads the old version cannot read events that are written as the new one.",
    },
    Rule {
        id: "schema-stored",
        name: "SchemaStored",
        short: "A stored event does not fit",
        full: "The rules cannot tell whether the versions go together, and an event in the log does not fit the new one.",
    },
    Rule {
        id: "schema-undecided",
        name: "SchemaUndecided",
        short: "Nobody can tell whether the versions go together",
        full: "The rules cannot tell whether the versions go together, and there are no stored events that would.",
    },
];

/// One thing that is wrong.
struct Finding {
    rule: &'static str,
    pointer: String,
    message: String,
    properties: Value,
}

/// The log of one check; `file` is nothing for standard input.
pub fn log(answer: &CompatibilityAnswer, kind: &str, file: Option<&str>, text: &str) -> Value {
    let rules = RULES.map(|rule| {
        json!({
            "id": rule.id,
            "name": rule.name,
            "shortDescription": {"text": rule.short},
            "fullDescription": {"text": rule.full},
            "defaultConfiguration": {"level": "error"},
        })
    });
    let found = if answer.compatible { Vec::new() } else { findings(answer) };
    let results: Vec<Value> = found.iter().map(|finding| result(finding, kind, file, text)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "quipu", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn findings(answer: &CompatibilityAnswer) -> Vec<Finding> {
    if !answer.breaks.is_empty() {
        return answer.breaks.iter().map(|found| of_break(answer, found)).collect();
    }
    let first = answer.stored.iter().flat_map(|stored| &stored.first);
    let of_event = |found: &quipu_api::schema::StoredViolation| Finding {
        rule: "schema-stored",
        pointer: found.violation.pointer.clone(),
        message: format!("The event {} does not fit: {}", found.link, found.violation),
        properties: json!({"link": found.link}),
    };
    let of_events: Vec<Finding> = first.map(of_event).collect();
    if !of_events.is_empty() {
        return of_events;
    }
    let reason = if answer.reasons.is_empty() { RULES[3].short.to_owned() } else { answer.reasons.join("; ") };
    vec![Finding { rule: "schema-undecided", pointer: String::new(), message: reason, properties: json!({}) }]
}

fn of_break(answer: &CompatibilityAnswer, found: &quipu_api::schema::BreakAnswer) -> Finding {
    let rule = if found.direction == "forward" { "schema-forward" } else { "schema-backward" };
    let mut message = format!("{}; {} with version {}", wrong(found), found.direction, found.version);
    let mut properties = json!({"direction": found.direction, "version": found.version, "pointer": found.pointer});
    if let Some(example) = counter_example(answer, found) {
        message.push_str(&format!("; counter-example: {}", example.data));
        properties["counterexample"] = example.data.clone();
    }
    if let Some(told) = answer.stored.as_ref() {
        message.push_str(&format!("; {}", stored(told)));
        told.first.iter().for_each(|event| message.push_str(&format!(" {}", event.link)));
        properties["storedevents"] = told.events.into();
        properties["breakingevents"] = told.breaking.into();
    }
    Finding { rule, pointer: found.pointer.clone(), message, properties }
}

fn result(finding: &Finding, kind: &str, file: Option<&str>, text: &str) -> Value {
    let mut location = json!({"logicalLocations": [{"fullyQualifiedName": format!("{kind}{}", finding.pointer)}]});
    if let Some(file) = file {
        location["physicalLocation"] = json!({"artifactLocation": {"uri": uri(file)}});
        if let Some(at) = place(text, &finding.pointer) {
            location["physicalLocation"]["region"] = json!({
                "startLine": at.line, "startColumn": at.column, "endLine": at.end_line, "endColumn": at.end_column,
            });
        }
    }
    json!({
        "ruleId": finding.rule,
        "ruleIndex": RULES.iter().position(|rule| rule.id == finding.rule),
        "level": "error",
        "message": {"text": finding.message},
        "locations": [location],
        "properties": finding.properties,
    })
}

/// A file as a URI: relative to where the command runs, as code hosts expect, unless it was given from the root.
fn uri(file: &str) -> String {
    let path = encode(file.trim_start_matches("./"));
    if path.starts_with('/') { format!("file://{path}") } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_relative_or_from_the_root() {
        assert_eq!(uri("./schemas/order placed.json"), "schemas/order%20placed.json");
        assert_eq!(uri("/a/b.json"), "file:///a/b.json");
    }

    #[test]
    fn what_may_not_be_registered_has_a_result() {
        let answer = r#"{"compatible":false,"level":"full","verdict":"unknown","reasons":["too deep"]}"#;
        let mut answer: CompatibilityAnswer = serde_json::from_str(answer).unwrap();
        let results = |answer: &CompatibilityAnswer| log(answer, "a", None, "{}")["runs"][0]["results"].clone();
        assert_eq!(results(&answer)[0]["ruleId"], "schema-undecided");
        assert_eq!(results(&answer)[0]["message"]["text"], "too deep");
        answer.compatible = true;
        assert_eq!(results(&answer), json!([]));
    }
}
