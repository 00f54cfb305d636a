//! What stands in a file that a replay goes on with: whole lines, each an event of the range, and perhaps one that was begun.
//! Whatever is something else belongs to somebody, and nothing of it is cut off.
//!
//! The whole file is read, which its hash needs anyway. That its last line and its first ones are what the server has there is asked
//! of the server; the lines between are only held against the range, since asking for all would be to begin anew.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};

use quipu_domain::parse_recorded;
use serde::de::IgnoredAny;

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Failure};
use super::super::progress::Progress;
use super::file::{BLOCK, failed};
use super::range::{Range, fetch, no_event};

/// The longest line that is read: the largest event as JSON, whatever had to be escaped.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// How every line begins.
const BEGINNING: &[u8] = b"{\"specversion\":\"1.0\",\"id\":";
/// Events at the beginning of the range that are compared one by one: a page.
const OPENING_EVENTS: u64 = 1_000;

/// What whole lines of a file come to.
#[derive(Default)]
pub struct Content {
    hasher: blake3::Hasher,
    /// How many there are, each an event.
    pub events: u64,
    /// The position of the first one.
    pub first: Option<u64>,
    /// The position of the last one.
    pub last: Option<u64>,
}

impl Content {
    /// One more, without its end.
    pub fn add(&mut self, line: &str, position: u64) {
        self.hasher.update(line.as_bytes());
        self.hasher.update(b"\n");
        self.events += 1;
        self.first.get_or_insert(position);
        self.last = Some(position);
    }

    /// BLAKE3 of all their bytes, in hexadecimal.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

/// A file as it was found.
#[derive(Default)]
pub struct Standing {
    pub content: Content,
    /// Where its last whole line ends.
    pub bytes: u64,
    last_line: String,
    /// The positions of its first lines.
    opening: Vec<u64>,
}

/// Refuses what is no file of this name itself: going on cuts off a line that was begun, and behind a link that is in another file.
pub fn check_kind(path: &str) -> Result<(), Failure> {
    let found = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| failed(path, &error))?,
    };
    if found.is_symlink() {
        let why =
            format!("{path}: expected a file to go on with, found a symbolic link; name the file that it leads to");
        return Err(Failure::failed(why));
    }
    if !found.is_file() {
        return Err(not_ours(path, "something that is no file"));
    }
    Ok(())
}

impl Standing {
    /// Reads a file, and refuses one with anything in it but the beginning of such a replay.
    pub fn read(path: &str, file: &File, range: &Range) -> Result<Self, Failure> {
        let all = file.metadata().map_err(|error| failed(path, &error))?.len();
        let mut progress = Progress::new(Some(all));
        let (mut standing, mut line) = (Self::default(), Vec::new());
        let mut reader = BufReader::with_capacity(BLOCK, file);
        loop {
            line.clear();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            read.map_err(|error| failed(path, &error))?;
            match line.split_last() {
                Some((b'\n', whole)) => standing.take(path, whole, range)?,
                _ => break,
            }
            progress.at_bytes(standing.bytes, all);
        }
        progress.finish();
        if line.len() as u64 >= LINE_BYTES_MAX {
            return Err(not_ours(path, "a line that is too long"));
        }
        // Behind lines that are ours, whatever was broken off is ours, too.
        if standing.content.events == 0 {
            check_begun(path, &line, range)?;
        }
        Ok(standing)
    }

    /// One more whole line, without its end.
    fn take(&mut self, path: &str, line: &[u8], range: &Range) -> Result<(), Failure> {
        let number = self.content.events + 1;
        let not_ours = |found: &str| not_ours(path, &format!("line {number}: {found}"));
        let line = std::str::from_utf8(line).map_err(|_| not_ours("bytes that are no text"))?;
        let (_, stamp, is_wanted) = range.look(line).map_err(|invalid| not_ours(&invalid.to_string()))?;
        let at = stamp.position;
        if let Some(last) = self.content.last.filter(|last| at <= *last) {
            return Err(not_ours(&format!("position {at} behind position {last}")));
        }
        if !(range.from..=range.until).contains(&at) {
            let Range { from, until, .. } = range;
            return Err(another(
                path,
                &format!("position {at} in line {number}, where the range is {from} to {until}"),
            ));
        }
        if !is_wanted {
            return Err(another(path, &format!("position {at} in line {number}, which the pattern does not match")));
        }
        self.content.add(line, at);
        self.bytes += line.len() as u64 + 1;
        line.clone_into(&mut self.last_line);
        if self.content.events <= OPENING_EVENTS {
            self.opening.push(at);
        }
        Ok(())
    }

    /// Refuses to go on with what another server has written, or the same one of another range or pattern.
    pub fn check(&self, path: &str, range: &Range, client: &Client) -> Result<(), Failure> {
        let Some(last) = self.content.last else { return Ok(()) };
        let text = match client.json(&format!("/v1/positions/{last}"), &Query::new()) {
            Err(Failure::Said { exit: Exit::NotFound, message }) => {
                return Err(another(
                    path,
                    &format!("position {last} in its last line, of which the server says: {message}"),
                ));
            }
            answered => answered?,
        };
        let (there, recorded) = parse_recorded(&text).map_err(|invalid| no_event(&invalid))?;
        let (here, written) =
            parse_recorded(&self.last_line).map_err(|invalid| not_ours(path, &invalid.to_string()))?;
        // Two servers that were filled alike have the same events, and not at the same time.
        let is_same = (there.id(), there.source()) == (here.id(), here.source())
            && recorded.recorded_time == written.recorded_time;
        if !is_same {
            let found = format!("in its last line another event than {} has at position {last}", client.url);
            return Err(another(path, &found));
        }
        self.check_opening(path, range, last, client)
    }

