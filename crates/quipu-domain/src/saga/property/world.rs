//! Those who are asked: each does what a command says once for each key, answers when it did, and undoes when it is told.

use std::collections::{BTreeMap, BTreeSet};

use super::driver::{Deed, Ledger};
use super::shape::{Shape, declare};
use super::{Dice, Setting};
use crate::Timestamp;
use crate::saga::state::{At, Phase};
use crate::saga::step::Run;
use crate::saga::{Act, ActKind, Action, Answer, Attempt, Effect, Input, Outcome, Plan, Purpose, Role, Status, may};

/// A saga that a step began.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Child {
    Open,
    Completed,
    Undone,
}

pub struct World {
    pub plan: Plan,
    pub setting: Setting,
    dice: Dice,
    now: Timestamp,
    /// What is stepped, and what of it is written.
    pub ledger: Ledger,
    committed: Ledger,
    /// How many of the written effects were carried out.
    released: usize,
    roles: BTreeMap<String, Vec<Role>>,
    log: Vec<(String, Option<Attempt>)>,
    tells: Vec<(Attempt, Outcome)>,
    /// On their way to participants, and from them.
    messages: Vec<Attempt>,
    replies: Vec<(String, Option<Attempt>)>,
    calls: Vec<Attempt>,
    answers: Vec<(Attempt, Answer)>,
    children: BTreeMap<Attempt, Child>,
    /// What took place once, and what of it stands.
    executed: BTreeSet<Run>,
    pub standing: BTreeSet<Run>,
    /// What an endpoint refused, it refuses for ever under the same key.
    refused: BTreeSet<Run>,
    pub ends: Vec<String>,
    is_draining: bool,
    decisions: usize,
}

impl World {
    pub fn new(setting: &Setting, dice: Dice) -> Self {
        let plan = Plan::compile(&declare(setting)).unwrap();
        let mut roles: BTreeMap<String, Vec<Role>> = BTreeMap::new();
        for listen in plan.listens() {
            for kind in listen.pattern.named_types() {
                roles.entry(kind.to_owned()).or_default().push(listen.role);
            }
        }
        let mut world = Self {
            plan,
            setting: setting.clone(),
            dice,
            now: Timestamp(0),
            ledger: Ledger::default(),
            committed: Ledger::default(),
            released: 0,
            roles,
            log: vec![("start".to_owned(), None)],
            tells: Vec::new(),
            messages: Vec::new(),
            replies: Vec::new(),
            calls: Vec::new(),
            answers: Vec::new(),
            children: BTreeMap::new(),
            executed: BTreeSet::new(),
            standing: BTreeSet::new(),
            refused: BTreeSet::new(),
            ends: Vec::new(),
            is_draining: false,
            decisions: 0,
        };
        world.ledger.place = 1;
        world.feed(Input::Start { number: 7, position: 1, parent: None, variables: None });
        world.commit();
        world
    }

    /// Whether answers have to name their command: an event that could be of another round or step belongs to nobody.
    pub fn names(&self) -> bool {
        self.setting.names || self.setting.twins || self.setting.shapes.iter().any(Shape::has_loop)
    }

    fn feed(&mut self, input: Input<'_>) {
        self.ledger.feed(&self.plan, self.now, input, &mut self.dice, self.is_draining);
    }

    fn is_paused(&self) -> bool {
        self.ledger.state.paused().is_some()
    }

    /// Something happens.
    pub fn step(&mut self) {
        match self.dice.roll(20) {
            0..4 => self.deliver(),
            4..7 => self.publish(),
            7..10 => self.read(),
            10 => self.hear(),
            11 | 12 => self.time_passes(),
            13 | 14 => self.commit(),
            15 => self.crash(),
            16 => self.call(),
            17 => self.answer(),
            18 => self.outside(),
            _ => self.intervene(),
        }
    }

