//! Events from a file or standard input: JSON lines of any length, one JSON object (also over several lines), or an
//! array. Lines are not checked here: whoever records them says what is wrong with each.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::exit::{Exit, Failure};

/// One event as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// The line in a file of lines, the element in an array; from 1.
    pub number: u64,
    /// Its JSON on one line.
    pub json: Vec<u8>,
}

pub struct Input {
    source: Source,
    /// How messages name it.
    pub name: String,
    /// Its size, if it is a file.
    pub bytes_total: Option<u64>,
    /// How much of it was read.
    pub bytes_read: u64,
}

enum Source {
    Lines { reader: Box<dyn BufRead>, number: u64 },
    Array { items: std::vec::IntoIter<Vec<u8>>, number: u64 },
}

/// All of a file, or of standard input for `-`.
pub fn whole(path: &str) -> Result<Vec<u8>, Failure> {
    let (name, read) = match path {
        "-" => {
            let mut bytes = Vec::new();
            ("standard input", io::stdin().read_to_end(&mut bytes).map(|_| bytes))
        }
        path => (path, fs::read(path)),
    };
    read.map_err(|error| Failure::file("read", name, &error))
}

/// The one event of a file.
pub fn one_event(path: &str) -> Result<Box<RawValue>, Failure> {
    let mut input = Input::open(path)?;
    let (first, second) = (input.next()?, input.next()?);
    let (Some(item), None) = (first, second) else {
        return Err(Failure::failed(format!("{}: expected one event", input.name)));
    };
    let expected = |reason: String| Failure::failed(format!("{}: expected an event as JSON: {reason}", input.name));
    serde_json::from_slice(&item.json).map_err(|error| expected(error.to_string()))
}

impl Input {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &str) -> Result<Self, Failure> {
        if path == "-" {
            return Self::of("standard input", Box::new(BufReader::new(io::stdin())), None);
        }
        let failed = |error: io::Error| Failure::file("read", path, &error);
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let total = metadata.is_file().then_some(metadata.len());
        Self::of(path, Box::new(BufReader::with_capacity(256 * 1024, file)), total)
    }

    fn of(name: &str, mut reader: Box<dyn BufRead>, bytes_total: Option<u64>) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::file("read", name, &error);
        // Everything up to the first event is blank, and blank lines count.
        let mut head = Vec::new();
        let mut is_blank = true;
        while is_blank && reader.read_until(b'\n', &mut head).map_err(failed)? > 0 {
            is_blank = head.trim_ascii().is_empty();
        }
        let first = head.trim_ascii();
        let is_array = first.starts_with(b"[");
        let is_cut =
            first.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(first).is_err_and(|error| error.is_eof());
        let source = if is_array || is_cut {
            reader.read_to_end(&mut head).map_err(failed)?;
            of_whole(name, head, is_array)?
        } else {
            Source::Lines { reader: Box::new(Cursor::new(head).chain(reader)), number: 0 }
        };
        Ok(Self { source, name: name.to_owned(), bytes_total, bytes_read: 0 })
    }

    /// The next event; nothing at the end.
    pub fn next(&mut self) -> Result<Option<Item>, Failure> {
        match &mut self.source {
            Source::Array { items, number } => {
                let Some(json) = items.next() else { return Ok(None) };
                *number += 1;
                self.bytes_read += json.len() as u64 + 1;
                Ok(Some(Item { number: *number, json }))
            }
            Source::Lines { reader, number } => loop {
                let mut json = Vec::new();
                let read = reader.read_until(b'\n', &mut json);
                let read = read.map_err(|error| Failure::file("read", &self.name, &error))?;
                if read == 0 {
                    return Ok(None);
                }
                *number += 1;
                self.bytes_read += read as u64;
                json.truncate(json.trim_ascii_end().len());
                if !json.is_empty() {
                    return Ok(Some(Item { number: *number, json }));
                }
            },
        }
    }
}

/// What is only JSON as a whole: an array, or an object over several lines. Lines of which the first is broken off
/// are not, and stay lines.
fn of_whole(name: &str, text: Vec<u8>, is_array: bool) -> Result<Source, Failure> {
    let on_one_line = |json: &[u8]| json.iter().map(|c| if matches!(c, b'\n' | b'\r') { b' ' } else { *c }).collect();
    if is_array {
        let items = quipu::parse_events(&text)
            .map_err(|reason| Failure::new(Exit::Failed, format!("{name}: {reason}; nothing was sent")))?;
        let items: Vec<Vec<u8>> = items.iter().map(|raw| on_one_line(raw.get().as_bytes())).collect();
        return Ok(Source::Array { items: items.into_iter(), number: 0 });
    }
    if serde_json::from_slice::<IgnoredAny>(&text).is_ok() {
        let item: Vec<u8> = on_one_line(text.trim_ascii());
        return Ok(Source::Array { items: vec![item].into_iter(), number: 0 });
    }
    Ok(Source::Lines { reader: Box::new(Cursor::new(text)), number: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &'static str) -> Vec<(u64, String)> {
        let mut input = Input::of("test", Box::new(text.as_bytes()), None).unwrap();
        let mut items = Vec::new();
        while let Some(item) = input.next().unwrap() {
            items.push((item.number, String::from_utf8(item.json).unwrap()));
        }
        items
    }

    #[test]
    fn lines_keep_their_numbers_over_blank_ones() {
        assert_eq!(items("\n{\"a\":1}\n\n{\"a\":2}\r\n"), [(2, r#"{"a":1}"#.into()), (4, r#"{"a":2}"#.into())]);
    }

    #[test]
    fn an_array_and_an_object_over_several_lines_are_whole() {
        assert_eq!(items(" [{\"a\":\n1},\n{\"b\":2}]"), [(1, "{\"a\": 1}".into()), (2, "{\"b\":2}".into())]);
        assert_eq!(items("{\n\"a\":1\n}\n"), [(1, "{ \"a\":1 }".into())]);
    }

    #[test]
    fn a_broken_first_line_is_a_line() {
        assert_eq!(items("{\"a\":\n{\"b\":2}\n"), [(1, "{\"a\":".into()), (2, "{\"b\":2}".into())]);
        assert_eq!(items(""), []);
    }
}
