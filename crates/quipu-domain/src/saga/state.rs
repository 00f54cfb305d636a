//! Where an instance stands. Positions of events, never their data: an open instance of three steps is some 60 bytes.

use serde::{Deserialize, Serialize};

use super::attempt::{Attempt, Purpose};
use super::input::Answer;
use super::plan::NodeId;
use super::written::Coded;
use crate::Timestamp;

/// Most events that are kept until a step waits for them.
pub const EARLY_MAX: usize = 16;
/// Most bytes of an instance's variables, as JSON.
pub const VARIABLES_BYTES_MAX: usize = 16 << 10;

/// The state of an instance. It is written whole, by postcard, whenever it changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(super) phase: Phase,
    /// The number of the instance in its tenant.
    pub(super) number: u64,
    /// The position of the event that started it.
    pub(super) start: u64,
    /// The position of the newest event that moved it.
    pub(super) last: u64,
    pub(super) cells: Vec<Cell>,
    /// Runs that are over, in the order in which they ended.
    pub(super) done: Vec<Done>,
    /// What came before its step.
    pub(super) early: Vec<(NodeId, u64)>,
    pub(super) variables: Option<Box<str>>,
    pub(super) failure: Option<Failure>,
    pub(super) outcome: Option<Outcome>,
    pub(super) paused: Option<Paused>,
    /// What calls were answered during the pause, one answer for each attempt: taken in when it ends, before anything else.
    pub(super) kept: Vec<Kept>,
    pub(super) parent: Option<Parent>,
    /// Events that are being published: 0 once the commit is complete. Nothing is undone before it is known what was sent.
    pub(super) sending: u16,
    /// How often its end was announced, and whether it was that of its completion the last time.
    pub(super) announced: (u16, bool),
    /// If its saga is written in Rust.
    pub(super) coded: Option<Box<Coded>>,
}

/// What an instance is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// It has not begun.
    #[default]
    New,
    Forward,
    /// All steps are finished; what lost in a parallel is still being undone.
    Completing,
    Compensating,
    Ended,
}

/// How an instance stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It goes on.
    Running,
    /// It undoes what it did.
    Compensating,
    /// Somebody has to decide.
    NeedsPerson,
    /// Somebody stopped it for a while.
    Paused,
    /// It is over.
    Ended(Outcome),
}

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Every step was finished.
    Completed,
    /// It failed, and everything that it did was undone.
    Compensated,
    /// It was cancelled, and everything that it did was undone.
    Cancelled,
    /// It failed, and somebody settled by hand what could not be undone.
    Resolved,
    /// It failed, and something that could not be undone was skipped: it stands.
    Failed,
}

/// Something that is under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Cell {
    pub node: NodeId,
    pub iteration: u16,
    pub purpose: Purpose,
    pub at: At,
    /// Made so far, in all.
    pub attempts: u16,
    /// Of these, made before somebody had it tried again: the limit counts from there.
    pub before: u16,
    /// Which attempts were refused.
    pub refused: Heard,
    pub due: Option<Due>,
}

/// When something under way is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// When it was set: if the clock goes back, it waits no longer than from then.
    pub since: Timestamp,
    /// When it is due.
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum At {
    /// It is being published; whether it was is told in the same commit.
    Sending,
    /// An answer, an event, a child or the time is waited for.
    Waiting,
    /// The next attempt is waited for.
    BackingOff,
    /// An endpoint is being called.
    Calling,
    /// A condition or a mapping is being evaluated.
    /// After this round, if it is of a loop.
    Asking { round: u16 },
    /// Branches: which are finished, which failed, one bit each.
    Gathering { finished: u64, failed: u64 },
    /// Somebody has to decide.
    Stuck(Why),
}

