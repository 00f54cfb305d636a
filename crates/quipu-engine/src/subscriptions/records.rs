//! The system records of subscriptions, and what memory keeps of them: definitions, the saved state of deliveries, and a
//! line for each dead letter. A dead letter's whole history stays in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::delivery::{Attempt, DeliveryId, Progress, Reason, Saved};
use quipu_domain::{Subscription, Timestamp};
use quipu_store::{Locator, Record, RecordKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::running::Counts;

/// Longest fingerprint, bytes: enough of an error to tell it from others.
const FINGERPRINT_BYTES_MAX: usize = 160;

/// A subscription was made, changed, or (without a definition) deleted.
#[derive(Serialize, Deserialize)]
pub(crate) struct Defined {
    pub name: String,
    /// As it was written: another version may understand more of it.
    pub definition: Option<Box<RawValue>>,
    /// Where its deliveries begin, if it is new or was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<u64>,
}

/// A delivery that was given up, or an edited copy of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its number in the tenant.
    pub id: u64,
    /// Whose delivery it was.
    pub subscription: String,
    /// The event.
    pub position: u64,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event's subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Why it was given up.
    pub reason: Reason,
    /// Attempts that were made.
    pub attempts: u32,
    /// Those that are kept.
    pub history: Vec<Attempt>,
    /// When it was given up.
    pub time: Timestamp,
    /// The dead letter that this delivery was redriven from: it failed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redriven_from: Option<u64>,
    /// The replay that the delivery belonged to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<u64>,
    /// The key of the event waits for a decision.
    #[serde(default)]
    pub parks_key: bool,
    /// The dead letter that this is an edited copy of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<u64>,
    /// The edited event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Box<RawValue>>,
}

/// What became of dead letters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub ids: Vec<u64>,
    pub outcome: DeadLetterState,
    #[serde(default)]
    pub by: DecidedBy,
}

/// Who decided about a dead letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DecidedBy {
    /// Somebody, or its time was over.
    #[default]
    Somebody,
    /// The operation of this number.
    Operation(u64),
}

/// What became of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadLetterState {
    /// Nothing yet.
    Open,
    /// It was delivered again.
    Redriven {
        /// To this subscription.
        to: String,
        /// When.
        time: Timestamp,
    },
    /// Somebody decided that it need not be delivered.
    Discarded {
        /// Why.
        reason: String,
        /// When.
        time: Timestamp,
    },
    /// It was kept as long as its subscription says; it is gone.
    Expired,
}

/// What memory keeps of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterLine {
    /// Its number in the tenant.
    pub id: u64,
    /// Whose delivery it was.
    pub subscription: String,
    /// The event.
    pub position: u64,
    /// The event's type.
    pub kind: String,
    /// Why it was given up.
    pub reason: Reason,
    /// Attempts that were made.
    pub attempts: u32,
    /// When it was given up.
    pub time: Timestamp,
    /// The last error, its numbers taken out: the same for failures of the same kind.
    pub fingerprint: String,
    /// The dead letter that this delivery was redriven from: it failed again.
    pub redriven_from: Option<u64>,
    /// The key of the event waits for a decision.
    pub parks_key: bool,
    /// The dead letter that this is an edited copy of.
    pub copy_of: Option<u64>,
    /// What became of it.
    pub state: DeadLetterState,
    pub(crate) decided_by: DecidedBy,
    /// Where the whole of it is in the log; 0 while it is written.
    pub(crate) locator: Locator,
}

/// One subscription as the log has it.
#[derive(Clone)]
pub(crate) struct FoldedSubscription {
    pub definition: Arc<RawValue>,
    pub saved: Saved,
    pub counts: Counts,
}

/// The fold of all records of subscriptions.
#[derive(Clone, Default)]
pub(crate) struct FoldedSubscriptions {
    pub subscriptions: BTreeMap<String, FoldedSubscription>,
    pub dead_letters: BTreeMap<u64, Arc<DeadLetterLine>>,
    /// Dead letters that changed since readers were last shown them.
    pub changed: Vec<u64>,
    /// The largest number given to a dead letter so far.
    pub last_dead_letter: u64,
}

fn json<T: Serialize>(kind: RecordKind, value: &T) -> Record {
    Record::new(kind, serde_json::to_vec(value).expect("it is plain data"))
}

/// A definition as it is written down.
pub(crate) fn definition_text(definition: &Subscription) -> Box<RawValue> {
    serde_json::value::to_raw_value(definition).expect("it is plain data")
}

impl Defined {
    pub fn record(&self) -> Record {
        json(RecordKind::Subscription, self)
    }
}

impl DeadLetter {
    pub(crate) fn record(&self) -> Record {
        json(RecordKind::DeadLetter, self)
    }

