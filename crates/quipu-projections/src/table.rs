//! A table of a read model, or a view.

use crate::refusal::ReadModelRefusal;

/// The table with the place in the log; nobody else's begin like it.
pub(crate) const OWN_TABLE: &str = "_quipu";
/// Tables with these names could not be asked for: their addresses stand for something else.
const RESERVED: [&str; 7] = ["baselines", "releases", "resume", "skips", "sql", "verdicts", "verify"];
/// Most tables of a read model.
const TABLES_MAX: usize = 100;

/// A table of a read model, or a view.
#[derive(Debug)]
pub(crate) struct Table {
    pub name: String,
    pub columns: Vec<String>,
    /// What tells a row from all others.
    pub key: Vec<String>,
}

/// A name as SQL has it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether a read model may have these tables.
pub(crate) fn check_names(tables: &[String]) -> Result<(), ReadModelRefusal> {
    if tables.is_empty() || tables.len() > TABLES_MAX {
        let error = format!("{} tables; make 1 to {TABLES_MAX}", tables.len());
        return Err(ReadModelRefusal::Tables { error });
    }
    let is_reserved = |table: &&String| RESERVED.iter().any(|name| name.eq_ignore_ascii_case(table));
    match tables.iter().find(is_reserved) {
        Some(table) => Err(ReadModelRefusal::ReservedTable { table: table.clone() }),
        None => Ok(()),
    }
}

/// Which of these tables is asked for.
pub(crate) fn find<'a>(tables: &'a [String], name: &str) -> Result<&'a String, ReadModelRefusal> {
    tables.iter().find(|table| table.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let table = name.chars().take(64).collect();
        ReadModelRefusal::NoTable { table, tables: tables.to_vec() }
    })
}

impl Table {
    /// The column of this name, as the table writes it.
    pub fn column(&self, name: &str) -> Result<&str, ReadModelRefusal> {
        let found = self.columns.iter().find(|column| column.eq_ignore_ascii_case(name));
        found.map(String::as_str).ok_or_else(|| ReadModelRefusal::NoColumn {
            column: name.chars().take(64).collect(),
            table: self.name.clone(),
            columns: self.columns.clone(),
        })
    }
}
