//! What is asked of the loop and what it answers.

use std::fmt;

use crate::options::Options;
use crate::payloads::Moved;
use crate::timers::{Scheduled, TimerName, Waits};
use quipu_domain::{Checkpoint, Condition, Event, InvalidEvent, Refusal, limits};
use quipu_store::{Fault, Record, RecordKind, TermHasher, body};

/// An event that is checked, encoded and hashed: ready for the mailbox.
pub struct Prepared {
    pub(crate) record: Record,
    pub(crate) pair: u64,
    pub(crate) stream: Option<u128>,
    pub(crate) stream_version: Option<u64>,
    pub(crate) terms: Vec<u64>,
    /// Positions that index runs have for the pair, newest first.
    pub(crate) known: Vec<u64>,
    /// The runs that were looked into end before this position: the loop looks from here on.
    pub(crate) known_to: u64,
    /// The schemas that it was checked against, and what they say.
    pub(crate) schemas: u64,
    pub(crate) refused: Option<Box<Refusal>>,
    pub(crate) is_marked: bool,
    /// Its data, if that is kept beside the log.
    pub(crate) moved: Option<Moved>,
    /// What it waits for, if it is not to be recorded at once.
    pub(crate) waits: Option<Box<Waits>>,
}

impl Prepared {
    pub(crate) fn new(
        event: &Event<'_>,
        stream_version: Option<u64>,
        hasher: &TermHasher,
        options: &Options,
    ) -> Result<Self, InvalidEvent> {
        let mut bytes = Vec::with_capacity(320);
        body::encode(&mut bytes, event);
        if options.has_payloads()
            && bytes.len() > options.claim_check_bytes
            && let Some(moved) = Moved::of(event)
        {
            check_bytes(moved.bytes.len(), options.payload_bytes_max)?;
            let event = event.clone().with_payload(moved.payload);
            bytes.clear();
            body::encode(&mut bytes, &event);
            check_bytes(bytes.len(), options.event_bytes_max)?;
            // The copy held the data too.
            bytes.shrink_to_fit();
            let prepared = Self::of(&event, Record::new(RecordKind::Event, bytes), stream_version, hasher);
            return Ok(Self { moved: Some(moved), ..prepared });
        }
        check_bytes(bytes.len(), options.event_bytes_max)?;
        Ok(Self::of(event, Record::new(RecordKind::Event, bytes), stream_version, hasher))
    }

    /// An event that is encoded already.
    pub(crate) fn of(event: &Event<'_>, record: Record, stream_version: Option<u64>, hasher: &TermHasher) -> Self {
        // One more for the first event of a stream, which only the loop knows.
        let mut terms = Vec::with_capacity(8);
        hasher.terms_of(event, &mut terms);
        Self {
            record,
            pair: hasher.pair(event.source(), event.id()),
            stream: event.subject().map(|subject| hasher.stream(subject)),
            stream_version,
            terms,
            known: Vec::new(),
            known_to: 0,
            schemas: 0,
            refused: None,
            is_marked: false,
            moved: None,
            waits: None,
        }
    }

    /// What the schema of its type says against it.
    pub fn refused(&self) -> Option<&Refusal> {
        self.refused.as_deref()
    }

    /// Whether it is published later.
    pub fn is_delayed(&self) -> bool {
        self.waits.is_some()
    }

    /// Bytes that it takes in a commit.
    pub(crate) fn bytes(&self) -> usize {
        self.record.bytes()
    }

    /// Bytes that it takes in the commit of its timer, or in that of the event.
    pub(crate) fn bytes_taken(&self) -> usize {
        self.waits.as_ref().map_or(self.bytes(), |waits| waits.record.bytes())
    }

    /// Bytes that it takes in memory until it is decided.
    pub(crate) fn bytes_held(&self) -> usize {
        let copy = self.waits.as_ref().map_or(0, |waits| waits.record.body.len());
        self.bytes() + copy + self.moved.as_ref().map_or(0, |moved| moved.bytes.len())
    }

    /// Whether its data is kept beside the log, which is written before it is decided.
    pub fn has_payload(&self) -> bool {
        self.moved.is_some()
    }

    /// The event as it goes into the log.
    pub fn event(&self) -> Event<'_> {
        body::decode(&self.record.body).expect("it was encoded in this process")
    }

    /// The event as it was sent, for a comparison.
    pub(crate) fn sent(&self) -> Event<'_> {
        match &self.moved {
            None => self.event(),
            Some(moved) => self.event().with_resolved(moved.data()),
        }
    }
}

fn check_bytes(actual: usize, limit: usize) -> Result<(), InvalidEvent> {
    if actual > limit { Err(InvalidEvent::TooLarge { limit, actual }) } else { Ok(()) }
}

/// Several events to several streams, all or nothing.
#[derive(Default)]
pub struct Append {
    /// The events, in order.
    pub events: Vec<Prepared>,
    /// What must still be true.
    pub conditions: Vec<Condition>,
    /// How far an outside source is copied with these events.
    pub checkpoint: Option<Checkpoint>,
    /// Timers that will not fire any more.
    pub cancels: Vec<TimerName>,
    /// Events that are published later.
    pub timers: Vec<Prepared>,
}

impl Append {
    /// Whether this fits into one commit.
    pub(crate) fn check_size(&self) -> Result<(), Refusal> {
        let bytes = self.events.iter().chain(&self.timers).map(Prepared::bytes).sum();
        if let Some(index) = self.events.iter().position(Prepared::is_delayed) {
            return Err(Refusal::Delayed { index });
        }
        for (what, limit, actual) in [
            ("events", limits::APPEND_EVENTS_MAX, self.events.len()),
            ("timers", limits::APPEND_TIMERS_MAX, self.timers.len()),
            ("timers to cancel", limits::APPEND_TIMERS_MAX, self.cancels.len()),
            ("bytes", limits::APPEND_BYTES_MAX, bytes),
            ("conditions", limits::CONDITIONS_MAX, self.conditions.len()),
        ] {
            if actual > limit {
                return Err(Refusal::TooLarge { what, limit, actual });
            }
        }
        Ok(())
    }
}

/// Where an event was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number in the log.
    pub position: u64,
    /// Its number in its stream, if it has a subject.
    pub stream_version: Option<u64>,
}

/// What became of one published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// It is on disk.
    Recorded(Place),
    /// The same event was recorded before, here.
    Duplicate(Place),
    /// It is on disk, and will be recorded when its time comes.
    Scheduled(Scheduled),
    /// It was not recorded.
    Refused(Refusal),
}

/// What became of an append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// The number of the commit.
    pub commit: u64,
    /// Where each event is.
    pub events: Vec<Place>,
    /// What became of each timer: it waits, or its event is recorded already. Nothing for one that a repeated append set and that has
    /// been cancelled since.
    pub timers: Vec<Option<Published>>,
    /// The number of each timer that was to be cancelled, if it waited.
    pub cancelled: Vec<Option<u64>>,
    /// Whether this repeats an earlier append, whose answer this is.
    pub is_duplicate: bool,
}

/// Why an append was not made.
#[derive(Clone, Debug)]
pub enum NotAppended {
    /// It is not allowed; nothing was written.
    Refused(Refusal),
    /// The world failed. It may or may not be written: repeat it with the same ids.
    Fault(Fault),
}

impl fmt::Display for NotAppended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for NotAppended {}

impl From<Fault> for NotAppended {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refusal> for NotAppended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
