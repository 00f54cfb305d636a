//! What is to be done, and what is to be remembered of it.

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::plan::NodeId;
use super::state::{Outcome, Parent, State};

/// What whoever steps an instance has to do, in this order, in the commit of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Publish an event, and answer at once with [`super::Input::Sent`] or [`super::Input::NotSent`]:
    /// [`super::Plan::message`] says which.
    Send(Attempt),
    /// Call an endpoint once the commit is durable, and after the calls before it of the same run: [`super::Plan::call`] says
    /// which.
    Call(Attempt),
    /// Begin an instance of another saga, unless this very attempt began one before: [`super::Plan::child`] says which.
    Begin(Attempt),
    /// Tell the instance that this attempt began to undo what it did ([`super::ActKind::Undo`]), and what became of it.
    UndoChild(Attempt),
    /// Answer [`super::Plan::question`] at once with [`super::Input::Told`].
    Ask {
        /// The step.
        node: NodeId,
        /// Which run of it.
        iteration: u16,
    },
    /// Tell the instance that began this one how it ended.
    Tell {
        /// Who.
        parent: Parent,
        /// How.
        outcome: Outcome,
    },
}

/// What a step of an instance came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where it stands now.
    pub state: State,
    /// What is to be done.
    pub effects: Vec<Effect>,
    /// What happened, for its timeline.
    pub notes: Vec<Note>,
}

/// One line of an instance's timeline. When it happened is known to whoever steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What happened.
    pub what: What,
    /// The step; 0 for the instance.
    pub node: NodeId,
    /// Which run of it.
    pub iteration: u16,
    /// Which attempt; 0 if none is meant.
    pub attempt: u16,
    /// Of the event that it is about, or the number of the operation that did it; 0 without.
    pub position: u64,
    /// Why, at most [`NOTE_BYTES_MAX`] bytes.
    pub text: Option<Box<str>>,
}

impl Note {
    pub(super) fn set_text(&mut self, text: &str) {
        self.text =
            Some(&text[..text.floor_char_boundary(NOTE_BYTES_MAX)]).filter(|text| !text.is_empty()).map(Box::from);
    }

    /// Whether an operation did it, whose number is in the place of the position.
    pub fn is_of_operation(&self) -> bool {
        self.what.is_act() && self.what != What::NotDone && self.position > 0
    }
}

/// Longest text of a note, bytes.
pub const NOTE_BYTES_MAX: usize = 256;

/// What happened. New ones are added at the end, since their numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum What {
    /// It began.
    Begun,
    /// An attempt was made.
    Tried,
    /// A step was finished.
    Finished,
    /// An attempt was refused.
    Refused,
    /// Nobody answered an attempt in time.
    TimedOut,
    /// A command could not be published.
    NotSent,
    /// A step was given up, and is in doubt.
    GivenUp,
    /// A step failed.
    Failed,
    /// An attempt to undo a step was made.
    UndoTried,
    /// A step was undone.
    Undone,
    /// An attempt to undo was refused.
    UndoRefused,
    /// Nobody answered an attempt to undo in time.
    UndoTimedOut,
    /// Somebody is asked.
    Asks,
    /// A step succeeded after it was given up.
    LateSuccess,
    /// A step was refused after it was given up.
    LateRefusal,
    /// What was known already.
    Repeated,
    /// Several steps may be meant, so none is.
    Ambiguous,
    /// Nothing was asked, or not any more.
    NotAsked,
    /// An event came before its step, and is kept.
    KeptEarly,
    /// An event came before its step, and too many are kept.
    DroppedEarly,
    /// An event would have begun an instance that is open.
    AlreadyOpen,
    /// A condition held, or not: the text says which.
    Decided,
    /// Variables were set.
    VariablesSet,
    /// A mapping failed.
    MappingFailed,
    /// Somebody cancelled it.
    Cancelled,
    /// Somebody paused it.
    Paused,
    /// Somebody let it go on.
    Resumed,
    /// Somebody had it tried again.
    Retried,
    /// Somebody skipped a step.
    Skipped,
    /// Somebody settled a step by hand.
    Resolved,
    /// The saga that began it has it undone.
    UndoneByParent,
    /// Something that somebody wanted did not fit.
    NotDone,
    /// It ended.
    Ended,
    /// It was over, and has to undo something after all.
    Reopened,
    /// Nobody knows what became of a call that was given up, and undone meanwhile.
    LateDoubt,
    /// The code of a saga that is written in Rust took something in: the event, or what the text says.
    Stepped,
}

impl What {
    /// The word of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Tried => "tried",
            Self::Finished => "finished",
            Self::Refused => "refused",
            Self::TimedOut => "timedout",
            Self::NotSent => "notsent",
            Self::GivenUp => "givenup",
            Self::Failed => "failed",
            Self::UndoTried => "undotried",
            Self::Undone => "undone",
            Self::UndoRefused => "undorefused",
            Self::UndoTimedOut => "undotimedout",
            Self::Asks => "asks",
            Self::LateSuccess => "latesuccess",
            Self::LateRefusal => "laterefusal",
            Self::LateDoubt => "latedoubt",
            Self::Repeated => "repeated",
            Self::Ambiguous => "ambiguous",
            Self::NotAsked => "notasked",
            Self::KeptEarly => "keptearly",
            Self::DroppedEarly => "droppedearly",
            Self::AlreadyOpen => "alreadyopen",
            Self::Decided => "decided",
            Self::VariablesSet => "variablesset",
            Self::MappingFailed => "mappingfailed",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Retried => "retried",
            Self::Skipped => "skipped",
            Self::Resolved => "resolved",
            Self::UndoneByParent => "undonebyparent",
            Self::NotDone => "notdone",
            Self::Ended => "ended",
            Self::Reopened => "reopened",
            Self::Stepped => "stepped",
        }
    }

    /// Whether somebody did it: then a note has the number of an operation where others have a position.
    pub fn is_act(self) -> bool {
        (Self::Cancelled..=Self::NotDone).contains(&self)
    }
}
