//! Those who are asked: each does what a command says once for each key, answers when it did, and undoes when it is told.

use std::sync::Arc;

use quipu_domain::saga::{Action, Answer, Attempt, Plan, Purpose, Role};

use quipu_engine::CallAnswer;

use super::{SagaSimulation, Step};
use crate::checker::sagas::{Command, run_of};

/// Calls that endpoints take at once.
const CALLS_MAX: usize = 10;

impl SagaSimulation {
    fn mood(&mut self) -> u64 {
        if self.is_draining { 0 } else { self.machine.dice.below(6) }
    }

    /// A participant takes a command. Where nobody answers, those of one run come in their order, as they do from the log.
    pub(super) fn deliver(&mut self) -> Step {
        if self.messages.is_empty() {
            return Ok(());
        }
        let mut at = self.machine.dice.below(self.messages.len() as u64) as usize;
        let run = |command: &Command| (command.number, run_of(command.attempt));
        if !self.is_answered(&self.messages[at]) {
            let chosen = run(&self.messages[at]);
            at = self.messages.iter().position(|other| run(other) == chosen).expect("it is one of them");
        }
        let command = self.messages[at].clone();
        if self.is_draining || !self.machine.dice.chance(20) {
            self.messages.remove(at);
        }
        let mood = self.mood();
        self.machine.say(|| format!("deliver {} {}, mood {mood}", command.heard.kind, command.heard.id));
        let (number, attempt) = (command.number, command.attempt);
        let plan = &self.ledger.plan_of(number).expect("it has sent a command").plan;
        let is_answered = plan.timeout_ms(attempt).is_some();
        let can_refuse = word(plan, Role::Refusal(attempt.node)).is_some();
        let run = run_of(attempt);
        if attempt.purpose == Purpose::Command {
            match mood {
                _ if self.ledger.is_done(number, run) => self.say(Role::Reply(attempt.node), &command),
                4 if can_refuse => self.say(Role::Refusal(attempt.node), &command),
                5 if is_answered => {}
                _ => {
                    self.ledger.does(number, run);
                    self.say(Role::Reply(attempt.node), &command);
                }
            }
            return Ok(());
        }
        match mood {
            4 if is_answered => self.say(Role::NotUndone(attempt.node), &command),
            5 if is_answered => {}
            _ => {
                self.ledger.undoes(number, run);
                self.say(Role::Undone(attempt.node), &command);
            }
        }
        Ok(())
    }

    /// Whether somebody answers what the step of a command does.
    fn is_answered(&self, command: &Command) -> bool {
        let known = self.ledger.plan_of(command.number).expect("it has sent a command");
        known.plan.timeout_ms(Attempt { purpose: Purpose::Command, ..command.attempt }).is_some()
    }

    /// An answer is on its way. It names its command where another could be meant.
    fn say(&mut self, role: Role, command: &Command) {
        let known = self.ledger.plan_of(command.number).expect("it has sent a command");
        let plan = &known.plan;
        let Some(kind) = word(plan, role) else { return };
        let names =
            |kind: &str| plan.listens().iter().filter(|listen| listen.pattern.named_types().contains(&kind)).count();
        let is_one = names(&kind) == 1 && !known.has_loop();
        let cause = (!is_one || self.machine.dice.chance(50)).then(|| command.heard.id.clone());
        let correlation = command.heard.correlation.clone();
        let event = self.event(&kind, correlation.as_deref(), cause.as_deref(), "{}");
        self.replies.push(event);
    }

    /// An answer is written to the log, perhaps twice.
    pub(super) fn publish(&mut self) -> Step {
        if self.replies.is_empty() {
            return Ok(());
        }
        let at = self.machine.dice.below(self.replies.len() as u64) as usize;
        let event = match self.is_draining || !self.machine.dice.chance(20) {
            true => self.replies.remove(at),
            // The same, said once more: another event.
            false => {
                let event = self.replies[at].clone();
                let (kind, correlation, cause) = (event.kind(), event.correlation_id(), event.causation_id());
                self.event(kind, correlation, cause, "{}")
            }
        };
        // Sometimes to somebody who did not ask. What begins a saga makes one who does.
        let is_answer = !event.kind().starts_with("start.");
        if is_answer && !self.is_draining && self.machine.dice.chance(3) {
            let event = self.event(event.kind(), Some("nobody"), None, "{}");
            self.send(event)?;
        }
        self.send(event)
    }

