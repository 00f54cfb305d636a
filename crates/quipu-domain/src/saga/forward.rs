//! Going on: steps are opened, finished and failed.

use super::attempt::Purpose;
use super::declaration::OnFailure;
use super::effect::{Effect, What};
use super::input::Told;
use super::plan::{Action, Doing, NodeId};
use super::state::{At, Cell, Done, Failure, Heard, How, Phase, VARIABLES_BYTES_MAX, Why};
use super::step::{Machine, Run, Todo};

impl Machine<'_> {
    pub(super) fn open(&mut self, run: Run) {
        let (node, iteration) = run;
        match &self.plan.node(node).doing {
            Doing::Sequence(of) => match of.first() {
                Some(first) => self.todo.push_back(Todo::Open((*first, iteration))),
                None => self.todo.push_back(Todo::Finished(run)),
            },
            Doing::Parallel { of, .. } => {
                self.state.cells.push(Cell::new(run, Purpose::Command, At::Gathering { finished: 0, failed: 0 }));
                self.todo.extend(of.iter().map(|branch| Todo::Open((*branch, iteration))));
            }
            Doing::If { .. } => self.ask(run, 0),
            Doing::Loop { body, max, .. } => {
                let first = iteration.saturating_mul(*max);
                self.todo.push_back(Todo::Open((*body, first)));
            }
            Doing::Task(_) => self.open_task(run),
            Doing::Complete => self.todo.push_back(Todo::Finished((0, 0))),
            Doing::Written => {}
            Doing::Fail => {
                let failure = Failure { node, iteration, why: Why::Declared };
                self.note(What::Failed, run, 0, 0);
                self.todo.push_back(Todo::Failed(run, failure));
            }
        }
    }

    /// Asks whoever evaluates: a condition, or the variables of a finished step.
    fn ask(&mut self, run: Run, round: u16) {
        self.state.cells.push(Cell::new(run, Purpose::Command, At::Asking { round }));
        self.effects.push(Effect::Ask { node: run.0, iteration: run.1 });
    }

    fn open_task(&mut self, run: Run) {
        let Some(task) = self.plan.task(run.0) else { return };
        let mut cell = Cell::new(run, Purpose::Command, At::Waiting);
        // Somebody had it go on again from a step before: attempts are counted on, so that no name is given twice.
        if let Some(before) = self.find_done(run) {
            let done = self.state.done.remove(before);
            (cell.attempts, cell.before, cell.refused) = (done.attempts, done.attempts, done.refused);
        }
        if task.action == Action::Wait
            && let Some(early) = self.state.early.iter().position(|(node, _)| *node == run.0)
        {
            let (_, position) = self.state.early.remove(early);
            self.state.cells.push(cell);
            return self.finish(self.state.cells.len() - 1, None, position);
        }
        cell.due = task.timeout_ms.map(|ms| self.after(ms));
        self.state.cells.push(cell);
        if !matches!(task.action, Action::Wait | Action::Sleep) {
            self.attempt(self.state.cells.len() - 1);
        }
    }

    /// A task is finished by an event: the answer to an attempt, which is taken for the newest if it names none.
    pub(super) fn finish(&mut self, at: usize, attempt: Option<u16>, position: u64) {
        let cell = self.state.cells.remove(at);
        let run = cell.run();
        self.note(What::Finished, run, attempt.unwrap_or(cell.attempts), position);
        if self.plan.action(run.0) != Some(&Action::Sleep) {
            self.state.done.push(Done::of(&cell, How::Finished, position));
        }
        match &self.plan.node(run.0).set {
            Some(_) => self.ask(run, 0),
            None => self.todo.push_back(Todo::Finished(run)),
        }
    }

    /// A task failed: nobody answered, or it was refused.
    pub(super) fn fail(&mut self, at: usize, why: Why) {
        let run = self.state.cells[at].run();
        if matches!(self.state.cells[at].at, At::Stuck(_)) {
            return;
        }
        self.note(What::Failed, run, self.state.cells[at].attempts, 0);
        if self.plan.on_failure == OnFailure::Wait && self.is_fatal(run) {
            return self.ask_person(at, why);
        }
        let cell = self.state.cells.remove(at);
        self.give_up(&cell);
        self.todo.push_back(Todo::Failed(run, Failure { node: run.0, iteration: run.1, why }));
    }

    /// Whether the saga fails if this fails: no parallel around it can do without.
    fn is_fatal(&self, run: Run) -> bool {
        let mut inner = run;
        while let Some(outer) = self.parent(inner) {
            if let Doing::Parallel { of, need } = &self.plan.node(outer.0).doing
                && let Some(at) = self.find_cell(outer, Purpose::Command)
                && let At::Gathering { failed, .. } = self.state.cells[at].at
                && of.len() - failed.count_ones() as usize > usize::from(*need)
            {
                return false;
            }
            inner = outer;
        }
        true
    }

    /// What is known of an attempt that nobody waits for any more.
    pub(super) fn give_up(&mut self, cell: &Cell) {
        // A wait has no attempts, and leaves nothing.
        if cell.attempts == 0 {
            return;
        }
        let how = if cell.is_in_doubt() { How::InDoubt } else { How::Refused };
        if how == How::InDoubt {
            self.note(What::GivenUp, cell.run(), cell.attempts, 0);
        }
        self.state.done.push(Done::of(cell, how, 0));
    }

    /// The run of the step around a run.
    fn parent(&self, (node, iteration): Run) -> Option<Run> {
        let parent = self.plan.node(node).parent?;
        match &self.plan.node(parent).doing {
            Doing::Loop { max, .. } => Some((parent, iteration / max)),
            _ => Some((parent, iteration)),
        }
    }

    pub(super) fn finished(&mut self, run: Run) {
        let Some(outer) = self.parent(run) else {
            if self.state.phase == Phase::Forward {
                self.state.phase = Phase::Completing;
            }
            return;
        };
        match &self.plan.node(outer.0).doing {
            Doing::Sequence(of) => {
                let next = of.iter().position(|id| *id == run.0).and_then(|at| of.get(at + 1));
                self.todo.push_back(next.map_or(Todo::Finished(outer), |next| Todo::Open((*next, run.1))));
            }
            Doing::Parallel { of, need } => self.gather(run, outer, of, *need, true),
            Doing::Loop { body, until, max } => {
                let round = run.1 % max;
                match until {
                    Some(_) => self.ask(outer, round),
                    None => self.next_round(outer, *body, round, *max),
                }
            }
            Doing::If { .. } => self.todo.push_back(Todo::Finished(outer)),
            Doing::Task(_) | Doing::Complete | Doing::Fail | Doing::Written => {}
        }
    }

    fn next_round(&mut self, run: Run, body: NodeId, round: u16, max: u16) {
        if round + 1 < max {
            return self.todo.push_back(Todo::Open((body, run.1 * max + round + 1)));
        }
        if !matches!(&self.plan.node(run.0).doing, Doing::Loop { until: Some(_), .. }) {
            return self.todo.push_back(Todo::Finished(run));
        }
        // Its cell is only for somebody to decide about.
        self.state.cells.push(Cell { before: round, ..Cell::new(run, Purpose::Command, At::Waiting) });
        self.fail(self.state.cells.len() - 1, Why::Bound);
    }

    pub(super) fn failed(&mut self, run: Run, failure: Failure) {
        let Some(outer) = self.parent(run) else {
            self.state.failure.get_or_insert(failure);
            self.state.phase = Phase::Compensating;
            return self.abandon((0, 0));
        };
        match &self.plan.node(outer.0).doing {
            Doing::Parallel { of, need } => {
                self.abandon(run);
                self.gather(run, outer, of, *need, false);
                if let Some(at) = self.find_cell(outer, Purpose::Command)
                    && let At::Gathering { failed, .. } = self.state.cells[at].at
                    && of.len() - (failed.count_ones() as usize) < usize::from(*need)
                {
                    self.abandon(outer);
                    self.todo.push_back(Todo::Failed(outer, failure));
                }
            }
            _ => self.todo.push_back(Todo::Failed(outer, failure)),
        }
    }

    /// Counts a branch. Once enough are finished, the others are given up and undone.
    fn gather(&mut self, branch: Run, run: Run, of: &[NodeId], need: u16, is_finished: bool) {
        let Some(at) = self.find_cell(run, Purpose::Command) else { return };
        let At::Gathering { finished, failed } = &mut self.state.cells[at].at else { return };
        let bit = of.iter().position(|id| *id == branch.0).map_or(0, |at| 1u64 << at);
        *(if is_finished { &mut *finished } else { failed }) |= bit;
        let finished = *finished;
        if finished.count_ones() < u32::from(need) {
            return;
        }
        self.state.cells.remove(at);
        for (at, id) in of.iter().enumerate() {
            if finished & (1 << at) == 0 {
                self.abandon((*id, run.1));
            }
        }
        self.todo.push_back(Todo::Finished(run));
    }

    pub(super) fn told(&mut self, run: Run, told: Told<'_>) {
        let Some(at) = self.find_cell(run, Purpose::Command) else { return };
        let At::Asking { round } = self.state.cells[at].at else { return };
        match told {
            Told::Wanted(_) => {}
            Told::Failed(reason) => {
                self.note_text(What::MappingFailed, run, 0, 0, reason);
                self.state.cells[at].before = round;
                self.ask_person(at, Why::MappingFails);
            }
            Told::Holds(holds) => {
                self.state.cells.remove(at);
                self.note_text(What::Decided, run, 0, 0, if holds { "true" } else { "false" });
                self.decide(run, round, holds);
            }
            Told::Variables(text) if text.len() > VARIABLES_BYTES_MAX => {
                let found = text.len();
                let reason = format!("expected variables of at most {VARIABLES_BYTES_MAX} bytes, found {found}");
                self.told(run, Told::Failed(&reason));
            }
            Told::Variables(text) => {
                self.state.cells.remove(at);
                self.state.variables = Some(text.into());
                self.note(What::VariablesSet, run, 0, 0);
                self.todo.push_back(Todo::Finished(run));
            }
        }
    }

    /// Goes on behind a condition.
    pub(super) fn decide(&mut self, run: Run, round: u16, holds: bool) {
        match &self.plan.node(run.0).doing {
            Doing::If { then, otherwise, .. } => {
                let side = if holds { Some(then) } else { otherwise.as_ref() };
                self.todo.push_back(side.map_or(Todo::Finished(run), |side| Todo::Open((*side, run.1))));
            }
            Doing::Loop { .. } if holds => self.todo.push_back(Todo::Finished(run)),
            Doing::Loop { body, max, .. } => self.next_round(run, *body, round, *max),
            // What it sets stays as it was.
            _ => self.todo.push_back(Todo::Finished(run)),
        }
    }

    /// Asks again what could not be evaluated.
    pub(super) fn ask_again(&mut self, at: usize) {
        let cell = &mut self.state.cells[at];
        (cell.at, cell.refused) = (At::Asking { round: cell.before }, Heard::default());
        let (node, iteration) = cell.run();
        self.effects.push(Effect::Ask { node, iteration });
    }
}
