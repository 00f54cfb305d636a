//! What a clock that is set back means: a lease lasts no longer from then on than it was to last, a pause and a rate go by
//! the time that really passed, and what was over before may have ended then.

use quipu_domain::Timestamp;

use super::book::Book;
use super::owed::State;

impl Book {
    /// The time as if the clock had never been set back.
    pub fn steady(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0 + self.back_us)
    }

    /// The clock is set back from what it shows now, by so many microseconds in all.
    pub fn set_back(&mut self, now: Timestamp, back_us: i64) {
        (self.back_us, self.is_set_back) = (back_us, true);
        for owed in self.owed.values_mut() {
            let may_end = matches!(owed.state, State::Open | State::Perhaps | State::GivenUp { .. });
            owed.was_over |= may_end && owed.has_passed(now);
        }
    }

    /// The subscription looks at the time: a lease that began at a time which is still to come begins now.
    pub fn time_is(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.is_set_back) {
            return;
        }
        for owed in self.owed.values_mut() {
            if let State::InFlight { since, asked, deadline, .. } = &mut owed.state {
                let back_us = (asked.0 - now.0).max(0);
                [since, asked, deadline].into_iter().for_each(|time| time.0 -= back_us);
            }
        }
    }
}
