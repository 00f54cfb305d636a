//! The terms of a subscription as the delivery checkers see them: which events, in which order, how often, how fast.
//! Every rule is written once more here, as plainly as possible, and shares no code with the engine.

use quipu_domain::{Event, Stamp, StartAt, Subscription, Timestamp};

/// What of an event decides who gets it, when, and behind whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// Its position.
    pub position: u64,
    /// When it was recorded.
    pub recorded: Timestamp,
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// Its subject.
    pub subject: Option<String>,
    /// `n` of its data.
    pub number: u64,
    /// `group` of its data.
    pub group: Option<String>,
    /// After this time it is not delivered.
    pub expires: Option<Timestamp>,
}

/// Which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All.
    All,
    /// Those of a type.
    Kind(&'static str),
    /// Those whose type begins so.
    Prefix(&'static str),
    /// Those that have a subject, and another one.
    NotSubject(&'static str),
    /// Those whose number is larger.
    Above(u64),
    /// Those that have a group.
    Grouped,
}

/// Which events wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChoice {
    /// None.
    Nothing,
    /// All.
    Same,
    /// Those of a subject.
    Subject,
    /// Those of a group.
    Group,
}

/// How long to wait between attempts.
#[derive(Clone, Debug, PartialEq)]
pub enum Pause {
    /// These, the last again and again, milliseconds.
    List(Vec<u64>),
    /// The first, and twice as long each time, up to the second; less up to a half of it.
    Doubling(u64, u64),
}

/// A definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// Which events.
    pub choice: Choice,
    /// Which wait for each other.
    pub key: KeyChoice,
    /// Whether a key waits for a decision when one of its events was given up.
    pub parks: bool,
    /// Attempts in all.
    pub max_attempts: u32,
    /// No attempt later than this after the first.
    pub max_age_ms: Option<u64>,
    /// Between attempts.
    pub pause: Pause,
    /// How long a consumer has.
    pub ack_deadline_ms: u64,
    /// How many may be with consumers.
    pub max_in_flight: usize,
    /// How many a second, and at once.
    pub rate: Option<(u32, u32)>,
    /// How long dead letters are kept.
    pub retention_ms: u64,
    /// Whether deliveries are held back.
    pub is_paused: bool,
}

impl Fact {
    /// What is read of a recorded event.
    pub fn of(event: &Event<'_>, stamp: &Stamp) -> Self {
        let data: serde_json::Value = match event.data() {
            quipu_domain::Data::Json(text) => serde_json::from_str(text).unwrap_or_default(),
            _ => serde_json::Value::Null,
        };
        Self {
            position: stamp.position,
            recorded: stamp.recorded_time,
            id: event.id().to_owned(),
            kind: event.kind().to_owned(),
            subject: event.subject().map(str::to_owned),
            number: data["n"].as_u64().unwrap_or(0),
            group: data["group"].as_str().map(str::to_owned),
            expires: event.attribute("expirytime").and_then(Timestamp::parse),
        }
    }
}

impl Terms {
    /// Whether an event is wanted.
    pub fn wants(&self, fact: &Fact) -> bool {
        match self.choice {
            Choice::All => true,
            Choice::Kind(kind) => fact.kind == kind,
            Choice::Prefix(prefix) => fact.kind.starts_with(prefix),
            Choice::NotSubject(subject) => fact.subject.as_deref().is_some_and(|other| other != subject),
            Choice::Above(number) => fact.number > number,
            Choice::Grouped => fact.group.is_some(),
        }
    }

    /// What it waits by.
    pub fn key_of(&self, fact: &Fact) -> Option<String> {
        match self.key {
            KeyChoice::Nothing => None,
            KeyChoice::Same => Some(String::new()),
            KeyChoice::Subject => fact.subject.clone(),
            KeyChoice::Group => fact.group.clone(),
        }
    }

    /// The shortest time to the next attempt after this many.
    pub fn pause_ms_min(&self, attempts: u32) -> u64 {
        let before = attempts.saturating_sub(1);
        match &self.pause {
            Pause::List(list) => list.get(before as usize).or(list.last()).copied().unwrap_or(0),
            Pause::Doubling(first, max) => (first << before.min(20)).min(*max) / 2,
        }
    }

    /// Whether no attempt may be made at this time, if the first was made at that.
    pub fn is_too_late(&self, first: Timestamp, next: Timestamp) -> bool {
        self.max_age_ms.is_some_and(|max| (next.0 - first.0) / 1_000 >= max as i64)
    }

    /// The longest time between two attempts.
    pub fn pause_ms_max(&self) -> u64 {
        match &self.pause {
            Pause::List(list) => list.iter().copied().max().unwrap_or(0),
            Pause::Doubling(_, max) => *max,
        }
    }

    /// The definition as it is handed to the engine.
    pub fn definition(&self, start: &StartAt) -> Subscription {
        let pattern = match self.choice {
            Choice::All => None,
            Choice::Kind(kind) => Some(format!(r#"{{"type":["{kind}"]}}"#)),
            Choice::Prefix(prefix) => Some(format!(r#"{{"type":[{{"prefix":"{prefix}"}}]}}"#)),
            Choice::NotSubject(subject) => Some(format!(r#"{{"subject":[{{"anything-but":["{subject}"]}}]}}"#)),
            Choice::Above(number) => Some(format!(r#"{{"data":{{"n":[{{"numeric":[">",{number}]}}]}}}}"#)),
            Choice::Grouped => Some(r#"{"data":{"group":[{"exists":true}]}}"#.to_owned()),
        };
        let (ordering, key) = match self.key {
            KeyChoice::Nothing => ("none", "subject"),
            KeyChoice::Same => ("strict", "subject"),
            KeyChoice::Subject => ("per-key", "subject"),
            KeyChoice::Group => ("per-key", "data.group"),
        };
        let backoff = match &self.pause {
            Pause::List(list) => serde_json::json!({ "delaysms": list }),
            Pause::Doubling(first, max) => {
                serde_json::json!({ "firstms": first, "factor": 2.0, "maxms": max, "jitter": 0.5 })
            }
        };
        let text = serde_json::json!({
            "ordering": ordering,
            "key": key,
            "maxinflight": self.max_in_flight,
            "ackdeadlinems": self.ack_deadline_ms,
            "retry": { "maxattempts": self.max_attempts, "maxagems": self.max_age_ms, "backoff": backoff },
            "ratelimit": self.rate.map(|(persecond, burst)| serde_json::json!({ "persecond": persecond, "burst": burst })),
            "deadletter": { "key": if self.parks { "park" } else { "continue" }, "retentionms": self.retention_ms },
            "paused": self.is_paused,
        });
        let subscription: Subscription = serde_json::from_value(text).expect("every member is one of a subscription");
        let pattern = pattern.map(|text| serde_json::value::RawValue::from_string(text).expect("it is JSON"));
        Subscription { pattern, start: start.clone(), ..subscription }
    }
}
