//! Questions to a read model: rows of a table, and SQL. Each is answered in one transaction, so that all of an answer and the
//! position beside it are of one moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, Row, ToSql};
use serde_json::{Map, Value as Json};

use super::guard::{Guard, Mode, OWN_TABLE, end_after};
use super::table::{Table, quoted};
use crate::refusal::{NotDone, ReadModelRefusal};

/// Most rows of an answer.
pub(crate) const ROWS_MAX: usize = 1_000;
/// Most bytes of an answer, about: it ends behind the row that goes over.
const BYTES_MAX: usize = 8 << 20;
/// Most bytes of one row: the largest value, and some more.
const ROW_BYTES_MAX: usize = 40 << 20;
/// Most filters of a question.
const FILTERS_MAX: usize = 20;
/// Most columns that an order is made of.
const ORDER_MAX: usize = 8;
/// How long a question may take.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Longest SQL of a question, bytes.
const SQL_BYTES_MAX: usize = 64 << 10;

/// Rows of a table that are asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableQuery {
    /// All of these hold: a column, how it is compared, and with what.
    pub filters: Vec<(String, Test, String)>,
    /// In which order; by the key of the table at the end.
    pub order: Vec<Order>,
    /// Most rows; 1 to 1,000.
    pub limit: usize,
    /// What an answer said about where it goes on.
    pub cursor: Option<String>,
}

/// How a column is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Equal.
    Is,
    /// Not equal; `null` is not equal to anything that is there.
    IsNot,
    /// Less.
    Less,
    /// Less or equal.
    AtMost,
    /// Greater.
    Greater,
    /// Greater or equal.
    AtLeast,
}

/// A column that rows are ordered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub column: String,
    /// Whether the greatest comes first.
    pub is_descending: bool,
}

/// SQL that is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SqlQuery {
    /// One `SELECT`, with named parameters such as `:customer`.
    pub sql: String,
    /// What stands for the parameters.
    pub parameters: BTreeMap<String, Json>,
    /// Most rows; 1 to 1,000.
    pub limit: usize,
}

/// Rows of a read model, and the moment that they are of.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// The columns, in the order of the table or of the question.
    pub columns: Vec<String>,
    /// The rows, by columns.
    pub rows: Vec<Map<String, Json>>,
    /// Where the answer goes on, if it does.
    pub next: Option<String>,
    /// Whether there is more than was given, where the answer does not say how to go on.
    pub is_cut: bool,
    /// Every event up to this position, and none behind it, is in them.
    pub position: u64,
}

impl Test {
    /// How it is written, the longest first.
    const WRITTEN: [(&'static str, Self); 6] = [
        ("!=", Self::IsNot),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("<", Self::Less),
        (">", Self::Greater),
        ("=", Self::Is),
    ];

    fn sql(self) -> &'static str {
        match self {
            Self::Is => "is",
            Self::IsNot => "is not",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }

    /// Reads a filter such as `status=shipped` or `total>=10`. `status=null` asks for what is not there.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<(String, Self, String), ReadModelRefusal> {
        let found = Self::WRITTEN.iter().filter_map(|(sign, test)| Some((text.find(sign)?, *sign, *test)));
        // Of two signs at one place the longer one is meant: it is named first.
        let first = found.min_by_key(|(at, ..)| *at).filter(|(at, ..)| *at > 0);
        let Some((at, sign, test)) = first else {
            let found: String = text.chars().take(64).collect();
            return Err(ReadModelRefusal::InvalidQuestion {
                reason: format!("expected a filter such as status=shipped or total>=10, found {found:?}"),
            });
        };
        Ok((text[..at].trim().to_owned(), test, text[at + sign.len()..].to_owned()))
    }
}

