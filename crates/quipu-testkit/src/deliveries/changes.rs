//! Subscriptions come, change, rest, move and go.

use quipu_domain::StartAt;
use quipu_domain::delivery::Summary;
use quipu_engine::{Fault, NotDone, SubscriptionRefusal};

use super::{DeliverySimulation, KINDS, SUBJECTS, Step};
use crate::checker::deliveries::{Choice, KeyChoice, Pause, Terms};
use crate::checker::violated;

const NAMES: [&str; 5] = ["billing", "mail", "search", "audit", "stock"];

impl DeliverySimulation {
    pub(super) fn change(&mut self) -> Step {
        let name = (*self.machine.dice.pick(&NAMES)).to_owned();
        let Some(terms) = self.ledger.terms(&name).cloned() else { return self.create(&name) };
        match self.machine.dice.below(20) {
            0 => self.delete(&name),
            1..3 => self.seek(&name),
            3..6 => self.update(&name, terms),
            _ if terms.is_paused || self.machine.dice.chance(20) => self.pause(&name, terms),
            _ => {
                let other = (*self.machine.dice.pick(&NAMES)).to_owned();
                if self.ledger.terms(&other).is_none() { self.create(&other) } else { Ok(()) }
            }
        }
    }

    fn terms(&mut self) -> Terms {
        let dice = &mut self.machine.dice;
        let choice = match dice.below(8) {
            0..3 => Choice::All,
            3 => Choice::Kind(dice.pick::<&str>(&KINDS)),
            4 => Choice::Prefix("order."),
            5 => Choice::NotSubject(dice.pick::<&str>(&SUBJECTS)),
            6 => Choice::Above(dice.below(15)),
            _ => Choice::Grouped,
        };
        let keys = [KeyChoice::Subject, KeyChoice::Subject, KeyChoice::Group, KeyChoice::Nothing, KeyChoice::Same];
        let pause = match dice.below(3) {
            0 => Pause::List(vec![0]),
            1 => Pause::List(vec![10, 500, 3_000]),
            _ => Pause::Doubling(100, 5_000),
        };
        Terms {
            choice,
            key: *dice.pick(&keys),
            parks: dice.chance(40),
            max_attempts: dice.between(1, 5) as u32,
            max_age_ms: dice.chance(20).then(|| *dice.pick(&[1, 1_000, 20_000])),
            pause,
            ack_deadline_ms: *dice.pick(&[50, 500, 5_000, 30_000]),
            max_in_flight: *dice.pick(&[1, 3, 20, 100, 1_000]),
            rate: dice.chance(20).then(|| (*dice.pick(&[20, 300]), *dice.pick(&[1, 10, 50]))),
            retention_ms: *dice.pick(&[1_000, 60_000, 14 * 86_400_000]),
            is_paused: dice.chance(5),
        }
    }

    /// Somewhere to begin, and the position before it.
    fn start(&mut self) -> (StartAt, u64) {
        let newest = self.ledger.log().len() as u64;
        match self.machine.dice.below(5) {
            0 | 1 => (StartAt::Beginning, 0),
            2 => (StartAt::Now, newest),
            3 => {
                let position = self.machine.dice.between(1, newest + 1);
                (StartAt::Position(position), position - 1)
            }
            _ => {
                let at = self.machine.dice.below(newest.max(1)) as usize;
                let time =
                    self.ledger.log().get(at).map_or(crate::machine::BEGIN.min(self.now()), |fact| fact.recorded);
                let before = self.ledger.log().iter().filter(|fact| fact.recorded < time).count() as u64;
                (StartAt::Time(time.to_string()), before)
            }
        }
    }

    fn create(&mut self, name: &str) -> Step {
        let terms = self.terms();
        let (start, after) = self.start();
        self.machine.say(|| format!("create {name} after {after}: {terms:?}"));
        let created = self.machine.tenant().create_subscription(name, terms.definition(&start));
        let shortest = self.retention_ms.entry(name.to_owned()).or_insert(u64::MAX);
        *shortest = terms.retention_ms.min(*shortest);
        let is_there = match created {
            Ok(true) => true,
            Ok(false) => return Err(violated("create", format!("{name} is said to be there"))),
            Err(NotDone::Failed(fault)) => {
                self.end_process("create", &fault)?;
                self.machine.tenant().subscription(name).is_ok()
            }
            Err(refused) => return Err(violated("create", format!("{name}: {refused}"))),
        };
        if is_there {
            self.ledger.defined(name, terms, after);
            self.watch(name);
        }
        Ok(())
    }

