//! What tables a read model has, and what they are made of.

use rusqlite::{Connection, Result};

use crate::refusal::ReadModelRefusal;
use crate::table::{self, OWN_TABLE, Table};

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

/// The table or view of this name.
pub(super) fn find(conn: &Connection, name: &str) -> Result<std::result::Result<Table, ReadModelRefusal>> {
    match table::find(&names_of(conn, "('table', 'view')")?, name) {
        Ok(name) => of(conn, name).map(Ok),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// What the table or view of this very name is made of.
pub(super) fn of(conn: &Connection, name: &str) -> Result<Table> {
    let mut statement = conn.prepare_cached("select name, pk, hidden from pragma_table_xinfo(?) order by cid")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let found: Vec<(String, i64, i64)> = statement.query_map([name], read)?.collect::<Result<_>>()?;
    let mut key: Vec<(i64, String)> =
        found.iter().filter(|(_, place, _)| *place > 0).map(|(column, place, _)| (*place, column.clone())).collect();
    key.sort();
    let columns: Vec<String> =
        found.into_iter().filter(|(.., hidden)| *hidden != 1).map(|(column, ..)| column).collect();
    let is_view = conn.query_row("select type = 'view' from sqlite_master where name = ?", [name], |row| row.get(0))?;
    let key = match (key.is_empty(), is_view) {
        (false, _) => key.into_iter().map(|(_, column)| column).collect(),
        // Rows get their numbers in the order of the events, so that they are the same when they are made again.
        (true, false) => vec!["rowid".to_owned()],
        (true, true) => columns.clone(),
    };
    Ok(Table { name: name.to_owned(), columns, key })
}
