//! Deliveries of one subscription, case by case; any mixture of them is in `property.rs`.

use super::*;
use crate::Timestamp;
use crate::delivery::{Backoff, Failure, RetryPolicy, Saved, lines};

#[test]
fn what_never_reached_its_consumer_was_no_attempt() {
    let retry = RetryPolicy { backoff: Backoff::Delays { delays_ms: vec![0] }, ..RetryPolicy::default() };
    let rules = Rules { max_in_flight: 9, ack_deadline_ms: 9, retry, is_strict: false, parks_keys: false };
    let mut deliveries = Deliveries::after(0);
    for (position, key) in [(1, Some(7)), (2, None), (3, Some(7))] {
        deliveries.offer(position, key, None);
    }
    let hand_out = |deliveries: &mut Deliveries| deliveries.hand_out(9, Timestamp(0), &rules, &mut || 5).handed;
    let handed = hand_out(&mut deliveries);
    // One of an attempt that was answered meanwhile is left alone.
    assert_eq!(deliveries.release(handed[0], 4), Err(NotInFlight::Late));
    assert_eq!(deliveries.summary().in_flight, 3);
    handed.iter().rev().for_each(|id| deliveries.release(*id, 5).unwrap());
    assert_eq!(deliveries.summary().ready, 3);
    assert_eq!(hand_out(&mut deliveries), handed);
    assert!(handed.iter().all(|id| deliveries.get(*id).is_some_and(|delivery| delivery.attempts == 1)));
}

#[test]
fn what_was_given_up_while_its_event_was_read_does_not_expire_as_well() {
    let mut deliveries = Deliveries::after(0);
    deliveries.offer(1, Some(7), None);
    let handed = deliveries.hand_out(9, Timestamp(0), &rules(1), &mut || 5).handed;
    let over = Timestamp(60_000_000_000);
    let given_up = deliveries.tick(Moment { rules: &rules(1), now: over, chance: 0.0 });
    assert!(matches!(given_up[..], [(id, Outcome::GivenUp(_))] if id == handed[0]));
    let parked = deliveries.summary();
    assert_eq!(deliveries.expire(handed[0], 5, over), Err(NotInFlight::Late));
    assert_eq!(deliveries.summary(), parked);
}

fn rules(max_attempts: u32) -> Rules {
    let retry =
        RetryPolicy { max_attempts, backoff: Backoff::Delays { delays_ms: vec![1_000] }, ..RetryPolicy::default() };
    Rules { max_in_flight: 10, ack_deadline_ms: 60_000, retry, is_strict: false, parks_keys: true }
}

/// A log of 64 rounds of an event of each of so many bad keys and then one of a good one, whose number is 0.
struct Log {
    keys: u64,
}

impl Log {
    const ROUNDS: u64 = 64;

    fn key(&self, position: u64) -> Key {
        Key::from(position % (self.keys + 1))
    }

    fn end(&self) -> u64 {
        Self::ROUNDS * (self.keys + 1)
    }

    fn fill(&self, deliveries: &mut Deliveries, rules: &Rules) {
        while let Some((key, from, to)) = deliveries.reads() {
            let found: Vec<u64> = (from..=to).filter(|position| self.key(*position) == key).collect();
            deliveries.found(key, &found, to);
        }
        while deliveries.scan() < self.end() && deliveries.has_room(rules) {
            let position = deliveries.scan() + 1;
            deliveries.offer(position, Some(self.key(position)), None);
        }
    }

