//! What stored events say of a schema.

use std::ops::ControlFlow;
use std::sync::Arc;

use quipu_domain::schema::{Inference, InferenceLimits, SchemaVersion, Validator, Violation};
use quipu_domain::{Data, Filter, TypeMatch, type_version};
use quipu_store::Fault;
use serde_json::Value;

use super::registry::{Registry, VERSION_UNSAID, violations};
use super::{check_kind, not_found};
use crate::read::Recorded;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// Most events that are named.
pub(super) const NAMED_MAX: usize = 10;
/// What stands in the place of what an event has.
const NOT_SHOWN: &str = "a value that is not shown";
/// Events that are looked at at once.
pub(super) const STRETCH: usize = 1_000;

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
    /// Holds all stored events of a type, of whatever version, against a schema: as the upcasters into versions
    /// up to `to` make them.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(super) fn check_stored(
        self: &Arc<Self>,
        registry: &Registry,
        kind: &str,
        to: u32,
        validator: &Validator,
    ) -> Result<Stored, Fault> {
        let mut stored = Stored::default();
        self.each_stored(kind, 0, u64::MAX, |events| {
            for recorded in events {
                stored.events += 1;
                let recorded = self.resolve(recorded.clone())?;
                let (event, turned) = (recorded.event(), registry.upcast(&recorded.event(), SchemaVersion::At(to)));
                let first = match turned {
                    Ok(turned) => violations(validator, turned.as_ref().unwrap_or(&event).data(), 1).pop(),
                    Err(_) => Some(Violation::of_all("data that upcasters turn", NOT_SHOWN)),
                };
                if let Some(mut first) = first {
                    stored.breaking += 1;
                    // Who proposes a schema says what is sensitive in it, and may be wrong: the event itself is for who may read it.
                    NOT_SHOWN.clone_into(&mut first.found);
                    if stored.first.len() < NAMED_MAX {
                        stored.first.push((recorded.stamp.position, first));
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(stored)
    }

    /// A schema that accepts all stored events of a type, of whatever version, and how many those are.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`](super::SchemaRefusal::NotFound) if there is none, or the log cannot be read.
    pub fn infer_schema(self: &Arc<Self>, kind: &str) -> Result<(u64, Value), NotDone> {
        check_kind(kind)?;
        let mut learned = Inference::new(InferenceLimits { examples: 0, ..InferenceLimits::default() });
        self.each_stored(kind, 0, u64::MAX, |events| {
            for recorded in events {
                if let Data::Json(text) = self.resolve(recorded.clone())?.event().data()
                    && let Ok(value) = serde_json::from_str(text)
                {
                    learned.observe(&value);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match learned.count() {
            0 => Err(not_found(kind)),
            count => Ok((count, learned.schema(kind))),
        }
    }

    /// The first event of a version of a type behind a position.
    pub(super) fn first_of(self: &Arc<Self>, kind: &str, version: u32, after: u64) -> Result<Option<u64>, Fault> {
        let has_it = |kind: &str| type_version(kind).unwrap_or(VERSION_UNSAID) == version;
        let mut first = None;
        self.each_stored(kind, after, u64::MAX, |events| {
            let found = events.iter().find(|recorded| has_it(recorded.event().kind()));
            first = found.map(|recorded| recorded.stamp.position);
            Ok(found.map_or(ControlFlow::Continue(()), |_| ControlFlow::Break(())))
        })?;
        Ok(first)
    }

    /// Looks at the events of a type, of whatever version, that are stored behind a position now: some at once, until `look` has
    /// seen enough or about `most` were looked at. Returns how far it is.
    pub(super) fn each_stored(
        self: &Arc<Self>,
        kind: &str,
        after: u64,
        most: u64,
        mut look: impl FnMut(&[Recorded]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<u64, Fault> {
        let filter = Filter { types: vec![TypeMatch::Is(kind.to_owned())], ..Filter::default() };
        let (mut follower, last, mut seen) = (self.follow(filter, after), self.position(), 0);
        while follower.position() < last && seen < most {
            let events = follower.next(STRETCH)?;
            seen += events.len() as u64;
            if look(&events)?.is_break() {
                break;
            }
        }
        Ok(follower.position())
    }
}
