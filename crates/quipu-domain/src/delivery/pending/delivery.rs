//! One unfinished delivery: which event it is, what was tried, and what it waits for. What moves it from one phase to
//! the next is the business of [`Deliveries`](super::Deliveries).

use serde::{Deserialize, Serialize};

use super::super::attempt::Attempt;
use super::super::lines::Key;
use crate::Timestamp;

/// One event on its way to one subscription. A redriven one is another delivery of the same event, and so is one of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct DeliveryId {
    /// The event.
    pub position: u64,
    /// 0; or the dead letter that it was redriven from.
    pub dead_letter: u64,
    /// 0; or the replay that it belongs to, which redrives no dead letter.
    pub replay: u64,
}

/// What tells a replay from a dead letter where one number stands for either, as in the log: there are not so many of one.
const IS_REPLAY: u64 = 1 << 63;

impl From<(u64, u64)> for DeliveryId {
    fn from((position, from): (u64, u64)) -> Self {
        match from & IS_REPLAY {
            0 => Self { position, dead_letter: from, replay: 0 },
            _ => Self { position, dead_letter: 0, replay: from & !IS_REPLAY },
        }
    }
}

impl From<DeliveryId> for (u64, u64) {
    fn from(id: DeliveryId) -> Self {
        (id.position, if id.replay > 0 { id.replay | IS_REPLAY } else { id.dead_letter })
    }
}

impl DeliveryId {
    /// The same for every attempt at this event for this subscription of this log, redriven ones included, and for no
    /// other: an edited copy is another event and has another key. Whoever keeps it together with the effect has the
    /// effect once. `log` names the log: positions and names are the same in many. Each replay has keys of its own: it is made
    /// so that what was processed before is processed again.
    ///
    /// ```
    /// use quipu_domain::delivery::DeliveryId;
    /// let id = DeliveryId { position: 17, ..DeliveryId::default() };
    /// assert_eq!(id.idempotency_key("billing", 0x3f9a, false), "billing/0000000000003f9a/17");
    /// let replayed = DeliveryId { replay: 3, ..id };
    /// assert_eq!(replayed.idempotency_key("billing", 0x3f9a, false), "billing/0000000000003f9a/17/replay-3");
    /// ```
    pub fn idempotency_key(self, subscription: &str, log: u64, is_edited: bool) -> String {
        let Self { position, dead_letter, replay } = self;
        match (is_edited, replay) {
            (true, _) => format!("{subscription}/{log:016x}/{position}/{dead_letter}"),
            (false, 0) => format!("{subscription}/{log:016x}/{position}"),
            (false, _) => format!("{subscription}/{log:016x}/{position}/replay-{replay}"),
        }
    }

    /// As it was routed, neither redriven nor replayed.
    pub fn routed(position: u64) -> Self {
        Self { position, ..Self::default() }
    }
}

/// What a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its turn.
    Ready,
    /// An answer of the consumer that has the token.
    InFlight {
        /// Names the attempt.
        token: u64,
        /// When it was handed out.
        since: Timestamp,
        /// When it is taken for failed.
        deadline: Timestamp,
    },
    /// Its next attempt.
    Waiting {
        /// Since when, by the clock of now.
        since: Timestamp,
        /// When that is.
        until: Timestamp,
    },
    /// Somebody to decide: it was given up, and its key waits.
    Parked {
        /// The dead letter that it became.
        dead_letter: u64,
    },
}

/// An unfinished delivery.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The key whose events wait for it; none if none do.
    pub key: Option<Key>,
    /// Attempts begun.
    pub attempts: u32,
    /// When the first one began.
    pub first_attempt: Option<Timestamp>,
    /// The failed ones that are kept, oldest first.
    pub history: Vec<Attempt>,
    /// After this time it is not delivered any more.
    pub expires: Option<Timestamp>,
    /// The dead letter that parked its key, if somebody had it tried again since.
    pub unparked_from: Option<u64>,
    /// What it waits for.
    pub phase: Phase,
}

impl Delivery {
    /// One that waits its turn and was never tried.
    pub(super) fn new(key: Option<Key>, expires: Option<Timestamp>) -> Self {
        let (history, phase) = (Vec::new(), Phase::Ready);
        Self { key, attempts: 0, first_attempt: None, history, expires, unparked_from: None, phase }
    }

    /// The dead letter that it was redriven from, in the order of its key or beside it. It is delivered whatever its
    /// event says of its time: somebody decided so.
    pub fn redriven_from(&self, id: DeliveryId) -> Option<u64> {
        self.unparked_from.or((id.dead_letter > 0).then_some(id.dead_letter))
    }

    /// Whether nothing is lost if it is only remembered where its event is.
    pub(super) fn is_untried(&self) -> bool {
        self.phase == Phase::Ready && self.attempts == 0 && self.unparked_from.is_none()
    }
}
