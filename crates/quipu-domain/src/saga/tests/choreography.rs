//! Rules and expectations are plans too.

use super::instance::{Instance, json};
use crate::saga::{Expectation, Kind, Outcome, Plan, Rule, Status};

fn rule(text: &str) -> Plan {
    Plan::of_rule(&serde_json::from_value::<Rule>(json(text)).unwrap()).unwrap()
}

#[test]
fn a_rule_publishes_one_event_and_is_over() {
    let plan = rule("{rule: welcome, on: user.added, publish: {type: mail.send, data: '{to: .start.data.mail}'}}");
    assert_eq!((plan.kind(), plan.listens().len()), (Kind::Rule, 1));
    Instance::new(plan).start().sends(&["mail.send 1.0/1"]).is(Status::Ended(Outcome::Completed));
}

#[test]
fn a_rule_that_takes_what_it_publishes_is_refused() {
    let read: Rule = serde_json::from_value(json("{rule: r, on: x.*, publish: {type: x.y}}")).unwrap();
    assert_eq!(Plan::of_rule(&read).unwrap_err()[0].path, "/publish/type");
}

fn expectation(more: &str) -> Instance {
    let text = format!("{{expect: paid, after: order.placed, then: order.paid, within: 5m{more}}}");
    let read: Expectation = serde_json::from_value(json(&text)).unwrap();
    Instance::new(Plan::of_expectation(&read).unwrap())
}

#[test]
fn what_does_not_follow_in_time_is_said_by_an_event() {
    expectation("").start().wait(299_999).sends(&[]).wait(1).sends(&["expectation.missed end/1"]);
    expectation(", otherwise: order.unpaid").start().wait(300_000).sends(&["order.unpaid end/1"]);
}

#[test]
fn what_follows_in_time_is_said_by_nothing() {
    expectation("").start().event("order.paid", "").sends(&[]).is(Status::Ended(Outcome::Completed));
}
