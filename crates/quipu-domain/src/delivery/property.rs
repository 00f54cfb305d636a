//! Any mixture of offers, hand-outs, answers, deadlines and crashes: every event is finished, keys keep their order, and
//! what is restored is what was saved.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::Timestamp;

/// The longest that anything waits.
const WAIT_MS_MAX: i64 = 1_000;

/// What was handed out behind the first of its key never had its turn.
fn after_restart(saved: &Saved) -> Saved {
    let (mut keys, mut restored) = (HashSet::new(), saved.clone());
    for delivery in restored.deliveries.values_mut() {
        if delivery.key.is_some_and(|key| !keys.insert(key)) {
            (delivery.attempts, delivery.first_attempt) = (0, None);
        }
    }
    restored
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    HandOut(usize),
    Ack(usize),
    Nack(usize),
    GiveUp(usize),
    Release(usize),
    Wait(u16),
    TurnBack(u16),
    Save,
    Crash,
    Decide(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0u8..6).prop_map(Step::Append),
        4 => (1usize..8).prop_map(Step::HandOut),
        6 => (0usize..8).prop_map(Step::Ack),
        2 => (0usize..8).prop_map(Step::Nack),
        1 => (0usize..8).prop_map(Step::GiveUp),
        1 => (0usize..8).prop_map(Step::Release),
        2 => (1u16..2_000).prop_map(Step::Wait),
        1 => (1u16..5_000).prop_map(Step::TurnBack),
        1 => Just(Step::Save),
        1 => Just(Step::Crash),
        1 => any::<bool>().prop_map(Step::Decide),
    ];
    prop::collection::vec(step, 1..300)
}

/// Whoever drives the deliveries, and what it has seen.
struct Driver {
    rules: Rules,
    /// The key of each event, from position 1; key 0 stands for none.
    log: Vec<u8>,
    deliveries: Deliveries,
    saved: Saved,
    now: Timestamp,
    token: u64,
    in_flight: Vec<(DeliveryId, u64)>,
    finished: BTreeSet<u64>,
    /// Finished ones whose being finished is saved.
    finished_saved: BTreeSet<u64>,
    dead_letters: u64,
    /// The newest finished position of each key since the last crash.
    newest: HashMap<u8, u64>,
}

