//! What cannot be processed is given up: its dead letter, its key, and what somebody decides about it.

use super::*;

#[test]
fn a_delivery_that_is_given_up_becomes_a_dead_letter_with_its_whole_history() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":2,"backoff":{"delaysms":[0]}}}"#);
    world.publish("t.a", "1", "x");
    for error in ["HTTP 500 after 17 ms", "HTTP 500 after 23 ms"] {
        let handed = world.pull("s");
        world.nack("s", &handed[0], error);
        world.wait_ms(1);
    }
    world.tenant().checkpoint_deliveries().unwrap();
    for restarted in [false, true] {
        if restarted {
            world.crash();
        }
        let (letter, line) = world.tenant().dead_letter(1).unwrap();
        assert_eq!((letter.position, letter.kind.as_str(), letter.subject.as_deref()), (1, "t.a", Some("x")));
        assert_eq!((letter.reason, letter.attempts), (Reason::AttemptsExhausted, 2));
        let errors: Vec<_> = letter.history.iter().map(|attempt| attempt.failure.error.as_str()).collect();
        assert_eq!(errors, ["HTTP 500 after 17 ms", "HTTP 500 after 23 ms"]);
        assert_eq!((line.fingerprint.as_str(), &line.state), ("HTTP # after # ms", &DeadLetterState::Open));
        assert!(world.pull("s").is_empty());
    }
    let groups = world.tenant().dead_letter_groups(&DeadLetterFilter::default());
    assert_eq!((groups.len(), groups[0].count, groups[0].oldest.0), (1, 1, 1));
}

#[test]
fn a_parked_key_waits_for_a_decision_and_pins_nobody() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1},"deadletter":{"key":"park"}}"#);
    for (id, key) in [("1", "bad"), ("2", "bad"), ("3", "good")] {
        world.publish("t.a", id, key);
    }
    let handed = world.pull("s");
    assert_eq!(positions(&handed), [1, 2, 3]);
    world.nack("s", &handed[0], "never");
    world.ack("s", &handed[2..]);
    world.tenant().checkpoint_deliveries().unwrap();
    world.crash();
    for i in 4..=200 {
        world.publish("t.a", &i.to_string(), "good");
        if i % 50 == 0 {
            let handed = world.pull("s");
            world.ack("s", &handed);
        }
    }
    while let handed = world.pull("s")
        && !handed.is_empty()
    {
        assert!(handed.iter().all(|handed| handed.recorded.event().subject() == Some("good")));
        world.ack("s", &handed);
    }
    assert_eq!(world.standstill("s"), Standstill::KeyParked { position: 1, dead_letter: 1 });
    world.tenant().redrive(1, None).unwrap();
    for position in [1, 2] {
        let handed = world.pull("s");
        assert_eq!(positions(&handed), [position], "a parked key goes on in its order");
        world.ack("s", &handed);
    }
    assert!(world.pull("s").is_empty());
}

#[test]
fn a_dead_letter_is_redriven_once_edited_or_discarded() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1}}"#);
    world.subscribe("other", r#"{"pattern":{"type":["none"]}}"#);
    for i in 1..=4 {
        world.publish("t.a", &i.to_string(), "x");
        let handed = world.pull("s");
        world.nack("s", &handed[0], "no");
    }
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.dead_letters(), [1, 2, 3, 4]);
    world.tenant().redrive(1, None).unwrap();
    let handed = world.pull("s");
    assert_eq!((handed[0].id.position, handed[0].id.dead_letter), (1, 1), "it says that it is redriven");
    world.nack("s", &handed[0], "still no");
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.tenant().dead_letter(5).unwrap().0.redriven_from, Some(1), "one that fails again says so");
    world.tenant().redrive(2, Some("other")).unwrap();
    assert_eq!(world.positions("other"), [2]);
    let edited = serde_json::value::RawValue::from_string(r#"{"fixed":true}"#.into()).unwrap();
    let copy = world.tenant().redrive_edited(3, edited).unwrap();
    world.crash();
    let handed = world.pull("s");
    assert_eq!(handed[0].edited.as_ref().map(|event| event.get()), Some(r#"{"fixed":true}"#));
    assert_eq!((handed[0].id.position, handed[0].id.dead_letter), (3, copy));
    world.ack("s", &handed);
    world.tenant().discard(4, "a test").unwrap();
    for decided in [1, 2, 3, 4] {
        let again = world.tenant().discard(decided, "again");
        assert!(matches!(again, Err(NotDone::Refused(SubscriptionRefusal::DeadLetterDecided { .. }))), "{decided}");
    }
    world.crash();
    assert_eq!(world.dead_letters(), [5]);
    assert!(matches!(world.tenant().dead_letter(4).unwrap().1.state, DeadLetterState::Discarded { .. }));
}

#[test]
fn dead_letters_are_kept_as_long_as_the_policy_says() {
    let mut world = World::new();
    world.subscribe("s", r#"{"retry":{"maxattempts":1},"deadletter":{"retentionms":60000}}"#);
    world.publish("t.a", "1", "x");
    let handed = world.pull("s");
    world.nack("s", &handed[0], "no");
    world.tenant().checkpoint_deliveries().unwrap();
    world.wait_ms(59_000);
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.dead_letters(), [1]);
    world.wait_ms(11_000);
    world.tenant().checkpoint_deliveries().unwrap();
    assert_eq!(world.dead_letters(), Vec::<u64>::new());
    world.crash();
    assert_eq!(world.dead_letters(), Vec::<u64>::new());
}
