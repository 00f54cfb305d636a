//! Writes the document. The same catalog gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{SCHEMAS, X_DEPRECATED, X_NAME, X_OWNER, X_TYPE, X_UPCASTER, rebase};
use crate::Cursor;
use crate::catalog::CatalogLine;
use crate::schema::UpcasterAnswer;

/// A type, and its registered schemas.
#[derive(Clone, Debug)]
pub struct ExportedType {
    /// As the catalog has it.
    pub line: CatalogLine,
    /// Oldest first.
    pub schemas: Vec<ExportedSchema>,
}

/// A version of a schema.
#[derive(Clone, Debug)]
pub struct ExportedSchema {
    /// The version.
    pub version: u32,
    /// In one text with those that it refers to, and with only local references.
    pub bundled: Value,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What people should know of it.
    pub description: Option<String>,
    /// Data that it accepts.
    pub examples: Vec<Value>,
    /// Why nobody should begin with it any more.
    pub deprecated: Option<String>,
    /// What makes its data of that of the version before.
    pub upcaster: Option<UpcasterAnswer>,
}

/// Names that are keys of a map: letters, digits, dots, hyphens and underscores, each once.
#[derive(Default)]
struct Keys(BTreeSet<String>);

impl Keys {
    fn key(&mut self, name: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
        let base: String = name.chars().take(200).map(plain).collect();
        let base = if base.is_empty() { "_".to_owned() } else { base };
        let mut key = base.clone();
        for number in 2.. {
            if self.0.insert(key.clone()) {
                break;
            }
            key = format!("{base}-{number}");
        }
        key
    }
}

/// What belongs to one address.
#[derive(Default)]
struct Channel {
    messages: Map<String, Value>,
    /// Who sends and who receives which messages.
    operations: BTreeMap<(&'static str, String), Vec<String>>,
}

/// The document of these types, which are sorted by their names.
pub fn export(types: &[ExportedType]) -> Value {
    let (mut message_keys, mut channel_keys, mut operation_keys) = (Keys::default(), Keys::default(), Keys::default());
    let (mut messages, mut schemas) = (Map::new(), Map::new());
    let mut addresses: BTreeMap<String, Channel> = BTreeMap::new();
    for ExportedType { line, schemas: versions } in types {
        let address = line.channel.clone().unwrap_or_else(|| line.kind.clone());
        let channel = addresses.entry(address).or_default();
        let mut keys = Vec::new();
        // A type of which no version is registered has a message without a payload.
        let versions: Vec<Option<&ExportedSchema>> =
            if versions.is_empty() { vec![None] } else { versions.iter().map(Some).collect() };
        for version in versions {
            let name = match version {
                Some(schema) if schema.version > 1 => format!("{}.v{}", line.kind, schema.version),
                _ => line.kind.clone(),
            };
            let key = message_keys.key(&name);
            if let Some(schema) = version {
                schemas.insert(key.clone(), component(&schema.bundled, &key));
            }
            messages.insert(key.clone(), message(line, &name, &key, version));
            keys.push(key);
        }
        for key in &keys {
            channel.messages.insert(key.clone(), json!({ "$ref": format!("#/components/messages/{key}") }));
        }
        let senders = line.publishers.iter().map(|publisher| ("send", &publisher.name));
        let receivers = line.consumers.iter().map(|consumer| ("receive", &consumer.name));
        for (action, name) in senders.chain(receivers) {
            channel.operations.entry((action, name.clone())).or_default().extend(keys.iter().cloned());
        }
    }
    let (mut channels, mut operations) = (Map::new(), Map::new());
    for (address, channel) in addresses {
        let key = channel_keys.key(&address);
        for ((action, name), keys) in channel.operations {
            let reference = |message: &String| json!({ "$ref": format!("#/channels/{key}/messages/{message}") });
            let operation = json!({
                "action": action,
                "channel": { "$ref": format!("#/channels/{key}") },
                "messages": keys.iter().map(reference).collect::<Vec<_>>(),
                X_NAME: name,
            });
            operations.insert(operation_keys.key(&format!("{action}.{key}.{name}")), operation);
        }
        channels.insert(key, json!({ "address": address, "messages": channel.messages }));
    }
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": { "title": "Event types", "version": "" },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "messageTraits": { "cloudEvent": cloud_event() },
            "schemas": schemas,
        },
    });
    let more: u64 = types.iter().map(|of| of.line.more_consumers).sum();
    if more > 0 {
        document["info"]["description"] =
            format!("{more} more subscriptions take these types: at most 64 consumers of each are listed.").into();
    }
    // It changes with what it says and with nothing else.
    document["info"]["version"] = format!("{:016x}", Cursor::digest(&document.to_string())).into();
    document
}

fn message(line: &CatalogLine, name: &str, key: &str, schema: Option<&ExportedSchema>) -> Value {
    let mut message = json!({
        "name": name,
        "contentType": "application/json",
        "traits": [{ "$ref": "#/components/messageTraits/cloudEvent" }],
        "headers": { "type": "object", "properties": { "ce-type": { "const": name } } },
    });
    let mut put = |member: &str, text: Option<&String>| {
        if let Some(text) = text {
            message[member] = text.as_str().into();
        }
    };
    put("description", schema.and_then(|schema| schema.description.as_ref()).or(line.description.as_ref()));
    put(X_OWNER, schema.and_then(|schema| schema.owner.as_ref()));
    put(X_DEPRECATED, schema.and_then(|schema| schema.deprecated.as_ref()));
    let mut whole = Map::new();
    for (member, text) in [("owner", &line.owner), ("description", &line.description)] {
        whole.extend(text.iter().map(|text| (member.to_owned(), text.as_str().into())));
    }
    if !whole.is_empty() {
        message[X_TYPE] = whole.into();
    }
    if let Some(schema) = schema {
        if let Some(upcaster) = &schema.upcaster {
            message[X_UPCASTER] = json!(upcaster);
        }
        message["payload"] = json!({ "$ref": format!("{SCHEMAS}{key}") });
        if !schema.examples.is_empty() {
            let example = |payload: &Value| json!({ "payload": payload });
            message["examples"] = schema.examples.iter().map(example).collect::<Vec<_>>().into();
        }
    }
    message
}

/// A schema among the components. Its references are from the root of the document there.
fn component(bundled: &Value, key: &str) -> Value {
    let draft = bundled["$schema"].as_str().unwrap_or_default();
    let named = ["draft-04", "draft-06", "draft-07"].into_iter().find(|draft_name| draft.contains(draft_name));
    let version = named.unwrap_or(if draft.contains("2019-09") { "2019-09" } else { "2020-12" });
    let mut schema = bundled.clone();
    rebase(&mut schema, &|text| text.strip_prefix('#').map(|rest| format!("{SCHEMAS}{key}/schema{rest}")));
    json!({ "schemaFormat": format!("application/schema+json;version={version}"), "schema": schema })
}

/// The attributes that every event has, as headers of the HTTP binding of CloudEvents.
fn cloud_event() -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    json!({
        "headers": {
            "type": "object",
            "required": ["ce-specversion", "ce-id", "ce-source", "ce-type"],
            "properties": {
                "ce-specversion": { "const": "1.0" },
                "ce-id": text(),
                "ce-source": text(),
                "ce-type": text(),
                "ce-subject": text(),
                "ce-time": { "type": "string", "format": "date-time" },
            },
        },
    })
}