    /// Hands out until nobody gets anything: those of the good key are acknowledged, and of the others if `is_mended`.
    fn work(&self, deliveries: &mut Deliveries, rules: &Rules, is_mended: bool) -> Vec<u64> {
        let (mut acknowledged, mut letters, mut token) = (Vec::new(), 0, 0);
        let moment = Moment { rules, now: Timestamp(0), chance: 0.0 };
        loop {
            self.fill(deliveries, rules);
            let mut next = || {
                token += 1;
                token
            };
            let handed = deliveries.hand_out(10, moment.now, rules, &mut next).handed;
            if handed.is_empty() {
                return acknowledged;
            }
            for id in handed {
                // What was behind a failed one was taken back.
                let Some(Phase::InFlight { token, .. }) = deliveries.get(id).map(|delivery| delivery.phase) else {
                    continue;
                };
                if is_mended || self.key(id.position) == 0 {
                    deliveries.ack(id, token).unwrap();
                    acknowledged.push(id.position);
                } else if let Outcome::GivenUp(_) =
                    deliveries.nack(id, token, crate::delivery::Failure::new("no"), None, moment).unwrap()
                {
                    letters += 1;
                    deliveries.park(id, letters);
                }
            }
        }
    }
}

#[test]
fn keys_that_do_not_move_leave_the_room_of_what_waits_behind_them_to_others() {
    // Ten heads that wait for a retry fit beside what may be in flight; parked ones have a limit of their own.
    for (max_attempts, keys) in [(1, 40), (2, 10)] {
        let (log, rules) = (Log { keys }, rules(max_attempts));
        let mut deliveries = Deliveries::after(0);
        let good = log.work(&mut deliveries, &rules, false);
        assert_eq!(good.len() as u64, Log::ROUNDS, "{max_attempts} attempts: the good key goes on to its end");
        let stuck = Summary { keys: keys as usize, ..Summary::default() };
        let expected = match max_attempts {
            1 => Summary { parked: keys as usize, ..stuck },
            _ => Summary { waiting: keys as usize, ..stuck },
        };
        assert_eq!(deliveries.summary(), expected, "of each key only the head is kept");
        let mut deliveries = Deliveries::restore_from(&deliveries.saved());
        assert_eq!(deliveries.summary(), expected);
        let parked: Vec<_> = deliveries.iter().map(|(id, delivery)| (id, delivery.phase)).collect();
        for (id, phase) in parked {
            if let Phase::Parked { dead_letter } = phase {
                assert!(deliveries.unpark(id, dead_letter));
            }
        }
        deliveries.tick(Moment { rules: &rules, now: Timestamp(2_000_000), chance: 0.0 });
        let rest = log.work(&mut deliveries, &rules, true);
        assert_eq!(rest.len() as u64, Log::ROUNDS * keys, "nothing is skipped");
        for key in 1..=keys {
            let own: Vec<u64> = rest.iter().copied().filter(|position| log.key(*position) == Key::from(key)).collect();
            assert!(own.is_sorted(), "key {key} keeps its order: {own:?}");
        }
        assert_eq!(deliveries.summary(), Summary::default());
    }
}

#[test]
fn with_as_many_parked_keys_as_may_be_the_rest_waits_in_the_log_until_somebody_decides() {
    let (log, rules) = (Log { keys: 100 }, rules(1));
    let mut deliveries = Deliveries::after(0);
    log.work(&mut deliveries, &rules, false);
    let parked = deliveries.summary().parked;
    assert!((50..=50 + 10 + 20).contains(&parked), "{parked}");
    assert!(deliveries.scan() <= 101 && !deliveries.has_room(&rules));
    let dropped: Vec<_> = deliveries.iter().map(|(id, delivery)| (id, delivery.phase)).collect();
    for (id, phase) in dropped {
        let Phase::Parked { dead_letter } = phase else { panic!("{phase:?}") };
        assert!(deliveries.drop_parked(id, dead_letter));
    }
    let rest = log.work(&mut deliveries, &rules, true);
    assert_eq!((rest.len() + parked) as u64, log.end(), "nothing is skipped");
}