/// Why a step failed, or somebody is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Why {
    /// It was refused.
    Refused,
    /// Nobody answered in time, and no attempt is left.
    TimedOut,
    /// The command could not be published, or the saga not begun.
    NotSent,
    /// jq failed, or what it looks at is gone.
    MappingFails,
    /// A loop reached its bound.
    Bound,
    /// The declaration says so: `end: fail`.
    Declared,
    /// Somebody cancelled it.
    Cancelled,
    /// The saga that it began failed.
    ChildFailed,
    /// Somebody did by hand what a saga was begun for: that saga cannot undo it.
    DoneByHand,
    /// The code of a saga that is written in Rust.
    CodeFails,
}

/// What an instance failed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step.
    pub node: NodeId,
    /// Which run of it.
    pub iteration: u16,
    /// Why.
    pub why: Why,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Done {
    pub node: NodeId,
    pub iteration: u16,
    pub how: How,
    /// Of the event that finished it; 0 without one.
    pub position: u64,
    pub attempts: u16,
    pub refused: Heard,
    /// Which attempts are known to have succeeded.
    pub succeeded: Heard,
    pub undo: Undo,
    pub undo_attempts: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum How {
    Finished,
    /// By somebody, instead of by the step.
    ByHand,
    /// It was given up, and may have been done.
    InDoubt,
    /// Every attempt was refused.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Undo {
    /// It stands.
    No,
    /// It was refused, so nothing has to be undone.
    Spared,
    /// It will be undone when those after it are.
    Owed,
    /// It succeeded after it was undone, and will be once more.
    OwedLate,
    /// A cell undoes it.
    Open,
    Done,
    Skipped,
    ByHand,
}

/// A set of attempts by their numbers, up to the 16th: whether more are in it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard(u16);

impl Heard {
    /// Whether it was new.
    pub fn insert(&mut self, attempt: u16) -> bool {
        let before = self.0;
        if let 1..=16 = attempt {
            self.0 |= 1 << (attempt - 1);
        }
        before != self.0
    }

    /// Whether all of the first so many are in it.
    pub fn has_all(self, attempts: u16) -> bool {
        attempts <= 16 && self.0.trailing_ones() >= u32::from(attempts)
    }
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// Since when.
    pub since: Timestamp,
    /// Every event up to here was fed.
    pub place: u64,
}

/// What a call was answered during a pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub attempt: Attempt,
    pub answer: Answer,
    /// Of the event that keeps it, 0 without one.
    pub position: u64,
    pub text: Box<str>,
}

/// The instance and the step that began this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its number.
    pub number: u64,
    /// Which attempt of which step.
    pub attempt: Attempt,
}

impl State {
    /// How it stands; none before it began.
    pub fn status(&self) -> Option<Status> {
        let stuck = self.cells.iter().any(|cell| matches!(cell.at, At::Stuck(_)));
        Some(match self.phase {
            Phase::New => return None,
            Phase::Ended => Status::Ended(self.outcome.unwrap_or(Outcome::Completed)),
            _ if self.has_code_failed() => Status::NeedsPerson,
            _ if self.paused.is_some() => Status::Paused,
            _ if stuck => Status::NeedsPerson,
            Phase::Compensating => Status::Compensating,
            Phase::Forward | Phase::Completing => Status::Running,
        })
    }

    /// The number of the instance.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The position of the event that started it.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The position of the newest event that moved it.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Its variables, as JSON.
    pub fn variables(&self) -> Option<&str> {
        self.variables.as_deref()
    }

    /// What it failed by.
    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Since when, and from where in the log, it is paused.
    pub fn paused(&self) -> Option<Paused> {
        self.paused
    }

    /// Who began it.
    pub fn parent(&self) -> Option<Parent> {
        self.parent
    }

    /// The position of the event that finished the newest run of a step, if there is one.
    pub fn event_of(&self, node: NodeId) -> Option<u64> {
        let finished = self.done.iter().rev().find(|done| done.node == node && done.position > 0);
        finished.map(|done| done.position)
    }

    /// The smallest position of an event that a mapping may yet ask for: retention has to leave it.
    pub fn oldest_position(&self) -> u64 {
        let early = self.early.iter().map(|(_, position)| *position);
        let done = self.done.iter().map(|done| done.position).filter(|position| *position > 0);
        let kept = self.kept.iter().map(|kept| kept.position).filter(|position| *position > 0);
        early.chain(done).chain(kept).chain(self.asked_positions()).chain([self.start, self.last]).min().unwrap_or(0)
    }

