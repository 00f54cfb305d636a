//! Operations: work on many things that somebody looked at before it began. Three steps: *preview* counts exactly and
//! shows a sample, *confirm* begins it, and then it is *tracked*: progress, what became of each item, cancel. It goes
//! on after a restart. What an operation does to dead letters and to instances of sagas is in `work.rs`; one that delivers a range of events is a
//! *replay* (`replay/mod.rs`), which has no list of items.

mod cancel;
mod items;
mod preview;
mod records;
mod replay;
mod run;
mod work;

use std::collections::BTreeMap;

use quipu_domain::Timestamp;
use quipu_domain::delivery::RateLimit;

pub use preview::Selection;
pub(crate) use records::{FoldedOperations, replayed_record};
pub use records::{OperationState, Work};
pub(crate) use replay::check_target;
pub use replay::{
    NewReplay, REPLAY_FAILURES_MAX, REPLAY_TYPES_MAX, REPLAY_WINDOW, REPLAYS_MAX, Replay, ReplayFailure, ReplayInfo,
    ReplayOutcome, ReplayRefusal, ReplayReport, ReplayVerdict, SPEED_MAX, SPEED_MIN, Shadow, TypeCounts,
};

/// Most items of one operation: 8 bytes each.
pub const OPERATION_ITEMS_MAX: usize = 1_000_000;
/// Most operations that are kept: running, previewed and ended ones. The oldest that ended go first.
pub const OPERATIONS_MAX: usize = 100;
/// Most items of all operations that are kept together: 32 MB. The oldest that ended go first here, too.
pub const OPERATIONS_ITEMS_MAX: usize = 4_000_000;
/// Most refused items of an operation whose reason is kept. That they were refused is known of all.
pub const REFUSED_REASONS_MAX: usize = 1_000;
/// How long a preview can be confirmed, milliseconds.
pub const PREVIEW_MS: i64 = 15 * 60 * 1_000;

/// An operation and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationInfo {
    /// Its number in the tenant.
    pub id: u64,
    /// What it does.
    pub work: Work,
    /// At most so many items a second.
    pub rate: Option<RateLimit>,
    /// Where it is in its life.
    pub state: OperationState,
    /// Items in all.
    pub total: u64,
    /// Items that were looked at, refused ones included.
    pub done: u64,
    /// Items that were refused: somebody was faster, or what they need is gone.
    pub refused: u64,
    /// When it was previewed or, once confirmed, begun.
    pub time: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Milliseconds until it ends: at its rate, or as a replay goes; not known otherwise.
    pub remaining_ms: Option<u64>,
    /// Why it could not go on the last time, if it could not; it is tried again. That of a replay is told with the rest of it.
    pub problem: Option<String>,
    /// More of it, if it is a replay.
    pub replay: Option<ReplayInfo>,
}

/// One item of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The dead letter, or the instance.
    pub id: u64,
    /// What became of it.
    pub outcome: ItemOutcome,
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemOutcome {
    /// It was not its turn yet.
    Waiting,
    /// It was done.
    Done,
    /// Somebody was faster, or what it needs is gone.
    Refused {
        /// Why; kept of the first [`REFUSED_REASONS_MAX`].
        reason: Option<String>,
    },
}

/// Why an operation cannot be previewed, confirmed, cancelled or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationRefusal {
    /// There is none of that number, or its preview is too old.
    NotFound {
        /// Its number.
        id: u64,
    },
    /// It is not in the state for this.
    WrongState {
        /// Its number.
        id: u64,
        /// Where it is.
        state: OperationState,
    },
    /// Nothing was selected.
    Nothing,
    /// No instance was selected that the act fits.
    NoInstance {
        /// The act.
        act: &'static str,
    },
    /// More was selected than one operation takes.
    TooManyItems {
        /// How many it takes.
        limit: usize,
    },
    /// Too many are running or previewed.
    TooMany {
        /// How many may be.
        limit: usize,
    },
    /// All operations together would have more items than are kept.
    NoRoom {
        /// How many are.
        limit: usize,
        /// How many those have that are previewed or running.
        held: usize,
    },
    /// The subscription that it sends to does not exist.
    SubscriptionNotFound {
        /// Its name.
        name: String,
    },
    /// The rate makes no sense.
    InvalidRate {
        /// What was expected.
        problem: &'static str,
    },
    /// It is a replay, and this stands against it.
    Replay(ReplayRefusal),
}

impl std::fmt::Display for OperationRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound { id } => write!(
                f,
                "expected an operation, found none with the number {id}; a preview that is not confirmed within {} minutes \
                 is forgotten",
                PREVIEW_MS / 60_000
            ),
            Self::WrongState { id, state } => write!(f, "operation {id} is {state}"),
            Self::Nothing => f.write_str("expected at least one dead letter that nobody has decided about, found none"),
            Self::NoInstance { act } => {
                write!(
                    f,
                    "expected at least one instance that {act} fits as it stands, found none among those selected; instances of \
                     rules, of expectations and within other sagas are selected by their name or key"
                )
            }
            Self::TooManyItems { limit } => write!(f, "expected at most {limit} items; select fewer"),
            Self::TooMany { limit } => {
                write!(f, "expected at most {limit} operations that are previewed or running; confirm or cancel some")
            }
            Self::NoRoom { limit, held } => write!(
                f,
                "expected at most {limit} items in all operations that are previewed or running, which have {held} already; \
                 cancel a preview or wait for one to end"
            ),
            Self::SubscriptionNotFound { name } => {
                write!(f, "expected a subscription, found none with the name {name}")
            }
            Self::InvalidRate { problem } => f.write_str(problem),
            Self::Replay(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for OperationRefusal {}

/// The operations of a tenant while they run.
#[derive(Default)]
pub(crate) struct Operations {
    all: BTreeMap<u64, run::Operation>,
    /// The largest number given so far.
    last: u64,
    /// Numbers up to here are given by this process and, whatever happens to it, by no later one.
    reserved: u64,
}
