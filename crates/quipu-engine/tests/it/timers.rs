//! Events that are published later: once, not before their time, and through any stop.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::{Condition, Direction, Event, Filter, Quotas, Refusal, StreamExpectation, Timestamp, Value};
use quipu_engine::{
    Append, Appended, DELIVER_AT, Fault, FireAt, InvalidTimer, NotAppended, Options, Prepared, Published, Scheduled,
    Tenant, TimerName,
};

use crate::support::*;

const SECOND_US: i64 = 1_000_000;

fn timer(tenant: &Tenant, event: &Event<'_>, fires: FireAt, key: Option<&str>) -> Prepared {
    tenant.prepare_timer(event, fires, key.map(str::to_owned), false).unwrap()
}

fn set(tenant: &Arc<Tenant>, timer: Prepared) -> Published {
    tenant.append_wait(Append { timers: vec![timer], ..Append::default() }).unwrap().timers.remove(0).unwrap()
}

fn set_refused(tenant: &Arc<Tenant>, timer: Prepared) -> Refusal {
    match tenant.append_wait(Append { timers: vec![timer], ..Append::default() }) {
        Err(NotAppended::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, found {other:?}"),
    }
}

fn at(seconds: i64) -> FireAt {
    FireAt::Time(Timestamp(seconds * SECOND_US))
}

fn scheduled(timer: u64, seconds: i64) -> Published {
    Published::Scheduled(Scheduled { timer, due: Timestamp(seconds * SECOND_US), is_duplicate: false })
}

/// Lets everything fire that is due.
fn fire(tenant: &Arc<Tenant>) {
    // The wheel may have to be asked some times before it comes to what is due.
    for _ in 0..20 {
        tenant.fire_timers();
        tenant.decide();
        tenant.flush();
    }
}

fn ids(tenant: &Tenant) -> Vec<String> {
    let page = tenant.read(&Filter::default(), Direction::Forward, None, 10_000).unwrap();
    page.events.iter().map(|recorded| recorded.event().id().to_owned()).collect()
}

fn delayed(id: &str, seconds: i64) -> Event<'static> {
    let at = Timestamp(seconds * SECOND_US).to_string();
    let event = Event::builder(id, "/test", "order.placed").subject("s").json("{\"n\":1}");
    event.attribute(DELIVER_AT, Value::Text(at.into())).build().unwrap().into_owned()
}

#[test]
fn an_event_with_a_time_to_come_is_recorded_then_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    assert_eq!(publish(&tenant, &delayed("later", 10)), scheduled(1, 10));
    assert!(matches!(publish(&tenant, &event("now", "s")), Published::Recorded(place) if place.position == 1));
    let again = Scheduled { timer: 1, due: Timestamp(10 * SECOND_US), is_duplicate: true };
    assert_eq!(publish(&tenant, &delayed("later", 10)), Published::Scheduled(again));
    let other = Refusal::WaitsAlready { index: 0, timer: 1 };
    assert_eq!(publish(&tenant, &delayed("later", 11)), Published::Refused(other.clone()));
    assert_eq!(publish(&tenant, &event("later", "s")), Published::Refused(other));

    clock.0.store(10 * SECOND_US - 1, Ordering::Relaxed);
    fire(&tenant);
    assert_eq!(ids(&tenant), ["now"]);
    clock.0.store(10 * SECOND_US, Ordering::Relaxed);
    fire(&tenant);
    fire(&tenant);
    assert_eq!(ids(&tenant), ["now", "later"]);
    let recorded = tenant.event_at(2).unwrap().unwrap();
    assert_eq!((recorded.stamp.stream_version, recorded.stamp.recorded_time), (Some(2), Timestamp(10 * SECOND_US)));
    assert_eq!(recorded.event().attribute(DELIVER_AT), Some("1970-01-01T00:00:10.000Z"));
    // It is known by its source and id as any other event is.
    assert!(matches!(publish(&tenant, &delayed("later", 10)), Published::Duplicate(place) if place.position == 2));
    assert!(matches!(publish(&tenant, &delayed("past", 9)), Published::Recorded(place) if place.position == 3));
}

