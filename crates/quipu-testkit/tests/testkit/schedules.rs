//! A power cut and an error at every storage call while schedules tick: no tick is published twice, and none is lost.

use std::sync::Arc;

use quipu_domain::schedule::Schedule;
use quipu_domain::{Direction, Event, Filter, Timestamp};
use quipu_engine::{Fault, NotDone, Options, ScheduleState, Tenant, World};
use quipu_testkit::{FOLDER, FaultyDisk, Kind, SeededRandom, Trigger, VirtualClock};

/// How many ways to recover from each crash.
const SEEDS: u64 = 4;
const HOUR_MS: i64 = 3_600_000;
const HOURS: i64 = 12;
/// It is paused after this hour, and resumed after the other.
const PAUSED: (i64, i64) = (5, 8);

fn hourly(kind: &str) -> Schedule {
    let text = format!(r#"{{"schedule":"s","cron":"@hourly","missed":"all","event":{{"type":"{kind}"}}}}"#);
    serde_json::from_str(&text).unwrap()
}

fn open(disk: &FaultyDisk, hours: i64) -> Option<(Arc<Tenant>, Arc<VirtualClock>)> {
    let clock = Arc::new(VirtualClock::new(Timestamp(hours * HOUR_MS * 1_000)));
    let random = Arc::new(SeededRandom::new(1));
    let world = World { storage: Arc::new(disk.clone()), clock: Arc::clone(&clock) as Arc<_>, random };
    let options = Options { segment_bytes: 4 << 10, run_events: 5, ..Options::default() };
    Some((Tenant::open(&world, FOLDER, options).ok()?, clock))
}

fn tick(tenant: &Arc<Tenant>) {
    while tenant.tick_schedules() {
        tenant.decide();
        tenant.flush();
    }
}

/// The hours of the ticks that were published, in their order.
fn hours(tenant: &Tenant) -> Result<Vec<i64>, Fault> {
    let page = tenant.read(&Filter::default(), Direction::Forward, None, 1_000)?;
    let of = page.events.iter().filter(|recorded| recorded.event().source() == "/quipu/schedules/s");
    let hour = |id: &str| Timestamp::parse(id.strip_prefix("s/").unwrap()).unwrap().0 / 1_000 / HOUR_MS;
    Ok(of.map(|recorded| hour(recorded.event().id())).collect())
}

/// What somebody was told of: a schedule that was declared, and ticks that could be read.
#[derive(Debug, Default)]
struct Told {
    declared: bool,
    hours: Vec<i64>,
}

fn script(disk: &FaultyDisk) -> (Told, bool) {
    let mut told = Told::default();
    let Some((tenant, clock)) = open(disk, 0) else { return (told, false) };
    let outcome = run(&tenant, &clock, &mut told);
    (told, outcome.is_ok() && tenant.close().is_ok())
}

fn run(tenant: &Arc<Tenant>, clock: &VirtualClock, told: &mut Told) -> Result<(), NotDone> {
    tenant.apply_schedule(hourly("a.b"), 0, false)?;
    told.declared = true;
    for hour in 1..=HOURS {
        clock.jump_ms(HOUR_MS);
        tick(tenant);
        told.hours = hours(tenant)?;
        let event = Event::builder(hour.to_string(), "/t", "filler").json("1").build().unwrap();
        tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()])?;
        while tenant.maintain()? {}
        match hour {
            3 => _ = tenant.apply_schedule(hourly("c.d"), 0, false)?,
            hour if hour == PAUSED.0 => _ = tenant.pause_schedule("s")?,
            hour if hour == PAUSED.1 => _ = tenant.resume_schedule("s")?,
            _ => {}
        }
    }
    Ok(())
}

/// After the crash and two more hours.
fn check(disk: &FaultyDisk, told: &Told, how: &str) {
    let (tenant, _) = open(disk, HOURS + 2).unwrap_or_else(|| panic!("{how}: it does not open"));
    let before = hours(&tenant).unwrap();
    assert!(before.starts_with(&told.hours), "{how}: {before:?} lack some of {:?}", told.hours);
    let Some(info) = tenant.schedule("s", 1).unwrap() else {
        assert!(!told.declared && before.is_empty(), "{how}: what was declared is gone");
        return;
    };
    assert_eq!(info.published as usize, before.len(), "{how}: place and events are of one commit");
    if info.state == ScheduleState::Paused {
        tick(&tenant);
        assert_eq!(hours(&tenant).unwrap(), before, "{how}: it is paused");
        return;
    }
    tick(&tenant);
    let after = hours(&tenant).unwrap();
    let is_paused = |hour: &i64| (PAUSED.0 + 1..=PAUSED.1).contains(hour);
    let outside: Vec<i64> = after.iter().copied().filter(|hour| !is_paused(hour)).collect();
    let expected: Vec<i64> = (1..=HOURS + 2).filter(|hour| !is_paused(hour)).collect();
    assert_eq!(outside, expected, "{how}");
    assert!(after.is_sorted_by(|a, b| a < b), "{how}: {after:?}");
}

#[test]
fn a_power_cut_at_any_call_neither_repeats_nor_loses_a_tick() {
    let mut seen = 0;
    for call in 1.. {
        let disk = FaultyDisk::new(call);
        disk.crash_at(call);
        let (told, is_done) = script(&disk);
        if !disk.is_dead() {
            assert!(is_done);
            check(&disk.kill(), &told, "without a crash");
            break;
        }
        for seed in 0..SEEDS {
            check(&disk.crash_and_recover(seed), &told, &format!("power cut at call {call}, seed {seed}"));
        }
        check(&disk.kill(), &told, &format!("killed at call {call}"));
        seen = call;
    }
    assert!(seen > 100, "the script must have many calls, it has {seen}");
}

#[test]
fn an_error_of_any_call_neither_repeats_nor_loses_a_tick() {
    for kind in [Kind::Change, Kind::Write, Kind::Sync, Kind::SyncDir] {
        for call in 1.. {
            let disk = FaultyDisk::new(call);
            disk.fail(kind, Trigger::At(call));
            let (told, _) = script(&disk);
            if disk.failed() == 0 {
                assert!(call > 5, "the script must have many calls of {kind:?}");
                break;
            }
            check(&disk.kill(), &told, &format!("an error at call {call} of {kind:?}"));
        }
    }
}
