//! `quipu event list`. A table or a JSON document is one page and says how to go on; JSON lines are everything, page
//! by page, unless a limit is given.

use std::io::{BufRead, BufReader, Write};

use clap::{Args, ValueEnum};
use quipu_api::{CURSOR_HEADER, MEDIA_LINES};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::client::{Client, Get, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::filter::FilterFlags;
use super::super::output::{Format, Out, member};
use super::super::progress::Progress;
use super::Resolve;

/// Events in a table: what fits on a screen.
const TABLE_EVENTS: u64 = 20;
/// Events in a JSON document: the server's default.
const JSON_EVENTS: u64 = 100;
/// Events asked for at once when everything is listed.
const PAGE_EVENTS: u64 = 1_000;
/// The largest page that a server gives.
const PAGE_EVENTS_MAX: u64 = 10_000;

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    filter: FilterFlags,
    /// Which end to begin at
    #[arg(long, value_enum, default_value = "forward")]
    direction: Direction,
    /// At most so many events [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    resolve: Resolve,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

/// Which end to begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// Oldest first
    Forward,
    /// Newest first
    Backward,
}

impl Direction {
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        }
    }
}

pub fn run(list: &List, client: &Client, out: &mut Out) -> Outcome {
    let mut query = list.filter.query();
    query.push(("direction", list.direction.name().to_owned()));
    query.extend(list.resolve.pair());
    let cursor = list.cursor.clone();
    match out.format {
        Format::Ndjson => {
            let mut progress = Progress::beside_output(list.limit);
            lines(client, &query, cursor, list.limit, &mut progress, out)?;
        }
        Format::Json => {
            out.document(&page(client, "/v1/events", &query, cursor, list.limit.unwrap_or(JSON_EVENTS))?)?
        }
        Format::Table => {
            let page = page(client, "/v1/events", &query, cursor, list.limit.unwrap_or(TABLE_EVENTS))?;
            rows(&page, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// A page of events, or of one stream's.
#[derive(Debug, Serialize, Deserialize)]
pub struct Page {
    /// As the server wrote them.
    pub events: Vec<Box<RawValue>>,
    pub cursor: Option<String>,
    position: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
}

/// One page. A server may end a page early to bound its work; that is gone on from here, so that a page is only short
/// at the end.
pub fn page(client: &Client, path: &str, query: &Query, cursor: Option<String>, limit: u64) -> Result<Page, Failure> {
    let mut cursor = cursor;
    let mut events = Vec::new();
    loop {
        let left = limit - events.len() as u64;
        let mut query = query.clone();
        query.push(("limit", left.min(PAGE_EVENTS_MAX).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page: Page = client.parsed(path, &query)?;
        events.append(&mut page.events);
        if events.len() as u64 >= limit || page.cursor.is_none() {
            return Ok(Page { events, ..page });
        }
        cursor = page.cursor;
    }
}

/// Events one a line as they come from the server, without parsing them; how many there were.
pub fn lines(
    client: &Client,
    query: &Query,
    mut cursor: Option<String>,
    limit: Option<u64>,
    progress: &mut Progress,
    out: &mut dyn Write,
) -> Result<u64, Failure> {
    let (mut written, mut bytes) = (0, 0);
    let mut line = Vec::new();
    loop {
        let left = limit.map_or(u64::MAX, |limit| limit - written);
        if left == 0 {
            break;
        }
        let mut query = query.clone();
        query.push(("limit", left.min(PAGE_EVENTS).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let answer = client.get(&Get { path: "/v1/events", query: &query, headers: &[("accept", MEDIA_LINES)] })?;
        cursor = answer.headers().get(CURSOR_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut reader = BufReader::with_capacity(64 * 1024, answer.into_body().into_reader());
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(|error| client.broken_off(&error))? == 0 {
                break;
            }
            out.write_all(&line)?;
            if !line.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
            written += 1;
            bytes += line.len() as u64;
        }
        progress.at(bytes, written);
        if cursor.is_none() {
            break;
        }
        // Whoever reads the lines gets each page when it is there.
        out.flush()?;
    }
    progress.finish();
    Ok(written)
}

/// A page as a table, and on standard error how to go on.
pub fn rows(page: &Page, out: &mut Out) -> Result<(), Failure> {
    let events = page.events.iter().map(|raw| serde_json::from_str::<Value>(raw.get()).unwrap_or_default());
    out.table(&HEADER, &events.map(|event| row(&event)).collect::<Vec<_>>())?;
    out.flush()?;
    if let Some(cursor) = &page.cursor {
        let count = counted(page.events.len() as u64, "event");
        eprintln!("{count}, more follow: the same command with --cursor {cursor}");
    }
    Ok(())
}

pub const HEADER: [&str; 6] = ["POSITION", "TIME", "TYPE", "SUBJECT", "VERSION", "ID"];

/// An event as a row.
pub fn row(event: &Value) -> Vec<String> {
    let time = match member(event, "time") {
        time if time.is_empty() => member(event, "recordedtime"),
        time => time,
    };
    let cell = |name| member(event, name);
    vec![cell("position"), time, cell("type"), cell("subject"), cell("streamversion"), cell("id")]
}