/// Whoever got no answer sends it again, however much later: also in the moment between its time and its being recorded.
#[test]
fn a_repeat_is_answered_with_its_timer_also_when_that_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    assert_eq!(publish(&tenant, &delayed("later", 10)), scheduled(1, 10));
    clock.0.store(10 * SECOND_US, Ordering::Relaxed);
    let again = Scheduled { timer: 1, due: Timestamp(10 * SECOND_US), is_duplicate: true };
    assert_eq!(publish(&tenant, &delayed("later", 10)), Published::Scheduled(again));
    let waits = Refusal::WaitsAlready { index: 0, timer: 1 };
    assert_eq!(publish(&tenant, &delayed("later", 9)), Published::Refused(waits.clone()), "another time");
    // An append cannot say where it is, and does not record it before its timer does.
    let events = || vec![prepare(&tenant, &delayed("later", 10))];
    let refused = tenant.append_wait(Append { events: events(), ..Append::default() });
    assert!(matches!(&refused, Err(NotAppended::Refused(refusal)) if *refusal == waits), "{refused:?}");
    fire(&tenant);
    assert_eq!(ids(&tenant), ["later"]);
    assert!(matches!(publish(&tenant, &delayed("later", 10)), Published::Duplicate(place) if place.position == 1));
}

#[test]
fn timers_wait_through_a_stop_and_through_a_snapshot() {
    for with_snapshot in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands::default());
        let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        for i in 0..5 {
            set(&tenant, timer(&tenant, &event(&format!("t{i}"), "s"), at(10 - i), Some(&format!("key/{i}"))));
        }
        assert_eq!(tenant.cancel_timer(TimerName::Key("key/3".into())).unwrap(), Some(4));
        clock.0.store(6 * SECOND_US, Ordering::Relaxed);
        fire(&tenant);
        for i in 0..if with_snapshot { 45 } else { 0 } {
            publish(&tenant, &event(&i.to_string(), "s"));
            while tenant.maintain().unwrap() {}
        }
        let before = ids(&tenant);
        assert_eq!(before[0], "t4");
        tenant.close().unwrap();
        drop(tenant);
        let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        assert_eq!(tenant.timers(None, 10).unwrap().total, 3);
        assert_eq!(tenant.cancel_timer(TimerName::Number(2)).unwrap(), Some(2));
        clock.0.store(100 * SECOND_US, Ordering::Relaxed);
        fire(&tenant);
        assert_eq!(ids(&tenant)[before.len()..], ["t2", "t0"], "those first that were due first");
        assert_eq!(set(&tenant, timer(&tenant, &event("new", "s"), at(200), None)), scheduled(6, 200));
    }
}

#[test]
fn a_timer_that_was_cancelled_never_fires_even_if_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    // More than go into one turn of the loop.
    for first in [0, 500, 1_000] {
        let one = |i: i32| timer(&tenant, &event(&i.to_string(), "s"), at(1), Some(&i.to_string()));
        let timers = (first..first + 500).map(one).collect();
        tenant.append_wait(Append { timers, ..Append::default() }).unwrap();
    }
    clock.0.store(SECOND_US, Ordering::Relaxed);
    // All are read and on their way to the loop, and one is cancelled while some were recorded.
    (0..3).for_each(|_| _ = tenant.fire_timers());
    tenant.append(Append { cancels: vec![TimerName::Key("1499".into())], ..Append::default() }, |result| {
        assert_eq!(result.unwrap().cancelled, [Some(1_500)]);
    });
    fire(&tenant);
    assert!(ids(&tenant).into_iter().eq((0..1_499).map(|i| i.to_string())));
    assert_eq!(tenant.cancel_timer(TimerName::Key("1499".into())).unwrap(), None);
    assert_eq!(tenant.cancel_timer(TimerName::Number(1)).unwrap(), None, "it has fired");
}

#[test]
fn a_key_names_one_timer_and_another_takes_its_place_if_it_is_to() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    set(&tenant, timer(&tenant, &event("a", "s"), at(1), Some("k")));
    let taken = Refusal::TimerExists { key: "k".into(), timer: 1 };
    assert_eq!(set_refused(&tenant, timer(&tenant, &event("b", "s"), at(2), Some("k"))), taken);
    let replacing = tenant.prepare_timer(&event("b", "s"), at(2), Some("k".into()), true).unwrap();
    assert_eq!(set(&tenant, replacing), scheduled(2, 2));
    let page = tenant.timers(None, 10).unwrap();
    assert_eq!((page.total, page.timers[0].timer, page.timers[0].key()), (1, 2, Some("k")));
    // Cancelled and set again in one append.
    let moved = timer(&tenant, &event("c", "s"), at(3), Some("k"));
    let append = Append { cancels: vec![TimerName::Key("k".into())], timers: vec![moved], ..Append::default() };
    let appended = tenant.append_wait(append).unwrap();
    assert_eq!((appended.cancelled, appended.timers), (vec![Some(2)], vec![Some(scheduled(3, 3))]));
    for (key, bytes) in [("", 0), (&*"k".repeat(513), 513)] {
        let invalid = tenant.prepare_timer(&event("d", "s"), at(3), Some(key.into()), false).map(drop).unwrap_err();
        assert_eq!(invalid, InvalidTimer::Key { bytes });
    }
    let far = tenant.prepare_timer(&event("d", "s"), FireAt::AfterMs(u64::MAX), None, false).map(drop).unwrap_err();
    assert!(matches!(far, InvalidTimer::TooFar { .. }));
}

