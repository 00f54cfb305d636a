//! What a consumer is handed, in which order, how fast, and until when its answer is due.

use super::*;

#[test]
fn events_that_match_are_delivered_in_order_and_others_are_not() {
    let world = World::new();
    world.publish("order.placed", "1", "a");
    world.subscribe("all", FROM_BEGINNING);
    world.subscribe("orders", r#"{"start":"beginning","pattern":{"type":[{"prefix":"order."}]}}"#);
    world.subscribe("now", "{}");
    world.publish("payment.charged", "2", "b");
    world.publish("order.placed", "3", "c");
    assert_eq!(world.positions("all"), [1, 2, 3]);
    assert_eq!(world.positions("orders"), [1, 3]);
    assert_eq!(world.positions("now"), [2, 3]);
    assert!(world.pull("all").is_empty(), "what is in flight is not handed out twice");
}

#[test]
fn one_that_is_fed_by_the_router_and_one_that_reads_the_log_get_the_same() {
    let world = World::new();
    world.subscribe("fed", FROM_BEGINNING);
    world.subscribe("behind", r#"{"start":"beginning","maxinflight":10}"#);
    assert!(world.pull("fed").is_empty());
    // The queue of the one that is fed overflows once, and it reads the log until it is fed again.
    for batch in 0..20 {
        let events: Vec<_> = (0..100).map(|i| event(&format!("{batch}-{i}"), &format!("s{}", i % 50))).collect();
        publish_all(world.tenant(), &events);
        if batch >= 15 {
            world.ack("fed", &world.pull("fed"));
        }
    }
    for name in ["fed", "behind"] {
        while let handed = world.pull(name)
            && !handed.is_empty()
        {
            world.ack(name, &handed);
        }
        let info = world.tenant().subscription(name).unwrap();
        assert_eq!((info.counts.acknowledged, info.scan, info.summary.ready), (2_000, 2_000, 0), "{name}");
    }
}

#[test]
fn later_events_of_a_key_wait_for_a_retry_and_other_keys_go_on() {
    let world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":3,"backoff":{"delaysms":[1000]}}}"#);
    world.publish("t.a", "1", "x");
    let handed = world.pull("s");
    world.publish("t.a", "2", "x");
    world.publish("t.a", "3", "y");
    world.nack("s", &handed[0], "not now");
    let others = world.pull("s");
    assert_eq!(positions(&others), [3]);
    world.ack("s", &others);
    assert!(
        matches!(world.standstill("s"), Standstill::WaitingForRetry { position: 1, .. }),
        "{:?}",
        world.standstill("s")
    );
    world.wait_ms(999);
    assert!(world.pull("s").is_empty());
    world.wait_ms(1);
    let again = world.pull("s");
    assert_eq!((positions(&again), again[0].attempt), (vec![1], 2));
    let refused = world.answer("s", &handed[0], Answer::Ack).unwrap_err();
    assert!(matches!(refused, SubscriptionRefusal::NotInFlight { position: 1, why: NotInFlight::Late }));
    world.ack("s", &again);
    assert_eq!(world.positions("s"), [2]);
}

#[test]
fn what_was_acknowledged_and_written_down_is_not_delivered_again_after_a_crash() {
    let mut world = World::new();
    world.subscribe("s", FROM_BEGINNING);
    for i in 1..=10 {
        world.publish("t.a", &i.to_string(), &format!("k{i}"));
    }
    let handed = world.pull("s");
    world.ack("s", &handed[..4]);
    world.tenant().checkpoint_deliveries().unwrap();
    world.ack("s", &handed[4..6]);
    world.crash();
    let again = world.pull("s");
    assert_eq!(positions(&again), [5, 6, 7, 8, 9, 10], "only what came after the last checkpoint is repeated");
    assert_eq!(again[2].attempt, 2, "an attempt that was written down counts");
    let late = world.answer("s", &handed[6], Answer::Ack).unwrap_err();
    assert!(matches!(late, SubscriptionRefusal::NotInFlight { why: NotInFlight::Late, .. }));
}

#[test]
fn an_event_past_its_time_is_not_delivered_and_is_counted() {
    let world = World::new();
    world.subscribe("s", "{}");
    let event = Event::builder("1", "/test", "t.a").attribute("expirytime", Value::Text("1970-01-01T00:00:10Z".into()));
    publish(world.tenant(), &event.build().unwrap());
    world.publish("t.a", "2", "x");
    world.wait_ms(10_000);
    assert_eq!(world.positions("s"), [2]);
    let info = world.tenant().subscription("s").unwrap();
    assert_eq!((info.counts.expired, info.counts.handed_out), (1, 1));
}

#[test]
fn a_rate_limit_and_the_most_in_flight_hold() {
    let world = World::new();
    world.subscribe("slow", r#"{"start":"beginning","ratelimit":{"persecond":10,"burst":2}}"#);
    world.subscribe("few", r#"{"start":"beginning","maxinflight":3,"ordering":"none"}"#);
    for i in 0..10 {
        world.publish("t.a", &i.to_string(), &i.to_string());
    }
    assert_eq!(world.positions("slow").len(), 2);
    assert!(matches!(world.standstill("slow"), Standstill::RateLimited { .. }));
    world.wait_ms(100);
    assert_eq!(world.positions("slow").len(), 1);
    let handed = world.pull("few");
    assert_eq!(handed.len(), 3);
    assert!(matches!(world.standstill("few"), Standstill::WaitingForAcks { count: 3, .. }));
    world.answer("few", &handed[1], Answer::Ack).unwrap();
    assert_eq!(world.positions("few"), [4]);
}

#[test]
fn a_deadline_that_is_over_is_a_failed_attempt_and_an_extension_moves_it() {
    let world = World::new();
    world.subscribe("s", r#"{"ackdeadlinems":1000,"retry":{"maxattempts":2,"backoff":{"delaysms":[0]}}}"#);
    world.publish("t.a", "1", "x");
    let first = world.pull("s");
    world.wait_ms(900);
    world.answer("s", &first[0], Answer::Extend { ms: 1_000 }).unwrap();
    world.wait_ms(900);
    assert!(world.pull("s").is_empty());
    world.wait_ms(200);
    world.wait_ms(1);
    let second = world.pull("s");
    assert_eq!(second[0].attempt, 2);
    world.wait_ms(1_001);
    world.tenant().checkpoint_deliveries().unwrap();
    let (letter, _) = world.tenant().dead_letter(1).unwrap();
    assert!(letter.history.iter().all(|attempt| attempt.failure.error.starts_with("no acknowledgement within")));
}

#[test]
fn what_is_given_back_without_a_try_is_no_attempt_and_goes_out_again_in_order() {
    let world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1}}"#);
    for id in ["1", "2", "3"] {
        world.publish("t.a", id, "x");
    }
    for _ in 0..5 {
        let handed = world.pull("s");
        assert_eq!(positions(&handed), [1, 2, 3]);
        assert!(handed.iter().all(|handed| handed.attempt == 1));
        world.answer("s", &handed[0], Answer::Release).unwrap();
        let late = world.answer("s", &handed[1], Answer::Ack).unwrap_err();
        assert!(matches!(late, SubscriptionRefusal::NotInFlight { position: 2, why: NotInFlight::Late }));
    }
    // One from the middle of a run goes back alone with what is behind it.
    let handed = world.pull("s");
    world.answer("s", &handed[1], Answer::Release).unwrap();
    world.answer("s", &handed[0], Answer::Ack).unwrap();
    assert_eq!(world.positions("s"), [2, 3]);
    assert!(world.dead_letters().is_empty());
}

#[test]
fn whoever_waits_for_a_rate_limit_is_woken_when_something_may_go_and_not_before() {
    let world = World::new();
    world.subscribe("s", r#"{"ordering":"none","ratelimit":{"persecond":1,"burst":1}}"#);
    (0..3).for_each(|i| _ = world.publish("t", &i.to_string(), "a"));
    assert_eq!(world.pull("s").len(), 1);
    let woken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&woken);
    let _guard = world.tenant().on_available("s", move || _ = count.fetch_add(1, Ordering::Relaxed)).unwrap();
    (0..9).for_each(|_| world.wait_ms(100));
    assert_eq!(woken.load(Ordering::Relaxed), 0);
    world.wait_ms(100);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    assert_eq!(world.pull("s").len(), 1);
}

#[test]
fn a_consumer_that_asks_for_eternity_gets_the_longest_there_is() {
    let world = World::new();
    world.subscribe("s", "{}");
    world.publish("a", "1", "x");
    let handed = world.pull("s").remove(0);
    world.answer("s", &handed, Answer::Extend { ms: u64::MAX }).unwrap();
    world.wait_ms(60 * 60 * 1_000 - 1);
    let nack = Answer::Nack { failure: Failure::new("later"), delay_ms: Some(u64::MAX) };
    world.answer("s", &handed, nack).unwrap();
    world.wait_ms(7 * 24 * 60 * 60 * 1_000 - 1);
    assert_eq!(world.positions("s"), [0u64; 0]);
    world.wait_ms(1);
    assert_eq!(world.positions("s"), [1]);
}

#[test]
fn threads_wake_whoever_waits_let_retries_become_due_and_write_down_what_was_done() {
    let folder = TempDir::new().unwrap();
    let options = || Options { threads: 2, ..Options::default() };
    let counts = |path: &Path, ack: bool| {
        let engine = engine_with_time(path, options());
        let tenant = engine.tenant("t").unwrap();
        let definition = r#"{"start":"beginning","retry":{"maxattempts":3,"backoff":{"delaysms":[20]}}}"#;
        tenant.create_subscription("s", definition_of(definition)).unwrap();
        let woken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&woken);
        let _guard = tenant.on_available("s", move || _ = counter.fetch_add(1, Ordering::Relaxed)).unwrap();
        let next = || {
            let begin = Instant::now();
            loop {
                let before = woken.load(Ordering::Relaxed);
                let handed = tenant.pull("s", 10).unwrap();
                if !handed.is_empty() {
                    return handed;
                }
                while woken.load(Ordering::Relaxed) == before {
                    assert!(begin.elapsed() < Duration::from_secs(20), "nobody woke the consumer");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        };
        if ack {
            assert!(tenant.pull("s", 10).unwrap().is_empty());
            publish(&tenant, &event("1", "x"));
            let handed = next();
            let nack = Answer::Nack { failure: Failure::new("once more"), delay_ms: None };
            tenant.answer("s", vec![(handed[0].id, handed[0].token, nack)]).unwrap().remove(0).unwrap();
            let again = next();
            assert_eq!(again[0].attempt, 2);
            tenant.answer("s", vec![(again[0].id, again[0].token, Answer::Ack)]).unwrap().remove(0).unwrap();
        }
        let left = tenant.pull("s", 10).unwrap().len();
        engine.close().unwrap();
        left
    };
    assert_eq!(counts(folder.path(), true), 0);
    assert_eq!(counts(folder.path(), false), 0, "closing writes down what was acknowledged");
}
