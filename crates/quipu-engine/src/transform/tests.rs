//! What transformations do, by tables of what goes in and what comes out.

mod hostile;
mod jq;
mod page;
mod path;
mod property;
mod template;

use quipu_domain::Transform;

use super::{InvalidTransform, Kind, Transformer};

/// An event with a bit of everything.
const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed.v1","subject":"order/9",
 "recordedtime":"2026-01-02T03:04:05.678Z","position":42,"data":{"order":{"id":"o-9","total":19.90,"big":12345678901234567890,
 "note":"say \"hi\"\n<b>","paid":true,"coupon":null,"tags":["a","b"],"lines":[{"sku":"x","n":2},{"sku":"y/z","n":1e2},{"n":3}]},
 "customer-id":5,"a/b":{"c_d":1},"é":"ü"}}"#;

fn compiled(transform: &Transform) -> Result<Transformer, InvalidTransform> {
    Transformer::compile(transform, "billing")
}

/// With fewer steps than there are, for expressions that use up all of them.
fn compiled_with_steps(transform: &Transform, steps_max: u64) -> Result<Transformer, InvalidTransform> {
    Ok(match compiled(transform)? {
        Transformer(Kind::Jq(jq)) => Transformer(Kind::Jq(jq.with_steps_max(steps_max))),
        other => other,
    })
}

/// What becomes of an event, or the reason why nothing does.
fn apply(transform: &Transform, event: &str) -> Result<String, String> {
    outcome(&compiled(transform).unwrap_or_else(|error| panic!("{transform:?}: {error}")), event)
}

fn outcome(transformer: &Transformer, event: &str) -> Result<String, String> {
    let outcome = transformer.apply(event.as_bytes());
    outcome.map(|bytes| String::from_utf8(bytes).unwrap()).map_err(|fault| fault.reason)
}

/// Line, column and reason.
fn refusal(transform: &Transform) -> (String, usize, usize, String) {
    let error = compiled(transform).expect_err(&format!("{transform:?}"));
    (error.pointer, error.line, error.column, error.reason)
}

#[test]
fn a_transformer_is_used_from_many_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Transformer>();
}

#[test]
fn an_event_that_is_no_json_is_a_fault_of_each_kind() {
    let template = quipu_domain::Template { paths: Default::default(), template: "<aws.events.event.json>".into() };
    for transform in [Transform::Path("$.a".into()), Transform::Template(template), Transform::Jq(".".into())] {
        for event in ["", "{", "{\"a\":1}x", "[1,]", "\u{0}"] {
            let reason = apply(&transform, event).unwrap_err();
            assert!(reason.starts_with("expected the event as JSON: "), "{transform:?} {event:?}: {reason}");
        }
    }
}

#[test]
fn a_fault_carries_the_expression_cut_to_a_limit() {
    let long = format!("error(\"{}\")", "é".repeat(3_000));
    let transformer = compiled(&Transform::Jq(long)).unwrap();
    let fault = transformer.apply(EVENT.as_bytes()).unwrap_err();
    assert_eq!(fault.expression.chars().count(), 257, "{fault}");
    assert_eq!(fault.reason.chars().count(), 513, "{fault}");
    assert!(fault.to_string().starts_with("error(\"é"), "{fault}");
}
