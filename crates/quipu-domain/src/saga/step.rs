//! One step of an instance: total and pure. It never refuses; what does not fit is a note that says so.
//!
//! What a step sets off is put on a list and done one after the other, so that a thousand steps that need no answer take no
//! more stack than one.

use std::collections::VecDeque;

use super::attempt::{Attempt, Purpose};
use super::effect::{Effect, NOTE_BYTES_MAX, Note, Step, What};
use super::input::{Answer, Input};
use super::plan::{NodeId, Plan, Task};
use super::state::{At, Cell, Done, Due, Failure, Heard, How, Kept, Outcome, Phase, State, Undo, Why};
use super::written;
use crate::Timestamp;

/// Steps an instance.
pub fn step(plan: &Plan, state: State, input: Input<'_>, now: Timestamp) -> Step {
    if plan.is_written() {
        return written::step(state, input, now);
    }
    let mut machine = Machine { plan, state, now, effects: Vec::new(), notes: Vec::new(), todo: VecDeque::new() };
    machine.feed(input);
    machine.work();
    machine.check();
    Step { state: machine.state, effects: machine.effects, notes: machine.notes }
}

pub(super) struct Machine<'a> {
    pub plan: &'a Plan,
    pub state: State,
    pub now: Timestamp,
    pub effects: Vec<Effect>,
    pub notes: Vec<Note>,
    pub todo: VecDeque<Todo>,
}

/// A run of a step: the step, and how often it ran before.
pub(super) type Run = (NodeId, u16);

/// What a step sets off.
#[derive(Clone, Copy, Debug)]
pub(super) enum Todo {
    Open(Run),
    Finished(Run),
    Failed(Run, Failure),
}

impl Todo {
    pub fn run(self) -> Run {
        match self {
            Self::Open(run) | Self::Finished(run) | Self::Failed(run, _) => run,
        }
    }
}

