//! The ticks of a schedule: when the next one is, and which there are in a stretch of time.

use std::collections::VecDeque;

use super::cron::Cron;
use super::rate::Rate;
use super::zone::Zone;
use crate::Timestamp;

/// When a schedule has ticks. It is pure: the same question has the same answer, whatever has happened.
#[derive(Clone, Debug)]
pub struct Timetable {
    pub(super) ticks: Ticks,
    /// None is before this.
    pub(super) from: Option<Timestamp>,
    /// Nor at this or after it.
    pub(super) until: Option<Timestamp>,
}

/// What makes the ticks.
#[derive(Clone, Debug)]
pub(super) enum Ticks {
    Cron(Cron, Zone),
    Rate(Rate),
}

impl Timetable {
    /// The first tick after a time.
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let time = self.bounded(time);
        let next = match &self.ticks {
            Ticks::Cron(cron, zone) => cron.next_after(zone, time),
            Ticks::Rate(rate) => rate.next_after(time),
        };
        next.filter(|next| self.until.is_none_or(|until| *next < until))
    }

    /// How many ticks there are after a time and until another, it included, and the newest of them, at most so many, in
    /// their order.
    pub(super) fn between(&self, after: Timestamp, until: Timestamp, newest: usize) -> (u64, VecDeque<Timestamp>) {
        let mut kept = VecDeque::new();
        let mut count = 0;
        match &self.ticks {
            Ticks::Cron(..) => {
                let mut at = after;
                while let Some(tick) = self.next_after(at).filter(|tick| *tick <= until) {
                    if kept.len() == newest {
                        kept.pop_front();
                    }
                    kept.push_back(tick);
                    (count, at) = (count + 1, tick);
                }
            }
            // There may be very many, and they need not be looked at one by one.
            Ticks::Rate(rate) => {
                let last = self.until.map_or(until, |end| until.min(before(end)));
                let (from, to) = (rate.ticks_until(self.bounded(after)), rate.ticks_until(last));
                count = u64::try_from(to.saturating_sub(from)).unwrap_or(0);
                let newest = i64::try_from(count).unwrap_or(i64::MAX).min(newest as i64);
                kept.extend((to - newest..to).filter_map(|number| rate.tick(number)));
            }
        }
        (count, kept)
    }

    /// A time before which nothing is of interest.
    fn bounded(&self, time: Timestamp) -> Timestamp {
        self.from.map_or(time, |from| time.max(before(from)))
    }
}

fn before(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_sub(1))
}
