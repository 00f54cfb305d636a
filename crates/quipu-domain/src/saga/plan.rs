//! A declaration, compiled: its steps as an arena in the order in which they are written, so that what belongs to a step is
//! one range of it.

use super::attempt::{Attempt, Purpose};
use super::declaration::{Again, HttpCall, OnFailure};
use super::key::Key;
use super::retry::Tries;
use super::state::{Outcome, State};
use crate::pattern::Pattern;

/// The number of a step in its plan. 0 is the saga itself.
pub type NodeId = u16;

/// Most steps of a plan.
pub const NODES_MAX: usize = 256;
/// How deep steps may be nested in each other.
pub const DEPTH_MAX: usize = 16;
/// How often the steps of an instance may run in all, loops multiplied out. Each run leaves up to 16 bytes in the state, which
/// is to stay within 64 KiB beside 16 KiB of variables.
pub const RUNS_MAX: usize = 2_000;
/// Longest text of one jq expression, bytes. Those of transformations may have as much.
pub const JQ_BYTES_MAX: usize = 8 << 10;
/// How long a step waits that says nothing about it: a day.
pub const TIMEOUT_MS_DEFAULT: u64 = 86_400_000;
/// The type of the event that keeps what an endpoint answered.
pub const CALL_ANSWERED: &str = "saga.call.answered";
/// Longest wait of any kind: a year.
pub const WAIT_MS_MAX: u64 = 365 * 86_400_000;

/// What is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A saga.
    Saga,
    /// A rule: publishes one event for each that it takes, and remembers nothing.
    Rule,
    /// An expectation: an event that has to follow another in time.
    Expectation,
}

/// A saga, rule or expectation that can be stepped.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) kind: Kind,
    pub(super) name: Box<str>,
    pub(super) key: Key,
    pub(super) start: Pattern,
    pub(super) again: Again,
    pub(super) on_failure: OnFailure,
    pub(super) nodes: Vec<Node>,
    pub(super) completes: Option<Message>,
    pub(super) fails: Option<Message>,
    pub(super) listens: Vec<Listen>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub name: Box<str>,
    pub parent: Option<NodeId>,
    /// One past its last descendant.
    pub end: NodeId,
    /// How often it may run: what the loops around it multiply out to.
    pub rounds: u32,
    pub doing: Doing,
    pub set: Option<Box<str>>,
}

#[derive(Clone, Debug)]
pub(super) enum Doing {
    Sequence(Vec<NodeId>),
    Parallel {
        of: Vec<NodeId>,
        need: u16,
    },
    If {
        when: Question,
        then: NodeId,
        otherwise: Option<NodeId>,
    },
    Loop {
        body: NodeId,
        until: Option<Question>,
        max: u16,
    },
    Task(Box<Task>),
    Complete,
    Fail,
    /// Its code is asked.
    Written,
}

/// Something that is done and takes time.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub action: Action,
    pub reply: Option<Reply>,
    pub timeout_ms: Option<u64>,
    pub tries: Tries,
    pub undo: Option<Box<Task>>,
}

/// What a task does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Publishes an event.
    Send(Message),
    /// Calls an endpoint.
    Call(Call),
    /// Begins an instance of another saga.
    Begin(Child),
    /// As a compensation: has the instance of the other saga undo what it did.
    Undo,
    /// Waits for an event.
    Wait,
    /// Lets time pass.
    Sleep,
}

/// An event to publish. jq that is not given means that of the event that started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type.
    pub kind: Box<str>,
    /// jq for its subject.
    pub subject: Option<Box<str>>,
    /// jq for its data.
    pub data: Option<Box<str>>,
}

/// An endpoint to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where and how.
    pub http: HttpCall,
    /// jq for its body; without it, the data of the event that started.
    pub data: Option<Box<str>>,
    /// How long one call may take, milliseconds.
    pub timeout_ms: u64,
}

/// A saga within a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its name.
    pub saga: Box<str>,
    /// jq for the variables that it begins with.
    pub data: Option<Box<str>>,
}

#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub done: Pattern,
    pub refused: Option<Pattern>,
    pub key: Key,
}

/// Something that is asked of whoever evaluates jq and patterns.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Whether jq gives true.
    Jq(Box<str>),
    /// Whether an event matches.
    Pattern {
        /// The pattern.
        pattern: Box<Pattern>,
        /// The step whose event it is; none for the event that started.
        of: Option<NodeId>,
    },
    /// What the variables are now, by jq.
    Variables(Box<str>),
}

/// What an event is to a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It begins an instance.
    Start,
    /// A step waits for it.
    Reply(NodeId),
    /// It says that a step was refused.
    Refusal(NodeId),
    /// It says that a step was undone.
    Undone(NodeId),
    /// It says that a step could not be undone.
    NotUndone(NodeId),
}

