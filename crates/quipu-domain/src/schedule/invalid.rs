//! Why a schedule is none.

use std::fmt;

use super::parse::InvalidCron;
use super::zone::UnknownZone;
use super::{CATCHUP_MS, DATA_BYTES_MAX, EVERY_MS, JQ_BYTES_MAX};
use crate::event::InvalidEvent;
use crate::span::Span;

/// What is wrong with the declaration of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidSchedule {
    /// Its name is none.
    Name {
        /// What was given.
        found: String,
    },
    /// It says neither `cron` nor `every`, or both.
    When {
        /// Whether both.
        both: bool,
    },
    /// Its cron expression is none.
    Cron(InvalidCron),
    /// It is too frequent or too rare.
    Every {
        /// What was given.
        found: Span,
    },
    /// Its zone is none.
    Zone(UnknownZone),
    /// A zone beside a rate, which has none.
    ZoneOfRate,
    /// It looks back too little or too far.
    CatchUp {
        /// What was given.
        found: Span,
    },
    /// What is to be a time is none.
    Time {
        /// The member.
        member: &'static str,
        /// What was given.
        found: String,
    },
    /// It ends before it begins.
    Ends,
    /// It has no tick to come.
    Over,
    /// Its event has both fixed data and an expression.
    TwoData,
    /// Its data or its expression is too long.
    TooLong {
        /// The member of its event.
        member: &'static str,
        /// How many bytes.
        found: usize,
    },
    /// Its event is none.
    Event(InvalidEvent),
}

impl fmt::Display for InvalidSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = |f: &mut fmt::Formatter<'_>, (least, most): (u64, u64), found: &Span| {
            write!(f, "expected {} to {}, found {found}", Span::of_ms(least), Span::of_ms(most))
        };
        match self {
            Self::Name { found } => write!(
                f,
                "/schedule: expected a name of 1 to 128 letters, digits, -, _ and ., beginning with a letter or digit, found {found:?}"
            ),
            Self::When { both: false } => f.write_str("expected either cron or every, found none of them"),
            Self::When { both: true } => f.write_str("expected either cron or every, found both"),
            Self::Cron(invalid) => write!(f, "/cron: {invalid}"),
            Self::Every { found } => {
                f.write_str("/every: ")?;
                between(f, EVERY_MS, found)
            }
            Self::Zone(unknown) => write!(f, "/zone: {unknown}"),
            Self::ZoneOfRate => f.write_str("/zone: expected none beside every, which counts hours of any clock alike"),
            Self::CatchUp { found } => {
                f.write_str("/catchup: ")?;
                between(f, CATCHUP_MS, found)
            }
            Self::Time { member, found } => {
                write!(f, "/{member}: expected a time such as 2026-01-01T00:00:00Z, found {found:?}")
            }
            Self::Ends => f.write_str("/until: expected a time after from"),
            Self::Over => f.write_str("/until: expected a tick to come before it, found none"),
            Self::TwoData => f.write_str("/event: expected either data or jq, found both"),
            Self::TooLong { member, found } => {
                let most = if *member == "jq" { JQ_BYTES_MAX } else { DATA_BYTES_MAX };
                write!(f, "/event/{member}: expected at most {most} bytes, found {found}")
            }
            Self::Event(invalid) => write!(f, "/event: {invalid}"),
        }
    }
}

impl std::error::Error for InvalidSchedule {}
