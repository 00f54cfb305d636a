//! The reasons why a subscription does not move, and the sentence for each. Which of them holds is found in
//! [`super::explain`].

use quipu_domain::Timestamp;

/// Why it stands still, the first reason that holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Standstill {
    /// It is paused.
    Paused {
        /// Why, where nobody asked for it.
        reason: Option<String>,
    },
    /// It is paused because its stored definition is not accepted any more.
    DefinitionRefused {
        /// Which member, and why.
        reason: String,
    },
    /// As many of its dead letters are open as may be: nothing is delivered before somebody decides about some.
    TooManyDeadLetters {
        /// How many are open.
        open: u64,
        /// How many may be.
        limit: u64,
    },
    /// Deliveries were given up whose dead letters are not written: nothing is delivered before the log takes them.
    DeadLettersUnwritten {
        /// How many there are.
        count: usize,
    },
    /// It is behind, and moves: events were done with lately, or consumers ask.
    CatchingUp {
        /// Events that are unfinished or that nobody has looked at; not known while the log would have to be read to
        /// know how many wait behind a key, as after a restart.
        events: Option<u64>,
        /// Events that it is done with in a second, finished or found not to match; none if that is not known.
        per_second: Option<f64>,
        /// When it is done with all at this pace, seconds from now; none if that is not known.
        eta_s: Option<u64>,
    },
    /// There is something to do, and no consumer asks for it.
    NobodyAsks {
        /// Deliveries that are ready.
        ready: usize,
        /// Events that nobody has looked at, and that may match.
        unseen: u64,
    },
    /// The rate limit lets nothing go before this time.
    RateLimited {
        /// When the next may go.
        until: Timestamp,
    },
    /// All that could go is with consumers, who have answered nothing lately; none of its own while an endpoint has all it
    /// may have from others.
    WaitingForAcks {
        /// The oldest of them, and when their answers are due.
        deliveries: Vec<(u64, Timestamp)>,
        /// How many there are.
        count: usize,
    },
    /// What waits is due later.
    WaitingForRetry {
        /// The next event.
        position: u64,
        /// When.
        until: Timestamp,
        /// How many wait.
        count: usize,
    },
    /// Every event that waits belongs to a key that waits for a decision.
    KeyParked {
        /// The event that parks it.
        position: u64,
        /// Its dead letter.
        dead_letter: u64,
    },
    /// All that matches is finished, and events came since that do not match.
    NoMatchSince {
        /// The last event that matches, or where it began to look: as it was made, sought, given another pattern or opened.
        position: u64,
        /// The newest event that was looked at.
        looked_at: u64,
    },
    /// Everything is finished.
    Idle {
        /// The newest event that was looked at.
        position: u64,
    },
}

impl std::fmt::Display for Standstill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paused { reason: None } => f.write_str("It is paused; resume it."),
            Self::Paused { reason: Some(reason) } => write!(f, "It is paused: {reason}."),
            Self::DefinitionRefused { reason } => {
                write!(
                    f,
                    "It is paused, since its definition is not accepted any more; change it, or go back to the version that wrote it: {reason}."
                )
            }
            Self::TooManyDeadLetters { open, limit } => write!(
                f,
                "{open} of its dead letters {} open, and at most {limit} may be; redrive or discard some, and it goes on.",
                if *open == 1 { "is" } else { "are" }
            ),
            Self::DeadLettersUnwritten { count } => write!(
                f,
                "{count} deliveries were given up, and the log has not taken their dead letters yet; nothing more is \
                 delivered until it does."
            ),
            Self::CatchingUp { events, per_second, eta_s } => catching_up(f, *events, *per_second, *eta_s),
            Self::NobodyAsks { ready, unseen } => nobody_asks(f, *ready as u64, *unseen),
            Self::RateLimited { until } => write!(f, "The rate limit lets the next delivery go at {until}."),
            Self::WaitingForAcks { count: 0, .. } => {
                f.write_str("Waiting for others: as many webhooks are on their way to its endpoint as may be.")
            }
            Self::WaitingForAcks { deliveries, count } => {
                let (position, due) = deliveries.first().copied().unwrap_or_default();
                let count = deliveries_of(*count as u64);
                write!(f, "Waiting for answers to {count}, the oldest of position {position}, due {due}.")
            }
            Self::WaitingForRetry { position, until, count } => {
                let (wait, their) = if *count == 1 { ("waits", "its") } else { ("wait", "their") };
                let count = deliveries_of(*count as u64);
                write!(f, "{count} {wait} for {their} next attempt; position {position} is tried at {until}.")
            }
            Self::KeyParked { position, dead_letter } => write!(
                f,
                "A key is parked by the event at position {position}; redrive or discard dead letter {dead_letter}."
            ),
            Self::NoMatchSince { position, looked_at } => {
                write!(f, "No event since position {position} matches; every one up to {looked_at} was looked at.")
            }
            Self::Idle { position } => write!(f, "Idle: everything up to position {position} is finished."),
        }
    }
}

