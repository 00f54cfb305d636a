//! Whether a subscription moves, and how fast: one that catches up can say for how long, and nobody has to be told that no
//! consumer asks while one does. It knows numbers and times only; what counts as done is said by [`super::running::Inner`].

use std::collections::VecDeque;

use quipu_domain::Timestamp;

/// For so long after it moved or was asked a subscription counts as moving, microseconds. 5 s: long enough for a worker
/// that takes a second or two with a batch, short enough that one that died is missed soon.
const RECENT_US: i64 = 5_000_000;
/// The shortest time that a pace is taken from, and how far apart the places are that are remembered, microseconds.
const SPAN_US: i64 = 1_000_000;

/// How many events were done with at a time.
type Place = (Timestamp, u64);

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Events that do not match.
    pub passed: u64,
    /// Events that were acknowledged or given up.
    pub finished: u64,
    /// Whether a delivery is unfinished. Then only what is finished is a move: events that do not match go past a consumer
    /// that hangs, too.
    pub is_holding: bool,
}

/// What is remembered of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    asked: Option<Timestamp>,
    moved: Option<Timestamp>,
    newest: Option<Place>,
    finished: u64,
    /// A second apart, and no older than a pace is taken from: at most seven.
    places: VecDeque<Place>,
}

impl Pace {
    /// A consumer asked for deliveries.
    pub fn ask(&mut self, now: Timestamp) {
        self.asked = Some(now);
    }

    /// Takes note of how many events are done with.
    pub fn measure(&mut self, now: Timestamp, Done { passed, finished, is_holding }: Done) {
        let done = passed + finished;
        let is_move = !is_holding || finished > self.finished;
        self.finished = finished;
        // From a time that is still to come nothing is measured: the clock was set back.
        let Some(before) = self.newest.filter(|(at, _)| *at <= now) else {
            *self = Self { asked: self.asked, newest: Some((now, done)), finished, ..Self::default() };
            self.places.push_back((now, done));
            return;
        };
        let done = done.max(before.1);
        if done > before.1 && is_move {
            // Time in which nobody did anything says nothing about the pace of those who do something now.
            if !self.is_moving(now) {
                self.places = VecDeque::from([before]);
            }
            self.moved = Some(now);
        }
        self.newest = Some((now, done));
        let is_apart = |at: Timestamp| now.0.saturating_sub(at.0) >= SPAN_US;
        if self.places.back().is_none_or(|(at, _)| is_apart(*at)) {
            self.places.push_back((now, done));
        }
        while self.places.get(1).is_some_and(|(second, _)| now.0.saturating_sub(second.0) >= RECENT_US) {
            self.places.pop_front();
        }
    }

    /// Whether a consumer asked lately.
    pub fn is_asked(&self, now: Timestamp) -> bool {
        is_recent(self.asked, now)
    }

    /// Whether an event was done with lately.
    pub fn is_moving(&self, now: Timestamp) -> bool {
        is_recent(self.moved, now)
    }

    /// Events that are done with in a second, to a tenth, as of the last measure; not known before there was a second to
    /// measure, or while nothing moves.
    pub fn per_second(&self) -> Option<f64> {
        let ((begin, before), (end, done)) = (*self.places.front()?, self.newest?);
        let (elapsed, count) = (end.0.saturating_sub(begin.0), done - before);
        let pace = count as f64 / (elapsed as f64 / 1e6);
        (elapsed >= SPAN_US && count > 0).then(|| (pace * 10.0).round().max(1.0) / 10.0)
    }
}

fn is_recent(time: Option<Timestamp>, now: Timestamp) -> bool {
    time.is_some_and(|time| (0..=RECENT_US).contains(&now.0.saturating_sub(time.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    fn passed(passed: u64) -> Done {
        Done { passed, ..Done::default() }
    }

    #[test]
    fn what_goes_past_one_that_holds_a_delivery_is_no_move_and_counts_when_it_finishes() {
        let mut pace = Pace::default();
        let held = |passed, finished| Done { passed, finished, is_holding: true };
        pace.measure(at(0), held(0, 0));
        pace.measure(at(1_000), held(50, 0));
        assert!(!pace.is_moving(at(1_000)));
        pace.measure(at(2_000), held(100, 1));
        assert_eq!((pace.is_moving(at(2_000)), pace.per_second()), (true, Some(51.0)));
        pace.measure(at(7_001), held(300, 1));
        assert!(!pace.is_moving(at(7_001)));
        pace.measure(at(8_000), passed(302));
        assert!(pace.is_moving(at(8_000)));
    }

    #[test]
    fn a_pace_is_known_after_a_second_and_not_while_nothing_moves() {
        let mut pace = Pace::default();
        pace.measure(at(0), passed(100));
        pace.measure(at(500), passed(600));
        assert_eq!((pace.per_second(), pace.is_moving(at(500))), (None, true));
        pace.measure(at(2_000), passed(1_100));
        assert_eq!(pace.per_second(), Some(500.0));
        pace.measure(at(7_000), passed(1_100));
        assert_eq!((pace.per_second(), pace.is_moving(at(7_000))), (None, true));
        assert!(!pace.is_moving(at(7_001)));
    }

    #[test]
    fn a_pace_is_that_of_the_last_seconds_whatever_was_before() {
        let mut pace = Pace::default();
        (0..600).for_each(|tenth| pace.measure(at(tenth * 100), passed(0)));
        // Nobody did anything for a minute; now bursts of 30 come every three seconds.
        for tenth in 600..900 {
            pace.measure(at(tenth * 100), passed(30 * ((tenth - 600) / 30 + 1) as u64));
            let per_second = pace.per_second();
            let is_known = tenth >= 609;
            assert_eq!(per_second.is_some(), is_known, "{tenth}");
            assert!(!is_known || tenth < 630 || (5.0..=20.0).contains(&per_second.unwrap()), "{tenth}: {per_second:?}");
            assert!(pace.places.len() <= 7);
        }
    }

    #[test]
    fn a_slow_pace_is_not_none() {
        let mut pace = Pace::default();
        pace.measure(at(0), passed(0));
        pace.measure(at(100), passed(1));
        pace.measure(at(4_900), passed(1));
        assert_eq!(pace.per_second(), Some(0.2));
    }

    #[test]
    fn a_pace_is_known_again_a_second_after_the_clock_went_back() {
        let mut pace = Pace::default();
        pace.ask(at(3_601_000));
        pace.measure(at(3_600_000), passed(100));
        pace.measure(at(3_601_000), passed(200));
        assert_eq!(pace.per_second(), Some(100.0));
        pace.measure(at(0), passed(300));
        assert!(!pace.is_asked(at(0)) && !pace.is_moving(at(0)), "that time is still to come");
        pace.measure(at(1_000), passed(500));
        assert_eq!(pace.per_second(), Some(200.0));
    }
}