#[test]
fn a_parked_delivery_that_is_tried_again_says_so_when_it_fails_and_does_not_expire() {
    let rules = rules(1);
    let mut deliveries = Deliveries::after(0);
    deliveries.offer(1, Some(7), Some(Timestamp(5)));
    let id = DeliveryId::routed(1);
    for (now, letter) in [(0, 1), (10, 2), (20, 3)] {
        let now = Timestamp(now);
        let handed = deliveries.hand_out(1, now, &rules, &mut || letter);
        assert_eq!(handed, HandedOut { handed: vec![id], ..HandedOut::default() });
        // In between it is written down and read.
        let moment = Moment { rules: &rules, now, chance: 0.0 };
        let Ok(Outcome::GivenUp(given_up)) =
            deliveries.nack(id, letter, crate::delivery::Failure::new("no"), None, moment)
        else {
            panic!("it is given up at once")
        };
        assert_eq!(given_up.redriven_from, (letter > 1).then(|| letter - 1));
        deliveries.park(id, letter);
        deliveries = Deliveries::restore_from(&deliveries.saved());
        assert!(deliveries.unpark(id, letter));
        deliveries = Deliveries::restore_from(&deliveries.saved());
    }
}

#[test]
fn what_was_handed_out_behind_a_key_that_parks_after_a_restart_takes_no_room_either() {
    let (rules, moment_at) = (rules(1), Timestamp(0));
    let mut deliveries = Deliveries::after(0);
    (1..=3).for_each(|position| deliveries.offer(position, Some(7), None));
    let handed = deliveries.hand_out(10, moment_at, &rules, &mut || 5).handed;
    assert_eq!(handed.len(), 3, "a run");
    let mut deliveries = Deliveries::restore_from(&deliveries.saved());
    let handed = deliveries.hand_out(10, moment_at, &rules, &mut || 6).handed;
    assert_eq!(handed.len(), 3);
    let attempts: Vec<u32> = handed.iter().filter_map(|id| Some(deliveries.get(*id)?.attempts)).collect();
    assert_eq!(attempts, [2, 1, 1], "those behind the first never had their turn");
    let moment = Moment { rules: &rules, now: moment_at, chance: 0.0 };
    deliveries.nack(handed[0], 6, crate::delivery::Failure::new("no"), None, moment).unwrap();
    assert_eq!(deliveries.iter().count(), 1);
}

#[test]
fn a_parked_key_leaves_the_room_of_remembered_positions_to_others() {
    let rules = rules(1);
    let mut deliveries = Deliveries::after(0);
    let moment = Moment { rules: &rules, now: Timestamp(0), chance: 0.0 };
    let hand_out = |deliveries: &mut Deliveries| deliveries.hand_out(1, Timestamp(0), &rules, &mut || 5).handed;
    // More of a key that parks than can be remembered, before and after it parks.
    (1..=20).for_each(|position| deliveries.offer(position, Some(7), None));
    let bad = hand_out(&mut deliveries)[0];
    deliveries.nack(bad, 5, crate::delivery::Failure::new("no"), None, moment).unwrap();
    deliveries.park(bad, 1);
    (21..=40).for_each(|position| deliveries.offer(position, Some(7), None));
    (41..=46).for_each(|position| deliveries.offer(position, Some(8), None));
    assert_eq!(deliveries.waiting_behind(), Some(39 + 3), "how many they are is known all the same");
    assert_eq!(deliveries.waiting_behind_parked(), Some(39));
    for expected in 41..=46 {
        assert_eq!(deliveries.reads(), None, "all of the other key are remembered");
        let good = hand_out(&mut deliveries)[0];
        assert_eq!(good.position, expected);
        deliveries.ack(good, 5).unwrap();
    }
    assert!(deliveries.unpark(bad, 1));
    assert_eq!(hand_out(&mut deliveries), [bad]);
    deliveries.ack(bad, 5).unwrap();
    assert_eq!(deliveries.reads(), Some((7, 2, 46)));
}

