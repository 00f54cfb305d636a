//! A template taken apart: as JSON if it is JSON with something in place of each placeholder, else as plain text. What
//! the names stand for is not its business.

use serde::de::IgnoredAny;

use super::{Format, Place};

/// A template's parts.
pub(super) struct Parsed {
    pub pieces: Vec<Piece>,
    pub format: Format,
}

pub(super) enum Piece {
    Text(String),
    Name { at: usize, name: String, place: Place },
}

/// Takes a template apart.
///
/// # Errors
/// A text that starts as a JSON object and is none, since nobody means that as plain text; and where.
pub(super) fn parse(text: &str) -> Result<Parsed, (usize, String)> {
    let json = Scan::json(text);
    let is_object = text.trim_start().starts_with('{');
    // `null` for a value and `x` in a string: if that is JSON, it is JSON with any values.
    let sample = serde_json::from_str::<IgnoredAny>(&json.sample);
    if let Some(at) = json.key.filter(|_| is_object || sample.is_ok()) {
        return Err((at, "expected a value, found a placeholder in the name of a member".into()));
    }
    match sample {
        Ok(_) => Ok(Parsed { pieces: json.pieces, format: Format::Json }),
        Err(error) if is_object => {
            let error = error.to_string();
            let reason = error.split(" at line ").next().unwrap_or_default();
            Err((json.place_of(&error), format!("expected a template that is a JSON object: {reason}")))
        }
        Err(_) => Ok(Parsed { pieces: Scan::plain(text).pieces, format: Format::Text }),
    }
}

/// The pieces so far, and the text with something in place of each placeholder.
#[derive(Default)]
struct Scan {
    pieces: Vec<Piece>,
    sample: String,
    /// For each byte of the sample the byte of the template it is from.
    origins: Vec<usize>,
    /// Where the first placeholder is that stands in the name of a member.
    key: Option<usize>,
}

impl Scan {
    fn json(text: &str) -> Self {
        let mut scan = Self::default();
        let mut in_string = false;
        let mut last = None;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let at = text.len() - rest.len();
            if let Some(name) = placeholder(rest) {
                rest = &rest[name.len() + 2..];
                let (place, sample) = if in_string { (Place::InString, "x") } else { (Place::Alone, "null") };
                scan.name(at, name, place, sample);
                last = Some(at);
                continue;
            }
            let literal = match c {
                '\\' if in_string && rest[1..].starts_with('<') => {
                    rest = &rest[2..];
                    scan.text(at, "<");
                    continue;
                }
                '\\' if in_string => c.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8),
                _ => c.len_utf8(),
            };
            match c {
                '"' => {
                    in_string = !in_string;
                    if in_string {
                        last = None;
                    }
                }
                ':' if !in_string => scan.key = scan.key.or(last),
                ',' | '{' | '[' if !in_string => last = None,
                _ => {}
            }
            // Left out, but seen by the parser: `1 2` is no number.
            if !in_string && c.is_ascii_whitespace() {
                scan.sample(at, " ");
            } else {
                scan.text(at, &rest[..literal]);
            }
            rest = &rest[literal..];
        }
        scan
    }

    fn plain(text: &str) -> Self {
        let mut scan = Self::default();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let at = text.len() - rest.len();
            if let Some(name) = placeholder(rest) {
                rest = &rest[name.len() + 2..];
                scan.name(at, name, Place::Plain, "");
                continue;
            }
            rest = rest.strip_prefix('\\').filter(|behind| behind.starts_with('<')).unwrap_or(rest);
            let literal = rest.chars().next().map_or(c.len_utf8(), char::len_utf8);
            scan.text(at, &rest[..literal]);
            rest = &rest[literal..];
        }
        scan
    }

    fn text(&mut self, at: usize, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
        self.sample(at, text);
    }

    fn name(&mut self, at: usize, name: &str, place: Place, sample: &str) {
        self.pieces.push(Piece::Name { at, name: name.to_owned(), place });
        self.sample(at, sample);
    }

    fn sample(&mut self, at: usize, text: &str) {
        self.sample.push_str(text);
        self.origins.resize(self.sample.len(), at);
    }

    /// The byte of the template that an error of the parser means. The sample is one line unless a string holds a line
    /// break.
    fn place_of(&self, error: &str) -> usize {
        let number = |word: &str| {
            let digits = error.rsplit_once(word)?.1;
            digits.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
        };
        let (line, column) = (number(" line ").unwrap_or(1), number(" column ").unwrap_or(1));
        let before: usize = self.sample.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let byte = (before + column.saturating_sub(1)).min(self.origins.len().saturating_sub(1));
        self.origins.get(byte).copied().unwrap_or(0)
    }
}

/// The name in `<name>` at the start of the text. A `<` before anything else is only a `<`.
fn placeholder(rest: &str) -> Option<&str> {
    let (name, _) = rest.strip_prefix('<')?.split_once('>')?;
    let is_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(&c));
    is_name.then_some(name)
}
