//! What somebody may do to an instance.

use std::fmt;

use super::attempt::Purpose;
use super::effect::{Effect, What};
use super::input::{Act, ActKind};
use super::plan::{Action, Doing, NodeId, Plan};
use super::state::{At, Cell, Done, Failure, How, Kept, Outcome, Paused, Phase, State, Undo, Why};
use super::step::{Machine, Todo};
use super::written;

/// Why an intervention does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPossible {
    /// It is over.
    Ended,
    /// It undoes what it did already.
    Compensating,
    /// It is paused.
    Paused,
    /// It is not paused.
    NotPaused,
    /// Nobody is asked.
    NobodyAsked,
    /// There is no such step among those that follow each other in the saga, up to where it stands.
    NoSuchStep,
    /// Something was undone.
    Undone {
        /// The step.
        step: String,
    },
    /// It was tried as often as can be counted.
    TooManyAttempts,
    /// The code of a saga that is written in Rust is missing.
    NoCode,
}

impl fmt::Display for NotPossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("expected an open instance, found one that has ended"),
            Self::Compensating => f.write_str("expected an instance that goes on, found one that is being undone"),
            Self::Paused => f.write_str("expected an instance that runs, found a paused one; resume it first"),
            Self::NotPaused => f.write_str("expected a paused instance, found one that runs"),
            Self::NobodyAsked => f.write_str("expected an instance that asks a person, found one that does not"),
            Self::NoSuchStep => f.write_str(
                "expected a step of the saga itself, not one inside of another, up to where the instance stands, found none",
            ),
            Self::Undone { step } => {
                write!(f, "expected an instance of which nothing was undone, found {step} undone; start another instead")
            }
            Self::NoCode => f.write_str(
                "expected the code of every saga that is written in Rust, found one without; open the store by the program that brings it",
            ),
            Self::TooManyAttempts => f.write_str("expected fewer than 65,535 attempts, found as many; skip or resolve it"),
        }
    }
}

impl std::error::Error for NotPossible {}

/// Whether an intervention fits how an instance stands. What does not fit changes nothing when it is fed.
///
/// # Errors
/// [`NotPossible`].
pub fn may(plan: &Plan, state: &State, act: ActKind) -> Result<(), NotPossible> {
    if plan.is_written() {
        return written::may(state, act);
    }
    let is_over = matches!(state.phase, Phase::Ended | Phase::New);
    match act {
        ActKind::Undo => Ok(()),
        _ if is_over => Err(NotPossible::Ended),
        ActKind::Cancel if state.phase == Phase::Compensating => Err(NotPossible::Compensating),
        // It is said to be completed, and only undoes what lost.
        ActKind::Cancel if state.outcome.is_some() => Err(NotPossible::Ended),
        ActKind::Cancel => Ok(()),
        ActKind::Resume if state.paused.is_none() => Err(NotPossible::NotPaused),
        ActKind::Resume => Ok(()),
        _ if state.paused.is_some() => Err(NotPossible::Paused),
        ActKind::Pause { .. } => Ok(()),
        ActKind::Retry { from: Some(from) } => may_go_on_from(plan, state, from),
        ActKind::Retry { .. } | ActKind::Skip | ActKind::Resolve => {
            let stuck = state.cells.iter().find(|cell| cell.is_stuck()).ok_or(NotPossible::NobodyAsked)?;
            let is_retry = matches!(act, ActKind::Retry { .. });
            if is_retry && stuck.attempts == u16::MAX { Err(NotPossible::TooManyAttempts) } else { Ok(()) }
        }
    }
}