#[test]
fn many_keys_that_go_on_at_once_keep_to_the_room_there_is() {
    let (log, rules) = (Log { keys: 49 }, rules(1));
    let mut deliveries = Deliveries::after(0);
    log.work(&mut deliveries, &rules, false);
    let parked: Vec<_> = deliveries.iter().map(|(id, delivery)| (id, delivery.phase)).collect();
    for (id, phase) in parked {
        let Phase::Parked { dead_letter } = phase else { panic!("{phase:?}") };
        assert!(deliveries.unpark(id, dead_letter));
    }
    let mut most = 0;
    loop {
        log.fill(&mut deliveries, &rules);
        let handed = deliveries.hand_out(10, Timestamp(0), &rules, &mut || 5).handed;
        most = most.max(deliveries.iter().count());
        if handed.is_empty() {
            break;
        }
        handed.into_iter().for_each(|id| deliveries.ack(id, 5).unwrap());
    }
    assert_eq!((deliveries.summary(), deliveries.scan()), (Summary::default(), log.end()));
    assert!(most <= 40 + 49, "room, and one for each key: {most}");
}

#[test]
fn a_parked_delivery_leaves_its_attempts_to_its_dead_letter() {
    let rules = rules(1);
    let mut deliveries = Deliveries::after(0);
    deliveries.offer(1, Some(7), None);
    let handed = deliveries.hand_out(1, Timestamp(0), &rules, &mut || 5).handed;
    let moment = Moment { rules: &rules, now: Timestamp(0), chance: 0.0 };
    deliveries.nack(handed[0], 5, crate::delivery::Failure::new("no"), None, moment).unwrap();
    deliveries.park(handed[0], 1);
    assert!(deliveries.get(handed[0]).is_some_and(|delivery| delivery.history.is_empty()));
    assert_eq!(deliveries.history_bytes, 0);
}

#[test]
fn no_attempt_is_made_after_the_greatest_age_whoever_asks_for_the_delay_and_however_late_one_comes_to_fetch_it() {
    let age = |max: u64| RetryPolicy { max_age_ms: Some(max), ..rules(9).retry };
    let rules_of = |max| Rules { retry: age(max), parks_keys: false, ..rules(9) };
    let failing = |rules: &Rules, delay_ms| {
        let mut deliveries = Deliveries::after(0);
        (1..=2).for_each(|position| deliveries.offer(position, Some(7), None));
        let id = deliveries.hand_out(1, Timestamp(0), rules, &mut || 5).handed[0];
        let moment = Moment { rules, now: Timestamp(0), chance: 0.0 };
        let outcome = deliveries.nack(id, 5, crate::delivery::Failure::new("no"), delay_ms, moment).unwrap();
        (deliveries, outcome)
    };
    // The delay of the policy is a second.
    for (max, delay_ms, is_last) in [(1_000, None, true), (1_001, None, false), (5_000, Some(5_000), true)] {
        let (_, outcome) = failing(&rules_of(max), delay_ms);
        let reason = match outcome {
            Outcome::GivenUp(given_up) => Some(given_up.reason),
            Outcome::Retried(_) => None,
        };
        assert_eq!(reason, is_last.then_some(crate::delivery::Reason::TooOld), "{max} {delay_ms:?}");
    }
    let rules = rules_of(1_500);
    let (mut deliveries, _) = failing(&rules, None);
    let late = Timestamp(1_500_000);
    assert!(deliveries.tick(Moment { rules: &rules, now: late, chance: 0.0 }).is_empty());
    let HandedOut { handed, given_up, .. } = deliveries.hand_out(9, late, &rules, &mut || 6);
    assert_eq!(
        given_up.iter().map(|(id, why)| (id.position, why.reason)).collect::<Vec<_>>(),
        [(1, crate::delivery::Reason::TooOld)]
    );
    assert_eq!(handed.iter().map(|id| id.position).collect::<Vec<_>>(), [2], "the next of its key goes on");
}

#[test]
fn positions_that_are_read_for_many_keys_at_once_take_no_more_room_than_there_is() {
    let keys = 4;
    let waiting = (1..=keys).map(|key| (Key::from(key), key)).collect();
    let mut deliveries = Deliveries::restore_from(&Saved { scan: 30, waiting, ..Saved::default() });
    // There are so many unfinished that of each key only the next event is taken up.
    (31..=70).for_each(|position| deliveries.offer(position, None, None));
    while let Some((key, from, _)) = deliveries.reads() {
        let found: Vec<u64> = (0..3).map(|n| from + n * keys).collect();
        deliveries.found(key, &found, 30);
    }
    let remembered: usize = deliveries.lines.iter().map(|(_, line)| line.remembered().count()).sum();
    assert!((1..=lines::WAITING_MAX).contains(&remembered), "{remembered} positions are remembered");
    assert_eq!(deliveries.summary().ready, 40 + keys as usize);
}

