//! Reads a document: what its channels, messages and schemas would become. Nothing is fetched; a reference that is not local is no
//! schema. What is not understood is left out, and named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use quipu_domain::limits::TYPE_BYTES_MAX;
use quipu_domain::{base_type, is_forbidden_char, type_version};
use serde_json::{Map, Value, json};

use super::{X_DEPRECATED, X_NAME, X_OWNER, X_TYPE, rebase};
use crate::catalog::DeclarationBody;

/// Most channels, most messages in all, and most operations. Each message may be a commit, which takes some milliseconds where a
/// tenant has many schemas.
const CHANNELS_MAX: usize = 10_000;
const MESSAGES_MAX: usize = 1_000;
const OPERATIONS_MAX: usize = 20_000;
/// Longest chain of references that lead to each other.
const CHAIN_MAX: usize = 16;
/// Most schemas that are put into one.
const DEFINITIONS_MAX: usize = 256;
/// Most values in all schemas together: what is referred to from a thousand messages is put into each.
const NODES_MAX: usize = 2_000_000;
/// Most things that are named as left out.
const SKIPPED_MAX: usize = 1_000;
/// What a schema is written in that does not say so: the AsyncAPI Schema Object is draft 7 with a few words more.
const DRAFT_UNSAID: &str = "http://json-schema.org/draft-07/schema#";

/// What a document would become.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// By their names.
    pub types: BTreeMap<String, ImportedType>,
    /// What of the document is left out.
    pub skipped: Vec<Skipped>,
}

/// A type.
#[derive(Clone, Debug, Default)]
pub struct ImportedType {
    /// By their versions.
    pub schemas: BTreeMap<u32, ImportedSchema>,
    /// What is declared of it.
    pub declaration: DeclarationBody,
}

/// A version of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedSchema {
    /// JSON Schema that refers to nothing else.
    pub schema: Value,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What people should know of it.
    pub description: Option<String>,
    /// Data that it accepts.
    pub examples: Vec<Value>,
    /// Why nobody should begin with it any more.
    pub deprecated: Option<String>,
}

/// Something that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it is, a JSON Pointer.
    pub pointer: String,
    /// Why.
    pub reason: String,
}

/// Why a document is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAsyncApi {
    /// Where.
    pub pointer: String,
    /// What was expected and what was found.
    pub detail: String,
}

impl fmt::Display for InvalidAsyncApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for InvalidAsyncApi {}

/// What a document would become.
///
/// # Errors
/// It is no AsyncAPI document of version 3.0 or 3.1, or larger than it may be.
pub fn import(document: &Value) -> Result<Imported, InvalidAsyncApi> {
    let version = document["asyncapi"].as_str().unwrap_or("none");
    if !["3.0.", "3.1."].iter().any(|known| version.starts_with(known)) {
        let found: String = version.chars().take(40).collect();
        let detail = format!("expected an AsyncAPI document of version 3.0 or 3.1, found {found}");
        return Err(InvalidAsyncApi { pointer: "/asyncapi".to_owned(), detail });
    }
    let mut importing = Importing { document, imported: Imported::default(), kinds: BTreeMap::new(), nodes: 0 };
    importing.channels()?;
    importing.component_messages()?;
    importing.operations()?;
    Ok(importing.imported)
}

struct Importing<'d> {
    document: &'d Value,
    imported: Imported,
    /// The types that messages became, by where those are.
    kinds: BTreeMap<String, String>,
    nodes: usize,
}

/// A place in the document.
#[derive(Clone)]
struct Found<'d> {
    pointer: String,
    value: &'d Value,
}

impl<'d> Importing<'d> {
    fn skip(&mut self, pointer: &str, reason: impl Into<String>) {
        if self.imported.skipped.len() < SKIPPED_MAX {
            let pointer = pointer.chars().take(300).collect();
            self.imported.skipped.push(Skipped { pointer, reason: reason.into() });
        }
    }

