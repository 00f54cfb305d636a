//! Questions to a read model: rows of a table, and SQL. Each is answered in one transaction, so that all of an answer and the
//! position beside it are of one moment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Row, ToSql};
use serde_json::{Map, Value as Json};

use super::guard::{Guard, Mode, end_after};
use super::table;
use super::watch::values;
use crate::compare::{Next, Tables};
use crate::query::{
    BYTES_MAX, ROW_BYTES_MAX, Rows, SQL_BYTES_MAX, SqlQuery, TIME_MAX, TableQuery, behind, foreign_cursor, invalid,
    read_cursor, row_too_large, write_cursor,
};
use crate::refusal::{NotDone, ReadModelRefusal};
use crate::store::Broken;
use crate::table::{OWN_TABLE, Table, quoted};

/// Somebody who asks a read model.
pub(crate) struct Reader {
    pub(super) conn: Connection,
    guard: Guard,
    path: PathBuf,
}

impl Reader {
    /// For one question, which may take only so long.
    pub fn open(path: &Path) -> Result<Self, NotDone> {
        let mut reader = Self::open_file(path)?;
        end_after(&mut reader.conn, TIME_MAX).map_err(|error| failed(path, &error))?;
        Ok(reader)
    }

    /// For what looks at all rows, as they are now.
    pub fn open_now(path: &Path) -> Result<Self, NotDone> {
        let mut reader = Self::open_file(path)?;
        let begun = reader.conn.progress_handler(0, None::<fn() -> bool>).and_then(|()| reader.begin());
        begun.map_err(|error| failed(path, &error))?;
        Ok(reader)
    }

    fn open_file(path: &Path) -> Result<Self, NotDone> {
        let failed = |error: Error| failed(path, &error);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(path, flags).map_err(failed)?;
        conn.busy_timeout(Duration::from_millis(super::BUSY_MS)).map_err(failed)?;
        conn.pragma_update(None, "query_only", true).map_err(failed)?;
        let guard = Guard::put(&mut conn).map_err(failed)?;
        Ok(Self { conn, guard, path: path.to_owned() })
    }

    fn failed(&self, error: &Error) -> NotDone {
        match error {
            Error::SqliteFailure(failure, _) if failure.code == ErrorCode::OperationInterrupted => {
                ReadModelRefusal::TooLong { limit_ms: TIME_MAX.as_millis() as u64 }.into()
            }
            Error::UserFunctionError(reason) => invalid(reason.to_string()),
            error => failed(&self.path, error),
        }
    }

    /// All of what is asked after this is of one moment: that of this position.
    fn begin(&self) -> Result<u64, Error> {
        self.conn.execute_batch("begin")?;
        let sql = format!("select position from {OWN_TABLE}");
        self.conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(|position| position as u64)
    }

    /// Rows of a table.
    pub fn rows(&self, table: &str, query: &TableQuery) -> Result<Rows, NotDone> {
        let position = self.begin().map_err(|error| self.failed(&error))?;
        let table = table::find(&self.conn, table).map_err(|error| self.failed(&error))??;
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut conditions = Vec::new();
        for (column, test, value) in &query.filters {
            let column = table.column(column)?;
            conditions.push(format!("{} {} ?", quoted(column), test.sql()));
            values.push(if value == "null" { Box::new(Value::Null) } else { Box::new(value.clone()) });
        }
        let order = query.places(&table)?;
        if let Some(cursor) = &query.cursor {
            let after = read_cursor(cursor, &order).and_then(|place| place.iter().map(value_of).collect());
            let after: Vec<Value> = after.ok_or_else(foreign_cursor)?;
            let nulls: Vec<bool> = after.iter().map(|value| *value == Value::Null).collect();
            conditions.push(behind(&order, "is", &nulls, |number| {
                values.push(Box::new(after[number].clone()));
                "?".to_owned()
            }));
        }
        let columns = table.columns.iter().map(|column| quoted(column));
        let places = order.iter().map(|(column, _)| column.clone());
        let list =
            |(column, is_descending): &(String, bool)| format!("{column}{}", if *is_descending { " desc" } else { "" });
        let limit = query.rows_max();
        let sql = format!(
            "select {} from {}{} order by {} limit {}",
            columns.chain(places).collect::<Vec<_>>().join(", "),
            quoted(&table.name),
            if conditions.is_empty() { String::new() } else { format!(" where {}", conditions.join(" and ")) },
            order.iter().map(list).collect::<Vec<_>>().join(", "),
            limit + 1
        );
        let read = || {
            let mut statement = self.conn.prepare(&sql)?;
            let mut found = statement.query(rusqlite::params_from_iter(values.iter()))?;
            let (mut rows, mut bytes, mut next) = (Vec::new(), 0, None);
            let mut place = None;
            while let Some(row) = found.next()? {
                if rows.len() == limit || bytes > BYTES_MAX {
                    next = place;
                    break;
                }
                rows.push(read_row(row, &table.columns, &mut bytes)?);
                place = Some(write_cursor(&order, place_of(row, table.columns.len(), order.len())?));
            }
            Ok(Rows { columns: table.columns.clone(), rows, next, is_cut: false, position })
        };
        read().map_err(|error: Error| self.failed(&error))
    }

