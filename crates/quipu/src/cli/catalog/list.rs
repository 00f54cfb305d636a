//! `quipu catalog list`: a line for each type. A name that was only declared has a star.

use clap::Args;
use quipu_api::catalog::{CatalogLine, CatalogPage};

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::super::paging::{limit, pages};

const HEADER: [&str; 8] =
    ["TYPE", "VERSIONS", "EVENTS", "LAST DAY", "LAST SEEN", "PUBLISHERS", "CONSUMERS", "FINDINGS"];
/// Names in a cell; the rest are counted.
const NAMES: usize = 3;

#[derive(Debug, Default, Args)]
pub struct List {
    /// Only types whose names begin so
    #[arg(long)]
    prefix: Option<String>,
    /// Only types of which this was found
    #[arg(long, value_parser = ["unconsumed", "unpublished", "undeclared", "unseen"])]
    finding: Option<String>,
    /// At most so many types [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

pub fn run(list: List, client: &Client, out: &mut Out) -> Outcome {
    let mut query = Query::new();
    query.extend(list.prefix.map(|prefix| ("prefix", prefix)));
    query.extend(list.finding.map(|finding| ("finding", finding)));
    let most = limit(list.limit, out.format);
    let (mut lines, mut position, mut other_events) = (Vec::new(), 0, 0);
    let next = pages(client, "/v1/catalog", &query, list.cursor, most, |page: CatalogPage| {
        (position, other_events) = (page.position, page.other_events);
        let count = page.types.len();
        match out.format {
            Format::Ndjson => page.types.iter().try_for_each(|line| out.document(line))?,
            Format::Json | Format::Table => lines.extend(page.types),
        }
        Ok((count, page.cursor))
    })?;
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(&CatalogPage { types: lines, cursor: next, position, other_events })?,
        Format::Table => {
            out.table(&HEADER, &lines.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if other_events > 0 {
                eprintln!("and {} of further types", counted(other_events, "event"));
            }
            if let Some(cursor) = next {
                eprintln!("there is more: --cursor {cursor}");
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(line: &CatalogLine) -> Vec<String> {
    let versions: Vec<_> = line.versions.iter().map(|version| version.version.to_string()).collect();
    let star = |name: &str, is_seen: bool| if is_seen { name.to_owned() } else { format!("{name}*") };
    let publishers = line.publishers.iter().map(|publisher| star(&publisher.name, publisher.events > 0));
    let consumers = line.consumers.iter().map(|consumer| star(&consumer.name, consumer.takes.is_some()));
    vec![
        line.kind.clone(),
        versions.join(", "),
        line.events.to_string(),
        line.last_day.to_string(),
        line.last.as_ref().map(|last| last.recorded_time.clone()).unwrap_or_default(),
        some(publishers.collect()),
        some(consumers.collect()),
        line.findings.join(", "),
    ]
}

fn some(mut names: Vec<String>) -> String {
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
