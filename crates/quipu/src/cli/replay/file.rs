//! A replay to a file: one event a line, as the server has recorded it, with its position. What is on disk is a beginning of the
//! range at any time: a line is either whole, or the last one, and is cut off by whoever goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread;

use quipu_api::{CURSOR_HEADER, MEDIA_LINES};
use quipu_domain::{Pattern, StartAt, Timestamp, parse_recorded};
use serde::Serialize;
use serde_json::value::RawValue;

use super::super::client::{Client, Get, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out};
use super::super::progress::Progress;
use super::pace::{Pace, Paced};

/// Events asked for at once.
const PAGE_EVENTS: u64 = 1_000;
/// Bytes that are looked at together for the end of the last whole line.
const BLOCK: u64 = 64 << 10;
/// The longest line that is looked for: the largest event as JSON, whatever had to be escaped.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// What is to be written, and where.
pub struct Asked<'a> {
    pub path: &'a str,
    pub from: Option<StartAt>,
    pub until: Option<StartAt>,
    pub pattern: Option<Box<RawValue>>,
    pub pace: Pace,
    pub is_resumed: bool,
}

/// The range as events are held against it.
struct Range {
    /// The first position.
    from: u64,
    until: Option<u64>,
    /// Recorded no earlier.
    since: Option<Timestamp>,
    /// Recorded earlier.
    before: Option<Timestamp>,
    pattern: Option<Pattern>,
}

#[derive(Serialize)]
struct Written<'a> {
    file: &'a str,
    /// Lines that were there before.
    resumed: u64,
    events: u64,
    /// Every event up to here was looked at.
    position: u64,
}

/// Whether there may be more.
#[derive(PartialEq)]
enum Place {
    Before,
    Inside,
    Behind,
}

pub fn run(asked: &Asked<'_>, is_dry: bool, client: &Client, out: &mut Out) -> Outcome {
    let mut range = Range::of(asked)?;
    let (mut file, resumed) = match is_dry {
        true => (None, 0),
        false => {
            let (file, last) = open(asked)?;
            range.from = range.from.max(last.map_or(0, |last| last + 1));
            (Some(BufWriter::with_capacity(BLOCK as usize, file)), last.unwrap_or(0))
        }
    };
    let (events, position) = copy(&range, asked, client, file.as_mut())?;
    if let Some(file) = file {
        let file = file.into_inner().map_err(|error| failed(asked.path, error.error()))?;
        file.sync_all().map_err(|error| failed(asked.path, &error))?;
        sync_folder(asked.path)?;
    }
    match out.format {
        Format::Table if is_dry => out.line(&format!("{} in all", counted(events, "event")))?,
        Format::Table => out.line(&format!("{} written to {}", counted(events, "event"), asked.path))?,
        Format::Json | Format::Ndjson => {
            out.document(&Written { file: asked.path, resumed, events, position })?;
        }
    }
    Ok(Exit::Ok)
}

impl Range {
    fn of(asked: &Asked<'_>) -> Result<Self, Failure> {
        let time = |text: &str| Timestamp::parse(text);
        let (from, since) = match &asked.from {
            Some(StartAt::Position(position)) => ((*position).max(1), None),
            Some(StartAt::Time(text)) => (1, time(text)),
            Some(StartAt::Now) => return Err(Failure::usage("--from: expected an event that is there, found now")),
            Some(StartAt::Beginning) | None => (1, None),
        };
        let (until, before) = match &asked.until {
            Some(StartAt::Position(position)) => (Some(*position), None),
            Some(StartAt::Time(text)) => (None, time(text)),
            Some(StartAt::Beginning) => return Err(Failure::usage("--until: expected an event, found beginning")),
            Some(StartAt::Now) | None => (None, None),
        };
        let pattern = asked.pattern.as_ref().map(|pattern| Pattern::parse(pattern.get())).transpose();
        let pattern = pattern.map_err(|invalid| Failure::usage(format!("--pattern: {invalid}")))?;
        Ok(Self { from, until, since, before, pattern })
    }

    /// Where a line stands, when it was recorded, and whether it is wanted.
    fn look(&self, line: &str) -> Result<(Place, u64, Timestamp, bool), String> {
        let (event, stamp) = parse_recorded(line).map_err(|invalid| invalid.to_string())?;
        let time = stamp.recorded_time;
        let place = if self.since.is_some_and(|since| time < since) {
            Place::Before
        } else if self.before.is_some_and(|before| time >= before) {
            Place::Behind
        } else {
            Place::Inside
        };
        let is_wanted = self.pattern.as_ref().is_none_or(|pattern| pattern.matches_event(&event, Some(&stamp)));
        Ok((place, stamp.position, time, is_wanted))
    }

    fn query(&self) -> Query {
        let mut query = vec![
            ("direction", "forward".to_owned()),
            ("limit", PAGE_EVENTS.to_string()),
            ("positionfrom", self.from.to_string()),
        ];
        query.extend(self.until.map(|until| ("positionto", until.to_string())));
        query
    }
}

