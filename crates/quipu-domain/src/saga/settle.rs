//! Which attempt an answer settles, and what that comes to.

use super::attempt::{Attempt, Purpose};
use super::effect::What;
use super::plan::{Action, NodeId, Role};
use super::state::{At, Cell, EARLY_MAX, How, Outcome, Undo, Why};
use super::step::{Machine, Run};
use crate::Timestamp;

impl Role {
    /// The step that it is about, what for, and whether it is good news.
    fn about(self) -> Option<(NodeId, bool, bool)> {
        match self {
            Self::Start => None,
            Self::Reply(node) => Some((node, false, true)),
            Self::Refusal(node) => Some((node, false, false)),
            Self::Undone(node) => Some((node, true, true)),
            Self::NotUndone(node) => Some((node, true, false)),
        }
    }
}

/// One thing that an event may mean.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Meaning {
    node: NodeId,
    is_undo: bool,
    is_good: bool,
}

impl Machine<'_> {
    pub(super) fn event(&mut self, position: u64, roles: &[Role], cause: Option<Attempt>) {
        let mut meanings: Vec<Meaning> = Vec::new();
        for (node, is_undo, is_good) in roles.iter().filter_map(|role| role.about()) {
            // What is taken for a refusal and for a success is a refusal: `await: order.*`, `fail_on: order.failed`.
            let same = |other: &Meaning| other.node == node && other.is_undo == is_undo;
            match meanings.iter_mut().find(|other| same(other)) {
                Some(other) => other.is_good &= is_good,
                None => meanings.push(Meaning { node, is_undo, is_good }),
            }
        }
        if roles.contains(&Role::Start) && meanings.is_empty() {
            return self.note(What::AlreadyOpen, (0, 0), 0, position);
        }
        let names = |cause: &Attempt, meaning: &Meaning| {
            cause.node == meaning.node && (cause.purpose != Purpose::Command) == meaning.is_undo
        };
        let named = cause.and_then(|cause| Some((*meanings.iter().find(|meaning| names(&cause, meaning))?, cause)));
        if let Some((meaning, cause)) = named {
            return self.meant(meaning, (cause.node, cause.iteration), Some(cause), position);
        }
        if cause.is_some() {
            // It answers another command of this instance: only what sends none may take it.
            meanings.retain(|meaning| self.plan.action(meaning.node) == Some(&Action::Wait));
        }
        self.unnamed(&meanings, position);
    }

    /// An event that names no attempt: it means what is open, or else what is over, if that is one thing only.
    fn unnamed(&mut self, meanings: &[Meaning], position: u64) {
        let open = |meaning: &Meaning| {
            let is_it = |cell: &&Cell| {
                let is_undo = cell.purpose != Purpose::Command;
                cell.node == meaning.node && is_undo == meaning.is_undo && !cell.is_finished_already()
            };
            self.state.cells.iter().find(is_it).map(|cell| (*meaning, cell.run()))
        };
        let over = |meaning: &Meaning| {
            let is_unsettled = |how: How, undo: Undo| match meaning.is_undo {
                true => matches!(undo, Undo::Done | Undo::Skipped | Undo::ByHand),
                false => !how.is_finished(),
            };
            let done = self.state.done.iter().rfind(|done| done.node == meaning.node)?;
            let is_wait = self.plan.action(meaning.node) == Some(&Action::Wait);
            (!is_wait && is_unsettled(done.how, done.undo)).then_some((*meaning, done.run()))
        };
        let found: Vec<(Meaning, Run)> = meanings.iter().filter_map(open).collect();
        let found = if found.is_empty() { meanings.iter().filter_map(over).collect() } else { found };
        match found[..] {
            [(meaning, run)] => self.meant(meaning, run, None, position),
            [] => self.unasked(meanings, position),
            [(_, run), ..] => self.note(What::Ambiguous, run, 0, position),
        }
    }

    /// Nothing waits for it: it is early, or was here before.
    fn unasked(&mut self, meanings: &[Meaning], position: u64) {
        let is_wait = |meaning: &&Meaning| self.plan.action(meaning.node) == Some(&Action::Wait);
        if let Some(Meaning { node, .. }) = meanings.iter().find(is_wait).copied() {
            let was_here = self.state.done.iter().any(|done| done.node == node);
            let is_to_come =
                self.state.phase == super::state::Phase::Forward && (!was_here || self.plan.is_repeated(node));
            if is_to_come {
                let is_full = self.state.early.len() >= EARLY_MAX;
                if !is_full {
                    self.state.early.push((node, position));
                }
                return self.note(if is_full { What::DroppedEarly } else { What::KeptEarly }, (node, 0), 0, position);
            }
        }
        let known = |meaning: &&Meaning| self.state.done.iter().any(|done| done.node == meaning.node);
        match meanings.iter().find(known) {
            Some(meaning) => self.note(What::Repeated, (meaning.node, 0), 0, position),
            None => self.note(What::NotAsked, (meanings.first().map_or(0, |first| first.node), 0), 0, position),
        }
    }

    fn meant(&mut self, meaning: Meaning, run: Run, cause: Option<Attempt>, position: u64) {
        self.state.last = position;
        let attempt = cause.map(|cause| cause.number);
        match (meaning.is_undo, meaning.is_good) {
            (false, true) => self.succeeded(run, attempt, position),
            (false, false) => self.refused(run, attempt, position, Why::Refused),
            (true, true) => self.undo_succeeded(run, cause, position),
            (true, false) => self.undo_refused(run, cause, position),
        }
    }

    /// A step was done.
    pub(super) fn succeeded(&mut self, run: Run, attempt: Option<u16>, position: u64) {
        let open = self.find_cell(run, Purpose::Command);
        if let Some(at) = open.filter(|at| !self.state.cells[*at].is_finished_already()) {
            self.finish(at, attempt, position);
            if let (Some(attempt), Some(done)) = (attempt, self.find_done(run)) {
                self.state.done[done].succeeded.insert(attempt);
            }
            return;
        }
        let number = attempt.unwrap_or(0);
        let Some(at) = self.find_done(run) else { return self.note(What::NotAsked, run, number, position) };
        let done = &mut self.state.done[at];
        let is_news = match attempt {
            Some(attempt) => done.succeeded.insert(attempt),
            None => !done.how.is_finished(),
        };
        let was_finished = done.how.is_finished();
        let was_undone = matches!(done.undo, Undo::Open | Undo::Done | Undo::Skipped | Undo::ByHand);
        if was_finished && !(is_news && was_undone) {
            return self.note(What::Repeated, run, number, position);
        }
        if !was_finished {
            (done.how, done.position) = (How::Finished, position);
        }
        if done.undo == Undo::Spared {
            done.undo = Undo::Owed;
        }
        self.note(What::LateSuccess, run, number, position);
        if was_undone {
            self.undo_late(at);
        } else if self.state.done[at].undo == Undo::Owed {
            self.reopen();
        }
    }

    /// A step was refused.
    pub(super) fn refused(&mut self, run: Run, attempt: Option<u16>, position: u64, why: Why) {
        let open = self.find_cell(run, Purpose::Command).filter(|at| !self.state.cells[*at].is_finished_already());
        let (Some(at), Some(task)) = (open, self.plan.task(run.0)) else {
            return self.refused_late(run, attempt, position);
        };
        let cell = &mut self.state.cells[at];
        let (made, cell_at) = (cell.attempts, cell.at);
        // Without a name it is surely of the only attempt, and else of nobody knows which.
        if let Some(attempt) = attempt.or((made == 1).then_some(1)) {
            cell.refused.insert(attempt);
        }
        self.note(What::Refused, run, attempt.unwrap_or(0), position);
        let is_newest = attempt.is_none_or(|attempt| attempt == made);
        match cell_at {
            At::Stuck(_) => {}
            _ if !task.tries.on_failure => self.fail(at, why),
            At::BackingOff => {}
            _ if !is_newest || self.back_off(at, task, None) => {}
            _ => self.fail(at, why),
        }
    }

    /// A step was refused that nobody waits for any more: if all its attempts were, it is not in doubt.
    pub(super) fn refused_late(&mut self, run: Run, attempt: Option<u16>, position: u64) {
        let number = attempt.unwrap_or(0);
        let Some(at) = self.find_done(run) else { return self.note(What::NotAsked, run, number, position) };
        let done = &mut self.state.done[at];
        if done.how.is_finished() {
            return self.note(What::Repeated, run, number, position);
        }
        let is_news = attempt.or((done.attempts == 1).then_some(1)).is_some_and(|attempt| done.refused.insert(attempt));
        if done.how == How::InDoubt && done.refused.has_all(done.attempts) {
            done.how = How::Refused;
            if done.undo == Undo::Owed {
                done.undo = Undo::Spared;
            }
        }
        self.note(if is_news { What::LateRefusal } else { What::Repeated }, run, number, position);
    }

    /// Nobody knows what became of a call that nobody waits for any more. If it was undone meanwhile, the call may have come
    /// after that.
    pub(super) fn in_doubt_late(&mut self, attempt: Attempt, position: u64) {
        let run = (attempt.node, attempt.iteration);
        let found = self.find_done(run).filter(|_| attempt.purpose == Purpose::Command);
        let Some(at) = found else { return self.note(What::NotAsked, run, attempt.number, position) };
        let done = &mut self.state.done[at];
        let was_undone = matches!(done.undo, Undo::Open | Undo::Done | Undo::Skipped | Undo::ByHand);
        if done.how != How::InDoubt || !was_undone || !done.succeeded.insert(attempt.number) {
            return self.note(What::Repeated, run, attempt.number, position);
        }
        self.note(What::LateDoubt, run, attempt.number, position);
        self.undo_late(at);
    }

    /// Nobody answered in time, or time has passed. Another attempt is not made before a time, if one is said.
    pub(super) fn timed_out(&mut self, at: usize, not_before: Option<Timestamp>) {
        let cell = &self.state.cells[at];
        let (run, attempts) = (cell.run(), cell.attempts);
        if cell.purpose != Purpose::Command {
            self.note(What::UndoTimedOut, run, attempts, 0);
            return self.undo_again(at, Why::TimedOut, not_before);
        }
        let Some(task) = self.plan.task(run.0) else { return };
        if task.action == Action::Sleep {
            return self.finish(at, None, 0);
        }
        self.note(What::TimedOut, run, attempts, 0);
        let is_again = task.action != Action::Wait && task.tries.on_timeout && self.back_off(at, task, not_before);
        if !is_again {
            self.fail(at, Why::TimedOut);
        }
    }

    /// A saga that a step began has ended.
    pub(super) fn child(&mut self, attempt: Attempt, outcome: Outcome) {
        let run = (attempt.node, attempt.iteration);
        let is_completed = outcome == Outcome::Completed;
        if let Some(at) =
            self.find_cell(run, Purpose::Command).filter(|at| !self.state.cells[*at].is_finished_already())
        {
            if is_completed {
                return self.succeeded(run, Some(attempt.number), 0);
            }
            // It undid what it did, or somebody settled it.
            self.state.cells[at].refused.insert(attempt.number);
            return self.fail(at, Why::ChildFailed);
        }
        let is_undo = |at: &usize| self.plan.compensation(self.state.cells[*at].node) == Some(&Action::Undo);
        let undo = [Purpose::Compensation, Purpose::Late].into_iter().find_map(|purpose| self.find_cell(run, purpose));
        match undo.filter(is_undo) {
            // What somebody did instead of it, it cannot have undone.
            Some(at) if self.state.cells[at].at == At::Stuck(Why::DoneByHand) => {
                self.note(What::Repeated, run, attempt.number, 0);
            }
            // That it was completed before it heard that it is to be undone is no news.
            Some(at) if !is_completed => self.undone(at, Undo::Done, None, 0),
            Some(_) => {}
            None if is_completed => self.succeeded(run, Some(attempt.number), 0),
            None => self.refused_late(run, Some(attempt.number), 0),
        }
    }
}
