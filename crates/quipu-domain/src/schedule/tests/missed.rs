use proptest::prelude::*;

use super::super::timetable::{Ticks, Timetable};
use super::super::{DueTicks, LATE_MS, Missed, Rate, TICKS_MAX};
use super::*;

const WEEK_MS: i64 = 7 * 86_400_000;
const POLICIES: [Missed; 3] = [Missed::Latest, Missed::All, Missed::Skip];

fn cron(text: &str) -> Timetable {
    Timetable { ticks: Ticks::Cron(Cron::parse(text).unwrap(), Zone::utc()), from: None, until: None }
}

fn hourly() -> Timetable {
    cron("0 * * * *")
}

fn rate(every_ms: u64) -> Timetable {
    Timetable { ticks: Ticks::Rate(Rate::new(every_ms, at("2026-01-01T00:00:00Z"))), from: None, until: None }
}

/// What is published, and how many were dropped.
fn due(timetable: &Timetable, missed: Missed, last: &str, now: &str) -> (Vec<String>, u64) {
    let found = timetable.due(missed, WEEK_MS, at(last), at(now));
    (found.publish.iter().map(|tick| tick.to_string()).collect(), found.dropped)
}

#[test]
fn a_tick_on_time_is_published_whatever_the_policy() {
    for missed in POLICIES {
        for now in ["2026-01-01T05:00:00Z", "2026-01-01T05:00:59Z", "2026-01-01T05:01:00Z"] {
            let expected = (vec!["2026-01-01T05:00:00.000Z".to_owned()], 0);
            assert_eq!(due(&hourly(), missed, "2026-01-01T04:00:00Z", now), expected, "{missed:?}");
        }
        assert_eq!(due(&hourly(), missed, "2026-01-01T04:00:00Z", "2026-01-01T04:59:59.999999Z"), (vec![], 0));
        // Several can be on time together.
        let found = due(&rate(1_000), missed, "2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z");
        assert_eq!((found.0.len(), found.1), (30, 0));
    }
}

#[test]
fn the_policy_says_what_becomes_of_missed_ticks() {
    let (last, now) = ("2026-01-01T04:00:00Z", "2026-01-01T08:00:30Z");
    let at_hours = |hours: &[u8]| hours.iter().map(|hour| format!("2026-01-01T0{hour}:00:00.000Z")).collect::<Vec<_>>();
    assert_eq!(due(&hourly(), Missed::Latest, last, now), (at_hours(&[8]), 3));
    assert_eq!(due(&hourly(), Missed::All, last, now), (at_hours(&[5, 6, 7, 8]), 0));
    assert_eq!(due(&hourly(), Missed::Skip, last, now), (at_hours(&[8]), 3));
    let later = "2026-01-01T08:30:00Z";
    assert_eq!(due(&hourly(), Missed::Latest, last, later), (at_hours(&[8]), 3));
    assert_eq!(due(&hourly(), Missed::Skip, last, later), (vec![], 4));
    // What is dropped is done with.
    let skipped = hourly().due(Missed::Skip, WEEK_MS, at(last), at(later));
    assert_eq!((skipped.last, skipped.next), (at("2026-01-01T08:00:00Z"), Some(at("2026-01-01T09:00:00Z"))));
}

#[test]
fn all_has_an_end_and_keeps_the_newest() {
    let (last, now) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T01:00:00Z"));
    let found = cron("* * * * *").due(Missed::All, WEEK_MS, last, at("2026-01-02T00:00:00Z"));
    assert_eq!((found.publish.len(), found.dropped), (TICKS_MAX, 440));
    assert_eq!((found.publish[0], found.last), (at("2026-01-01T07:21:00Z"), at("2026-01-02T00:00:00Z")));

    let found = rate(1_000).due(Missed::All, WEEK_MS, last, now);
    assert_eq!((found.publish.len(), found.dropped), (TICKS_MAX, 2_600));
    assert_eq!((found.publish[0], found.last), (at("2026-01-01T00:43:21Z"), now));
    // After a crash in the middle the others come, and none of the dropped.
    let again = rate(1_000).due(Missed::All, WEEK_MS, found.publish[399], now);
    assert_eq!((again.publish.as_slice(), again.dropped), (&found.publish[400..], 0));
}

#[test]
fn ticks_older_than_the_catch_up_are_not_looked_for() {
    let day_ms = 86_400_000;
    let found = hourly().due(Missed::All, day_ms, at("2026-01-01T00:00:00Z"), at("2026-03-01T00:30:00Z"));
    assert_eq!((found.publish.len(), found.dropped, found.publish[0]), (24, 0, at("2026-02-28T01:00:00Z")));
    let none = hourly().due(Missed::Latest, 60_000, at("2026-01-01T00:00:00Z"), at("2026-03-01T00:30:00Z"));
    assert_eq!((none.publish.len(), none.next), (0, Some(at("2026-03-01T01:00:00Z"))));
}