    /// An endpoint takes a call, and does it once for each key.
    pub(super) fn call(&mut self) -> Step {
        if !self.is_down() {
            let taken = self.machine.tenant().take_calls(CALLS_MAX);
            self.calls.extend(taken.into_iter().map(|call| (call.number, call.attempt)));
        }
        if self.calls.is_empty() {
            return Ok(());
        }
        // Those of one run are made one after the other.
        let chosen = self.calls[self.machine.dice.below(self.calls.len() as u64) as usize];
        let run = |call: &(u64, Attempt)| (call.0, run_of(call.1));
        let at = self.calls.iter().position(|other| run(other) == run(&chosen)).expect("it is one of them");
        let (number, attempt) = self.calls.remove(at);
        self.ledger.calls(number, attempt)?;
        let (key, run) = ((number, attempt.key()), run_of(attempt));
        let is_command = attempt.purpose == Purpose::Command;
        let answer = match self.mood() {
            _ if is_command && self.refused.contains(&key) => Answer::Refused,
            3 => Answer::UNSURE,
            5 if !is_command => Answer::Refused,
            5 if !self.ledger.is_done(number, run) => {
                self.refused.push(key);
                Answer::Refused
            }
            mood => {
                if is_command {
                    self.ledger.does(number, run);
                } else {
                    self.ledger.undoes(number, run);
                }
                if mood == 4 { Answer::UNSURE } else { Answer::Done }
            }
        };
        self.machine.say(|| format!("call of instance {number}, {attempt}: {answer:?}"));
        self.answers.push((number, attempt, answer));
        Ok(())
    }

    /// The answer of an endpoint comes.
    pub(super) fn answer(&mut self) -> Step {
        self.answers.append(&mut self.untold.lock());
        if self.answers.is_empty() || self.is_down() {
            return Ok(());
        }
        let at = self.machine.dice.below(self.answers.len() as u64) as usize;
        let (number, attempt, answer) = self.answers.remove(at);
        self.machine.say(|| format!("answer of {attempt} to instance {number}: {answer:?}"));
        let body = (answer == Answer::Done).then(|| "{}".to_owned());
        let untold = Arc::clone(&self.untold);
        let told = CallAnswer { answer, status: None, text: String::new(), body };
        self.machine.tenant().answer_call(number, attempt, told, move |result| {
            if result.is_err() {
                untold.lock().push((number, attempt, answer));
            }
        });
        Ok(())
    }

    /// Something that nobody asked for comes, that somebody may wait for.
    pub(super) fn outside(&mut self) -> Step {
        let numbers: Vec<u64> = self.ledger.instances().keys().copied().collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let number = *self.machine.dice.pick(&numbers);
        let plan = &self.ledger.plan_of(number).expect("it is one of them").plan;
        let waits = (1..plan.len() as u16).filter(|node| plan.action(*node) == Some(&Action::Wait));
        let kinds: Vec<String> = waits.filter_map(|node| word(plan, Role::Reply(node))).collect();
        if kinds.is_empty() {
            return Ok(());
        }
        let kind = self.machine.dice.pick(&kinds).clone();
        let key = self.ledger.instances()[&number].key.clone();
        let event = self.event(&kind, Some(&key), None, "{}");
        self.send(event)
    }
}

/// The type by which something is said.
fn word(plan: &Plan, role: Role) -> Option<String> {
    let listen = plan.listens().iter().find(|listen| listen.role == role)?;
    listen.pattern.named_types().first().map(|kind| (*kind).to_owned())
}
