//! The OpenAPI 3.1 document, made from the catalogue, and the schemas of events, which no wire type describes since
//! events stay the text that they came as.

use std::borrow::Cow;
use std::collections::BTreeMap;

use quipu_domain::limits::{PAGE_EVENTS_MAX, QUERY_ITEMS_MAX};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use crate::catalogue::{Content, Needs, OPERATIONS, Operation};
use crate::parameter::{Kind, Parameter, Place};
use crate::{Code, MEDIA_PROBLEM, Problem};

/// The OpenAPI 3.1 document of everything in the catalogue.
pub fn openapi() -> Value {
    // OpenAPI 3.1 schemas are those of JSON Schema 2020-12; only the place of the definitions differs.
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in OPERATIONS {
        let entry = describe(operation, &mut generator);
        paths.entry(operation.path).or_default().insert(operation.method.as_str().to_ascii_lowercase(), entry);
    }
    let responses: Map<String, Value> =
        Code::ALL.iter().map(|code| (code.slug().to_owned(), response(*code, &problem))).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Quipu",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "An event store and event platform.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": responses,
            "securitySchemes": { "key": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "a key (qp_…) or a JWT",
                "description": "A key of a tenant, or a token of an identity provider that the server believes. A server that only its own machine reaches may take requests without one.",
            } },
        },
    })
}

fn response(code: Code, problem: &Schema) -> Value {
    let example = Problem::new(code, code.title());
    json!({
        "description": format!("{} ({})", code.title(), code.slug()),
        "content": { MEDIA_PROBLEM: { "schema": problem, "example": example } },
    })
}

fn describe(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let (status, description) = match operation.name {
        "event.connect" => ("101", "The WebSocket is open."),
        "subscription.create" => ("201", "It was made; 200 if it was there before and is the same."),
        "timer.set" => ("201", "It was set; 200 if the event waited or was recorded before."),
        "schedule.apply" => ("201", "It was declared; 200 if it was declared already or nothing was to be changed."),
        "key.create" => ("201", "It was made."),
        "operation.preview" | "replay.preview" | "instance.preview" => {
            ("201", "It was previewed; nothing is done yet.")
        }
        _ => ("200", "Done."),
    };
    let answers = contents(operation.answers, Some(operation.example.answer), generator);
    let done = json!({ "description": description, "content": answers });
    if matches!(operation.name, "subscription.create" | "timer.set") {
        responses.insert("200".into(), done.clone());
    }
    responses.insert(status.into(), done);
    let mut refusals: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for code in operation.refusals() {
        refusals.entry(code.status().to_string()).or_default().push(code.slug());
    }
    for (status, slugs) in refusals {
        let reference = match slugs.as_slice() {
            [slug] => json!({ "$ref": format!("#/components/responses/{slug}") }),
            several => json!({
                "description": format!("One of the codes {}.", several.join(", ")),
                "content": { MEDIA_PROBLEM: { "schema": generator.subschema_for::<Problem>() } },
            }),
        };
        responses.insert(status, reference);
    }
    let mut entry = json!({
        "operationId": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "tags": [operation.name.split('.').next()],
        "responses": responses,
        "x-permission": operation.needs.to_string(),
    });
    if operation.needs != Needs::Nothing {
        entry["security"] = json!([{ "key": [] }]);
    }
    let parameters: Vec<_> = operation.parameters().map(parameter).collect();
    if !parameters.is_empty() {
        entry["parameters"] = parameters.into();
    }
    if !operation.bodies.is_empty() {
        let mut content = contents(operation.bodies, None, generator);
        if let Some((media_type, body)) = operation.example.body {
            content[media_type]["example"] = parse_or_text(body);
        }
        entry["requestBody"] = json!({ "required": true, "content": content });
    }
    if let Some(command) = operation.command {
        entry["x-command"] = format!("quipu {command}").into();
    }
    entry
}

fn contents(contents: &[Content], example: Option<&str>, generator: &mut SchemaGenerator) -> Value {
    let mut all = Map::new();
    for (index, content) in contents.iter().enumerate() {
        let mut entry = Map::new();
        if let Some(schema) = content.schema {
            entry.insert("schema".into(), schema(generator).into());
        }
        if let (0, Some(example)) = (index, example) {
            entry.insert("example".into(), parse_or_text(example));
        }
        entry.insert("x-description".into(), content.description.into());
        all.insert(content.media_type.into(), entry.into());
    }
    all.into()
}

