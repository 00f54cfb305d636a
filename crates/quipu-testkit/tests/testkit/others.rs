//! Failures that other event stores have published, replayed here. Each test is named after the store and the number of
//! the issue, says what went wrong there, and has a mutation in `mutations/others.toml` that puts the mistake back in.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use quipu_domain::delivery::{Failure, Reason};
use quipu_domain::{Checkpoint, Condition, Direction, Event, Filter, Query, QueryItem, StartAt, Timestamp};
use quipu_engine::{Answer, Append, Appended, Fault, NotAppended, Options, Tenant, World};
use quipu_testkit::{FaultyDisk, Kind, SeededRandom, Trigger, VirtualClock};

fn open(disk: &FaultyDisk) -> Result<Arc<Tenant>, Fault> {
    let world = World {
        storage: Arc::new(disk.clone()),
        clock: Arc::new(VirtualClock::new(Timestamp(1))),
        random: Arc::new(SeededRandom::new(1)),
    };
    let options = Options { segment_bytes: 16 << 10, run_events: 30, threads: 1, ..Options::default() };
    Tenant::open(&world, "t", options)
}

fn event(id: &str, subject: &str) -> Event<'static> {
    Event::builder(id.to_owned(), "/s", "seat.taken")
        .subject(subject.to_owned())
        .tag("course:1")
        .json("{}")
        .build()
        .unwrap()
}

fn publish(tenant: &Arc<Tenant>, id: &str, subject: &str) -> Result<u64, Fault> {
    tenant.publish_wait(vec![tenant.prepare(&event(id, subject), None).unwrap()])?;
    Ok(tenant.position())
}

/// An append of events to streams of their own, if there is no event of the course after a position.
fn append(tenant: &Tenant, ids: &[String], after: u64) -> Append {
    let item = QueryItem { types: Vec::new(), tags: vec!["course:1".into()] };
    Append {
        events: ids.iter().map(|id| tenant.prepare(&event(id, &format!("student/{id}")), None).unwrap()).collect(),
        conditions: vec![Condition::NoneAfter { position: after, query: Query { items: vec![item] } }],
        ..Append::default()
    }
}

/// Each looks for itself when it asks; nothing is decided before all have asked.
fn append_together(tenant: &Arc<Tenant>, appends: impl Iterator<Item = Append>) -> Vec<Result<Appended, NotAppended>> {
    let ask = |append| {
        let (sender, answer) = mpsc::channel();
        tenant.append(append, move |result| sender.send(result).unwrap());
        answer
    };
    let answers: Vec<mpsc::Receiver<_>> = appends.map(ask).collect();
    tenant.decide();
    tenant.flush();
    answers.into_iter().map(|answer| answer.recv().unwrap()).collect()
}

fn ids(tenant: &Tenant) -> BTreeSet<String> {
    let page = tenant.read(&Filter::default(), Direction::Forward, None, 100_000).unwrap();
    page.events.iter().map(|found| found.event().id().to_owned()).collect()
}

/// Marten 4591: the check that no event has a tag and the insert were two statements. Writers on streams of their own,
/// whom no unique constraint stops, checked at the same time and were all let through.
#[test]
fn marten_4591_of_writers_that_looked_at_the_same_time_one_wins() {
    let tenant = open(&FaultyDisk::new(1)).unwrap();
    let answers = append_together(&tenant, (0..8).map(|writer| append(&tenant, &[format!("w{writer}")], 0)));
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((won, ids(&tenant).len()), (1, 1));
}

