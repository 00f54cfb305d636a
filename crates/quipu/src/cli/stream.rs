//! `quipu stream …`: the events of one stream, and which streams there are.

use clap::{Args, Subcommand};
use quipu_api::{StreamLine, StreamsPage};

use super::Global;
use super::client::{Client, Query, encode};
use super::event::{Direction, client, page, rows};
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Out};
use super::paging::{JSON_LINES, TABLE_LINES, limit, pages};

/// Events asked for at once when everything is read.
const PAGE_EVENTS: u64 = 1_000;

#[derive(Debug, Subcommand)]
pub enum StreamCommand {
    /// Read the events of one stream
    Read(Read),
    /// List streams, in the order in which they began
    List(List),
}

#[derive(Debug, Args)]
pub struct Read {
    /// The stream, such as order/17
    subject: String,
    /// Begin at this version
    #[arg(long, value_name = "VERSION")]
    from_version: Option<u64>,
    /// Which end to begin at
    #[arg(long, value_enum, default_value = "forward")]
    direction: Direction,
    /// At most so many events [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only streams whose names begin so
    #[arg(long)]
    prefix: Option<String>,
    /// At most so many streams [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended, with the same flags
    #[arg(long)]
    cursor: Option<String>,
}

pub fn run(command: StreamCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        StreamCommand::Read(read) => self::read(read, &client, out),
        StreamCommand::List(list) => self::list(list, &client, out),
    }
}

fn read(read: Read, client: &Client, out: &mut Out) -> Outcome {
    let path = format!("/v1/streams/{}", encode(&read.subject));
    let mut query: Query = vec![("direction", read.direction.name().to_owned())];
    query.extend(read.from_version.map(|version| ("fromversion", version.to_string())));
    match out.format {
        Format::Ndjson => {
            // A stream is read page by page as JSON: its pages have no form of lines.
            let (mut cursor, mut left) = (read.cursor, read.limit.unwrap_or(u64::MAX));
            loop {
                let page = page(client, &path, &query, cursor, left.min(PAGE_EVENTS))?;
                page.events.iter().try_for_each(|event| out.json(event.get()))?;
                left -= page.events.len() as u64;
                cursor = page.cursor;
                if left == 0 || cursor.is_none() {
                    break;
                }
            }
        }
        Format::Json => out.document(&page(client, &path, &query, read.cursor, read.limit.unwrap_or(JSON_LINES))?)?,
        Format::Table => rows(&page(client, &path, &query, read.cursor, read.limit.unwrap_or(TABLE_LINES))?, out)?,
    }
    Ok(Exit::Ok)
}

fn list(list: List, client: &Client, out: &mut Out) -> Outcome {
    let query: Query = list.prefix.map(|prefix| ("prefix", prefix)).into_iter().collect();
    let mut streams = Vec::new();
    let limit = limit(list.limit, out.format);
    let cursor = pages(client, "/v1/streams", &query, list.cursor, limit, |mut page: StreamsPage| {
        let count = page.streams.len();
        match out.format {
            Format::Ndjson => page.streams.iter().try_for_each(|stream| out.document(stream))?,
            Format::Table | Format::Json => streams.append(&mut page.streams),
        }
        Ok((count, page.cursor))
    })?;
    show(streams, cursor, out)?;
    Ok(Exit::Ok)
}

fn show(streams: Vec<StreamLine>, cursor: Option<String>, out: &mut Out) -> Result<(), Failure> {
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(&StreamsPage { streams, cursor })?,
        Format::Table => {
            let row = |stream: &StreamLine| {
                let numbers = [stream.version, stream.position, stream.first_position];
                [&[stream.subject.clone()][..], &numbers.map(|number| number.to_string())].concat()
            };
            out.table(&["SUBJECT", "VERSION", "POSITION", "FIRST"], &streams.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if let Some(cursor) = cursor {
                eprintln!("{} streams, more follow: the same command with --cursor {cursor}", streams.len());
            }
        }
    }
    Ok(())
}