#[test]
fn by_a_clock_that_was_set_back_no_tick_comes_again() {
    for missed in POLICIES {
        let found = hourly().due(missed, WEEK_MS, at("2026-01-01T08:00:00Z"), at("2026-01-01T05:30:00Z"));
        let nothing = DueTicks {
            publish: vec![],
            dropped: 0,
            last: at("2026-01-01T08:00:00Z"),
            next: Some(at("2026-01-01T09:00:00Z")),
        };
        assert_eq!(found, nothing);
    }
}

#[test]
fn a_schedule_begins_and_ends() {
    for mut timetable in [hourly(), rate(3_600_000)] {
        (timetable.from, timetable.until) = (Some(at("2026-01-01T03:00:00Z")), Some(at("2026-01-01T06:00:00Z")));
        let first = timetable.next_after(at("2025-12-01T00:00:00Z"));
        assert_eq!(first, Some(at("2026-01-01T03:00:00Z")));
        assert_eq!(timetable.next_after(at("2026-01-01T05:00:00Z")), None);
        let all = timetable.due(Missed::All, WEEK_MS, at("2025-12-31T00:00:00Z"), at("2026-01-01T12:00:00Z"));
        assert_eq!((all.publish.len(), all.dropped, all.next), (3, 0, None));
    }
}

proptest! {
    /// With a clock that goes as it likes, and an engine that crashes between two ticks that are published.
    #[test]
    fn all_loses_no_tick_and_none_comes_twice(
        every_ms in prop_oneof![600_000u64..7_200_000, Just(0)],
        moves in prop::collection::vec((-7_200_000i64..14_400_000, any::<prop::sample::Index>()), 1..40),
    ) {
        // At most 960 ticks in 160 hours: none is dropped.
        let table = if every_ms == 0 { hourly() } else { rate(every_ms) };
        let start = at("2026-03-28T00:00:00Z");
        let (mut now, mut latest, mut last, mut published) = (start, start, start, Vec::new());
        for (by_ms, done) in moves {
            now = now.plus_ms(by_ms);
            latest = latest.max(now);
            let due = table.due(Missed::All, WEEK_MS, last, now);
            prop_assert_eq!(due.dropped, 0);
            // Only a part of them was recorded.
            let recorded = if due.publish.is_empty() { 0 } else { done.index(due.publish.len()) + 1 };
            published.extend(&due.publish[..recorded]);
            last = published.last().copied().unwrap_or(last);
            prop_assert!(due.next.unwrap() > now.max(due.last));
        }
        published.extend(table.due(Missed::All, WEEK_MS, last, latest).publish);
        let expected: Vec<_> = std::iter::successors(table.next_after(start), |tick| table.next_after(*tick)).take_while(|tick| *tick <= latest).collect();
        prop_assert_eq!(published, expected);
    }

    #[test]
    fn each_tick_is_published_or_counted(
        every_ms in 1_000u64..7_200_000,
        hours in 0i64..200,
        policy in prop::sample::select(&POLICIES[..]),
        is_bounded in any::<bool>(),
    ) {
        let mut table = rate(every_ms);
        let (last, now) = (at("2026-01-05T00:00:00.5Z"), at("2026-01-05T00:00:00Z").plus_ms(hours * 3_600_000));
        table.until = is_bounded.then(|| at("2026-01-08T00:00:00Z"));
        let due = table.due(policy, 31 * 86_400_000, last, now);
        let end = table.until.map_or(now, |until| now.min(Timestamp(until.0 - 1)));
        let ticks = |to: Timestamp| (to.0 - at("2026-01-01T00:00:00Z").0).div_euclid(every_ms as i64 * 1_000);
        prop_assert_eq!(due.publish.len() as u64 + due.dropped, (ticks(end) - ticks(last)).max(0) as u64);
        prop_assert!(due.publish.is_sorted_by(|a, b| a < b) && due.publish.len() <= TICKS_MAX);
        prop_assert!(due.publish.iter().all(|tick| *tick > last && *tick <= now));
        if policy == Missed::Skip {
            prop_assert!(due.publish.iter().all(|tick| tick.plus_ms(LATE_MS) >= now));
        }
        // Nothing more is due at once.
        prop_assert_eq!(table.due(policy, WEEK_MS, due.last, now).publish, vec![]);
    }
}
