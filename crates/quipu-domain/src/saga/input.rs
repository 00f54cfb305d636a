//! What an instance is told.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::plan::{NodeId, Role};
use super::state::{Outcome, Parent};
use super::written::Wanted;
use crate::Timestamp;

/// What an instance is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input<'a> {
    /// It begins. Only ever the first input of a default state.
    Start {
        /// The number of the instance.
        number: u64,
        /// The position of the event that starts it; of a saga within a saga, that of the parent's.
        position: u64,
        /// Who began it.
        parent: Option<Parent>,
        /// The variables that it begins with, as JSON.
        variables: Option<&'a str>,
    },
    /// An event of its key that something in its plan listens to.
    Event {
        /// Its position.
        position: u64,
        /// All that it is to the plan.
        roles: &'a [Role],
        /// The attempt of this very instance that its `causationid` names; none if it names another event, or nothing.
        cause: Option<Attempt>,
    },
    /// What [`super::State::due`] gave has come. It is that time and not the clock's, which may have gone back since.
    Due {
        /// What is due at this time or before.
        until: Timestamp,
    },
    /// An endpoint answered.
    Answered {
        /// Which call.
        attempt: Attempt,
        /// What it answered.
        answer: Answer,
        /// The position of the event that keeps the answer, 0 if none does.
        position: u64,
        /// What is told of it: the status, or why there is none. Never a part of the answer.
        text: &'a str,
    },
    /// What [`super::Effect::Send`] asked for is published. Fed back at once, in the same commit.
    Sent {
        /// Which.
        attempt: Attempt,
    },
    /// A command could not be published, or a saga not begun: its mapping or its schema refuses it. Fed back at once, in the
    /// same commit.
    NotSent {
        /// Which.
        attempt: Attempt,
        /// Why.
        reason: &'a str,
    },
    /// What [`super::Effect::Ask`] asked. Fed back at once, in the same commit.
    Told {
        /// The step.
        node: NodeId,
        /// Which run of it.
        iteration: u16,
        /// The answer.
        told: Told<'a>,
    },
    /// An instance that it began has ended, or has ended once more.
    Child {
        /// Which attempt began it.
        attempt: Attempt,
        /// How it ended.
        outcome: Outcome,
    },
    /// Somebody intervenes.
    Act(Act<'a>),
}

/// What an endpoint answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It was done.
    Done,
    /// It was refused for good.
    Refused,
    /// Nobody knows.
    Unsure {
        /// No other attempt is to be made before this time: the endpoint asked for that.
        not_before: Option<Timestamp>,
    },
}

impl Answer {
    /// What a status means: 2xx that it was done, 3xx and 4xx that it was not and will not be, for redirects are not followed. 408, 425, 429
    /// and 409, by which an endpoint says that it is still at the same key, are about the moment and not about the call.
    pub fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Done,
            408 | 409 | 425 | 429 => Self::UNSURE,
            300..=499 => Self::Refused,
            _ => Self::UNSURE,
        }
    }

    /// Nobody knows, and it may be tried again at any time.
    pub const UNSURE: Self = Self::Unsure { not_before: None };
}

/// What an evaluation gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told<'a> {
    /// What the code of the saga wants: the answer to [`super::State::asked`].
    Wanted(&'a Wanted),
    /// Whether a condition holds.
    Holds(bool),
    /// The variables, as JSON.
    Variables(&'a str),
    /// It failed.
    Failed(&'a str),
}

/// An intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Act<'a> {
    /// What to do.
    pub what: ActKind,
    /// The operation that does it for many instances; 0 without one. Kept as a note, so that it is never done twice.
    pub operation: u64,
    /// Why, in the words of whoever does it.
    pub reason: &'a str,
}

/// What an intervention does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActKind {
    /// Undoes what was done and ends.
    Cancel,
    /// Stops it: nothing is to be fed until it goes on.
    Pause {
        /// Every event up to here was fed.
        place: u64,
    },
    /// Lets it go on. Feed what came after [`super::Paused::place`] next.
    Resume,
    /// Tries again what somebody was asked about, or goes on again from a step.
    Retry {
        /// From this step.
        from: Option<NodeId>,
    },
    /// Goes on without what somebody was asked about.
    Skip,
    /// Takes what somebody was asked about as done by hand.
    Resolve,
    /// Undoes it though it may be completed: the saga that began it is being undone. Never a person's.
    Undo,
}

#[cfg(test)]
mod tests {
    use super::Answer;

    #[test]
    fn a_status_says_whether_a_call_was_done_refused_or_nobody_knows() {
        for (statuses, answer) in [
            (&[200, 201, 202, 204, 299][..], Answer::Done),
            (&[300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422, 428, 451], Answer::Refused),
            (&[100, 199, 408, 409, 425, 429, 500, 501, 502, 503, 504, 599, 600, 999], Answer::UNSURE),
        ] {
            for status in statuses {
                assert_eq!(Answer::of_status(*status), answer, "{status}");
            }
        }
    }
}
