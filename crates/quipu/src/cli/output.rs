//! Data on standard output: as a table for people, as JSON or as JSON lines for programs. Everything that is not data
//! goes to standard error and not through here.

use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::indent::indent;
use super::members::Members;

/// The form of the data on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns, for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Ndjson,
}

/// Cells of a table are cut after this many characters; JSON has the whole.
const CELL_CHARS_MAX: usize = 60;

pub struct Out {
    pub format: Format,
    to: BufWriter<Stdout>,
}

impl Out {
    pub fn new(format: Format) -> Self {
        Self { format, to: BufWriter::with_capacity(64 * 1024, io::stdout()) }
    }

    pub fn line(&mut self, line: &str) -> io::Result<()> {
        self.to.write_all(line.as_bytes())?;
        self.to.write_all(b"\n")
    }

    /// One JSON document: readable for `json`, on one line for `ndjson`.
    pub fn document(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.json(&serde_json::to_string(value)?)
    }

    /// The same for a text of JSON on one line.
    pub fn json(&mut self, text: &str) -> io::Result<()> {
        match self.format {
            Format::Ndjson => self.json_line(text),
            Format::Table | Format::Json => self.line(&indent(text)),
        }
    }

    /// A text of JSON on one line, in any form. Between its strings, where alone a line can break, a break is a space.
    pub fn json_line(&mut self, text: &str) -> io::Result<()> {
        if text.contains(['\n', '\r']) { self.line(&text.replace(['\n', '\r'], " ")) } else { self.line(text) }
    }

    /// A table, columns as wide as their widest cell.
    pub fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        let width = |column: usize| {
            let cells = rows.iter().chain([&header]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        for row in [&header].into_iter().chain(&rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// One object: its members for people, the text for programs.
    pub fn object(&mut self, text: &str) -> io::Result<()> {
        match self.format {
            Format::Table => self.members(text),
            Format::Json | Format::Ndjson => self.json(text),
        }
    }

    /// The members of an object, one a line.
    fn members(&mut self, text: &str) -> io::Result<()> {
        let Ok(Members(members)) = serde_json::from_str(text) else { return self.json(text) };
        let shown = members.into_iter().map(|(name, value)| Ok((name, shown(value)?)));
        self.pairs(&shown.collect::<io::Result<Vec<_>>>()?)
    }

    /// Names and what stands behind them, one a line.
    pub fn pairs(&mut self, pairs: &[(impl AsRef<str>, String)]) -> io::Result<()> {
        let width = pairs.iter().map(|(name, _)| name.as_ref().chars().count()).max().unwrap_or(0);
        pairs.iter().try_for_each(|(name, value)| self.line(format!("{:width$}  {value}", name.as_ref()).trim_end()))
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A member's value for people, over several lines if it has members itself.
pub fn shown(value: &RawValue) -> io::Result<String> {
    Ok(match serde_json::from_str(value.get())? {
        Value::String(text) => escape(&text),
        Value::Object(_) | Value::Array(_) => indent(value.get()),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => value.get().to_owned(),
    })
}

/// A JSON value as a cell: a string without its quotes, nothing for null.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A member of an object as a cell.
pub fn member(object: &Value, name: &str) -> String {
    object.get(name).map(text).unwrap_or_default()
}

fn printable(cell: &str) -> String {
    let mut cell = escape(cell);
    if let Some((at, _)) = cell.char_indices().nth(CELL_CHARS_MAX) {
        cell.truncate(at);
        cell.push('…');
    }
    cell
}

/// What a stranger put into an event must not move the cursor or colour the terminal.
pub fn escape(text: &str) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn long_cells_are_cut() {
        assert_eq!(printable(&"ü".repeat(100)).chars().count(), CELL_CHARS_MAX + 1);
    }
}