#[test]
fn a_clock_that_is_set_back_puts_nothing_off_by_more_than_it_was_to_wait() {
    let (hour, minute) = (3_600_000, 60_000);
    let rules = Rules { ack_deadline_ms: minute, ..rules(9) };
    let at = |ms: u64| Timestamp::default().plus_ms(ms as i64);
    let moment = |ms| Moment { rules: &rules, now: at(ms), chance: 0.0 };
    let mut deliveries = Deliveries::after(0);
    (1..=3).for_each(|position| deliveries.offer(position, None, None));
    let [answered, extended, failed] = deliveries.hand_out(3, at(hour), &rules, &mut || 5).handed[..] else { panic!() };
    deliveries.extend(extended, 5, 2 * minute, at(hour + minute / 2)).unwrap();
    deliveries.nack(failed, 5, Failure::new("no"), Some(10), moment(hour + minute / 2)).unwrap();
    let next = |deliveries: &Deliveries| deliveries.next_due().unwrap();
    // By less than they wait.
    assert_eq!(deliveries.tick(moment(hour + minute / 2 - 5)), []);
    assert_eq!(next(&deliveries), at(hour + minute / 2 + 5));
    deliveries.tick(moment(hour + minute / 2 + 5));
    assert_eq!(next(&deliveries), at(hour + minute), "what was begun before is not put off");
    // And to before all that.
    assert_eq!(deliveries.tick(moment(0)), []);
    assert_eq!(next(&deliveries), at(minute));
    let outcomes = deliveries.tick(moment(minute));
    assert_eq!(outcomes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [answered]);
    let error = &deliveries.get(answered).unwrap().history[0].failure.error;
    assert_eq!(error, "no acknowledgement within 60000 ms");
    let outcomes = deliveries.tick(moment(2 * minute));
    assert_eq!(outcomes.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [extended]);
}

#[test]
fn a_clock_that_is_set_back_while_nobody_runs_puts_nothing_off_by_more_than_it_was_to_wait() {
    let rules = rules(9);
    let at = |ms| Timestamp::default().plus_ms(ms);
    let mut deliveries = Deliveries::after(0);
    deliveries.offer(1, None, None);
    let id = deliveries.hand_out(1, at(3_600_000), &rules, &mut || 5).handed[0];
    let moment = Moment { rules: &rules, now: at(3_600_000), chance: 0.0 };
    deliveries.nack(id, 5, Failure::new("no"), None, moment).unwrap();
    let mut deliveries = Deliveries::restore_from(&deliveries.saved());
    assert_eq!(deliveries.tick(Moment { now: at(5), ..moment }), []);
    assert_eq!(deliveries.next_due(), Some(at(1_005)));
    assert!(deliveries.is_dirty(), "it is written down");
    // Another process finds what was written down: it does not subtract once more what the clock was set back by.
    let mut deliveries = Deliveries::restore_from(&deliveries.saved());
    assert_eq!(deliveries.tick(Moment { now: at(6), ..moment }), []);
    assert_eq!(deliveries.next_due(), Some(at(1_005)));
}

fn handed_positions(deliveries: &mut Deliveries, limit: usize, now: i64) -> Vec<(u64, u64)> {
    let handed = deliveries.hand_out(limit, Timestamp(now), &rules(2), &mut || 5).handed;
    handed.into_iter().map(|id| (id.position, id.replay)).collect()
}

