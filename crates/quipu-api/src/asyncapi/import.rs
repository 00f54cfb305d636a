//! Reads a document: what its channels, messages and schemas would become. Nothing is fetched; a reference that is not local is no
//! schema. What is not understood is left out, and named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use quipu_domain::limits::{SOURCE_BYTES_MAX, TYPE_BYTES_MAX};
use quipu_domain::{base_type, is_forbidden_char, type_version};
use serde_json::{Map, Value, json};

use super::{X_DEPRECATED, X_NAME, X_OWNER, X_TYPE, X_UPCASTER, rebase};
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
/// Most values in all schemas and examples together: what is referred to from a thousand messages is put into each.
const NODES_MAX: usize = 2_000_000;
/// Most bytes of text in all that is copied, for the same reason: eight times the longest document.
const TEXT_BYTES_MAX: usize = 32 << 20;
/// Most types of operations, those of each counted: an operation on a channel is about all that the channel has.
const JOINED_MAX: usize = 200_000;
/// Most names of those who send, and most of those who receive, that a type gets: as many as may be declared.
const NAMES_MAX: usize = 64;
/// Longest reference, bytes: many may lead to each.
const REFERENCE_BYTES_MAX: usize = 4_096;
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
    /// The jq expression that makes its data of that of the version before.
    pub upcaster: Option<String>,
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
    let mut importing =
        Importing { document, imported: Imported::default(), kinds: BTreeMap::new(), copied: Copied::default() };
    importing.channels()?;
    importing.component_messages()?;
    importing.operations()?;
    Ok(importing.imported)
}

struct Importing<'d> {
    document: &'d Value,
    imported: Imported,
    /// The types that messages became, if they did, by where those are.
    kinds: BTreeMap<String, Option<String>>,
    copied: Copied,
}

/// How much was taken out of the document. Counted before it is copied: it may be little in the document and much in what comes of it.
#[derive(Default)]
struct Copied {
    values: usize,
    bytes: usize,
}

impl Copied {
    /// Counts a value. Why it may not be copied, if that is too much.
    fn count(&mut self, value: &Value) -> Result<(), String> {
        self.add(value);
        self.check()
    }

    fn count_text(&mut self, text: &str) -> Result<(), String> {
        self.bytes += text.len();
        self.check()
    }

    fn add(&mut self, value: &Value) {
        self.values += 1;
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            Value::Object(members) => {
                for (name, member) in members {
                    self.bytes += name.len();
                    self.add(member);
                }
            }
            Value::String(text) => self.bytes += text.len(),
            _ => {}
        }
    }

    fn check(&self) -> Result<(), String> {
        let expected = match (self.values > NODES_MAX, self.bytes > TEXT_BYTES_MAX) {
            (true, _) => format!("expected at most {NODES_MAX} values in all schemas and examples together"),
            (_, true) => format!("expected at most {TEXT_BYTES_MAX} bytes of text in all that comes of the messages"),
            _ => return Ok(()),
        };
        Err(format!("{expected}, found more: import it in several documents"))
    }
}

/// A message, and its traits, which say what it does not say itself.
struct Said<'d>(Vec<&'d Map<String, Value>>);