    /// An instance as mappings see one that stood so once: these steps were finished by these events, in this order. It is no state to
    /// step.
    pub fn past(number: u64, start: u64, last: u64, finished: &[(NodeId, u64)], variables: Option<&str>) -> Self {
        let done = |(node, position): &(NodeId, u64)| {
            Done::of(&Cell::new((*node, 0), Purpose::Command, At::Waiting), How::Finished, *position)
        };
        let (done, variables) = (finished.iter().map(done).collect(), variables.map(Into::into));
        Self { number, start, last, done, variables, ..Self::default() }
    }

    /// How many bytes it takes in memory beside itself.
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.cells)
            + size_of_val(&*self.done)
            + size_of_val(&*self.early)
            + size_of_val(&*self.kept)
            + self.kept.iter().map(|kept| kept.text.len()).sum::<usize>()
            + self.variables.as_ref().map_or(0, |text| text.len())
    }

    /// When it is to be fed [`super::Input::Due`]; never while it is paused or over.
    pub fn due(&self) -> Option<Due> {
        if self.paused.is_some() || self.phase == Phase::Ended {
            return None;
        }
        let timers = self.timers().map(|(_, due)| due);
        self.cells.iter().filter_map(|cell| cell.due).chain(timers).min_by_key(|due| due.at)
    }

    /// What is due when, by the names of steps and of timers; nothing while it is paused or over.
    pub fn waits_until(&self, plan: &super::Plan) -> Vec<(String, Timestamp)> {
        if self.due().is_none() {
            return Vec::new();
        }
        let cells = self.cells.iter().filter_map(|cell| Some((plan.step_name(cell.node).to_owned(), cell.due?.at)));
        cells.chain(self.timers().map(|(name, due)| (name.to_owned(), due.at))).collect()
    }

    /// Changes until when the answer to an attempt is waited for, for ever without a time: for whoever asks what would have become of
    /// an instance, and learns only later when its command was published.
    pub fn wait(&mut self, attempt: Attempt, due: Option<Due>) {
        let is_it = |cell: &&mut Cell| {
            cell.run() == (attempt.node, attempt.iteration) && cell.purpose == attempt.purpose && cell.at == At::Waiting
        };
        if let Some(cell) = self.cells.iter_mut().find(is_it) {
            cell.due = due;
        }
    }

    /// The calls that are out: after a restart they are made again, under the same names.
    pub fn calls(&self) -> impl Iterator<Item = Attempt> {
        let is_live = self.paused.is_none();
        self.cells.iter().filter(move |cell| is_live && cell.at == At::Calling).map(Cell::attempt)
    }

    /// The attempts whose saga is waited for.
    pub fn children(&self, plan: &super::Plan) -> Vec<Attempt> {
        let begins =
            |cell: &&Cell| cell.at == At::Waiting && matches!(plan.action(cell.node), Some(super::Action::Begin(_)));
        self.cells.iter().filter(begins).map(Cell::attempt).collect()
    }
}

impl Cell {
    /// The newest attempt.
    pub fn attempt(&self) -> Attempt {
        Attempt { node: self.node, iteration: self.iteration, number: self.attempts, purpose: self.purpose }
    }

    pub fn run(&self) -> (NodeId, u16) {
        (self.node, self.iteration)
    }

    /// Whether its step is finished, and only its variables are still to be set or to be decided about.
    pub fn is_finished_already(&self) -> bool {
        matches!(self.at, At::Asking { .. } | At::Stuck(Why::MappingFails)) && self.attempts == 0
    }

    /// Whether it may have been done, though nobody said so.
    pub fn is_in_doubt(&self) -> bool {
        !self.refused.has_all(self.attempts)
    }
}

impl How {
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Finished | Self::ByHand)
    }
}

impl Done {
    pub fn run(&self) -> (NodeId, u16) {
        (self.node, self.iteration)
    }
}
