//! What tables a read model has, and what they are made of.

use rusqlite::{Connection, Result};

use super::guard::OWN_TABLE;
use crate::refusal::ReadModelRefusal;

/// A table of a read model, or a view.
#[derive(Debug)]
pub(super) struct Table {
    pub name: String,
    pub columns: Vec<String>,
    /// What tells a row from all others.
    pub key: Vec<String>,
}

/// A name as SQL has it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The names of the tables, without views.
pub(super) fn names(conn: &Connection) -> Result<Vec<String>> {
    names_of(conn, "('table')")
}

fn names_of(conn: &Connection, kinds: &str) -> Result<Vec<String>> {
    let sql = format!(
        "select name from sqlite_master where type in {kinds} and name not like 'sqlite\\_%' escape '\\' and name <> ? order by name"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    statement.query_map([OWN_TABLE], |row| row.get(0))?.collect()
}

impl Table {
    /// The table or view of this name.
    pub fn find(conn: &Connection, name: &str) -> Result<std::result::Result<Self, ReadModelRefusal>> {
        let tables = names_of(conn, "('table', 'view')")?;
        let Some(name) = tables.iter().find(|table| table.eq_ignore_ascii_case(name)) else {
            let table = name.chars().take(64).collect();
            return Ok(Err(ReadModelRefusal::NoTable { table, tables }));
        };
        Self::of(conn, name).map(Ok)
    }

    pub fn of(conn: &Connection, name: &str) -> Result<Self> {
        let mut statement = conn.prepare_cached("select name, pk, hidden from pragma_table_xinfo(?) order by cid")?;
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
        let found: Vec<(String, i64, i64)> = statement.query_map([name], read)?.collect::<Result<_>>()?;
        let mut key: Vec<(i64, String)> = found
            .iter()
            .filter(|(_, place, _)| *place > 0)
            .map(|(column, place, _)| (*place, column.clone()))
            .collect();
        key.sort();
        let columns: Vec<String> =
            found.into_iter().filter(|(.., hidden)| *hidden != 1).map(|(column, ..)| column).collect();
        let is_view =
            conn.query_row("select type = 'view' from sqlite_master where name = ?", [name], |row| row.get(0))?;
        let key = match (key.is_empty(), is_view) {
            (false, _) => key.into_iter().map(|(_, column)| column).collect(),
            // Rows get their numbers in the order of the events, so that they are the same when they are made again.
            (true, false) => vec!["rowid".to_owned()],
            (true, true) => columns.clone(),
        };
        Ok(Self { name: name.to_owned(), columns, key })
    }

    /// The column of this name, as the table writes it.
    pub fn column(&self, name: &str) -> std::result::Result<&str, ReadModelRefusal> {
        let found = self.columns.iter().find(|column| column.eq_ignore_ascii_case(name));
        found.map(String::as_str).ok_or_else(|| ReadModelRefusal::NoColumn {
            column: name.chars().take(64).collect(),
            table: self.name.clone(),
            columns: self.columns.clone(),
        })
    }
}
