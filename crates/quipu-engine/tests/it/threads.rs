//! The loop under many threads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};

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
    const WRITERS: usize = 8;
    const VERSIONS: u64 = 40;
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path(), small());
    let tenant = engine.tenant("default").unwrap();
    // All of them expect the same version at the same time.
    let together = Barrier::new(WRITERS);
    let answers: Vec<Vec<_>> = std::thread::scope(|scope| {
        let write = |writer| {
            let (tenant, together) = (&tenant, &together);
            let append = move |version| {
                let expected = StreamExpectation::Version(version);
                let conditions = vec![Condition::Stream { stream: "s".into(), expected }];
                let append = append_of(tenant, &[event(&format!("{writer}-{version}"), "s")]);
                together.wait();
                tenant.append_wait(Append { conditions, ..append })
            };
            scope.spawn(move || (0..VERSIONS).map(append).collect())
        };
        let writers: Vec<_> = (0..WRITERS).map(write).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    for version in 0..VERSIONS {
        let of_version = || answers.iter().map(|of_writer| &of_writer[version as usize]);
        assert_eq!(of_version().filter(|answer| answer.is_ok()).count(), 1, "winners that expected version {version}");
        let refused = |answer: &&Result<_, _>| matches!(answer, Err(NotAppended::Refused(_)));
        assert_eq!(of_version().filter(refused).count(), WRITERS - 1, "{:?}", of_version().collect::<Vec<_>>());
    }
    assert_eq!(tenant.stream("s").unwrap().version, VERSIONS);
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
