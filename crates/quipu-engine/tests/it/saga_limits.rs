//! What a single event, or many times that come at once, lead to has limits: no commit is too large, and nobody waits for ever.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::saga::What;
use quipu_engine::{InstanceFilter, InstanceState, Tenant};

use crate::sagas::{Shop, saga};

/// Why a step of an instance was not done.
fn reasons(tenant: &Arc<Tenant>, number: u64) -> Vec<String> {
    let (timeline, _) = tenant.timeline(number).unwrap();
    let not_sent = timeline.into_iter().filter(|entry| entry.note.what == What::NotSent);
    not_sent.filter_map(|entry| entry.note.text.map(String::from)).collect()
}

#[test]
fn what_is_due_at_once_comes_in_commits_that_are_not_too_large() {
    let text = r#"{"saga": "big", "starts_on": "big.start", "steps": [
        {"rest": {"sleep": "40s"}}, {"say": {"send": "big.out", "compensate": "none"}}]}"#;
    let mut shop = Shop::in_memory(&[saga(text)]);
    let data = format!("\"{}\"", "x".repeat(300_000));
    (0..30).for_each(|one| shop.publish("big.start", &one.to_string(), &data));
    shop.clock.0.fetch_add(41_000_000, Ordering::Relaxed);
    let mut rounds = Vec::new();
    while shop.tenant.step_sagas() {
        shop.tenant.decide();
        shop.tenant.flush();
        rounds.push(shop.sent().len());
    }
    let most = rounds.windows(2).map(|pair| pair[1] - pair[0]).chain(rounds.first().copied()).max();
    assert_eq!((most, rounds.last().copied()), (Some(7), Some(30)), "2 MiB and what goes over that: {rounds:?}");
    assert!((1..=30).all(|number| shop.state(number) == InstanceState::Completed));
}

#[test]
fn an_event_is_told_to_all_whom_it_concerns_in_one_round() {
    let of = |name: &str| {
        let step = r#"{"say": {"send": "NAME.out", "data": "\"x\" * 900000", "compensate": "none"}}"#;
        let text = r#"{"saga": "NAME", "starts_on": "both.start", "again": "begin", "steps": [STEP]}"#;
        saga(&text.replace("STEP", step).replace("NAME", name))
    };
    let mut shop = Shop::in_memory(&["a", "b", "c", "d"].map(of));
    // The first two of them are as much as a round takes.
    shop.publish("both.start", "o", "{}");
    let mut sent = shop.sent();
    sent.sort_unstable();
    assert_eq!(sent, ["a.out", "b.out", "c.out", "d.out"]);
}

#[test]
fn a_loop_that_publishes_too_much_at_once_fails_and_what_it_did_is_undone() {
    let text = r#"{"saga": "much", "starts_on": "much.start", "steps": [
        {"all": {"loop": {"max": 1000, "steps": [
            {"say": {"send": "much.out", "data": "\"x\" * 900000", "compensate": {"send": "much.undo", "data": "{}"}}}]}}}],
        "fails_with": {"type": "much.failed", "data": "{}"}}"#;
    let mut shop = Shop::in_memory(&[saga(text)]);
    shop.publish("much.start", "o", "{}");
    assert_eq!(shop.state(1), InstanceState::Compensated);
    let sent = shop.sent();
    let count = |kind: &str| sent.iter().filter(|sent| *sent == kind).count();
    assert_eq!((count("much.out"), count("much.undo"), count("much.failed")), (37, 37, 1), "32 MiB");
    let reasons = reasons(&shop.tenant, 1);
    assert!(matches!(&reasons[..], [one] if one.contains("32 MiB")), "{reasons:?}");
    // Others of its kind are none the worse.
    shop.publish("much.start", "p", "{}");
    assert_eq!(shop.state(2), InstanceState::Compensated);
}