fn parse_or_text(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

fn parameter(parameter: &Parameter) -> Value {
    let value = match parameter.kind {
        Kind::Text if parameter.place == Place::Repeated => json!({ "type": "string", "minLength": 1 }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Number => json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
        Kind::Limit => json!({ "type": "integer", "minimum": 1, "maximum": PAGE_EVENTS_MAX }),
        Kind::Time => json!({ "type": "string", "format": "date-time" }),
        Kind::Word(words) => json!({ "type": "string", "enum": words }),
    };
    let is_repeated = parameter.place == Place::Repeated;
    let schema =
        if is_repeated { json!({ "type": "array", "items": value, "maxItems": QUERY_ITEMS_MAX }) } else { value };
    json!({
        "name": parameter.name,
        "in": if parameter.place == Place::Path { "path" } else { "query" },
        "required": matches!(parameter.place, Place::Path | Place::Required),
        "description": parameter.description,
        "schema": schema,
    })
}

/// The schema of an event as a client sends it.
pub(crate) struct CloudEvent;
/// The schema of an event as it is read: with what the server added.
pub(crate) struct RecordedEvent;
/// The schema of an event in either envelope, or an array of them.
pub(crate) struct IncomingEvent;

impl JsonSchema for CloudEvent {
    fn schema_name() -> Cow<'static, str> {
        "CloudEvent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A CloudEvent 1.0. Any further attribute is an extension: a name of lower-case letters and digits, a string, a boolean or a 32-bit integer.",
            "required": ["specversion", "id", "source", "type"],
            "properties": attributes(),
            "additionalProperties": { "type": ["string", "boolean", "integer", "null"] },
        })
    }
}

impl JsonSchema for RecordedEvent {
    fn schema_name() -> Cow<'static, str> {
        "RecordedEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let event = generator.subschema_for::<CloudEvent>();
        json_schema!({
            "allOf": [event],
            "required": ["position", "recordedtime"],
            "properties": {
                "position": { "type": "integer", "minimum": 1, "description": "Its number in the log." },
                "streamversion": { "type": "integer", "minimum": 1, "description": "Its number in its stream." },
                "recordedtime": { "type": "string", "format": "date-time", "description": "When it was recorded." },
            },
        })
    }
}

impl JsonSchema for IncomingEvent {
    fn schema_name() -> Cow<'static, str> {
        "IncomingEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let event = generator.subschema_for::<CloudEvent>();
        let domain = json!({
            "type": "object",
            "description": "The older domain envelope.",
            "required": ["eventType", "eventId"],
            "properties": {
                "eventType": { "type": "string" },
                "eventId": { "type": "string" },
                "timestamp": { "type": "string", "format": "date-time" },
                "version": { "type": ["string", "integer"], "description": "A text is the version of the schema, a number the version of the stream." },
                "aggregateId": { "type": "string" },
                "source": { "type": "string" },
                "metadata": {
                    "type": "object",
                    "properties": {
                        "tenantId": { "type": "string" },
                        "userId": { "type": "string" },
                        "organizationId": { "type": "string" },
                        "correlationId": { "type": "string" },
                        "causationId": { "type": "string" },
                    },
                    "additionalProperties": false,
                },
                "data": {},
            },
            "additionalProperties": false,
        });
        json_schema!({ "oneOf": [event, domain, { "type": "array", "items": { "oneOf": [event, domain] } }] })
    }
}

