//! Random declarations: every kind of step, nested, with whatever may be said of it.

use quipu_engine::SagaDeclaration;
use serde_json::{Value as Json, json};

use crate::Dice;

/// How deep steps are nested.
const DEPTH_MAX: u64 = 3;

/// A saga of this name. Its types have the name in them, so that no other saga hears its answers.
pub(super) fn saga(name: &str, dice: &mut Dice) -> SagaDeclaration {
    let mut maker = Maker { saga: name, is_waiting: dice.chance(30), twins: dice.chance(30), names: 0, dice };
    let count = maker.dice.between(1, 4);
    let steps = maker.list(count, 0);
    let on_failure = if maker.is_waiting { "wait" } else { "compensate" };
    read(json!({
        "saga": name,
        "starts_on": format!("start.{name}"),
        "on_failure": on_failure,
        "steps": steps,
        "completes_with": format!("done.{name}"),
        "fails_with": format!("failed.{name}"),
    }))
}

/// What a step of another saga begins.
pub(super) fn child(dice: &mut Dice) -> SagaDeclaration {
    let mut maker = Maker { saga: "child", is_waiting: false, twins: false, names: 0, dice };
    let count = maker.dice.between(1, 2);
    let steps: Vec<Json> = (0..count).map(|_| maker.named(Maker::send)).collect();
    read(json!({
        "saga": "child",
        "starts_on": "never",
        "steps": steps,
        "completes_with": "done.child",
        "fails_with": "failed.child",
    }))
}

/// A rule that publishes something for each event that begins the first saga.
pub(super) fn rule() -> SagaDeclaration {
    let rule =
        json!({"rule": "welcome", "on": "start.s0", "publish": {"type": "mail.send", "data": "{n: .start.data.n}"}});
    SagaDeclaration::Rule(Box::new(serde_json::from_value(rule).expect("it is a rule")))
}

fn read(json: Json) -> SagaDeclaration {
    SagaDeclaration::Saga(Box::new(serde_json::from_value(json).expect("it is a saga")))
}

struct Maker<'a> {
    saga: &'a str,
    /// A person is asked when a step fails.
    is_waiting: bool,
    /// All steps send and wait for the same types.
    twins: bool,
    names: u64,
    dice: &'a mut Dice,
}

impl Maker<'_> {
    fn list(&mut self, count: u64, depth: u64) -> Vec<Json> {
        (0..count).map(|_| self.named(|maker, kind| maker.step(kind, depth))).collect()
    }

    fn named(&mut self, make: impl FnOnce(&mut Self, &str) -> Json) -> Json {
        self.names += 1;
        let name = format!("s{}", self.names);
        let kind = if self.twins { format!("{}.x", self.saga) } else { format!("{}.{name}", self.saga) };
        let step = make(self, &kind);
        json!({ name: step })
    }

    fn step(&mut self, kind: &str, depth: u64) -> Json {
        let flag = [".start.data.flag", ".start.data.other"][self.dice.below(2) as usize];
        let count = self.dice.between(1, 2);
        match self.dice.below(if depth < DEPTH_MAX && self.names < 10 { 20 } else { 13 }) {
            0..8 => self.send(kind),
            8..10 => self.call(),
            10 => json!({"saga": "child", "timeout": "7s"}),
            11 => json!({"wait": format!("w.{kind}"), "timeout": "6s"}),
            12 => json!({"sleep": "3s"}),
            13 | 14 => json!({"steps": self.list(count, depth + 1)}),
            15 | 16 => {
                let of = self.list(count + 1, depth + 1);
                // With a person's decisions nobody knows which branch lost.
                let need = if self.is_waiting { of.len() as u64 } else { self.dice.between(1, of.len() as u64) };
                json!({"parallel": of, "need": need})
            }
            17 | 18 => {
                let mut then = self.list(count, depth + 1);
                if self.dice.chance(20) {
                    then.push(self.named(|_, _| json!({"end": "fail"})));
                }
                let mut step = json!({"if": flag, "then": then});
                if self.dice.chance(50) {
                    step["else"] = self.list(1, depth + 1).into();
                }
                step
            }
            _ => {
                let mut repeat = json!({"max": self.dice.between(1, 3), "steps": self.list(count, depth + 1)});
                if self.dice.chance(50) {
                    repeat["until"] = json!(flag);
                }
                json!({ "loop": repeat })
            }
        }
    }

    fn call(&mut self) -> Json {
        let undo = match self.dice.chance(60) {
            true => json!({"http": "https://a.example/undo", "retry": {"max": 2}}),
            false => json!("none"),
        };
        let retry = json!({"max": self.dice.between(1, 2), "backoff": "none"});
        json!({"http": "https://a.example/do", "timeout": "5s", "retry": retry, "compensate": undo})
    }

    fn send(&mut self, kind: &str) -> Json {
        let mut step = json!({"send": format!("c.{kind}")});
        let is_answered = self.dice.chance(90);
        if is_answered {
            step["await"] = json!(format!("r.{kind}"));
            step["timeout"] = json!("5s");
            let on = if self.dice.chance(50) { json!(["timeout", "failure"]) } else { json!(["timeout"]) };
            step["retry"] = json!({"max": self.dice.between(1, 3), "backoff": ["1s", "2s"], "on": on});
            if self.dice.chance(50) {
                step["fail_on"] = json!(format!("f.{kind}"));
            }
        }
        match self.dice.below(10) {
            0 => step["data"] = json!("if .start.data.bad then error(\"bad\") else {key: .instance.key} end"),
            1 => step["set"] = json!("{key: .instance.key}"),
            _ => {}
        }
        step["compensate"] = match self.dice.below(10) {
            0 => json!("none"),
            1..5 => json!(format!("u.{kind}")),
            // A call would overtake an event that nobody answers.
            5 if is_answered => {
                json!({"http": "https://a.example/undo", "retry": {"max": 2, "backoff": "none"}})
            }
            _ => json!({
                "send": format!("u.{kind}"),
                "await": format!("ur.{kind}"),
                "fail_on": format!("uf.{kind}"),
                "timeout": "4s",
                "retry": {"max": self.dice.between(1, 2), "backoff": ["1s"]},
            }),
        };
        step
    }
}
