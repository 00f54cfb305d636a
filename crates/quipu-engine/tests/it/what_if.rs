//! What a changed saga would have made of history: nothing else if nothing was changed, and nothing that nobody can know.

use std::sync::Arc;
use std::sync::mpsc::channel;

use proptest::prelude::*;
use quipu_domain::saga::{Answer, Saga};
use quipu_domain::{Direction, Event, Filter, StartAt};
use quipu_engine::{
    CallAnswer, Calls, CallsGuard, InstanceState, Intervention, NotDone, Published, SagaCall, SagaRefusal, WhatIf,
    WhatIfDifference, WhatIfVerdict,
};

use crate::sagas::{ORDER, Shop, saga};
use crate::support::*;

fn parsed(text: &str) -> Saga {
    serde_json::from_str(text).unwrap()
}

fn what_if(shop: &Shop, text: &str) -> WhatIf {
    over(shop, text, StartAt::Beginning, StartAt::Now)
}

fn over(shop: &Shop, text: &str, from: StartAt, until: StartAt) -> WhatIf {
    shop.tenant.what_if(parsed(text), &from, &until, &|| true).unwrap().unwrap()
}

/// Orders that were fulfilled, declined, given up, answered late, and one that goes on.
fn history() -> Shop {
    let mut shop = Shop::new(&[saga(ORDER)]);
    for order in ["fulfilled", "declined", "unshipped", "late", "open"] {
        shop.publish("order.placed", order, "{}");
        shop.publish("inventory.reserved", order, "{}");
    }
    for order in ["fulfilled", "unshipped"] {
        shop.publish("payment.charged", order, "{}");
    }
    shop.publish("shipment.created", "fulfilled", "{}");
    shop.publish("payment.declined", "declined", "{}");
    shop.publish("payment.charged", "open", "{}");
    shop.wait(180);
    shop.publish("payment.charged", "late", "{}");
    shop.publish("shipment.created", "late", "{}");
    shop.wait(86_400 - 180);
    for order in 1..=5 {
        assert!(shop.state(order).is_ended(), "{order}");
    }
    shop.publish("order.placed", "new", "{}");
    shop
}

fn listed<'a>(found: &'a WhatIf, key: &str) -> &'a WhatIfDifference {
    found.differences.iter().find(|one| one.key == key).unwrap_or_else(|| panic!("expected {key}, found {found:?}"))
}

#[test]
fn what_is_not_changed_changes_nothing() {
    let shop = history();
    let before = shop.tenant.position();
    let found = what_if(&shop, ORDER);
    assert_eq!((found.same, found.open, found.differences.as_slice()), (5, 1, [].as_slice()), "{found:?}");
    assert!(found.is_same());
    assert_eq!((found.from, found.until, shop.tenant.position()), (1, before, before), "nothing is published");
}

#[test]
fn a_longer_timeout_turns_a_late_success_into_a_completed_order() {
    let shop = history();
    let found = what_if(&shop, &ORDER.replace("\"2m\"", "\"10m\""));
    let late = listed(&found, "late");
    assert_eq!(late.verdict, WhatIfVerdict::Unknown, "the shipment was never asked for: {late:?}");
    assert_eq!(late.step.as_deref(), Some("ship_order"));
    // Where the answer is all that was missing, it is known.
    let last = r#"{"saga": "order_fulfilment", "starts_on": "order.placed", "steps": [
        {"reserve_inventory": {"send": "inventory.reserve", "await": "inventory.reserved", "timeout": "30s", "compensate": "inventory.release"}},
        {"process_payment": {"send": "payment.charge", "await": "payment.charged", "fail_on": "payment.declined",
            "timeout": "2m", "compensate": "payment.refund"}}], "fails_with": "order.failed"}"#;
    let mut shop = Shop::new(&[saga(last)]);
    shop.publish("order.placed", "late", "{}");
    shop.publish("inventory.reserved", "late", "{}");
    shop.wait(180);
    shop.publish("payment.charged", "late", "{}");
    assert!(what_if(&shop, last).is_same());
    let found = what_if(&shop, &last.replace("\"2m\"", "\"10m\""));
    let late = listed(&found, "late");
    assert_eq!((found.otherwise, late.verdict, late.number), (1, WhatIfVerdict::Otherwise, Some(1)));
    assert_eq!((late.was, late.would_be), (Some(InstanceState::Compensated), Some(InstanceState::Completed)));
    assert_eq!(late.step.as_deref(), Some("process_payment"));
    assert!(late.why.contains("would not fail at process_payment") && late.why.contains("in time"), "{late:?}");
    // And a shorter one gives up what was only slow.
    let found = what_if(&shop, &last.replace("\"2m\"", "\"1m\""));
    assert!(found.is_same(), "it was given up anyhow: {found:?}");
}