    /// What memory keeps of it.
    pub(crate) fn line(&self, locator: Locator) -> DeadLetterLine {
        let error = self.history.last().map_or("", |attempt| &attempt.failure.error);
        DeadLetterLine {
            id: self.id,
            subscription: self.subscription.clone(),
            position: self.position,
            kind: self.kind.clone(),
            reason: self.reason,
            attempts: self.attempts,
            time: self.time,
            fingerprint: fingerprint(error),
            redriven_from: self.redriven_from,
            parks_key: self.parks_key,
            copy_of: self.copy_of,
            state: DeadLetterState::Open,
            decided_by: DecidedBy::Somebody,
            locator,
        }
    }
}

impl DeadLetterLine {
    /// The delivery that is still there if its key is parked: what is redriven beside its key parks none.
    pub(crate) fn parked(&self) -> DeliveryId {
        DeliveryId::routed(self.position)
    }
}

impl Decided {
    pub fn record(&self) -> Record {
        json(RecordKind::DeadLetterOutcome, self)
    }
}

/// The progress of a subscription as a record, with all that was counted so far.
pub(crate) fn progress_record(name: &str, progress: &Progress, counts: &Counts) -> Record {
    let body = postcard::to_allocvec(&(name, progress, counts)).expect("it is plain data");
    Record::new(RecordKind::Progress, body)
}

/// An error with every number replaced by `#`, cut.
pub(crate) fn fingerprint(error: &str) -> String {
    let mut out = String::with_capacity(error.len().min(FINGERPRINT_BYTES_MAX));
    let mut is_number = false;
    for c in error.chars() {
        // Ids in hexadecimal count as numbers once they have begun with a digit.
        let counts = c.is_ascii_digit() || (is_number && c.is_ascii_hexdigit());
        if !counts {
            out.push(c);
        } else if !is_number {
            out.push('#');
        }
        is_number = counts;
        if out.len() >= FINGERPRINT_BYTES_MAX {
            break;
        }
    }
    out
}

impl FoldedSubscriptions {
    /// Takes a record in. Nothing if it cannot be read.
    pub fn apply(&mut self, kind: RecordKind, body: &[u8], locator: Locator) -> Option<()> {
        match kind {
            RecordKind::Subscription => {
                let defined: Defined = serde_json::from_slice(body).ok()?;
                self.define(defined);
            }
            RecordKind::Progress => {
                let (name, progress, counts): (&str, Progress, Counts) = postcard::from_bytes(body).ok()?;
                // One that was deleted meanwhile needs none.
                if let Some(subscription) = self.subscriptions.get_mut(name) {
                    subscription.saved.apply(progress);
                    subscription.counts = counts;
                }
            }
            RecordKind::DeadLetter => {
                let letter: DeadLetter = serde_json::from_slice(body).ok()?;
                self.last_dead_letter = self.last_dead_letter.max(letter.id);
                self.changed.push(letter.id);
                self.dead_letters.insert(letter.id, Arc::new(letter.line(locator)));
            }
            RecordKind::DeadLetterOutcome => {
                let decided: Decided = serde_json::from_slice(body).ok()?;
                decided.ids.iter().for_each(|id| self.decide(*id, &decided));
            }
            RecordKind::Event
            | RecordKind::Genesis
            | RecordKind::Checkpoint
            | RecordKind::Operation
            | RecordKind::Key
            | RecordKind::Tenant
            | RecordKind::Schema
            | RecordKind::Declaration
            | RecordKind::Projection
            | RecordKind::Timer
            | RecordKind::Schedule
            | RecordKind::Saga
            | RecordKind::SagaStep => {}
        }
        Some(())
    }

    fn define(&mut self, defined: Defined) {
        let Some(definition) = defined.definition.map(Arc::from) else {
            self.subscriptions.remove(&defined.name);
            return;
        };
        let before = self.subscriptions.remove(&defined.name);
        let (saved, counts) = before.map(|before| (before.saved, before.counts)).unwrap_or_default();
        let saved = defined.scan.map_or(saved, Saved::after);
        self.subscriptions.insert(defined.name, FoldedSubscription { definition, saved, counts });
    }

    fn decide(&mut self, id: u64, decided: &Decided) {
        self.changed.push(id);
        if decided.outcome == DeadLetterState::Expired {
            self.dead_letters.remove(&id);
        } else if let Some(line) = self.dead_letters.get_mut(&id) {
            let line = Arc::make_mut(line);
            (line.state, line.decided_by) = (decided.outcome.clone(), decided.by);
        }
    }

    /// Says where a dead letter is that was applied before it was written.
    pub fn place(&mut self, body: &[u8], locator: Locator) {
        #[derive(Deserialize)]
        struct Id {
            id: u64,
        }
        let line = serde_json::from_slice::<Id>(body).ok().and_then(|id| self.dead_letters.get_mut(&id.id));
        if let Some(line) = line {
            Arc::make_mut(line).locator = locator;
        }
    }

