//! What the values at one place look like.

use serde_json::{Map, Value, json};

use super::InferenceLimits;
use super::fields::Fields;
use super::text::Texts;

/// The values at one place: how many, of which types, and what is inside of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    pub(super) count: u64,
    nulls: u64,
    booleans: u64,
    integers: u64,
    numbers: u64,
    numbers_seen: Vec<Value>,
    texts: Texts,
    fields: Fields,
    lists: u64,
    items: Option<Box<Shape>>,
    /// Whether something was not looked at: then it may be anything.
    is_open: bool,
}

/// What may still be remembered.
pub(super) struct Room {
    pub(super) limits: InferenceLimits,
    /// Fields.
    pub(super) left: usize,
}

impl Shape {
    pub(super) fn observe(&mut self, value: &Value, room: &mut Room, depth: usize) {
        self.count += 1;
        if depth > room.limits.depth {
            self.open();
        }
        if self.is_open {
            return;
        }
        match value {
            Value::Null => self.nulls += 1,
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) => {
                let is_integer = number.is_i64() || number.is_u64();
                *(if is_integer { &mut self.integers } else { &mut self.numbers }) += 1;
                self.see(value, room.limits.examples);
            }
            Value::String(text) => self.texts.observe(text, room.limits.examples),
            Value::Array(list) => {
                self.lists += 1;
                for item in list {
                    self.items.get_or_insert_default().observe(item, room, depth + 1);
                }
            }
            Value::Object(map) => self.fields.observe(map, room, depth),
        }
    }

    pub(super) fn merge(&mut self, other: &Shape, room: &mut Room, depth: usize) {
        self.count += other.count;
        if other.is_open || (depth > room.limits.depth && other.count > 0) {
            self.open();
        }
        if self.is_open {
            return;
        }
        self.nulls += other.nulls;
        self.booleans += other.booleans;
        self.integers += other.integers;
        self.numbers += other.numbers;
        for number in &other.numbers_seen {
            self.see(number, room.limits.examples);
        }
        self.texts.merge(&other.texts, room.limits.examples);
        self.lists += other.lists;
        if let Some(items) = &other.items {
            self.items.get_or_insert_default().merge(items, room, depth + 1);
        }
        self.fields.merge(&other.fields, room, depth);
    }

    /// Forgets all but how many there were.
    pub(super) fn open(&mut self) {
        *self = Shape { count: self.count, is_open: true, ..Shape::default() };
    }

    /// How many fields it remembers.
    pub(super) fn size(&self) -> usize {
        self.fields.size() + self.items.as_ref().map_or(0, |items| items.size())
    }

    fn see(&mut self, value: &Value, examples: usize) {
        if self.numbers_seen.len() < examples && !self.numbers_seen.contains(value) {
            self.numbers_seen.push(value.clone());
        }
    }

    /// Its schema; it was there so often of as many times as it could have been.
    pub(super) fn schema(&self, of: u64, examples: usize) -> Value {
        let mut schema = Map::new();
        let types = self.types();
        match types.as_slice() {
            [] => {}
            [one] => drop(schema.insert("type".to_owned(), json!(one))),
            several => drop(schema.insert("type".to_owned(), json!(several))),
        }
        self.fields.describe(&mut schema, examples);
        if let Some(items) = self.items.as_ref().filter(|_| !self.is_open) {
            schema.insert("items".to_owned(), items.schema(items.count, examples));
        }
        if let Some(format) = self.texts.format() {
            schema.insert("format".to_owned(), json!(format));
        }
        let seen: Vec<Value> = self.texts.examples().chain(self.numbers_seen.iter().cloned()).take(examples).collect();
        if !seen.is_empty() {
            schema.insert("examples".to_owned(), Value::Array(seen));
        }
        schema.insert("x-observed".to_owned(), json!({"count": self.count, "of": of}));
        Value::Object(schema)
    }

    /// The types in the order of the JSON Schema documents; none where nothing is known.
    fn types(&self) -> Vec<&'static str> {
        let number = if self.numbers > 0 { "number" } else { "integer" };
        let counts = [
            ("null", self.nulls),
            ("boolean", self.booleans),
            ("object", self.fields.count()),
            ("array", self.lists),
            (number, self.integers + self.numbers),
            ("string", self.texts.count()),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect()
    }
}
