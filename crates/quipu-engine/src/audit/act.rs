//! An act, and the events that are written of it.
//!
//! ```text
//! source /quipu/audit, type dev.quipu.act.{begun, done, refused, failed, repeated}, subject what it was done to,
//! tags act:…, actor:…, operation:…, correlationid, data the rest
//! ```

use quipu_domain::{Event, Timestamp, is_forbidden_char};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where all events of a trail come from.
pub(super) const SOURCE: &str = "/quipu/audit";
/// What all their types begin with.
const KIND: &str = "dev.quipu.act.";
/// Longest text of each kind, bytes. What a stranger sends is cut.
const SUBJECT_BYTES_MAX: usize = 512;
const ACTOR_BYTES_MAX: usize = 512;
const TEXT_BYTES_MAX: usize = 2_048;
const CORRELATION_BYTES_MAX: usize = 256;
/// Longest text that is a tag as it is.
const TAG_TEXT_BYTES_MAX: usize = 200;
/// Largest details, bytes as JSON.
const DETAILS_BYTES_MAX: usize = 64 << 10;

/// Who does something.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// Which credential: `key:…`, `anybody`, `local`, `stranger`.
    pub id: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Something that somebody wants to do.
#[derive(Clone, Debug)]
pub struct Act {
    /// Tells it from all others.
    pub id: String,
    /// The name of the operation in the catalogue.
    pub operation: String,
    /// Who.
    pub actor: Actor,
    /// From where: an IP address.
    pub address: Option<String>,
    /// To what: `keys/5f0c2a91d4e7b836`.
    pub subject: String,
    /// The correlation id of the request, or of its trace.
    pub correlation: Option<String>,
    /// What it is more precisely.
    pub details: Value,
}

/// How an act ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub(super) outcome: ActOutcome,
    /// The code of the refusal.
    pub code: Option<String>,
    /// Why.
    pub detail: Option<String>,
}

/// What an event of the trail says of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActOutcome {
    /// It was done.
    Done,
    /// It was refused; nothing changed.
    Refused,
    /// The server failed in it: a part may be done.
    Failed,
    /// The same was refused so often more.
    Repeated,
    /// It began. It goes on, or the process ended before it did.
    Begun,
}

/// The data of an event.
#[derive(Serialize, Deserialize)]
pub(super) struct Data {
    pub act: String,
    pub operation: String,
    pub actor: Actor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
    /// How often something was repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl ActOutcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Done, Self::Refused, Self::Failed, Self::Repeated, Self::Begun];

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Repeated => "repeated",
            Self::Begun => "begun",
        }
    }

    /// The outcome that this word names.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == text)
    }

    /// The type of the events that say so.
    pub(super) fn event_type(self) -> String {
        format!("{KIND}{}", self.as_str())
    }

    /// What an event of this type says.
    pub(super) fn of(event_type: &str) -> Option<Self> {
        Self::parse(event_type.strip_prefix(KIND)?)
    }
}

impl Ended {
    /// It was done.
    pub fn done() -> Self {
        Self { outcome: ActOutcome::Done, code: None, detail: None }
    }

    /// It was not done, as it may not be or makes no sense.
    pub fn refused(code: Option<&str>, detail: impl Into<String>) -> Self {
        Self { outcome: ActOutcome::Refused, code: code.map(str::to_owned), detail: Some(detail.into()) }
    }

    /// It is not known whether it was done: the server failed.
    pub fn failed(code: Option<&str>, detail: impl Into<String>) -> Self {
        Self { outcome: ActOutcome::Failed, ..Self::refused(code, detail) }
    }
}

impl Act {
    pub(super) fn begun(&self, now: Timestamp) -> Event<'static> {
        self.event(&Ended { outcome: ActOutcome::Begun, code: None, detail: None }, None, now)
    }

    pub(super) fn ended(&self, ended: &Ended, now: Timestamp) -> Event<'static> {
        self.event(ended, None, now)
    }

    /// That the same was refused so often more.
    pub(super) fn repeated(&self, ended: &Ended, count: u64, now: Timestamp) -> Event<'static> {
        self.event(&Ended { outcome: ActOutcome::Repeated, ..ended.clone() }, Some(count), now)
    }

    fn event(&self, ended: &Ended, count: Option<u64>, now: Timestamp) -> Event<'static> {
        let actor = Actor {
            id: cut(&self.actor.id, ACTOR_BYTES_MAX),
            name: self.actor.name.as_deref().map(|name| cut(name, ACTOR_BYTES_MAX)),
        };
        let is_large = self.details.to_string().len() > DETAILS_BYTES_MAX;
        let data = Data {
            act: self.id.clone(),
            operation: self.operation.clone(),
            actor,
            address: self.address.clone(),
            code: ended.code.clone(),
            detail: ended.detail.as_deref().map(|detail| cut(detail, TEXT_BYTES_MAX)),
            details: if is_large { "more than the trail takes".into() } else { self.details.clone() },
            count,
        };
        let id = format!("{}:{}", self.id, if ended.outcome == ActOutcome::Begun { "begun" } else { "end" });
        let mut event = Event::builder(id, SOURCE, ended.outcome.event_type())
            .subject(subject(&self.subject))
            .time(now.to_string())
            .tag(format!("act:{}", self.id))
            .tag(actor_tag(&self.actor.id))
            .tag(operation_tag(&self.operation))
            .json(serde_json::to_string(&data).expect("it is plain data"));
        if let Some(correlation) = &self.correlation {
            event = event.correlation_id(cut(correlation, CORRELATION_BYTES_MAX));
        }
        event.build().expect("each part is checked or cut")
    }

    /// The id of the event that says how an act ended.
    pub(super) fn end_id(act: &str) -> String {
        format!("{act}:end")
    }
}

/// The subject of an event about it.
pub(super) fn subject(text: &str) -> String {
    let text = cut(text, SUBJECT_BYTES_MAX);
    if text.is_empty() { "quipu".into() } else { text }
}

/// The correlation id as events have it.
pub(super) fn correlation(text: &str) -> String {
    cut(text, CORRELATION_BYTES_MAX)
}

/// The tag by which the acts of somebody are found.
pub(super) fn actor_tag(id: &str) -> String {
    tag("actor", &cut(id, ACTOR_BYTES_MAX))
}

/// The tag by which acts of a kind are found.
pub(super) fn operation_tag(operation: &str) -> String {
    tag("operation", operation)
}

fn tag(what: &str, text: &str) -> String {
    let is_tag =
        (1..=TAG_TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_graphic() && c != b',');
    if is_tag { format!("{what}:{text}") } else { format!("{what}:{}", blake3::hash(text.as_bytes()).to_hex()) }
}

/// Texts of strangers stand in the trail: without what a terminal obeys, and not too long.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut cut: String = text.chars().map(|c| if is_forbidden_char(c) { '\u{fffd}' } else { c }).collect();
    if cut.len() > bytes_max {
        cut.truncate(cut.floor_char_boundary(bytes_max - 3));
        cut.push('…');
    }
    cut
}