#[test]
fn a_shorter_timeout_gives_up_what_was_answered_and_tries_what_nobody_was_sent() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "slow", "{}");
    shop.wait(20);
    shop.publish("inventory.reserved", "slow", "{}");
    shop.wait(60);
    shop.publish("payment.charged", "slow", "{}");
    shop.publish("shipment.created", "slow", "{}");
    assert_eq!(shop.state(1), InstanceState::Completed);
    let found = what_if(&shop, &ORDER.replace("\"2m\"", "\"59s\""));
    let slow = listed(&found, "slow");
    assert_eq!((slow.verdict, slow.would_be), (WhatIfVerdict::Otherwise, Some(InstanceState::Compensated)));
    assert_eq!(slow.step.as_deref(), Some("process_payment"));
    let found = what_if(&shop, &ORDER.replace("\"30s\"", "\"5s\""));
    let slow = listed(&found, "slow");
    assert_eq!((slow.verdict, slow.step.as_deref()), (WhatIfVerdict::Unknown, Some("reserve_inventory")), "{slow:?}");
    assert!(slow.why.contains("nobody was ever asked"), "{slow:?}");
}

#[test]
fn what_a_new_step_would_come_to_is_not_known() {
    let shop = history();
    let step = r#"{"check_fraud": {"send": "fraud.check", "await": "fraud.checked", "timeout": "1s", "compensate": "none"}},
        {"process_payment""#;
    let found = what_if(&shop, &ORDER.replace("{\"process_payment\"", step));
    assert_eq!((found.unknown, found.same, found.otherwise), (5, 0, 0), "{found:?}");
    let first = listed(&found, "fulfilled");
    assert_eq!((first.step.as_deref(), first.would_be), (Some("check_fraud"), None));
    assert_eq!(found.open, 1, "one has not come so far");
    // One that needs no answer is known, and shows.
    let mail = r#"{"mail": {"send": "mail.send", "compensate": "none"}}, {"process_payment""#;
    let found = what_if(&shop, &ORDER.replace("{\"process_payment\"", mail));
    let first = listed(&found, "fulfilled");
    assert_eq!((found.otherwise, first.step.as_deref()), (5, Some("mail")), "{found:?}");
    assert!(first.why.contains("mail would be done"), "{first:?}");
}

#[test]
fn a_compensation_that_is_removed_shows() {
    let shop = history();
    let found = what_if(&shop, &ORDER.replace(", \"compensate\": \"inventory.release\"", ""));
    assert_eq!((found.same, found.otherwise), (1, 4), "{found:?}");
    let declined = listed(&found, "declined");
    assert_eq!((declined.was, declined.would_be), (Some(InstanceState::Compensated), Some(InstanceState::Compensated)));
    assert_eq!(declined.why, "reserve_inventory was undone, which it would not be");
}

#[test]
fn what_begins_with_another_event_is_only_there_or_only_here() {
    let shop = history();
    let found = what_if(&shop, &ORDER.replace("\"starts_on\": \"order.placed\"", "\"starts_on\": \"order.paid\""));
    assert_eq!((found.only_old, found.same, found.only_new), (6, 0, 0), "{found:?}");
    let found =
        what_if(&shop, r#"{"saga": "another", "starts_on": "order.placed", "steps": [{"rest": {"sleep": "1s"}}]}"#);
    assert_eq!((found.only_new, found.only_old), (6, 0), "{found:?}");
    assert_eq!(listed(&found, "declined").would_be, Some(InstanceState::Completed));
    // What began before the range is left out.
    let found = over(&shop, ORDER, StartAt::Position(2), StartAt::Now);
    assert_eq!((found.before, found.only_old, found.only_new), (0, 0, 0), "{found:?}");
    assert_eq!(found.same, 4);
}

/// Rests a second whenever an order is placed.
const RESTS: &str =
    r#"{"saga": "rests", "starts_on": "order.placed", "again": "begin", "steps": [{"rest": {"sleep": "1s"}}]}"#;

/// The same, and begins with another event.
fn rests_on(starts: &str) -> String {
    RESTS.replace("\"order.placed\"", starts)
}

#[test]
fn an_instance_is_held_against_the_one_that_began_with_the_same_event_or_in_its_place() {
    let mut shop = Shop::new(&[saga(RESTS)]);
    shop.publish("order.placed", "o", "{}");
    shop.wait(2);
    shop.publish("order.imported", "o", "{}");
    shop.wait(2);
    shop.publish("order.placed", "o", "{}");
    shop.wait(2);
    assert_eq!([1, 2].map(|number| shop.state(number)), [InstanceState::Completed; 2]);
    // The import begins one more; both others begin with the same event as they did.
    let found = what_if(&shop, &rests_on(r#"["order.placed", "order.imported"]"#));
    assert_eq!((found.same, found.only_new, found.only_old), (2, 1, 0), "{found:?}");
    let new = listed(&found, "o");
    assert_eq!((new.verdict, new.number), (WhatIfVerdict::OnlyNew, None));
    assert_eq!(new.why, "no instance of this key began with this event");
    // One that begins earlier is in the place of the next, and not of one that was there before.
    let found = what_if(&shop, &rests_on("\"order.imported\""));
    assert_eq!((found.same, found.only_new, found.only_old), (1, 0, 1), "{found:?}");
    assert_eq!(listed(&found, "o").number, Some(1));
    // Nor of one that began behind the range.
    let until = StartAt::Position(2);
    let found = over(&shop, &rests_on("\"order.imported\""), StartAt::Beginning, until);
    assert_eq!((found.only_new, found.only_old), (1, 1), "{found:?}");
}

/// Charges whenever an order is placed.
const CHARGES: &str = r#"{"saga": "charges", "starts_on": "order.placed", "again": "begin", "steps": [
    {"pay": {"send": "payment.charge", "await": "payment.charged", "timeout": "1h", "compensate": "none"}}]}"#;

#[test]
fn whether_one_begins_while_another_waits_for_what_nobody_was_sent_is_not_known() {
    let mut shop = Shop::new(&[saga(CHARGES)]);
    for _ in 0..3 {
        shop.publish("order.placed", "o", "{}");
        shop.publish("payment.charged", "o", "{}");
    }
    assert!(what_if(&shop, CHARGES).is_same());
    let check = r#"{"check": {"send": "fraud.check", "await": "fraud.checked", "timeout": "1h", "compensate": "none"}}, {"pay""#;
    let found = what_if(&shop, &CHARGES.replace("{\"pay\"", check));
    assert_eq!((found.unknown, found.only_old, found.only_new), (3, 0, 0), "{found:?}");
    let numbers: Vec<_> = found.differences.iter().map(|one| (one.number, one.was, one.would_be)).collect();
    assert_eq!(numbers, [1, 2, 3].map(|number| (Some(number), Some(InstanceState::Completed), None)));
    let why = |at: usize| found.differences[at].why.as_str();
    assert!(why(0).starts_with("nobody was ever asked for check"), "{found:?}");
    for at in [1, 2] {
        assert!(why(at).starts_with("whether the one before it would have ended by then is not known"), "{found:?}");
    }
}

#[test]
fn whether_one_begins_that_there_was_not_is_not_known_while_nobody_knows_of_the_one_before_it() {
    let mut shop = Shop::new(&[saga(CHARGES)]);
    shop.publish("order.placed", "o", "{}");
    shop.wait(2);
    shop.publish("order.placed", "o", "{}");
    shop.publish("payment.charged", "o", "{}");
    assert_eq!(shop.state(1), InstanceState::Completed);
    assert!(shop.tenant.instance(2).is_err(), "the first was open");
    assert!(what_if(&shop, CHARGES).is_same());
    let found = what_if(&shop, &CHARGES.replace("{\"pay\"", "{\"rest\": {\"sleep\": \"1s\"}}, {\"pay\""));
    assert_eq!((found.unknown, found.only_new, found.only_old), (2, 0, 0), "{found:?}");
    let numbers: Vec<_> = found.differences.iter().map(|one| (one.verdict, one.number)).collect();
    assert_eq!(numbers, [(WhatIfVerdict::Unknown, None), (WhatIfVerdict::Unknown, Some(1))]);
    assert!(found.differences[0].why.contains("would have ended by then is not known"), "{found:?}");
}

#[test]
fn none_begins_while_a_call_is_waited_for_that_was_never_answered() {
    let text = r#"{"saga": "race", "starts_on": "order.placed", "again": "begin", "steps": [
        {"any": {"need": 1, "parallel": [
            {"ask": {"http": "https://a.example/ask", "timeout": "1m", "compensate": "none"}},
            {"told": {"wait": "noted", "timeout": "1h"}}]}}]}"#;
    let (mut shop, _guard) = calling(Shop::new(&[]), &[text]);
    shop.publish("order.placed", "o", "{}");
    assert_eq!(shop.tenant.take_calls(10).len(), 1);
    shop.wait(1);
    shop.publish("order.placed", "o", "{}");
    shop.wait(1);
    shop.publish("noted", "o", "{}");
    assert_eq!(shop.state(1), InstanceState::Completed);
    let found = what_if(&shop, text);
    assert!(found.is_same() && found.same == 1, "{found:?}");
    let found = over(&shop, text, StartAt::Beginning, StartAt::Position(2));
    assert!(found.is_same() && found.open == 1, "{found:?}");
}

