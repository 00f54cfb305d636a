//! What a declaration gives rise to: the events that it publishes and the sagas that it begins, and which of that needs nobody else.

use std::collections::BTreeSet;

use super::plan::{Action, CALL_ANSWERED, Doing, Kind, NodeId, Plan};

/// What begins other things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause<'a> {
    /// An event of this type.
    Event(&'a str),
    /// A step that begins a saga of this name.
    Step(&'a str),
}

/// Where in a declaration something is published or begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Step(NodeId),
    Compensation(NodeId),
    /// What an endpoint answers to a step.
    Answer(NodeId),
    Completion,
    Failure,
}

/// What happens in the commit that begins an instance: nothing is waited for, and no condition decides.
#[derive(Clone, Debug, Default)]
pub(super) struct AtOnce {
    steps: BTreeSet<NodeId>,
    /// It has ended by then.
    pub ends: bool,
}

/// How a step leaves the commit in which it was begun.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    Finished,
    Ended,
    /// Or it may be open: that depends on something.
    Open,
}

impl<'a> Cause<'a> {
    fn of(action: &'a Action) -> Option<Self> {
        match action {
            Action::Send(message) => Some(Self::Event(&message.kind)),
            Action::Begin(child) => Some(Self::Step(&child.saga)),
            _ => None,
        }
    }
}

impl Plan {
    /// What stands in `source` of what it publishes.
    pub fn source(&self) -> String {
        let kind = match self.kind {
            Kind::Saga => "sagas",
            Kind::Rule => "rules",
            Kind::Expectation => "expectations",
        };
        format!("/quipu/{kind}/{}", self.name)
    }

    /// The types of the events that it publishes; of code nobody knows them.
    pub fn publishes(&self) -> impl Iterator<Item = &str> {
        self.causes().filter_map(|(_, cause)| match cause {
            Cause::Event(kind) => Some(kind),
            Cause::Step(_) => None,
        })
    }

    /// All that it publishes and begins.
    pub(super) fn causes(&self) -> impl Iterator<Item = (Place, Cause<'_>)> {
        let steps = (0..self.len() as NodeId).flat_map(move |node| {
            let answer = matches!(self.action(node), Some(Action::Call(_))).then_some(Cause::Event(CALL_ANSWERED));
            [
                (Place::Step(node), self.action(node).and_then(Cause::of)),
                (Place::Compensation(node), self.compensation(node).and_then(Cause::of)),
                (Place::Answer(node), answer),
            ]
        });
        let ends = [(Place::Completion, self.completes_with()), (Place::Failure, self.fails_with())];
        let ends = ends.map(|(place, message)| (place, message.map(|message| Cause::Event(&message.kind))));
        steps.chain(ends).filter_map(|(place, cause)| Some((place, cause?)))
    }

    /// What surely happens at once.
    pub(super) fn at_once(&self) -> AtOnce {
        let mut steps = BTreeSet::new();
        let ends = self.leaves(0, &mut steps) != Left::Open;
        AtOnce { steps, ends }
    }

    fn leaves(&self, node: NodeId, steps: &mut BTreeSet<NodeId>) -> Left {
        match &self.node(node).doing {
            Doing::Sequence(of) => {
                let mut left = of.iter().map(|step| self.leaves(*step, steps));
                left.find(|left| *left != Left::Finished).unwrap_or(Left::Finished)
            }
            Doing::Parallel { of, need } if usize::from(*need) == of.len() => {
                let are_finished =
                    of.iter().fold(true, |all, step| all & (self.leaves(*step, steps) == Left::Finished));
                if are_finished { Left::Finished } else { Left::Open }
            }
            Doing::If { then, otherwise, .. } => {
                let is_finished = |step: NodeId| self.leaves(step, &mut BTreeSet::new()) == Left::Finished;
                match is_finished(*then) && otherwise.is_none_or(is_finished) {
                    true => Left::Finished,
                    false => Left::Open,
                }
            }
            Doing::Loop { body, until, .. } => match self.leaves(*body, steps) {
                Left::Finished if until.is_some() => Left::Open,
                left => left,
            },
            Doing::Task(task) => match (&task.action, &task.reply) {
                (Action::Send(_), None) => {
                    steps.insert(node);
                    Left::Finished
                }
                (Action::Send(_) | Action::Begin(_), _) => {
                    steps.insert(node);
                    Left::Open
                }
                _ => Left::Open,
            },
            Doing::Complete => Left::Ended,
            // Branches of which some are enough may be left before they do anything; code says nothing of what it does.
            Doing::Parallel { .. } | Doing::Fail | Doing::Written => Left::Open,
        }
    }
}

impl AtOnce {
    /// Whether what is published or begun here surely is at once.
    pub fn has(&self, place: Place) -> bool {
        match place {
            Place::Step(node) => self.steps.contains(&node),
            Place::Completion => self.ends,
            Place::Compensation(_) | Place::Answer(_) | Place::Failure => false,
        }
    }
}
