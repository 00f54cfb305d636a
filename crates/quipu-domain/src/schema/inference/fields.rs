//! What the objects at one place look like: fields with names, or a map whose keys are data.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::shape::{Room, Shape};

/// Longest name of a field that is remembered. A longer one is data.
const NAME_BYTES_MAX: usize = 128;

/// The fields of objects.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    count: u64,
    named: BTreeMap<String, Shape>,
    /// The values of all fields that are not named. Once there are such, no further name is learned.
    others: Option<Box<Shape>>,
}

impl Fields {
    pub(super) fn observe(&mut self, map: &Map<String, Value>, room: &mut Room, depth: usize) {
        self.count += 1;
        for (name, value) in map {
            if self.is_full(name, room) {
                self.make_room(room, depth);
            }
            self.field(name, room).observe(value, room, depth + 1);
        }
    }

    pub(super) fn merge(&mut self, other: &Fields, room: &mut Room, depth: usize) {
        self.count += other.count;
        if let Some(others) = &other.others {
            // A name that only this side has may have been among those that the other side did not name.
            let only_mine: Vec<String> =
                self.named.keys().filter(|name| !other.named.contains_key(*name)).cloned().collect();
            for name in only_mine {
                self.unname(&name, room, depth);
            }
            self.others.get_or_insert_default().merge(others, room, depth + 1);
        }
        for (name, shape) in &other.named {
            if self.is_full(name, room) {
                self.make_room(room, depth);
            }
            self.field(name, room).merge(shape, room, depth + 1);
        }
    }

    /// Whether a name cannot be learned any more.
    fn is_full(&self, name: &str, room: &Room) -> bool {
        let is_known = self.others.is_some() || self.named.contains_key(name);
        let is_too_many = self.named.len() >= room.limits.object_fields || room.left == 0;
        !is_known && (is_too_many || name.len() > NAME_BYTES_MAX)
    }

    /// Gives names up: all of them where the object is a map; where there is only no room for another, just that one.
    fn make_room(&mut self, room: &mut Room, depth: usize) {
        self.others.get_or_insert_default();
        if self.named.len() >= room.limits.object_fields {
            let names: Vec<String> = self.named.keys().cloned().collect();
            for name in names {
                self.unname(&name, room, depth);
            }
        }
    }

    fn unname(&mut self, name: &str, room: &mut Room, depth: usize) {
        if let Some(shape) = self.named.remove(name) {
            room.left += 1 + shape.size();
            self.others.get_or_insert_default().merge(&shape, room, depth + 1);
        }
    }

    fn field(&mut self, name: &str, room: &mut Room) -> &mut Shape {
        if let Some(others) = &mut self.others
            && !self.named.contains_key(name)
        {
            return others;
        }
        self.named.entry(name.to_owned()).or_insert_with(|| {
            room.left = room.left.saturating_sub(1);
            Shape::default()
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn size(&self) -> usize {
        let named = self.named.values().map(|shape| 1 + shape.size()).sum::<usize>();
        named + self.others.as_ref().map_or(0, |others| others.size())
    }

    /// Says what is known about objects.
    pub(super) fn describe(&self, schema: &mut Map<String, Value>, examples: usize) {
        let required: Vec<&String> =
            self.named.iter().filter(|(_, shape)| shape.count == self.count).map(|(name, _)| name).collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
        }
        if !self.named.is_empty() {
            let field = |(name, shape): (&String, &Shape)| (name.clone(), shape.schema(self.count, examples));
            schema.insert("properties".to_owned(), Value::Object(self.named.iter().map(field).collect()));
        }
        if let Some(others) = &self.others {
            schema.insert("additionalProperties".to_owned(), others.schema(others.count, examples));
        }
    }
}