fn may_go_on_from(plan: &Plan, state: &State, from: NodeId) -> Result<(), NotPossible> {
    if state.phase != Phase::Forward {
        return Err(NotPossible::Compensating);
    }
    let stuck = state.cells.iter().find(|cell| cell.is_stuck()).ok_or(NotPossible::NobodyAsked)?;
    let of_saga = match &plan.node(0).doing {
        Doing::Sequence(of) => of.contains(&from),
        _ => false,
    };
    if !of_saga || from > stuck.node {
        return Err(NotPossible::NoSuchStep);
    }
    if let Some(done) = state.done.iter().find(|done| done.undo != Undo::No) {
        return Err(NotPossible::Undone { step: plan.step_name(done.node).to_owned() });
    }
    let is_full = |done: &Done| done.node >= from && done.attempts == u16::MAX;
    if state.done.iter().any(is_full) { Err(NotPossible::TooManyAttempts) } else { Ok(()) }
}

impl Cell {
    pub(super) fn is_stuck(&self) -> bool {
        matches!(self.at, At::Stuck(_))
    }
}

impl Machine<'_> {
    pub(super) fn act(&mut self, Act { what, operation, reason }: Act<'_>) {
        if let Err(not_possible) = may(self.plan, &self.state, what) {
            return self.note_text(What::NotDone, (0, 0), 0, operation, &not_possible.to_string());
        }
        match what {
            ActKind::Cancel => {
                self.note_text(What::Cancelled, (0, 0), 0, operation, reason);
                self.undo_all();
            }
            ActKind::Pause { place } => {
                self.note_text(What::Paused, (0, 0), 0, operation, reason);
                self.state.paused = Some(Paused { since: self.now, place });
            }
            ActKind::Resume => {
                self.note_text(What::Resumed, (0, 0), 0, operation, reason);
                self.resume();
            }
            ActKind::Retry { from: None } => self.on_stuck(What::Retried, operation, reason),
            ActKind::Skip => self.on_stuck(What::Skipped, operation, reason),
            ActKind::Resolve => self.on_stuck(What::Resolved, operation, reason),
            ActKind::Retry { from: Some(from) } => {
                self.note_text(What::Retried, (from, 0), 0, operation, reason);
                self.go_on_from(from);
            }
            ActKind::Undo => self.undo_for_parent(operation, reason),
        }
    }

    /// As if it failed where it stands.
    fn undo_all(&mut self) {
        self.state.cells.retain(|cell| cell.purpose != Purpose::End);
        self.state.failure = Some(Failure { node: 0, iteration: 0, why: Why::Cancelled });
        self.state.phase = Phase::Compensating;
        self.abandon((0, 0));
        // What is being undone already goes on.
        self.resume();
    }

    fn undo_for_parent(&mut self, operation: u64, reason: &str) {
        match (self.state.phase, self.state.outcome) {
            (Phase::Forward | Phase::Completing, _) | (Phase::Ended, Some(Outcome::Completed)) => {
                self.note_text(What::UndoneByParent, (0, 0), 0, operation, reason);
                self.undo_all();
            }
            (Phase::Ended, Some(outcome)) => {
                let tell = self.state.parent.map(|parent| Effect::Tell { parent, outcome });
                self.effects.extend(tell);
            }
            _ => {}
        }
    }

    /// Timeouts move by how long it stood still; what is out is asked for once more, but for calls that were answered meanwhile. All
    /// their answers are taken in before anything is undone.
    fn resume(&mut self) {
        let Some(paused) = self.state.paused.take() else { return };
        let stood_us = self.now.0.saturating_sub(paused.since.0).max(0);
        for cell in &mut self.state.cells {
            if let Some(due) = &mut cell.due {
                due.since.0 = due.since.0.saturating_add(stood_us);
                due.at.0 = due.at.0.saturating_add(stood_us);
            }
        }
        let answers = std::mem::take(&mut self.state.kept);
        let is_answered = |cell: &Cell| answers.iter().any(|kept| kept.attempt == cell.attempt());
        for cell in self.state.cells.clone() {
            let task =
                if cell.purpose == Purpose::Command { self.plan.task(cell.node) } else { self.plan.undo(cell.node) };
            match (cell.at, task.map(|task| &task.action)) {
                (At::Calling, _) if is_answered(&cell) => {}
                (At::Calling, _) => self.effects.push(Effect::Call(cell.attempt())),
                (At::Waiting, Some(Action::Begin(_))) => self.effects.push(Effect::Begin(cell.attempt())),
                (At::Waiting, Some(Action::Undo)) => {
                    let child = self.child_of(cell.run());
                    self.effects.push(Effect::UndoChild(child));
                }
                _ => {}
            }
        }
        for Kept { attempt, answer, position, text } in answers {
            self.heard(attempt, answer, position, &text);
            self.go_on();
        }
    }

    /// Does something about the first thing that somebody is asked about.
    fn on_stuck(&mut self, what: What, operation: u64, reason: &str) {
        let Some(at) = self.state.cells.iter().position(Cell::is_stuck) else { return };
        let cell = self.state.cells[at].clone();
        let run = cell.run();
        self.note_text(what, run, cell.attempts, operation, reason);
        let is_question = self.plan.task(run.0).is_none() || cell.is_finished_already();
        match (what, cell.purpose) {
            (What::Retried, Purpose::End) => self.announce_again(at),
            (What::Retried, Purpose::Command) if is_question => self.ask_again(at),
            (What::Retried, _) => {
                self.state.cells[at].before = cell.attempts;
                self.try_again(at);
            }
            (_, Purpose::End) => _ = self.state.cells.remove(at),
            (What::Skipped, Purpose::Compensation | Purpose::Late) => self.undone(at, Undo::Skipped, None, 0),
            (_, Purpose::Compensation | Purpose::Late) => self.undone(at, Undo::ByHand, None, 0),
            (_, Purpose::Command) if is_question => {
                self.state.cells.remove(at);
                match cell.at {
                    // A loop at its bound is left.
                    At::Stuck(Why::Bound) => self.todo.push_back(Todo::Finished(run)),
                    // What could not be evaluated: resolved it holds, skipped it does not.
                    _ => self.decide(run, cell.before, what == What::Resolved),
                }
            }
            (_, Purpose::Command) => {
                self.state.cells.remove(at);
                if what == What::Resolved {
                    self.state.done.push(Done::of(&cell, How::ByHand, 0));
                    // What somebody did, the saga that was begun for it is not to do too.
                    if let Some(Action::Begin(_)) = self.plan.action(run.0) {
                        self.effects.push(Effect::UndoChild(cell.attempt()));
                    }
                } else {
                    self.give_up(&cell);
                }
                self.todo.push_back(Todo::Finished(run));
            }
        }
    }

    fn try_again(&mut self, at: usize) {
        let cell = &self.state.cells[at];
        let is_wait = cell.purpose == Purpose::Command && self.plan.action(cell.node) == Some(&Action::Wait);
        if !is_wait {
            return self.attempt(at);
        }
        let timeout_ms = self.plan.task(cell.node).and_then(|task| task.timeout_ms);
        let due = timeout_ms.map(|ms| self.after(ms));
        let cell = &mut self.state.cells[at];
        (cell.at, cell.due) = (At::Waiting, due);
    }

    fn announce_again(&mut self, at: usize) {
        let (times, is_completed) = self.state.announced;
        self.state.announced = (times.saturating_add(1), is_completed);
        let cell = &mut self.state.cells[at];
        (cell.at, cell.attempts) = (At::Sending, times.saturating_add(1));
        let attempt = cell.attempt();
        self.effect(Effect::Send(attempt));
    }

    /// Opens a step again. What is open keeps its attempts; what is finished is done again under the same keys.
    fn go_on_from(&mut self, from: NodeId) {
        for cell in std::mem::take(&mut self.state.cells) {
            self.give_up(&cell);
        }
        self.todo.clear();
        self.todo.push_back(Todo::Open((from, 0)));
    }
}
