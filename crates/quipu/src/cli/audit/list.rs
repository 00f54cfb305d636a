//! `quipu audit list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page by page,
//! unless a limit is given.

use clap::Args;
use quipu_api::audit::{ActAnswer, ActsPage};

use super::super::client::Client;
use super::super::count::counted;
use super::super::event::Direction;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::super::paging::{limit, pages};
use super::Question;

const HEADER: [&str; 8] = ["TIME", "WHO", "FROM", "OPERATION", "SUBJECT", "OUTCOME", "CODE", "ACT"];

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
    let mut query = list.question.query();
    query.push(("direction", list.direction.name().to_owned()));
    let mut acts = Vec::new();
    let cursor =
        pages(client, "/v1/audit", &query, list.cursor, limit(list.limit, out.format), |mut page: ActsPage| {
            let count = page.acts.len();
            match out.format {
                Format::Ndjson => page.acts.iter().try_for_each(|act| out.document(act))?,
                Format::Table | Format::Json => acts.append(&mut page.acts),
            }
            Ok((count, page.cursor))
        })?;
    let whole = ActsPage { acts, cursor };
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
    let (who, outcome) = (act.who(), act.ended());
    let (address, code) = (act.address.clone().unwrap_or_default(), act.code.clone().unwrap_or_default());
    vec![act.time.clone(), who, address, act.operation.clone(), act.subject.clone(), outcome, code, act.act.clone()]
}