    fn commit(&mut self) {
        self.committed = self.ledger.clone();
        for deed in &self.committed.deeds[self.released..] {
            let effect = match *deed {
                Deed::Effect(effect) => effect,
                Deed::Undone(run) => {
                    self.standing.remove(&run);
                    continue;
                }
                Deed::Done(run) => {
                    self.executed.insert(run);
                    self.standing.insert(run);
                    continue;
                }
            };
            match effect {
                Effect::Send(attempt) if attempt.purpose == Purpose::End => {
                    let kind = &self.plan.message(attempt, &self.committed.state).unwrap().kind;
                    self.ends.push(kind.to_string());
                }
                Effect::Send(attempt) => self.messages.push(attempt),
                Effect::Call(attempt) => self.calls.push(attempt),
                Effect::Begin(attempt) => _ = self.children.entry(attempt).or_insert(Child::Open),
                Effect::UndoChild(attempt) => {
                    self.children.insert(attempt, Child::Undone);
                    self.standing.remove(&run_of(attempt));
                    self.tells.push((attempt, Outcome::Cancelled));
                }
                Effect::Ask { .. } | Effect::Tell { .. } => unreachable!(),
            }
        }
        self.released = self.committed.deeds.len();
    }

    /// All that was not written is forgotten, and what was out is called again.
    fn crash(&mut self) {
        self.ledger = self.committed.clone();
        self.answers.clear();
        self.calls = self.ledger.state.calls().collect();
    }

    fn cause(&mut self, attempt: Attempt) -> Option<Attempt> {
        (self.names() || self.dice.roll(2) == 0).then_some(attempt)
    }

    fn say(&mut self, word: &str, attempt: Attempt) {
        let kind = match self.setting.twins {
            true => format!("{word}.x"),
            false => format!("{word}.{}", self.plan.step_name(attempt.node)),
        };
        if self.roles.contains_key(&kind) {
            let cause = self.cause(attempt);
            self.replies.push((kind, cause));
        }
    }

