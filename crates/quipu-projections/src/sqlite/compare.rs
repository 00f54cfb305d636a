//! Whether two read models are the same: rows counted, a digest of each table, and the first rows that differ, column by column.

use std::cmp::Ordering;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error, Row, Rows};
use serde_json::{Map, Value as Json};

use super::read::{Reader, json_of};
use super::table::{Table, names, quoted};
use super::watch::RowKey;

/// Most rows that are shown of a table.
const DIFFERENCES_MAX: usize = 20;
/// What becomes of a text that is shown, characters.
const SHOWN_CHARS_MAX: usize = 512;

/// What a table of a read model is, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDigest {
    /// Its name.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// BLAKE3 of its rows in the order of its key, hexadecimal.
    pub digest: String,
}

/// Two releases of a projection, at one place of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The release that answers queries.
    pub live: u64,
    /// The one that is to come after it.
    pub next: u64,
    /// Both are behind this position.
    pub position: u64,
    /// Each table that one of them has.
    pub tables: Vec<TableComparison>,
}

/// A table of two releases.
#[derive(Clone, Debug, PartialEq)]
pub struct TableComparison {
    /// Its name.
    pub table: String,
    /// What the live release has of it; nothing without such a table.
    pub live: Option<TableDigest>,
    /// What the next release has of it.
    pub next: Option<TableDigest>,
    /// Columns that only the live one has.
    pub columns_gone: Vec<String>,
    /// Columns that only the next one has.
    pub columns_new: Vec<String>,
    /// How many rows differ in the columns that both have: changed, only in the live one, or only in the next one.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
}

/// A row that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// What tells it from others.
    pub key: Map<String, Json>,
    /// What the live release has in the columns that differ; nothing if it has no such row.
    pub live: Option<Map<String, Json>>,
    /// What the next release has there.
    pub next: Option<Map<String, Json>>,
    /// The key as the database has it.
    pub(crate) row: RowKey,
}

impl Comparison {
    /// Whether both have the same rows.
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(TableComparison::is_equal)
    }
}

impl TableComparison {
    /// Whether both have it with the same rows.
    pub fn is_equal(&self) -> bool {
        self.live.is_some() && self.live == self.next && self.differing == 0
    }
}

/// Of the moment in which it was begun, however long it takes.
impl Reader {
    /// What each table is, in short.
    pub fn digests(&self) -> Result<Vec<TableDigest>, Error> {
        names(&self.conn)?.iter().map(|name| digest(&self.conn, &Table::of(&self.conn, name)?)).collect()
    }

    /// What differs between this one, which is live, and the next one.
    pub fn compare(&self, next: &Self) -> Result<Vec<TableComparison>, Error> {
        let (ours, theirs) = (names(&self.conn)?, names(&next.conn)?);
        let mut all: Vec<&String> = ours.iter().chain(&theirs).collect();
        all.sort();
        all.dedup();
        all.into_iter()
            .map(|name| {
                let of = |reader: &Self, has: bool| has.then(|| Table::of(&reader.conn, name)).transpose();
                let (live_table, next_table) = (of(self, ours.contains(name))?, of(next, theirs.contains(name))?);
                let digest_in = |reader: &Self, table: &Option<Table>| {
                    table.as_ref().map(|table| digest(&reader.conn, table)).transpose()
                };
                let mut compared = TableComparison {
                    table: name.clone(),
                    live: digest_in(self, &live_table)?,
                    next: digest_in(next, &next_table)?,
                    columns_gone: Vec::new(),
                    columns_new: Vec::new(),
                    differing: 0,
                    differences: Vec::new(),
                };
                if let (Some(live_table), Some(next_table)) = (live_table, next_table)
                    && compared.live != compared.next
                {
                    compare_rows((&self.conn, &live_table), (&next.conn, &next_table), &mut compared)?;
                }
                Ok(compared)
            })
            .collect()
    }
}

fn digest(conn: &Connection, table: &Table) -> Result<TableDigest, Error> {
    let mut hasher = blake3::Hasher::new();
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(column)).collect();
    // Tables of the same rows in other columns are not the same.
    for column in &table.columns {
        hasher.update(&(column.len() as u64).to_le_bytes());
        hasher.update(column.as_bytes());
    }
    let sql = select(table, &columns);
    let mut statement = conn.prepare(&sql)?;
    let mut found = statement.query([])?;
    let mut rows = 0;
    let mut bytes = Vec::new();
    while let Some(row) = found.next()? {
        rows += 1;
        bytes.clear();
        for number in 0..columns.len() {
            put(&mut bytes, row.get_ref(number)?);
        }
        hasher.update(&bytes);
    }
    Ok(TableDigest { table: table.name.clone(), rows, digest: hasher.finalize().to_hex().to_string() })
}

