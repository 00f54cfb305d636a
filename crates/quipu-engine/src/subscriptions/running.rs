//! One subscription while it runs: its definition, compiled, and its deliveries.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use quipu_domain::delivery::{Deliveries, DeliveryId, GivenUp, Key, Phase, Rules, Saved, TokenBucket};
use quipu_domain::{Event, Pattern, REASON_BYTES_MAX, Stamp, Subscription, Takes, Timestamp};
use quipu_store::{Record, TermHasher};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::key::{KeyOf, expiry};
use super::outcome::{Outcome, OutcomeWord, Outcomes};
use super::pace::{Done, Pace};
use super::records::{DeadLetterLine, definition_text};
use super::refusal::SubscriptionRefusal;
use super::replaying::Replays;
use super::stored::Stored;
use crate::schemas::Registry;
use crate::transform::Transformer;

/// Events that the router has found for a subscription and nobody has asked for yet: 48 bytes each. One whose consumer
/// is slower than that reads the log itself.
const QUEUE_MAX: usize = 1_024;

/// Deliveries that were given up and have no dead letter yet, each with its history: with as many nothing more is handed
/// out. Usually they wait for 100 ms at most, but while the log cannot be read or written nothing else would stop them.
const GIVEN_UP_MAX: usize = 1_000;

/// What upcasters count for, in events that are looked at.
const UPCAST_LOOKS: usize = 100;

/// A definition, checked and compiled.
pub(crate) struct Compiled {
    pub definition: Arc<Subscription>,
    pub pattern: Option<Pattern>,
    pub transformer: Option<Transformer>,
    pub rules: Rules,
    pub key: KeyOf,
    /// Whether the pattern or the key does: data that is kept beside the log is read for them.
    pub looks_at_data: bool,
    pub refused: Option<Refused>,
}

/// A stored definition that a rule which became stricter does not accept any more, or that another version understands.
/// It is shown as paused, with why.
pub(crate) struct Refused {
    pub refusal: SubscriptionRefusal,
    /// As it was stored: what is written when the subscription is moved.
    pub text: Arc<RawValue>,
}

/// An event that matches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched {
    pub position: u64,
    pub key: Option<Key>,
    pub expires: Option<Timestamp>,
}

/// Called when there may be something to hand out.
pub(crate) type Watcher = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct Running {
    pub name: Arc<str>,
    pub compiled: RwLock<Arc<Compiled>>,
    pub inner: Mutex<Inner>,
    pub watchers: Mutex<Vec<(u64, Watcher)>>,
}

pub(crate) struct Inner {
    pub deliveries: Deliveries,
    /// What the router has found, in order.
    pub queue: VecDeque<Matched>,
    /// Whether the router feeds the queue: everything up to where it is, and behind the scan position, is in it.
    pub is_attached: bool,
    pub bucket: TokenBucket,
    /// Dead letters and decisions that go into the next commit of progress.
    pub drafts: Vec<Record>,
    /// Deliveries that were given up and have no dead letter yet: the event must be read for it.
    pub given_up: VecDeque<(DeliveryId, GivenUp)>,
    pub counts: Counts,
    /// How far the replays are that go to it.
    pub replays: Replays,
    pub pace: Pace,
    /// Events that were looked at and do not match, since the process started.
    pub passed: u64,
    /// The last event that matches; or, before there was one, the place from which on they were looked at.
    pub matched_to: u64,
    /// What is to be reported as events.
    pub outcomes: Outcomes,
    pub is_deleted: bool,
    /// A new definition is being written, or its pattern compiled: nothing is offered by the old one.
    pub is_changing: bool,
}

/// What happened to deliveries since the subscription was made. Written down with its progress: a crash forgets what was
/// counted in the last 100 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Handed out, attempts counted each; not what was taken back without having been tried.
    pub handed_out: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Ended as dead letters.
    pub dead_lettered: u64,
    /// Expired before they were delivered.
    pub expired: u64,
}

impl Compiled {
    pub fn new(name: &str, mut definition: Subscription) -> Result<Self, SubscriptionRefusal> {
        definition.check().map_err(SubscriptionRefusal::Invalid)?;
        let pattern = definition.pattern.as_ref().map(|pattern| Pattern::parse(pattern.get())).transpose();
        let pattern = pattern.map_err(SubscriptionRefusal::InvalidPattern)?;
        let transformer =
            definition.transform.as_ref().map(|transform| Transformer::compile(transform, name)).transpose();
        let transformer = transformer.map_err(SubscriptionRefusal::InvalidTransform)?;
        // A reason belongs to its pause; secrets are kept by whoever uses them.
        definition.paused_reason = definition.paused_reason.filter(|_| definition.paused);
        definition.push.iter_mut().for_each(|push| push.secret = None);
        let (rules, key) = (definition.rules(), KeyOf::new(&definition));
        let looks_at_data = matches!(key, KeyOf::Data(_)) || pattern.as_ref().is_some_and(Pattern::looks_at_data);
        let definition = Arc::new(definition);
        Ok(Self { definition, pattern, transformer, rules, key, looks_at_data, refused: None })
    }