impl Order {
    /// Reads `placed_at` or `-placed_at`, the greatest first.
    pub fn parse(text: &str) -> Self {
        let column = text.strip_prefix('-').unwrap_or(text).to_owned();
        Self { is_descending: text.starts_with('-'), column }
    }
}

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
        end_after(&mut reader.conn, TIME_MAX).map_err(|error| NotDone::failed(path, &error))?;
        Ok(reader)
    }

    /// For what looks at all rows, as they are now.
    pub fn open_now(path: &Path) -> Result<Self, NotDone> {
        let mut reader = Self::open_file(path)?;
        let begun = reader.conn.progress_handler(0, None::<fn() -> bool>).and_then(|()| reader.begin());
        begun.map_err(|error| NotDone::failed(path, &error))?;
        Ok(reader)
    }

    fn open_file(path: &Path) -> Result<Self, NotDone> {
        let failed = |error: Error| NotDone::failed(path, &error);
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
            error => NotDone::failed(&self.path, error),
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
        if query.filters.len() > FILTERS_MAX || query.order.len() > ORDER_MAX {
            return Err(invalid(format!("expected at most {FILTERS_MAX} filters and {ORDER_MAX} columns of an order")));
        }
        let position = self.begin().map_err(|error| self.failed(&error))?;
        let table = Table::find(&self.conn, table).map_err(|error| self.failed(&error))??;
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut conditions = Vec::new();
        for (column, test, value) in &query.filters {
            let column = table.column(column)?;
            conditions.push(format!("{} {} ?", quoted(column), test.sql()));
            values.push(if value == "null" { Box::new(Value::Null) } else { Box::new(value.clone()) });
        }
        let mut order: Vec<(String, bool)> = Vec::new();
        for Order { column, is_descending } in &query.order {
            order.push((quoted(table.column(column)?), *is_descending));
        }
        let key = table.key.iter().map(|column| (quoted(column), false));
        let key: Vec<_> = key.filter(|(column, _)| order.iter().all(|(other, _)| other != column)).collect();
        order.extend(key);
        if let Some(cursor) = &query.cursor {
            let after = read_cursor(cursor, &order).ok_or_else(|| {
                invalid(
                    "expected a cursor that an answer to the same question in the same order gave, found another"
                        .into(),
                )
            })?;
            conditions.push(behind(&order, after, &mut values));
        }
        let columns = table.columns.iter().map(|column| quoted(column));
        let places = order.iter().map(|(column, _)| column.clone());
        let list =
            |(column, is_descending): &(String, bool)| format!("{column}{}", if *is_descending { " desc" } else { "" });
        let limit = query.limit.clamp(1, ROWS_MAX);
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
                place = Some(write_cursor(row, table.columns.len(), &order)?);
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
        let limit = query.limit.clamp(1, ROWS_MAX);
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

fn invalid(reason: String) -> NotDone {
    ReadModelRefusal::InvalidQuestion { reason }.into()
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
        let reason =
            format!("expected rows of at most {ROW_BYTES_MAX} bytes, found one of {weight}; ask for fewer columns");
        return Err(Error::UserFunctionError(reason.into()));
    }
    let mut read = Map::new();
    for (number, column) in columns.iter().enumerate() {
        let value = json_of(row.get_ref(number)?);
        *bytes += column.len() + 16 + value.as_str().map_or(0, str::len);
        read.insert(column.clone(), value);
    }
    Ok(read)
}

pub(super) fn json_of(value: ValueRef<'_>) -> Json {
    match value {
        ValueRef::Null => Json::Null,
        ValueRef::Integer(number) => number.into(),
        // What is no number in JSON is nothing there.
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => STANDARD.encode(bytes).into(),
    }
}

/// The condition that a row comes behind a place, in an order. Nothing there comes before everything that is.
fn behind(order: &[(String, bool)], after: Vec<Value>, values: &mut Vec<Box<dyn ToSql>>) -> String {
    let mut ways = Vec::new();
    for (number, (column, is_descending)) in order.iter().enumerate() {
        let mut way: Vec<String> = Vec::new();
        for ((column, _), value) in order[..number].iter().zip(&after) {
            way.push(format!("{column} is ?"));
            values.push(Box::new(value.clone()));
        }
        let is_null = after[number] == Value::Null;
        match (is_descending, is_null) {
            (false, true) => way.push(format!("{column} is not null")),
            (false, false) => way.push(format!("{column} > ?")),
            (true, true) => way.push("false".to_owned()),
            (true, false) => way.push(format!("({column} < ? or {column} is null)")),
        }
        if !is_null {
            values.push(Box::new(after[number].clone()));
        }
        ways.push(format!("({})", way.join(" and ")));
    }
    format!("({})", ways.join(" or "))
}

/// A place in an order: the order, and what the row has there.
fn write_cursor(row: &Row<'_>, first: usize, order: &[(String, bool)]) -> Result<String, Error> {
    let mut place = vec![Json::String(named(order))];
    for number in 0..order.len() {
        place.push(match row.get_ref(first + number)? {
            // Told from text by what it stands in.
            ValueRef::Blob(bytes) => vec![Json::String(STANDARD.encode(bytes))].into(),
            // To the last bit: a decimal may be another number when it is read.
            ValueRef::Real(number) => vec![Json::Null, number.to_bits().into()].into(),
            value => json_of(value),
        });
    }
    Ok(URL_SAFE_NO_PAD.encode(Json::Array(place).to_string()))
}

fn read_cursor(cursor: &str, order: &[(String, bool)]) -> Option<Vec<Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let Json::Array(place) = serde_json::from_slice(&bytes).ok()? else { return None };
    let (name, place) = place.split_first()?;
    if name.as_str()? != named(order) || place.len() != order.len() {
        return None;
    }
    let value = |json: &Json| {
        Some(match json {
            Json::Null => Value::Null,
            Json::String(text) => Value::Text(text.clone()),
            Json::Number(number) => Value::Integer(number.as_i64()?),
            Json::Array(real) if real.len() == 2 => Value::Real(f64::from_bits(real[1].as_u64()?)),
            Json::Array(bytes) => Value::Blob(STANDARD.decode(bytes.first()?.as_str()?).ok()?),
            _ => return None,
        })
    };
    place.iter().map(value).collect()
}

fn named(order: &[(String, bool)]) -> String {
    order.iter().map(|(column, is_descending)| format!("{}{column}", if *is_descending { "-" } else { "" })).collect()
}