/// Two hundred rounds, more than notes are kept of; one of them sends a mail.
fn rounds(mail: u32) -> String {
    let text = r#"{"saga": "rounds", "starts_on": "order.placed", "steps": [
        {"all": {"loop": {"max": 200, "until": ".vars.n == 200", "steps": [
            {"one": {"send": "one.do", "compensate": "none", "set": "{n: ((.vars.n // 0) + 1)}"}},
            {"which": {"if": ".vars.n == MAIL", "then": [{"mail": {"send": "mail.send", "compensate": "none"}}]}}]}}}]}"#;
    text.replace("MAIL", &mail.to_string())
}

#[test]
fn where_notes_were_not_kept_the_same_end_is_not_taken_for_the_same_steps() {
    let ended = |text: &str| {
        let mut shop = Shop::new(&[saga(text)]);
        shop.publish("order.placed", "o", "{}");
        (0..10).for_each(|_| shop.run());
        assert_eq!(shop.state(1), InstanceState::Completed);
        shop
    };
    let shop = ended(&rounds(100));
    assert!(what_if(&shop, &rounds(100)).is_same(), "what is not changed does the same");
    for other in [101, 500] {
        let found = what_if(&shop, &rounds(other));
        assert_eq!((found.unknown, found.same, found.otherwise), (1, 0, 0), "{other}: {found:?}");
        assert_eq!(listed(&found, "o").why, "some of its notes were not kept: whether it did the same is not known");
    }
    // The first and the last are kept.
    for kept in [1, 199] {
        let found = what_if(&ended(&rounds(kept)), &rounds(500));
        assert_eq!((found.otherwise, found.unknown), (1, 0), "{kept}: {found:?}");
        assert_eq!(listed(&found, "o").why, "mail was done, which it would not be");
    }
    // What it had no step for, it did not do.
    let found = what_if(&shop, &rounds(100).replace("\"mail\": {", "\"letter\": {"));
    assert_eq!((found.otherwise, found.unknown), (1, 0), "{found:?}");
    assert_eq!(listed(&found, "o").why, "letter would be done, which it was not");
}

