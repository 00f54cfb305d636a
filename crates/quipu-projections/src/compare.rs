//! Whether two read models are the same: rows counted, a digest of each table, and the first rows that differ, column by column.

use std::cmp::Ordering;

use serde_json::{Map, Value as Json};

use crate::store::Broken;
use crate::table::Table;
use crate::value::{Value, order_of};

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

/// What tells a row from others: its table, the columns of the key, and what it has in them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RowKey {
    pub table: String,
    pub columns: Vec<String>,
    pub values: Vec<Value>,
}

/// The next row, if there is one.
pub(crate) type Next<'a> = dyn FnMut() -> Result<Option<Vec<Value>>, Broken> + 'a;

/// The tables of a read model, as they were in one moment, however long it takes.
pub(crate) trait Tables {
    /// The names of the tables, without views.
    fn names(&self) -> Result<Vec<String>, Broken>;

    /// What a table is made of.
    fn table(&self, name: &str) -> Result<Table, Broken>;

    /// Gives the rows of a table, with these columns, in the order of its key as [`order_of`] has it.
    fn rows(
        &self,
        table: &Table,
        columns: &[&String],
        read: &mut dyn FnMut(&mut Next<'_>) -> Result<(), Broken>,
    ) -> Result<(), Broken>;
}

/// What each table is, in short.
pub(crate) fn digests(of: &dyn Tables) -> Result<Vec<TableDigest>, Broken> {
    of.names()?.iter().map(|name| digest(of, &of.table(name)?)).collect()
}

/// What differs between one, which is live, and the next one.
pub(crate) fn compare(live: &dyn Tables, next: &dyn Tables) -> Result<Vec<TableComparison>, Broken> {
    let (ours, theirs) = (live.names()?, next.names()?);
    let mut all: Vec<&String> = ours.iter().chain(&theirs).collect();
    all.sort();
    all.dedup();
    all.into_iter()
        .map(|name| {
            let of = |tables: &dyn Tables, has: bool| has.then(|| tables.table(name)).transpose();
            let (live_table, next_table) = (of(live, ours.contains(name))?, of(next, theirs.contains(name))?);
            let digest_in = |tables: &dyn Tables, table: &Option<Table>| {
                table.as_ref().map(|table| digest(tables, table)).transpose()
            };
            let mut compared = TableComparison {
                table: name.clone(),
                live: digest_in(live, &live_table)?,
                next: digest_in(next, &next_table)?,
                columns_gone: Vec::new(),
                columns_new: Vec::new(),
                differing: 0,
                differences: Vec::new(),
            };
            if let (Some(live_table), Some(next_table)) = (live_table, next_table)
                && compared.live != compared.next
            {
                compare_rows((live, &live_table), (next, &next_table), &mut compared)?;
            }
            Ok(compared)
        })
        .collect()
}

fn digest(tables: &dyn Tables, table: &Table) -> Result<TableDigest, Broken> {
    let mut hasher = blake3::Hasher::new();
    // Tables of the same rows in other columns are not the same.
    for column in &table.columns {
        hasher.update(&(column.len() as u64).to_le_bytes());
        hasher.update(column.as_bytes());
    }
    let (mut rows, mut bytes) = (0, Vec::new());
    let columns: Vec<&String> = table.columns.iter().collect();
    tables.rows(table, &columns, &mut |next| {
        while let Some(row) = next()? {
            rows += 1;
            bytes.clear();
            row.iter().for_each(|value| value.put(&mut bytes));
            hasher.update(&bytes);
        }
        Ok(())
    })?;
    Ok(TableDigest { table: table.name.clone(), rows, digest: hasher.finalize().to_hex().to_string() })
}

/// Goes through both in the order of their keys.
fn compare_rows(
    live: (&dyn Tables, &Table),
    next: (&dyn Tables, &Table),
    compared: &mut TableComparison,
) -> Result<(), Broken> {
    let is_in = |column: &&String, table: &Table| table.columns.contains(column);
    compared.columns_gone = live.1.columns.iter().filter(|column| !is_in(column, next.1)).cloned().collect();
    compared.columns_new = next.1.columns.iter().filter(|column| !is_in(column, live.1)).cloned().collect();
    if live.1.key != next.1.key {
        // No row of one is a row of the other.
        compared.differing = compared.live.iter().chain(&compared.next).map(|of| of.rows).sum();
        return Ok(());
    }
    let shared: Vec<&String> = live.1.columns.iter().filter(|column| is_in(column, next.1)).collect();
    let columns: Vec<&String> = live.1.key.iter().chain(shared.iter().copied()).collect();
    live.0.rows(live.1, &columns, &mut |live_rows| {
        next.0.rows(next.1, &columns, &mut |next_rows| merge(live.1, &shared, (&mut *live_rows, next_rows), compared))
    })
}

fn merge(
    table: &Table,
    shared: &[&String],
    (live_rows, next_rows): (&mut Next<'_>, &mut Next<'_>),
    compared: &mut TableComparison,
) -> Result<(), Broken> {
    let keys = table.key.len();
    let (mut one, mut other) = (live_rows()?, next_rows()?);
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
                compared.differences.push(difference(table, shared, (&one, &other), order));
            }
        }
        if order.is_le() {
            one = live_rows()?;
        }
        if order.is_ge() {
            other = next_rows()?;
        }
    }
}

fn difference(
    table: &Table,
    shared: &[&String],
    (one, other): (&Option<Vec<Value>>, &Option<Vec<Value>>),
    order: Ordering,
) -> Difference {
    let keys = table.key.len();
    let key_of = one.as_ref().filter(|_| order.is_le()).or(other.as_ref());
    let values = key_of.map(|row| row[..keys].to_vec()).unwrap_or_default();
    let key = show(&table.key.iter().collect::<Vec<_>>(), &values, |_| true);
    let row = RowKey { table: table.name.clone(), columns: table.key.clone(), values };
    let differs = |number: usize| match (one, other, order) {
        (Some(one), Some(other), Ordering::Equal) => one[keys + number] != other[keys + number],
        _ => true,
    };
    let side = |row: &Option<Vec<Value>>, is_there: bool| {
        row.as_ref().filter(|_| is_there).map(|row| show(shared, &row[keys..], differs))
    };
    Difference { key, live: side(one, order.is_le()), next: side(other, order.is_ge()), row }
}

fn show(columns: &[&String], values: &[Value], is_shown: impl Fn(usize) -> bool) -> Map<String, Json> {
    let shown = columns.iter().zip(values).enumerate().filter(|(number, _)| is_shown(*number));
    let clipped = |json: Json| match json {
        Json::String(text) if text.len() > SHOWN_CHARS_MAX => {
            text.chars().take(SHOWN_CHARS_MAX).collect::<String>().into()
        }
        json => json,
    };
    shown.map(|(_, (column, value))| ((*column).clone(), clipped(value.json()))).collect()
}
