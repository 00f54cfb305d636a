//! One delivery that a subscription owes, and what is known of it. A restart makes some of it uncertain: what was not
//! written down before may have happened or not.

use quipu_domain::Timestamp;
use quipu_domain::delivery::Reason;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is to be handed out.
    Open,
    /// A consumer has it, and was given the time until the deadline when it asked.
    InFlight { token: u64, since: Timestamp, asked: Timestamp, deadline: Timestamp },
    /// It was given up, and its dead letter is to come. Unsure: perhaps it was, perhaps it is tried again.
    GivenUp { reason: Reason, blocks: bool, is_sure: bool },
    /// Its key waits for somebody to decide about the dead letter.
    Parked { letter: u64 },
    /// It is finished, in that process: acknowledged, or it has its dead letter.
    Done { session: u64, is_durable: bool, is_acknowledged: bool },
    /// It was finished, and that was perhaps forgotten.
    Perhaps,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Try {
    pub number: u32,
    pub time: Timestamp,
    pub duration_ms: u64,
    pub error: String,
    pub is_durable: bool,
    /// Whether it cannot have been forgotten.
    pub is_sure: bool,
}

/// See the file.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub key: Option<String>,
    pub expires: Option<Timestamp>,
    /// Its time was over before the clock was set back: it may have ended then.
    pub was_over: bool,
    /// It has to be finished in the end.
    pub must: bool,
    /// Its key was changed while it was underway: nothing is asked of its order, nor of its attempts.
    pub is_loose: bool,
    pub state: State,
    /// Attempts begun: the fewest and the most there can have been.
    pub attempts: (u32, u32),
    /// The fewest and the most since they were last written down for sure.
    pub unsaved: (u32, u32),
    /// When the first one began: the earliest and the latest possible.
    pub first: Option<(Timestamp, Timestamp)>,
    /// When the first one began that was taken back since, as it may still be written down.
    pub taken_back: Option<Timestamp>,
    /// The first attempt may have been forgotten.
    pub is_first_unsure: bool,
    /// In steady time.
    pub not_before: Option<Timestamp>,
    /// The attempt that was promised, whatever the terms say by now.
    pub promised: u32,
    pub tries: Vec<Try>,
    /// Restarts since its first attempt: each may repeat one.
    pub restarts: u32,
}

impl Owed {
    pub fn new(key: Option<String>, expires: Option<Timestamp>) -> Self {
        Self {
            key,
            expires,
            was_over: false,
            must: true,
            is_loose: false,
            state: State::Open,
            attempts: (0, 0),
            unsaved: (0, 0),
            first: None,
            taken_back: None,
            is_first_unsure: false,
            not_before: None,
            promised: 0,
            tries: Vec::new(),
            restarts: 0,
        }
    }

    pub fn token(&self) -> Option<u64> {
        match self.state {
            State::InFlight { token, .. } => Some(token),
            _ => None,
        }
    }

    pub fn is_in_flight(&self) -> bool {
        self.token().is_some()
    }

    /// Whether its time is over, so that it ends without being delivered.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        (self.was_over || self.has_passed(now)) && !self.is_in_flight()
    }

    /// Whether its time is over by the clock of now.
    pub fn has_passed(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether later events of its key have to wait.
    pub fn blocks(&self, now: Timestamp) -> bool {
        match self.state {
            State::Done { .. } | State::Perhaps => false,
            State::Parked { .. } => true,
            State::GivenUp { blocks, is_sure, .. } => blocks && is_sure,
            State::InFlight { .. } => true,
            State::Open => self.must && !self.is_loose && !self.is_expired(now),
        }
    }

    /// Whether something is still to happen to it.
    pub fn is_unfinished(&self) -> bool {
        !matches!(self.state, State::Done { .. } | State::Perhaps)
    }

    pub fn set_attempts(&mut self, attempts: u32) {
        self.attempts = (attempts, attempts);
        self.unsaved = (self.unsaved.0.min(attempts), self.unsaved.1.max(attempts));
    }

    pub fn begin(&mut self, attempt: u32, now: Timestamp) {
        if self.first.is_none() || (self.attempts == (0, 0) && !self.is_first_unsure) {
            if let Some((earliest, _)) = self.first.filter(|_| self.unsaved.1 > 0) {
                self.taken_back = Some(self.taken_back.map_or(earliest, |before| before.min(earliest)));
            }
            self.first = Some((now, now));
        } else if self.is_first_unsure {
            self.first = self.first.map(|(earliest, latest)| (earliest.min(now), latest.max(now)));
        }
        self.is_first_unsure = false;
        self.set_attempts(attempt);
        self.not_before = None;
    }

    /// It was handed out, and never had its turn.
    pub fn take_back(&mut self) {
        // When it began may have been written down: it stays until the next first attempt.
        self.set_attempts(self.attempts.0.saturating_sub(1));
        self.state = State::Open;
    }

    /// It begins anew, after somebody decided so.
    pub fn begin_anew(&mut self) {
        self.state = State::Open;
        (self.attempts, self.unsaved) = ((0, 0), (0, 0));
        (self.first, self.taken_back, self.is_first_unsure, self.not_before) = (None, None, false, None);
        self.tries.clear();
        self.restarts = 0;
        // A redrive is a decision, whatever the event says of its time.
        (self.expires, self.was_over) = (None, false);
    }

    /// Everything so far is written down.
    pub fn saved(&mut self) {
        (self.unsaved, self.taken_back) = (self.attempts, None);
        self.tries.iter_mut().filter(|one| one.is_sure).for_each(|one| one.is_durable = true);
        if let State::Done { is_durable, .. } = &mut self.state {
            *is_durable = true;
        }
    }

    /// The process ended. What was not written down may be forgotten.
    pub fn restarted(&mut self) {
        let (fewest, most) = (self.unsaved.0.min(self.attempts.0), self.unsaved.1.max(self.attempts.1));
        // What was handed out behind the first of its key never had its turn.
        let fewest = if self.key.is_some() && self.tries.iter().all(|one| !one.is_durable) { 0 } else { fewest };
        (self.attempts, self.unsaved) = ((fewest, most), (fewest, most));
        self.restarts += u32::from(most > 0);
        self.is_first_unsure = fewest == 0 && most > 0;
        if let (Some(before), Some((earliest, _))) = (self.taken_back.take(), &mut self.first) {
            *earliest = before.min(*earliest);
        }
        self.not_before = None;
        self.tries.iter_mut().filter(|one| !one.is_durable).for_each(|one| one.is_sure = false);
        self.state = match self.state {
            State::InFlight { .. } => State::Open,
            State::GivenUp { reason, blocks, .. } => State::GivenUp { reason, blocks, is_sure: false },
            State::Done { is_durable: false, .. } => State::Perhaps,
            state => state,
        };
    }
}