#[test]
fn what_is_not_changed_goes_on_behind_a_range_though_its_notes_of_that_were_not_kept() {
    let text = r#"{"saga": "rounds", "starts_on": "order.placed", "steps": [
        {"all": {"loop": {"max": 200, "until": "false", "steps": [
            {"one": {"send": "one.do", "await": "one.done", "timeout": "1h", "compensate": "none"}}]}}}]}"#;
    let mut shop = Shop::in_memory(&[saga(text)]);
    shop.publish("order.placed", "o", "{}");
    (0..200).for_each(|_| shop.publish("one.done", "o", "{}"));
    assert!(shop.state(1).is_ended());
    // The answer of the hundredth round, and not what was sent then.
    let found = over(&shop, text, StartAt::Beginning, StartAt::Position(201));
    assert_eq!((found.open, found.differences.as_slice()), (1, [].as_slice()), "{found:?}");
    assert_eq!(what_if(&shop, text).same, 1);
}

#[test]
fn one_that_begins_earlier_is_held_against_the_only_one_of_its_key_though_that_began_with_its_event_too() {
    let once = RESTS.replace(", \"again\": \"begin\"", "");
    let mut shop = Shop::new(&[saga(&once)]);
    shop.publish("order.imported", "o", "{}");
    shop.publish("order.placed", "o", "{}");
    shop.wait(2);
    let found = what_if(&shop, &once.replace("\"order.placed\"", r#"["order.placed", "order.imported"]"#));
    assert_eq!((found.same, found.only_new, found.only_old), (1, 0, 0), "{found:?}");
}

#[test]
fn what_is_not_remembered_is_unknown_though_there_was_another_of_its_key() {
    const WEEK: i64 = 8 * 86_400;
    let mut shop = Shop::new(&[saga(RESTS)]);
    shop.publish("order.imported", "o", "{}");
    shop.publish("order.placed", "o", "{}");
    shop.wait(2);
    shop.wait(WEEK);
    shop.publish("order.placed", "o", "{}");
    shop.wait(2);
    assert!(shop.tenant.instance(1).is_err(), "it is forgotten");
    let found = what_if(&shop, RESTS);
    assert_eq!((found.same, found.unknown, found.only_new, found.only_old), (1, 1, 0, 0), "{found:?}");
    let first = listed(&found, "o");
    assert_eq!((first.verdict, first.number, first.would_be), (WhatIfVerdict::Unknown, None, None));
    assert!(first.why.contains("not remembered"), "{first:?}");
    // Whether there was one in the place of the import, nobody knows either.
    let found = what_if(&shop, &rests_on("\"order.imported\""));
    assert_eq!((found.unknown, found.only_new, found.only_old), (1, 0, 1), "{found:?}");
    // Before it was declared there was none, whatever is forgotten; nor was there one of a saga that never was.
    let other = RESTS.replace("\"rests\"", "\"never\"");
    assert_eq!(what_if(&shop, &other).only_new, 2);
    let mut shop = Shop::new(&[saga(&other)]);
    shop.publish("order.placed", "o", "{}");
    shop.wait(WEEK);
    shop.tenant.apply_saga(saga(RESTS), false, false).unwrap();
    shop.publish("order.placed", "p", "{}");
    shop.wait(2);
    let found = what_if(&shop, RESTS);
    assert_eq!((found.same, found.only_new, found.unknown), (1, 1, 0), "{found:?}");
}

#[test]
fn where_somebody_intervened_it_is_said() {
    let mut shop = Shop::new(&[saga(ORDER)]);
    shop.publish("order.placed", "o1", "{}");
    shop.tenant.intervene(1, &Intervention::Cancel, "the customer called").unwrap();
    shop.run();
    let found = what_if(&shop, ORDER);
    let one = listed(&found, "o1");
    assert_eq!((found.intervened, one.verdict), (1, WhatIfVerdict::Intervened), "{found:?}");
    assert!(one.why.starts_with("somebody intervened"), "{one:?}");
}

#[test]
fn a_saga_within_a_saga_comes_to_what_it_came_to() {
    let inner = r#"{"saga": "inner", "starts_on": "inner.never", "steps": [
        {"ask": {"send": "inner.ask", "await": "inner.answered", "fail_on": "inner.refused", "timeout": "10s", "compensate": "inner.undo"}}]}"#;
    let outer = r#"{"saga": "outer", "starts_on": "order.placed", "steps": [
        {"first": {"send": "a.do", "compensate": "a.undo"}},
        {"within": {"saga": "inner", "timeout": "1h"}},
        {"last": {"send": "b.do", "await": "b.done", "timeout": "20s", "compensate": "none"}}]}"#;
    let mut shop = Shop::new(&[saga(inner), saga(outer)]);
    for (order, answer) in [("o1", Some("inner.answered")), ("o2", Some("inner.refused")), ("o3", None)] {
        shop.publish("order.placed", order, "{}");
        let asked = shop.event("inner.ask");
        if let Some(answer) = answer {
            let correlation = asked.correlation_id().unwrap().to_owned();
            let event = Event::builder(order, "/office", answer).correlation_id(correlation);
            publish(&shop.tenant, &event.causation_id(asked.id().to_owned()).json("{}").build().unwrap());
            shop.run();
        }
        shop.publish("b.done", order, "{}");
    }
    for _ in 0..30 {
        shop.wait(1);
    }
    assert_eq!(
        [1, 3, 5].map(|number| shop.state(number)),
        [InstanceState::Completed, InstanceState::Compensated, InstanceState::Compensated]
    );
    let found = what_if(&shop, outer);
    assert!(found.is_same() && found.same == 3, "{found:?}");
    let found = what_if(&shop, &outer.replace(", \"compensate\": \"a.undo\"", ", \"compensate\": \"none\""));
    assert_eq!((found.same, found.otherwise), (1, 2), "{found:?}");
}

