//! Definitions that the log has and that are not accepted any more: written here as records, since nobody can make them.

use std::sync::Arc;

use quipu_domain::{Push, StartAt, Subscription, Transform};
use quipu_store::RecordKind;
use tempfile::TempDir;

use super::*;
use crate::options::Options;
use crate::still::{self, publish};
use crate::subscriptions::Standstill;

fn open(folder: &TempDir) -> Arc<Tenant> {
    still::tenant(folder.path(), Options::default())
}

/// With members that anybody would miss.
fn definition(member: &str) -> Subscription {
    let text = format!(
        r#"{{"start":"beginning","pattern":{{"type":["t.b"]}},"transform":{{"path":"$.data"}},
            "push":{{"url":"https://a.example/in"}},"retry":{{"maxattempts":3}}{member}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn store(tenant: &Arc<Tenant>, definition: Subscription) {
    let defined = Defined { name: "s".into(), definition: Some(definition_text(&definition)), scan: Some(0) };
    tenant.write_records_wait(vec![defined.record()]).unwrap();
}

fn resumed(tenant: &Arc<Tenant>) -> Option<SubscriptionRefusal> {
    match tenant.pause_subscription("s", false) {
        Ok(()) => None,
        Err(NotDone::Refused(refusal)) => Some(refusal),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_stored_definition_that_is_not_accepted_any_more_is_kept_paused_and_says_why() {
    let folder = TempDir::new().unwrap();
    store(&open(&folder), definition(r#","maxinflight":10001"#));
    let tenant = open(&folder);
    publish(&tenant, "t.a", "1").unwrap();
    publish(&tenant, "t.b", "2").unwrap();
    let shown = || tenant.subscription("s").unwrap().definition;
    let reason = "its definition is not accepted any more: /maxinflight: expected 1 to 10000, found 10001";
    assert_eq!((shown().paused, shown().paused_reason.as_deref()), (true, Some(reason)));
    assert_eq!((shown().max_in_flight, shown().retry.max_attempts), (10_001, 3));
    assert!(shown().pattern.is_some() && shown().push.is_some() && shown().transform.is_some());
    let explained = tenant.explain_subscription("s").unwrap().standstill;
    let why = "/maxinflight: expected 1 to 10000, found 10001".to_owned();
    assert_eq!(explained, Standstill::DefinitionRefused { reason: why });
    assert!(
        matches!(resumed(&tenant), Some(SubscriptionRefusal::Invalid(invalid)) if invalid.pointer == "/maxinflight")
    );
    assert!(tenant.pull("s", 10).unwrap().is_empty());
    // Neither a pause nor a move makes another definition of it.
    tenant.pause_subscription("s", true).unwrap();
    tenant.pause_subscription_because("s", "it is gone", |_| true).unwrap();
    assert_eq!(tenant.preview_seek("s", &StartAt::Beginning).unwrap(), None, "which events match is not known");
    tenant.seek_subscription("s", &StartAt::Beginning).unwrap();
    tenant.checkpoint_deliveries().unwrap();
    drop(tenant);
    let tenant = open(&folder);
    assert_eq!(tenant.subscription("s").unwrap().definition.paused_reason.as_deref(), Some(reason));
    assert!(resumed(&tenant).is_some());
    // As a client changes it that was shown the definition: the reason ends with what it was for.
    let shown = tenant.subscription("s").unwrap().definition.as_ref().clone();
    tenant.update_subscription("s", Subscription { max_in_flight: 10, ..shown }).unwrap();
    assert_eq!(tenant.subscription("s").unwrap().definition.paused_reason, None);
    assert!(resumed(&tenant).is_none());
    let handed = tenant.pull("s", 10).unwrap();
    assert_eq!(handed.iter().map(|handed| handed.id.position).collect::<Vec<_>>(), [2]);
}

#[test]
fn whichever_member_is_not_accepted_is_named_where_it_says_why() {
    let push: Push = serde_json::from_str(r#"{"url":"https://a.example","timeoutms":60001}"#).unwrap();
    let pattern = serde_json::from_str(r#"{"type":[{"unheard":1}]}"#).unwrap();
    let transform = Some(Transform::Jq("not jq".into()));
    let cases = [
        (Subscription { key: "customerId".into(), ..definition("") }, "/key: "),
        (Subscription { push: Some(push), ..definition("") }, "/push/timeoutms: "),
        (Subscription { pattern: Some(pattern), ..definition("") }, "/pattern: "),
        (Subscription { transform, ..definition("") }, "/transform"),
    ];
    for (refused, place) in cases {
        let folder = TempDir::new().unwrap();
        store(&open(&folder), refused);
        let tenant = open(&folder);
        let Standstill::DefinitionRefused { reason } = tenant.explain_subscription("s").unwrap().standstill else {
            panic!("{place} is accepted")
        };
        assert!(reason.starts_with(place), "{reason}");
        let shown = tenant.subscription("s").unwrap().definition;
        assert!(shown.paused_reason.as_ref().unwrap().contains(&reason));
        assert!(resumed(&tenant).is_some());
    }
}

/// As a version that knows more, or less, may have stored it.
fn store_text(tenant: &Arc<Tenant>, definition: &str) {
    let text = format!(r#"{{"name":"s","definition":{definition},"scan":0}}"#);
    tenant.write_records_wait(vec![Record::new(RecordKind::Subscription, text.into_bytes())]).unwrap();
}

#[test]
fn a_stored_definition_that_is_not_understood_is_kept_paused_says_why_and_disturbs_no_other() {
    let folder = TempDir::new().unwrap();
    let stored = r#"{"start":"beginning","pattern":{"type":["t.b"]},"maxinflight":"many","ordering":"none","newer":1}"#;
    {
        let tenant = open(&folder);
        assert!(tenant.create_subscription("other", definition("")).unwrap());
        store_text(&tenant, stored);
    }
    let tenant = open(&folder);
    publish(&tenant, "t.b", "1").unwrap();
    assert_eq!(tenant.pull("other", 10).unwrap().len(), 1);
    let names: Vec<_> = tenant.subscriptions().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["other", "s"]);
    let shown = || tenant.subscription("s").unwrap().definition;
    assert!(shown().paused && shown().pattern.is_some() && shown().ordering == quipu_domain::Ordering::None);
    let Standstill::DefinitionRefused { reason } = tenant.explain_subscription("s").unwrap().standstill else {
        panic!("it is understood")
    };
    assert!(reason.starts_with("/maxinflight: ") && reason.contains("\"many\""), "{reason}");
    assert!(
        matches!(resumed(&tenant), Some(SubscriptionRefusal::Invalid(invalid)) if invalid.pointer == "/maxinflight")
    );
    assert!(tenant.pull("s", 10).unwrap().is_empty());
    // What a newer version wrote is there for it still, word for word, whatever is done here.
    tenant.seek_subscription("s", &StartAt::Position(1)).unwrap();
    tenant.pause_subscription_because("s", "it is gone", |_| true).unwrap();
    tenant.checkpoint_deliveries().unwrap();
    let texts = |tenant: &Tenant| {
        let again = crate::subscriptions::FoldedSubscriptions::decode(&tenant.decider.lock().subscriptions.encode());
        again.unwrap().subscriptions.into_values().map(|one| one.definition.get().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts(&tenant)[1], stored);
    drop(tenant);
    let tenant = open(&folder);
    assert_eq!(texts(&tenant)[1], stored);
    let accepted = Subscription { max_in_flight: 10, ..definition("") };
    tenant.update_subscription("s", accepted).unwrap();
    assert_eq!(tenant.pull("s", 10).unwrap().len(), 1);
    store_text(&tenant, "[7]");
    drop(tenant);
    let tenant = open(&folder);
    assert!(tenant.subscription("s").unwrap().definition.paused_reason.is_some());
    tenant.delete_subscription("s").unwrap();
    drop(tenant);
    assert_eq!(open(&folder).subscriptions().len(), 1);
}

#[test]
fn whatever_is_not_understood_of_a_definition_is_named() {
    let cases = [
        (r#"{"ordering":"by-colour"}"#, "/ordering: "),
        (r#"{"newer":1}"#, "/newer: "),
        (r#"{"retry":{"maxattempts":3,"newer":1}}"#, "/retry: "),
        (r#"{"push":7}"#, "/push: "),
        (r#""none""#, "invalid type: "),
    ];
    for (stored, place) in cases {
        let folder = TempDir::new().unwrap();
        store_text(&open(&folder), stored);
        let tenant = open(&folder);
        let Standstill::DefinitionRefused { reason } = tenant.explain_subscription("s").unwrap().standstill else {
            panic!("{stored} is understood")
        };
        assert!(reason.starts_with(place), "{reason}");
    }
}

#[test]
fn a_key_that_is_not_understood_is_no_other_while_deliveries_are_unfinished() {
    let folder = TempDir::new().unwrap();
    {
        let tenant = open(&folder);
        assert!(tenant.create_subscription("s", definition("")).unwrap());
        publish(&tenant, "t.b", "1").unwrap();
        assert_eq!(tenant.pull("s", 1).unwrap().len(), 1);
        tenant.checkpoint_deliveries().unwrap();
        let text = r#"{"name":"s","definition":{"key":["a","b"]}}"#;
        tenant.write_records_wait(vec![Record::new(RecordKind::Subscription, text.as_bytes().to_vec())]).unwrap();
    }
    let tenant = open(&folder);
    let refused = tenant.update_subscription("s", definition("")).unwrap_err();
    assert!(matches!(refused, NotDone::Refused(SubscriptionRefusal::Invalid(invalid)) if invalid.pointer == "/key"));
    tenant.seek_subscription("s", &StartAt::Beginning).unwrap();
    tenant.update_subscription("s", definition("")).unwrap();
    assert_eq!(tenant.pull("s", 1).unwrap().len(), 1);
}

#[test]
fn a_pause_that_is_about_another_definition_is_none_and_the_definition_stays_while_that_is_asked() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let of = |url: &str| {
        let push = serde_json::from_str(&format!(r#"{{"url":"{url}"}}"#)).unwrap();
        Subscription { push: Some(push), ..definition("") }
    };
    assert!(tenant.create_subscription("s", of("https://a.example/in")).unwrap());
    let pause = |url: &'static str| {
        let is_about = |definition: &Subscription| {
            assert!(tenant.subscriptions.changing.is_locked(), "nobody changes it between the look and the pause");
            definition.push.as_ref().is_some_and(|push| push.url == url)
        };
        tenant.pause_subscription_because("s", "it is gone", is_about).unwrap()
    };
    let is_paused = || tenant.subscription("s").unwrap().definition.paused;
    // The one that said that it is gone is not called any more.
    tenant.update_subscription("s", of("https://b.example/in")).unwrap();
    assert!(!pause("https://a.example/in") && !is_paused());
    assert!(pause("https://b.example/in") && is_paused());
}

#[test]
fn a_decision_beside_a_deletion_is_refused_and_can_be_made_again_or_is_written_all_the_same() {
    let folder = TempDir::new().unwrap();
    let tenant = open(&folder);
    let definition: Subscription = serde_json::from_str(r#"{"retry":{"maxattempts":1}}"#).unwrap();
    assert!(tenant.create_subscription("s", definition).unwrap());
    ["1", "2"].into_iter().for_each(|id| publish(&tenant, "t.b", id).unwrap());
    for _ in 0..2 {
        let handed = tenant.pull("s", 1).unwrap();
        let failure = quipu_domain::delivery::Failure::new("no");
        let nack = crate::Answer::Nack { failure, delay_ms: None };
        tenant.answer("s", vec![(handed[0].id, handed[0].token, nack)]).unwrap();
        tenant.checkpoint_deliveries().unwrap();
    }
    // As somebody finds it who looked it up before it was deleted.
    let running = tenant.running("s").unwrap();
    running.inner.lock().is_deleted = true;
    let refused = tenant.redrive(1, None).unwrap_err();
    assert!(matches!(refused, NotDone::Refused(SubscriptionRefusal::NotFound { .. })), "{refused:?}");
    tenant.discard(2, "not wanted").unwrap();
    let is_open = |id| tenant.dead_letter_line(id).unwrap().state == crate::subscriptions::DeadLetterState::Open;
    assert!(is_open(1) && !is_open(2));
    running.inner.lock().is_deleted = false;
    tenant.redrive(1, None).unwrap();
    assert!(!is_open(1));
}