fn select(table: &Table, columns: &[String]) -> String {
    // In the order in which `order_of` compares, whatever the table says of its columns.
    let in_order = |column: &String| match column == "rowid" {
        true => column.clone(),
        false => format!("{} collate binary", quoted(column)),
    };
    let key: Vec<String> = table.key.iter().map(in_order).collect();
    format!("select {} from {} order by {}", columns.join(", "), quoted(&table.name), key.join(", "))
}

/// A value such that no two rows are written alike.
pub(super) fn put(out: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => out.push(0),
        ValueRef::Integer(number) => {
            out.push(1);
            out.extend(number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            out.push(2);
            out.extend(number.to_bits().to_le_bytes());
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            out.push(if matches!(value, ValueRef::Text(_)) { 3 } else { 4 });
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        }
    }
}

/// Goes through both in the order of their keys.
fn compare_rows(
    live: (&Connection, &Table),
    next: (&Connection, &Table),
    compared: &mut TableComparison,
) -> Result<(), Error> {
    let is_in = |column: &&String, table: &Table| table.columns.contains(column);
    compared.columns_gone = live.1.columns.iter().filter(|column| !is_in(column, next.1)).cloned().collect();
    compared.columns_new = next.1.columns.iter().filter(|column| !is_in(column, live.1)).cloned().collect();
    if live.1.key != next.1.key {
        // No row of one is a row of the other.
        compared.differing = compared.live.iter().chain(&compared.next).map(|of| of.rows).sum();
        return Ok(());
    }
    let shared: Vec<&String> = live.1.columns.iter().filter(|column| is_in(column, next.1)).collect();
    let keys = live.1.key.len();
    let columns: Vec<String> = live.1.key.iter().chain(shared.iter().copied()).map(|column| quoted(column)).collect();
    let (mut live_statement, mut next_statement) =
        (live.0.prepare(&select(live.1, &columns))?, next.0.prepare(&select(next.1, &columns))?);
    let (mut live_rows, mut next_rows) = (live_statement.query([])?, next_statement.query([])?);
    let read = |rows: &mut Rows<'_>| rows.next()?.map(|row| values(row, columns.len())).transpose();
    let (mut one, mut other) = (read(&mut live_rows)?, read(&mut next_rows)?);
    loop {
        let order = match (&one, &other) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => order_of(&one[..keys], &other[..keys]),
        };
        let is_same = order == Ordering::Equal && one == other;
        if !is_same {
            compared.differing += 1;
            if compared.differences.len() < DIFFERENCES_MAX {
                let key_of = one.as_ref().filter(|_| order.is_le()).or(other.as_ref());
                let values = key_of.map(|row| row[..keys].to_vec()).unwrap_or_default();
                let key = show(&live.1.key.iter().collect::<Vec<_>>(), &values, |_| true);
                let row = RowKey { table: live.1.name.clone(), columns: live.1.key.clone(), values };
                let differs = |number: usize| match (&one, &other, order) {
                    (Some(one), Some(other), Ordering::Equal) => one[keys + number] != other[keys + number],
                    _ => true,
                };
                let side = |row: &Option<Vec<Value>>, is_there: bool| {
                    row.as_ref().filter(|_| is_there).map(|row| show(&shared, &row[keys..], differs))
                };
                compared.differences.push(Difference {
                    key,
                    live: side(&one, order.is_le()),
                    next: side(&other, order.is_ge()),
                    row,
                });
            }
        }
        if order.is_le() {
            one = read(&mut live_rows)?;
        }
        if order.is_ge() {
            other = read(&mut next_rows)?;
        }
    }
}

fn values(row: &Row<'_>, count: usize) -> Result<Vec<Value>, Error> {
    (0..count).map(|number| row.get(number)).collect()
}

/// The order in which SQLite gives keys, without collations: nothing, numbers, text, bytes.
fn order_of(one: &[Value], other: &[Value]) -> Ordering {
    let class = |value: &Value| match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    };
    let compare = |(one, other): (&Value, &Value)| match (one, other) {
        (Value::Integer(one), Value::Integer(other)) => one.cmp(other),
        (Value::Real(one), Value::Real(other)) => one.total_cmp(other),
        (Value::Integer(one), Value::Real(other)) => (*one as f64).total_cmp(other),
        (Value::Real(one), Value::Integer(other)) => one.total_cmp(&(*other as f64)),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::Blob(one), Value::Blob(other)) => one.cmp(other),
        (one, other) => class(one).cmp(&class(other)),
    };
    one.iter().zip(other).map(compare).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn show(columns: &[&String], values: &[Value], is_shown: impl Fn(usize) -> bool) -> Map<String, Json> {
    let shown = columns.iter().zip(values).enumerate().filter(|(number, _)| is_shown(*number));
    let clipped = |json: Json| match json {
        Json::String(text) if text.len() > SHOWN_CHARS_MAX => {
            text.chars().take(SHOWN_CHARS_MAX).collect::<String>().into()
        }
        json => json,
    };
    shown.map(|(_, (column, value))| ((*column).clone(), clipped(json_of(value.into())))).collect()
}