    /// A definition that was accepted once. If it is not any more, nothing is delivered until it is changed.
    pub fn stored(name: &str, text: &Arc<RawValue>) -> Self {
        let stored = Stored::read(text);
        let accepted = match stored.unread.first() {
            Some(invalid) => Err(SubscriptionRefusal::Invalid(invalid.clone())),
            None => Self::new(name, stored.definition.clone()),
        };
        accepted.unwrap_or_else(|refusal| Self::of_refused(refusal, &stored, Arc::clone(text)))
    }

    fn of_refused(refusal: SubscriptionRefusal, stored: &Stored, text: Arc<RawValue>) -> Self {
        let mut reason = format!("its definition is not accepted any more: {}", refusal.at_its_place());
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        let definition = Subscription { paused: true, paused_reason: Some(reason), ..stored.definition.clone() };
        // Unfinished deliveries keep the key that they were taken up with.
        let key = if stored.is_key_known() { KeyOf::new(&definition) } else { KeyOf::Unknown };
        let rules = definition.rules();
        let refused = Some(Refused { refusal, text });
        let (definition, looks_at_data) = (Arc::new(definition), matches!(key, KeyOf::Data(_)));
        Self { definition, pattern: None, transformer: None, rules, key, looks_at_data, refused }
    }

    /// Nothing, or why the definition is not accepted any more.
    pub fn is_accepted(&self) -> Result<(), SubscriptionRefusal> {
        self.refused.as_ref().map_or(Ok(()), |refused| Err(refused.refusal.clone()))
    }

    /// The definition as the log has it or is to have it.
    pub fn to_store(&self) -> Box<RawValue> {
        self.refused.as_ref().map_or_else(|| definition_text(&self.definition), |refused| (*refused.text).to_owned())
    }

    /// Whether an event matches, as its consumer would read it.
    pub fn matches(&self, registry: &Registry, event: &Event<'_>, stamp: &Stamp) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        let matches = |event: &Event<'_>| pattern.matches_event(event, Some(stamp));
        let wanted = self.definition.schema_version;
        if wanted.is_stored() {
            return matches(event);
        }
        let renamed = || event.clone().with_kind(registry.kind_in(event.kind(), wanted));
        if !self.looks_at_data {
            return matches(&renamed());
        }
        match registry.upcast(event, wanted) {
            Ok(turned) => matches(turned.as_ref().unwrap_or(event)),
            // What it would be nobody knows: it ends as a dead letter of whom its type is for, rather than nowhere.
            Err(_) => pattern.takes(renamed().kind()) != Takes::None,
        }
    }

    /// What asking the pattern of one event counts for, in events that are looked at, beside the one.
    pub fn upcast_looks(&self) -> usize {
        let runs_upcasters =
            self.looks_at_data && self.pattern.is_some() && !self.definition.schema_version.is_stored();
        if runs_upcasters { UPCAST_LOOKS } else { 0 }
    }

    /// Whether events are delivered in another form than they were recorded in.
    pub fn changes_events(&self) -> bool {
        self.transformer.is_some() || !self.definition.schema_version.is_stored()
    }

    /// The pattern that the router may ask of events as they were recorded; without one it offers all.
    pub fn shared_pattern(&self) -> Option<&Pattern> {
        self.pattern.as_ref().filter(|_| self.definition.schema_version.is_stored())
    }

    pub fn matched(&self, event: &Event<'_>, position: u64, hasher: &TermHasher) -> Matched {
        Matched { position, key: self.key.of(event, hasher), expires: expiry(event) }
    }
}

impl Running {
    pub fn new(name: &str, compiled: Compiled, saved: &Saved, counts: Counts) -> Arc<Self> {
        let inner = Inner {
            deliveries: Deliveries::restore_from(saved),
            queue: VecDeque::new(),
            is_attached: false,
            bucket: TokenBucket::default(),
            drafts: Vec::new(),
            given_up: VecDeque::new(),
            counts,
            replays: Replays::default(),
            pace: Pace::default(),
            passed: 0,
            matched_to: saved.scan,
            outcomes: Outcomes::of(compiled.definition.reports_outcomes),
            is_deleted: false,
            is_changing: false,
        };
        Arc::new(Self {
            name: name.into(),
            compiled: RwLock::new(Arc::new(compiled)),
            inner: Mutex::new(inner),
            watchers: Mutex::default(),
        })
    }