    /// Follows references to where something is.
    fn resolve(&self, pointer: &str) -> Result<Found<'d>, String> {
        let mut pointer = pointer.to_owned();
        for _ in 0..CHAIN_MAX {
            let value = self.document.pointer(&pointer).ok_or_else(|| format!("nothing is at #{}", clip(&pointer)))?;
            let Some(Value::String(reference)) = value.get("$ref") else { return Ok(Found { pointer, value }) };
            pointer = local(reference)?;
        }
        Err(format!("expected at most {CHAIN_MAX} references that lead to each other, found more"))
    }

    fn members(&self, pointer: &str, limit: usize) -> Result<Vec<(String, &'d Value)>, InvalidAsyncApi> {
        let Some(value) = self.document.pointer(pointer) else { return Ok(Vec::new()) };
        let Value::Object(members) = value else {
            let detail = format!("expected an object at {pointer}, found another value");
            return Err(InvalidAsyncApi { pointer: pointer.to_owned(), detail });
        };
        if members.len() > limit {
            let detail = format!("expected at most {limit} members of {pointer}, found {}", members.len());
            return Err(InvalidAsyncApi { pointer: pointer.to_owned(), detail });
        }
        Ok(members.iter().map(|(name, value)| (child(pointer, name), value)).collect())
    }

    fn channels(&mut self) -> Result<(), InvalidAsyncApi> {
        for (pointer, _) in self.members("/channels", CHANNELS_MAX)? {
            let channel = match self.resolve(&pointer) {
                Ok(channel) => channel,
                Err(reason) => {
                    self.skip(&pointer, reason);
                    continue;
                }
            };
            // A channel without an address gets one when it is used.
            let address = channel.value["address"].as_str();
            for (message, _) in self.members(&child(&channel.pointer, "messages"), MESSAGES_MAX)? {
                let Some(kind) = self.message(&message)? else { continue };
                let declared = &mut self.imported.types.entry(kind.clone()).or_default().declaration;
                declared.channel = address.filter(|address| **address != *kind).map(str::to_owned);
            }
        }
        Ok(())
    }

    fn component_messages(&mut self) -> Result<(), InvalidAsyncApi> {
        for (pointer, _) in self.members("/components/messages", MESSAGES_MAX)? {
            self.message(&pointer)?;
        }
        Ok(())
    }

    /// Takes a message in, once. The type that it became.
    fn message(&mut self, pointer: &str) -> Result<Option<String>, InvalidAsyncApi> {
        let found = match self.resolve(pointer) {
            Ok(found) => found,
            Err(reason) => {
                self.skip(pointer, reason);
                return Ok(None);
            }
        };
        if let Some(kind) = self.kinds.get(&found.pointer) {
            return Ok(Some(kind.clone()));
        }
        if self.kinds.len() >= MESSAGES_MAX {
            let detail = format!("expected at most {MESSAGES_MAX} messages, found more");
            return Err(InvalidAsyncApi { pointer: found.pointer, detail });
        }
        let message = self.with_traits(&found);
        let key = found.pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let named = text(&message, "name").filter(|name| is_type(name));
        let Some(name) = named.or_else(|| Some(key).filter(|key| is_type(key))) else {
            self.skip(&found.pointer, "expected a name that can be the type of events, such as order.placed");
            return Ok(None);
        };
        let (kind, version) = (base_type(&name).to_owned(), type_version(&name).unwrap_or(1));
        self.kinds.insert(found.pointer.clone(), kind.clone());
        let schema = match message.get("payload") {
            None => None,
            Some(payload) => match self.payload(&child(&found.pointer, "payload"), payload) {
                Ok(schema) => Some(schema),
                Err(reason) => {
                    self.skip(&child(&found.pointer, "payload"), reason);
                    None
                }
            },
        };
        if self.nodes > NODES_MAX {
            let detail = format!("expected at most {NODES_MAX} values in all schemas together, found more");
            return Err(InvalidAsyncApi { pointer: found.pointer, detail });
        }
        let declared = schema.map(|schema| ImportedSchema {
            schema,
            owner: text(&message, X_OWNER),
            description: text(&message, "description").or_else(|| text(&message, "summary")),
            examples: examples(&message),
            deprecated: text(&message, X_DEPRECATED),
        });
        let of = self.imported.types.entry(kind.clone()).or_default();
        if let Some(whole) = message.get(X_TYPE) {
            let member = |name: &str| whole.get(name).and_then(Value::as_str).map(str::to_owned);
            (of.declaration.owner, of.declaration.description) = (member("owner"), member("description"));
        } else if declared.is_none() {
            of.declaration.description = text(&message, "description").or_else(|| text(&message, "summary"));
        }
        if let Some(schema) = declared
            && of.schemas.insert(version, schema).is_some()
        {
            self.skip(&found.pointer, format!("another message is version {version} of {} too", clip(&kind)));
        }
        Ok(Some(kind))
    }

    /// A message with what its traits say where it says nothing itself.
    fn with_traits(&self, found: &Found<'d>) -> Map<String, Value> {
        let mut message = found.value.as_object().cloned().unwrap_or_default();
        let count = message.get("traits").and_then(Value::as_array).map_or(0, Vec::len);
        for index in 0..count.min(CHAIN_MAX) {
            let of_trait = self.resolve(&format!("{}/traits/{index}", found.pointer));
            let Ok(Found { value: Value::Object(members), .. }) = of_trait else { continue };
            for (name, value) in members {
                message.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        message
    }

    /// The schema of a payload, with all that it refers to inside of it.
    fn payload(&mut self, pointer: &str, payload: &Value) -> Result<Value, String> {
        let found = match payload.get("$ref") {
            Some(Value::String(reference)) => self.resolve(&local(reference)?)?,
            _ => self.resolve(pointer)?,
        };
        let found = inner(found)?;
        let mut gathered =
            Gathered { root: &found.pointer, names: BTreeMap::new(), taken: BTreeSet::new(), queue: Vec::new() };
        let mut schema = found.value.clone();
        let Value::Object(_) = schema else {
            return if schema.is_boolean() { Ok(schema) } else { Err("expected a schema, found no object".to_owned()) };
        };
        let shelf = match schema["$schema"].as_str() {
            Some(draft) if draft.contains("2019-09") || draft.contains("2020-12") => "$defs",
            _ => "definitions",
        };
        if let Some(Value::Object(own)) = schema.get(shelf) {
            gathered.taken.extend(own.keys().cloned());
        }
        self.nodes += nodes(&schema);
        gathered.localise(&mut schema, shelf)?;
        let mut definitions = Vec::new();
        while let Some((target, name)) = gathered.queue.pop() {
            let mut copy = inner(self.resolve(&target)?)?.value.clone();
            self.nodes += nodes(&copy);
            if self.nodes > NODES_MAX {
                return Err("it refers to more than may be".to_owned());
            }
            gathered.localise(&mut copy, shelf)?;
            definitions.push((name, copy));
        }
        let Value::Object(members) = &mut schema else { return Err("expected a schema, found no object".to_owned()) };
        if !definitions.is_empty() {
            let own = members.entry(shelf).or_insert_with(|| json!({}));
            let Value::Object(own) = own else { return Err(format!("expected an object in {shelf}, found none")) };
            own.extend(definitions);
        }
        members.entry("$schema").or_insert_with(|| DRAFT_UNSAID.into());
        Ok(schema)
    }

    fn operations(&mut self) -> Result<(), InvalidAsyncApi> {
        let title = self.document["info"]["title"].as_str().unwrap_or("AsyncAPI").to_owned();
        for (pointer, _) in self.members("/operations", OPERATIONS_MAX)? {
            let kinds = match self.operation_kinds(&pointer) {
                Ok(kinds) => kinds,
                Err(reason) => {
                    self.skip(&pointer, reason);
                    continue;
                }
            };
            let Ok(operation) = self.resolve(&pointer) else { continue };
            let name = operation.value[X_NAME].as_str().unwrap_or(&title);
            for kind in kinds {
                let declared = &mut self.imported.types.entry(kind).or_default().declaration;
                match operation.value["action"].as_str() {
                    Some("send") => _ = declared.publishers.insert(name.to_owned()),
                    Some("receive") => _ = declared.consumers.insert(name.to_owned()),
                    _ => {
                        self.skip(&pointer, "expected the action send or receive");
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The types that an operation is about: those of its messages, or else of its channel.
    fn operation_kinds(&self, pointer: &str) -> Result<BTreeSet<String>, String> {
        let operation = self.resolve(pointer)?;
        let messages = match operation.value.get("messages").and_then(Value::as_array) {
            Some(messages) => (0..messages.len()).map(|at| format!("{}/messages/{at}", operation.pointer)).collect(),
            None => {
                let channel = self.resolve(&child(&operation.pointer, "channel"))?;
                let members = channel.value.get("messages").and_then(Value::as_object);
                let at = child(&channel.pointer, "messages");
                members.into_iter().flatten().map(|(name, _)| child(&at, name)).collect::<Vec<_>>()
            }
        };
        let kind = |message: String| Ok::<_, String>(self.kinds.get(&self.resolve(&message)?.pointer).cloned());
        let kinds: Result<Vec<Option<String>>, String> = messages.into_iter().map(kind).collect();
        Ok(kinds?.into_iter().flatten().collect())
    }
}

/// What a schema refers to outside of itself, on its way into it.
struct Gathered<'r> {
    root: &'r str,
    /// The names of what was met, by where it is.
    names: BTreeMap<String, String>,
    taken: BTreeSet<String>,
    queue: Vec<(String, String)>,
}

impl Gathered<'_> {
    /// Makes references lead to the same inside of the schema.
    fn localise(&mut self, schema: &mut Value, shelf: &str) -> Result<(), String> {
        let mut targets = BTreeSet::new();
        let mut foreign = None;
        collect(schema, &mut targets);
        for target in &targets {
            match local(target) {
                Ok(pointer) if self.inside(&pointer).is_none() => self.name(pointer)?,
                Ok(_) => {}
                Err(reason) => foreign = foreign.or(Some(reason)),
            }
        }
        if let Some(reason) = foreign {
            return Err(reason);
        }
        rebase(schema, &|text| {
            let pointer = local(text).ok()?;
            match self.inside(&pointer) {
                Some(rest) => Some(format!("#{rest}")),
                None => self.names.get(&pointer).map(|name| format!("#/{shelf}/{}", fragment(name))),
            }
        });
        Ok(())
    }

    /// Where in the schema something is, if it is there.
    fn inside(&self, pointer: &str) -> Option<String> {
        let rest = pointer.strip_prefix(self.root)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.split('/').map(encoded).collect::<Vec<_>>().join("/"))
    }

    fn name(&mut self, pointer: String) -> Result<(), String> {
        if self.names.contains_key(&pointer) {
            return Ok(());
        }
        if self.names.len() >= DEFINITIONS_MAX {
            return Err(format!("expected a schema that refers to at most {DEFINITIONS_MAX} others, found more"));
        }
        let last = pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let mut name = last.clone();
        for number in 2.. {
            if self.taken.insert(name.clone()) {
                break;
            }
            name = format!("{last}-{number}");
        }
        self.names.insert(pointer.clone(), name.clone());
        self.queue.push((pointer, name));
        Ok(())
    }
}

/// The schema inside of a multi-format one.
fn inner(found: Found<'_>) -> Result<Found<'_>, String> {
    let Some(format) = found.value.get("schemaFormat") else { return Ok(found) };
    let format = format.as_str().unwrap_or_default();
    let known = ["application/schema+json", "application/schema+yaml", "application/vnd.aai.asyncapi"];
    if !known.iter().any(|known| format.starts_with(known)) {
        return Err(format!("expected JSON Schema, found the format {}", clip(format)));
    }
    let value = found.value.get("schema").ok_or("expected a schema beside schemaFormat, found none")?;
    Ok(Found { pointer: child(&found.pointer, "schema"), value })
}

fn collect(value: &Value, targets: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, targets)),
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "$ref" => _ = targets.insert(text.clone()),
                    member => collect(member, targets),
                }
            }
        }
        _ => {}
    }
}

/// The pointer of a reference into the document.
fn local(reference: &str) -> Result<String, String> {
    let pointer = reference.strip_prefix('#').filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let pointer =
        pointer.ok_or_else(|| format!("expected a reference into the document, found {}", clip(reference)))?;
    Ok(decoded(pointer))
}

/// The bytes that stand for themselves behind percent signs.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A part of a pointer as it stands in a URI.
fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            true => out.push(byte as char),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A name as a part of a pointer in a URI.
fn fragment(name: &str) -> String {
    encoded(&name.replace('~', "~0").replace('/', "~1"))
}

fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn is_type(name: &str) -> bool {
    (1..=TYPE_BYTES_MAX).contains(&name.len()) && !name.chars().any(|c| is_forbidden_char(c) || c.is_whitespace())
}

fn text(message: &Map<String, Value>, name: &str) -> Option<String> {
    message.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn examples(message: &Map<String, Value>) -> Vec<Value> {
    let examples = message.get("examples").and_then(Value::as_array);
    examples.into_iter().flatten().filter_map(|example| example.get("payload").cloned()).collect()
}

fn nodes(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nodes).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(nodes).sum::<usize>(),
        _ => 1,
    }
}

fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
