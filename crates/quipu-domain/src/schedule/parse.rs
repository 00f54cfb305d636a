//! How a cron expression is read, with a sentence for everything that is not taken.

use std::fmt;

use super::cron::Cron;
use crate::event::clip;

/// Longest expression: every minute of an hour, one by one, is 169 bytes.
const CRON_BYTES_MAX: usize = 512;

/// Why a text is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidCron {
    /// Too many bytes.
    TooLong {
        /// How many.
        found: usize,
    },
    /// Not five fields.
    Fields {
        /// How many.
        found: usize,
    },
    /// A name that stands for no expression.
    Name {
        /// What was given.
        found: String,
    },
    /// Something in a field.
    Field {
        /// Which.
        field: &'static str,
        /// What could stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// No day is such: 30 February.
    Never,
}

struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    /// From the first value on.
    names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, names: &[] };
const DAY: Field = Field { name: "day of month", first: 1, last: 31, names: &[] };
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const MONTH: Field = Field { name: "month", first: 1, last: 12, names: &MONTHS };
/// 7 is Sunday too, so that a range can end with it.
const WEEKDAY: Field =
    Field { name: "day of week", first: 0, last: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

const NAMED: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

pub(super) fn parse(text: &str) -> Result<Cron, InvalidCron> {
    if text.len() > CRON_BYTES_MAX {
        return Err(InvalidCron::TooLong { found: text.len() });
    }
    let text = text.trim_ascii();
    if text.starts_with('@') {
        return match NAMED.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, meant)) => parse(meant),
            None => Err(InvalidCron::Name { found: clip(text).to_owned() }),
        };
    }
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let [minute, hour, day, month, weekday] = fields[..] else {
        return Err(InvalidCron::Fields { found: fields.len() });
    };
    let (days, last_day) = DAY.parse_days(day)?;
    let weekdays = WEEKDAY.parse(weekday)?;
    Ok(Cron {
        minutes: MINUTE.parse(minute)?,
        hours: HOUR.parse(hour)?,
        days,
        last_day,
        months: MONTH.parse(month)?,
        weekdays: (weekdays | weekdays >> 7) & 0x7F,
        either_day: !day.contains('*') && !weekday.contains('*'),
        is_fixed: ![minute, hour].concat().contains(['*', '/']),
    })
}

impl Field {
    /// Days of the month, and whether `L`, the last one, is among them.
    fn parse_days(&self, text: &str) -> Result<(u64, bool), InvalidCron> {
        let (last, others): (Vec<&str>, Vec<&str>) = text.split(',').partition(|item| item.eq_ignore_ascii_case("L"));
        match (last.is_empty(), others.is_empty()) {
            (false, true) => Ok((0, true)),
            (no_last, _) => Ok((self.parse(&others.join(","))?, !no_last)),
        }
    }

    /// The values of a list, a bit each.
    fn parse(&self, text: &str) -> Result<u64, InvalidCron> {
        text.split(',').try_fold(0, |bits, item| Ok(bits | self.parse_item(item)?))
    }

    fn parse_item(&self, item: &str) -> Result<u64, InvalidCron> {
        let is_name = self.names.iter().any(|name| item.to_ascii_lowercase().contains(name));
        for (sign, expected) in [
            ('?', "* for any value"),
            ('#', "no #, the number of a weekday in its month, which is not known here"),
            ('W', "no W, the nearest weekday, which is not known here"),
            ('L', "L, the last day of a month, as an item of its own in the day of month"),
        ] {
            if item.contains(sign) && !(sign.is_alphabetic() && is_name) {
                return Err(self.refuse(expected, item));
            }
        }
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (self.first, if self.last == 7 { 6 } else { self.last }),
            Some((from, to)) => (self.value(from)?, self.end(to)?),
            None if step.is_some() => {
                return Err(self.refuse(&format!("a range before a step, such as {range}-{}/5", self.last), item));
            }
            None => (self.value(range)?, self.value(range)?),
        };
        if from > to {
            let two = format!("{from}-{},{}-{to}", self.last, self.first);
            return Err(self.refuse(&format!("a range that goes up; over the end it is two: {two}"), item));
        }
        let longest = (to - from).max(1);
        let step = match step.map(str::parse::<u8>) {
            None => 1,
            Some(Ok(step)) if (1..=longest).contains(&step) => step,
            // A longer one has one tick in each range: `*/90` looks like every 90 minutes and is every hour.
            Some(_) => return Err(self.refuse(&format!("a step of 1 to {longest}, the length of the range"), item)),
        };
        Ok((from..=to).step_by(step.into()).fold(0, |bits, value| bits | 1 << value))
    }

    /// The end of a range, where Sunday is the last day of the week.
    fn end(&self, text: &str) -> Result<u8, InvalidCron> {
        Ok(if self.last == 7 && text.eq_ignore_ascii_case("sun") { 7 } else { self.value(text)? })
    }

    fn value(&self, text: &str) -> Result<u8, InvalidCron> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(at) => Some(at as u8 + self.first),
            // `parse` alone would take a sign.
            None if text.bytes().all(|c| c.is_ascii_digit()) => text.parse().ok(),
            None => None,
        };
        value.filter(|value| (self.first..=self.last).contains(value)).ok_or_else(|| {
            let names = match self.names {
                [first, .., last] => format!(" or {first} to {last}"),
                _ => String::new(),
            };
            self.refuse(&format!("{} to {}{names}", self.first, self.last), text)
        })
    }

    fn refuse(&self, expected: &str, found: &str) -> InvalidCron {
        InvalidCron::Field { field: self.name, expected: expected.to_owned(), found: clip(found).to_owned() }
    }
}

impl fmt::Display for InvalidCron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { found } => write!(f, "expected at most {CRON_BYTES_MAX} bytes, found {found}"),
            Self::Fields { found } => {
                write!(
                    f,
                    "expected five fields (minute, hour, day of month, month, day of week), found {found}; there are no \
                     seconds and no years, and \"every\" is for what is more often than each minute"
                )
            }
            Self::Name { found } => {
                f.write_str("expected one of")?;
                NAMED.iter().try_for_each(|(name, _)| write!(f, " {name}"))?;
                write!(f, ", found {found}")
            }
            Self::Field { field, expected, found } => write!(f, "{field}: expected {expected}, found {found:?}"),
            Self::Never => f.write_str("expected days that exist, found none: no month has them"),
        }
    }
}

impl std::error::Error for InvalidCron {}