impl Driver {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            log: Vec::new(),
            deliveries: Deliveries::after(0),
            saved: Saved::after(0),
            now: Timestamp(0),
            token: 0,
            in_flight: Vec::new(),
            finished: BTreeSet::new(),
            finished_saved: BTreeSet::new(),
            dead_letters: 0,
            newest: HashMap::new(),
        }
    }

    fn key(&self, position: u64) -> u8 {
        self.log[position as usize - 1]
    }

    /// Looks at what is new in the log, and again at what keys wait for.
    fn scan(&mut self) {
        while let Some((key, from, to)) = self.deliveries.reads() {
            let all: Vec<u64> = (from..=to).filter(|position| Key::from(self.key(*position)) == key).collect();
            // At most two at a time, so that it has to be read again.
            let cut = all.get(2).map_or(to, |third| third - 1);
            let found: Vec<u64> = all.into_iter().take(2).collect();
            self.deliveries.found(key, &found, cut);
        }
        while self.deliveries.scan() < self.log.len() as u64 && self.deliveries.has_room(&self.rules) {
            let position = self.deliveries.scan() + 1;
            let key = self.key(position);
            match key {
                // Events of this key do not match.
                5 => self.deliveries.looked_to(position),
                _ => self.deliveries.offer(position, (key > 0).then_some(key.into()), None),
            }
        }
    }

    fn hand_out(&mut self, limit: usize) {
        self.scan();
        let mut token = self.token;
        let mut next = || {
            token += 1;
            token
        };
        let HandedOut { handed, expired, given_up } = self.deliveries.hand_out(limit, self.now, &self.rules, &mut next);
        self.token = token;
        assert!(expired.is_empty() && handed.len() <= limit);
        for (id, given_up) in given_up {
            self.failed(id, Outcome::GivenUp(given_up));
        }
        let before: BTreeSet<u8> = self.in_flight.iter().map(|(id, _)| self.key(id.position)).collect();
        for id in &handed {
            let key = self.key(id.position);
            assert_ne!(key, 5);
            assert!(key == 0 || !before.contains(&key), "key {key} is with another consumer");
            let earlier = (1..id.position).filter(|earlier| key > 0 && self.key(*earlier) == key);
            let is_done =
                |earlier: u64| self.finished.contains(&earlier) || handed.iter().any(|other| other.position == earlier);
            assert!(earlier.into_iter().all(is_done), "{} overtakes its key", id.position);
            let Phase::InFlight { token, .. } = self.deliveries.get(*id).unwrap().phase else { unreachable!() };
            self.in_flight.push((*id, token));
        }
        assert!(self.in_flight.len() <= self.rules.max_in_flight);
    }

    /// How many wait behind their key is known or not, but never wrong.
    fn check_waiting(&self) {
        let Some(waiting) = self.deliveries.waiting_behind() else { return };
        let is_delivery = |position| self.deliveries.get(DeliveryId::routed(position)).is_some();
        let is_waiting = |position: &u64| {
            let key = self.key(*position);
            key > 0 && key != 5 && !self.finished.contains(position) && !is_delivery(*position)
        };
        assert_eq!(waiting, (1..=self.deliveries.scan()).filter(is_waiting).count());
    }

    fn finish(&mut self, id: DeliveryId) {
        let key = self.key(id.position);
        let newest = self.newest.insert(key, id.position);
        assert!(key == 0 || newest.is_none_or(|newest| newest < id.position), "key {key} is out of order");
        self.finished.insert(id.position);
    }

    fn pick(&self, at: usize) -> Option<(DeliveryId, u64)> {
        self.in_flight.get(at % self.in_flight.len().max(1)).copied()
    }

    fn failed(&mut self, id: DeliveryId, outcome: Outcome) {
        if let Outcome::GivenUp(given_up) = outcome {
            self.given_up(id, &given_up);
        }
        self.forget_taken_back();
    }

    /// What was taken back is not in flight any more.
    fn forget_taken_back(&mut self) {
        let deliveries = &self.deliveries;
        self.in_flight.retain(|(id, token)| {
            matches!(deliveries.get(*id).map(|delivery| delivery.phase),
                Some(Phase::InFlight { token: current, .. }) if current == *token)
        });
    }

    fn release(&mut self, id: DeliveryId, token: u64) {
        let before = self.deliveries.get(id).map(|delivery| delivery.attempts);
        self.deliveries.release(id, token).unwrap();
        assert_eq!(self.deliveries.get(id).map(|delivery| delivery.attempts + 1), before, "it was no attempt");
        assert_eq!(self.deliveries.release(id, token), Err(NotInFlight::Late));
        self.forget_taken_back();
    }

    fn given_up(&mut self, id: DeliveryId, given_up: &GivenUp) {
        assert_eq!(given_up.history.last().unwrap().number, given_up.attempts);
        self.dead_letters += 1;
        if self.rules.parks_keys && self.key(id.position) > 0 {
            self.deliveries.park(id, self.dead_letters);
        } else {
            self.finish(id);
        }
    }

    fn save(&mut self) {
        let progress = self.deliveries.take_progress();
        self.saved.apply(progress);
        assert_eq!(self.saved, self.deliveries.saved());
        self.finished_saved = self.finished.clone();
    }

    fn decide(&mut self, again: bool) {
        let parked = self.deliveries.iter().find_map(|(id, delivery)| match delivery.phase {
            Phase::Parked { dead_letter } => Some((id, dead_letter)),
            _ => None,
        });
        let Some((id, dead_letter)) = parked else { return };
        assert!(!self.deliveries.drop_parked(id, dead_letter + 1));
        match again {
            true => assert!(self.deliveries.unpark(id, dead_letter)),
            false => {
                assert!(self.deliveries.drop_parked(id, dead_letter));
                self.finish(id);
            }
        }
    }

    fn time_passes(&mut self, ms: i64) {
        self.now = self.now.plus_ms(ms);
        let moment = Moment { rules: &self.rules.clone(), now: self.now, chance: 0.5 };
        for (id, outcome) in self.deliveries.tick(moment) {
            self.failed(id, outcome);
        }
        for (_, delivery) in self.deliveries.iter() {
            let (Phase::InFlight { deadline: due, .. } | Phase::Waiting { until: due, .. }) = delivery.phase else {
                continue;
            };
            assert!(due <= self.now.plus_ms(WAIT_MS_MAX), "it waits for longer than it was to wait in all");
        }
    }

    fn step(&mut self, step: &Step) {
        let moment = Moment { rules: &self.rules.clone(), now: self.now, chance: 0.5 };
        match step {
            Step::Append(key) => self.log.push(*key),
            Step::HandOut(limit) => self.hand_out(*limit),
            Step::Ack(at) => {
                let Some((id, token)) = self.pick(*at) else { return };
                assert_eq!(self.deliveries.ack(id, token + 1_000_000), Err(NotInFlight::Late));
                if self.deliveries.ack(id, token).is_ok() {
                    self.in_flight.retain(|(other, _)| *other != id);
                    self.finish(id);
                    assert_eq!(self.deliveries.ack(id, token), Err(NotInFlight::Late));
                }
            }
            Step::Nack(at) => {
                let Some((id, token)) = self.pick(*at) else { return };
                if let Ok(outcome) = self.deliveries.nack(id, token, Failure::new("no"), None, moment) {
                    self.failed(id, outcome);
                }
            }
            Step::GiveUp(at) => {
                let Some((id, token)) = self.pick(*at) else { return };
                let (reason, failure) = (Reason::GivenUpByConsumer, Failure::new("never"));
                if let Ok(given_up) = self.deliveries.give_up(id, token, failure, reason, moment) {
                    self.failed(id, Outcome::GivenUp(given_up));
                }
            }
            Step::Release(at) => {
                let Some((id, token)) = self.pick(*at) else { return };
                let attempts = self.deliveries.get(id).map(|delivery| delivery.attempts).unwrap();
                assert_eq!(self.deliveries.release(id, token + 1_000_000), Err(NotInFlight::Late));
                self.release(id, token);
                assert_eq!(self.deliveries.get(id).map(|delivery| delivery.attempts), Some(attempts - 1));
            }
            Step::Wait(ms) => self.time_passes(i64::from(*ms)),
            Step::TurnBack(ms) => self.time_passes(-i64::from(*ms)),
            Step::Save => self.save(),
            Step::Crash => {
                self.deliveries = Deliveries::restore_from(&self.saved);
                assert_eq!(self.deliveries.saved(), after_restart(&self.saved));
                self.in_flight.clear();
                self.finished = self.finished_saved.clone();
                self.newest.clear();
            }
            Step::Decide(again) => self.decide(*again),
        }
    }

    /// A consumer that acknowledges everything, and somebody who drops what is parked.
    fn drain(&mut self) {
        for _ in 0..20 * self.log.len() + 100 {
            self.step(&Step::Wait(2_000));
            self.step(&Step::Decide(false));
            self.hand_out(100);
            for (id, token) in std::mem::take(&mut self.in_flight) {
                self.deliveries.ack(id, token).unwrap();
                self.finish(id);
            }
        }
        let wanted: BTreeSet<u64> = (1..=self.log.len() as u64).filter(|position| self.key(*position) != 5).collect();
        assert_eq!(self.finished, wanted, "every matching event is finished");
        assert_eq!(self.deliveries.summary(), Summary::default());
        self.save();
        assert_eq!(self.saved, Saved { scan: self.saved.scan, deliveries: BTreeMap::new(), waiting: BTreeMap::new() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn every_event_is_finished_in_the_order_of_its_key(
        steps in steps(),
        max_in_flight in 1usize..20,
        parks_keys in any::<bool>(),
        is_strict in any::<bool>(),
    ) {
        let backoff = Backoff::Delays { delays_ms: vec![100, WAIT_MS_MAX as u64] };
        let retry = RetryPolicy { max_attempts: 3, max_age_ms: None, backoff };
        // Strict: whoever routes gives all events one key.
        let rules = Rules { max_in_flight, ack_deadline_ms: WAIT_MS_MAX as u64, retry, is_strict, parks_keys };
        let mut driver = Driver::new(rules);
        for step in &steps {
            let step = match step {
                Step::Append(key) if is_strict && *key != 5 => Step::Append(1),
                step => step.clone(),
            };
            driver.step(&step);
            driver.check_waiting();
        }
        driver.drain();
    }
}
