//! `quipu schedule list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page by page, unless
//! a limit is given.

use clap::Args;
use quipu_api::schedule::{ScheduleBody, SchedulesPage};

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::super::paging::{limit, pages};

const HEADER: [&str; 8] = ["NAME", "STATE", "NEXT", "NEWEST", "PUBLISHED", "DROPPED", "REFUSED", "TYPE"];

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
    let mut whole = SchedulesPage { schedules: Vec::new(), total: 0, cursor: None };
    let limit = limit(list.limit, out.format);
    whole.cursor = pages(client, "/v1/schedules", &Query::new(), list.cursor, limit, |mut page: SchedulesPage| {
        let count = page.schedules.len();
        whole.total = page.total;
        match out.format {
            Format::Ndjson => page.schedules.iter().try_for_each(|one| out.document(one))?,
            Format::Table | Format::Json => whole.schedules.append(&mut page.schedules),
        }
        Ok((count, page.cursor))
    })?;
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(&whole)?,
        Format::Table => {
            out.table(&HEADER, &whole.schedules.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if let Some(cursor) = &whole.cursor {
                let (shown, total) = (whole.schedules.len(), counted(whole.total, "schedule"));
                eprintln!("{shown} of {total}, more follow: the same command with --cursor {cursor}");
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(one: &ScheduleBody) -> Vec<String> {
    vec![
        one.name.clone(),
        one.state.as_str().to_owned(),
        one.next_ticks.first().cloned().unwrap_or_default(),
        one.newest.as_ref().map(|newest| newest.tick.clone()).unwrap_or_default(),
        one.published.to_string(),
        one.dropped.to_string(),
        one.refused.to_string(),
        one.kind.clone(),
    ]
}