    /// A participant takes a command. Where nobody answers, those of one key come in their order, as they do from the log.
    fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let mut at = self.dice.roll(self.messages.len());
        let is_answered = self.plan.task(self.messages[at].node).is_some_and(|task| task.reply.is_some());
        if !is_answered {
            let run = run_of(self.messages[at]);
            at = self.messages.iter().position(|other| run_of(*other) == run).unwrap();
        }
        let attempt = self.messages[at];
        if self.is_draining || !self.dice.is_one_in(5) {
            self.messages.remove(at);
        }
        let run = run_of(attempt);
        let mood = if self.is_draining { 0 } else { self.dice.roll(6) };
        if attempt.purpose == Purpose::Command {
            let can_refuse = self.roles.values().flatten().any(|role| *role == Role::Refusal(attempt.node));
            match mood {
                _ if self.executed.contains(&run) => self.say("r", attempt),
                4 if can_refuse => self.say("f", attempt),
                5 if is_answered => {}
                _ => {
                    self.executed.insert(run);
                    self.standing.insert(run);
                    self.say("r", attempt);
                }
            }
            return;
        }
        let undo = self.plan.undo(attempt.node).unwrap();
        match mood {
            4 if undo.reply.is_some() => self.say("uf", attempt),
            5 if undo.reply.is_some() => {}
            _ => {
                self.standing.remove(&run);
                self.say("ur", attempt);
            }
        }
    }

    /// An answer is written to the log, perhaps twice.
    fn publish(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        let at = self.dice.roll(self.replies.len());
        let reply = self.replies[at].clone();
        if self.is_draining || !self.dice.is_one_in(5) {
            self.replies.remove(at);
        }
        self.log.push(reply);
    }

    /// The next event of the log is fed.
    fn read(&mut self) {
        if self.is_paused() || self.ledger.place >= self.log.len() {
            return;
        }
        let (kind, cause) = self.log[self.ledger.place].clone();
        self.ledger.place += 1;
        let roles = self.roles.get(&kind).cloned().unwrap_or_default();
        for role in &roles {
            match *role {
                Role::Reply(node) => {
                    // Of which round an event is that names none is of no matter: there is one.
                    let named = cause.is_none_or(|cause| cause.node == node);
                    let run = (node, cause.map_or(0, |cause| cause.iteration));
                    if named {
                        self.ledger.succeeded.insert(run);
                    }
                }
                Role::Refusal(node) if cause.is_none_or(|cause| cause.node == node) => {
                    let only = Attempt { node, iteration: 0, number: 1, purpose: Purpose::Command };
                    let is_only = self.ledger.attempts((node, 0), false) == 1;
                    self.ledger.refused.extend(cause.or(is_only.then_some(only)));
                }
                _ => {}
            }
        }
        let position = self.ledger.place as u64;
        self.feed(Input::Event { position, roles: &roles, cause });
    }

    fn hear(&mut self) {
        if self.is_paused() || self.ledger.told >= self.tells.len() {
            return;
        }
        let (attempt, outcome) = self.tells[self.ledger.told];
        self.ledger.told += 1;
        match outcome {
            Outcome::Completed => _ = self.ledger.succeeded.insert(run_of(attempt)),
            _ => _ = self.ledger.refused.insert(attempt),
        }
        self.feed(Input::Child { attempt, outcome });
    }

    /// The clock goes on, and sometimes back; what is due is fed.
    fn time_passes(&mut self) {
        let ms = [1, 900, 1_000, 3_000, 5_000, 20_000, -4_000][self.dice.roll(7)];
        self.now = self.now.plus_ms(ms);
        let is_due = |due: &crate::saga::Due| due.at <= self.now || self.now < due.since;
        if let Some(due) = self.ledger.state.due().filter(is_due) {
            self.feed(Input::Due { until: due.at });
        }
    }

    /// An endpoint takes a call: it does it once for each key.
    fn call(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        // Those of one run are made one after the other.
        let run = run_of(self.calls[self.dice.roll(self.calls.len())]);
        let at = self.calls.iter().position(|other| run_of(*other) == run).unwrap();
        let attempt = self.calls.remove(at);
        let mood = if self.is_draining { 0 } else { self.dice.roll(6) };
        let is_command = attempt.purpose == Purpose::Command;
        let answer = match mood {
            _ if is_command && self.refused.contains(&run) => Answer::Refused,
            3 => Answer::UNSURE,
            5 if !is_command => Answer::Refused,
            5 if !self.executed.contains(&run) => {
                self.refused.insert(run);
                Answer::Refused
            }
            _ => {
                if !is_command {
                    self.standing.remove(&run);
                } else if self.executed.insert(run) {
                    self.standing.insert(run);
                }
                if mood == 4 { Answer::UNSURE } else { Answer::Done }
            }
        };
        self.answers.push((attempt, answer));
    }

    /// An answer of an endpoint is fed, during a pause too: then it is taken in when that ends.
    fn answer(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let (attempt, answer) = self.answers.remove(self.dice.roll(self.answers.len()));
        match answer {
            Answer::Done if attempt.purpose == Purpose::Command => _ = self.ledger.succeeded.insert(run_of(attempt)),
            Answer::Refused if attempt.purpose == Purpose::Command => _ = self.ledger.refused.insert(attempt),
            _ => {}
        }
        self.feed(Input::Answered { attempt, answer, position: 0, text: "" });
    }

    /// Something that nobody asked for: an event that is waited for, or a saga within that ends.
    fn outside(&mut self) {
        let open: Vec<Attempt> =
            self.children.iter().filter(|(_, child)| **child == Child::Open).map(|(attempt, _)| *attempt).collect();
        let is_wait =
            |role: &&Role| matches!(role, Role::Reply(node) if self.plan.action(*node) == Some(&Action::Wait));
        let waits: Vec<String> = self
            .roles
            .iter()
            .filter(|(_, roles)| roles.iter().any(|role| is_wait(&role)))
            .map(|(kind, _)| kind.clone())
            .collect();
        if !waits.is_empty() && self.dice.roll(2) == 0 {
            let kind = waits[self.dice.roll(waits.len())].clone();
            self.log.push((kind, None));
        }
        if !open.is_empty() {
            let attempt = open[self.dice.roll(open.len())];
            let is_completed = self.is_draining || self.dice.roll(3) > 0;
            let outcome = if is_completed { Outcome::Completed } else { Outcome::Compensated };
            if is_completed {
                self.standing.insert(run_of(attempt));
            }
            self.children.insert(attempt, if is_completed { Child::Completed } else { Child::Undone });
            self.tells.push((attempt, outcome));
        }
    }

    fn intervene(&mut self) {
        let place = self.ledger.place as u64;
        let what = match self.dice.roll(12) {
            0 => ActKind::Cancel,
            1 | 2 => ActKind::Pause { place },
            3..6 => ActKind::Resume,
            _ => return self.decide(),
        };
        self.act(what);
    }

    fn act(&mut self, what: ActKind) {
        let before = self.ledger.state.clone();
        let is_possible = may(&self.plan, &before, what).is_ok();
        self.feed(Input::Act(Act { what, operation: 0, reason: "" }));
        assert!(is_possible || self.ledger.state == before, "{what:?} was not possible");
    }

    /// A person decides about what is asked first.
    fn decide(&mut self) {
        if self.ledger.state.status() != Some(Status::NeedsPerson) {
            return;
        }
        let stuck = self.ledger.state.cells.iter().find(|cell| matches!(cell.at, At::Stuck(_))).unwrap().clone();
        let run = stuck.run();
        let is_undo = matches!(stuck.purpose, Purpose::Compensation | Purpose::Late);
        let is_end = stuck.purpose == Purpose::End;
        let is_step = stuck.purpose == Purpose::Command && stuck.attempts > 0;
        // Sooner or later a person gives up.
        self.decisions += 1;
        let choice = if self.decisions > 100 { self.decisions % 2 } else { self.dice.roll(5) };
        match choice {
            0 if is_undo => {
                self.ledger.skipped.insert(run);
                self.act(ActKind::Skip);
            }
            0 => {
                self.ledger.is_end_skipped |= is_end;
                self.act(ActKind::Skip);
            }
            1 => {
                self.ledger.is_end_skipped |= is_end;
                self.ledger.succeeded.extend(is_step.then_some(run));
                self.act(ActKind::Resolve);
                if is_undo {
                    self.ledger.deeds.push(Deed::Undone(run));
                } else if is_step {
                    self.ledger.deeds.push(Deed::Done(run));
                }
            }
            2 if self.ledger.state.phase == Phase::Forward => {
                let from = self.dice.roll(self.plan.len()) as u16;
                self.act(ActKind::Retry { from: Some(from) });
            }
            _ => self.act(ActKind::Retry { from: None }),
        }
    }

    /// Everybody does what they are asked, until nothing moves any more.
    pub fn drain(&mut self) {
        self.is_draining = true;
        for _ in 0..5_000 {
            self.commit();
            match () {
                () if self.is_paused() => self.act(ActKind::Resume),
                () if !self.messages.is_empty() => self.deliver(),
                () if !self.replies.is_empty() => self.publish(),
                () if self.ledger.place < self.log.len() => self.read(),
                () if self.ledger.told < self.tells.len() => self.hear(),
                () if !self.calls.is_empty() => self.call(),
                () if !self.answers.is_empty() => self.answer(),
                () if self.children.values().any(|child| *child == Child::Open) => self.outside(),
                () if matches!(self.ledger.state.status(), Some(Status::Ended(_))) => return,
                () if self.ledger.state.status() == Some(Status::NeedsPerson) => self.decide(),
                () => {
                    let due =
                        self.ledger.state.due().unwrap_or_else(|| panic!("stands still: {:?}", self.ledger.state));
                    self.now = self.now.max(due.at);
                    self.feed(Input::Due { until: due.at });
                }
            }
        }
        panic!("does not end: {:?}", self.ledger.state);
    }
}

fn run_of(attempt: Attempt) -> Run {
    (attempt.node, attempt.iteration)
}
