//! Some rows of a read model that is being built, and the last event that changed each: each is looked at again after every event
//! that changed anything, so that it does not matter how, nor of what kind its table is.

use blake3::Hash;
use quipu_engine::Since;
use rusqlite::types::Value;
use rusqlite::{Connection, Error};

use super::compare::put;
use super::table::quoted;

/// What tells a row from others: its table, the columns of the key, and what it has in them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowKey {
    pub table: String,
    pub columns: Vec<String>,
    pub values: Vec<Value>,
}

/// Rows that are looked at.
pub(crate) struct Watch(Vec<Watched>);

struct Watched {
    sql: String,
    key: Vec<Value>,
    state: Option<Hash>,
    since: Option<Since>,
}

impl Watch {
    pub fn new(rows: impl Iterator<Item = RowKey>) -> Self {
        let watched = |RowKey { table, columns, values }: RowKey| {
            let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
            let is: Vec<String> = columns.iter().map(|column| format!("{column} is ?")).collect();
            let (shown, is, table) = (columns.join(", "), is.join(" and "), quoted(&table));
            Watched { sql: format!("select {shown}, * from {table} where {is}"), key: values, state: None, since: None }
        };
        Self(rows.map(watched).collect())
    }

    /// Takes the rows as they are before the first event.
    pub fn begin(&mut self, conn: &Connection) -> Result<(), Error> {
        self.0.iter_mut().try_for_each(|row| {
            row.state = row.look(conn)?;
            Ok(())
        })
    }

    /// Looks at the rows behind an event.
    pub fn look(&mut self, conn: &Connection, position: u64, kind: &str) -> Result<(), Error> {
        for row in &mut self.0 {
            let state = row.look(conn)?;
            if state != row.state {
                row.state = state;
                row.since = Some(Since { position, kind: kind.to_owned() });
            }
        }
        Ok(())
    }

    /// The last event that changed each.
    pub fn end(self) -> Vec<Option<Since>> {
        self.0.into_iter().map(|row| row.since).collect()
    }
}

impl Watched {
    /// What the row is; nothing if there is none.
    fn look(&self, conn: &Connection) -> Result<Option<Hash>, Error> {
        let mut statement = conn.prepare_cached(&self.sql)?;
        let mut found = statement.query(rusqlite::params_from_iter(&self.key))?;
        while let Some(row) = found.next()? {
            // A table may take others for the same, such as those that are written in other letters.
            let key: Vec<Value> = (0..self.key.len()).map(|number| row.get(number)).collect::<Result<_, _>>()?;
            if key != self.key {
                continue;
            }
            let mut bytes = Vec::new();
            for number in self.key.len()..row.as_ref().column_count() {
                put(&mut bytes, row.get_ref(number)?);
            }
            return Ok(Some(blake3::hash(&bytes)));
        }
        Ok(None)
    }
}
