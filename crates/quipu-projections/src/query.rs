//! Questions to a read model, whichever database it is in, and their limits.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json};

use crate::refusal::{NotDone, ReadModelRefusal};
use crate::table::{Table, quoted};

/// Most rows of an answer.
pub(crate) const ROWS_MAX: usize = 1_000;
/// Most bytes of an answer, about: it ends behind the row that goes over.
pub(crate) const BYTES_MAX: usize = 8 << 20;
/// Most bytes of one row: the largest value, and some more.
pub(crate) const ROW_BYTES_MAX: usize = 40 << 20;
/// Most filters of a question.
const FILTERS_MAX: usize = 20;
/// Most columns that an order is made of.
const ORDER_MAX: usize = 8;
/// How long a question may take.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(5);
/// Longest SQL of a question, bytes.
pub(crate) const SQL_BYTES_MAX: usize = 64 << 10;

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

    /// As SQL has it that knows `is` and `is not` between any values.
    pub(crate) fn sql(self) -> &'static str {
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

/// A column of an order, in quotes, and whether the greatest comes first.
pub(crate) type Place = (String, bool);

impl TableQuery {
    /// The order of the answer: as it was asked for, and by the key of the table at the end.
    pub(crate) fn places(&self, table: &Table) -> Result<Vec<Place>, NotDone> {
        if self.filters.len() > FILTERS_MAX || self.order.len() > ORDER_MAX {
            return Err(invalid(format!("expected at most {FILTERS_MAX} filters and {ORDER_MAX} columns of an order")));
        }
        let mut order: Vec<Place> = Vec::new();
        for Order { column, is_descending } in &self.order {
            order.push((quoted(table.column(column)?), *is_descending));
        }
        let key = table.key.iter().map(|column| (quoted(column), false));
        let key: Vec<_> = key.filter(|(column, _)| order.iter().all(|(other, _)| other != column)).collect();
        order.extend(key);
        Ok(order)
    }

    /// Most rows of the answer.
    pub(crate) fn rows_max(&self) -> usize {
        self.limit.clamp(1, ROWS_MAX)
    }
}

impl SqlQuery {
    /// Most rows of the answer.
    pub(crate) fn rows_max(&self) -> usize {
        self.limit.clamp(1, ROWS_MAX)
    }
}

pub(crate) fn invalid(reason: String) -> NotDone {
    ReadModelRefusal::InvalidQuestion { reason }.into()
}

pub(crate) fn foreign_cursor() -> NotDone {
    invalid("expected a cursor that an answer to the same question in the same order gave, found another".into())
}

pub(crate) fn row_too_large(weight: usize) -> String {
    format!("expected rows of at most {ROW_BYTES_MAX} bytes, found one of {weight}; ask for fewer columns")
}

/// The condition that a row comes behind a place in an order. Nothing there comes before everything that is. `is` says of two values
/// that they are the same, `nulls` where nothing is, and `put` what stands for the value of a column of the order.
pub(crate) fn behind(order: &[Place], is: &str, nulls: &[bool], mut put: impl FnMut(usize) -> String) -> String {
    let mut ways = Vec::new();
    for (number, (column, is_descending)) in order.iter().enumerate() {
        let mut way: Vec<String> = Vec::new();
        for (same, (column, _)) in order[..number].iter().enumerate() {
            way.push(format!("{column} {is} {}", put(same)));
        }
        way.push(match (is_descending, nulls[number]) {
            (false, true) => format!("{column} is not null"),
            (false, false) => format!("{column} > {}", put(number)),
            (true, true) => "false".to_owned(),
            (true, false) => format!("({column} < {} or {column} is null)", put(number)),
        });
        ways.push(format!("({})", way.join(" and ")));
    }
    format!("({})", ways.join(" or "))
}

/// A place in an order, as a cursor: the order, and what the row has there.
pub(crate) fn write_cursor(order: &[Place], values: Vec<Json>) -> String {
    let place: Vec<Json> = std::iter::once(Json::String(named(order))).chain(values).collect();
    URL_SAFE_NO_PAD.encode(Json::Array(place).to_string())
}

/// What a row has in the columns of an order; nothing if it is of another order.
pub(crate) fn read_cursor(cursor: &str, order: &[Place]) -> Option<Vec<Json>> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let Json::Array(mut place) = serde_json::from_slice(&bytes).ok()? else { return None };
    if place.len() != order.len() + 1 || place.remove(0).as_str()? != named(order) {
        return None;
    }
    Some(place)
}

fn named(order: &[Place]) -> String {
    order.iter().map(|(column, is_descending)| format!("{}{column}", if *is_descending { "-" } else { "" })).collect()
}
