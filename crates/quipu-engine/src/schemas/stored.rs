//! What stored events say of a schema.

use std::sync::Arc;

use quipu_domain::schema::{Inference, InferenceLimits, Validator, Violation};
use quipu_domain::{Data, Filter, TypeMatch, type_version};
use quipu_store::Fault;
use serde_json::Value;

use super::registry::{VERSION_UNSAID, violations};
use super::{check_kind, not_found};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// Most events that are named.
const NAMED_MAX: usize = 10;
/// What stands in the place of what an event has.
const NOT_SHOWN: &str = "a value that is not shown";
/// Events that are looked at at once.
const STRETCH: usize = 1_000;

/// What stored events of a type say of a schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many there are.
    pub events: u64,
    /// How many of them the schema refuses.
    pub breaking: u64,
    /// The positions of the first of those, and where each breaks it first.
    pub first: Vec<(u64, Violation)>,
}

impl Tenant {
    /// Holds all stored events of a type, of whatever version, against a schema.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn check_stored(self: &Arc<Self>, kind: &str, validator: &Validator) -> Result<Stored, Fault> {
        let filter = Filter { types: vec![TypeMatch::Is(kind.to_owned())], ..Filter::default() };
        let (mut follower, last, mut stored) = (self.follow(filter, 0), self.position(), Stored::default());
        while follower.position() < last {
            for recorded in follower.next(STRETCH)? {
                stored.events += 1;
                let recorded = self.resolve(recorded)?;
                if let Some(mut first) = violations(validator, recorded.event().data(), 1).pop() {
                    stored.breaking += 1;
                    // Who proposes a schema says what is sensitive in it, and may be wrong: the event itself is for who may read it.
                    NOT_SHOWN.clone_into(&mut first.found);
                    if stored.first.len() < NAMED_MAX {
                        stored.first.push((recorded.stamp.position, first));
                    }
                }
            }
        }
        Ok(stored)
    }

    /// A schema that accepts all stored events of a type, of whatever version, and how many those are.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`] if there is none, or the log cannot be read.
    pub fn infer_schema(self: &Arc<Self>, kind: &str) -> Result<(u64, Value), NotDone> {
        check_kind(kind)?;
        let filter = Filter { types: vec![TypeMatch::Is(kind.to_owned())], ..Filter::default() };
        let (mut follower, last) = (self.follow(filter, 0), self.position());
        let mut learned = Inference::new(InferenceLimits { examples: 0, ..InferenceLimits::default() });
        while follower.position() < last {
            for recorded in follower.next(STRETCH)? {
                if let Data::Json(text) = self.resolve(recorded)?.event().data()
                    && let Ok(value) = serde_json::from_str(text)
                {
                    learned.observe(&value);
                }
            }
        }
        match learned.count() {
            0 => Err(not_found(kind)),
            count => Ok((count, learned.schema(kind))),
        }
    }

    /// The first event of a version of a type.
    pub(super) fn first_of(self: &Arc<Self>, kind: &str, version: u32) -> Result<Option<u64>, Fault> {
        let filter = Filter { types: vec![TypeMatch::Is(kind.to_owned())], ..Filter::default() };
        let (mut follower, last) = (self.follow(filter, 0), self.position());
        while follower.position() < last {
            let has_it = |kind: &str| type_version(kind).unwrap_or(VERSION_UNSAID) == version;
            if let Some(first) = follower.next(STRETCH)?.into_iter().find(|recorded| has_it(recorded.event().kind())) {
                return Ok(Some(first.stamp.position));
            }
        }
        Ok(None)
    }
}