#[test]
fn events_and_timers_are_appended_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let append = |id: &str, expected| Append {
        events: vec![prepare(&tenant, &event(id, "s"))],
        timers: vec![timer(&tenant, &event(&format!("{id}-late"), "s"), at(5), Some(id))],
        conditions: vec![Condition::Stream { stream: "s".into(), expected: StreamExpectation::Version(expected) }],
        ..Append::default()
    };
    let first = tenant.append_wait(append("a", 0)).unwrap();
    assert_eq!(first.timers, [Some(scheduled(1, 5))]);
    assert!(matches!(tenant.append_wait(append("b", 0)), Err(NotAppended::Refused(Refusal::ConditionsFailed(_)))));
    assert_eq!((ids(&tenant), tenant.timers(None, 10).unwrap().total), (vec!["a".to_owned()], 1));
    let again = tenant.append_wait(append("a", 0)).unwrap();
    let waits = Scheduled { timer: 1, due: Timestamp(5 * SECOND_US), is_duplicate: true };
    let expected = Appended { timers: vec![Some(Published::Scheduled(waits))], is_duplicate: true, ..first };
    assert_eq!(again, expected);
    // A delayed event has no place in an append, and one source and id stands in it once.
    let events = vec![prepare(&tenant, &delayed("c", 3))];
    let refused = tenant.append_wait(Append { events, ..Append::default() });
    assert!(matches!(refused, Err(NotAppended::Refused(Refusal::Delayed { index: 0 }))), "{refused:?}");
    let same = |key| timer(&tenant, &event("d", "s"), at(3), key);
    for timers in
        [vec![same(None), same(None)], vec![same(Some("k")), timer(&tenant, &event("e", "s"), at(3), Some("k"))]]
    {
        let refused = tenant.append_wait(Append { timers, ..Append::default() });
        assert!(matches!(refused, Err(NotAppended::Refused(Refusal::RepeatedWithin { index: 1 }))), "{refused:?}");
    }
}

#[test]
fn two_timers_of_one_turn_know_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let events = [delayed("a", 5), delayed("b", 5), delayed("a", 5), delayed("b", 6)];
    let prepared = events.iter().map(|event| prepare(&tenant, event)).collect();
    let answers = tenant.publish_wait(prepared).unwrap();
    let again = Scheduled { timer: 1, due: Timestamp(5 * SECOND_US), is_duplicate: true };
    let other = Published::Refused(Refusal::WaitsAlready { index: 0, timer: 2 });
    assert_eq!(answers, [scheduled(1, 5), scheduled(2, 5), Published::Scheduled(again), other]);
}

#[test]
fn what_waits_for_so_long_waits_no_longer_by_a_clock_that_is_set_back() {
    for with_restart in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands::default());
        clock.0.store(3_600 * SECOND_US, Ordering::Relaxed);
        let mut tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        set(&tenant, timer(&tenant, &event("after", "s"), FireAt::AfterMs(10_000), None));
        set(&tenant, timer(&tenant, &event("at", "s"), at(3_605), None));
        clock.0.store(0, Ordering::Relaxed);
        fire(&tenant);
        if with_restart {
            tenant.close().unwrap();
            drop(tenant);
            tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
        }
        for (seconds, expected) in
            [(9, vec![]), (10, vec!["after"]), (3_604, vec!["after"]), (3_605, vec!["after", "at"])]
        {
            clock.0.store(seconds * SECOND_US, Ordering::Relaxed);
            fire(&tenant);
            assert_eq!(ids(&tenant), expected, "after {seconds} s");
        }
    }
}

