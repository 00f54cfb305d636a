//! What is sent for a parameter: text, as PostgreSQL reads it for the type that it found out.

use std::error::Error;

use bytes::BytesMut;
use quipu_domain::projection::Bound;
use serde_json::Value as Json;
use tokio_postgres::types::{Format, IsNull, Kind, ToSql, Type};

use crate::value::Value;

/// What is said of a time that is another whenever it is read.
pub(super) const CURRENT_TIME: &str =
    "the current time differs whenever the read model is built again; use :time or :recordedtime";
/// What stands for such a time.
pub(super) const CURRENT_TIMES: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// A value as text.
#[derive(Debug)]
pub(super) struct Param(pub Option<String>);

impl Param {
    /// What is bound to a parameter of an event's statement.
    ///
    /// # Errors
    /// It would be read otherwise each time.
    pub fn of(bound: Bound<'_>, kind: &Type) -> Result<Self, String> {
        let text = match bound {
            Bound::Null => return Ok(Self(None)),
            Bound::Integer(number) => number.to_string(),
            Bound::Real(number) => real(number, kind),
            Bound::Boolean(value) => boolean(value, kind).to_owned(),
            Bound::Json(text) => text.into_owned(),
            Bound::Bytes(bytes) => hex(bytes),
            Bound::Text(text) if is_json(kind) => Json::String(text.into_owned()).to_string(),
            Bound::Text(text) => {
                let words = || text.split(|c: char| !c.is_ascii_alphabetic());
                if is_time(kind) && words().any(is_current) {
                    return Err(CURRENT_TIME.to_owned());
                }
                text.into_owned()
            }
        };
        Ok(Self(Some(text)))
    }

    /// What somebody gives with a question.
    pub fn asked(json: &Json, kind: &Type) -> Self {
        Self(match json {
            Json::Null => None,
            json if is_json(kind) => Some(json.to_string()),
            Json::Bool(value) => Some(boolean(*value, kind).to_owned()),
            Json::String(text) => Some(text.clone()),
            json => Some(json.to_string()),
        })
    }

    /// What stands in a row.
    pub fn value(value: &Value) -> Self {
        Self(match value {
            Value::Null => None,
            Value::Boolean(value) => Some(value.to_string()),
            Value::Integer(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Text(text) | Value::Json(text) => Some(text.clone()),
            Value::Bytes(bytes) => Some(hex(bytes)),
        })
    }
}

pub(super) fn is_current(word: &str) -> bool {
    CURRENT_TIMES.iter().any(|time| word.eq_ignore_ascii_case(time))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::from("\\x"), |out, byte| out + &format!("{byte:02x}"))
}

fn real(number: f64, kind: &Type) -> String {
    // 2.0 is a whole number, which JSON does not tell apart.
    match [Type::INT2, Type::INT4, Type::INT8].contains(kind) && number.fract() == 0.0 {
        true => format!("{number:.0}"),
        false => number.to_string(),
    }
}

fn boolean(value: bool, kind: &Type) -> &'static str {
    let is_number = [Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::NUMERIC].contains(kind);
    match (value, is_number) {
        (true, true) => "1",
        (false, true) => "0",
        (true, false) => "true",
        (false, false) => "false",
    }
}

fn is_json(kind: &Type) -> bool {
    [Type::JSON, Type::JSONB].contains(kind)
}

/// Whether there is a time in what is read as this type.
fn is_time(kind: &Type) -> bool {
    match kind.kind() {
        Kind::Array(of) | Kind::Range(of) | Kind::Multirange(of) | Kind::Domain(of) => is_time(of),
        _ => [Type::DATE, Type::TIME, Type::TIMETZ, Type::TIMESTAMP, Type::TIMESTAMPTZ].contains(kind),
    }
}

impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Ok(match &self.0 {
            None => IsNull::Yes,
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                IsNull::No
            }
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        self.to_sql(kind, out)
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
}

