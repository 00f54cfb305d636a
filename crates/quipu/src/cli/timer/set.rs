//! `quipu timer set`: an event from a file, standard input or flags, and when it is published.

use clap::{ArgGroup, Args};
use quipu_api::timer::RecordedBefore;
use quipu_api::{Scheduled, SetTimerRequest, TimerAnswer};
use serde_json::value::RawValue;

use super::super::client::Client;
use super::super::duration;
use super::super::event::Single;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::one_event;
use super::super::output::{Format, Out};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").args(["at", "after"]).required(true))]
pub struct Set {
    /// One event, JSON; - for standard input
    #[arg(required_unless_present = "kind", conflicts_with = "kind")]
    file: Option<String>,
    /// When it is published (RFC 3339)
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// After how long it is published, by the clock of the server, such as 30m
    #[arg(long, value_name = "DURATION", value_parser = duration::milliseconds)]
    after: Option<u64>,
    /// A name for the timer, to cancel it by
    #[arg(long)]
    key: Option<String>,
    /// Take the place of the timer with the same key
    #[arg(long, requires = "key")]
    replace: bool,
    #[command(flatten)]
    single: Single,
}

pub fn run(set: Set, client: &Client, out: &mut Out) -> Outcome {
    let event = match &set.file {
        Some(file) => one_event(file)?,
        None => {
            let mut text = Vec::new();
            quipu::write_event(&mut text, &set.single.event(None)?, None);
            let text = String::from_utf8(text).map_err(|error| Failure::failed(error.to_string()))?;
            RawValue::from_string(text).map_err(|error| Failure::failed(error.to_string()))?
        }
    };
    let request = SetTimerRequest { key: set.key, at: set.at, after_ms: set.after, replace: set.replace, event };
    let text = client.send("/v1/timers", &request)?;
    let answer: TimerAnswer = client.parse(&text)?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    match answer {
        TimerAnswer::Waits(waits) => out.line(&waits_for(&waits))?,
        TimerAnswer::Recorded(RecordedBefore { place, .. }) => {
            out.line(&format!("recorded before at position {}", place.position))?;
        }
    }
    Ok(Exit::Ok)
}

/// A sentence.
pub fn waits_for(Scheduled { timer, due, duplicate }: &Scheduled) -> String {
    let again = if *duplicate { ", as before" } else { "" };
    format!("timer {timer} publishes it at {due}{again}")
}