/// Nothing was due for a while, so nobody looked at the clock before it was set back.
#[test]
fn a_clock_that_is_set_back_is_noticed_also_if_nothing_was_due_before() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    clock.0.store(3_600 * SECOND_US, Ordering::Relaxed);
    set(&tenant, timer(&tenant, &event("after", "s"), FireAt::AfterMs(10_000), None));
    for (seconds, expected) in [(600, vec![]), (609, vec![]), (610, vec!["after"])] {
        clock.0.store(seconds * SECOND_US, Ordering::Relaxed);
        fire(&tenant);
        assert_eq!(ids(&tenant), expected, "at {seconds} s");
    }
}

#[test]
fn the_data_of_an_event_that_waits_is_kept_until_the_timer_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let options = || Options { claim_check_bytes: 500, ..small() };
    let tenant = open_at(folder.path(), options(), Arc::clone(&clock)).unwrap();
    let large = |id: &str| {
        let data = format!("{{\"text\":\"{}\"}}", id.repeat(2_000));
        Event::builder(id, "/test", "t").json(data).build().unwrap().into_owned()
    };
    for id in ["a", "b", "c"] {
        set(&tenant, timer(&tenant, &large(id), at(5), Some(id)));
    }
    // Refused after its data was written: the data of the timer that has the key must stay.
    set_refused(&tenant, timer(&tenant, &large("d"), at(6), Some("b")));
    let files = || {
        let mut found = 0;
        let mut folders = vec![folder.path().join("t/payloads")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() { folders.push(entry.path()) } else { found += 1 }
            }
        }
        found
    };
    assert_eq!(files(), 3);
    tenant.close().unwrap();
    drop(tenant);
    let tenant = open_at(folder.path(), options(), Arc::clone(&clock)).unwrap();
    while tenant.search_payloads(1_000).unwrap() < 1_000 {}
    assert_eq!(files(), 3, "what waits is no waste");
    tenant.cancel_timer(TimerName::Key("c".into())).unwrap();
    assert_eq!(files(), 2);
    clock.0.store(5 * SECOND_US, Ordering::Relaxed);
    fire(&tenant);
    publish(&tenant, &event("sweep", "s"));
    assert_eq!(files(), 2);
    let recorded = tenant.event_at(1).unwrap().unwrap();
    let data = tenant.payload_of(&recorded).unwrap().expect("it is beside the log");
    assert_eq!(data.bytes().unwrap().0.len(), 2_011);
}

#[test]
fn pages_of_timers_begin_with_those_that_fire_first() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    for i in 0..25i64 {
        set(&tenant, timer(&tenant, &event(&i.to_string(), "s"), at(100 - i / 2), None));
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = tenant.timers(after, 10).unwrap();
        assert_eq!(page.total, 25);
        seen.extend(page.timers.iter().map(|timer| (timer.due, timer.timer)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 25);
    assert!(seen.is_sorted());
    let one = tenant.timer(&TimerName::Number(25)).unwrap().unwrap();
    assert_eq!((one.event().id(), one.key(), one.due), ("24", None, Timestamp(88 * SECOND_US)));
    assert!(tenant.timer(&TimerName::Key("none".into())).unwrap().is_none());
}

#[test]
fn a_thread_lets_timers_fire_soon_after_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with_time(folder.path(), small());
    let tenant = engine.tenant("default").unwrap();
    for i in 0..3_000u64 {
        let timer =
            tenant.prepare_timer(&event(&i.to_string(), "s"), FireAt::AfterMs(50 + i % 7), None, false).unwrap();
        let append = Append { timers: vec![timer], ..Append::default() };
        tenant.append(append, |result| assert!(result.is_ok()));
    }
    until("all have fired", || tenant.position() >= 3_000);
    let mut fired = ids(&tenant);
    fired.sort_by_key(|id| id.parse::<u64>().unwrap());
    fired.dedup();
    assert_eq!(fired.len(), 3_000);
    assert_eq!(tenant.timers(None, 1).unwrap().total, 0);
    engine.close().unwrap();
}

#[test]
fn what_waits_is_not_recorded_by_an_append_unless_that_cancels_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let tenant = open_at(folder.path(), small(), Arc::clone(&clock)).unwrap();
    set(&tenant, timer(&tenant, &event("a", "s"), at(5), None));
    let append = |cancels: Vec<TimerName>| {
        let events = vec![prepare(&tenant, &event("b", "s")), prepare(&tenant, &event("a", "s"))];
        tenant.append_wait(Append { events, cancels, ..Append::default() })
    };
    let refused = append(Vec::new());
    assert!(
        matches!(refused, Err(NotAppended::Refused(Refusal::WaitsAlready { index: 1, timer: 1 }))),
        "one source and id would be recorded twice: {refused:?}"
    );
    assert_eq!(append(vec![TimerName::Number(1)]).unwrap().cancelled, [Some(1)]);
    clock.0.store(10 * SECOND_US, Ordering::Relaxed);
    fire(&tenant);
    assert_eq!(ids(&tenant), ["b", "a"]);
}

