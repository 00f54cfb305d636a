//! The audit trail of a tenant: every administrative act and every refused one, as an event. It is a log of its own beside the
//! tenant's, in the folder `audit` of it, so that nothing of it takes a position in the tenant's log, comes out of its reads or
//! goes with its retention; and it has all that a log has: a hash chain, an index, recovery.
//!
//! An act is written down before it is done, and again with its outcome. What the process did not live to see the outcome of
//! stands there as begun, and no act is done that cannot be written down.

mod act;
mod backup;
mod export;
mod heads;
mod refusals;
mod search;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use quipu_domain::limits::EVENT_BYTES_DEFAULT;
use quipu_domain::{Event, Timestamp};
use quipu_store::Fault;
use quipu_store::frame::FramedCommit;

use crate::append::Published;
use crate::options::Options;
use crate::subscriptions::{Due, NotDone};
use crate::tenant::Tenant;
pub use act::{Act, ActOutcome, Actor, Ended};
pub use backup::backup;
pub use export::{VerifiedExport, export_begin, export_commit, export_end, verify_export};
pub use heads::{Head, Heads};
use refusals::Refusals;
pub use search::{AuditEntry, AuditPage, AuditQuery};
pub use verify::{Kept, Verified, VerifiedLog, verify};

/// The folder of the trail in that of its tenant.
pub const AUDIT_FOLDER: &str = "audit";
/// How far the file of heads may be behind the logs while nothing is audited, milliseconds.
const HEADS_MS: i64 = 60 * 1_000;
/// Bytes of the trail that are read at once for an export.
const EXPORT_BYTES: usize = 1 << 20;

/// What a tenant knows of its trail.
#[derive(Default)]
pub(crate) struct Audit {
    /// Opened by the first who needs it: most tenants of an embedded store have none.
    trail: OnceLock<Arc<Tenant>>,
    opening: Mutex<()>,
    refusals: Mutex<Refusals>,
    /// Held while refusals are written: whoever finds none to write waits for those that another has taken.
    writing: Mutex<()>,
    /// As they were written last. Serializes the writing.
    heads: Mutex<Option<Heads>>,
    heads_due: Due,
}

impl Tenant {
    /// A new act. From where it comes, its correlation and its details are not known yet.
    pub fn act(&self, operation: &str, actor: Actor, subject: impl Into<String>) -> Act {
        Act {
            id: self.random_id(),
            operation: operation.to_owned(),
            actor,
            address: None,
            subject: subject.into(),
            correlation: None,
            details: serde_json::Value::Null,
        }
    }

    /// Writes down that an act begins. Without that it must not be done.
    ///
    /// # Errors
    /// The trail cannot be opened or takes nothing.
    pub fn begin_act(&self, act: &Act) -> Result<(), Fault> {
        self.write_acts(&[act.begun(self.now())])
    }

    /// Writes down how an act ended; also of one that was not begun, as nothing was changed by it.
    ///
    /// # Errors
    /// As [`Tenant::begin_act`].
    pub fn end_act(&self, act: &Act, ended: &Ended) -> Result<(), Fault> {
        self.write_acts(&[act.ended(ended, self.now())])
    }

    /// Does an act and writes it down; for whoever has no other way to say how it ended.
    ///
    /// # Errors
    /// Those of the act; and of the trail, if it takes nothing. What was done and whose end cannot be written down stands there
    /// as begun.
    pub fn audited<T>(
        self: &Arc<Self>,
        mut act: Act,
        work: impl FnOnce(&Arc<Self>, &mut Act) -> Result<T, NotDone>,
    ) -> Result<T, NotDone> {
        self.begin_act(&act)?;
        let done = work(self, &mut act);
        let ended = match &done {
            Ok(_) => Ended::done(),
            Err(NotDone::Failed(fault)) => Ended::failed(None, fault.to_string()),
            Err(refused) => Ended::refused(None, refused.to_string()),
        };
        // The outcome is told all the same: with it goes what is shown this once.
        _ = self.end_act(&act, &ended);
        done
    }

    /// Takes note of an act that was refused, without waiting for the disk. The same refusal of the same caller is written
    /// once in a minute, and then how often it was repeated: who is refused must not be able to fill the disk.
    pub fn note_refusal(&self, act: Act, ended: Ended) {
        self.audit.refusals.lock().note(self.now(), act, ended);
    }

    /// Writes down the refusals that were noted. When this is done they stand there, whoever has written them.
    ///
    /// # Errors
    /// As [`Tenant::begin_act`]; they are kept for the next time.
    pub fn write_refusals(&self) -> Result<(), Fault> {
        self.write_refusals_until(|refusals, now| refusals.due(now))
    }