impl Machine<'_> {
    fn feed(&mut self, input: Input<'_>) {
        if let Input::Start { number, position, parent, variables } = input {
            if self.state.phase != Phase::New {
                return self.note(What::AlreadyOpen, (0, 0), 0, position);
            }
            let variables = variables.map(Into::into);
            let phase = Phase::Forward;
            self.state =
                State { phase, number, start: position, last: position, parent, variables, ..State::default() };
            self.note(What::Begun, (0, 0), 0, position);
            return self.todo.push_back(Todo::Open((0, 0)));
        }
        if self.state.phase == Phase::New {
            return self.note(What::NotAsked, (0, 0), 0, 0);
        }
        // A pause ends by reading again what came meanwhile, by calling again what was not answered, and by asking again after children.
        let is_outside =
            matches!(input, Input::Event { .. } | Input::Due { .. } | Input::Answered { .. } | Input::Child { .. });
        if is_outside && self.state.paused.is_some() {
            // Whoever called was told that it is taken, and does not say it again.
            if let Input::Answered { attempt, answer, position, text } = input {
                self.keep(attempt, answer, position, text);
            }
            return;
        }
        match input {
            Input::Start { .. } => {}
            Input::Event { position, roles, cause } => self.event(position, roles, cause),
            Input::Due { until } => self.due(until),
            Input::Answered { attempt, answer, position, text } => self.heard(attempt, answer, position, text),
            Input::Sent { attempt } => self.sent(attempt),
            Input::NotSent { attempt, reason } => self.not_sent(attempt, reason),
            Input::Told { node, iteration, told } => self.told((node, iteration), told),
            Input::Child { attempt, outcome } => self.child(attempt, outcome),
            Input::Act(act) => self.act(act),
        }
    }

    /// Does all that was set off.
    pub fn work(&mut self) {
        loop {
            self.go_on();
            if !self.undo_next() {
                return self.close();
            }
        }
    }

    /// Does what was set off, and undoes nothing yet.
    pub fn go_on(&mut self) {
        while let Some(todo) = self.todo.pop_front() {
            match todo {
                Todo::Open(run) => self.open(run),
                Todo::Finished(run) => self.finished(run),
                Todo::Failed(run, failure) => self.failed(run, failure),
            }
        }
    }

    fn due(&mut self, until: Timestamp) {
        let due = |cell: &Cell| cell.due.filter(|due| due.at <= until).map(|due| (due, cell.run(), cell.purpose));
        let mut all: Vec<(Due, Run, Purpose)> = self.state.cells.iter().filter_map(due).collect();
        all.sort_by_key(|(due, ..)| due.at);
        for (due, run, purpose) in all {
            // Whatever came before it may have ended it.
            let is_it = |cell: &Cell| cell.run() == run && cell.purpose == purpose && cell.due == Some(due);
            let Some(at) = self.state.cells.iter().position(is_it) else { continue };
            match self.state.cells[at].at {
                At::BackingOff => self.attempt(at),
                _ => self.timed_out(at, None),
            }
            self.work();
        }
    }

    /// Makes the next attempt of a cell.
    pub fn attempt(&mut self, index: usize) {
        let (run, purpose) = (self.state.cells[index].run(), self.state.cells[index].purpose);
        let task = match purpose {
            Purpose::Command => self.plan.task(run.0),
            _ => self.plan.undo(run.0),
        };
        let Some(task) = task else { return };
        if task.action == super::Action::Undo && self.is_by_hand(run) {
            return self.ask_person(index, Why::DoneByHand);
        }
        let cell = &mut self.state.cells[index];
        cell.attempts = cell.attempts.saturating_add(1);
        let attempt = cell.attempt();
        let (effect, at) = match &task.action {
            super::Action::Send(_) if task.reply.is_none() => (Effect::Send(attempt), At::Sending),
            super::Action::Send(_) => (Effect::Send(attempt), At::Waiting),
            super::Action::Call(_) => (Effect::Call(attempt), At::Calling),
            super::Action::Begin(_) => (Effect::Begin(attempt), At::Waiting),
            super::Action::Undo => (Effect::UndoChild(self.child_of(run)), At::Waiting),
            super::Action::Wait | super::Action::Sleep => return,
        };
        // A call is answered by whoever makes it: what waits for its endpoint to recover is not timed out here.
        let due = task.timeout_ms.filter(|_| at == At::Waiting).map(|ms| self.after(ms));
        let cell = &mut self.state.cells[index];
        (cell.at, cell.due) = (at, due);
        let what = if purpose == Purpose::Command { What::Tried } else { What::UndoTried };
        self.note(what, run, attempt.number, 0);
        self.effect(effect);
    }

    pub fn effect(&mut self, effect: Effect) {
        if matches!(effect, Effect::Send(_)) {
            self.state.sending = self.state.sending.saturating_add(1);
        }
        self.effects.push(effect);
    }

    fn is_by_hand(&self, run: Run) -> bool {
        self.find_done(run).is_some_and(|done| self.state.done[done].how == How::ByHand)
    }

    /// The attempt that began the saga of a run that is over.
    pub fn child_of(&self, run: Run) -> Attempt {
        let done = self.state.done.iter().rfind(|done| done.run() == run);
        let number = done.map_or(1, |done| done.attempts);
        Attempt { node: run.0, iteration: run.1, number, purpose: Purpose::Command }
    }

    pub fn find_cell(&self, run: Run, purpose: Purpose) -> Option<usize> {
        self.state.cells.iter().position(|cell| cell.run() == run && cell.purpose == purpose)
    }

    /// The newest run of a step that is over.
    pub fn find_done(&self, run: Run) -> Option<usize> {
        self.state.done.iter().rposition(|done| done.run() == run)
    }

    pub fn after(&self, ms: u64) -> Due {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        Due { since: self.now, at: self.now.plus_ms(ms) }
    }

    /// Has a cell wait for its next attempt, or makes it at once. False if none is left.
    /// Not before a time, if one is said.
    pub fn back_off(&mut self, at: usize, task: &Task, not_before: Option<Timestamp>) -> bool {
        let cell = &self.state.cells[at];
        let made = cell.attempts.saturating_sub(cell.before);
        if made >= task.tries.max || cell.attempts == u16::MAX {
            return false;
        }
        let delay = task.tries.backoff.delay_ms(u32::from(made), chance(self.state.number, cell));
        let mut due = self.after(delay);
        due.at = due.at.max(not_before.unwrap_or(due.at));
        if due.at <= self.now {
            self.attempt(at);
            return true;
        }
        let cell = &mut self.state.cells[at];
        (cell.at, cell.due) = (At::BackingOff, Some(due));
        true
    }

    /// Has somebody decide about a cell.
    pub fn ask_person(&mut self, at: usize, why: Why) {
        let cell = &mut self.state.cells[at];
        (cell.at, cell.due) = (At::Stuck(why), None);
        let (run, attempt) = (cell.run(), cell.attempts);
        self.note(What::Asks, run, attempt, 0);
    }

    fn sent(&mut self, attempt: Attempt) {
        self.state.sending = self.state.sending.saturating_sub(1);
        let run = (attempt.node, attempt.iteration);
        let cell = self.find_cell(run, attempt.purpose);
        let Some(at) = cell.filter(|at| self.state.cells[*at].at == At::Sending) else {
            // Abandoned in between: it was done after all. What waits for an answer is not done yet.
            let needs_no_answer = |task: &Task| task.reply.is_none();
            let is_command = attempt.purpose == Purpose::Command && cell.is_none();
            if is_command && self.plan.task(attempt.node).is_some_and(needs_no_answer) {
                self.succeeded(run, Some(attempt.number), 0);
            }
            return;
        };
        match attempt.purpose {
            Purpose::Command => self.succeeded(run, Some(attempt.number), 0),
            Purpose::Compensation | Purpose::Late => self.undone(at, Undo::Done, Some(attempt.number), 0),
            Purpose::End => {
                self.state.cells.remove(at);
            }
        }
    }

    fn not_sent(&mut self, attempt: Attempt, reason: &str) {
        let run = (attempt.node, attempt.iteration);
        // Whether a saga was begun or a call can be made is only said if not.
        if self.plan.child(attempt).is_none() && self.plan.call(attempt).is_none() {
            self.state.sending = self.state.sending.saturating_sub(1);
        }
        self.note_text(What::NotSent, run, attempt.number, 0, reason);
        match (attempt.purpose, self.find_cell(run, attempt.purpose)) {
            (Purpose::Command, Some(at)) => {
                self.state.cells[at].refused.insert(attempt.number);
                self.fail(at, Why::NotSent);
            }
            (Purpose::Command, None) => self.refused_late(run, Some(attempt.number), 0),
            (_, Some(at)) => self.ask_person(at, Why::NotSent),
            (_, None) => {}
        }
    }

    /// Keeps an answer until the pause ends. That nobody knows is kept only for want of a better one.
    fn keep(&mut self, attempt: Attempt, answer: Answer, position: u64, text: &str) {
        let run = (attempt.node, attempt.iteration);
        let made = match (self.find_cell(run, attempt.purpose), self.find_done(run)) {
            (Some(at), _) => self.state.cells[at].attempts,
            (None, Some(at)) if attempt.purpose == Purpose::Command => self.state.done[at].attempts,
            // It undoes nothing any more.
            _ => return,
        };
        if !(1..=made).contains(&attempt.number) {
            return;
        }
        let is_better = |kept: &Kept| kept.attempt == attempt && !matches!(kept.answer, Answer::Unsure { .. });
        if self.state.kept.iter().any(is_better) {
            return;
        }
        self.state.kept.retain(|kept| kept.attempt != attempt);
        let text = text[..text.floor_char_boundary(NOTE_BYTES_MAX)].into();
        self.state.kept.push(Kept { attempt, answer, position, text });
    }

    /// An endpoint answered.
    pub fn heard(&mut self, attempt: Attempt, answer: Answer, position: u64, text: &str) {
        let first = self.notes.len();
        self.answered(attempt, answer, position);
        // The first is about the answer, whatever follows from it.
        if let Some(note) = self.notes.get_mut(first) {
            note.set_text(text);
        }
    }

    fn answered(&mut self, attempt: Attempt, answer: Answer, position: u64) {
        let run = (attempt.node, attempt.iteration);
        let number = Some(attempt.number);
        if position > 0 {
            self.state.last = position;
        }
        match (answer, attempt.purpose) {
            (Answer::Done, Purpose::Command) => self.succeeded(run, number, position),
            (Answer::Refused, Purpose::Command) => self.refused(run, number, position, Why::Refused),
            (Answer::Done, _) => self.undo_succeeded(run, Some(attempt), position),
            (Answer::Refused, _) => self.undo_refused(run, Some(attempt), position),
            (Answer::Unsure { not_before }, _) => {
                let is_it = |at: &usize| {
                    let cell = &self.state.cells[*at];
                    cell.at == At::Calling && cell.attempts == attempt.number
                };
                match self.find_cell(run, attempt.purpose).filter(is_it) {
                    Some(at) => self.timed_out(at, not_before),
                    None => self.in_doubt_late(attempt, position),
                }
            }
        }
    }

    /// Ends the instance if nothing is left to do.
    fn close(&mut self) {
        let is_over = matches!(self.state.phase, Phase::Completing | Phase::Compensating);
        if !is_over || !self.state.cells.is_empty() || self.state.sending > 0 {
            return;
        }
        let outcome = self.outcome();
        self.state.outcome = Some(outcome);
        let is_completed = outcome == Outcome::Completed;
        let message = if is_completed { &self.plan.completes } else { &self.plan.fails };
        let (times, was_completed) = self.state.announced;
        if message.is_some() && (times == 0 || was_completed != is_completed) {
            self.state.announced = (times.saturating_add(1), is_completed);
            let (number, purpose) = (self.state.announced.0, Purpose::End);
            self.effect(Effect::Send(Attempt { node: 0, iteration: 0, number, purpose }));
            self.state.cells.push(Cell { attempts: number, ..Cell::new((0, 0), purpose, At::Sending) });
            return;
        }
        self.state.phase = Phase::Ended;
        self.note_text(What::Ended, (0, 0), 0, 0, outcome.as_str());
        if let Some(parent) = self.state.parent {
            self.effects.push(Effect::Tell { parent, outcome });
        }
    }

    fn outcome(&self) -> Outcome {
        let has = |undo: Undo| self.state.done.iter().any(|done| done.undo == undo);
        let is_cancelled = self.state.failure.is_some_and(|failure| failure.why == Why::Cancelled);
        match self.state.phase {
            Phase::Completing => Outcome::Completed,
            _ if has(Undo::Skipped) => Outcome::Failed,
            _ if has(Undo::ByHand) => Outcome::Resolved,
            _ if is_cancelled => Outcome::Cancelled,
            _ => Outcome::Compensated,
        }
    }

    pub fn note(&mut self, what: What, (node, iteration): Run, attempt: u16, position: u64) {
        self.notes.push(Note { what, node, iteration, attempt, position, text: None });
    }

    pub fn note_text(&mut self, what: What, run: Run, attempt: u16, position: u64, text: &str) {
        self.note(what, run, attempt, position);
        if let Some(note) = self.notes.last_mut() {
            note.set_text(text);
        }
    }

    /// What must hold after every step, whatever came.
    fn check(&self) {
        let state = &self.state;
        let has = |purpose| state.cells.iter().filter(|cell| cell.purpose == purpose).count();
        assert!(state.phase != Phase::Ended || state.cells.is_empty(), "what is over does nothing");
        assert!(has(Purpose::Compensation) + has(Purpose::Late) <= 1, "steps are undone one after the other");
        let is_over = matches!(state.phase, Phase::Completing | Phase::Compensating);
        assert!(!is_over || has(Purpose::Command) == 0, "what is being undone does not go on");
        assert!(self.todo.is_empty(), "all that was set off is done");
    }
}

impl Cell {
    pub fn new((node, iteration): Run, purpose: Purpose, at: At) -> Self {
        Self { node, iteration, purpose, at, attempts: 0, before: 0, refused: Heard::default(), due: None }
    }
}

impl Done {
    /// What a cell leaves when it is over.
    pub fn of(cell: &Cell, how: How, position: u64) -> Self {
        Self {
            node: cell.node,
            iteration: cell.iteration,
            how,
            position,
            attempts: cell.attempts,
            refused: cell.refused,
            succeeded: Heard::default(),
            undo: Undo::No,
            undo_attempts: 0,
        }
    }
}

impl Outcome {
    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Cancelled => "cancelled",
            Self::Resolved => "resolved",
            Self::Failed => "failed",
        }
    }
}

/// What the jitter of a wait is taken from, 0 to 1: the same after a crash, and another for each attempt (SplitMix64).
fn chance(number: u64, cell: &Cell) -> f64 {
    let run = u64::from(cell.node) << 32 | u64::from(cell.iteration) << 16 | u64::from(cell.attempts);
    let mut x = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(run).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1u64 << 53) as f64
}