fn attributes() -> Value {
    let text = |description: &str| json!({ "type": "string", "minLength": 1, "description": description });
    json!({
        "specversion": { "const": "1.0" },
        "id": text("With the source it identifies the event."),
        "source": text("Who says so, a URI reference."),
        "type": text("What happened: domain.entity.action, with an optional .vN."),
        "subject": text("The stream."),
        "time": { "type": "string", "format": "date-time", "description": "When it happened." },
        "datacontenttype": text("The media type of the data; absent means JSON."),
        "dataschema": text("A URI that names the schema of the data."),
        "correlationid": text("The business transaction that the event is part of."),
        "causationid": text("The id of the event that caused this one."),
        "traceparent": text("The trace context of W3C."),
        "userid": text("Who did it."),
        "organizationid": text("For which organization."),
        "tags": { "description": "Pairs key:value for conditions and queries across streams.", "type": ["string", "array"], "items": { "type": "string" } },
        "priority": { "enum": ["low", "medium", "high", "urgent"] },
        "expirytime": { "type": "string", "format": "date-time" },
        "deliverat": { "type": "string", "format": "date-time" },
        "data": { "description": "The payload: any JSON, or text of the media type." },
        "data_base64": { "type": "string", "contentEncoding": "base64", "description": "A payload of bytes, instead of data." },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MEDIA_JSON;
    use quipu_domain::access::GRANTS_MAX;
    use quipu_domain::limits::{APPEND_EVENTS_MAX, CONDITIONS_MAX};

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document = openapi();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(!found.is_empty());
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_document_says_the_limits_that_bodies_and_parameters_are_held_to() {
        let document = openapi();
        let schemas = &document["components"]["schemas"];
        for (path, limit) in [
            ("PullRequest/properties/max/minimum", 1),
            ("PullRequest/properties/max/maximum", crate::delivery::PULL_MAX.into()),
            ("PullRequest/properties/waitms/maximum", crate::delivery::PULL_WAIT_MS_MAX),
            ("AnswersRequest/properties/answers/minItems", 1),
            ("AnswersRequest/properties/answers/maxItems", crate::delivery::ANSWERS_MAX as u64),
            ("AnswerBody/properties/delayms/maximum", crate::delivery::DELAY_MS_MAX),
            ("AnswerBody/properties/ms/minimum", 1),
            ("AnswerBody/properties/ms/maximum", crate::delivery::EXTEND_MS_MAX),
            ("DiscardRequest/properties/reason/minLength", 1),
            ("DiscardRequest/properties/reason/maxLength", crate::deadletter::REASON_BYTES_MAX as u64),
            ("AppendRequest/properties/events/maxItems", APPEND_EVENTS_MAX as u64),
            ("AppendRequest/properties/conditions/maxItems", CONDITIONS_MAX as u64),
            ("CreateKey/properties/name/minLength", 1),
            ("CreateKey/properties/grants/minItems", 1),
            ("CreateKey/properties/grants/maxItems", GRANTS_MAX as u64),
            ("CreateKey/properties/user/minLength", 1),
            ("CreateKey/properties/lifems/minimum", 1),
        ] {
            assert_eq!(schemas.pointer(&format!("/{path}")), Some(&limit.into()), "{path}");
        }
        for operation in OPERATIONS {
            for limit in operation.parameters().filter(|parameter| parameter.name == "limit") {
                let schema = &parameter(limit)["schema"];
                assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(1), &json!(PAGE_EVENTS_MAX)));
            }
            for repeated in operation.parameters().filter(|parameter| parameter.place == Place::Repeated) {
                let schema = &parameter(repeated)["schema"];
                assert_eq!(schema["maxItems"], json!(QUERY_ITEMS_MAX));
                let is_not_empty = schema["items"]["minLength"] == 1 || schema["items"]["enum"].is_array();
                assert!(is_not_empty, "{}", repeated.name);
            }
        }
    }

    #[test]
    fn every_operation_stands_in_the_document_with_a_success() {
        let document = openapi();
        assert_eq!(document["openapi"], "3.1.0");
        for operation in OPERATIONS {
            let entry = &document["paths"][operation.path][operation.method.as_str().to_ascii_lowercase()];
            assert_eq!(entry["operationId"], operation.name);
            let is_there = ["200", "201", "101"].iter().any(|status| entry["responses"].get(status).is_some());
            assert!(is_there, "{}", operation.name);
            assert_eq!(entry.get("requestBody").is_some(), !operation.bodies.is_empty());
            for parameter in operation.parameters() {
                let listed = entry["parameters"].as_array().unwrap();
                assert!(listed.iter().any(|p| p["name"] == parameter.name), "{}", parameter.name);
            }
        }
    }

    /// Compares a generated file with the one in the repository, or writes it if asked to.
    fn assert_golden(path: &str, text: &str) {
        let path = format!("{}/../../docs/{path}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("QUIPU_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, text).unwrap();
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == text,
            "{path} is not what the catalogue says: run QUIPU_WRITE_GOLDEN=1 cargo test -p quipu-api"
        );
    }

    #[test]
    fn the_openapi_document_in_docs_is_the_generated_one() {
        let text = serde_json::to_string_pretty(&openapi()).unwrap();
        assert_golden("openapi.json", &format!("{text}\n"));
    }

    #[test]
    fn the_reference_page_in_docs_is_the_generated_one() {
        assert_golden("reference.md", &crate::reference());
    }

    #[test]
    fn json_is_the_first_answer_of_what_answers_in_json() {
        for operation in OPERATIONS {
            let is_json = operation.answers.iter().any(|answer| answer.media_type == MEDIA_JSON);
            assert!(!is_json || operation.answers[0].media_type == MEDIA_JSON, "{}", operation.name);
        }
    }
}
