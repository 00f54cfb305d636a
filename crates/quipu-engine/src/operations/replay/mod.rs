//! Replays: operations that deliver events of the log to a subscription once more, in their order, from one position up to
//! another. An operation on dead letters has a list of items; a replay has only a place in its range, so that it takes no more
//! memory for ten million events than for ten.
//!
//! How far it is, and what became of what it delivered, is counted beside the deliveries (`Inner::replays` of the subscription) and
//! written in the same commit as they are: after a crash it goes on exactly where its deliveries are.

mod begin;
mod end;
mod preview;
mod range;
mod run;
mod verdict;

use quipu_domain::{InvalidPattern, StartAt, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::audit::Head;
use crate::subscriptions::ReplayCounts;

pub(crate) use preview::check_target;
pub use preview::{ReplayFailure, ReplayReport, TypeCounts};
pub(crate) use range::Wanted;
pub(crate) use run::ReplayRun;
pub use verdict::{ReplayOutcome, ReplayVerdict};

/// Most replays of a tenant that are at work at once.
pub const REPLAYS_MAX: usize = 4;
/// Most deliveries of a replay that are unfinished at once. Of all replays together 800: a subscription has room for 1,000
/// unfinished deliveries beside those in flight, so new events find room whatever replays do.
pub const REPLAY_WINDOW: u64 = 200;
/// Most types that a preview counts one by one; the events of further ones are counted together.
pub const REPLAY_TYPES_MAX: usize = 1_000;
/// Most events that a preview names which their schema would refuse now.
pub const REPLAY_FAILURES_MAX: usize = 20;
/// The fastest replay that has a speed, in times of real time.
pub const SPEED_MAX: f64 = 1e6;
/// The slowest one.
pub const SPEED_MIN: f64 = 1e-3;

/// What somebody wants replayed.
#[derive(Clone, Debug)]
pub struct NewReplay {
    /// The subscription.
    pub to: String,
    /// Whether that is made for it, and after which it is made.
    pub shadow: Option<Shadow>,
    /// The first event.
    pub from: StartAt,
    /// The last event: at this position, or the last one before this time or before now.
    pub until: StartAt,
    /// Which events of them, beside what the subscription wants; all without one.
    pub pattern: Option<Box<RawValue>>,
    /// Whether every event waits for the one before it, whatever the order of the subscription is.
    pub is_strict: bool,
    /// How many times as fast as the events were recorded; without regard to that if not given.
    pub speed: Option<f64>,
    /// Whether an endpoint may be called.
    pub webhooks: bool,
}

/// A subscription that is made for a replay and gets nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// The subscription that it is like, but for its endpoint.
    pub of: Option<String>,
}

/// What a replay delivers, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// The subscription.
    pub to: String,
    /// The definition of the shadow that is made for it when it is confirmed, as JSON.
    pub shadow: Option<String>,
    /// The first position.
    pub from: u64,
    /// The last position.
    pub until: u64,
    /// Which events, beside what the subscription wants.
    pub pattern: Option<String>,
    /// Whether every event waits for the one before it.
    pub is_strict: bool,
    /// How many times as fast as the events were recorded.
    pub speed: Option<f64>,
    /// Whether an endpoint may be called.
    pub webhooks: bool,
    /// How many events those are, as its preview has counted.
    pub events: u64,
    /// When the last of the range was recorded.
    pub until_time: Timestamp,
    /// The log before the commit of the first position, and after that of the last.
    pub heads: (Head, Head),
}

/// A replay as the log has it, beside the operation that it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldedReplay {
    pub counts: ReplayCounts,
    pub verdict: Option<ReplayVerdict>,
}

impl FoldedReplay {
    /// Nothing of it is done.
    pub fn begun(replay: &Replay) -> Self {
        let counts = ReplayCounts { looked_to: replay.from.saturating_sub(1), ..ReplayCounts::default() };
        Self { counts, verdict: None }
    }
}

/// How far a replay is.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayInfo {
    /// What became of its events.
    pub counts: ReplayCounts,
    /// Events that are finished in a second, measured over the last seconds.
    pub per_second: Option<f64>,
    /// What keeps it from going on, if something does.
    pub problem: Option<String>,
    /// What it came to, when it has ended.
    pub verdict: Option<ReplayVerdict>,
}

/// Why a replay cannot be previewed or begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayRefusal {
    /// A place makes no sense.
    InvalidPlace {
        /// Which member, as a JSON pointer.
        pointer: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// There is no event between its ends.
    EmptyRange {
        /// The first position.
        from: u64,
        /// The last one.
        until: u64,
    },
    /// The speed makes no sense, or stands beside a rate.
    InvalidSpeed,
    /// The pattern makes no sense.
    InvalidPattern(InvalidPattern),
    /// The subscription that a shadow is to be like does not exist.
    NoSuchSubscription {
        /// Its name.
        name: String,
    },
    /// The shadow cannot be made: what stands against it.
    InvalidShadow {
        /// In words.
        detail: String,
    },
    /// The subscription calls an endpoint, and nobody said that this is wanted.
    WebhooksBlocked {
        /// Its name.
        name: String,
    },
    /// What the endpoint of the subscription answers is appended: the past would be decided anew.
    Answers {
        /// Its name.
        name: String,
    },
    /// Its definition is not accepted any more.
    NotAccepted {
        /// Its name.
        name: String,
    },
    /// As many are at work as may be.
    TooMany {
        /// How many may be.
        limit: usize,
    },
    /// Whoever asked has left before everything was counted.
    Abandoned,
}

impl std::fmt::Display for ReplayRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InvalidPlace { detail, .. } | Self::InvalidShadow { detail } => f.write_str(detail),
            Self::EmptyRange { from, until } => {
                write!(
                    f,
                    "expected a range with an event in it, found the first position {from} and the last one {until}"
                )
            }
            Self::InvalidSpeed => {
                write!(f, "expected either ratepersecond or a speed from {SPEED_MIN} to {SPEED_MAX} times real time")
            }
            Self::InvalidPattern(invalid) => invalid.fmt(f),
            Self::NoSuchSubscription { name } => {
                write!(f, "expected a subscription that the shadow is like, found none with the name {name}")
            }
            Self::WebhooksBlocked { name } => write!(
                f,
                "{name} calls an endpoint, which a replay does only where webhooks are allowed; allow them, or replay to a \
                 shadow of it"
            ),
            Self::Answers { name } => write!(
                f,
                "{name} appends what its endpoint answers, so a replay would decide what was decided before; replay to a \
                 shadow of it"
            ),
            Self::NotAccepted { name } => {
                write!(f, "the definition of {name} is not accepted any more; change it first")
            }
            Self::TooMany { limit } => {
                write!(f, "expected at most {limit} replays at work; cancel one, or wait for one to end")
            }
            Self::Abandoned => f.write_str("whoever asked has left before everything was counted"),
        }
    }
}

impl std::error::Error for ReplayRefusal {}
