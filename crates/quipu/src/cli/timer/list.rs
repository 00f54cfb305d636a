//! `quipu timer list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page by page, unless
//! a limit is given.

use clap::Args;
use quipu_api::TimersPage;
use quipu_api::timer::TimerBody;
use serde_json::Value;

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out, member};
use super::super::paging::{limit, pages};

const HEADER: [&str; 6] = ["TIMER", "DUE", "SET", "KEY", "TYPE", "SUBJECT"];

#[derive(Debug, Args)]
pub struct List {
    /// At most so many [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended
    #[arg(long)]
    cursor: Option<String>,
}

pub fn run(list: List, client: &Client, out: &mut Out) -> Outcome {
    let mut whole = TimersPage { timers: Vec::new(), total: 0, cursor: None };
    let limit = limit(list.limit, out.format);
    whole.cursor = pages(client, "/v1/timers", &Query::new(), list.cursor, limit, |mut page: TimersPage| {
        let count = page.timers.len();
        whole.total = page.total;
        match out.format {
            Format::Ndjson => page.timers.iter().try_for_each(|timer| out.document(timer))?,
            Format::Table | Format::Json => whole.timers.append(&mut page.timers),
        }
        Ok((count, page.cursor))
    })?;
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(&whole)?,
        Format::Table => {
            out.table(&HEADER, &whole.timers.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if let Some(cursor) = &whole.cursor {
                let (shown, total) = (whole.timers.len(), counted(whole.total, "timer"));
                eprintln!("{shown} of {total}, more follow: the same command with --cursor {cursor}");
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(timer: &TimerBody) -> Vec<String> {
    let event = timer.event.as_ref().and_then(|event| serde_json::from_str::<Value>(event.get()).ok());
    let subject = event.map(|event| member(&event, "subject")).unwrap_or_default();
    let key = timer.key.clone().unwrap_or_default();
    vec![timer.timer.to_string(), timer.due.clone(), timer.set.clone(), key, timer.kind.clone(), subject]
}