/// Whoever calls; a test says what is answered.
struct Bank;

impl Calls for Bank {
    fn may_call(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn wake(&self) {}
}

fn calling(shop: Shop, declarations: &[&str]) -> (Shop, CallsGuard) {
    let guard = shop.tenant.on_calls(Arc::new(Bank)).unwrap();
    for text in declarations {
        assert!(shop.tenant.apply_saga(saga(text), false, false).unwrap().is_new);
    }
    (shop, guard)
}

/// The endpoint answers; it is durable when this returns.
fn answer(shop: &Shop, call: &SagaCall, answer: Answer) {
    let body = (answer == Answer::Done).then(|| "{\"id\":7}".to_owned());
    let answer = CallAnswer { answer, status: None, text: "answered".into(), body };
    let (told, is_told) = channel();
    shop.tenant.answer_call(call.number, call.attempt, answer, move |result| told.send(result).unwrap());
    settle(shop);
    is_told.try_recv().expect("it is told once it is durable").unwrap();
}

/// The endpoint answers the only call that is out after some seconds.
fn answer_after(shop: &Shop, seconds: i64, what: Answer) {
    let [call] = &shop.tenant.take_calls(10)[..] else { panic!("expected one call") };
    shop.wait(seconds);
    answer(shop, call, what);
}

const CALL: &str = r#"{"saga": "pay", "starts_on": "order.placed", "steps": [
    {"note": {"wait": "noted", "timeout": "1h", "set": "{n: .event.data.n}"}},
    {"charge": {"http": {"url": "https://bank.example/charges"}, "timeout": "10s", "compensate": "none",
        "data": "{total: .start.data.total, n: .vars.n, noted: .steps.note.data.n, last: .event.data.n}"}},
    {"book": {"send": "charge.book", "data": ".steps.charge.data", "compensate": "none"}}], "fails_with": "pay.failed"}"#;

/// Charges that were made, refused, given up after 10 s, not made by an endpoint that was down, and one that is under way.
fn charges() -> (Shop, CallsGuard) {
    let (mut shop, guard) = calling(Shop::new(&[]), &[CALL]);
    let unsure = Answer::UNSURE;
    for (order, answered) in [
        ("done", Some((5, Answer::Done))),
        ("refused", Some((2, Answer::Refused))),
        ("late", Some((10, unsure))),
        ("down", Some((1, unsure))),
        ("open", None),
    ] {
        shop.publish("order.placed", order, "{\"total\":5}");
        shop.publish("noted", order, "{\"n\":3}");
        if let Some((seconds, what)) = answered {
            answer_after(&shop, seconds, what);
        }
    }
    let states = [InstanceState::Completed, InstanceState::Compensated, InstanceState::Compensated];
    assert_eq!([1, 2, 3].map(|number| shop.state(number)), states);
    (shop, guard)
}

#[test]
fn a_call_that_says_the_same_comes_to_what_it_came_to() {
    let (shop, _guard) = charges();
    let found = what_if(&shop, CALL);
    assert_eq!((found.same, found.open, found.differences.as_slice()), (4, 1, [].as_slice()), "{found:?}");
    // However it is put.
    let put = CALL.replace("{total: .start.data.total, n: .vars.n,", "{total: .start.data.total} + {n: .vars.n,");
    assert!(what_if(&shop, &put).is_same());
}

