//! The work that one comparison may still do.
//!
//! All its parts draw on it (the walk, the questions to the algebra, the payloads that are made and tried), each by the
//! size of what it looks at, so that no pair of schemas takes for ever. A part that gets nothing more gives up at once,
//! with whatever it has: what was concluded by then means nothing, so whoever concludes asks [`Work::is_spent`] last.

use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value;

/// Units of some 50 ns, which is what it takes to look at one schema. Clones draw on the same.
#[derive(Clone, Debug)]
pub(crate) struct Work(Rc<Left>);

#[derive(Debug)]
struct Left {
    units: Cell<u64>,
    is_spent: Cell<bool>,
}

impl Work {
    pub(crate) fn new(units: u64) -> Self {
        Self(Rc::new(Left { units: Cell::new(units), is_spent: Cell::new(false) }))
    }

    /// Pays for something; false if there is not enough left, and from then on.
    pub(crate) fn take(&self, units: usize) -> bool {
        match self.0.units.get().checked_sub(units as u64) {
            Some(left) if !self.is_spent() => {
                self.0.units.set(left);
                true
            }
            _ => {
                self.0.is_spent.set(true);
                false
            }
        }
    }

    /// Whether something was not paid, so that a conclusion may rest on half of what there is to see.
    pub(crate) fn is_spent(&self) -> bool {
        self.0.is_spent.get()
    }

    /// Gives up: something is larger than it is ever looked at.
    pub(crate) fn give_up(&self) {
        self.0.is_spent.set(true);
    }

    /// What is left.
    pub(crate) fn left(&self) -> u64 {
        self.0.units.get()
    }

    /// Starts anew with so much.
    pub(crate) fn renew(&self, units: u64) {
        self.0.units.set(units);
        self.0.is_spent.set(false);
    }

    /// Whether two values are equal, paid value by value; not, if it cannot be paid.
    pub(crate) fn equal(&self, one: &Value, other: &Value) -> bool {
        self.take(1)
            && match (one, other) {
                (Value::Object(one), Value::Object(other)) => {
                    let same =
                        |(name, value): (&String, &Value)| other.get(name).is_some_and(|it| self.equal(value, it));
                    one.len() == other.len() && one.iter().all(same)
                }
                (Value::Array(one), Value::Array(other)) => {
                    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| self.equal(one, other))
                }
                _ => one == other,
            }
    }
}

/// How large a value is: the values in it, long texts counted for more.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Object(fields) => 1 + fields.values().map(size).sum::<usize>(),
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::String(text) => 1 + text.len() / 64,
        _ => 1,
    }
}
