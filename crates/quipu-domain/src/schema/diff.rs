//! What changed between two versions of a schema, in words for a person. Whether the change breaks anybody is decided
//! elsewhere: this compares what is written, not what it means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pointer::{decode, member};
use super::violation::shown;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The field, as a JSON pointer into the data with `*` for items and for fields without a name; empty for the
    /// whole.
    pub path: String,
    /// What happened to it.
    #[serde(flatten)]
    pub kind: ChangeKind,
}

/// What happened to a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is described now.
    FieldAdded {
        /// Whether it has to be there.
        required: bool,
    },
    /// It is not described any more.
    FieldRemoved,
    /// It has to be there now.
    NowRequired,
    /// It may be missing now.
    NowOptional,
    /// It is of another type; `any` where none is said.
    TypeChanged {
        /// Before, sorted.
        from: Vec<String>,
        /// Now, sorted.
        to: Vec<String>,
    },
    /// A value is allowed now that was not in the list.
    EnumValueAdded {
        /// The value.
        value: Value,
    },
    /// A value is not in the list any more.
    EnumValueRemoved {
        /// The value.
        value: Value,
    },
    /// A keyword says something else: a limit, a pattern, a format, a description, a mark.
    KeywordChanged {
        /// The keyword.
        keyword: String,
        /// What it said; null where it was not there.
        from: Value,
        /// What it says; null where it is not there any more.
        to: Value,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "the root" } else { self.path.as_str() };
        write!(f, "{path}: ")?;
        match &self.kind {
            ChangeKind::FieldAdded { required: true } => f.write_str("added, required"),
            ChangeKind::FieldAdded { required: false } => f.write_str("added, optional"),
            ChangeKind::FieldRemoved => f.write_str("removed"),
            ChangeKind::NowRequired => f.write_str("required now"),
            ChangeKind::NowOptional => f.write_str("optional now"),
            ChangeKind::TypeChanged { from, to } => {
                write!(f, "was of type {}, is of type {}", from.join(" or "), to.join(" or "))
            }
            ChangeKind::EnumValueAdded { value } => write!(f, "may be {} now", shown(value)),
            ChangeKind::EnumValueRemoved { value } => write!(f, "may not be {} any more", shown(value)),
            ChangeKind::KeywordChanged { keyword, from: Value::Null, to } => {
                write!(f, "{keyword} is {} now", shown(to))
            }
            ChangeKind::KeywordChanged { keyword, from, to: Value::Null } => {
                write!(f, "{keyword} was {}, is not said any more", shown(from))
            }
            ChangeKind::KeywordChanged { keyword, from, to } => {
                write!(f, "{keyword} was {}, is {}", shown(from), shown(to))
            }
        }
    }
}

/// Most changes that are told. Two schemas that have more in between are different ones, not versions of one.
const CHANGES_MAX: usize = 2_000;
/// Most levels of data that are compared; deeper ones of a recursive schema say nothing new.
const LEVELS_MAX: usize = 64;

/// What changed, sorted by the field. Both are self-contained: see [`Document::bundled`](super::Document::bundled).
pub fn diff(old: &Value, new: &Value) -> Vec<Change> {
    let mut diff = Diff { old, new, changes: Vec::new(), compared: BTreeSet::new() };
    diff.schemas("", old, new, 0);
    let mut changes = diff.changes;
    // Within a field in the order in which they were found: presence, type, values, the rest.
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes.dedup();
    changes
}

struct Diff<'a> {
    old: &'a Value,
    new: &'a Value,
    changes: Vec<Change>,
    /// Pairs of definitions that were compared: a definition that many fields use is told once, at the first.
    compared: BTreeSet<(usize, usize)>,
}

/// What may stand beside a reference without a meaning for data. It is compared where the reference leads.
const ANNOTATIONS: [&str; 6] = ["$comment", "$schema", "$defs", "definitions", "title", "description"];
/// Keywords that are compared in their own way, that only name or keep something, or that say nothing about data.
const NOT_AS_THEY_STAND: [&str; 14] = [
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "$anchor",
    "$comment",
    "type",
    "enum",
    "required",
    "properties",
    "additionalProperties",
    "items",
    "x-observed",
    "examples",
];

