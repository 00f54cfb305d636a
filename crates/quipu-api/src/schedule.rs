//! Schedules as they are declared and shown.

use quipu_domain::schedule::Schedule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Code, Problem, yaml};

/// Longest declaration, bytes: data of 16 KiB and what is around it, also in YAML.
pub const SCHEDULE_BYTES_MAX: usize = 64 << 10;
/// Most ticks to come that are told.
pub const TICKS_TOLD_MAX: usize = 100;
/// How many are told if nobody says.
pub const TICKS_TOLD_DEFAULT: usize = 5;

/// A page of schedules, by their names.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SchedulesPage {
    /// The schedules, each with its next tick and without what was declared.
    pub schedules: Vec<ScheduleBody>,
    /// How many there are in all.
    pub total: u64,
    /// Where the next page begins; null once the end was reached.
    pub cursor: Option<String>,
}

/// A schedule.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleBody {
    /// Its name.
    pub name: String,
    /// How often it was declared.
    pub version: u32,
    /// When it was declared last, RFC 3339.
    #[serde(rename = "declaredtime")]
    pub declared_time: String,
    /// How it stands.
    pub state: ScheduleWord,
    /// The `type` of its events.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its ticks to come; none while it is paused or once it has ended.
    #[serde(rename = "nextticks")]
    pub next_ticks: Vec<String>,
    /// The newest tick that was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<PublishedTick>,
    /// How many ticks were published.
    pub published: u64,
    /// How many were missed, and dropped.
    pub dropped: u64,
    /// How many could not be published: `error` has the last.
    pub refused: u64,
    /// Why the last tick that was to be published was not, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RefusedTick>,
    /// Why no tick is published now, if that is not a matter of its event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stuck: Option<String>,
    /// What was declared; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declaration: Option<Schedule>,
}

/// How a schedule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleWord {
    /// It ticks.
    Active,
    /// The last tick that was to be published could not be, or none can.
    Failing,
    /// Nothing is published until it is resumed.
    Paused,
    /// It has no tick to come.
    Ended,
}

impl ScheduleWord {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// A tick that was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedTick {
    /// Its time.
    pub tick: String,
    /// Where its event is in the log.
    pub position: u64,
}

/// A tick that could not be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefusedTick {
    /// Its time.
    pub tick: String,
    /// Why; only for who may read every event, since it may quote data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of a declaration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AppliedScheduleAnswer {
    /// How often its name was declared, or would be.
    pub version: u32,
    /// `new`, `known` if it was there, or `valid` if only that was asked.
    pub outcome: String,
    /// Its ticks to come, as if it were not paused.
    #[serde(rename = "nextticks")]
    pub next_ticks: Vec<String>,
}

/// What is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedSchedule {
    /// Its name.
    pub removed: String,
}

/// A declaration that makes no sense; where, if the sentence begins with it.
pub fn invalid(detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    let pointer = detail.split_once(": ").map(|(pointer, _)| pointer.to_owned());
    let problem = Problem::new(Code::InvalidSchedule, detail);
    match pointer.filter(|pointer| pointer.starts_with('/')) {
        Some(pointer) => problem.with("pointer", pointer),
        None => problem,
    }
}

/// Reads a schedule, JSON or YAML. Its data is kept as JSON has it, to the byte.
///
/// # Errors
/// `malformed-json` and `invalid-schedule`.
pub fn read_schedule(bytes: &[u8]) -> Result<Schedule, Problem> {
    const EXPECTED: &str = "a schedule: an object with schedule, cron or every, and event";
    if bytes.trim_ascii_start().first().is_some_and(|first| b"{[".contains(first)) {
        return yaml::declaration(bytes, EXPECTED, invalid);
    }
    let value: Value = yaml::declaration(bytes, EXPECTED, invalid)?;
    serde_json::from_value(value).map_err(|error| invalid(format!("expected {EXPECTED}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_the_same_in_json_and_in_yaml() {
        let json = br#"{"schedule":"nightly","cron":"30 2 * * *","zone":"Europe/Berlin","event":{"type":"a.b","data":{"n": 1.10}}}"#;
        let schedule = read_schedule(json).unwrap();
        assert_eq!(schedule.event.data.as_ref().unwrap().get(), "{\"n\": 1.10}");
        let yaml =
            "schedule: nightly\ncron: '30 2 * * *'\nzone: Europe/Berlin\nevent:\n  type: a.b\n  data: { n: 1.1 }\n";
        let same = read_schedule(yaml.as_bytes()).unwrap();
        assert_eq!((same.cron, same.zone), (schedule.cron, schedule.zone));
        assert_eq!(same.event.data.unwrap().get(), "{\"n\":1.1}");
    }

    #[test]
    fn what_is_no_declaration_says_why() {
        for (text, code, said) in [
            ("{", "malformed-json", "JSON"),
            ("[]", "invalid-schedule", "an array"),
            ("7", "invalid-schedule", "a schedule"),
            ("schedule: s\nevery: 1h\nevent: {type: a.b}\nevent2: 1", "invalid-schedule", "event2"),
            (
                r#"{"schedule":"s","every":"soon","event":{"type":"a"}}"#,
                "invalid-schedule",
                "a whole number and a unit",
            ),
        ] {
            let problem = read_schedule(text.as_bytes()).unwrap_err();
            assert!(problem.code == code && problem.detail.contains(said), "{text}: {problem:?}");
        }
        assert_eq!(invalid("/cron: expected five fields").members["pointer"], "/cron");
        assert!(!invalid("expected either cron or every, found both").members.contains_key("pointer"));
    }
}
