//! Steps an instance as an engine does: what a round came to is written at once, or never was.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Dice;
use crate::Timestamp;
use crate::saga::plan::Node;
use crate::saga::step::Run;
use crate::saga::{Attempt, Effect, Input, NodeId, Note, Plan, Purpose, State, Told, explain, step};

/// What is done once it is written.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    Effect(Effect),
    /// By a person.
    Done(Run),
    Undone(Run),
}

/// All that a commit writes.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub state: State,
    /// How many events of the log, and how many ends of other instances, were fed.
    pub place: usize,
    pub told: usize,
    /// What is to be done, in order.
    pub deeds: Vec<Deed>,
    pub notes: Vec<Note>,
    /// Attempts of which it was told that they were refused.
    pub refused: BTreeSet<Attempt>,
    /// Runs of which it was told that they succeeded.
    pub succeeded: BTreeSet<Run>,
    /// Runs whose compensation a person skipped, and whether a person skipped the event of the end.
    pub skipped: BTreeSet<Run>,
    pub is_end_skipped: bool,
    /// The newest attempt of everything that is tried.
    newest: BTreeMap<(Run, bool), u16>,
    names: BTreeSet<Attempt>,
}

impl Ledger {
    /// Feeds an input and back what has to be answered at once. Unlucky sends cannot be published, unlucky mappings fail.
    pub fn feed(&mut self, plan: &Plan, now: Timestamp, input: Input<'_>, dice: &mut Dice, is_lucky: bool) {
        let mut effects = VecDeque::from(self.step(plan, now, input));
        while !effects.is_empty() {
            let mut answers = Vec::new();
            for effect in effects.drain(..) {
                answers.extend(self.take(plan, effect, dice, is_lucky));
            }
            for answer in answers {
                if let Input::NotSent { attempt, .. } = answer {
                    self.refused.insert(attempt);
                }
                effects.extend(self.step(plan, now, answer));
            }
        }
        assert_eq!(self.state.sending, 0, "what was published was told");
        let is_over = matches!(self.state.status(), None | Some(crate::saga::Status::Ended(_)));
        assert_eq!(explain(plan, &self.state).is_empty(), is_over, "what is open can say what it waits for");
    }

    fn step(&mut self, plan: &Plan, now: Timestamp, input: Input<'_>) -> Vec<Effect> {
        let bytes = postcard::to_stdvec(&self.state).unwrap();
        let again = step(plan, postcard::from_bytes(&bytes).unwrap(), input.clone(), now);
        let step = step(plan, std::mem::take(&mut self.state), input, now);
        assert_eq!(step, again, "a step depends on nothing but what it is given");
        self.state = step.state;
        self.notes.extend(step.notes);
        step.effects
    }

    fn take(&mut self, plan: &Plan, effect: Effect, dice: &mut Dice, is_lucky: bool) -> Option<Input<'static>> {
        let is_unlucky = !is_lucky && dice.is_one_in(24);
        match effect {
            Effect::Send(attempt) | Effect::Begin(attempt) | Effect::Call(attempt) => {
                if !self.names.contains(&attempt) {
                    self.check_undone(plan, attempt);
                }
                self.check_name(effect, attempt);
                if is_unlucky && !matches!(effect, Effect::Call(_)) {
                    return Some(Input::NotSent { attempt, reason: "unlucky" });
                }
                self.deeds.push(Deed::Effect(effect));
                matches!(effect, Effect::Send(_)).then_some(Input::Sent { attempt })
            }
            Effect::Ask { node, iteration } => {
                assert!(plan.question(node).is_some());
                let told = match is_unlucky {
                    true => Told::Failed("unlucky"),
                    false => Told::Holds(dice.roll(2) == 0),
                };
                Some(Input::Told { node, iteration, told })
            }
            Effect::UndoChild(_) | Effect::Tell { .. } => {
                self.deeds.push(Deed::Effect(effect));
                None
            }
        }
    }

    /// Attempts are counted without gaps and nothing is published twice. Calls and sagas are asked for again after a pause.
    fn check_name(&mut self, effect: Effect, attempt: Attempt) {
        let is_undo = attempt.purpose != Purpose::Command;
        let newest = self.newest.entry(((attempt.node, attempt.iteration), is_undo)).or_default();
        let is_again = !matches!(effect, Effect::Send(_)) && attempt.number == *newest;
        assert!(is_again || attempt.number == *newest + 1, "{attempt} comes after attempt {newest}");
        *newest = attempt.number;
        let is_new = self.names.insert(attempt);
        assert!(is_new || is_again, "{attempt} is made twice");
    }

    /// What was surely refused, every attempt of it, is not undone. What is being undone already goes on.
    fn check_undone(&self, plan: &Plan, attempt: Attempt) {
        if matches!(attempt.purpose, Purpose::Compensation | Purpose::Late) {
            assert!(plan.compensation(attempt.node).is_some());
            assert!(
                attempt.number > 1 || !self.is_refused((attempt.node, attempt.iteration)),
                "{attempt} undoes what was refused: {}",
                self.story()
            );
        }
    }

    /// The timeline on one line, for whoever looks into a failure.
    pub fn story(&self) -> String {
        let line = |note: &Note| format!("{:?} {}.{}/{}", note.what, note.node, note.iteration, note.attempt);
        self.notes.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    /// Whether all attempts of a run were refused, and none succeeded, as far as it was told.
    pub fn is_refused(&self, run: Run) -> bool {
        let attempts = self.newest.get(&(run, false)).copied().unwrap_or(0);
        let attempt = |number| Attempt { node: run.0, iteration: run.1, number, purpose: Purpose::Command };
        !self.succeeded.contains(&run) && (1..=attempts).all(|number| self.refused.contains(&attempt(number)))
    }

    /// Attempts to do a run, and to undo it.
    pub fn attempts(&self, run: Run, is_undo: bool) -> u16 {
        self.newest.get(&(run, is_undo)).copied().unwrap_or(0)
    }

    /// Every run that something was tried for.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        self.newest.keys().filter(|(run, is_undo)| !is_undo && run.0 > 0).map(|(run, _)| *run)
    }
}

/// The arena of a plan, for the oracle.
pub fn node(plan: &Plan, id: NodeId) -> &Node {
    &plan.nodes[usize::from(id)]
}