    /// After a crash: lets keys go on that are parked by a dead letter that was discarded, redriven elsewhere, or is gone.
    pub fn let_decided_keys_go(&self, letters: &BTreeMap<u64, Arc<DeadLetterLine>>) {
        let mut inner = self.inner.lock();
        let is_over = |letter: &u64| letters.get(letter).is_none_or(|line| line.lets_key_go());
        let parked = inner.deliveries.iter().filter_map(|(id, delivery)| match delivery.phase {
            Phase::Parked { dead_letter } => Some((id, dead_letter)),
            _ => None,
        });
        let over: Vec<_> = parked.filter(|(_, letter)| *letter > 0 && is_over(letter)).collect();
        over.into_iter().for_each(|(id, letter)| _ = inner.deliveries.drop_parked(id, letter));
    }

    pub fn compiled(&self) -> Arc<Compiled> {
        Arc::clone(&self.compiled.read())
    }

    /// Tells whoever waits that there may be something to hand out. Not while `inner` is locked.
    pub fn wake(&self) {
        let watchers: Vec<Watcher> = self.watchers.lock().iter().map(|(_, watcher)| Arc::clone(watcher)).collect();
        watchers.iter().for_each(|watcher| watcher());
    }
}

impl Inner {
    /// When something becomes due: a deadline, a retry, or the rate limit's next delivery.
    pub fn next_due(&self, compiled: &Compiled, now: Timestamp) -> Option<Timestamp> {
        let is_available = self.deliveries.is_available(&compiled.rules);
        let rate = compiled.definition.rate_limit.filter(|_| is_available).and_then(|limit| self.bucket.next(limit));
        // Whoever waits for the rate limit was told when its time came.
        self.deliveries.next_due().into_iter().chain(rate.filter(|rate| *rate > now)).min()
    }

    /// Whether somebody who asks is handed something now, as far as is known.
    pub fn may_hand_out(&self, compiled: &Compiled, now: Timestamp) -> bool {
        let next = compiled.definition.rate_limit.and_then(|limit| self.bucket.next(limit));
        self.deliveries.is_available(&compiled.rules) && next.is_none_or(|next| next <= now)
    }

    /// Takes note of the next event that matches.
    pub fn offer(&mut self, matched: Matched) {
        self.passed += matched.position - self.deliveries.scan() - 1;
        self.matched_to = matched.position;
        self.deliveries.offer(matched.position, matched.key, matched.expires);
    }

    /// Takes note that no event up to here matches.
    pub fn looked_to(&mut self, position: u64) {
        self.passed += position.saturating_sub(self.deliveries.scan());
        self.deliveries.looked_to(position);
    }

    /// Measures how fast events are done with: they were finished, or do not match.
    pub fn measure(&mut self, now: Timestamp) {
        let Counts { acknowledged, dead_lettered, expired, .. } = self.counts;
        let finished = acknowledged + dead_lettered + expired + self.given_up.len() as u64;
        let is_holding = self.deliveries.iter().next().is_some();
        self.pace.measure(now, Done { passed: self.passed, finished, is_holding });
    }

    /// Whether there may be more to offer: in the queue, in the log, or of keys that go on.
    pub fn may_have_more(&self) -> bool {
        !self.is_attached || !self.queue.is_empty() || self.deliveries.has_reads()
    }

    /// Whether so much was given up that its dead letters have to be written first.
    pub fn has_too_much_to_bury(&self) -> bool {
        self.given_up.len() >= GIVEN_UP_MAX
    }

    /// What was taken back counts as never handed out: whatever is missing from as many as would be in flight without. How
    /// many that are.
    pub fn uncount(&mut self, in_flight: usize) -> usize {
        let count = in_flight - self.deliveries.in_flight_count();
        self.counts.handed_out -= count as u64;
        count
    }

    /// One that is fed and has nothing in its queue has looked at what was routed, which is up to here: the router looked
    /// for it. Read while this is locked.
    pub fn pass_routed(&mut self, routed_to: u64) {
        if self.is_attached && !self.is_changing && self.queue.is_empty() {
            self.looked_to(routed_to);
        }
    }

    /// From now on it reads the log itself, until it has caught up.
    pub fn detach(&mut self) {
        self.is_attached = false;
        self.queue.clear();
    }

    /// Keeps an outcome for whoever follows outcomes.
    pub fn note(&mut self, word: OutcomeWord, id: DeliveryId, attempt: u32, error: Option<&str>, time: Timestamp) {
        self.outcomes.note(|| Outcome { id, word, attempt, error: error.map(str::to_owned), time });
    }

    /// Which attempt a delivery is at.
    pub fn attempt(&self, id: DeliveryId) -> u32 {
        self.deliveries.get(id).map_or(0, |delivery| delivery.attempts)
    }

    /// Takes what the router found. A full queue detaches the subscription: it then reads the log itself.
    pub fn feed(&mut self, found: &[Matched]) -> bool {
        if !self.is_attached {
            return false;
        }
        for matched in found {
            if self.queue.len() >= QUEUE_MAX {
                self.is_attached = false;
                break;
            }
            self.queue.push_back(*matched);
        }
        true
    }
}