fn catching_up(
    f: &mut std::fmt::Formatter<'_>,
    events: Option<u64>,
    per_second: Option<f64>,
    eta_s: Option<u64>,
) -> std::fmt::Result {
    match events {
        Some(1) => f.write_str("Catching up: 1 event is left")?,
        Some(events) => write!(f, "Catching up: {events} events are left")?,
        None => f.write_str("Catching up: how many events are left is not known")?,
    }
    match (per_second, eta_s) {
        (None, _) => f.write_str("; how fast is not known yet."),
        (Some(pace), None) => write!(f, ", at {pace} a second."),
        (Some(pace), Some(eta_s)) => write!(f, ", at {pace} a second: about {eta_s} s."),
    }
}

fn nobody_asks(f: &mut std::fmt::Formatter<'_>, ready: u64, unseen: u64) -> std::fmt::Result {
    let (is_ready, them) = if ready == 1 { ("is ready", "it") } else { ("are ready", "them") };
    let ready_ones = deliveries_of(ready);
    let unseen_ones = match unseen {
        1 => "1 event was not looked at yet".to_owned(),
        unseen => format!("{unseen} events were not looked at yet"),
    };
    match (ready, unseen) {
        (_, 0) => write!(f, "{ready_ones} {is_ready}, and no consumer asks for {them}."),
        (0, _) => write!(f, "No consumer asks; {unseen_ones}."),
        (..) => write!(f, "{ready_ones} {is_ready} and {unseen_ones}, and no consumer asks for them."),
    }
}

/// So many deliveries, in words.
fn deliveries_of(count: u64) -> String {
    match count {
        1 => "1 delivery".into(),
        count => format!("{count} deliveries"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural_and_what_is_unknown_is_no_zero() {
        let catching_up = |events, per_second, eta_s| Standstill::CatchingUp { events, per_second, eta_s };
        let retry = |count| Standstill::WaitingForRetry { position: 7, until: Timestamp(0), count };
        for (standstill, sentence) in [
            (Standstill::NobodyAsks { ready: 1, unseen: 0 }, "1 delivery is ready, and no consumer asks for it."),
            (Standstill::NobodyAsks { ready: 2, unseen: 0 }, "2 deliveries are ready, and no consumer asks for them."),
            (Standstill::NobodyAsks { ready: 0, unseen: 1 }, "No consumer asks; 1 event was not looked at yet."),
            (
                Standstill::NobodyAsks { ready: 1, unseen: 2 },
                "1 delivery is ready and 2 events were not looked at yet, and no consumer asks for them.",
            ),
            (catching_up(Some(1), None, None), "Catching up: 1 event is left; how fast is not known yet."),
            (catching_up(Some(9), Some(0.5), Some(18)), "Catching up: 9 events are left, at 0.5 a second: about 18 s."),
            (
                catching_up(None, Some(40.0), None),
                "Catching up: how many events are left is not known, at 40 a second.",
            ),
            (retry(1), "1 delivery waits for its next attempt; position 7 is tried at 1970-01-01T00:00:00.000Z."),
            (retry(2), "2 deliveries wait for their next attempt; position 7 is tried at 1970-01-01T00:00:00.000Z."),
        ] {
            assert_eq!(standstill.to_string(), sentence);
        }
    }
}
