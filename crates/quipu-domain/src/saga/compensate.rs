//! Undoing: what is given up is marked, and what is marked is undone one after the other, newest first.

use super::attempt::{Attempt, Purpose};
use super::effect::What;
use super::state::{At, Cell, How, Outcome, Phase, Undo, Why};
use super::step::{Machine, Run};
use crate::Timestamp;

impl Machine<'_> {
    /// Gives up all that is open in a step, and marks all that was done in it.
    pub(super) fn abandon(&mut self, scope: Run) {
        let plan = self.plan;
        self.todo.retain(|todo| !plan.is_within(todo.run(), scope));
        let is_open = |cell: &Cell| cell.purpose == Purpose::Command && plan.is_within(cell.run(), scope);
        let cells = std::mem::take(&mut self.state.cells);
        let (given_up, kept) = cells.into_iter().partition(is_open);
        self.state.cells = kept;
        let given_up: Vec<Cell> = given_up;
        for cell in &given_up {
            self.give_up(cell);
        }
        for done in &mut self.state.done {
            let is_marked =
                done.undo == Undo::No && plan.undo(done.node).is_some() && plan.is_within(done.run(), scope);
            if is_marked {
                done.undo = if done.how == How::Refused { Undo::Spared } else { Undo::Owed };
            }
        }
    }

    /// Begins to undo the newest run that has to be, unless another is being undone. True if it did.
    pub(super) fn undo_next(&mut self) -> bool {
        let is_undo = |cell: &Cell| matches!(cell.purpose, Purpose::Compensation | Purpose::Late);
        if self.state.sending > 0 || self.state.cells.iter().any(is_undo) {
            return false;
        }
        let owed = self.state.done.iter_mut().rfind(|done| matches!(done.undo, Undo::Owed | Undo::OwedLate));
        let Some(done) = owed else { return false };
        let purpose = if done.undo == Undo::OwedLate { Purpose::Late } else { Purpose::Compensation };
        done.undo = Undo::Open;
        let attempts = done.undo_attempts;
        let cell = Cell { attempts, before: attempts, ..Cell::new(done.run(), purpose, At::Waiting) };
        self.state.cells.push(cell);
        self.attempt(self.state.cells.len() - 1);
        true
    }

    /// A run is undone, by an answer to an attempt, which is taken for the newest if it names none; or somebody settled it.
    pub(super) fn undone(&mut self, at: usize, how: Undo, attempt: Option<u16>, position: u64) {
        let cell = self.state.cells.remove(at);
        if let Some(done) = self.find_done(cell.run()) {
            let done = &mut self.state.done[done];
            (done.undo, done.undo_attempts) = (how, cell.attempts);
        }
        if how == Undo::Done {
            self.note(What::Undone, cell.run(), attempt.unwrap_or(cell.attempts), position);
        }
    }

    /// A run succeeded after it was undone, or while it was: it is undone once more.
    pub(super) fn undo_late(&mut self, at: usize) {
        let run = self.state.done[at].run();
        for purpose in [Purpose::Compensation, Purpose::Late] {
            if let Some(cell) = self.find_cell(run, purpose) {
                self.state.done[at].undo_attempts = self.state.cells.remove(cell).attempts;
            }
        }
        self.state.done[at].undo = Undo::OwedLate;
        self.reopen();
    }

    /// Goes on undoing what was over.
    pub(super) fn reopen(&mut self) {
        if self.state.phase == Phase::Ended {
            let is_completed = self.state.outcome == Some(Outcome::Completed);
            self.state.phase = if is_completed { Phase::Completing } else { Phase::Compensating };
            self.note(What::Reopened, (0, 0), 0, 0);
        }
    }

    /// An answer to a compensation, if it is to the one that is open.
    fn undo_cell(&mut self, run: Run, cause: Option<Attempt>, position: u64) -> Option<usize> {
        let purposes = [Purpose::Compensation, Purpose::Late];
        let open = purposes.into_iter().find_map(|purpose| Some((purpose, self.find_cell(run, purpose)?)));
        let number = cause.map_or(0, |cause| cause.number);
        let Some((purpose, at)) = open else {
            let what = if self.find_done(run).is_some() { What::Repeated } else { What::NotAsked };
            self.note(what, run, number, position);
            return None;
        };
        match cause.map(|cause| cause.purpose) {
            // Of those before it, which may have found nothing to undo.
            None if purpose == Purpose::Late => self.note(What::Ambiguous, run, 0, position),
            Some(other) if other != purpose => self.note(What::Repeated, run, number, position),
            _ => return Some(at),
        }
        None
    }

    pub(super) fn undo_succeeded(&mut self, run: Run, cause: Option<Attempt>, position: u64) {
        if let Some(at) = self.undo_cell(run, cause, position) {
            self.undone(at, Undo::Done, cause.map(|cause| cause.number), position);
        }
    }

    pub(super) fn undo_refused(&mut self, run: Run, cause: Option<Attempt>, position: u64) {
        let Some(at) = self.undo_cell(run, cause, position) else { return };
        let cell = &self.state.cells[at];
        let (attempts, cell_at) = (cell.attempts, cell.at);
        self.note(What::UndoRefused, run, cause.map_or(attempts, |cause| cause.number), position);
        let is_newest = cause.is_none_or(|cause| cause.number == attempts);
        if is_newest && matches!(cell_at, At::Waiting | At::Calling) {
            self.undo_again(at, Why::Refused, None);
        }
    }

    /// The next attempt to undo, or a person.
    pub(super) fn undo_again(&mut self, at: usize, why: Why, not_before: Option<Timestamp>) {
        let task = self.plan.undo(self.state.cells[at].node);
        if !task.is_some_and(|task| self.back_off(at, task, not_before)) {
            self.ask_person(at, why);
        }
    }
}