    fn write_refusals_until(
        &self,
        take: impl FnOnce(&mut Refusals, Timestamp) -> Vec<refusals::Noted>,
    ) -> Result<(), Fault> {
        let _one = self.audit.writing.lock();
        let now = self.now();
        let noted = take(&mut self.audit.refusals.lock(), now);
        let events: Vec<_> = noted.iter().map(|noted| noted.event(self.random_id(), now)).collect();
        if events.is_empty() {
            return Ok(());
        }
        self.write_acts(&events).inspect_err(|_| self.audit.refusals.lock().give_back(noted))
    }

    /// What happens by itself: refusals that were noted are written, and the heads of the logs, if there is something new in the
    /// trail or nothing was for long.
    pub(crate) fn keep_audit(&self) -> Result<(), Fault> {
        self.write_refusals()?;
        let Some(trail) = self.open_trail() else { return Ok(()) };
        let (now, due) = (self.now(), &self.audit.heads_due);
        let is_known = self.audit.heads.lock().is_some_and(|heads| heads.audit == trail.head());
        if !is_known || due.wait_us(now, HEADS_MS).is_none() {
            due.next_at(now.plus_ms(HEADS_MS));
            self.write_heads(&trail)?;
        }
        Ok(())
    }

    /// Writes down what is left and closes the trail: before its tenant is closed.
    pub(crate) fn close_trail(&self) -> Result<(), Fault> {
        let written = self.write_refusals_until(|refusals, _| refusals.all());
        let closed = self.open_trail().map_or(Ok(()), |trail| trail.close());
        written.and(closed)
    }

    /// Writes down where both logs ended: after the tenant was closed.
    pub(crate) fn seal_trail(&self) -> Result<(), Fault> {
        self.open_trail().map_or(Ok(()), |trail| self.write_heads(&trail))
    }

    /// The trail, if somebody opened it.
    pub(crate) fn open_trail(&self) -> Option<Arc<Self>> {
        self.audit.trail.get().cloned()
    }

    /// Opens the trail if there is one, so that the heads follow the logs from now on.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_audit(&self) -> Result<(), Fault> {
        let has_trail = self.world.storage.list(&format!("{}/{AUDIT_FOLDER}", self.folder())).is_ok();
        // Heads without a trail are looked at as well.
        if has_trail || !matches!(Heads::read(self.world.storage.as_ref(), self.folder()), Ok(None)) {
            self.trail()?;
        }
        Ok(())
    }

    /// The trail, opened or made.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(crate) fn trail(&self) -> Result<Arc<Self>, Fault> {
        if let Some(trail) = self.open_trail() {
            return Ok(trail);
        }
        let _one = self.audit.opening.lock();
        if let Some(trail) = self.open_trail() {
            return Ok(trail);
        }
        let folder = format!("{}/{AUDIT_FOLDER}", self.folder());
        // Acts have a length of their own, whatever events of the tenant may have.
        let options = Options { event_bytes_max: EVENT_BYTES_DEFAULT, ..self.options.clone() };
        let trail = match &self.threads {
            Some(threads) => Self::open_driven(&self.world, &folder, options, threads.clone())?,
            None => Self::open(&self.world, &folder, options)?,
        };
        self.look_at_heads(&trail)?;
        self.write_heads(&trail)?;
        _ = self.audit.trail.set(Arc::clone(&trail));
        Ok(trail)
    }

    fn write_acts(&self, events: &[Event<'_>]) -> Result<(), Fault> {
        self.trail()?.take_acts(events)
    }

    /// Takes events into a trail, which this is.
    fn take_acts(self: &Arc<Self>, events: &[Event<'_>]) -> Result<(), Fault> {
        let prepared = events.iter().map(|event| self.prepare(event, None).expect("its parts are cut"));
        let published = self.publish_wait(prepared.collect())?;
        let is_taken = |one: &Published| matches!(one, Published::Recorded(_) | Published::Duplicate(_));
        debug_assert!(published.iter().all(is_taken), "the ids of acts are their own");
        Ok(())
    }

    /// Where the trail ends now.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn audit_head(&self) -> Result<Head, Fault> {
        Ok(self.trail()?.head())
    }

    /// Reads the commits of the trail that end with this head, in order: from a place that an earlier call returned, or its
    /// beginning. With where to go on, if there is more.
    ///
    /// # Errors
    /// As [`Tenant::begin_act`], and the trail cannot be read.
    pub fn scan_trail(&self, from: Option<u64>, head: Head) -> Result<(Vec<FramedCommit>, Option<u64>), Fault> {
        let trail = self.trail()?;
        let chunk = trail.log.scan(from.unwrap_or_else(|| trail.log.seek(1)), EXPORT_BYTES)?;
        let has_more = chunk.commits.last().is_some_and(|(_, commit)| commit.number < head.commit);
        let commits = chunk.commits.into_iter().map(|(_, commit)| commit);
        Ok((commits.filter(|commit| commit.number <= head.commit).collect(), has_more.then_some(chunk.next)))
    }
}
