//! A length of time as it is written in a declaration: `500ms`, `30s`, `2m`, `4h`, `1d`, `1w`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Milliseconds, written as a whole number and a unit. A day is 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Milliseconds.
    pub ms: u64,
}

const UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

impl Span {
    /// So many milliseconds.
    pub const fn of_ms(ms: u64) -> Self {
        Self { ms }
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            let shown: String = text.chars().take(32).collect();
            format!("expected a whole number and a unit, such as 500ms, 30s, 2m, 4h, 1d or 1w, found {shown:?}")
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
        let number: u64 = number.parse().map_err(|_| expected())?;
        number.checked_mul(*ms).map(|ms| Self { ms }).ok_or_else(expected)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 60 s are written 1m, and no time at all 0ms.
        let fits = |(_, ms): &&(&str, u64)| self.ms > 0 && self.ms.is_multiple_of(*ms);
        let (unit, ms) = UNITS.iter().rev().find(fits).unwrap_or(&UNITS[0]);
        write!(f, "{}{unit}", self.ms / ms)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d|w)$", "examples": ["30s"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_whole_number_and_a_unit_and_is_written_with_the_largest_that_fits() {
        for (text, ms, written) in [
            ("500ms", 500, "500ms"),
            ("60s", 60_000, "1m"),
            ("90m", 5_400_000, "90m"),
            ("0s", 0, "0ms"),
            ("14d", 1_209_600_000, "2w"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.ms, span.to_string().as_str()), (ms, written));
        }
        for text in ["", "5", "s", "-1s", "1.5s", "1 s", "1S", "1y", "99999999999999999999s", "18446744073709551615w"] {
            assert!(text.parse::<Span>().unwrap_err().contains("expected a whole number and a unit"), "{text}");
        }
    }
}
