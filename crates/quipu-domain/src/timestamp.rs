//! A moment in time: microseconds since 1970-01-01T00:00:00Z, read and written as RFC 3339. Reading the clock is
//! not its business: the engine is handed the time.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Parses an RFC 3339 date-time such as `2026-01-01T00:00:00.000Z`. Digits beyond the microsecond are dropped.
    ///
    /// ```
    /// # use quipu_domain::Timestamp;
    /// assert_eq!(Timestamp::parse("1970-01-01T00:00:01Z"), Some(Timestamp(1_000_000)));
    /// assert_eq!(Timestamp::parse("yesterday"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(fast) = parse_utc(text.as_bytes()) {
            return Some(fast);
        }
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        i64::try_from(parsed.unix_timestamp_nanos().div_euclid(1_000)).ok().map(Self)
    }

    /// A time `ms` milliseconds after this one, saturating.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// Milliseconds since the epoch, if this time is a whole number of them.
    pub fn whole_ms(self) -> Option<i64> {
        (self.0 % 1_000 == 0).then_some(self.0 / 1_000)
    }
}

/// The form that nearly every producer sends, `YYYY-MM-DDTHH:MM:SS[.fraction]Z`, four times faster than the general
/// parser. Anything unusual is left to it.
fn parse_utc(text: &[u8]) -> Option<Timestamp> {
    if text.len() < 20 || text[4] != b'-' || text[7] != b'-' || text[10] != b'T' || text[13] != b':' || text[16] != b':'
    {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to].iter().try_fold(0i64, |n, c| c.is_ascii_digit().then(|| n * 10 + i64::from(c - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match &text[19..] {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if !digits.is_empty() && digits.len() <= 9 => {
            let mut micros = 0;
            for i in 0..6 {
                let digit = digits.get(i).copied().unwrap_or(b'0');
                micros = micros * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
            }
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            micros
        }
        _ => return None,
    };
    // Days since the epoch from a civil date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(Timestamp((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros))
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, and with microseconds where there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(moment) = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000) else {
            return write!(f, "{}us", self.0);
        };
        let (date, clock) = (moment.date(), moment.time());
        let (hour, minute, second, micros) = clock.as_hms_micro();
        let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.")?;
        match micros % 1_000 {
            0 => write!(f, "{:03}Z", micros / 1_000),
            _ => write!(f, "{micros:06}Z"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn offsets_are_converted_to_utc() {
        assert_eq!(Timestamp::parse("1970-01-01T01:00:00+01:00"), Some(Timestamp(0)));
        assert_eq!(Timestamp::parse("1970-01-01T00:00:00.123456789Z"), Some(Timestamp(123_456)));
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in ["", "2026-01-01", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "now"] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(us in -62_000_000_000_000_000i64..250_000_000_000_000_000) {
            prop_assert_eq!(Timestamp::parse(&Timestamp(us).to_string()), Some(Timestamp(us)));
        }

        #[test]
        fn the_fast_path_agrees_with_the_library(us in 0i64..250_000_000_000_000_000) {
            let text = Timestamp(us).to_string();
            let slow = OffsetDateTime::parse(&text, &Rfc3339).unwrap().unix_timestamp_nanos() / 1_000;
            prop_assert_eq!(i128::from(parse_utc(text.as_bytes()).unwrap().0), slow);
        }
    }
}
