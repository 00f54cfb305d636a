//! One unfinished delivery: which event it is, what was tried, and what it waits for. What moves it from one phase to
//! the next is the business of [`Deliveries`](super::Deliveries).

use serde::{Deserialize, Serialize};

use super::super::attempt::Attempt;
use super::super::lines::Key;
use crate::Timestamp;

/// One event on its way to one subscription. A redriven one is another delivery of the same event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId {
    /// The event.
    pub position: u64,
    /// 0; or the dead letter that it was redriven from.
    pub dead_letter: u64,
}

impl DeliveryId {
    /// The same for every attempt at this event for this subscription of this log, redriven ones included, and for no
    /// other: an edited copy is another event and has another key. Whoever keeps it together with the effect has the
    /// effect once. `log` names the log: positions and names are the same in many.
    ///
    /// ```
    /// let id = quipu_domain::delivery::DeliveryId { position: 17, dead_letter: 0 };
    /// assert_eq!(id.idempotency_key("billing", 0x3f9a, false), "billing/0000000000003f9a/17");
    /// ```
    pub fn idempotency_key(self, subscription: &str, log: u64, is_edited: bool) -> String {
        match is_edited {
            false => format!("{subscription}/{log:016x}/{}", self.position),
            true => format!("{subscription}/{log:016x}/{}/{}", self.position, self.dead_letter),
        }
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