#[test]
fn what_a_call_that_says_something_else_would_come_to_is_not_known() {
    let (shop, _guard) = charges();
    let cases = [
        ("/charges", "/payments"),
        ("{\"url\":", "{\"method\": \"PUT\", \"url\":"),
        ("{\"url\":", "{\"headers\": {\"x-kind\": \"a\"}, \"url\":"),
        ("total: .start.data.total", "total: (.start.data.total + 1)"),
        // The same text, of another variable.
        ("{n: .event.data.n}", "{n: (.event.data.n + 1)}"),
    ];
    for (from, to) in cases {
        let other = CALL.replace(from, to);
        assert_ne!(other, CALL);
        let found = what_if(&shop, &other);
        assert_eq!((found.unknown, found.differences.len()), (5, 5), "{to}: {found:?}");
        let done = listed(&found, "done");
        assert_eq!((done.step.as_deref(), done.would_be), (Some("charge"), None));
        assert!(done.why.contains("would ask for something else"), "{done:?}");
    }
    // What cannot be said is asked of nobody, and known.
    let found = what_if(&shop, &CALL.replace("{total: .start.data.total,", "{total: (.start.data.total | error),"));
    let done = listed(&found, "done");
    assert_eq!((done.verdict, done.would_be), (WhatIfVerdict::Otherwise, Some(InstanceState::Compensated)));
    assert!(done.why.contains("it would fail at charge"), "{done:?}");
}

#[test]
fn a_shorter_timeout_gives_up_a_call_that_took_longer() {
    let (shop, _guard) = charges();
    let found = what_if(&shop, &CALL.replace("\"10s\"", "\"4s\""));
    assert_eq!((found.same, found.otherwise, found.unknown), (3, 1, 0), "{found:?}");
    let done = listed(&found, "done");
    assert_eq!((done.would_be, done.step.as_deref()), (Some(InstanceState::Compensated), Some("charge")));
    assert!(done.why.contains("nobody answered in time"), "{done:?}");
    assert!(what_if(&shop, &CALL.replace("\"10s\"", "\"5s\"")).is_same(), "that is just enough");
}

#[test]
fn what_a_longer_timeout_would_get_from_a_call_that_was_given_up_is_not_known() {
    let (shop, _guard) = charges();
    let found = what_if(&shop, &CALL.replace("\"10s\"", "\"20s\""));
    assert_eq!((found.same, found.unknown, found.open, found.differences.len()), (3, 1, 1, 1), "{found:?}");
    let late = listed(&found, "late");
    assert!(late.why.contains("given up sooner than it would be"), "{late:?}");
}

#[test]
fn a_call_that_would_come_later_or_once_more_is_not_known() {
    let (shop, _guard) = charges();
    shop.wait(2);
    let found = what_if(&shop, &CALL.replace("{\"charge\"", "{\"rest\": {\"sleep\": \"1s\"}}, {\"charge\""));
    assert_eq!(found.unknown, 5, "{found:?}");
    assert!(listed(&found, "done").why.contains("would come later than it did"), "{found:?}");
    // Once more only where it was not answered for good.
    let retry = "\"timeout\": \"10s\", \"retry\": {\"max\": 2, \"backoff\": \"none\"}";
    let found = what_if(&shop, &CALL.replace("\"timeout\": \"10s\"", retry));
    assert_eq!((found.same, found.unknown, found.open), (2, 2, 1), "{found:?}");
    let down = listed(&found, "down");
    assert!(down.why.contains("nobody was ever asked for charge, attempt 2"), "{down:?}");
}

#[test]
fn a_call_that_could_not_be_made_and_now_can_is_not_known() {
    let broken = CALL.replace("{total: .start.data.total,", "{total: (.start.data.total | error),");
    let (mut shop, _guard) = calling(Shop::new(&[]), &[&broken]);
    shop.publish("order.placed", "o", "{\"total\":5}");
    shop.publish("noted", "o", "{\"n\":3}");
    assert_eq!(shop.state(1), InstanceState::Compensated);
    assert!(what_if(&shop, &broken).is_same());
    let found = what_if(&shop, CALL);
    assert!(listed(&found, "o").why.contains("nobody was ever asked for charge"), "{found:?}");
}

#[test]
fn a_command_that_could_not_be_made_and_now_can_is_sent() {
    let broken = r#"{"saga": "ship", "starts_on": "order.placed", "steps": [
        {"label": {"send": "label.print", "data": ".start.data.total | error", "compensate": "none"}}]}"#;
    let mut shop = Shop::new(&[saga(broken)]);
    shop.publish("order.placed", "o", "{\"total\":5}");
    assert_eq!(shop.state(1), InstanceState::Compensated);
    assert!(what_if(&shop, broken).is_same());
    let found = what_if(&shop, &broken.replace(" | error", ""));
    assert_eq!(listed(&found, "o").would_be, Some(InstanceState::Completed), "{found:?}");
}

