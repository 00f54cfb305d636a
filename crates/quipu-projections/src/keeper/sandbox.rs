//! A read model that is built to be looked at once, in a file of its own: nobody asks it, and it is gone afterwards.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use quipu_engine::{CommitFollower, Fault, Followed, FollowedCommit, Head, Tampered, Tenant};

use super::{BATCH_BYTES, Inner};
use crate::refusal::NotDone;
use crate::status::FailedEvent;
use crate::step::Source;
use crate::store::{Broken, Model, NotTaken, Place, Reader, Wanted};

/// How far a verification is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifyProgress {
    /// The log was read up to this position.
    pub position: u64,
    /// Up to where it is read.
    pub end: u64,
    /// Positions a second.
    pub rate: f64,
    /// Whether the rows that differ are followed by now, which reads the log once more.
    pub is_tracing: bool,
}

/// Why a read model was not built.
pub(super) enum NotBuilt {
    /// The log is not what was written.
    Tampered(Tampered),
    /// An event cannot be taken in.
    Stopped(Box<FailedEvent>),
    /// Whoever asked does not wait any more.
    Cancelled,
    /// Something else was not done.
    NotDone(NotDone),
}

impl From<NotDone> for NotBuilt {
    fn from(reason: NotDone) -> Self {
        Self::NotDone(reason)
    }
}

/// Who is told how far it is, and says whether to go on.
pub(super) struct Teller<'a> {
    tell: &'a mut dyn FnMut(VerifyProgress) -> bool,
    is_tracing: bool,
    began: Instant,
}

impl<'a> Teller<'a> {
    pub fn new(tell: &'a mut dyn FnMut(VerifyProgress) -> bool) -> Self {
        Self { tell, is_tracing: false, began: Instant::now() }
    }

    /// From now on the rows that differ are followed.
    pub fn trace(&mut self) {
        (self.is_tracing, self.began) = (true, Instant::now());
    }

    fn goes_on(&mut self, position: u64, end: u64) -> bool {
        let rate = position as f64 / self.began.elapsed().as_secs_f64().max(1e-3);
        (self.tell)(VerifyProgress { position, end, rate, is_tracing: self.is_tracing })
    }
}

/// A read model that is removed when nobody has it any more.
struct Passing(Place);

impl Drop for Passing {
    fn drop(&mut self) {
        self.0.remove();
    }
}

pub(super) struct Sandbox {
    /// Closed before it is removed.
    pub model: Model,
    follower: CommitFollower,
    inner: Arc<Inner>,
    name: String,
    passing: Passing,
}

impl Sandbox {
    pub fn open(inner: &Arc<Inner>, name: &str, source: &Source) -> Result<Self, NotBuilt> {
        let number = inner.sandboxes.fetch_add(1, Ordering::Relaxed);
        let passing = Passing(inner.sandbox_place(name, number, source)?);
        let model = inner.open_model(&passing.0, source, Wanted::Anew).map_err(|broken| passing.0.failed(&broken))?;
        let follower = inner.tenant.follow_commits(Head::START);
        let inner = Arc::clone(inner);
        Ok(Self { model, follower, inner, name: name.to_owned(), passing })
    }

    /// Takes in everything up to a place in the log.
    pub fn advance(&mut self, end: Head, end_position: u64, teller: &mut Teller<'_>) -> Result<(), NotBuilt> {
        loop {
            if self.inner.is_closed.load(Ordering::Relaxed) || !teller.goes_on(self.model.position(), end_position) {
                return Err(NotBuilt::Cancelled);
            }
            let Some(commits) = self.next(end)? else { return Ok(()) };
            let skipped = self.inner.tenant.skipped_in_projection(&self.name);
            match self.model.take(&self.inner.tenant, &commits, &skipped) {
                Ok(()) => {}
                Err(NotTaken::Store(broken)) => return Err(self.failed(&broken).into()),
                Err(NotTaken::Event { event, .. }) => {
                    // What cannot be taken in may be so because somebody changed it: then the chain says it further on.
                    while self.next(end)?.is_some() {}
                    return Err(NotBuilt::Stopped(event));
                }
            }
        }
    }

    /// The next commits; nothing at the end.
    fn next(&mut self, end: Head) -> Result<Option<Vec<FollowedCommit>>, NotBuilt> {
        let failed = |fault: Fault| NotDone::from(quipu_engine::NotDone::from(fault));
        match self.follower.next(end, BATCH_BYTES).map_err(failed)? {
            Followed::Commits(commits) => Ok(Some(commits)),
            Followed::End => Ok(None),
            Followed::Apart => Err(NotBuilt::Tampered(self.follower.tampered(end))),
        }
    }

    /// What it is now.
    pub fn reader(&self) -> Result<Reader, NotDone> {
        self.passing.0.reader_of_now()
    }

    pub fn failed(&self, broken: &Broken) -> NotDone {
        self.passing.0.failed(broken)
    }
}

/// The last position of a tenant's log, for whoever is told how far something is.
pub(super) fn end_of(tenant: &Tenant) -> (Head, u64) {
    (tenant.head(), tenant.position())
}
