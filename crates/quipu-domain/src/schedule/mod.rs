//! A schedule as its owner declares it: when an event is published again and again, and what becomes of ticks that were missed. The
//! JSON form is public and is what the log keeps.
//!
//! This is rules alone: [`Timetable`] says when the ticks are and which are due, [`Schedule::event`] which event is published for
//! one. Somebody else knows the time.

mod cron;
mod invalid;
mod missed;
mod parse;
mod rate;
#[cfg(test)]
mod tests;
mod timetable;
mod zone;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

pub use self::cron::Cron;
pub use self::invalid::InvalidSchedule;
pub use self::missed::{DueTicks, LATE_MS, Missed, TICKS_MAX};
pub use self::parse::InvalidCron;
pub use self::rate::Rate;
use self::timetable::Ticks;
pub use self::timetable::Timetable;
pub use self::zone::{UnknownZone, Zone};
use crate::Timestamp;
use crate::event::{Data, Event, InvalidEvent, Value, clip};
use crate::json::check_depth;
use crate::span::Span;
use crate::subscription::is_subscription_name;

/// Shortest and longest time between two ticks of a rate: each is an event, and ten years are said better by a timer.
pub(crate) const EVERY_MS: (u64, u64) = (1_000, 10 * 365 * 86_400_000);
/// How far back missed ticks are looked for, at least and at most. All in that time are counted, one by one: those of each minute of
/// 31 days are 44,640, about 10 ms.
pub(crate) const CATCHUP_MS: (u64, u64) = (60_000, 31 * 86_400_000);
/// Longest fixed data. All schedules of a tenant are held in memory.
pub(crate) const DATA_BYTES_MAX: usize = 16 << 10;
/// Longest jq expression.
pub(crate) const JQ_BYTES_MAX: usize = 4 << 10;

/// What publishes an event again and again.
///
/// ```
/// use quipu_domain::Timestamp;
/// use quipu_domain::schedule::Schedule;
/// let nightly: Schedule = serde_json::from_str(r#"{
///     "schedule": "nightly",
///     "cron": "30 2 * * *",
///     "zone": "Europe/Berlin",
///     "event": { "type": "report.due", "data": { "kind": "sales" } }
/// }"#)?;
/// let now = Timestamp::parse("2026-01-01T12:00:00Z").unwrap();
/// nightly.check(now)?;
/// let timetable = nightly.timetable(now)?;
/// assert_eq!(timetable.next_after(now), Timestamp::parse("2026-01-02T01:30:00Z"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Schedule {
    /// Its name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    #[serde(rename = "schedule")]
    pub name: String,
    /// The times of its ticks, as a cron expression of five fields: `30 2 * * *`, `@daily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Instead of times, the time between two ticks: `15m`. They are counted from `from`, else from when the schedule was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// The time zone that a cron expression is read in, by its IANA name: `Europe/Berlin`. UTC without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The event that is published.
    pub event: ScheduledEvent,
    /// What becomes of ticks that were missed: more than a minute late.
    #[serde(default)]
    pub missed: Missed,
    /// How far back missed ticks are looked for; 1 minute to 31 days.
    #[serde(default = "week", skip_serializing_if = "is_week")]
    pub catchup: Span,
    /// The time before which there is no tick, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The time at which and after which there is none, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Whether nothing is published.
    #[serde(default)]
    pub paused: bool,
}

/// The event that a schedule publishes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScheduledEvent {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Its data: any JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub data: Option<Box<RawValue>>,
    /// Instead of fixed data, a jq expression that makes it of `{"schedule", "scheduledtime", "missed"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jq: Option<String>,
}

fn week() -> Span {
    Span::of_ms(7 * 86_400_000)
}

fn is_week(catchup: &Span) -> bool {
    *catchup == week()
}

fn time(member: &'static str, text: Option<&String>) -> Result<Option<Timestamp>, InvalidSchedule> {
    let invalid = |text: &str| InvalidSchedule::Time { member, found: clip(text).to_owned() };
    text.map(|text| Timestamp::parse(text).ok_or_else(|| invalid(text))).transpose()
}