#[test]
fn a_call_that_undoes_comes_to_what_it_came_to_if_it_says_the_same() {
    let text = r#"{"saga": "pay", "starts_on": "order.placed", "steps": [
        {"reserve": {"http": "https://store.example/reserve", "compensate": {"http": "https://store.example/release", "data": ".steps.reserve.data"}}},
        {"charge": {"send": "charge.do", "await": "charge.done", "fail_on": "charge.declined", "timeout": "1m", "compensate": "none"}}]}"#;
    let (mut shop, _guard) = calling(Shop::new(&[]), &[text]);
    shop.publish("order.placed", "o", "{}");
    answer_after(&shop, 1, Answer::Done);
    shop.publish("charge.declined", "o", "{}");
    answer_after(&shop, 1, Answer::Done);
    assert_eq!(shop.state(1), InstanceState::Compensated);
    assert!(what_if(&shop, text).is_same());
    for (from, to) in [("/release", "/undo"), (".steps.reserve.data", "{id: .steps.reserve.data.id, again: true}")] {
        let found = what_if(&shop, &text.replace(from, to));
        let one = listed(&found, "o");
        assert!(one.verdict == WhatIfVerdict::Unknown && one.why.contains("its compensation"), "{one:?}");
    }
}

#[test]
fn a_saga_within_a_saga_is_known_only_as_far_as_the_same_one_was_waited_for() {
    let inner = r#"{"saga": "inner", "starts_on": "inner.never", "steps": [
        {"ask": {"send": "inner.ask", "await": "inner.answered", "timeout": "10m", "compensate": "inner.undo"}}]}"#;
    let outer = r#"{"saga": "outer", "starts_on": "order.placed", "steps": [
        {"within": {"saga": "inner", "data": "{n: .start.data.n}", "timeout": "1m"}}]}"#;
    let mut shop = Shop::new(&[saga(inner), saga(outer)]);
    for (order, answers_after) in [("done", Some(30)), ("late", None)] {
        shop.publish("order.placed", order, "{\"n\":1}");
        let asked = shop.event("inner.ask");
        if let Some(seconds) = answers_after {
            shop.wait(seconds);
            let correlation = asked.correlation_id().unwrap().to_owned();
            let event = Event::builder(order, "/office", "inner.answered").correlation_id(correlation);
            publish(&shop.tenant, &event.causation_id(asked.id().to_owned()).json("{}").build().unwrap());
            shop.run();
        }
        shop.wait(61);
    }
    assert_eq!([1, 3].map(|number| shop.state(number)), [InstanceState::Completed, InstanceState::Compensated]);
    let found = what_if(&shop, outer);
    assert!(found.is_same() && found.same == 2, "{found:?}");
    for (from, to, why) in [
        ("{n: .start.data.n}", "{n: 2}", "would ask for something else"),
        ("\"saga\": \"inner\"", "\"saga\": \"other\"", "would ask for something else"),
        ("{\"within\"", "{\"rest\": {\"sleep\": \"1s\"}}, {\"within\"", "would come later than it did"),
    ] {
        let found = what_if(&shop, &outer.replace(from, to));
        assert_eq!((found.unknown, found.differences.len()), (2, 2), "{to}: {found:?}");
        assert!(listed(&found, "done").why.contains(why), "{to}: {found:?}");
    }
    // What was given up and undone might have been done.
    let found = what_if(&shop, &outer.replace("\"1m\"", "\"2m\""));
    assert_eq!((found.same, found.unknown), (1, 1), "{found:?}");
    assert!(listed(&found, "late").why.contains("given up sooner"), "{found:?}");
    // What is given up sooner is undone, which nobody was ever asked for where it was done; and sooner than it was.
    let found = what_if(&shop, &outer.replace("\"1m\"", "\"10s\""));
    assert_eq!((found.same, found.unknown), (1, 1), "{found:?}");
    assert!(listed(&found, "done").why.contains("its compensation"), "{found:?}");
}

#[test]
fn a_declaration_or_a_range_that_makes_no_sense_is_refused_and_who_is_gone_is_answered_nothing() {
    let shop = history();
    let ask = |text: &str, from, until| shop.tenant.what_if(parsed(text), &from, &until, &|| true);
    let broken = ORDER.replace("\"timeout\": \"30s\"", "\"timeout\": \"30s\", \"data\": \".start |\"");
    let refused = ask(&broken, StartAt::Beginning, StartAt::Now).unwrap_err();
    assert!(matches!(refused, NotDone::RefusedSaga(SagaRefusal::Invalid { .. })), "{refused}");
    let refused = ask(ORDER, StartAt::Position(9), StartAt::Position(8)).unwrap_err();
    assert!(matches!(refused, NotDone::RefusedOperation(_)), "{refused}");
    let gone = shop.tenant.what_if(parsed(ORDER), &StartAt::Beginning, &StartAt::Now, &|| false);
    assert_eq!(gone.unwrap(), None);
}