    /// What a change that failed did is known after a restart: this ends the process at once.
    pub(super) fn end_process(&mut self, what: &'static str, fault: &Fault) -> Step {
        self.machine.tolerate(what, fault)?;
        self.restart()
    }

    fn update(&mut self, name: &str, old: Terms) -> Step {
        let new = self.terms();
        // Rarely another key, since little can be said of the order then.
        let key = if self.machine.dice.chance(15) { new.key } else { old.key };
        let choice = if self.machine.dice.chance(40) { new.choice } else { old.choice };
        let terms = Terms { key, choice, retention_ms: old.retention_ms, is_paused: old.is_paused, ..new };
        self.redefine(name, old, terms)
    }

    pub(super) fn pause(&mut self, name: &str, old: Terms) -> Step {
        let terms = Terms { is_paused: !old.is_paused, ..old.clone() };
        self.redefine(name, old, terms)
    }

    fn redefine(&mut self, name: &str, old: Terms, terms: Terms) -> Step {
        self.machine.say(|| format!("update {name}: {terms:?}"));
        let is_pause = Terms { is_paused: terms.is_paused, ..old.clone() } == terms;
        let outcome = match is_pause {
            true => self.machine.tenant().pause_subscription(name, terms.is_paused),
            false => self.machine.tenant().update_subscription(name, terms.definition(&StartAt::Now)),
        };
        match outcome {
            Ok(()) => self.ledger.updated(name, terms),
            Err(NotDone::Failed(fault)) => {
                self.end_process("update", &fault)?;
                let found = self.machine.tenant().subscription(name);
                let found = found.map_err(|refused| violated("update", format!("{name}: {refused}")))?;
                let text = |definition: &quipu_domain::Subscription| {
                    serde_json::to_string(definition).expect("it is plain data")
                };
                let start = found.definition.start.clone();
                if text(found.definition.as_ref()) == text(&terms.definition(&start)) {
                    self.ledger.updated(name, terms);
                } else if text(found.definition.as_ref()) != text(&old.definition(&start)) {
                    return Err(violated("update", format!("{name}: expected {old:?} or {terms:?}")));
                }
            }
            // Events wait behind others of their key.
            Err(NotDone::Refused(SubscriptionRefusal::Invalid(invalid)))
                if invalid.pointer == "/key" && old.key != terms.key => {}
            Err(refused) => return Err(violated("update", format!("{name}: {refused}"))),
        }
        Ok(())
    }

    fn seek(&mut self, name: &str) -> Step {
        let (start, after) = self.start();
        self.machine.say(|| format!("seek {name} to after {after}"));
        let outcome = self.machine.tenant().seek_subscription(name, &start);
        match outcome {
            Ok(()) => {
                self.look_at_letters()?;
                self.ledger.sought(name, after, self.figures(name)?)?;
            }
            Err(NotDone::Failed(fault)) => {
                self.end_process("seek", &fault)?;
                let found = self.machine.tenant().subscription(name);
                let found = found.map_err(|refused| violated("seek", format!("{name}: {refused}")))?;
                // If it looks as if it was moved, it makes no difference whether it was.
                if found.scan == after && found.summary == Summary::default() {
                    self.ledger.sought(name, after, self.figures(name)?)?;
                }
            }
            Err(refused) => return Err(violated("seek", format!("{name}: {refused}"))),
        }
        Ok(())
    }

    fn delete(&mut self, name: &str) -> Step {
        self.machine.say(|| format!("delete {name}"));
        let outcome = self.machine.tenant().delete_subscription(name);
        match outcome {
            Ok(()) => {
                self.look_at_letters()?;
                self.ledger.deleted(name)?;
            }
            Err(NotDone::Failed(fault)) => {
                self.end_process("delete", &fault)?;
                if self.machine.tenant().subscription(name).is_err() {
                    self.ledger.deleted(name)?;
                }
            }
            Err(refused) => return Err(violated("delete", format!("{name}: {refused}"))),
        }
        Ok(())
    }
}
