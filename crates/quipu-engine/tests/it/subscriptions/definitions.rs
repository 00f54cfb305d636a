//! Definitions and what is kept beside them: made, changed, paused, told to whoever follows them.

use super::*;

#[test]
fn definitions_survive_and_the_same_again_changes_nothing() {
    let mut world = World::new();
    world.subscribe("s", r#"{"maxinflight":7}"#);
    world.subscribe("gone", "{}");
    world.tenant().delete_subscription("gone").unwrap();
    world.tenant().pause_subscription("s", true).unwrap();
    world.publish("t.a", "1", "x");
    world.crash();
    assert!(world.pull("s").is_empty());
    assert_eq!(world.standstill("s"), Standstill::Paused { reason: None });
    world.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(world.positions("s"), [1]);
    let create = |definition: &str| world.tenant().create_subscription("s", definition_of(definition));
    assert!(!create(r#"{"maxinflight":7}"#).unwrap());
    assert!(matches!(create("{}"), Err(NotDone::Refused(SubscriptionRefusal::Exists { .. }))));
    assert!(matches!(world.tenant().pull("gone", 1), Err(NotDone::Refused(SubscriptionRefusal::NotFound { .. }))));
    let bad = world.tenant().create_subscription("b", definition_of(r#"{"pattern":{"type":"x"}}"#));
    assert!(matches!(bad, Err(NotDone::Refused(SubscriptionRefusal::InvalidPattern(_)))));
}

#[test]
fn a_pause_keeps_its_reason_until_it_ends_even_after_a_restart() {
    let mut world = World::new();
    world.subscribe("s", "{}");
    let reason = |world: &World| world.tenant().subscription("s").unwrap().definition.paused_reason.clone();
    world.tenant().pause_subscription_because("s", "it is gone", |_| true).unwrap();
    world.tenant().pause_subscription("s", true).unwrap();
    world.crash();
    assert_eq!(reason(&world).as_deref(), Some("it is gone"));
    assert_eq!(world.standstill("s"), Standstill::Paused { reason: Some("it is gone".into()) });
    assert_eq!(world.standstill("s").to_string(), "It is paused: it is gone.");
    world.tenant().pause_subscription("s", false).unwrap();
    assert_eq!(reason(&world), None);
    world.tenant().pause_subscription("s", true).unwrap();
    world.tenant().pause_subscription_because("s", "it is gone", |_| true).unwrap();
    assert_eq!(reason(&world), None, "somebody paused it before");
}

#[test]
fn a_change_keeps_the_reason_of_the_pause_and_brings_none() {
    let world = World::new();
    world.subscribe("s", "{}");
    let reason = || world.tenant().subscription("s").unwrap().definition.paused_reason.clone();
    let update = |text: &str| world.tenant().update_subscription("s", definition_of(text)).unwrap();
    let claimed = r#"{"paused":true,"pausedreason":"I say so"}"#;
    update(claimed);
    assert_eq!(reason(), None, "a reason is not for clients to say");
    update("{}");
    world.tenant().pause_subscription_because("s", "it is gone", |_| true).unwrap();
    for text in [r#"{"paused":true,"maxinflight":2}"#, claimed] {
        update(text);
        assert_eq!(reason().as_deref(), Some("it is gone"));
    }
    update("{}");
    update(r#"{"paused":true}"#);
    assert_eq!(reason(), None, "it ended with the pause");
}

#[test]
fn whoever_follows_definitions_is_told_of_each_change_and_secrets_are_not_kept() {
    let world = World::new();
    let (sender, told) = std::sync::mpsc::channel();
    let guard = world.tenant().on_definition(move |name| sender.send(name.to_owned()).unwrap());
    world.subscribe("a", r#"{"push":{"url":"https://a.example","secret":"whsec_hunter2"}}"#);
    assert!(world.tenant().subscription("a").unwrap().definition.push.as_ref().unwrap().secret.is_none());
    world.tenant().update_subscription("a", definition_of("{}")).unwrap();
    world.tenant().pause_subscription("a", true).unwrap();
    world.tenant().delete_subscription("a").unwrap();
    drop(guard);
    world.subscribe("b", "{}");
    assert_eq!(told.into_iter().collect::<Vec<_>>(), ["a", "a", "a", "a"]);
}

#[test]
fn private_files_outlive_a_restart_and_are_in_no_backup() {
    let mut world = World::new();
    world.tenant().write_private("keys", b"hunter2").unwrap();
    world.crash();
    assert_eq!(world.tenant().read_private("keys").unwrap().unwrap(), b"hunter2");
    world.publish("t.a", "1", "x");
    let copy = TempDir::new().unwrap();
    let (from, to) = (DiskStorage::new(world.folder.path()), DiskStorage::new(copy.path()));
    quipu_store::backup(&from, "t", &to, &mut |_, _| {}).unwrap();
    world.tenant = None;
    let restored = open_at(copy.path(), small(), Arc::clone(&world.clock)).unwrap();
    assert_eq!((restored.position(), restored.read_private("keys").unwrap()), (1, None));
}

#[test]
fn a_definition_that_changes_while_events_come_applies_to_what_comes_after() {
    let world = World::new();
    world.subscribe("s", r#"{"pattern":{"type":["t.old"]}}"#);
    assert!(world.pull("s").is_empty());
    world.publish("t.old", "1", "x");
    world.tenant().update_subscription("s", definition_of(r#"{"pattern":{"type":["t.new"]}}"#)).unwrap();
    world.publish("t.old", "2", "x");
    world.publish("t.new", "3", "y");
    assert_eq!(world.positions("s"), [3]);
    world.tenant().pause_subscription("s", true).unwrap();
    world.publish("t.new", "4", "z");
    assert!(world.pull("s").is_empty());
}
