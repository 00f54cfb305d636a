//! Which single thing: an event by its source and id, or the source of a checkpoint.

use super::view::{View, ViewSlots};
use super::{missing, pairs, unknown, write_query};
use crate::Problem;
use crate::parameter::once;

/// Which event: its `source` and `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventKey {
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
}

impl EventKey {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        Self::and(query, "source and id", |_, _| Ok(false))
    }

    /// As [`EventKey::from_query`]; other parameters are offered to `accept`.
    fn and(
        query: &str,
        known: &str,
        mut accept: impl FnMut(&str, &str) -> Result<bool, Problem>,
    ) -> Result<Self, Problem> {
        let (mut source, mut id) = (None, None);
        for (name, value) in pairs(query) {
            match name.as_ref() {
                "source" => once(&name, &mut source, value.into_owned())?,
                "id" => once(&name, &mut id, value.into_owned())?,
                _ if accept(&name, &value)? => true,
                _ => return Err(unknown(&name, known)),
            };
        }
        let missing = |name: &'static str| move || missing(name);
        Ok(Self { source: source.ok_or_else(missing("source"))?, id: id.ok_or_else(missing("id"))? })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        write_query([("source", self.source.clone()), ("id", self.id.clone())])
    }
}

/// Which event, and how it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRequest {
    /// Which one.
    pub key: EventKey,
    /// How it is shown.
    pub view: View,
}

impl EventRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut slots = ViewSlots::default();
        let key = EventKey::and(query, "source, id, schemaversion or data", |name, value| slots.accept(name, value))?;
        Ok(Self { key, view: slots.view() })
    }
}

/// Reads the query string of a checkpoint: its `source`.
///
/// # Errors
/// `invalid-parameter`, with the name of the parameter.
pub fn checkpoint_source(query: &str) -> Result<String, Problem> {
    only(query, "source")
}

/// That the name of what is to be deleted is said twice.
///
/// # Errors
/// It is missing or another, or there is another parameter.
pub fn confirmed(query: &str, name: &str) -> Result<(), Problem> {
    let confirm = only(query, "confirm")?;
    match confirm == name {
        true => Ok(()),
        false => Err(Problem::parameter("confirm", "the name of what is to be deleted once more", &confirm)),
    }
}

/// The one parameter.
fn only(query: &str, expected: &str) -> Result<String, Problem> {
    let mut found = None;
    for (name, value) in pairs(query) {
        if name != expected {
            return Err(unknown(&name, expected));
        }
        once(&name, &mut found, value.into_owned())?;
    }
    found.ok_or_else(|| missing(expected))
}