    /// A narrower pattern, or a later beginning, left out what this replay wants.
    fn check_opening(&self, path: &str, range: &Range, last: u64, client: &Client) -> Result<(), Failure> {
        let lines = fetch(client, [range.from, last], OPENING_EVENTS, None)?;
        let (mut wanted, mut reached) = (Vec::new(), 0);
        for line in lines.text.split_terminator('\n') {
            let (_, stamp, is_wanted) = range.look(line).map_err(|invalid| no_event(&invalid))?;
            reached = stamp.position;
            if is_wanted {
                wanted.push(stamp.position);
            }
        }
        if lines.cursor.is_none() {
            reached = last;
        }
        let found: Vec<u64> = self.opening.iter().copied().take_while(|at| *at <= reached).collect();
        if found == wanted {
            return Ok(());
        }
        let alike = found.iter().zip(&wanted).take_while(|(found, wanted)| found == wanted).count();
        let at = |all: &[u64]| all.get(alike).map_or("none".to_owned(), |at| format!("position {at}"));
        let (found, wanted) = (at(&found), at(&wanted));
        Err(another(path, &format!("{found} as event {} up to position {reached}, where it has {wanted}", alike + 1)))
    }
}

/// Refuses what is all of a file and no line that a replay has begun.
fn check_begun(path: &str, rest: &[u8], range: &Range) -> Result<(), Failure> {
    let known = rest.len().min(BEGINNING.len());
    if rest[..known] != BEGINNING[..known] {
        return Err(not_ours(path, "no whole line, and no event that was begun"));
    }
    // A whole document may be an event that somebody wants to publish.
    let is_whole = serde_json::from_slice::<IgnoredAny>(rest).is_ok();
    if is_whole { Standing::default().take(path, rest, range) } else { Ok(()) }
}

fn not_ours(path: &str, found: &str) -> Failure {
    Failure::failed(format!(
        "{path}: expected a file that a replay has written, found {found}; it stays as it is: name another file"
    ))
}

fn another(path: &str, found: &str) -> Failure {
    Failure::failed(format!(
        "{path}: expected the beginning of this replay, found {found}; to go on with it, ask as when it was begun: the same \
         server, credential, --from, --until and --pattern or --type; to begin anew, name another file"
    ))
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use quipu_domain::Pattern;

    use super::*;

    fn line(position: u64, data: &str) -> String {
        format!(
            r#"{{"specversion":"1.0","id":"{position}","source":"/s","type":"t","position":{position},"recordedtime":"2026-01-31T09:30:00.000Z","data":"{data}"}}"#
        )
    }

    fn read_with(content: &[u8], pattern: Option<&str>) -> Result<Standing, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        let range = Range { from: 2, until: 9, pattern: pattern.map(|pattern| Pattern::parse(pattern).unwrap()) };
        Standing::read("f", &file, &range).map_err(|failure| match failure {
            Failure::Said { message, .. } => message,
            Failure::BrokenPipe => unreachable!("nothing is written"),
        })
    }

    fn read(content: &[u8]) -> Result<(u64, u64, Option<u64>), String> {
        read_with(content, None).map(|read| (read.bytes, read.content.events, read.content.last))
    }

    #[test]
    fn whole_lines_are_found_wherever_a_block_ends_and_one_that_was_begun_is_not() {
        assert_eq!(read(b""), Ok((0, 0, None)));
        for length in [1, BLOCK - 1, BLOCK, 3 * BLOCK] {
            let whole = format!("{}\n{}\n", line(2, "a"), line(5, &"x".repeat(length)));
            let next = line(6, "b");
            for cut in [0, 1, 30, next.len()] {
                let content = format!("{whole}{}", &next[..cut]);
                assert_eq!(read(content.as_bytes()), Ok((whole.len() as u64, 2, Some(5))), "{length} {cut}");
            }
            let standing = read_with(whole.as_bytes(), None).unwrap();
            assert_eq!(standing.content.hash(), blake3::hash(whole.as_bytes()).to_hex().to_string());
            assert_eq!((standing.content.first, standing.opening), (Some(2), vec![2, 5]));
        }
    }

    #[test]
    fn what_was_begun_alone_is_gone_on_with_only_if_it_may_be_ours() {
        let ours = line(2, "a");
        for cut in 1..=ours.len() {
            assert_eq!(read(&ours.as_bytes()[..cut]), Ok((0, 0, None)), "{cut}");
        }
        for foreign in [
            &b"secret"[..],
            b"{\"a\":1}",
            b"{}",
            b"[1]",
            b"\0\0\0",
            br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
            line(1, "not of the range").as_bytes(),
        ] {
            assert!(read(foreign).is_err(), "{}", String::from_utf8_lossy(foreign));
        }
    }

    #[test]
    fn lines_that_are_no_events_of_the_range_in_order_are_refused() {
        for (lines, why) in [
            ("no event\n".to_owned(), "line 1"),
            (format!("{}\n\n", line(2, "a")), "line 2"),
            (format!("{}\n{}\n", line(3, "a"), line(2, "b")), "position 2 behind position 3"),
            (format!("{}\n{}\n", line(3, "a"), line(3, "a")), "position 3 behind position 3"),
            (format!("{}\n", line(1, "a")), "the range is 2 to 9"),
            (format!("{}\n", line(10, "a")), "the range is 2 to 9"),
        ] {
            let refused = read(lines.as_bytes()).unwrap_err();
            assert!(refused.contains(why), "{lines}: {refused}");
        }
        let lines = format!("{}\n", line(3, "a"));
        let refused = read_with(lines.as_bytes(), Some(r#"{"type":["other"]}"#)).err().unwrap();
        assert!(refused.contains("the pattern does not match"), "{refused}");
    }
}
