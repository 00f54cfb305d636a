//! The members of an object, in the order in which they came.

use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::rc::Rc;

use indexmap::IndexMap;

use super::meter;
use super::value::{Error, Outcome, Size, Value, stopped};

/// Hashed with a fixed key: an outcome depends on nothing but the event. Names that collide cost steps at most in
/// proportion to the largest value.
type Members = IndexMap<Rc<str>, Value, BuildHasherDefault<DefaultHasher>>;

/// Members, and what they add up to.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    members: Members,
    size: Size,
}

/// Quotes and the colon of a member.
const BYTES_AROUND_NAME: usize = 3;

impl Object {
    pub fn size(&self) -> Size {
        self.size
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Rc<str>, &Value)> {
        self.members.iter()
    }

    /// In the order of the names. Counted, but not refused.
    pub fn sorted(&self) -> Vec<(&Rc<str>, &Value)> {
        let comparisons = self.members.len() * self.members.len().checked_ilog2().unwrap_or(0) as usize;
        meter::copied_items(comparisons);
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(name, _)| *name);
        members
    }

    /// The object for oneself, copied where somebody else has it too.
    pub fn owned(object: Rc<Self>) -> Result<Self, Error> {
        Rc::try_unwrap(object).or_else(|shared| {
            // A member has a name and a place in the table: dearer than an item.
            if meter::copied_items(4 * shared.len()) { Ok((*shared).clone()) } else { Err(stopped()) }
        })
    }

    /// Sets a member; a name that is there keeps its place. Counted, but not refused: who sets many asks the meter.
    pub fn insert(&mut self, name: Rc<str>, value: Value) {
        meter::steps(1);
        self.grow(&name, value.size());
        if let Some(before) = self.members.insert(Rc::clone(&name), value) {
            self.shrink(&name, before.size());
        }
    }

    /// Takes a member out. Those behind it move up, which is counted.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        meter::copied_items(self.members.len());
        let value = self.members.shift_remove(name)?;
        self.shrink(name, value.size());
        Some(value)
    }

    /// Lends a member out: `null` is in its place meanwhile.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        let slot = self.members.get_mut(name)?;
        let value = std::mem::take(slot);
        self.size.bytes = self.size.bytes.saturating_sub(value.size().bytes) + Value::Null.size().bytes;
        Some(value)
    }

    pub fn into_members(self) -> impl Iterator<Item = (Rc<str>, Value)> {
        self.members.into_iter()
    }

    /// Members of both, the others' where both have one.
    pub fn merged(object: Rc<Self>, more: Rc<Self>) -> Outcome {
        let mut object = Self::owned(object)?;
        for (name, value) in more.iter().take_while(|_| !meter::is_stopped()) {
            object.insert(Rc::clone(name), value.clone());
        }
        Ok(Value::object(object))
    }

    /// The same, down through objects that both have.
    pub fn merged_deeply(object: Rc<Self>, more: Rc<Self>) -> Outcome {
        let mut object = Self::owned(object)?;
        for (name, value) in Self::owned(more)?.into_members().take_while(|_| !meter::is_stopped()) {
            let value = match (object.take(&name), value) {
                (Some(Value::Object(ours)), Value::Object(theirs)) => Self::merged_deeply(ours, theirs)?,
                (_, value) => value,
            };
            object.insert(name, value);
        }
        Ok(Value::object(object))
    }

    fn grow(&mut self, name: &str, size: Size) {
        self.size.bytes = self.size.bytes.saturating_add(name.len() + BYTES_AROUND_NAME);
        self.size.add(size);
    }

    // The depth stays: it would have to be looked for, and too deep is on the safe side.
    fn shrink(&mut self, name: &str, size: Size) {
        self.size.bytes = self.size.bytes.saturating_sub(name.len() + BYTES_AROUND_NAME + size.bytes + 1);
    }
}

impl FromIterator<(Rc<str>, Value)> for Object {
    fn from_iter<I: IntoIterator<Item = (Rc<str>, Value)>>(members: I) -> Self {
        let mut object = Self::default();
        for (name, value) in members {
            object.insert(name, value);
            // One that is too large is not built to its end.
            if meter::is_stopped() || !object.size.fits() {
                break;
            }
        }
        object
    }
}