impl<'a> Diff<'a> {
    fn schemas(&mut self, path: &str, old: &'a Value, new: &'a Value, level: usize) {
        if level > LEVELS_MAX || self.changes.len() >= CHANGES_MAX {
            return;
        }
        let (before, now) = (target(self.old, old), target(self.new, new));
        let is_shared = !std::ptr::eq(before, old) && !std::ptr::eq(now, new);
        let address = |value: &Value| std::ptr::from_ref(value).addr();
        if is_shared && !self.compared.insert((address(before), address(now))) {
            return;
        }
        let (Some(before), Some(now)) = (members(before), members(now)) else {
            self.keyword(path, "schema", Some(before), Some(now));
            return;
        };
        self.types(path, before, now);
        self.values(path, before, now);
        self.fields(path, before, now, level);
        for keyword in ["additionalProperties", "items"] {
            match (before.get(keyword), now.get(keyword)) {
                (Some(before @ Value::Object(_)), Some(now @ Value::Object(_))) => {
                    self.schemas(&format!("{path}/*"), before, now, level + 1);
                }
                (before, now) => self.keyword(path, keyword, before, now),
            }
        }
        for keyword in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            if !NOT_AS_THEY_STAND.contains(&keyword.as_str()) {
                self.keyword(path, keyword, before.get(keyword), now.get(keyword));
            }
        }
    }

    fn types(&mut self, path: &str, before: &Members, now: &Members) {
        let types = |members: &Members| -> Vec<String> {
            let mut types: Vec<String> = match members.get("type") {
                Some(Value::String(one)) => vec![one.clone()],
                Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                _ => vec!["any".to_owned()],
            };
            types.sort();
            types
        };
        let (from, to) = (types(before), types(now));
        if from != to {
            self.add(path, ChangeKind::TypeChanged { from, to });
        }
    }

    fn values(&mut self, path: &str, before: &'a Members, now: &'a Members) {
        let (Some(Value::Array(from)), Some(Value::Array(to))) = (before.get("enum"), now.get("enum")) else {
            self.keyword(path, "enum", before.get("enum"), now.get("enum"));
            return;
        };
        // Values are not ordered; their texts are.
        let texts = |list: &'a [Value]| -> BTreeMap<String, &'a Value> {
            list.iter().map(|value| (value.to_string(), value)).collect()
        };
        let (from, to) = (texts(from), texts(to));
        for (_, value) in to.iter().filter(|(text, _)| !from.contains_key(*text)) {
            self.add(path, ChangeKind::EnumValueAdded { value: (*value).clone() });
        }
        for (_, value) in from.iter().filter(|(text, _)| !to.contains_key(*text)) {
            self.add(path, ChangeKind::EnumValueRemoved { value: (*value).clone() });
        }
    }

    fn fields(&mut self, path: &str, before: &'a Members, now: &'a Members, level: usize) {
        let named = |members: &'a Members| members.get("properties").and_then(Value::as_object);
        let required = |members: &'a Members| -> BTreeSet<&'a str> {
            let list = members.get("required").and_then(Value::as_array);
            list.into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let (was_required, is_required) = (required(before), required(now));
        let keys = |members| named(members).into_iter().flat_map(Members::keys).map(String::as_str);
        let mut names: BTreeSet<&str> = keys(before).chain(keys(now)).collect();
        names.extend(was_required.iter().chain(&is_required));
        for name in names {
            let at = member(path, name);
            let field = |members| named(members).and_then(|fields| fields.get(name));
            let (old, new) = (field(before), field(now));
            match (old, new) {
                (None, Some(_)) => {
                    let required = is_required.contains(name);
                    self.add(&at, ChangeKind::FieldAdded { required });
                    continue;
                }
                (Some(_), None) => {
                    self.add(&at, ChangeKind::FieldRemoved);
                    continue;
                }
                _ => {}
            }
            match (was_required.contains(name), is_required.contains(name)) {
                (false, true) => self.add(&at, ChangeKind::NowRequired),
                (true, false) => self.add(&at, ChangeKind::NowOptional),
                _ => {}
            }
            if let (Some(old), Some(new)) = (old, new) {
                self.schemas(&at, old, new, level + 1);
            }
        }
    }

    fn keyword(&mut self, path: &str, keyword: &str, from: Option<&Value>, to: Option<&Value>) {
        if from != to {
            let [from, to] = [from, to].map(|value| value.cloned().unwrap_or_default());
            self.add(path, ChangeKind::KeywordChanged { keyword: keyword.to_owned(), from, to });
        }
    }

    fn add(&mut self, path: &str, kind: ChangeKind) {
        if self.changes.len() < CHANGES_MAX {
            self.changes.push(Change { path: path.to_owned(), kind });
        }
    }
}

type Members = Map<String, Value>;

/// The keywords of a schema. `true` has none; `false` is no set of them.
fn members(schema: &Value) -> Option<&Members> {
    static NONE: LazyLock<Members> = LazyLock::new(Members::new);
    match schema {
        Value::Object(members) => Some(members),
        Value::Bool(true) => Some(&*NONE),
        _ => None,
    }
}

/// What a schema that only refers to another one means. Beside other keywords a reference is compared as it stands.
fn target<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut at = schema;
    // A checked schema has no circle of references; one that was not checked is not followed for ever either.
    for _ in 0..128 {
        let only = at
            .as_object()
            .filter(|members| members.keys().all(|name| name == "$ref" || ANNOTATIONS.contains(&name.as_str())));
        let text = only.and_then(|members| members.get("$ref")).and_then(Value::as_str);
        let pointer = text.and_then(|text| text.strip_prefix('#')).and_then(decode);
        match pointer.and_then(|pointer| root.pointer(&pointer)) {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}
