//! Where a subscription begins, and seeks to another place.

use super::*;

#[test]
fn a_seek_says_what_comes_again_before_it_does_it() {
    let mut world = World::new();
    world.subscribe("s", r#"{"start":"beginning","pattern":{"type":["t.a"]}}"#);
    for i in 0..10 {
        world.publish(if i % 2 == 0 { "t.a" } else { "t.b" }, &i.to_string(), "x");
    }
    let handed = world.pull("s");
    assert_eq!(positions(&handed), [1, 3, 5, 7, 9]);
    world.ack("s", &handed[..3]);
    let preview = world.tenant().preview_seek("s", &StartAt::Position(5)).unwrap().unwrap();
    assert_eq!((preview.again, preview.skipped, preview.forgotten), (3, 0, 0));
    world.tenant().seek_subscription("s", &StartAt::Position(5)).unwrap();
    world.crash();
    assert_eq!(world.positions("s"), [5, 7, 9]);
    let refused = world.tenant().seek_subscription("s", &StartAt::Position(99));
    assert!(matches!(refused, Err(NotDone::Refused(SubscriptionRefusal::Invalid(_)))));
}

#[test]
fn a_seek_back_beside_a_consumer_skips_nothing() {
    let folder = TempDir::new().unwrap();
    let engine = engine_with_time(folder.path(), Options::default());
    let tenant = engine.tenant("t").unwrap();
    tenant.create_subscription("s", definition_of(r#"{"start":"beginning","ordering":"none"}"#)).unwrap();
    let events: Vec<_> = (0..50).map(|i| event(&i.to_string(), "x")).collect();
    publish_all(&tenant, &events);
    let (seen, is_done) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while is_done.load(Ordering::Relaxed) == 0 {
                let handed = tenant.pull("s", 100).unwrap();
                handed.iter().for_each(|one| _ = seen.fetch_or(1 << one.id.position, Ordering::Relaxed));
                let answers = handed.iter().map(|one| (one.id, one.token, Answer::Ack)).collect();
                tenant.answer("s", answers).unwrap();
            }
        });
        for round in 0..200 {
            seen.store(0, Ordering::Relaxed);
            tenant.seek_subscription("s", &StartAt::Beginning).unwrap();
            let begin = Instant::now();
            // Bits 1 to 50.
            while seen.load(Ordering::Relaxed) & 1 == 0 && seen.load(Ordering::Relaxed) != (1 << 51) - 2 {
                assert!(begin.elapsed() < Duration::from_secs(20), "round {round}: {:b}", seen.load(Ordering::Relaxed));
                std::thread::yield_now();
            }
        }
        is_done.store(1, Ordering::Relaxed);
    });
}

#[test]
fn a_start_in_the_future_is_refused() {
    let world = World::new();
    world.publish("a", "1", "s");
    world.subscribe("now", "{}");
    let time = |ms: i64| StartAt::Time(Timestamp(world.clock.0.load(Ordering::Relaxed)).plus_ms(ms).to_string());
    let create =
        |name: &str, start| world.tenant().create_subscription(name, Subscription { start, ..Subscription::default() });
    let refused = |refused: NotDone| match refused {
        NotDone::Refused(SubscriptionRefusal::Invalid(invalid)) => invalid.pointer,
        other => panic!("{other}"),
    };
    assert_eq!(refused(create("s", time(1)).unwrap_err()), "/start/time");
    assert!(create("s", time(0)).unwrap());
    for (to, pointer) in [(time(1), "/to/time"), (StartAt::Position(9), "/to/position")] {
        assert_eq!(refused(world.tenant().preview_seek("s", &to).unwrap_err()), pointer);
        assert_eq!(refused(world.tenant().seek_subscription("s", &to).unwrap_err()), pointer);
    }
    // The same definition again is no mistake, and events may bear times that a clock which went back has not reached.
    let recorded = time(0);
    world.clock.0.fetch_sub(5_000_000, Ordering::Relaxed);
    assert!(!create("s", recorded.clone()).unwrap());
    assert_eq!(world.tenant().preview_seek("now", &recorded).unwrap().unwrap().again, 1);
}
