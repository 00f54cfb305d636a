//! How projections are doing.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::projection::Projection;

/// A projection and its releases.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// The number of the release that answers queries.
    pub live: u64,
    /// The releases that are kept, by number.
    pub releases: Vec<ReleaseStatus>,
    /// Events that are passed over, each with the reason.
    pub skipped: BTreeMap<u64, String>,
    /// The newest position of the log.
    pub end: u64,
}

/// A release of a projection.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseStatus {
    /// Its number.
    pub number: u64,
    /// When it was declared.
    pub at: Timestamp,
    /// What was declared; nothing if it is code.
    pub declaration: Option<Arc<Projection>>,
    /// What it does.
    pub phase: Phase,
    /// Up to where it has taken events in.
    pub position: u64,
    /// Events a second, of late; nothing if it had nothing to do.
    pub rate: Option<f64>,
    /// Seconds until it is as far as the log, at that rate.
    pub eta_s: Option<u64>,
    /// The bytes of its database.
    pub bytes: u64,
}

/// What a release does.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Phase {
    /// It is as far as the log, or about to be.
    #[default]
    Following,
    /// It is behind, since it is new or was away.
    Building,
    /// An event cannot be taken in: it waits for somebody.
    Stopped(FailedEvent),
    /// Its database fails: it is tried again and again.
    Failing {
        /// What the database says.
        error: String,
    },
}

/// An event that a projection cannot take in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedEvent {
    /// Its position.
    pub position: u64,
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// The statement, if one failed.
    pub statement: Option<String>,
    /// Why.
    pub error: String,
}

impl std::fmt::Display for FailedEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { position, kind, error, statement, .. } = self;
        write!(f, "the event at position {position} of type {kind} cannot be taken in: {error}")?;
        statement.as_ref().map_or(Ok(()), |statement| write!(f, ", in: {statement}"))
    }
}