impl<'d> Said<'d> {
    fn get(&self, name: &str) -> Option<&'d Value> {
        self.0.iter().find_map(|members| members.get(name))
    }

    fn text(&self, name: &str) -> Option<&'d str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn examples(&self) -> impl Iterator<Item = &'d Value> {
        let examples = self.get("examples").and_then(Value::as_array);
        examples.into_iter().flatten().filter_map(|example| example.get("payload"))
    }
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
        let mut known = BTreeSet::new();
        for (pointer, _) in self.members("/channels", CHANNELS_MAX)? {
            let channel = match self.resolve(&pointer) {
                Ok(channel) => channel,
                Err(reason) => {
                    self.skip(&pointer, reason);
                    continue;
                }
            };
            if !known.insert(channel.pointer.clone()) {
                continue;
            }
            // A channel without an address gets one when it is used.
            let address = channel.value["address"].as_str();
            for (message, _) in self.members(&child(&channel.pointer, "messages"), MESSAGES_MAX)? {
                let Some(kind) = self.message(&message)? else { continue };
                let address = address.filter(|address| **address != *kind);
                let channel = self.copy(&message, address)?;
                self.imported.types.entry(kind).or_default().declaration.channel = channel;
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
            return Ok(kind.clone());
        }
        if self.kinds.len() >= MESSAGES_MAX {
            let detail = format!("expected at most {MESSAGES_MAX} messages, found more");
            return Err(InvalidAsyncApi { pointer: found.pointer, detail });
        }
        let said = self.said(&found);
        let key = found.pointer.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~");
        let named = said.text("name").filter(|name| is_type(name)).map(str::to_owned);
        let Some(name) = named.or_else(|| Some(key).filter(|key| is_type(key))) else {
            self.skip(&found.pointer, "expected a name that can be the type of events, such as order.placed");
            self.kinds.insert(found.pointer, None);
            return Ok(None);
        };
        let (kind, version) = (base_type(&name).to_owned(), type_version(&name).unwrap_or(1));
        self.kinds.insert(found.pointer.clone(), Some(kind.clone()));
        let schema = match said.get("payload") {
            None => None,
            Some(payload) => match self.payload(&child(&found.pointer, "payload"), payload) {
                Ok(schema) => Some(schema),
                Err(reason) => {
                    self.skip(&child(&found.pointer, "payload"), reason);
                    None
                }
            },
        };
        // Too much in all is no fault of this one schema.
        let too_much = |detail| InvalidAsyncApi { pointer: found.pointer.clone(), detail };
        self.copied.check().map_err(too_much)?;
        let description = said.text("description").or_else(|| said.text("summary"));
        let declared = match schema {
            None => None,
            Some(schema) => {
                said.examples().try_for_each(|example| self.copied.count(example)).map_err(too_much)?;
                Some(ImportedSchema {
                    schema,
                    owner: self.copy(&found.pointer, said.text(X_OWNER))?,
                    description: self.copy(&found.pointer, description)?,
                    examples: said.examples().cloned().collect(),
                    deprecated: self.copy(&found.pointer, said.text(X_DEPRECATED))?,
                    upcaster: self.upcaster(&found.pointer, said.get(X_UPCASTER))?,
                })
            }
        };
        if let Some(whole) = said.get(X_TYPE) {
            let member = |name: &str| whole.get(name).and_then(Value::as_str);
            let (owner, description) =
                (self.copy(&found.pointer, member("owner"))?, self.copy(&found.pointer, member("description"))?);
            let of = self.imported.types.entry(kind.clone()).or_default();
            (of.declaration.owner, of.declaration.description) = (owner, description);
        } else if declared.is_none() {
            let description = self.copy(&found.pointer, description)?;
            self.imported.types.entry(kind.clone()).or_default().declaration.description = description;
        }
        let of = self.imported.types.entry(kind.clone()).or_default();
        if let Some(schema) = declared
            && of.schemas.insert(version, schema).is_some()
        {
            self.skip(&found.pointer, format!("another message is version {version} of {} too", clip(&kind)));
        }
        Ok(Some(kind))
    }

    /// An upcaster, if it is one that a server runs.
    fn upcaster(&mut self, pointer: &str, said: Option<&Value>) -> Result<Option<String>, InvalidAsyncApi> {
        let jq = said.and_then(|said| said.get("jq")).and_then(Value::as_str);
        if said.is_some() && jq.is_none() {
            self.skip(&child(pointer, X_UPCASTER), "expected an upcaster that a server runs, an object with jq");
        }
        self.copy(pointer, jq)
    }

    /// Copies a text that is not too much.
    fn copy(&mut self, pointer: &str, text: Option<&str>) -> Result<Option<String>, InvalidAsyncApi> {
        let Some(text) = text else { return Ok(None) };
        let too_much = |detail| InvalidAsyncApi { pointer: pointer.to_owned(), detail };
        self.copied.count_text(text).map_err(too_much)?;
        Ok(Some(text.to_owned()))
    }

    fn said(&self, found: &Found<'d>) -> Said<'d> {
        let mut said = Said(found.value.as_object().into_iter().collect());
        let count = found.value.get("traits").and_then(Value::as_array).map_or(0, Vec::len);
        for index in 0..count.min(CHAIN_MAX) {
            let of_trait = self.resolve(&format!("{}/traits/{index}", found.pointer));
            said.0.extend(of_trait.ok().and_then(|of_trait| of_trait.value.as_object()));
        }
        said
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
        let Value::Object(_) = found.value else {
            return match found.value.is_boolean() {
                true => Ok(found.value.clone()),
                false => Err("expected a schema, found no object".to_owned()),
            };
        };
        self.copied.count(found.value)?;
        let mut schema = found.value.clone();
        let shelf = match schema["$schema"].as_str() {
            Some(draft) if draft.contains("2019-09") || draft.contains("2020-12") => "$defs",
            _ => "definitions",
        };
        if let Some(Value::Object(own)) = schema.get(shelf) {
            gathered.taken.extend(own.keys().cloned());
        }
        gathered.localise(&mut schema, shelf)?;
        let mut definitions = Vec::new();
        while let Some((target, name)) = gathered.queue.pop() {
            let found = inner(self.resolve(&target)?)?.value;
            self.copied.count(found)?;
            let mut copy = found.clone();
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
        let title = self.document["info"]["title"].as_str().unwrap_or("AsyncAPI");
        check_name("/info/title", title)?;
        let (mut known, mut joined) = (BTreeMap::new(), 0);
        for (pointer, _) in self.members("/operations", OPERATIONS_MAX)? {
            let found = self.resolve(&pointer).and_then(|found| Ok((self.operation_kinds(&found, &mut known)?, found)));
            let (kinds, operation) = match found {
                Ok(found) => found,
                Err(reason) => {
                    self.skip(&pointer, reason);
                    continue;
                }
            };
            joined += kinds.len();
            if joined > JOINED_MAX {
                let detail = format!(
                    "expected operations about at most {JOINED_MAX} types, each counted with those of every operation, found more: \
                     name the messages of each operation"
                );
                return Err(InvalidAsyncApi { pointer, detail });
            }
            let name = operation.value[X_NAME].as_str().unwrap_or(title);
            check_name(&pointer, name)?;
            for kind in kinds.iter() {
                let declared = &mut self.imported.types.entry(kind.clone()).or_default().declaration;
                let names = match operation.value["action"].as_str() {
                    Some("send") => &mut declared.publishers,
                    Some("receive") => &mut declared.consumers,
                    _ => {
                        self.skip(&pointer, "expected the action send or receive");
                        break;
                    }
                };
                if names.len() >= NAMES_MAX && !names.contains(name) {
                    let kind = clip(kind);
                    let detail = format!(
                        "expected at most {NAMES_MAX} names of who sends and of who receives {kind}, found more"
                    );
                    return Err(InvalidAsyncApi { pointer, detail });
                }
                // At most 64 names of each of 1,000 types: they are counted nowhere else.
                names.insert(name.to_owned());
            }
        }
        Ok(())
    }

    /// The types that an operation is about: those of its messages, or else of its channel. `known` has them by where the messages
    /// are, since many operations may be about the same.
    fn operation_kinds(
        &self,
        operation: &Found<'d>,
        known: &mut BTreeMap<String, Rc<BTreeSet<String>>>,
    ) -> Result<Rc<BTreeSet<String>>, String> {
        let own = operation.value.get("messages").and_then(Value::as_array);
        let holder = match own {
            Some(_) => operation.clone(),
            None => self.resolve(&child(&operation.pointer, "channel"))?,
        };
        if let Some(kinds) = known.get(&holder.pointer) {
            return Ok(Rc::clone(kinds));
        }
        let at = child(&holder.pointer, "messages");
        let messages: Vec<String> = match own {
            Some(messages) => (0..messages.len()).map(|index| format!("{at}/{index}")).collect(),
            None => {
                let members = holder.value.get("messages").and_then(Value::as_object);
                members.into_iter().flatten().map(|(name, _)| child(&at, name)).collect()
            }
        };
        let mut kinds = BTreeSet::new();
        for message in messages {
            kinds.extend(self.kinds.get(&self.resolve(&message)?.pointer).cloned().flatten());
        }
        let kinds = Rc::new(kinds);
        known.insert(holder.pointer, Rc::clone(&kinds));
        Ok(kinds)
    }
}

fn check_name(pointer: &str, name: &str) -> Result<(), InvalidAsyncApi> {
    if name.len() <= SOURCE_BYTES_MAX {
        return Ok(());
    }
    let detail = format!("expected a name of at most {SOURCE_BYTES_MAX} bytes, found {}", name.len());
    Err(InvalidAsyncApi { pointer: pointer.to_owned(), detail })
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
    if reference.len() > REFERENCE_BYTES_MAX {
        return Err(format!("expected a reference of at most {REFERENCE_BYTES_MAX} bytes, found {}", reference.len()));
    }
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

fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
