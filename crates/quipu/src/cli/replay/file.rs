//! A replay to a file: one event a line, as the server has recorded it, with its position. What is on disk is a beginning of the
//! range at any time: a line is either whole, or the last one, and is cut off by whoever goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;

use quipu_api::replay::TypeCountBody;
use quipu_domain::StartAt;
use quipu_engine::TypeCounts;
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::client::Client;
use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out};
use super::super::store::sync_folder_of;
use super::pace::{Pace, Paced};
use super::range::Range;
use super::standing::{Content, Standing, check_kind};
use super::type_counts;

/// Bytes that are read and written at once.
pub const BLOCK: usize = 64 << 10;
/// Events asked for at once.
const PAGE_EVENTS: u64 = 1_000;
/// The same where each waits for its time: they are in memory meanwhile.
const PACED_PAGE_EVENTS: u64 = 100;

/// What is to be written, and where.
pub struct Asked<'a> {
    pub path: &'a str,
    pub from: Option<StartAt>,
    pub until: Option<StartAt>,
    pub pattern: Option<Box<RawValue>>,
    pub pace: Pace,
    pub is_resumed: bool,
}

/// What would be written. The members that the preview of a server has, too, are called as there.
#[derive(Serialize)]
struct Preview<'a> {
    file: &'a str,
    /// The first position of the range.
    from: u64,
    /// The last one.
    until: u64,
    /// Events that would be in the file.
    total: u64,
    types: Vec<TypeCountBody>,
    /// Events of further types.
    #[serde(rename = "othertypes")]
    other_types: u64,
}

/// What was written.
#[derive(Serialize)]
struct Written<'a> {
    file: &'a str,
    /// The first position of the range.
    from: u64,
    /// The last one: every event up to here was looked at.
    until: u64,
    /// The position of the last event that was there before.
    #[serde(rename = "resumedafter", skip_serializing_if = "Option::is_none")]
    resumed_after: Option<u64>,
    /// Events that were written now.
    written: u64,
    /// Events in the file.
    events: u64,
    /// The position of the first of them.
    first: Option<u64>,
    /// The position of the last of them.
    last: Option<u64>,
    /// Of the whole file.
    blake3: String,
}

pub fn run(asked: &Asked<'_>, is_dry: bool, client: &Client, out: &mut Out) -> Outcome {
    let range = Range::of(asked, client)?;
    match is_dry {
        true => preview(&range, asked, client, out),
        false => write(&range, asked, client, out),
    }
}

fn preview(range: &Range, asked: &Asked<'_>, client: &Client, out: &mut Out) -> Outcome {
    let (mut counts, mut total) = (TypeCounts::default(), 0);
    range.each(range.from, PAGE_EVENTS, client, |event, _, _| {
        total += 1;
        counts.add(event.kind());
        Ok(())
    })?;
    let TypeCounts { of, others: other_types } = counts;
    let types: Vec<_> = of.into_iter().map(|(kind, events)| TypeCountBody { kind, events }).collect();
    match out.format {
        Format::Table => {
            type_counts(&types, other_types, out)?;
            out.line(&format!("{} in all", counted(total, "event")))?;
        }
        Format::Json | Format::Ndjson => {
            let Range { from, until, .. } = *range;
            out.document(&Preview { file: asked.path, from, until, total, types, other_types })?;
        }
    }
    Ok(Exit::Ok)
}

fn write(range: &Range, asked: &Asked<'_>, client: &Client, out: &mut Out) -> Outcome {
    let fault = |error: &io::Error| failed(asked.path, error);
    let (file, mut content) = open(range, asked, client)?;
    let (resumed_after, before) = (content.last, content.events);
    let mut file = BufWriter::with_capacity(BLOCK, file);
    let mut paced = Paced::new(asked.pace);
    let at_once = if asked.pace == Pace::Max { PAGE_EVENTS } else { PACED_PAGE_EVENTS };
    let from = resumed_after.map_or(range.from, |last| last + 1);
    range.each(from, at_once, client, |_, stamp, line| {
        let wait = paced.wait(stamp.recorded_time);
        if !wait.is_zero() {
            // Whoever looks at the file sees what has come so far.
            file.flush().map_err(|error| fault(&error))?;
            thread::sleep(wait);
        }
        content.add(line, stamp.position);
        writeln!(file, "{line}").map_err(|error| fault(&error))
    })?;
    let file = file.into_inner().map_err(|error| fault(error.error()))?;
    file.sync_all().map_err(|error| fault(&error))?;
    sync_folder_of(Path::new(asked.path))?;
    let written = Written {
        file: asked.path,
        from: range.from,
        until: range.until,
        resumed_after,
        written: content.events - before,
        events: content.events,
        first: content.first,
        last: content.last,
        blake3: content.hash(),
    };
    match out.format {
        Format::Table => say(&written, out)?,
        Format::Json | Format::Ndjson => out.document(&written)?,
    }
    Ok(Exit::Ok)
}

fn say(written: &Written<'_>, out: &mut Out) -> io::Result<()> {
    out.line(&format!("{} written to {}", counted(written.written, "event"), written.file))?;
    let positions = match (written.first, written.last) {
        (Some(first), Some(last)) => format!(" from position {first} to {last}"),
        _ => String::new(),
    };
    out.line(&format!("it has {}{positions}, BLAKE3 {}", counted(written.events, "event"), written.blake3))
}

/// The file, ready for the next line, and what is in it.
fn open(range: &Range, asked: &Asked<'_>, client: &Client) -> Result<(File, Content), Failure> {
    let fault = |error: &io::Error| failed(asked.path, error);
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    if !asked.is_resumed {
        return match options.create_new(true).open(asked.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let why = format!("{}: expected no such file; to go on with it: --resume", asked.path);
                Err(Failure::failed(why))
            }
            opened => Ok((opened.map_err(|error| fault(&error))?, Content::default())),
        };
    }
    check_kind(asked.path)?;
    let opened = options.create(true).truncate(false).open(asked.path);
    let mut file = opened.map_err(|error| fault(&error))?;
    let standing = Standing::read(asked.path, &file, range)?;
    standing.check(asked.path, range, client)?;
    file.set_len(standing.bytes).map_err(|error| fault(&error))?;
    file.seek(SeekFrom::Start(standing.bytes)).map_err(|error| fault(&error))?;
    Ok((file, standing.content))
}

pub fn failed(path: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("{path}: {error}"))
}
