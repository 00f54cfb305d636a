//! Which types the values at a place can have, and which values, if they are few.

use serde_json::{Map, Value};

use super::keyword::{Form, schemas_in};
use super::tree::{Located, Tree, address, listed};
use super::work::size;

/// Alternatives of one place that are looked at one by one.
const ALTERNATIVES_MAX: usize = 32;

/// A set of types; integers and other numbers are two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NULL: Kinds = Kinds(1);
    pub(crate) const BOOLEAN: Kinds = Kinds(2);
    pub(crate) const INTEGER: Kinds = Kinds(4);
    pub(crate) const STRING: Kinds = Kinds(16);
    pub(crate) const ARRAY: Kinds = Kinds(32);
    pub(crate) const OBJECT: Kinds = Kinds(64);
    pub(crate) const NUMBERS: Kinds = Kinds(12);
    const NONE: Kinds = Kinds(0);
    const ALL: Kinds = Kinds(127);

    /// What the keyword `type` states.
    pub(crate) fn of_type(stated: &Value) -> Kinds {
        match stated {
            Value::String(name) => match name.as_str() {
                "null" => Kinds::NULL,
                "boolean" => Kinds::BOOLEAN,
                "integer" => Kinds::INTEGER,
                "number" => Kinds::NUMBERS,
                "string" => Kinds::STRING,
                "array" => Kinds::ARRAY,
                "object" => Kinds::OBJECT,
                _ => Kinds::NONE,
            },
            Value::Array(names) => names.iter().fold(Kinds::NONE, |kinds, name| kinds.or(Kinds::of_type(name))),
            _ => Kinds::ALL,
        }
    }

    fn of_value(value: &Value) -> Kinds {
        match value {
            Value::Null => Kinds::NULL,
            Value::Bool(_) => Kinds::BOOLEAN,
            Value::Number(_) => Kinds::NUMBERS,
            Value::String(_) => Kinds::STRING,
            Value::Array(_) => Kinds::ARRAY,
            Value::Object(_) => Kinds::OBJECT,
        }
    }

    pub(crate) fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    pub(crate) fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    pub(crate) fn meets(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn within(self, other: Kinds) -> bool {
        self.0 & !other.0 == 0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl<'a> Tree<'a> {
    /// The types that values at a place can have.
    pub(crate) fn kinds(&self, at: &Located<'a>) -> Kinds {
        self.kinds_of(&at.holds, 4)
    }

    fn kinds_of(&self, holds: &[&'a Value], depth: usize) -> Kinds {
        self.work.take(holds.len());
        holds.iter().fold(Kinds::ALL, |kinds, schema| kinds.and(self.kinds_of_one(schema, depth)))
    }

    fn kinds_of_one(&self, schema: &'a Value, depth: usize) -> Kinds {
        let map = match schema {
            Value::Bool(false) => return Kinds::NONE,
            Value::Object(map) => map,
            _ => return Kinds::ALL,
        };
        let mut kinds = map.get("type").map_or(Kinds::ALL, Kinds::of_type);
        if let Some(values) = stated(map) {
            self.work.take(values.len() / 8);
            kinds = kinds.and(values.iter().fold(Kinds::NONE, |kinds, value| kinds.or(Kinds::of_value(value))));
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches = listed(schema, keyword);
            if depth > 0 && !branches.is_empty() && !self.work.is_spent() {
                let of = |branch: &&'a Value| self.kinds_of(&self.holding(&[*branch]), depth - 1);
                kinds = kinds.and(branches.iter().fold(Kinds::NONE, |kinds, branch| kinds.or(of(branch))));
            }
        }
        kinds
    }

    /// The values that a place can have, if they are listed.
    pub(crate) fn values(&self, at: &Located<'a>) -> Option<Vec<Value>> {
        self.work.take(at.holds.len());
        let lists = at.holds.iter().filter_map(|schema| stated(schema.as_object()?));
        if let Some(shortest) = lists.min_by_key(|list| list.len()) {
            let paid = self.work.take(shortest.iter().map(size).sum());
            return Some(if paid { shortest.to_vec() } else { Vec::new() });
        }
        let kinds = self.kinds(at);
        if !kinds.within(Kinds::NULL.or(Kinds::BOOLEAN)) {
            return None;
        }
        let all = [Value::Null, Value::Bool(false), Value::Bool(true)];
        Some(all.into_iter().filter(|value| Kinds::of_value(value).within(kinds)).collect())
    }

    /// A place as the alternatives of what is written there: `anyOf`, `oneOf` and `if` resolved. They may overlap,
    /// and together are at least the whole. One, the place itself, if there are none or too many.
    pub(crate) fn alternatives(&self, at: &Located<'a>) -> Vec<Located<'a>> {
        let mut done = vec![at.clone()];
        let mut resolved: Vec<(usize, &str)> = Vec::new();
        for _ in 0..4 {
            let mut next = Vec::new();
            let mut changed = Vec::new();
            for at in &done {
                self.work.take(2 * at.holds.len());
                let open = at.holds.iter().copied().find_map(|schema| {
                    let choices = choices(schema);
                    choices
                        .into_iter()
                        .find(|(word, _)| !resolved.contains(&(address(schema), word)))
                        .map(|(word, branches)| (address(schema), word, branches))
                });
                match open {
                    None => next.push(at.clone()),
                    Some((address, word, branches)) => {
                        changed.push((address, word));
                        if next.len() + branches.len() > ALTERNATIVES_MAX || self.work.is_spent() {
                            return done;
                        }
                        for branch in branches {
                            self.work.take(at.declares.len() / 8);
                            let holds: Vec<_> = at.holds.iter().copied().chain(branch).collect();
                            next.push(Located { holds: self.holding(&holds), declares: at.declares.clone() });
                        }
                    }
                }
            }
            if changed.is_empty() || next.len() > ALTERNATIVES_MAX {
                break;
            }
            resolved.extend(changed);
            done = next;
        }
        done
    }
}

/// The choices that a schema leaves, and of each the branches with what holds in it.
fn choices(schema: &Value) -> Vec<(&'static str, Vec<Vec<&Value>>)> {
    let mut choices = Vec::new();
    for keyword in ["anyOf", "oneOf"] {
        let branches = schema.get(keyword).map(|list| schemas_in(Form::Many, list)).unwrap_or_default();
        if !branches.is_empty() {
            choices.push((keyword, branches.into_iter().map(|branch| vec![branch]).collect()));
        }
    }
    if let Some(condition) = schema.get("if") {
        let met = [Some(condition), schema.get("then")].into_iter().flatten().collect();
        choices.push(("if", vec![met, schema.get("else").into_iter().collect()]));
    }
    choices
}

/// The values that `enum` or `const` lists.
fn stated(map: &Map<String, Value>) -> Option<&[Value]> {
    match (map.get("const"), map.get("enum")) {
        (Some(one), _) => Some(std::slice::from_ref(one)),
        (None, Some(Value::Array(list))) => Some(list),
        _ => None,
    }
}
