//! Payloads (claim check): what is too large for the log is kept beside it, and put back for readers who ask.
//!
//! The data is checked, hashed and written before the mailbox, on the caller's thread; the loop sees an event with a
//! reference. What the loop then refuses, or knows already, is let go of, and removed if no event refers to it. So is what a crash
//! left, in the background after opening.

use quipu_domain::access::Visible;
use quipu_domain::{DATAREF, Data, Event, Payload, limits};
use quipu_store::{Fault, Kept, Term};

use crate::append::Prepared;
use crate::query::first_match;
use crate::read::Recorded;
use crate::tenant::Tenant;

/// The data of an event that goes beside the log.
pub(crate) struct Moved {
    pub payload: Payload,
    pub bytes: Vec<u8>,
    /// It is there, and stays while the event is on its way.
    kept: Option<Kept>,
}

impl Moved {
    /// The data of an event that is kept beside the log, if it may be: one whose data is elsewhere already keeps what it has of
    /// it, and what is no larger than a reference stays where it is.
    pub fn of(event: &Event<'_>) -> Option<Self> {
        let (bytes, form) = event.data().bytes()?;
        if bytes.len() < limits::PAYLOAD_BYTES_MIN || event.attributes().iter().any(|(name, _)| name == DATAREF) {
            return None;
        }
        let payload = Payload { hash: *blake3::hash(bytes).as_bytes(), bytes: bytes.len() as u64, form };
        Some(Self { payload, bytes: bytes.to_vec(), kept: None })
    }

    /// The data that was sent.
    pub fn data(&self) -> Data<'static> {
        self.payload.data(self.bytes.clone()).expect("it was such data when it came")
    }

    /// An event refers to it now.
    pub fn keep(self) {
        self.kept.into_iter().for_each(Kept::keep);
    }
}

impl Tenant {
    /// Largest data or event that somebody may send, bytes.
    pub fn sent_bytes_max(&self) -> usize {
        self.options.sent_bytes_max()
    }

    /// Makes the payloads of events durable, which no event refers to yet.
    pub(crate) fn keep_payloads(&self, events: &mut [Prepared]) -> Result<(), Fault> {
        for moved in events.iter_mut().filter_map(|event| event.moved.as_mut()) {
            moved.kept = Some(self.payloads.keep(moved.payload.hash, &moved.bytes)?);
        }
        Ok(())
    }

    /// The data of an event that is kept beside the log; nothing if it is in the event, or there is none.
    ///
    /// # Errors
    /// [`Fault::Damaged`] names the payload and the position if it is missing or not what was written.
    pub fn payload_of(&self, recorded: &Recorded) -> Result<Option<Data<'static>>, Fault> {
        let Some(payload) = recorded.event().payload() else { return Ok(None) };
        self.read_payload(&payload, recorded.stamp.position).map(Some)
    }

    pub(crate) fn read_payload(&self, payload: &Payload, position: u64) -> Result<Data<'static>, Fault> {
        let bytes = self.payloads.read(payload, position)?;
        payload.data(bytes).ok_or_else(|| Fault::Damaged {
            path: self.log.name(),
            offset: 0,
            detail: format!("the event at position {position} says that its payload is text, and it is not"),
        })
    }

    /// The event with its data in it, as it was sent.
    ///
    /// # Errors
    /// As [`Tenant::payload_of`].
    pub fn resolve(&self, recorded: Recorded) -> Result<Recorded, Fault> {
        let Some(data) = self.payload_of(&recorded)? else { return Ok(recorded) };
        Ok(recorded.with_event(&recorded.event().with_resolved(data)))
    }

    /// The event as patterns and keys see it: where they look at data, it is there beside its reference.
    pub(crate) fn seen<'a>(&self, recorded: &'a Recorded, looks_at_data: bool) -> Result<Event<'a>, Fault> {
        let event = recorded.event();
        match event.payload().filter(|_| looks_at_data) {
            None => Ok(event),
            Some(payload) => Ok(event.with_data(self.read_payload(&payload, recorded.stamp.position)?)),
        }
    }

    /// Whether somebody who may see these events may see this one.
    ///
    /// # Errors
    /// That depends on its data, which cannot be read.
    pub fn shows(&self, recorded: &Recorded, visible: &Visible) -> Result<bool, Fault> {
        Ok(visible.shows(&self.seen(recorded, visible.looks_at_data())?, Some(&recorded.stamp)))
    }

    /// Removes payloads that were let go of and that no event refers to.
    pub(crate) fn sweep_payloads(&self) {
        if !self.payloads.has_loose() {
            return;
        }
        // What stays is found after the next opening.
        let _ = self.payloads.sweep(|hash| self.refers_to(hash));
    }

    /// Removes what a crash left of payloads: those that were there at opening and that no event refers to. Looks at so many,
    /// or a folder more, and says how many of that number are left.
    ///
    /// # Errors
    /// The index cannot be read, or the disk refuses: what was not looked at stays until after the next opening.
    pub fn search_payloads(&self, mut looks: usize) -> Result<usize, Fault> {
        while looks > 0
            && let Some(looked_at) = self.payloads.search(|hash| self.refers_to(hash))?
        {
            looks = looks.saturating_sub(looked_at.max(1));
        }
        Ok(looks)
    }

    /// Whether an event, written or about to be, refers to a payload.
    fn refers_to(&self, hash: &[u8; 32]) -> Result<bool, Fault> {
        // Timers first: when one fires the index knows of its event before the timer is gone.
        if self.timers.refers_to(hash) {
            return Ok(true);
        }
        let expr = self.term(Term::Payload(hash));
        // A candidate is enough: what is not removed costs room, and is no loss.
        Ok(first_match(&self.index, &expr, 1..=u64::MAX, |_| Ok(true))?.is_some())
    }

    /// Bytes of the log and of the payloads beside it.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.log.size().bytes + self.payloads.size().1
    }
}

/// What a payload that is read counts for, in events that are looked at: one a KiB.
pub(crate) fn looks(recorded: &Recorded, looks_at_data: bool) -> usize {
    let payload = recorded.event().payload().filter(|_| looks_at_data);
    payload.map_or(0, |payload| usize::try_from(payload.bytes >> 10).unwrap_or(usize::MAX))
}
