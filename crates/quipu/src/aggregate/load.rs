//! A state as of now: from the newest snapshot that is this code's and this log's, or from the beginning, and the events since.

use std::fmt::Write as _;

use quipu_domain::{Direction, Filter, Query, Range, base_type};
use quipu_engine::{KeptState, Recorded, StateOf};

use super::read::version_wanted;
use super::shape::{Shape, shape, variants};
use super::{Aggregate, Aggregates, NotHandled, read};
use crate::quipu::PAGE_EVENTS;

/// An aggregate as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded<A> {
    /// What its events made of it.
    pub state: A,
    /// The version of the stream's newest event that is in it; 0 if there is none.
    pub version: u64,
}

/// What a decision rests on.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    Stream(String),
    Query(Query),
}

/// A state, and what it knows of.
pub(super) struct Known<A> {
    pub state: A,
    /// The newest version of the stream that is in it.
    pub version: u64,
    /// All that matters is in it up to this position.
    pub position: u64,
    /// The version of the newest snapshot.
    snapshot: u64,
    /// What told the code from other code before the first event was read.
    fingerprint: String,
}

impl<A: Aggregate> Known<A> {
    /// Whether a stream of this version is to have a newer snapshot.
    pub fn is_due(&self, version: u64) -> bool {
        A::SNAPSHOT_EVERY > 0 && version >= self.snapshot + A::SNAPSHOT_EVERY
    }
}

impl<A: Aggregate> Aggregates<A> {
    /// An aggregate as it is now. One without events is the default.
    ///
    /// # Errors
    /// [`NotHandled::Unreadable`], or the disk failed.
    pub fn load(&self, id: &str) -> Result<Loaded<A>, NotHandled<A::Refusal>> {
        let scope = Scope::Stream(self.stream(id));
        let known = self.know(&scope)?;
        Ok(Loaded { state: known.state, version: known.version })
    }

    /// What is known of a scope now.
    pub(super) fn know(&self, scope: &Scope) -> Result<Known<A>, NotHandled<A::Refusal>> {
        let mut known = self.remembered(scope)?;
        self.catch_up(scope, &mut known)?;
        self.keep(scope, &mut known);
        Ok(known)
    }

    /// Reads on from where a state ends.
    pub(super) fn catch_up(&self, scope: &Scope, known: &mut Known<A>) -> Result<(), NotHandled<A::Refusal>> {
        // Asked for before reading: what is recorded meanwhile is left to the condition of the append.
        let to = self.quipu.position();
        let mut next = Some(known.position + 1).filter(|from| *from <= to);
        let positions = Range { from: None, to: Some(to) };
        let filter = match scope {
            Scope::Stream(stream) => Filter { subjects: vec![stream.clone()], positions, ..Filter::default() },
            Scope::Query(query) => Filter { query: query.clone(), positions, ..Filter::default() },
        };
        while let Some(from) = next {
            let page = self.quipu.read(&filter, Direction::Forward, Some(from), PAGE_EVENTS)?;
            for recorded in page.events {
                let version = recorded.stamp.stream_version.unwrap_or_default();
                known.state.evolve(self.as_event(&recorded)?);
                known.version = version;
            }
            next = page.next;
        }
        known.position = to.max(known.position);
        Ok(())
    }

    /// A recorded event as one of the aggregate's.
    pub(super) fn as_event(&self, recorded: &Recorded) -> Result<A::Event, NotHandled<A::Refusal>> {
        let (position, variants) = (recorded.stamp.position, variants::<A::Event>());
        let event = recorded.event();
        let wanted = version_wanted(event.kind(), variants);
        let turned = self.quipu.tenant.read_as(recorded, &event, wanted).map_err(crate::Error::from)?;
        let event = turned.as_ref().map_or(event, Recorded::event);
        read(&event, variants).map_err(|reason| NotHandled::Unreadable { position, reason })
    }

    /// The state of the newest snapshot, or the one before the first event.
    fn remembered(&self, scope: &Scope) -> Result<Known<A>, NotHandled<A::Refusal>> {
        let fingerprint = self.fingerprint();
        let kept = match scope {
            Scope::Stream(stream) => self.snapshot(stream, &fingerprint)?,
            Scope::Query(_) => None,
        };
        Ok(match kept {
            Some((state, KeptState { version, position, .. })) => {
                Known { state, version, position, snapshot: version, fingerprint }
            }
            None => Known { state: A::default(), version: 0, position: 0, snapshot: 0, fingerprint },
        })
    }

    /// The newest snapshot of a stream that is of this code, and the state in it.
    pub(super) fn snapshot(&self, stream: &str, fingerprint: &str) -> Result<Option<(A, KeptState)>, crate::Error> {
        if A::SNAPSHOT_EVERY == 0 {
            return Ok(None);
        }
        let kept = self.quipu.tenant.kept_state(StateOf { name: A::NAME, stream, fingerprint })?;
        Ok(kept.and_then(|kept| Some((rmp_serde::from_slice(&kept.state).ok()?, kept))))
    }

    /// Keeps a snapshot if enough has happened since the last. Nobody waits for one that cannot be kept: it is tried again with the
    /// next load.
    pub(super) fn keep(&self, scope: &Scope, known: &mut Known<A>) {
        let Scope::Stream(stream) = scope else { return };
        if !known.is_due(known.version) {
            return;
        }
        // What was read by other upcasters is not what these make of it.
        if self.fingerprint() != known.fingerprint {
            return;
        }
        let of = StateOf { name: A::NAME, stream, fingerprint: &known.fingerprint };
        let state = rmp_serde::to_vec_named(&known.state);
        let newest = self.quipu.stream(stream).ok().filter(|newest| newest.version == known.version);
        if let (Ok(state), Some(newest)) = (state, newest) {
            let kept = KeptState { version: known.version, position: newest.position, state };
            if self.quipu.tenant.keep_state(of, &kept).is_ok() {
                known.snapshot = known.version;
            }
        }
    }

    /// What tells this code from other code as far as can be told: the version that it says it has, what the compiler and serde
    /// know of its state and its events, and what turns old events. What `evolve` does with them, nobody but the user knows.
    pub(super) fn fingerprint(&self) -> String {
        let mut text = format!("{} {} {}", A::EVOLVE_VERSION, size_of::<A>(), std::any::type_name::<A>());
        for shape in [shape::<A>(), shape::<A::Event>()] {
            let (Shape::Struct(name, names) | Shape::Enum(name, names)) = shape else { continue };
            write!(text, " {name}({})", names.join(",")).expect("a text takes what is written");
        }
        let kinds = variants::<A::Event>().iter().map(|name| base_type(name));
        match self.quipu.tenant.upcasters_digest(kinds) {
            Some(upcasters) => format!("{text} {upcasters}"),
            None => text,
        }
    }
}
