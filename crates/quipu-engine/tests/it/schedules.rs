//! Events that are published again and again: each tick once, through any stop, by any clock.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::schedule::Schedule;
use quipu_domain::schema::{Enforcement, SchemaRules};
use quipu_domain::{Direction, Event, Filter, Quotas, Timestamp, Value};
use quipu_engine::{
    Clock, Engine, NewSchema, NotDone, Options, Published, SCHEDULES_MAX, ScheduleInfo, ScheduleRefusal, ScheduleState,
    Tenant, World,
};
use quipu_store::DiskStorage;

use crate::support::*;

const SECOND_US: i64 = 1_000_000;
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

fn schedule(text: &str) -> Schedule {
    serde_json::from_str(text).unwrap()
}

/// A schedule of one event an hour, with these members besides.
fn hourly(members: &str) -> Schedule {
    schedule(&format!(r#"{{"schedule":"s","cron":"@hourly","event":{{"type":"hour.struck"}}{members}}}"#))
}

fn apply(tenant: &Arc<Tenant>, schedule: Schedule) -> bool {
    tenant.apply_schedule(schedule, 0, false).unwrap().is_new
}

/// Lets everything tick that has come.
fn tick(tenant: &Arc<Tenant>) {
    while tenant.tick_schedules() {
        tenant.decide();
        tenant.flush();
    }
}

/// A tenant whose clock a test moves.
struct House {
    tenant: Option<Arc<Tenant>>,
    clock: Arc<Hands>,
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hands::default());
        let tenant = Some(open_at(folder.path(), small(), Arc::clone(&clock)).unwrap());
        Self { tenant, clock, folder }
    }

    fn tenant(&self) -> &Arc<Tenant> {
        self.tenant.as_ref().unwrap()
    }

    fn set_clock(&self, seconds: i64) {
        self.clock.0.store(seconds * SECOND_US, Ordering::Relaxed);
    }

    /// The clock shows this time, and whatever has come ticks.
    fn at(&self, seconds: i64) {
        self.set_clock(seconds);
        tick(self.tenant());
    }

    fn restart(&mut self) {
        self.tenant.take().unwrap().close().unwrap();
        self.tenant = Some(open_at(self.folder.path(), small(), Arc::clone(&self.clock)).unwrap());
    }

    /// Another process finds what is on the disk.
    fn kill(&mut self) {
        let folder = tempfile::tempdir().unwrap();
        copy(self.folder.path(), folder.path());
        self.tenant = Some(open_at(folder.path(), small(), Arc::clone(&self.clock)).unwrap());
        self.folder = folder;
    }

    /// Events, and snapshots between them.
    fn fill(&self, name: &str) {
        for i in 0..45 {
            publish(self.tenant(), &event_of("filler", &format!("{name}{i}"), "f", "{}"));
            while self.tenant().maintain().unwrap() {}
        }
    }

    /// The ids of what schedules have published.
    fn ids(&self) -> Vec<String> {
        self.told().into_iter().map(|(id, _)| id).collect()
    }

    /// Ids and how many ticks before them were dropped.
    fn told(&self) -> Vec<(String, i32)> {
        let page = self.tenant().read(&Filter::default(), Direction::Forward, None, 10_000).unwrap();
        let own = page.events.iter().filter(|recorded| recorded.event().source().starts_with("/quipu/schedules/"));
        let missed = |event: &Event<'_>| {
            event.attributes().iter().find(|(name, _)| name == "missedticks").map_or(0, |(_, value)| match value {
                Value::Integer(count) => *count,
                other => panic!("{other:?}"),
            })
        };
        own.map(|recorded| (recorded.event().id().to_owned(), missed(&recorded.event()))).collect()
    }

    /// The hours of the ticks of `s`.
    fn hours(&self) -> Vec<i64> {
        let hour = |id: String| Timestamp::parse(id.strip_prefix("s/").unwrap()).unwrap().0 / SECOND_US / HOUR;
        self.ids().into_iter().map(hour).collect()
    }

    fn info(&self, name: &str) -> ScheduleInfo {
        self.tenant().schedule(name, 1).unwrap().unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

#[test]
fn a_tick_is_an_event_at_its_time_and_not_before() {
    let house = House::new();
    let data =
        r#"{"schedule":"s","cron":"0 * * * *","event":{"type":"hour.struck","subject":"clock","data":{"n": 1.10}}}"#;
    let applied = house.tenant().apply_schedule(schedule(data), 2, false).unwrap();
    let hours = |hours: &[i64]| hours.iter().map(|hour| Timestamp(hour * HOUR * SECOND_US)).collect::<Vec<_>>();
    assert_eq!((applied.version, applied.is_new, applied.ticks), (1, true, hours(&[1, 2])));
    house.set_clock(HOUR);
    house.clock.0.fetch_sub(1, Ordering::Relaxed);
    tick(house.tenant());
    assert_eq!(house.ids(), Vec::<String>::new());
    house.at(HOUR);
    house.at(HOUR);
    assert_eq!(house.ids(), ["s/1970-01-01T01:00:00.000Z"]);
    let recorded = house.tenant().event_at(1).unwrap().unwrap();
    let event = recorded.event();
    assert_eq!((event.source(), event.kind(), event.subject()), ("/quipu/schedules/s", "hour.struck", Some("clock")));
    assert_eq!(event.attribute("scheduledtime"), Some("1970-01-01T01:00:00.000Z"));
    assert_eq!((recorded.stamp.stream_version, event.data().bytes().unwrap().0), (Some(1), &b"{\"n\": 1.10}"[..]));
    let info = house.info("s");
    assert_eq!((info.state, info.published, info.dropped), (ScheduleState::Active, 1, 0));
    assert_eq!((info.newest, info.ticks), (Some((Timestamp(HOUR * SECOND_US), 1)), hours(&[2])));
}

/// Each hour of three days is published once, however often and wherever the process stops, in order or by being killed, with
/// snapshots or without any.
#[test]
fn each_tick_is_published_once_over_stops_kills_and_snapshots() {
    for kills in [false, true] {
        for with_snapshots in [false, true] {
            let mut house = House::new();
            apply(house.tenant(), hourly(r#","missed":"all""#));
            for hour in 1..=72 {
                house.set_clock(hour * HOUR + 7);
                match hour % 5 {
                    // Made and not decided, decided and not flushed: what is not acknowledged may be there or not.
                    0 => {
                        house.tenant().tick_schedules();
                    }
                    1 => {
                        house.tenant().tick_schedules();
                        house.tenant().decide();
                    }
                    2 => {}
                    _ => tick(house.tenant()),
                }
                if with_snapshots && hour % 9 == 0 {
                    house.fill(&hour.to_string());
                }
                match kills {
                    true => house.kill(),
                    false => house.restart(),
                }
            }
            tick(house.tenant());
            assert_eq!(house.hours(), (1..=72).collect::<Vec<_>>(), "kills {kills}, snapshots {with_snapshots}");
            assert_eq!(house.info("s").published, 72);
            let (position, version) = (house.tenant().position(), house.info("s").version);
            house.restart();
            tick(house.tenant());
            assert_eq!((house.tenant().position(), house.info("s").version), (position, version));
        }
    }
}

#[test]
fn what_was_missed_is_published_as_the_schedule_says() {
    // Down from before the first hour until 5:30, and then on time.
    for (missed, expected) in [
        ("latest", vec![(5, 4), (6, 0)]),
        ("all", vec![(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0)]),
        // Those that were dropped are told of by the next.
        ("skip", vec![(6, 5)]),
    ] {
        for with_restart in [false, true] {
            let mut house = House::new();
            apply(house.tenant(), hourly(&format!(r#","missed":"{missed}""#)));
            house.set_clock(5 * HOUR + 1_800);
            if with_restart {
                house.restart();
            }
            tick(house.tenant());
            let dropped = house.info("s").dropped;
            if with_restart {
                house.restart();
            }
            house.at(6 * HOUR);
            let found: Vec<_> =
                house.hours().into_iter().zip(house.told().into_iter().map(|(_, missed)| missed)).collect();
            assert_eq!(found, expected, "{missed}");
            assert_eq!(house.info("s").dropped, dropped, "{missed}");
            assert_eq!(house.info("s").published as usize, expected.len(), "{missed}");
        }
    }
}

#[test]
fn ticks_that_are_longer_ago_than_is_looked_back_are_neither_published_nor_counted() {
    let house = House::new();
    apply(house.tenant(), hourly(r#","missed":"all","catchup":"2h""#));
    house.at(10 * HOUR + 1);
    assert_eq!((house.hours(), house.info("s").dropped), (vec![9, 10], 0));
    // Nothing in the time that is looked back: it does not ask again and again.
    let rare = r#"{"schedule":"rare","cron":"0 11 * * *","catchup":"1m","event":{"type":"a.b"}}"#;
    apply(house.tenant(), schedule(rare));
    house.set_clock(14 * HOUR + 30);
    tick(house.tenant());
    assert!(!house.tenant().tick_schedules());
    let info = house.info("rare");
    assert_eq!((info.published, info.dropped, info.ticks[0]), (0, 0, Timestamp((DAY + 11 * HOUR) * SECOND_US)));
    // A declaration that looks back further does not bring back what is done with.
    assert!(apply(house.tenant(), schedule(&rare.replace("1m", "7d"))));
    tick(house.tenant());
    assert_eq!(house.info("rare").published, 0);
}

#[test]
fn of_very_many_that_were_missed_the_newest_thousand_are_published_in_portions() {
    let house = House::new();
    let data = "x".repeat(10_000);
    let every = format!(r#"{{"schedule":"s","every":"1s","missed":"all","event":{{"type":"a.b","data":"{data}"}}}}"#);
    apply(house.tenant(), schedule(&every));
    house.set_clock(1_500);
    let mut rounds = 0;
    while house.tenant().tick_schedules() {
        house.tenant().decide();
        house.tenant().flush();
        rounds += 1;
    }
    let told = house.told();
    assert_eq!((told.len(), told[0].clone()), (1_000, ("s/1970-01-01T00:08:21.000Z".into(), 500)));
    assert_eq!(told[999], ("s/1970-01-01T00:25:00.000Z".into(), 0));
    assert!(told[1..].iter().all(|(_, missed)| *missed == 0));
    let info = house.info("s");
    assert_eq!((info.published, info.dropped), (1_000, 500));
    assert!((4..9).contains(&rounds), "10 MB are {rounds} commits");
}

#[test]
fn a_clock_that_is_set_ahead_makes_what_is_between_missed() {
    for (missed, expected) in
        [("latest", vec![1, 100, 101]), ("skip", vec![1, 100, 101]), ("all", (1..=101).collect::<Vec<_>>())]
    {
        let house = House::new();
        apply(house.tenant(), hourly(&format!(r#","missed":"{missed}""#)));
        house.at(HOUR);
        house.at(100 * HOUR);
        house.at(101 * HOUR);
        assert_eq!(house.hours(), expected, "{missed}");
        assert_eq!(house.info("s").published + house.info("s").dropped, 101, "{missed}");
    }
}

#[test]
fn a_clock_that_is_set_back_repeats_nothing() {
    for with_restart in [false, true] {
        let mut house = House::new();
        apply(house.tenant(), hourly(r#","missed":"all""#));
        for hour in 1..=5 {
            house.at(hour * HOUR);
        }
        house.set_clock(2 * HOUR);
        if with_restart {
            house.restart();
        }
        for hour in 2..=5 {
            house.at(hour * HOUR);
            assert_eq!(house.hours(), [1, 2, 3, 4, 5]);
            assert_eq!(house.info("s").ticks[0], Timestamp(6 * HOUR * SECOND_US));
        }
        house.at(6 * HOUR);
        assert_eq!(house.hours(), [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn a_schedule_that_is_removed_and_declared_again_by_a_clock_that_was_set_back_repeats_nothing() {
    let house = House::new();
    apply(house.tenant(), hourly(""));
    house.at(HOUR);
    house.tenant().remove_schedule("s").unwrap();
    house.set_clock(1_800);
    apply(house.tenant(), hourly(""));
    house.at(HOUR);
    house.at(2 * HOUR);
    assert_eq!(house.hours(), [1, 2], "an event has one position");
    assert_eq!(house.info("s").published, 2);
    // With other data it would be another event with the same id, which is refused.
    house.tenant().remove_schedule("s").unwrap();
    house.set_clock(HOUR + 1_800);
    apply(house.tenant(), schedule(r#"{"schedule":"s","cron":"@hourly","event":{"type":"hour.struck","data":1}}"#));
    house.at(2 * HOUR);
    let info = house.info("s");
    assert_eq!((house.hours(), info.state, info.refused), (vec![1, 2], ScheduleState::Failing, 1));
    assert!(info.error.unwrap().reason.contains("position 2"));
}

#[test]
fn after_a_clock_that_was_ahead_a_schedule_is_brought_back_by_a_pause_or_by_other_times_and_repeats_nothing() {
    let paused = |house: &House| {
        house.tenant().pause_schedule("s").unwrap();
        house.tenant().resume_schedule("s").unwrap();
    };
    let declared_paused = |house: &House| {
        apply(house.tenant(), hourly(r#","paused":true"#));
        apply(house.tenant(), hourly(""));
    };
    let other_times = |house: &House| {
        apply(house.tenant(), schedule(r#"{"schedule":"s","cron":"0 * * * *","event":{"type":"hour.struck"}}"#));
    };
    for bring_back in [&paused as &dyn Fn(&House), &declared_paused, &other_times] {
        let mut house = House::new();
        apply(house.tenant(), hourly(""));
        house.at(HOUR);
        house.at(1_000 * HOUR);
        house.set_clock(HOUR + 1_800);
        bring_back(&house);
        assert_eq!(house.info("s").ticks[0], Timestamp(2 * HOUR * SECOND_US));
        house.at(2 * HOUR);
        house.restart();
        for hour in [3, 999, 1_000, 1_001] {
            house.at(hour * HOUR);
        }
        assert_eq!(house.hours(), [1, 1_000, 2, 3, 999, 1_001]);
    }
    // With the same times it keeps its place, whatever else is other.
    let house = House::new();
    apply(house.tenant(), hourly(""));
    house.at(1_000 * HOUR);
    house.set_clock(HOUR);
    apply(house.tenant(), hourly(r#","missed":"all""#));
    assert_eq!(house.info("s").ticks[0], Timestamp(1_001 * HOUR * SECOND_US));
}

#[test]
fn nothing_is_published_before_from_or_from_until_on() {
    let mut house = House::new();
    apply(house.tenant(), hourly(r#","from":"1970-01-01T03:00:00Z","until":"1970-01-01T06:00:00Z""#));
    for hour in 1..=5 {
        house.at(hour * HOUR);
    }
    assert_eq!((house.hours(), house.info("s").state), (vec![3, 4, 5], ScheduleState::Ended));
    house.restart();
    house.at(9 * HOUR);
    assert_eq!((house.hours(), house.info("s").ticks), (vec![3, 4, 5], vec![]));
}

#[test]
fn what_comes_during_a_pause_is_left_out() {
    let mut house = House::new();
    apply(house.tenant(), hourly(r#","missed":"all""#));
    house.at(HOUR);
    assert!(house.tenant().pause_schedule("s").unwrap());
    assert!(!house.tenant().pause_schedule("s").unwrap(), "it was paused before");
    house.restart();
    house.at(5 * HOUR);
    let info = house.info("s");
    assert_eq!((house.hours(), info.state, info.ticks), (vec![1], ScheduleState::Paused, vec![]));
    assert!(info.declaration.paused);
    assert!(house.tenant().resume_schedule("s").unwrap());
    assert!(!house.tenant().resume_schedule("s").unwrap());
    house.at(6 * HOUR);
    assert_eq!((house.hours(), house.info("s").dropped, house.told()[1].1), (vec![1, 6], 0, 0));
    // A declaration says itself whether it is paused.
    house.tenant().pause_schedule("s").unwrap();
    house.set_clock(8 * HOUR + 1);
    assert!(apply(house.tenant(), hourly(r#","missed":"all""#)));
    tick(house.tenant());
    house.at(9 * HOUR);
    assert_eq!(house.hours(), [1, 6, 9]);
}

#[test]
fn what_is_in_the_mailbox_goes_before_a_change_that_comes_after_it() {
    for removes in [false, true] {
        let house = House::new();
        apply(house.tenant(), hourly(""));
        house.set_clock(HOUR);
        assert!(house.tenant().tick_schedules());
        match removes {
            true => house.tenant().remove_schedule("s").unwrap(),
            false => assert!(house.tenant().pause_schedule("s").unwrap()),
        }
        assert_eq!(house.hours(), [1]);
        house.at(3 * HOUR);
        assert_eq!(house.hours(), [1], "removes {removes}");
    }
}

#[test]
fn a_declaration_with_the_same_times_keeps_its_place_and_one_with_others_begins_now() {
    let house = House::new();
    let one = |cron: &str, members: &str, kind: &str| {
        schedule(&format!(r#"{{"schedule":"s","cron":"{cron}","event":{{"type":"{kind}"}},"missed":"all"{members}}}"#))
    };
    apply(house.tenant(), one("0 * * * *", "", "a.b"));
    house.set_clock(3 * HOUR + 60);
    // Not seen to yet, when the event is changed.
    let again = house.tenant().apply_schedule(one("0 * * * *", "", "c.d"), 1, false).unwrap();
    assert_eq!((again.version, again.is_new), (2, true));
    tick(house.tenant());
    assert_eq!(house.hours(), [1, 2, 3]);
    assert_eq!(house.tenant().event_at(1).unwrap().unwrap().event().kind(), "c.d");
    let again = house.tenant().apply_schedule(one("0 * * * *", "", "c.d"), 1, false).unwrap();
    assert_eq!((again.version, again.is_new, again.ticks.len()), (2, false, 1), "it is declared already");
    // Others: from now on.
    house.set_clock(5 * HOUR + 120);
    let other = one("30 * * * *", "", "c.d");
    let dry = house.tenant().apply_schedule(other.clone(), 1, true).unwrap();
    let half = |hour| Timestamp((hour * HOUR + 1_800) * SECOND_US);
    assert_eq!((dry.version, dry.is_new, dry.ticks), (3, false, vec![half(5)]), "only checked");
    assert_eq!(house.info("s").version, 2);
    apply(house.tenant(), other);
    tick(house.tenant());
    assert_eq!(house.hours(), [1, 2, 3], "not by the new times in the past");
    house.at(5 * HOUR + 1_800);
    assert_eq!(house.info("s").newest, Some((half(5), 4)));
    // Its end is put off after it has ended: what would have come between is not made up for.
    apply(house.tenant(), one("30 * * * *", r#","until":"1970-01-01T07:00:00Z""#, "c.d"));
    house.at(6 * HOUR + 1_800);
    house.at(12 * HOUR);
    apply(house.tenant(), one("30 * * * *", r#","until":"1970-01-02T00:00:00Z""#, "c.d"));
    house.at(12 * HOUR + 1_800);
    assert_eq!((house.info("s").published, house.info("s").newest.unwrap().0), (6, half(12)));
}

#[test]
fn a_rate_is_counted_from_its_first_declaration_while_it_is_the_same() {
    let house = House::new();
    let every = |every: &str, kind: &str| {
        schedule(&format!(r#"{{"schedule":"s","every":"{every}","event":{{"type":"{kind}"}}}}"#))
    };
    house.set_clock(100);
    apply(house.tenant(), every("1h", "a.b"));
    house.set_clock(1_000);
    apply(house.tenant(), every("1h", "c.d"));
    assert_eq!(house.info("s").ticks, [Timestamp((HOUR + 100) * SECOND_US)]);
    apply(house.tenant(), every("2h", "c.d"));
    assert_eq!(house.info("s").ticks, [Timestamp((2 * HOUR + 1_000) * SECOND_US)]);
}

#[test]
fn an_event_that_its_schema_refuses_is_shown_and_the_schedule_goes_on() {
    let mut house = House::new();
    let text = r#"{"type":"object","required":["n"]}"#.to_owned();
    house.tenant().register_schema("hour.struck", NewSchema { text, ..NewSchema::default() }).unwrap();
    let rules = SchemaRules { enforcement: Some(Enforcement::Enforce), ..SchemaRules::default() };
    house.tenant().set_schema_rules(None, rules).unwrap();
    apply(house.tenant(), schedule(r#"{"schedule":"s","cron":"@hourly","event":{"type":"hour.struck","data":{}}}"#));
    apply(house.tenant(), schedule(r#"{"schedule":"other","cron":"@hourly","event":{"type":"a.b"}}"#));
    house.at(HOUR);
    house.at(2 * HOUR);
    for _ in 0..2 {
        let info = house.info("s");
        assert_eq!((info.state, info.published, info.refused, info.newest), (ScheduleState::Failing, 0, 2, None));
        let error = info.error.unwrap();
        assert_eq!(error.tick, Timestamp(2 * HOUR * SECOND_US));
        assert!(error.reason.contains("hour.struck"), "{}", error.reason);
        assert_eq!(house.info("other").published, 2);
        house.restart();
    }
    apply(
        house.tenant(),
        schedule(r#"{"schedule":"s","cron":"@hourly","event":{"type":"hour.struck","data":{"n":1}}}"#),
    );
    house.at(3 * HOUR);
    let info = house.info("s");
    assert_eq!((info.state, info.published, info.refused, info.error), (ScheduleState::Active, 1, 2, None));
}

#[test]
fn jq_makes_the_data_of_each_tick_within_its_limits() {
    let house = House::new();
    let with = |name: &str, jq: &str| {
        let event = serde_json::json!({"type": "a.b", "jq": jq});
        schedule(&format!(r#"{{"schedule":"{name}","cron":"@hourly","event":{event}}}"#))
    };
    apply(house.tenant(), with("good", "{at: .scheduledtime, of: .schedule, missed}"));
    apply(house.tenant(), with("endless", "last(repeat(1))"));
    apply(house.tenant(), with("deep", "reduce range(101) as $n (1; [.])"));
    apply(house.tenant(), with("fails", "error(\"no\" * 2000)"));
    house.at(3 * HOUR + 600);
    let recorded = house.tenant().event_at(1).unwrap().unwrap();
    let expected = r#"{"at":"1970-01-01T03:00:00.000Z","of":"good","missed":2}"#;
    assert_eq!(std::str::from_utf8(recorded.event().data().bytes().unwrap().0).unwrap(), expected);
    assert_eq!(house.ids().len(), 1);
    for (name, reason) in [("endless", "stopped after"), ("fails", "no")] {
        let error = house.info(name).error.unwrap();
        assert!(error.reason.starts_with("/event/jq: ") && error.reason.contains(reason), "{error:?}");
        assert!(error.reason.len() <= 1_000);
    }
    let error = house.info("deep").error.unwrap();
    assert!(error.reason.contains("JSON of at most 100 levels"), "{error:?}");
    let refused = house.tenant().apply_schedule(with("bad", "{"), 0, false).unwrap_err();
    assert!(matches!(refused, NotDone::RefusedSchedule(ScheduleRefusal::InvalidJq { .. })), "{refused}");
}

#[test]
fn a_tenant_has_only_so_many_schedules() {
    let house = House::new();
    let one = |number: usize| schedule(&format!(r#"{{"schedule":"s{number}","every":"1h","event":{{"type":"a.b"}}}}"#));
    (0..SCHEDULES_MAX).for_each(|number| assert!(apply(house.tenant(), one(number))));
    let refused = house.tenant().apply_schedule(one(SCHEDULES_MAX), 0, true).unwrap_err();
    assert!(
        matches!(refused, NotDone::RefusedSchedule(ScheduleRefusal::TooMany { limit: SCHEDULES_MAX })),
        "{refused}"
    );
    assert!(!apply(house.tenant(), one(7)), "one that is there may be applied");
    house.tenant().remove_schedule("s7").unwrap();
    assert!(apply(house.tenant(), one(SCHEDULES_MAX)));
    // All of them at one time, in their pages.
    house.at(HOUR);
    assert_eq!(house.ids().len(), SCHEDULES_MAX);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = house.tenant().schedules(after.as_deref(), 300).unwrap();
        assert_eq!(page.total, SCHEDULES_MAX as u64);
        seen.extend(page.schedules.into_iter().map(|info| (info.declaration.name.clone(), info.published)));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(seen.len() == SCHEDULES_MAX && seen.is_sorted() && seen.iter().all(|(_, published)| *published == 1));
}

#[test]
fn what_makes_no_sense_is_refused_and_what_is_not_there_is_not_found() {
    let house = House::new();
    for text in [
        r#"{"schedule":"s","cron":"0 0 30 2 *","event":{"type":"a.b"}}"#,
        r#"{"schedule":"s","every":"1h","event":{"type":"a b"}}"#,
        r#"{"schedule":"s","every":"1h","until":"1970-01-01T00:30:00Z","event":{"type":"a.b"}}"#,
    ] {
        let refused = house.tenant().apply_schedule(schedule(text), 0, false).unwrap_err();
        assert!(matches!(refused, NotDone::RefusedSchedule(ScheduleRefusal::Invalid(_))), "{refused}");
    }
    let acts = [
        house.tenant().pause_schedule("s").map(drop),
        house.tenant().resume_schedule("s").map(drop),
        house.tenant().remove_schedule("s"),
    ];
    for refused in acts.map(Result::unwrap_err) {
        assert!(matches!(&refused, NotDone::RefusedSchedule(ScheduleRefusal::NotFound { name }) if name == "s"));
    }
    assert!(house.tenant().schedule("s", 1).unwrap().is_none());
}

#[test]
fn a_full_tenant_publishes_no_ticks_says_so_and_goes_on_when_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Hands::default());
    let storage = Arc::new(DiskStorage::new(folder.path()));
    let world = World { storage, clock: Arc::clone(&clock) as Arc<dyn Clock>, random: Arc::new(Counter::default()) };
    let engine = Engine::open(world, small()).unwrap();
    let quotas = Quotas { storage_bytes: NonZeroU64::new(3_000), ..Quotas::default() };
    engine.create_tenant("a", quotas).unwrap();
    let tenant = engine.existing_tenant("a").unwrap();
    apply(&tenant, hourly(r#","missed":"all""#));
    let large = Event::builder("large", "/test", "a.b").json(format!("\"{}\"", "x".repeat(3_000))).build().unwrap();
    assert!(matches!(publish(&tenant, &large), Published::Recorded(_)));
    let s = || tenant.schedule("s", 1).unwrap();
    clock.0.store(HOUR * SECOND_US, Ordering::Relaxed);
    let stuck = wait_for("a reason", || s().filter(|info| info.stuck.is_some()));
    assert!(stuck.stuck.unwrap().contains("3000"), "the quota is named");
    assert_eq!((tenant.position(), stuck.published), (1, 0));
    engine.set_tenant_quotas("a", Quotas::default()).unwrap();
    clock.0.store((HOUR + 2) * SECOND_US, Ordering::Relaxed);
    let info = wait_for("a tick", || s().filter(|info| info.published == 1));
    assert_eq!((tenant.position(), info.stuck), (2, None));
    engine.close().unwrap();
}

#[test]
fn a_thread_sees_to_ticks_soon_after_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine_with_time(folder.path(), Options::default());
    let tenant = engine.tenant("default").unwrap();
    for number in 0..100 {
        let event = r#"{"type":"a.b","jq":"{at: .scheduledtime}"}"#;
        apply(&tenant, schedule(&format!(r#"{{"schedule":"s{number}","every":"1s","event":{event}}}"#)));
    }
    until("three ticks of each", || tenant.position() >= 300);
    let page = tenant.read(&Filter::default(), Direction::Forward, None, 10_000).unwrap();
    let mut ids: Vec<String> = page.events.iter().map(|recorded| recorded.event().id().to_owned()).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
    engine.close().unwrap();
}