impl Schedule {
    /// Checks everything but the jq expression, for a schedule that is declared now.
    ///
    /// # Errors
    /// [`InvalidSchedule`].
    pub fn check(&self, now: Timestamp) -> Result<(), InvalidSchedule> {
        if !is_subscription_name(&self.name) {
            return Err(InvalidSchedule::Name { found: clip(&self.name).to_owned() });
        }
        if self.timetable(now)?.next_after(now).is_none() {
            return Err(InvalidSchedule::Over);
        }
        let is_within = |span: Span, (least, most)| (least..=most).contains(&span.ms);
        if let Some(every) = self.every.filter(|every| !is_within(*every, EVERY_MS)) {
            return Err(InvalidSchedule::Every { found: every });
        }
        if !is_within(self.catchup, CATCHUP_MS) {
            return Err(InvalidSchedule::CatchUp { found: self.catchup });
        }
        let (data, jq) = (self.event.data.as_ref().map(|data| data.get()), self.event.jq.as_ref());
        if data.is_some() && jq.is_some() {
            return Err(InvalidSchedule::TwoData);
        }
        for (member, text, most) in [("data", data, DATA_BYTES_MAX), ("jq", jq.map(String::as_str), JQ_BYTES_MAX)] {
            if let Some(text) = text.filter(|text| text.len() > most) {
                return Err(InvalidSchedule::TooLong { member, found: text.len() });
            }
        }
        data.map_or(Ok(()), check_depth).map_err(InvalidSchedule::Event)?;
        self.event(now, 0, None).map_err(InvalidSchedule::Event).map(drop)
    }

    /// When it has ticks, if it was declared at a time.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds in those members that say when.
    pub fn timetable(&self, declared: Timestamp) -> Result<Timetable, InvalidSchedule> {
        let (from, until) = (time("from", self.from.as_ref())?, time("until", self.until.as_ref())?);
        if from.zip(until).is_some_and(|(from, until)| from >= until) {
            return Err(InvalidSchedule::Ends);
        }
        let ticks = match (&self.cron, self.every) {
            (Some(cron), None) => {
                let zone = self.zone.as_deref().map_or(Ok(Zone::utc()), Zone::parse);
                let cron = Cron::parse(cron).map_err(InvalidSchedule::Cron)?;
                Ticks::Cron(cron, zone.map_err(InvalidSchedule::Zone)?)
            }
            (None, Some(_)) if self.zone.is_some() => return Err(InvalidSchedule::ZoneOfRate),
            (None, Some(every)) => Ticks::Rate(Rate::new(every.ms, from.unwrap_or(declared))),
            (cron, _) => return Err(InvalidSchedule::When { both: cron.is_some() }),
        };
        Ok(Timetable { ticks, from, until })
    }

    /// How far back missed ticks are looked for, milliseconds.
    pub fn catchup_ms(&self) -> i64 {
        i64::try_from(self.catchup.ms).unwrap_or(i64::MAX)
    }

    /// What stands in the source of its events.
    pub fn source(&self) -> String {
        format!("/quipu/schedules/{}", self.name)
    }

    /// Whether another one has its ticks by the same rule, so that the place of one is one of the other.
    pub fn has_ticks_of(&self, other: &Self) -> bool {
        let when = |one: &Self| (one.cron.clone(), one.zone.clone(), one.until.clone());
        self.counts_from(other) && when(self) == when(other)
    }

    /// Whether another one counts its rate from the same time, if it was declared at the same.
    pub fn counts_from(&self, other: &Self) -> bool {
        (self.every, &self.from) == (other.every, &other.from)
    }

    /// Which ticks are published now: [`Timetable::due`] by its own rules.
    pub fn due(&self, timetable: &Timetable, last: Timestamp, now: Timestamp) -> DueTicks {
        timetable.due(self.missed, self.catchup_ms(), last, now)
    }

    /// The event of a tick. The pair of its source and its id is that tick's alone, so that it is never recorded twice. With
    /// `dropped` ticks before it that were passed over, it says so: as an attribute, since a schema need not allow for it in the data.
    /// `data` is JSON that an expression made.
    ///
    /// # Errors
    /// A type, a subject or a source that no event can have.
    pub fn event<'a>(
        &'a self,
        tick: Timestamp,
        dropped: u64,
        data: Option<&'a str>,
    ) -> Result<Event<'a>, InvalidEvent> {
        let (id, source) = (format!("{}/{tick}", self.name), self.source());
        let mut event = Event::builder(id, source, self.event.kind.as_str())
            .attribute("scheduledtime", Value::Text(tick.to_string().into()));
        if dropped > 0 {
            let dropped = i32::try_from(dropped).unwrap_or(i32::MAX);
            event = event.attribute("missedticks", Value::Integer(dropped));
        }
        if let Some(subject) = &self.event.subject {
            event = event.subject(subject.as_str());
        }
        let fixed = self.event.data.as_ref().map(|data| data.get());
        event.data(data.or(fixed).map_or(Data::None, |text| Data::Json(text.into()))).build()
    }

    /// What its jq expression sees for a tick.
    pub fn facts(&self, tick: Timestamp, dropped: u64) -> Json {
        json!({ "schedule": self.name, "scheduledtime": tick.to_string(), "missed": dropped })
    }
}
