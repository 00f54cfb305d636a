//! Lists that a server gives page by page. A table or a JSON document has so many entries and says how to go on; JSON lines are
//! everything, unless a limit is given.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Client, Query};
use super::count::counted;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Out};

/// Lines in a table: what fits on a screen.
pub const TABLE_LINES: u64 = 20;
/// Entries in a JSON document: the server's default.
pub const JSON_LINES: u64 = 100;
/// Entries asked for at once when everything is listed.
const PAGE_LINES: u64 = 1_000;

/// How many entries are listed at the most.
pub fn limit(asked: Option<u64>, format: Format) -> u64 {
    asked.unwrap_or(match format {
        Format::Table => TABLE_LINES,
        Format::Json => JSON_LINES,
        Format::Ndjson => u64::MAX,
    })
}

/// Asks for pages from a cursor on until there are as many entries as the limit says; `take` says how many are on one, and the
/// cursor behind them. Where to go on, if there is more.
pub fn pages<P: DeserializeOwned>(
    client: &Client,
    path: &str,
    query: &Query,
    mut cursor: Option<String>,
    limit: u64,
    mut take: impl FnMut(P) -> Result<(usize, Option<String>), Failure>,
) -> Result<Option<String>, Failure> {
    let mut left = limit;
    loop {
        let mut query = query.clone();
        query.push(("limit", left.min(PAGE_LINES).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let (count, next) = take(client.parsed(path, &query)?)?;
        left = left.saturating_sub(count as u64);
        if left == 0 || next.is_none() {
            return Ok(next);
        }
        cursor = next;
    }
}

/// Flags of a list that has no others.
#[derive(Debug, Args)]
pub struct Paged {
    /// At most so many [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended
    #[arg(long)]
    cursor: Option<String>,
}

/// Entries of a list.
pub struct Part<E> {
    pub entries: Vec<E>,
    /// How many there are in all.
    pub total: u64,
    /// Where to go on, if there are more.
    pub cursor: Option<String>,
}

/// A list whose pages say how many entries there are in all.
pub struct Listed<P, E> {
    pub path: &'static str,
    /// What one entry is called.
    pub noun: &'static str,
    pub header: &'static [&'static str],
    /// What a page has.
    pub part: fn(P) -> Part<E>,
    /// The same the other way round.
    pub page: fn(Part<E>) -> P,
    pub row: fn(&E) -> Vec<String>,
}

impl<P: DeserializeOwned + Serialize, E: Serialize> Listed<P, E> {
    /// Prints it as a table, a document or JSON lines.
    pub fn run(&self, asked: Paged, client: &Client, out: &mut Out) -> Outcome {
        let mut whole = Part { entries: Vec::new(), total: 0, cursor: None };
        let limit = limit(asked.limit, out.format);
        whole.cursor = pages(client, self.path, &Query::new(), asked.cursor, limit, |page| {
            let Part { mut entries, total, cursor } = (self.part)(page);
            let count = entries.len();
            whole.total = total;
            match out.format {
                Format::Ndjson => entries.iter().try_for_each(|one| out.document(one))?,
                Format::Table | Format::Json => whole.entries.append(&mut entries),
            }
            Ok((count, cursor))
        })?;
        match out.format {
            Format::Ndjson => {}
            Format::Json => out.document(&(self.page)(whole))?,
            Format::Table => {
                out.table(self.header, &whole.entries.iter().map(self.row).collect::<Vec<_>>())?;
                out.flush()?;
                if let Some(cursor) = whole.cursor {
                    let (shown, total) = (whole.entries.len(), counted(whole.total, self.noun));
                    eprintln!("{shown} of {total}, more follow: the same command with --cursor {cursor}");
                }
            }
        }
        Ok(Exit::Ok)
    }
}
