//! The loop under many threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quipu_domain::{Condition, Direction, Filter, StreamExpectation};
use quipu_engine::{Append, Fault, NotAppended, Options, Published};

use crate::support::*;

#[test]
fn many_appenders_get_each_position_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), Options { segment_bytes: 64 << 10, run_events: 300, ..small() });
    let tenant = engine.tenant("default").unwrap();
    let mut positions: Vec<u64> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..8)
            .map(|writer| {
                let tenant = Arc::clone(&tenant);
                scope.spawn(move || {
                    let publish = |i: u64| match publish(&tenant, &event(&format!("{writer}-{i}"), "s")) {
                        Published::Recorded(place) => place.position,
                        other => panic!("{other:?}"),
                    };
                    (0..250).map(publish).collect::<Vec<_>>()
                })
            })
            .collect();
        handles.into_iter().flat_map(|handle| handle.join().unwrap()).collect()
    });
    positions.sort_unstable();
    assert_eq!(positions, (1..=2_000).collect::<Vec<_>>());
    let all = tenant.read(&Filter::default(), Direction::Forward, None, 10_000).unwrap().events;
    let versions: Vec<u64> = all.iter().filter_map(|recorded| recorded.stamp.stream_version).collect();
    assert_eq!(versions, positions);
    engine.close().unwrap();
    assert!(matches!(tenant.publish_wait(vec![]), Err(Fault::Closed)));
}

#[test]
fn of_writers_that_expect_the_same_version_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), small());
    let tenant = engine.tenant("default").unwrap();
    let wins = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (tenant, wins) = (&tenant, &wins);
            scope.spawn(move || {
                for version in 0..40 {
                    let expected = StreamExpectation::Version(version);
                    let conditions = vec![Condition::Stream { stream: "s".into(), expected }];
                    let events = [event(&format!("{writer}-{version}"), "s")];
                    match tenant.append_wait(Append { conditions, ..append_of(tenant, &events) }) {
                        Ok(_) => _ = wins.fetch_add(1, Ordering::Relaxed),
                        Err(NotAppended::Refused(_)) => {}
                        Err(NotAppended::Fault(fault)) => panic!("{fault}"),
                    }
                }
            });
        }
    });
    assert_eq!(tenant.stream("s").unwrap().version, wins.load(Ordering::Relaxed));
}

#[test]
fn replies_to_callbacks_come_without_anyone_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), small());
    let tenant = engine.tenant("default").unwrap();
    let (sender, answers) = std::sync::mpsc::channel();
    let woken = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&woken);
    let _guard = tenant.on_commit(move |position| seen.store(position, Ordering::SeqCst));
    for i in 0..500 {
        let sender = sender.clone();
        tenant.publish(vec![prepare(&tenant, &event(&i.to_string(), "s"))], move |answer| {
            sender.send(answer.unwrap().remove(0)).unwrap();
        });
    }
    for i in 0..500 {
        assert!(matches!(answers.recv().unwrap(), Published::Recorded(place) if place.position == i + 1));
    }
    engine.close().unwrap();
    assert_eq!(woken.load(Ordering::SeqCst), 500);
}