    /// What SQL gives.
    pub fn sql(&self, query: &SqlQuery) -> Result<Rows, NotDone> {
        if query.sql.len() > SQL_BYTES_MAX {
            return Err(ReadModelRefusal::Sql { error: format!("more than {SQL_BYTES_MAX} bytes") }.into());
        }
        let position = self.begin().map_err(|error| self.failed(&error))?;
        self.guard.enter(Mode::Query);
        let answer = self.ask(query, position).map_err(|error| match error {
            error if super::is_of_store(&error) => self.failed(&error),
            Error::SqliteFailure(failure, _) if failure.code == ErrorCode::OperationInterrupted => self.failed(&error),
            error => ReadModelRefusal::Sql { error: error.to_string() }.into(),
        });
        self.guard.enter(Mode::Own);
        answer
    }

    fn ask(&self, query: &SqlQuery, position: u64) -> Result<Rows, Error> {
        let mut statement = self.conn.prepare(&query.sql)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(Error::UserFunctionError("a statement that gives no rows".into()));
        }
        for (name, value) in &query.parameters {
            let place = statement.parameter_index(&format!(":{name}"))?;
            let place = place.ok_or_else(|| Error::InvalidParameterName(format!(":{name}")))?;
            statement.raw_bind_parameter(place, Bind(value))?;
        }
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let mut found = statement.raw_query();
        let limit = query.rows_max();
        let (mut rows, mut bytes, mut is_cut) = (Vec::new(), 0, false);
        while let Some(row) = found.next()? {
            if rows.len() == limit || bytes > BYTES_MAX {
                is_cut = true;
                break;
            }
            rows.push(read_row(row, &columns, &mut bytes)?);
        }
        drop(found);
        Ok(Rows { columns, rows, next: None, is_cut, position })
    }
}

fn failed(path: &Path, error: &Error) -> NotDone {
    NotDone::Failed { place: path.display().to_string(), error: error.to_string() }
}

struct Bind<'a>(&'a Json);

impl ToSql for Bind<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        Ok(ToSqlOutput::Owned(match self.0 {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Integer(i64::from(*value)),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Value::Integer(number),
                None => Value::Real(number.as_f64().unwrap_or(f64::MAX)),
            },
            Json::String(text) => Value::Text(text.clone()),
            json => Value::Text(json.to_string()),
        }))
    }
}

/// A row as JSON; what is no text is base64.
fn read_row(row: &Row<'_>, columns: &[String], bytes: &mut usize) -> Result<Map<String, Json>, Error> {
    // Weighed before anything of it is copied: a row may have the same large value in each of its columns.
    let mut weight = 0;
    for number in 0..columns.len() {
        weight += match row.get_ref(number)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
            _ => 16,
        };
    }
    if weight > ROW_BYTES_MAX {
        return Err(Error::UserFunctionError(row_too_large(weight).into()));
    }
    let mut read = Map::new();
    for (number, column) in columns.iter().enumerate() {
        let value = json_of(row.get_ref(number)?);
        *bytes += column.len() + 16 + value.as_str().map_or(0, str::len);
        read.insert(column.clone(), value);
    }
    Ok(read)
}

fn json_of(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        // What is no number in JSON is nothing there.
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => STANDARD.encode(bytes).into(),
    }
}

/// What a row has in the columns of an order.
fn place_of(row: &Row<'_>, first: usize, count: usize) -> Result<Vec<Json>, Error> {
    let of = |number: usize| {
        Ok(match row.get_ref(first + number)? {
            // Told from text by what it stands in.
            ValueRef::Blob(bytes) => vec![Json::String(STANDARD.encode(bytes))].into(),
            // To the last bit: a decimal may be another number when it is read.
            ValueRef::Real(number) => vec![Json::Null, number.to_bits().into()].into(),
            value => json_of(value),
        })
    };
    (0..count).map(of).collect()
}

fn value_of(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => Value::Integer(number.as_i64()?),
        Json::Array(real) if real.len() == 2 => Value::Real(f64::from_bits(real[1].as_u64()?)),
        Json::Array(bytes) => Value::Blob(STANDARD.decode(bytes.first()?.as_str()?).ok()?),
        _ => return None,
    })
}

impl Tables for Reader {
    fn names(&self) -> Result<Vec<String>, Broken> {
        Ok(table::names(&self.conn)?)
    }

    fn table(&self, name: &str) -> Result<Table, Broken> {
        Ok(table::of(&self.conn, name)?)
    }

    fn rows(
        &self,
        table: &Table,
        columns: &[&String],
        read: &mut dyn FnMut(&mut Next<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        // Whatever the table says of its columns.
        let in_order = |column: &String| match column == "rowid" {
            true => column.clone(),
            false => format!("{} collate binary", quoted(column)),
        };
        let key: Vec<String> = table.key.iter().map(in_order).collect();
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let (shown, key) = (columns.join(", "), key.join(", "));
        let mut statement =
            self.conn.prepare(&format!("select {shown} from {} order by {key}", quoted(&table.name)))?;
        let mut found = statement.query([])?;
        read(&mut || Ok(found.next()?.map(|row| values(row, 0..columns.len())).transpose()?))
    }
}
