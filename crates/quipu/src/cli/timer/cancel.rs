//! `quipu timer cancel`: by number, or by key.

use clap::Args;
use quipu_api::CancelledTimerAnswer;

use super::super::client::{Client, encode};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};

#[derive(Debug, Args)]
pub struct Cancel {
    /// Its number
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    number: Option<u64>,
    /// Its key
    #[arg(long)]
    key: Option<String>,
}

pub fn run(cancel: &Cancel, client: &Client, out: &mut Out) -> Outcome {
    let path = match (&cancel.number, &cancel.key) {
        (Some(number), _) => format!("/v1/timers/{number}"),
        (None, key) => format!("/v1/timers?key={}", encode(key.as_deref().unwrap_or_default())),
    };
    let text = client.delete(&path)?;
    match out.format {
        Format::Table => {
            let CancelledTimerAnswer { timer } = client.parse(&text)?;
            out.line(&format!("timer {timer} is cancelled"))?;
        }
        Format::Json | Format::Ndjson => out.json(&text)?,
    }
    Ok(Exit::Ok)
}