/// Events that a plan is to be told of, and where their key stands.
#[derive(Clone, Debug)]
pub struct Listen {
    /// What they are to it.
    pub role: Role,
    /// Which they are.
    pub pattern: Pattern,
    /// Where their key stands.
    pub key: Key,
}

impl Plan {
    /// What was compiled.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The name of the saga, rule or expectation.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the key stands in events that start.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What an event that starts does where an instance of its key has ended already.
    pub fn again(&self) -> Again {
        self.again
    }

    /// Which events it is to be told of, that which starts it first.
    pub fn listens(&self) -> &[Listen] {
        &self.listens
    }

    /// How many steps it has, the saga itself counted.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether it has no step. It always has one: the saga itself.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The name of a step; the saga's for 0.
    pub fn step_name(&self, node: NodeId) -> &str {
        self.nodes.get(usize::from(node)).map_or("", |node| &node.name)
    }

    /// The step of this name.
    pub fn step_named(&self, name: &str) -> Option<NodeId> {
        (1..self.nodes.len()).find(|at| &*self.nodes[*at].name == name).map(|at| at as NodeId)
    }

    /// What a step does, if it is one that is tried and not one that holds others.
    pub fn action(&self, node: NodeId) -> Option<&Action> {
        self.task(node).map(|task| &task.action)
    }

    /// What undoes a step.
    pub fn compensation(&self, node: NodeId) -> Option<&Action> {
        self.task(node)?.undo.as_ref().map(|task| &task.action)
    }

    /// The event of its completion.
    pub fn completes_with(&self) -> Option<&Message> {
        self.completes.as_ref()
    }

    /// The event of its failure.
    pub fn fails_with(&self) -> Option<&Message> {
        self.fails.as_ref()
    }

    /// The event of an attempt, as [`super::Effect::Send`] asks for it. The state is that after the step.
    pub fn message(&self, attempt: Attempt, state: &State) -> Option<&Message> {
        let is_completed = state.outcome == Some(Outcome::Completed);
        match self.doing_of(attempt) {
            Some(Action::Send(message)) => Some(message),
            None if attempt.purpose == Purpose::End && is_completed => self.completes.as_ref(),
            None if attempt.purpose == Purpose::End => self.fails.as_ref(),
            _ => None,
        }
    }

    /// The call of an attempt, as [`super::Effect::Call`] asks for it.
    pub fn call(&self, attempt: Attempt) -> Option<&Call> {
        match self.doing_of(attempt) {
            Some(Action::Call(call)) => Some(call),
            _ => None,
        }
    }

    /// The saga of an attempt, as [`super::Effect::Begin`] asks for it.
    pub fn child(&self, attempt: Attempt) -> Option<&Child> {
        match self.doing_of(attempt) {
            Some(Action::Begin(child)) => Some(child),
            _ => None,
        }
    }

    /// How long whoever is asked by an attempt may take, milliseconds.
    pub fn timeout_ms(&self, attempt: Attempt) -> Option<u64> {
        let task = match attempt.purpose {
            Purpose::Command => self.task(attempt.node),
            Purpose::Compensation | Purpose::Late => self.undo(attempt.node),
            Purpose::End => None,
        }?;
        let is_waited_for = task.reply.is_some() || matches!(task.action, Action::Begin(_) | Action::Undo);
        task.timeout_ms.filter(|_| is_waited_for)
    }

    fn doing_of(&self, attempt: Attempt) -> Option<&Action> {
        match attempt.purpose {
            Purpose::Command => self.action(attempt.node),
            Purpose::Compensation | Purpose::Late => self.compensation(attempt.node),
            Purpose::End => None,
        }
    }

    /// What is asked at a step: the condition of an `if` or `loop`, or the variables that a finished step sets.
    pub fn question(&self, node: NodeId) -> Option<Question> {
        let node = self.nodes.get(usize::from(node))?;
        match &node.doing {
            Doing::If { when, .. } => Some(when.clone()),
            Doing::Loop { until, .. } => until.clone(),
            _ => node.set.clone().map(Question::Variables),
        }
    }

    pub(super) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[usize::from(node)]
    }

    pub(super) fn task(&self, node: NodeId) -> Option<&Task> {
        match &self.nodes.get(usize::from(node))?.doing {
            Doing::Task(task) => Some(task),
            _ => None,
        }
    }

    pub(super) fn undo(&self, node: NodeId) -> Option<&Task> {
        self.task(node)?.undo.as_deref()
    }

    /// Whether a run of a step belongs to this run of a step around it.
    pub(super) fn is_within(&self, inner: (NodeId, u16), outer: (NodeId, u16)) -> bool {
        let (node, around) = (self.node(inner.0), self.node(outer.0));
        let rounds = node.rounds / around.rounds.max(1);
        (outer.0..around.end).contains(&inner.0) && u32::from(inner.1) / rounds.max(1) == u32::from(outer.1)
    }

    /// Whether a step may run several times.
    pub(super) fn is_repeated(&self, node: NodeId) -> bool {
        self.node(node).rounds > 1
    }
}
