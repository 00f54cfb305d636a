//! What stands in a column of a row, whichever database it is in.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;

/// What stands in a column of a row. Two are the same if they are in a digest: `NaN` is what it is, and `-0` is not `0`.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "postgres"), allow(dead_code))]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    /// What a database keeps as JSON, and numbers that none of the others holds, as they are written.
    Json(String),
    Bytes(Vec<u8>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Boolean(one), Self::Boolean(other)) => one == other,
            (Self::Integer(one), Self::Integer(other)) => one == other,
            (Self::Real(one), Self::Real(other)) => one.to_bits() == other.to_bits(),
            (Self::Text(one), Self::Text(other)) | (Self::Json(one), Self::Json(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => one == other,
            _ => false,
        }
    }
}

/// Digits that a number of 64 bits has for certain.
const REAL_DIGITS: usize = 15;

impl Value {
    /// As answers have it; what is no text is base64.
    pub fn json(&self) -> Json {
        match self {
            Self::Null => Json::Null,
            Self::Boolean(value) => Json::Bool(*value),
            Self::Integer(number) => (*number).into(),
            // What is no number in JSON is nothing there.
            Self::Real(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
            Self::Json(text) => match serde_json::from_str(text) {
                Ok(Json::Number(number)) if !number.is_i64() && !has_few_digits(text) => text.as_str().into(),
                Ok(json) => json,
                Err(_) => text.as_str().into(),
            },
            Self::Bytes(bytes) => STANDARD.encode(bytes).into(),
        }
    }

    /// Its bytes, about.
    #[cfg(feature = "postgres")]
    pub fn weight(&self) -> usize {
        match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 16,
        }
    }

    /// Writes it such that no two rows are written alike.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut sized = |kind: u8, bytes: &[u8]| {
            out.push(kind);
            out.extend((bytes.len() as u64).to_le_bytes());
            out.extend(bytes);
        };
        match self {
            Self::Text(text) => sized(3, text.as_bytes()),
            Self::Bytes(bytes) => sized(4, bytes),
            Self::Json(text) => sized(5, text.as_bytes()),
            Self::Null => out.push(0),
            Self::Integer(number) => {
                out.push(1);
                out.extend(number.to_le_bytes());
            }
            Self::Real(number) => {
                out.push(2);
                out.extend(number.to_bits().to_le_bytes());
            }
            Self::Boolean(value) => out.extend([6, u8::from(*value)]),
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Boolean(_) => 1,
            Self::Integer(_) | Self::Real(_) => 2,
            Self::Text(_) | Self::Json(_) => 3,
            Self::Bytes(_) => 4,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(one), Self::Boolean(other)) => one.cmp(other),
            (Self::Integer(one), Self::Integer(other)) => one.cmp(other),
            (Self::Real(one), Self::Real(other)) => one.total_cmp(other),
            (Self::Integer(one), Self::Real(other)) => (*one as f64).total_cmp(other),
            (Self::Real(one), Self::Integer(other)) => one.total_cmp(&(*other as f64)),
            (Self::Text(one) | Self::Json(one), Self::Text(other) | Self::Json(other)) => one.cmp(other),
            (Self::Bytes(one), Self::Bytes(other)) => one.cmp(other),
            (one, other) => one.class().cmp(&other.class()),
        }
    }
}

fn has_few_digits(text: &str) -> bool {
    text.bytes().filter(u8::is_ascii_digit).count() <= REAL_DIGITS
}

/// The order in which stores give keys: nothing, booleans, numbers, text byte by byte, bytes.
pub(crate) fn order_of(one: &[Value], other: &[Value]) -> Ordering {
    one.iter().zip(other).map(|(one, other)| one.order(other)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

impl From<rusqlite::types::ValueRef<'_>> for Value {
    fn from(value: rusqlite::types::ValueRef<'_>) -> Self {
        use rusqlite::types::ValueRef as V;
        match value {
            V::Null => Self::Null,
            V::Integer(number) => Self::Integer(number),
            V::Real(number) => Self::Real(number),
            V::Text(text) => Self::Text(String::from_utf8_lossy(text).into_owned()),
            V::Blob(bytes) => Self::Bytes(bytes.to_owned()),
        }
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef as V};
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => V::Null,
            Self::Boolean(value) => V::Integer(i64::from(*value)),
            Self::Integer(number) => V::Integer(*number),
            Self::Real(number) => V::Real(*number),
            Self::Text(text) | Self::Json(text) => V::Text(text.as_bytes()),
            Self::Bytes(bytes) => V::Blob(bytes),
        }))
    }
}