/// All that a saga can do but for sagas within it, with times of seconds.
const MANY: &str = r#"{"saga": "many", "starts_on": "start", "again": "begin", "steps": [
    {"both": {"need": 1, "parallel": [
        {"a": {"send": "a.do", "await": "a.done", "fail_on": "a.failed", "timeout": "5s",
            "retry": {"max": 2, "backoff": "exponential", "on": ["timeout", "failure"]}, "compensate": "a.undo"}},
        {"b": {"send": "b.do", "await": "b.done", "fail_on": "b.failed", "timeout": "3s",
            "compensate": {"send": "b.undo", "await": "b.undone", "timeout": "2s", "retry": {"max": 2, "backoff": "none"}}}}
    ]}},
    {"rest": {"sleep": "2s"}},
    {"call": {"http": "https://a.example/call", "data": "{n: .start.data.n, steps: (.steps | length), b: .steps.b.id, number: .instance.number}",
        "timeout": "3s", "retry": {"max": 2, "backoff": "none"}, "set": "{call: .event.id}",
        "compensate": {"http": "https://a.example/undo", "data": "{vars}", "retry": {"max": 2, "backoff": ["1s"]}}}},
    {"which": {"if": ".start.data.n > 1", "then": [
        {"round": {"loop": {"max": 3, "until": ".vars.done", "steps": [
            {"c": {"send": "c.do", "await": "c.done", "timeout": "4s", "compensate": "c.undo", "set": "{done: (.event.data.n > 1)}"}}
        ]}}}
    ]}},
    {"signal": {"wait": "signal", "timeout": "6s"}},
    {"d": {"send": "d.do", "data": "{n: .start.data.n, signal: .steps.signal.data.n}", "compensate": "d.undo"}}
], "completes_with": "many.done", "fails_with": "many.failed"}"#;

#[derive(Clone, Debug)]
enum Happens {
    Event {
        kind: usize,
        key: u8,
        n: u8,
        is_named: bool,
    },
    Time(u8),
    /// The endpoint answers the call that is out the longest.
    Answer(u8),
}

const KINDS: [&str; 10] =
    ["start", "a.done", "a.failed", "b.done", "b.failed", "b.undone", "c.done", "signal", "a.done", "start"];

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..KINDS.len(), 0..3u8, 0..4u8, any::<bool>())
            .prop_map(|(kind, key, n, is_named)| Happens::Event { kind, key, n, is_named }),
        1 => (1..8u8).prop_map(Happens::Time),
        1 => (0..4u8).prop_map(Happens::Answer),
    ]
}

/// The newest command that an event of this type may answer.
fn asked(shop: &Shop, kind: &str, key: &str) -> Option<String> {
    let page = shop.tenant.read(&Filter::default(), Direction::Backward, None, 10_000).unwrap();
    let command = match kind {
        "b.undone" => "b.undo".to_owned(),
        kind => format!("{}.do", kind.split_once('.')?.0),
    };
    let found = page.events.iter().map(|recorded| recorded.event().into_owned());
    found
        .into_iter()
        .find(|event| event.kind() == command && event.correlation_id() == Some(key))
        .map(|event| event.id().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_same_saga_over_any_history_gives_what_there_was(
        all in proptest::collection::vec(happens(), 1..60),
        cut in 0..100u64,
    ) {
        let (shop, _guard) = calling(Shop::in_memory(&[]), &[MANY]);
        let mut calls = std::collections::VecDeque::new();
        for (at, one) in all.iter().enumerate() {
            // No two things happen at the same time.
            shop.clock.0.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed);
            match one {
                Happens::Event { kind, key, n, is_named } => {
                    let (kind, key) = (KINDS[*kind], format!("k{key}"));
                    let mut event = Event::builder(at.to_string(), "/outside", kind).correlation_id(key.clone());
                    if let Some(id) = asked(&shop, kind, &key).filter(|_| *is_named) {
                        event = event.causation_id(id);
                    }
                    let event = event.json(format!("{{\"n\":{n}}}")).build().unwrap();
                    assert!(matches!(publish(&shop.tenant, &event), Published::Recorded(_)));
                    settle(&shop);
                }
                Happens::Time(seconds) => (0..*seconds).for_each(|_| {
                    shop.clock.0.fetch_add(1_000_000, std::sync::atomic::Ordering::Relaxed);
                    settle(&shop);
                }),
                Happens::Answer(what) => {
                    let what = [Answer::Done, Answer::Done, Answer::Refused, Answer::UNSURE][usize::from(*what)];
                    calls.pop_front().into_iter().for_each(|call| answer(&shop, &call, what));
                }
            }
            calls.extend(shop.tenant.take_calls(10));
        }
        prop_assume!(shop.tenant.position() > 0);
        let found = what_if(&shop, MANY);
        let count = shop.tenant.sagas().unwrap()[0].instances;
        prop_assert!(found.is_same() && found.same + found.open == count, "{found:?}");
        // Up to any place of it.
        let until = 1 + cut % shop.tenant.position().max(1);
        let part = over(&shop, MANY, StartAt::Beginning, StartAt::Position(until));
        prop_assert_eq!((part.otherwise, part.only_new, part.only_old, part.unknown), (0, 0, 0, 0), "{} {:?}", until, part);
    }
}

fn settle(shop: &Shop) {
    shop.tenant.fire_timers();
    for _ in 0..8 {
        shop.tenant.step_sagas();
        shop.tenant.decide();
        shop.tenant.flush();
    }
}