/// Reads page by page and writes what is wanted. How many that were, and how far it came.
fn copy(
    range: &Range,
    asked: &Asked<'_>,
    client: &Client,
    mut file: Option<&mut BufWriter<File>>,
) -> Result<(u64, u64), Failure> {
    let query = range.query();
    let (mut cursor, mut line) = (None::<String>, String::new());
    let (mut events, mut position) = (0, range.from.saturating_sub(1));
    let mut progress = Progress::of_events(None);
    let mut paced = Paced::new(asked.pace);
    // Events that are recorded meanwhile are not of the range.
    let newest = newest(client)?;
    let end = range.until.unwrap_or(newest).min(newest);
    let all = (end + 1).saturating_sub(range.from);
    'pages: while position < end {
        let mut query = query.clone();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let answer = client.get(&Get { path: "/v1/events", query: &query, headers: &[("accept", MEDIA_LINES)] })?;
        cursor = answer.headers().get(CURSOR_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut reader = BufReader::with_capacity(BLOCK as usize, answer.into_body().into_reader());
        loop {
            line.clear();
            if reader.read_line(&mut line).map_err(|error| client.broken_off(&error))? == 0 {
                break;
            }
            let text = line.trim_end_matches('\n');
            let looked = range.look(text);
            let (place, at, time, is_wanted) =
                looked.map_err(|invalid| Failure::failed(format!("expected an event from the server: {invalid}")))?;
            if at > end || place == Place::Behind {
                break 'pages;
            }
            position = at;
            if place == Place::Before || !is_wanted {
                continue;
            }
            events += 1;
            if let Some(file) = &mut file {
                let wait = paced.wait(time);
                if !wait.is_zero() {
                    // Whoever looks at the file sees what has come so far.
                    file.flush().map_err(|error| failed(asked.path, &error))?;
                    thread::sleep(wait);
                }
                writeln!(file, "{text}").map_err(|error| failed(asked.path, &error))?;
            }
            progress.at_events(position + 1 - range.from, all);
        }
        progress.at_events(position + 1 - range.from, all);
        if cursor.is_none() {
            break;
        }
    }
    progress.finish();
    Ok((events, position))
}

/// The newest position that there is.
fn newest(client: &Client) -> Result<u64, Failure> {
    let page: serde_json::Value = client.parsed("/v1/events", &vec![("limit", "1".to_owned())])?;
    page["position"].as_u64().ok_or_else(|| Failure::failed("expected a page with a position, found none"))
}

/// The file, ready for the next line, and the position of the last one that is there.
fn open(asked: &Asked<'_>) -> Result<(File, Option<u64>), Failure> {
    let fault = |error: &io::Error| failed(asked.path, error);
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    let created = match asked.is_resumed {
        true => options.create(true).truncate(false).open(asked.path),
        false => options.create_new(true).open(asked.path),
    };
    let mut file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let why = format!("{}: expected no such file; to go on with it: --resume", asked.path);
            return Err(Failure::failed(why));
        }
        opened => opened.map_err(|error| fault(&error))?,
    };
    let (end, last) = last_line(&mut file).map_err(|error| fault(&error))?;
    let position = match last {
        None if end > 0 => return Err(not_ours(asked.path, "a line that is too long")),
        None => None,
        Some(line) => {
            let (_, stamp) = parse_recorded(&line).map_err(|invalid| not_ours(asked.path, &invalid.to_string()))?;
            Some(stamp.position)
        }
    };
    file.set_len(end).map_err(|error| fault(&error))?;
    file.seek(SeekFrom::Start(end)).map_err(|error| fault(&error))?;
    Ok((file, position))
}

/// Where the last whole line ends, and that line. A line that was begun is not looked at.
fn last_line(file: &mut File) -> io::Result<(u64, Option<String>)> {
    let mut begin = file.metadata()?.len();
    let mut tail: Vec<u8> = Vec::new();
    loop {
        let ends: Vec<usize> = (0..tail.len()).rev().filter(|at| tail[*at] == b'\n').take(2).collect();
        let (end, line) = match (ends[..].first(), ends.get(1)) {
            (Some(last), Some(before)) => (Some(*last), Some(before + 1)),
            (Some(last), None) => (Some(*last), (begin == 0).then_some(0)),
            (None, _) => (None, None),
        };
        if let (Some(end), Some(from)) = (end, line) {
            let text = String::from_utf8_lossy(&tail[from..end]).into_owned();
            return Ok((begin + end as u64 + 1, Some(text)));
        }
        if begin == 0 {
            // Nothing but a line that was begun.
            return Ok((0, None));
        }
        if tail.len() as u64 > 2 * LINE_BYTES_MAX {
            return Ok((begin, None));
        }
        let size = begin.min(BLOCK.max(tail.len() as u64));
        begin -= size;
        let mut block = vec![0; size as usize];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut block)?;
        block.append(&mut tail);
        tail = block;
    }
}

/// So that the name of a new file is on disk, too.
fn sync_folder(path: &str) -> Result<(), Failure> {
    let folder = Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failed(path, &error))
}

fn failed(path: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("{path}: {error}"))
}

fn not_ours(path: &str, found: &str) -> Failure {
    Failure::failed(format!("{path}: expected a file that a replay has written, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_of(content: &[u8]) -> (u64, Option<String>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        last_line(&mut file).unwrap()
    }

    #[test]
    fn the_last_whole_line_is_found_wherever_a_block_ends() {
        assert_eq!(last_of(b""), (0, None));
        assert_eq!(last_of(b"half"), (0, None));
        assert_eq!(last_of(b"one\n"), (4, Some("one".into())));
        assert_eq!(last_of(b"one\ntwo\nhal"), (8, Some("two".into())));
        let block = BLOCK as usize;
        for length in [block - 2, block - 1, block, block + 1, 3 * block] {
            let long = "x".repeat(length);
            let content = format!("first\n{long}\n");
            assert_eq!(last_of(content.as_bytes()), (content.len() as u64, Some(long.clone())), "{length}");
            let content = format!("{content}{long}");
            assert_eq!(last_of(content.as_bytes()), ((7 + length) as u64, Some(long)), "{length}");
        }
    }
}