/// The same with threads that read, decide and append, sixteen at a time, for a hundred seats.
#[test]
fn marten_4591_no_seat_is_taken_twice_by_threads() {
    let tenant = open(&FaultyDisk::new(1)).unwrap();
    for seat in 0..100 {
        let before = tenant.position();
        let won = thread::scope(|scope| {
            let (tenant, writers) = (&tenant, 0..16);
            let threads: Vec<_> = writers
                .map(|writer| {
                    scope.spawn(move || {
                        tenant.append_wait(append(tenant, &[format!("{seat}.{writer}")], before)).is_ok()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!((won, tenant.position()), (1, before + 1));
    }
}

/// Marten 4952 and 4964: a number was given to an event before it could be seen, later events overtook it, and a follower
/// that had come to their numbers never looked back.
#[test]
fn marten_4952_a_follower_passes_no_event_that_is_still_on_its_way() {
    let tenant = open(&FaultyDisk::new(1)).unwrap();
    publish(&tenant, "seen", "a").unwrap();
    let mut follower = tenant.follow(Filter::default(), 0);
    assert_eq!(follower.next(10).unwrap().len(), 1);
    for id in ["late", "later"] {
        tenant.publish(vec![tenant.prepare(&event(id, id), None).unwrap()], |_| {});
        tenant.decide();
        // It has its position and is written, but not durable.
        assert!(follower.next(10).unwrap().is_empty());
        assert_eq!(follower.position(), 1);
    }
    tenant.flush();
    let seen: Vec<String> = follower.next(10).unwrap().iter().map(|found| found.event().id().to_owned()).collect();
    assert_eq!(seen, ["late", "later"]);
}

/// The same with four writers and a follower that is as close behind them as it can be.
#[test]
fn marten_4964_a_follower_beside_writers_sees_every_position_in_order() {
    let tenant = open(&FaultyDisk::new(1)).unwrap();
    let is_done = AtomicBool::new(false);
    let seen = thread::scope(|scope| {
        let (tenant, is_done) = (&tenant, &is_done);
        let follower = scope.spawn(move || {
            let mut follower = tenant.follow(Filter::default(), 0);
            let mut seen = Vec::new();
            loop {
                let was_done = is_done.load(Ordering::Acquire);
                let events = follower.next(7).unwrap();
                if events.is_empty() && was_done && !follower.is_behind() {
                    return seen;
                }
                seen.extend(events.iter().map(|found| found.stamp.position));
            }
        });
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                scope.spawn(move || {
                    for number in 0..200 {
                        publish(tenant, &format!("{writer}.{number}"), &writer.to_string()).unwrap();
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        is_done.store(true, Ordering::Release);
        follower.join().unwrap()
    });
    assert_eq!(seen, (1..=800).collect::<Vec<u64>>());
}

/// Eventuous 553: an append said that all was well, and its events were not in the stream.
#[test]
fn eventuous_553_what_was_answered_with_success_is_there() {
    for call in 1..40 {
        for kind in [Kind::Write, Kind::Sync] {
            let disk = FaultyDisk::new(call);
            let tenant = open(&disk).unwrap();
            disk.fail(kind, Trigger::At(call));
            let mut succeeded = BTreeSet::new();
            for batch in 0..30 {
                let batch: Vec<String> = (0..5).map(|index| format!("{batch}.{index}")).collect();
                if tenant.append_wait(append(&tenant, &batch, tenant.position())).is_ok() {
                    succeeded.extend(batch);
                }
            }
            drop(tenant);
            let found = ids(&open(&disk.crash_and_recover(call)).unwrap());
            let lost: Vec<_> = succeeded.difference(&found).collect();
            assert!(lost.is_empty(), "{kind:?} {call} failed, and {lost:?} are lost");
        }
    }
}

/// Of writers of one stream that asked at the same time without a condition all were told that all was well, and the
/// events of those that came second were left out.
#[test]
fn eventuous_553_of_writers_of_one_stream_each_finds_its_events() {
    let tenant = open(&FaultyDisk::new(1)).unwrap();
    let appends = (0..20).map(|writer| {
        let events = (0..3).map(|index| event(&format!("{writer}.{index}"), "one"));
        Append { events: events.map(|event| tenant.prepare(&event, None).unwrap()).collect(), ..Append::default() }
    });
    for (writer, answer) in append_together(&tenant, appends).into_iter().enumerate() {
        for (index, told) in answer.unwrap().events.iter().enumerate() {
            let found = tenant.event_at(told.position).unwrap().expect("an event where one was said to be");
            assert_eq!(found.event().id(), format!("{writer}.{index}"));
        }
    }
    assert_eq!((ids(&tenant).len(), tenant.stream("one").unwrap().version), (60, 60));
}

/// Disintegrate 205: the events were inserted outside the transaction that held the lock and the numbers, so a crash
/// between the two left events that nothing else knew of.
#[test]
fn disintegrate_205_after_a_crash_an_append_is_there_with_all_that_belongs_to_it_or_not_at_all() {
    let probe = FaultyDisk::new(1);
    let tenant = open(&probe).unwrap();
    let begin = probe.calls();
    publish(&tenant, "probe", "a").unwrap();
    // A write is torn anywhere, and what belongs to the events is the least of it.
    let (calls, seeds) = (begin..probe.calls() + 1, 0..150);
    for (call, seed) in calls.flat_map(|call| seeds.clone().map(move |seed| (call, seed))) {
        let disk = FaultyDisk::new(seed);
        let tenant = open(&disk).unwrap();
        disk.crash_at(call);
        let size = 1 + seed as usize % 3;
        let batch: Vec<String> = (0..size).map(|index| index.to_string()).collect();
        let checkpoint = Some(Checkpoint { source: "table".into(), number: 7 });
        let answer = tenant.append_wait(Append { checkpoint, ..append(&tenant, &batch, 0) });
        drop(tenant);
        let tenant = open(&disk.crash_and_recover(seed)).unwrap();
        let found = (ids(&tenant).len(), tenant.checkpoint("table"));
        let is_whole = found == (size, Some(7));
        assert!(is_whole || (found == (0, None) && answer.is_err()), "cut at {call}: {found:?} after {answer:?}");
        // Whoever asks again is told the same, or makes it now.
        let again = tenant.append_wait(append(&tenant, &batch, 0)).unwrap();
        assert_eq!((again.is_duplicate, again.events.len()), (is_whole, size));
    }
}

/// The same with threads, each of which decides and writes what it finds waiting: what one has decided is in the log before
/// another decides.
#[test]
fn disintegrate_205_of_writers_at_one_time_each_has_a_commit_of_its_own() {
    const WRITERS: u64 = 8;
    const APPENDS: u64 = 50;
    let disk = FaultyDisk::new(1);
    let tenant = open(&disk).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let tenant = &tenant;
            scope.spawn(move || {
                for number in 1..=APPENDS {
                    let events = (0..3).map(|index| event(&format!("{writer}.{number}.{index}"), "one"));
                    let events: Vec<_> = events.map(|event| tenant.prepare(&event, None).unwrap()).collect();
                    let checkpoint = Some(Checkpoint { source: writer.to_string(), number });
                    let append = Append { events, checkpoint, ..Append::default() };
                    let places = tenant.append_wait(append).unwrap().events;
                    for (index, place) in (0..).zip(&places) {
                        assert_eq!(place.position, places[0].position + index, "{places:?}");
                        assert_eq!(place.stream_version, Some(place.position), "{places:?}");
                        let found =
                            tenant.event_at(place.position).unwrap().expect("an event where one was said to be");
                        assert_eq!(found.event().id(), format!("{writer}.{number}.{index}"));
                    }
                }
            });
        }
    });
    drop(tenant);
    let tenant = open(&disk.crash_and_recover(1)).unwrap();
    assert_eq!(ids(&tenant).len() as u64, WRITERS * APPENDS * 3);
    for writer in 0..WRITERS {
        assert_eq!(tenant.checkpoint(&writer.to_string()), Some(APPENDS));
    }
}

/// KurrentDB 1392 and 3449: after a restart a persistent subscription stood at its checkpoint, with events behind it and
/// consumers connected, until somebody replayed its parked messages.
#[test]
fn kurrent_1392_a_subscription_goes_on_after_every_restart() {
    let mut disk = FaultyDisk::new(1);
    let text = r#"{"start":"beginning","retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#;
    let mut tenant = open(&disk).unwrap();
    let definition: quipu_domain::Subscription = serde_json::from_str(text).unwrap();
    assert_eq!(definition.start, StartAt::Beginning);
    tenant.create_subscription("s", definition).unwrap();
    for round in 0..30 {
        let is_woken = Arc::new(AtomicBool::new(false));
        let woken = Arc::clone(&is_woken);
        let _guard = tenant.on_available("s", move || woken.store(true, Ordering::SeqCst)).unwrap();
        // What came behind the checkpoint of the round before, and nothing of what was parked.
        let left = tenant.pull("s", 100).unwrap();
        let found: Vec<String> = left.iter().map(|one| one.recorded.event().id().to_owned()).collect();
        assert_eq!(found, if round == 0 { vec![] } else { vec![format!("late{}", round - 1)] }, "round {round}");
        for one in left {
            tenant.answer("s", vec![(one.id, one.token, Answer::Ack)]).unwrap().remove(0).unwrap();
        }
        is_woken.store(false, Ordering::SeqCst);
        publish(&tenant, &format!("bad{round}"), &format!("bad{round}")).unwrap();
        publish(&tenant, &format!("behind{round}"), &format!("bad{round}")).unwrap();
        publish(&tenant, &format!("good{round}"), "good").unwrap();
        let handed = tenant.pull("s", 100).unwrap();
        assert!(is_woken.load(Ordering::SeqCst), "round {round}: nobody was told that there is something");
        let mut good = 0;
        for one in handed {
            let answer = match one.recorded.event().id() {
                id if id.starts_with("bad") => {
                    let failure = Failure::new("it is bad");
                    Answer::GiveUp { failure, reason: Reason::GivenUpByConsumer }
                }
                id => {
                    good += usize::from(id == format!("good{round}"));
                    Answer::Ack
                }
            };
            let is_parked = one.recorded.event().id().starts_with("behind");
            let taken = tenant.answer("s", vec![(one.id, one.token, answer)]).unwrap().remove(0);
            assert_eq!(taken.is_err(), is_parked, "{taken:?}");
        }
        assert_eq!(good, 1, "round {round}: the subscription stands still");
        tenant.checkpoint_deliveries().unwrap();
        publish(&tenant, &format!("late{round}"), "late").unwrap();
        if round % 3 == 0 {
            tenant.settle_deliveries().unwrap();
            tenant.close().unwrap();
        }
        drop(tenant);
        disk = if round % 3 == 1 { disk.crash_and_recover(round) } else { disk.kill() };
        tenant = open(&disk).unwrap();
    }
}

/// KurrentDB 3452: a disk that was full left a log that the server did not start with once there was room again.
#[test]
fn kurrent_3452_after_a_full_disk_it_starts_with_everything_that_was_answered() {
    for room in (0..6_000).step_by(97) {
        let disk = FaultyDisk::new(room);
        let tenant = open(&disk).unwrap();
        publish(&tenant, "before", "a").unwrap();
        if room % 4 < 2 {
            disk.reserve_nothing();
        }
        disk.limit_bytes(Some(disk.bytes() + room));
        let answered = (0..10_000).take_while(|id| publish(&tenant, &id.to_string(), "a").is_ok()).count();
        assert!(answered < 10_000, "the disk was never full");
        drop(tenant);
        // First while there is still no room, as a supervisor does it: whatever becomes of that start does no harm.
        let disk = if room % 2 == 0 { disk.kill() } else { disk.crash_and_recover(room) };
        disk.limit_bytes(Some(disk.bytes()));
        if let Err(fault) = open(&disk) {
            assert!(matches!(fault, Fault::DiskFull { .. }), "{fault}");
        }
        let disk = disk.kill();
        disk.limit_bytes(None);
        let tenant = open(&disk).unwrap();
        let found = ids(&tenant);
        assert!(found.contains("before") && (0..answered).all(|id| found.contains(&id.to_string())), "{room}");
        publish(&tenant, "after", "a").unwrap();
    }
}
