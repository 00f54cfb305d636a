//! `quipu deadletter list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page
//! by page, unless a limit is given.

use clap::{Args, ValueEnum};
use quipu_api::DeadLettersPage;
use quipu_api::deadletter::DeadLetterBody;
use serde::Serialize;
use serde_json::Value;

use super::super::client::Client;
use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, text};
use super::super::paging::{limit, pages};
use super::FilterFlags;

pub const HEADER: [&str; 9] =
    ["ID", "TIME", "SUBSCRIPTION", "POSITION", "TYPE", "REASON", "ATTEMPTS", "STATE", "FINGERPRINT"];

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    filter: FilterFlags,
    /// What became of them
    #[arg(long, value_enum, default_value = "open")]
    state: StateWord,
    /// At most so many [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

/// What became of dead letters.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum StateWord {
    /// Nothing yet
    Open,
    /// Delivered again
    Redriven,
    /// Decided not to be delivered
    Discarded,
    /// Any of these
    All,
}

impl StateWord {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Redriven => "redriven",
            Self::Discarded => "discarded",
            Self::All => "all",
        }
    }
}

pub fn run(list: List, client: &Client, out: &mut Out) -> Outcome {
    let mut query = list.filter.query();
    query.push(("state", list.state.name().to_owned()));
    let mut dead_letters = Vec::new();
    let limit = limit(list.limit, out.format);
    let cursor = pages(client, "/v1/deadletters", &query, list.cursor, limit, |mut page: DeadLettersPage| {
        let count = page.dead_letters.len();
        match out.format {
            Format::Ndjson => page.dead_letters.iter().try_for_each(|letter| out.document(letter))?,
            Format::Table | Format::Json => dead_letters.append(&mut page.dead_letters),
        }
        Ok((count, page.cursor))
    })?;
    let whole = DeadLettersPage { dead_letters, cursor };
    show(&whole, out)?;
    Ok(Exit::Ok)
}

fn show(page: &DeadLettersPage, out: &mut Out) -> Result<(), Failure> {
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(page)?,
        Format::Table => {
            out.table(&HEADER, &page.dead_letters.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if let Some(cursor) = &page.cursor {
                let count = counted(page.dead_letters.len() as u64, "dead letter");
                eprintln!("{count}, more follow: the same command with --cursor {cursor}");
            }
        }
    }
    Ok(())
}

pub fn row(letter: &DeadLetterBody) -> Vec<String> {
    let number = |number: u64| number.to_string();
    vec![
        number(letter.id),
        letter.time.clone(),
        letter.subscription.clone(),
        number(letter.position),
        letter.kind.clone(),
        word(&letter.reason),
        letter.attempts.to_string(),
        word(&letter.state),
        letter.fingerprint.clone(),
    ]
}

/// A word of the wire.
fn word(value: &impl Serialize) -> String {
    text(&serde_json::to_value(value).unwrap_or(Value::Null))
}
