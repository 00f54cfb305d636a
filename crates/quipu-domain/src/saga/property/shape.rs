//! Random declarations.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::Setting;
use crate::saga::Saga;

#[derive(Clone, Debug)]
pub enum Shape {
    Send(Sending),
    Http { tries: u16, undo: bool },
    Child,
    Wait,
    Sleep,
    Fail,
    Sequence(Vec<Shape>),
    Parallel { of: Vec<Shape>, need: usize },
    If { then: Vec<Shape>, otherwise: Vec<Shape> },
    Loop { body: Vec<Shape>, max: u16, until: bool },
}

#[derive(Clone, Debug)]
pub struct Sending {
    pub answered: bool,
    pub refusable: bool,
    pub tries: u16,
    pub on_failure: bool,
    pub undo: UndoShape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UndoShape {
    None,
    Sent,
    Asked { tries: u16 },
    Called,
}

fn sending() -> impl Strategy<Value = Sending> {
    let undo = prop_oneof![
        1 => Just(UndoShape::None),
        4 => Just(UndoShape::Sent),
        4 => (1u16..3).prop_map(|tries| UndoShape::Asked { tries }),
        1 => Just(UndoShape::Called),
    ];
    (prop::bool::weighted(0.9), any::<bool>(), 1u16..4, any::<bool>(), undo).prop_map(
        |(answered, refusable, tries, on_failure, undo)| {
            // A call would overtake an event that nobody answers.
            let undo = if !answered && undo == UndoShape::Called { UndoShape::Sent } else { undo };
            Sending { answered, refusable, tries, on_failure, undo }
        },
    )
}

/// Steps of a saga, at most a dozen.
pub fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let leaf = prop_oneof![
        8 => sending().prop_map(Shape::Send),
        2 => (1u16..3, any::<bool>()).prop_map(|(tries, undo)| Shape::Http { tries, undo }),
        1 => Just(Shape::Child),
        1 => Just(Shape::Wait),
        1 => Just(Shape::Sleep),
    ];
    let shape = leaf.prop_recursive(3, 10, 3, |inner| {
        let list = || prop::collection::vec(inner.clone(), 1..3);
        prop_oneof![
            list().prop_map(Shape::Sequence),
            (prop::collection::vec(inner.clone(), 2..4), 1usize..4)
                .prop_map(|(of, need)| Shape::Parallel { need: need.min(of.len()), of }),
            (list(), prop::collection::vec(inner.clone(), 0..2), any::<bool>()).prop_map(
                |(mut then, otherwise, fails)| {
                    // Only the last of a side, and only of one side, so that everything can be reached.
                    then.extend(fails.then_some(Shape::Fail));
                    Shape::If { then, otherwise }
                }
            ),
            (list(), 1u16..4, any::<bool>()).prop_map(|(body, max, until)| Shape::Loop { body, max, until }),
        ]
    });
    prop::collection::vec(shape, 1..5)
}

pub fn declare(setting: &Setting) -> Saga {
    let mut names = 0;
    let steps = list(&setting.shapes, setting, &mut names);
    let declaration = json!({
        "saga": "s",
        "starts_on": "start",
        "on_failure": if is_waiting(setting) { "wait" } else { "compensate" },
        "steps": steps,
        "completes_with": "done",
        "fails_with": "failed",
    });
    serde_json::from_value(declaration).unwrap()
}

/// Which branch lost is worked out from the timeline, which a person's decisions about steps would make ambiguous.
pub fn is_waiting(setting: &Setting) -> bool {
    setting.waits && !setting.shapes.iter().any(Shape::is_partial)
}

impl Shape {
    fn inner(&self) -> Vec<&Shape> {
        match self {
            Self::Sequence(of) | Self::Parallel { of, .. } | Self::Loop { body: of, .. } => of.iter().collect(),
            Self::If { then, otherwise } => then.iter().chain(otherwise).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a parallel in it can do without a branch.
    pub fn is_partial(&self) -> bool {
        matches!(self, Self::Parallel { of, need } if *need < of.len())
            || self.inner().iter().any(|shape| shape.is_partial())
    }

    pub fn has_loop(&self) -> bool {
        matches!(self, Self::Loop { .. }) || self.inner().iter().any(|shape| shape.has_loop())
    }
}

fn list(shapes: &[Shape], setting: &Setting, names: &mut usize) -> Json {
    shapes.iter().map(|shape| named(shape, setting, names)).collect()
}

fn named(shape: &Shape, setting: &Setting, names: &mut usize) -> Json {
    *names += 1;
    let name = format!("s{names}");
    let kind = if setting.twins { "x".to_owned() } else { name.clone() };
    let step = match shape {
        Shape::Send(sending) => send(sending, &kind),
        Shape::Http { tries, undo } => {
            let retry = json!({"max": tries, "backoff": "none"});
            let undo =
                if *undo { json!({"http": "https://a.example/undo", "retry": {"max": 2}}) } else { json!("none") };
            json!({"http": "https://a.example/do", "timeout": "5s", "retry": retry, "compensate": undo})
        }
        Shape::Child => json!({"saga": "child", "timeout": "7s"}),
        Shape::Wait => json!({"wait": format!("w.{kind}"), "timeout": "6s"}),
        Shape::Sleep => json!({"sleep": "3s"}),
        Shape::Fail => json!({"end": "fail"}),
        Shape::Sequence(of) => json!({"steps": list(of, setting, names)}),
        Shape::Parallel { of, need } => json!({"parallel": list(of, setting, names), "need": need}),
        Shape::If { then, otherwise } => {
            let mut step = json!({"if": ".x", "then": list(then, setting, names)});
            if !otherwise.is_empty() {
                step["else"] = list(otherwise, setting, names);
            }
            step
        }
        Shape::Loop { body, max, until } => {
            let mut repeat = json!({"max": max, "steps": list(body, setting, names)});
            if *until {
                repeat["until"] = json!(".x");
            }
            json!({ "loop": repeat })
        }
    };
    json!({ name: step })
}

fn send(sending: &Sending, kind: &str) -> Json {
    let mut step = json!({"send": format!("c.{kind}")});
    if sending.answered {
        step[crate::saga::compile::AWAITS] = json!(format!("r.{kind}"));
        step["timeout"] = json!("5s");
        let on = if sending.on_failure { json!(["timeout", "failure"]) } else { json!(["timeout"]) };
        step["retry"] = json!({"max": sending.tries, "backoff": ["1s", "2s"], "on": on});
        if sending.refusable {
            step["fail_on"] = json!(format!("f.{kind}"));
        }
    }
    step["compensate"] = match sending.undo {
        UndoShape::None => json!("none"),
        UndoShape::Sent => json!(format!("u.{kind}")),
        UndoShape::Called => json!({"http": "https://a.example/undo", "retry": {"max": 2, "backoff": "none"}}),
        UndoShape::Asked { tries } => json!({
            "send": format!("u.{kind}"),
            crate::saga::compile::AWAITS: format!("ur.{kind}"),
            "fail_on": format!("uf.{kind}"),
            "timeout": "4s",
            "retry": {"max": tries, "backoff": ["1s"]},
        }),
    };
    step
}