#[test]
fn what_is_replayed_goes_after_what_is_not_and_neither_waits_for_the_other() {
    let mut deliveries = Deliveries::after(8);
    [2, 4, 6].into_iter().for_each(|position| deliveries.replay(position, 3, Some(70)));
    deliveries.offer(9, Some(7), None);
    deliveries.replay(5, 4, None);
    assert_eq!(handed_positions(&mut deliveries, 10, 0), [(9, 0), (2, 3), (4, 3), (6, 3), (5, 4)]);
    let replayed = |position| DeliveryId { replay: 3, ..DeliveryId::routed(position) };
    assert_eq!(deliveries.ack(replayed(4), 5), Err(NotInFlight::OutOfOrder { first: 2 }));
    [2, 4, 6].into_iter().for_each(|position| deliveries.ack(replayed(position), 5).unwrap());
    assert_eq!(deliveries.replayed().into_iter().collect::<Vec<_>>(), [(4, 1)]);
}

#[test]
fn what_is_replayed_waits_for_a_retry_in_its_line_and_is_the_same_after_a_restart() {
    let mut deliveries = Deliveries::after(8);
    [2, 4, 6].into_iter().for_each(|position| deliveries.replay(position, 3, Some(70)));
    assert_eq!(handed_positions(&mut deliveries, 10, 0).len(), 3);
    let first = DeliveryId { replay: 3, ..DeliveryId::routed(2) };
    let rules = rules(2);
    let nack = |deliveries: &mut Deliveries, now| {
        let moment = Moment { rules: &rules, now: Timestamp(now), chance: 0.0 };
        deliveries.nack(first, 5, crate::delivery::Failure::new("no"), None, moment).unwrap()
    };
    assert!(matches!(nack(&mut deliveries, 0), Outcome::Retried(_)));
    assert_eq!((deliveries.iter().count(), deliveries.has_waiting()), (3, false), "the log says nothing of a replay");
    let mut deliveries = Deliveries::restore_from(&deliveries.saved());
    assert!(handed_positions(&mut deliveries, 10, 0).is_empty(), "those behind it wait, too");
    let now = 1_000_000;
    deliveries.tick(Moment { rules: &rules, now: Timestamp(now), chance: 0.0 });
    assert_eq!(handed_positions(&mut deliveries, 10, now), [(2, 3), (4, 3), (6, 3)]);
    // It is given up now, and its key goes on although keys are to be parked.
    assert!(matches!(nack(&mut deliveries, now), Outcome::GivenUp(_)));
    assert_eq!(deliveries.summary().parked, 0);
    assert_eq!(handed_positions(&mut deliveries, 10, now), [(4, 3), (6, 3)]);
}

#[test]
fn what_is_withdrawn_is_gone_and_answers_to_it_are_late() {
    let mut deliveries = Deliveries::after(8);
    deliveries.offer(9, Some(7), None);
    (1..=5).for_each(|position| deliveries.replay(position, 3, Some(70)));
    deliveries.replay(1, 4, Some(71));
    assert_eq!(handed_positions(&mut deliveries, 4, 0), [(9, 0), (1, 3), (2, 3), (3, 3)]);
    assert_eq!(deliveries.withdraw(3), 5);
    assert_eq!(deliveries.withdraw(3), 0);
    let first = DeliveryId { replay: 3, ..DeliveryId::routed(1) };
    assert_eq!(deliveries.ack(first, 5), Err(NotInFlight::Late));
    assert_eq!(deliveries.summary(), Summary { ready: 1, in_flight: 1, keys: 2, ..Summary::default() });
    let mut deliveries = Deliveries::restore_from(&deliveries.saved());
    assert_eq!(handed_positions(&mut deliveries, 10, 0), [(9, 0), (1, 4)]);
}

#[test]
fn a_replay_does_not_stop_what_is_routed_to_a_strict_subscription() {
    let rules = Rules { is_strict: true, ..rules(1) };
    let mut deliveries = Deliveries::after(100);
    (1..=2 * lines::RUN_MAX as u64).for_each(|position| deliveries.replay(position, 3, Some(70)));
    assert!(deliveries.has_room(&rules));
    (101..=100 + lines::RUN_MAX as u64).for_each(|position| deliveries.offer(position, Some(0), None));
    assert!(!deliveries.has_room(&rules));
}
