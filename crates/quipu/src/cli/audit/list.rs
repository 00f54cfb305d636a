//! `quipu audit list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page by page,
//! unless a limit is given.

use clap::Args;
use quipu_api::audit::{ActAnswer, ActsPage};

use super::super::client::Client;
use super::super::count::counted;
use super::super::event::Direction;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Question;

const HEADER: [&str; 8] = ["TIME", "WHO", "FROM", "OPERATION", "SUBJECT", "OUTCOME", "CODE", "ACT"];
/// Acts in a table: what fits on a screen.
const TABLE_LINES: u64 = 20;
/// Acts asked for at once when everything is listed.
const PAGE_LINES: u64 = 1_000;

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    question: Question,
    /// Which end to begin at
    #[arg(long, value_enum, default_value = "backward")]
    direction: Direction,
    /// At most so many [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

pub fn run(list: List, client: &Client, out: &mut Out) -> Outcome {
    let limit = list.limit.unwrap_or(match out.format {
        Format::Table => TABLE_LINES,
        Format::Json => 100,
        Format::Ndjson => u64::MAX,
    });
    let mut whole = ActsPage { acts: Vec::new(), cursor: list.cursor };
    let mut written = 0;
    loop {
        let mut query = list.question.query();
        query.push(("direction", list.direction.name().to_owned()));
        query.push(("limit", (limit - written).min(PAGE_LINES).to_string()));
        query.extend(whole.cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page: ActsPage = client.parsed("/v1/audit", &query)?;
        written += page.acts.len() as u64;
        whole.cursor = page.cursor;
        match out.format {
            Format::Ndjson => page.acts.iter().try_for_each(|act| out.document(act))?,
            Format::Table | Format::Json => whole.acts.append(&mut page.acts),
        }
        if written >= limit || whole.cursor.is_none() {
            break;
        }
    }
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(&whole)?,
        Format::Table => {
            out.table(&HEADER, &whole.acts.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if let Some(cursor) = &whole.cursor {
                let count = counted(whole.acts.len() as u64, "act");
                eprintln!("{count}, more follow: the same command with --cursor {cursor}");
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(act: &ActAnswer) -> Vec<String> {
    let who = match &act.actor.name {
        Some(name) => format!("{name} ({})", act.actor.id),
        None => act.actor.id.clone(),
    };
    let outcome = match act.count {
        Some(count) => format!("{} {count} times", act.outcome),
        None => act.outcome.clone(),
    };
    let (address, code) = (act.address.clone().unwrap_or_default(), act.code.clone().unwrap_or_default());
    vec![act.time.clone(), who, address, act.operation.clone(), act.subject.clone(), outcome, code, act.act.clone()]
}