    pub fn encode(&self) -> Vec<u8> {
        let subscriptions: Vec<(&str, &str, &Saved, Counts)> = self
            .subscriptions
            .iter()
            .map(|(name, folded)| (name.as_str(), folded.definition.get(), &folded.saved, folded.counts))
            .collect();
        let letters: Vec<&DeadLetterLine> = self.dead_letters.values().map(AsRef::as_ref).collect();
        postcard::to_allocvec(&(subscriptions, letters, self.last_dead_letter)).expect("it is plain data")
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        type Saves = Vec<(String, String, Saved, Counts)>;
        let (subscriptions, letters, last_dead_letter): (Saves, Vec<DeadLetterLine>, u64) =
            postcard::from_bytes(bytes).ok()?;
        let mut folded = Self { last_dead_letter, ..Self::default() };
        for (name, text, saved, counts) in subscriptions {
            let definition = Arc::from(RawValue::from_string(text).ok()?);
            folded.subscriptions.insert(name, FoldedSubscription { definition, saved, counts });
        }
        folded.dead_letters = letters.into_iter().map(|line| (line.id, Arc::new(line))).collect();
        Some(folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::delivery::{DeliveryId, Failure};

    #[test]
    fn errors_of_the_same_kind_have_the_same_fingerprint() {
        let errors = ["HTTP 500 after 12 ms: order 17", "HTTP 503 after 9000 ms: order 8f3a"];
        assert_eq!(errors.map(fingerprint), ["HTTP # after # ms: order #"; 2]);
        assert!(fingerprint(&"é".repeat(1_000)).len() <= FINGERPRINT_BYTES_MAX + 1);
    }

    #[test]
    fn a_place_that_moved_takes_some_forty_bytes() {
        let progress = Progress { scan: 1_000_000_000, ..Progress::default() };
        let record = progress_record("a-subscription-of-usual-length", &progress, &Counts::default());
        assert!(record.body.len() <= 45, "{}", record.body.len());
    }

    #[test]
    fn a_snapshot_is_read_back() {
        let mut folded = FoldedSubscriptions::default();
        let mut apply = |record: Record| folded.apply(record.kind, &record.body, 7).unwrap();
        let define = |name: &str, definition| Defined { name: name.into(), definition, scan: Some(5) }.record();
        let definition = || Some(definition_text(&Subscription::default()));
        apply(define("a", definition()));
        apply(define("b", definition()));
        apply(define("b", None));
        let id = DeliveryId::routed(6);
        let progress = Progress { scan: 9, deliveries: vec![(id, None)], waiting: vec![(1 << 100, Some(8))] };
        let counts = Counts { handed_out: 5, acknowledged: 1, failed: 3, dead_lettered: 2, expired: 1 };
        apply(progress_record("a", &progress, &counts));
        apply(progress_record("gone", &progress, &counts));
        // What changes a definition, or moves it, does not count anew.
        apply(Defined { name: "a".into(), definition: definition(), scan: None }.record());
        let failure = Failure::new("no");
        let letter = DeadLetter {
            id: 3,
            subscription: "a".into(),
            position: 6,
            kind: "t".into(),
            subject: None,
            reason: Reason::TooOld,
            attempts: 1,
            history: vec![Attempt { number: 1, time: Timestamp(1), duration_ms: 2, failure }],
            time: Timestamp(3),
            redriven_from: None,
            replay: None,
            parks_key: false,
            copy_of: None,
            event: None,
        };
        apply(letter.record());
        apply(DeadLetter { id: 4, ..letter.clone() }.record());
        apply(Decided { ids: vec![3], outcome: DeadLetterState::Expired, by: DecidedBy::Somebody }.record());
        folded.place(&DeadLetter { id: 4, ..letter }.record().body, 99);
        let read = FoldedSubscriptions::decode(&folded.encode()).unwrap();
        assert_eq!(read.subscriptions.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(read.subscriptions["a"].saved, folded.subscriptions["a"].saved);
        assert_eq!(read.subscriptions["a"].counts, counts);
        assert_eq!((read.dead_letters.clone(), read.last_dead_letter), (folded.dead_letters, 4));
        assert_eq!((read.dead_letters.len(), read.dead_letters[&4].locator), (1, 99));
    }

    #[test]
    fn a_delivery_is_written_as_two_numbers_whatever_it_comes_of() {
        let old = |position: u64, dead_letter: u64| postcard::to_allocvec(&(position, dead_letter)).unwrap();
        for (id, bytes) in [
            (DeliveryId::routed(7), Some(old(7, 0))),
            (DeliveryId { dead_letter: 3, ..DeliveryId::routed(7) }, Some(old(7, 3))),
            (DeliveryId { replay: 3, ..DeliveryId::routed(7) }, None),
        ] {
            let written = postcard::to_allocvec(&id).unwrap();
            assert_eq!(postcard::from_bytes::<DeliveryId>(&written).unwrap(), id);
            assert!(bytes.is_none_or(|bytes| bytes == written), "{id:?}");
        }
    }
}