/// One of which each step begins 50 of another.
fn fans(name: &str, of: &str) -> String {
    let mut branches = String::new();
    for one in 0..50 {
        let comma = if one > 0 { "," } else { "" };
        write!(branches, r#"{comma} {{"b{one}": {{"saga": "{of}", "timeout": "1d"}}}}"#).unwrap();
    }
    format!(r#"{{"saga": "{name}", "starts_on": "{name}.start", "steps": [{{"all": {{"parallel": [{branches}]}}}}]}}"#)
}

#[test]
fn sagas_within_sagas_do_not_multiply_without_end() {
    let leaf = r#"{"saga": "leaf", "starts_on": "leaf.start", "steps": [{"rest": {"sleep": "1h"}}]}"#;
    let all = [leaf.to_owned(), fans("one", "leaf"), fans("two", "one"), fans("three", "two")];
    let mut shop = Shop::in_memory(&all.each_ref().map(|text| saga(text)));
    shop.publish("two.start", "o", "{}");
    let count = |shop: &Shop| shop.tenant.instances(&InstanceFilter::default(), None, 100_000).unwrap().instances.len();
    assert_eq!((count(&shop), shop.state(1)), (1 + 50 + 2_500, InstanceState::Running));
    shop.publish("three.start", "o", "{}");
    assert_eq!(count(&shop), 2_551 + 10_000);
    assert_eq!(shop.state(2_552), InstanceState::Compensated);
    let open = InstanceFilter { states: vec![InstanceState::Running], ..InstanceFilter::default() };
    assert_eq!(shop.tenant.instances(&open, None, 100_000).unwrap().instances.len(), 2_551, "nothing of it is left");
}

#[test]
fn states_of_sagas_within_sagas_do_not_grow_past_what_a_commit_has_room_for() {
    let leaf = r#"{"saga": "leaf", "starts_on": "leaf.start", "steps": [
        {"fill": {"send": "leaf.out", "data": "{}", "compensate": "none", "set": "\"x\" * 16000"}}, {"rest": {"sleep": "1h"}}]}"#;
    let all = [leaf.to_owned(), fans("one", "leaf"), fans("two", "one")];
    let mut shop = Shop::in_memory(&all.each_ref().map(|text| saga(text)));
    let of = |shop: &Shop, states: Vec<InstanceState>| {
        let filter = InstanceFilter { states, ..InstanceFilter::default() };
        shop.tenant.instances(&filter, None, 100_000).unwrap().instances
    };
    shop.publish("two.start", "o", "{}");
    assert_eq!(shop.tenant.sagas().unwrap()[0].stuck, None, "its commit was written");
    let open = of(&shop, vec![InstanceState::Running, InstanceState::Compensating, InstanceState::NeedsPerson]);
    assert_eq!(open.len(), 0, "what could not go on is undone, and so is what it was for");
    let sent = shop.sent().len();
    assert!((1_700..2_150).contains(&sent), "32 MiB of 16,000 bytes each: {sent}");
    // Others of its kind are none the worse.
    shop.publish("one.start", "p", "{}");
    assert_eq!(of(&shop, vec![InstanceState::Running]).len(), 51);
}

#[test]
fn a_loop_that_takes_too_much_jq_at_once_fails() {
    let text = r#"{"saga": "slow", "starts_on": "slow.start", "steps": [
        {"all": {"loop": {"max": 1000, "steps": [
            {"say": {"send": "slow.out", "data": "[range(200000)] | length", "compensate": "none"}}]}}}]}"#;
    let mut shop = Shop::in_memory(&[saga(text)]);
    shop.publish("slow.start", "o", "{}");
    assert!(shop.state(1).is_ended());
    let reasons = reasons(&shop.tenant, 1);
    assert!(reasons.iter().any(|reason| reason.contains("are used up")), "{reasons:?}");
    assert!(shop.sent().len() < 200);
}

#[test]
fn a_start_that_names_a_command_of_another_instance_begins_its_own() {
    let text = r#"{"saga": "renew", "starts_on": "sub.placed", "key": "data.sub", "steps": [
        {"remind": {"send": "sub.remind", "await": "sub.placed", "timeout": "1d", "compensate": "none"}}]}"#;
    let mut shop = Shop::new(&[saga(text)]);
    shop.publish("sub.placed", "a", r#"{"sub": "A"}"#);
    let remind = shop.event("sub.remind").id().to_owned();
    shop.publish_caused_by("sub.placed", &remind, r#"{"sub": "B"}"#);
    // It begins the one of its key, and answers the one that it names.
    assert_eq!([1, 2].map(|number| shop.state(number)), [InstanceState::Completed, InstanceState::Running]);
    assert_eq!(shop.tenant.instance(2).unwrap().key, "B");
}

#[test]
fn what_cannot_be_read_is_said() {
    let text =
        r#"{"saga": "say", "starts_on": "say.start", "steps": [{"say": {"send": "say.out", "compensate": "none"}}]}"#;
    let (mut shop, log) = Shop::on_blind_log(&[saga(text)]);
    let stuck = |shop: &Shop| shop.tenant.sagas().unwrap()[0].stuck.clone();
    log.is_blind.store(true, Ordering::Relaxed);
    log.is_scan_blind.store(true, Ordering::Relaxed);
    shop.publish("say.start", "o", "{}");
    assert!(stuck(&shop).is_some_and(|why| why.contains("a test")), "{:?}", stuck(&shop));
    log.is_blind.store(false, Ordering::Relaxed);
    log.is_scan_blind.store(false, Ordering::Relaxed);
    shop.wait(60);
    assert_eq!((stuck(&shop), shop.state(1)), (None, InstanceState::Completed));
}
