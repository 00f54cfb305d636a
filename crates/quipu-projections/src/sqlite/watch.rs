//! Some rows of a read model that is being built, and the last event that changed each: each is looked at again after every event
//! that changed anything, so that it does not matter how, nor of what kind its table is.

use blake3::Hash;
use quipu_engine::Since;
use rusqlite::{Connection, Error, Row};

use crate::compare::RowKey;
use crate::table::quoted;
use crate::value::Value;

/// Rows that are looked at.
pub(super) struct Watch(Vec<Watched>);

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
            let key = values(row, 0..self.key.len())?;
            if key != self.key {
                continue;
            }
            let mut bytes = Vec::new();
            let rest = values(row, self.key.len()..row.as_ref().column_count())?;
            rest.iter().for_each(|value| value.put(&mut bytes));
            return Ok(Some(blake3::hash(&bytes)));
        }
        Ok(None)
    }
}

/// What a row has in these columns.
pub(super) fn values(row: &Row<'_>, columns: std::ops::Range<usize>) -> Result<Vec<Value>, Error> {
    columns.map(|number| row.get_ref(number).map(Value::from)).collect()
}
