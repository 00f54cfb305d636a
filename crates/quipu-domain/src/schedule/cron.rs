//! Cron expressions of five fields, as crontab(5) has them: minute, hour, day of month, month, day of week. Seconds, years, `W`,
//! `#` and `?` are not taken: each means something else somewhere.
//!
//! A zone may leave out a part of the day, or have it twice. An expression that says minute and hour in numbers means
//! those times of the day: one that is left out is made up for at once, one that comes twice counts once. One with `*` or a step there
//! means a distance in time: it has a tick whenever the clock shows a time that fits.

use jiff::Timestamp as Moment;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::parse;
use super::zone::Zone;
use crate::Timestamp;

/// How far the next day is looked for. From one 29 February to the next it can be 8 years (2096 to 2104), to the next
/// Sunday that is the first of a February 12, and no calendar repeats itself later than after 40.
const YEARS_MAX: i16 = 40;
/// How often a zone's clock is followed to its next change: once a month for 40 years.
const CHANGES_MAX: u32 = 480;

/// A cron expression.
///
/// ```
/// use quipu_domain::Timestamp;
/// use quipu_domain::schedule::{Cron, Zone};
/// let nightly = Cron::parse("30 2 * * *")?;
/// let berlin = Zone::parse("Europe/Berlin")?;
/// // In that night the clock goes from 02:00 to 03:00, which is 01:00 UTC.
/// let evening = Timestamp::parse("2026-03-28T20:00:00Z").unwrap();
/// assert_eq!(nightly.next_after(&berlin, evening), Timestamp::parse("2026-03-29T01:00:00Z"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    /// A bit for each value, as in the other fields.
    pub(super) minutes: u64,
    pub(super) hours: u64,
    pub(super) days: u64,
    pub(super) months: u64,
    /// Sunday is 0.
    pub(super) weekdays: u64,
    /// Whether the last day of the month is one of the days.
    pub(super) last_day: bool,
    /// Whether one of the two fields of days is enough: neither has a `*`.
    pub(super) either_day: bool,
    /// Whether minute and hour are in numbers alone.
    pub(super) is_fixed: bool,
}

impl Cron {
    /// Parses an expression.
    ///
    /// # Errors
    /// What is wrong in which field, or that no day is such.
    pub fn parse(text: &str) -> Result<Self, parse::InvalidCron> {
        let cron = parse::parse(text)?;
        match cron.first_from(Date::constant(2000, 1, 1).at(0, 0, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err(parse::InvalidCron::Never),
        }
    }

    /// The first tick after a time. None if there is none until the year 9999.
    pub fn next_after(&self, zone: &Zone, time: Timestamp) -> Option<Timestamp> {
        let after = Moment::from_microsecond(time.0).ok()?;
        let next = if self.is_fixed { self.next_fixed(&zone.0, after) } else { self.next_of_clock(&zone.0, after) };
        next.map(|next| Timestamp(next.as_microsecond()))
    }

    /// By the times of the day: each has one moment, and a later time of the day no earlier one, so the first that is after the
    /// given moment is the next tick.
    fn next_fixed(&self, zone: &TimeZone, after: Moment) -> Option<Moment> {
        let mut wall = minute_of(zone.to_datetime(after))?;
        loop {
            wall = self.first_from(wall)?;
            let moment = match zone.to_ambiguous_timestamp(wall).offset() {
                AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(wall).ok()?,
                // The first of both.
                AmbiguousOffset::Fold { before, .. } => before.to_timestamp(wall).ok()?,
                // By a clock that had not been changed it would be later than the change.
                AmbiguousOffset::Gap { before, .. } => last_change(zone, before.to_timestamp(wall).ok()?)?,
            };
            if moment > after {
                return Some(moment);
            }
            wall = next_minute(wall)?;
        }
    }

    /// By the clock, from one change of it to the next.
    fn next_of_clock(&self, zone: &TimeZone, after: Moment) -> Option<Moment> {
        let mut wall = next_minute(minute_of(zone.to_datetime(after))?)?;
        let mut since = after;
        for _ in 0..CHANGES_MAX {
            let moment = zone.to_offset(since).to_timestamp(self.first_from(wall)?).ok()?;
            match zone.following(since).next() {
                Some(change) if change.timestamp() <= moment => {
                    since = change.timestamp();
                    // The clock may show a whole minute right then, which counts.
                    let shown = zone.to_datetime(since);
                    let minute = minute_of(shown)?;
                    wall = if minute == shown { minute } else { next_minute(minute)? };
                }
                _ => return Some(moment),
            }
        }
        None
    }

    /// The first time that fits, at a time or after it, by a clock that is never changed.
    fn first_from(&self, wall: DateTime) -> Option<DateTime> {
        let (mut date, mut from) = (wall.date(), wall.time());
        let last_year = date.year().saturating_add(YEARS_MAX);
        while date.year() <= last_year {
            if has(self.months, date.month()) {
                let time = self.has_day(date).then(|| self.first_time(from)).flatten();
                if let Some(time) = time {
                    return Some(date.to_datetime(time));
                }
                date = date.tomorrow().ok()?;
            } else {
                date = date.last_of_month().tomorrow().ok()?;
            }
            from = Time::midnight();
        }
        None
    }

    fn has_day(&self, date: Date) -> bool {
        let of_month = has(self.days, date.day()) || (self.last_day && date.day() == date.days_in_month());
        let of_week = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        if self.either_day { of_month || of_week } else { of_month && of_week }
    }

    /// The first time of a day that fits, at a time or after it.
    fn first_time(&self, from: Time) -> Option<Time> {
        let in_hour = |minute| has(self.hours, from.hour()).then(|| first(self.minutes, minute)).flatten();
        let (hour, minute) = match in_hour(from.minute()) {
            Some(minute) => (from.hour(), minute),
            None => (first(self.hours, from.hour() + 1)?, first(self.minutes, 0)?),
        };
        Time::new(hour, minute, 0, 0).ok()
    }
}

fn has(bits: u64, value: i8) -> bool {
    bits >> value & 1 == 1
}

/// The first value that is at least so much.
fn first(bits: u64, least: i8) -> Option<i8> {
    let left = bits >> least;
    (left != 0).then(|| least + left.trailing_zeros() as i8)
}

fn minute_of(wall: DateTime) -> Option<DateTime> {
    wall.with().second(0).subsec_nanosecond(0).build().ok()
}

fn next_minute(minute: DateTime) -> Option<DateTime> {
    minute.checked_add(jiff::SignedDuration::from_mins(1)).ok()
}

/// The last moment until one, it included, at which a zone's clock was changed.
fn last_change(zone: &TimeZone, until: Moment) -> Option<Moment> {
    let later = until.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
    zone.preceding(later).next().map(|change| change.timestamp())
}