#[test]
fn a_full_tenant_takes_no_timer_and_lets_timers_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), small());
    let quotas = Quotas { storage_bytes: NonZeroU64::new(2_000), ..Quotas::default() };
    engine.create_tenant("a", quotas).unwrap();
    let tenant = engine.existing_tenant("a").unwrap();
    set(&tenant, timer(&tenant, &event("a", "s"), at(5), Some("k")));
    let large = Event::builder("large", "/test", "a.b").json(format!("\"{}\"", "x".repeat(2_000))).build().unwrap();
    publish(&tenant, &large);
    let refused =
        tenant.append_wait(Append { timers: vec![timer(&tenant, &event("b", "s"), at(5), None)], ..Append::default() });
    assert!(matches!(refused, Err(NotAppended::Fault(Fault::StorageQuota { .. }))), "{refused:?}");
    assert_eq!(tenant.cancel_timer(TimerName::Key("k".into())).unwrap(), Some(1));
}

#[test]
fn a_timer_that_makes_no_sense_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = open(folder.path(), small()).unwrap();
    let with = |name: &'static str, seconds: i64| {
        let at = Timestamp(seconds * SECOND_US).to_string();
        Event::builder("1", "/test", "a.b").attribute(name, Value::Text(at.into())).build().unwrap()
    };
    let refused = |event: &Event<'_>| tenant.prepare_timer(event, at(5), None, false).map(drop);
    assert_eq!(refused(&with("expirytime", 6)), Ok(()));
    let expired = InvalidTimer::Expired { due: Timestamp(5 * SECOND_US), expires: Timestamp(5 * SECOND_US) };
    assert_eq!(refused(&with("expirytime", 5)), Err(expired));
    assert_eq!(refused(&with(DELIVER_AT, 5)), Err(InvalidTimer::Delayed));
}

#[test]
fn a_page_of_timers_with_large_events_is_short_and_has_a_next() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { event_bytes_max: 8 << 20, claim_check_bytes: 8 << 20, ..small() };
    let tenant = open(folder.path(), options).unwrap();
    let large =
        |id: String| Event::builder(id, "/test", "a.b").json(format!("\"{}\"", "x".repeat(7 << 20))).build().unwrap();
    for n in 0..4 {
        set(&tenant, timer(&tenant, &large(n.to_string()), at(5), None));
    }
    let first = tenant.timers(None, 100).unwrap();
    assert_eq!((first.timers.len(), first.total), (3, 4));
    let last = tenant.timers(first.next, 100).unwrap();
    assert_eq!((last.timers.len(), last.timers[0].timer, last.next), (1, 4, None));
}

#[test]
fn large_events_that_are_due_together_fire_in_many_commits_in_their_order() {
    // The larger are more than one commit may have.
    for (each, count) in [((1 << 20) - 4_096, 40), ((8 << 20) - 4_096, 22)] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands::default());
        let options = Options { event_bytes_max: 8 << 20, claim_check_bytes: 128 << 20, ..Options::default() };
        let tenant = open_at(folder.path(), options, Arc::clone(&clock)).unwrap();
        let data = format!("\"{}\"", "x".repeat(each));
        // Those that were set last are due first, and the last of them are small.
        for n in (0..count).rev() {
            let data = if n % 5 == 4 { "1" } else { data.as_str() };
            let large = event_of("a.b", &n.to_string(), "s", data);
            set(&tenant, timer(&tenant, &large, FireAt::Time(Timestamp(5 * SECOND_US + n)), None));
        }
        clock.0.store(6 * SECOND_US, Ordering::Relaxed);
        for _ in 0..2 * count {
            let before = tenant.position();
            tenant.fire_timers();
            tenant.decide();
            tenant.flush();
            assert!(tenant.position() - before <= 5, "about 2 MiB of large ones, and small ones between");
        }
        assert_eq!(tenant.timers(None, 1).unwrap().total, 0);
        let recorded = |at| tenant.event_at(at).unwrap().unwrap();
        let ids = (1..=count as u64).map(|at| recorded(at).event().id().to_owned());
        assert!(ids.eq((0..count).map(|n| n.to_string())), "{each}: each once, in the order of their times");
        assert_eq!(tenant.position(), count as u64);
    }
}
