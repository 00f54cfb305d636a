//! What an instance waits for. There is always an answer while it is open.

use std::fmt::Write;

use super::attempt::{Attempt, Purpose};
use super::plan::{Action, NodeId, Plan};
use super::state::{At, Cell, State, Status, Why};
use crate::Timestamp;

/// One thing that an instance waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Somebody paused it.
    Resume {
        /// Since when.
        since: Timestamp,
    },
    /// The answer to an event that it published.
    Answer {
        /// Which.
        attempt: Attempt,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// An endpoint that is being called, or whose circuit is open.
    Endpoint {
        /// Which call.
        attempt: Attempt,
    },
    /// The end of an instance that it began, or that it is undone.
    Child {
        /// Which attempt began it, or undoes it.
        attempt: Attempt,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// An event from outside.
    Event {
        /// The step.
        node: NodeId,
        /// Until when.
        until: Option<Timestamp>,
    },
    /// Time to pass.
    Time {
        /// The step.
        node: NodeId,
        /// Until when.
        until: Timestamp,
    },
    /// The next attempt.
    NextAttempt {
        /// The one before it.
        after: Attempt,
        /// When it is made.
        at: Timestamp,
    },
    /// Somebody to retry, skip or resolve.
    Person {
        /// The attempt that it is about.
        about: Attempt,
        /// Why.
        why: Why,
    },
    /// An evaluation, or the event that is being published: in the same commit.
    Evaluation {
        /// The step.
        node: NodeId,
    },
}

/// What an instance waits for, in the order in which it was begun; nothing once it is over.
pub fn explain(plan: &Plan, state: &State) -> Vec<Waiting> {
    if plan.is_written() {
        return written(state);
    }
    let pause = state.paused.map(|paused| Waiting::Resume { since: paused.since });
    pause.into_iter().chain(state.cells.iter().filter_map(|cell| waiting(plan, cell))).collect()
}

fn written(state: &State) -> Vec<Waiting> {
    let until = state.due().map(|due| due.at);
    match (state.status(), state.paused()) {
        (Some(Status::NeedsPerson), _) => {
            let about = Attempt { node: 0, iteration: 0, number: 0, purpose: Purpose::Command };
            vec![Waiting::Person { about, why: Why::CodeFails }]
        }
        (_, Some(paused)) => vec![Waiting::Resume { since: paused.since }],
        (Some(Status::Ended(_)) | None, _) => Vec::new(),
        _ => vec![Waiting::Event { node: 0, until }],
    }
}

fn waiting(plan: &Plan, cell: &Cell) -> Option<Waiting> {
    let (attempt, node) = (cell.attempt(), cell.node);
    let until = cell.due.map(|due| due.at);
    let action = match cell.purpose {
        Purpose::Command => plan.action(node),
        _ => plan.compensation(node),
    };
    Some(match cell.at {
        // Its branches say what it waits for.
        At::Gathering { .. } => return None,
        At::Stuck(why) => Waiting::Person { about: attempt, why },
        At::Asking { .. } | At::Sending => Waiting::Evaluation { node },
        At::Calling => Waiting::Endpoint { attempt },
        At::BackingOff => Waiting::NextAttempt { after: attempt, at: until.unwrap_or_default() },
        At::Waiting => match action {
            Some(Action::Begin(_) | Action::Undo) => Waiting::Child { attempt, until },
            Some(Action::Wait) => Waiting::Event { node, until },
            Some(Action::Sleep) => Waiting::Time { node, until: until.unwrap_or_default() },
            _ => Waiting::Answer { attempt, until },
        },
    })
}

impl Waiting {
    /// A sentence without its times, which are for whoever shows it to write.
    pub fn sentence(&self, plan: &Plan) -> String {
        let name = |node| plan.step_name(node);
        let what = |attempt: &Attempt| match attempt.purpose {
            Purpose::Command => format!("{}, attempt {}", name(attempt.node), attempt.number),
            Purpose::Compensation | Purpose::Late => {
                format!("undoing {}, attempt {}", name(attempt.node), attempt.number)
            }
            Purpose::End => "the event of its end".to_owned(),
        };
        let mut text = match self {
            Self::Resume { .. } => "it is paused: resume it".to_owned(),
            Self::Answer { attempt, .. } => format!("{}: waits for the answer", what(attempt)),
            Self::Endpoint { attempt } => format!("{}: waits for the endpoint", what(attempt)),
            Self::Child { attempt, .. } => format!("{}: waits for the saga that it began", what(attempt)),
            Self::Event { node, .. } => format!("{}: waits for an event", name(*node)),
            Self::Time { node, .. } => format!("{}: lets time pass", name(*node)),
            Self::NextAttempt { after, .. } => format!("{}: failed, and waits for the next attempt", what(after)),
            Self::Person { about, why } => {
                format!("{}: {}; waits for a person to retry, skip or resolve it", what(about), why.sentence())
            }
            Self::Evaluation { node } => format!("{}: is being evaluated", name(*node)),
        };
        if let Self::Answer { attempt, .. } = self
            && attempt.purpose == Purpose::Command
            && let Some(reply) = plan.task(attempt.node).and_then(|task| task.reply.as_ref())
        {
            let _ = write!(text, " {}", reply.done);
        }
        text
    }
}

impl Why {
    /// Half a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Refused => "it was refused",
            Self::TimedOut => "nobody answered in time",
            Self::NotSent => "the event could not be published",
            Self::MappingFails => "its jq failed",
            Self::Bound => "the loop reached its bound",
            Self::Declared => "the declaration ends it",
            Self::Cancelled => "somebody cancelled it",
            Self::ChildFailed => "the saga that it began failed",
            Self::CodeFails => "its code failed",
            Self::DoneByHand => "somebody did it by hand, so that the saga that it began cannot undo it",
        }
    }
}
