//! Lists that a server gives page by page. A table or a JSON document has so many entries and says how to go on; JSON lines are
//! everything, unless a limit is given.

use serde::de::DeserializeOwned;

use super::client::{Client, Query};
use super::exit::Failure;
use super::output::Format;

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
