//! `quipu subscription explain`: why it is not moving, in the server's sentence, and how far it is behind.

use quipu_api::subscription::{ExplainAnswer, LagBody};

use super::super::client::{Client, Query};
use super::super::duration;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Named;

pub fn run(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&which.path("/explain"), &Query::new())?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => {
            let explained: ExplainAnswer = client.parse(&text)?;
            out.line(&explained.sentence)?;
            out.line(&lag(explained.lag))?;
        }
    }
    Ok(Exit::Ok)
}

/// What is not known is said to be unknown, never 0.
fn lag(lag: LagBody) -> String {
    let events = match lag.events {
        Some(1) => "1 event".to_owned(),
        Some(events) => format!("{events} events"),
        None => "an unknown number of events".to_owned(),
    };
    let unseen = match lag.unseen {
        0 => String::new(),
        unseen => format!(", {unseen} that nobody has looked at"),
    };
    let age = match lag.seconds {
        Some(seconds) => duration::show((seconds * 1_000.0) as u64),
        None => "of unknown age".to_owned(),
    };
    format!("Lag: {events}{unseen}; {age}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_of_a_lag_is_not_shown_as_zero() {
        for (events, unseen, seconds, expected) in [
            (Some(0), 0, Some(0.0), "Lag: 0 events; 0ms."),
            (Some(1), 0, Some(2.0), "Lag: 1 event; 2s."),
            (Some(3), 0, Some(12.5), "Lag: 3 events; 12s."),
            (None, 7, Some(300.0), "Lag: an unknown number of events, 7 that nobody has looked at; 5m."),
            (None, 0, None, "Lag: an unknown number of events; of unknown age."),
        ] {
            assert_eq!(lag(LagBody { events, unseen, seconds }), expected);
        }
    }
}