/// What a column has, which is asked for as text.
pub(super) fn read(text: Option<&str>, kind: &Type) -> Value {
    let Some(text) = text else { return Value::Null };
    let or_text = |value: Option<Value>| value.unwrap_or_else(|| Value::Text(text.to_owned()));
    let base = match kind.kind() {
        Kind::Domain(base) => base,
        _ => kind,
    };
    match *base {
        Type::BOOL => Value::Boolean(text == "true" || text == "t"),
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => or_text(text.parse().ok().map(Value::Integer)),
        Type::FLOAT4 | Type::FLOAT8 => or_text(text.parse().ok().map(Value::Real)),
        // What is no number in JSON, such as NaN, is text.
        Type::NUMERIC if text.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte)) => {
            Value::Json(text.to_owned())
        }
        Type::JSON | Type::JSONB => Value::Json(text.to_owned()),
        Type::BYTEA => or_text(text.strip_prefix("\\x").and_then(unhex).map(Value::Bytes)),
        _ => Value::Text(text.to_owned()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| text.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    (0..text.len()).step_by(2).map(digits).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn values_are_sent_as_the_type_wants_them() {
        let text = |text| Bound::Text(Cow::Borrowed(text));
        for (bound, kind, expected) in [
            (Bound::Null, Type::TEXT, None),
            (Bound::Integer(7), Type::TEXT, Some("7")),
            (Bound::Real(2.0), Type::INT4, Some("2")),
            (Bound::Real(2.5), Type::INT4, Some("2.5")),
            (Bound::Real(0.1), Type::FLOAT8, Some("0.1")),
            (Bound::Boolean(true), Type::INT8, Some("1")),
            (Bound::Boolean(true), Type::BOOL, Some("true")),
            (Bound::Boolean(false), Type::TEXT, Some("false")),
            (Bound::Bytes(&[0, 255]), Type::BYTEA, Some("\\x00ff")),
            (text("a\"b"), Type::JSONB, Some(r#""a\"b""#)),
            (text("a\"b"), Type::TEXT, Some("a\"b")),
            (Bound::Json(Cow::Borrowed("[1]")), Type::JSONB, Some("[1]")),
            (text("now"), Type::TEXT, Some("now")),
            (text("2026-01-31T09:30:00Z"), Type::TIMESTAMPTZ, Some("2026-01-31T09:30:00Z")),
        ] {
            assert_eq!(Param::of(bound.clone(), &kind).unwrap().0.as_deref(), expected, "{bound:?}");
        }
        for (now, kind) in [
            ("now", Type::TIMESTAMPTZ),
            (" NOW ", Type::TIMESTAMP),
            ("today", Type::DATE),
            ("[2026-01-01,tomorrow)", Type::DATE_RANGE),
            ("{yesterday}", Type::DATE_ARRAY),
        ] {
            assert_eq!(Param::of(text(now), &kind).unwrap_err(), CURRENT_TIME, "{now}");
        }
    }

    #[test]
    fn columns_are_read_as_json_has_them() {
        for (text, kind, expected) in [
            ("true", Type::BOOL, "true"),
            ("-7", Type::INT8, "-7"),
            ("1.5", Type::FLOAT8, "1.5"),
            ("NaN", Type::FLOAT8, "null"),
            ("2.50", Type::NUMERIC, "2.5"),
            ("NaN", Type::NUMERIC, "\"NaN\""),
            ("0.1234567890123456789", Type::NUMERIC, "\"0.1234567890123456789\""),
            ("12345678901234567890", Type::NUMERIC, "\"12345678901234567890\""),
            ("9007199254740993", Type::NUMERIC, "9007199254740993"),
            (r#"{"a": [1]}"#, Type::JSONB, r#"{"a":[1]}"#),
            ("\\x00ff", Type::BYTEA, "\"AP8=\""),
            ("2026-01-31 09:30:00+00", Type::TIMESTAMPTZ, "\"2026-01-31 09:30:00+00\""),
        ] {
            assert_eq!(read(Some(text), &kind).json().to_string(), expected, "{text}");
        }
        assert_eq!(read(None, &Type::TEXT), Value::Null);
    }
}
