//! One event on its way to one handler, from a store in this process or from a server.

use std::borrow::Cow;
use std::sync::Arc;

use quipu_domain::delivery::{DeliveryId, Key};
use quipu_domain::{DATAREF, Data, Event, Stamp, Timestamp};
use quipu_engine::transform::Format;
use quipu_engine::{Handed, Transformed};
use serde::de::DeserializeOwned;

/// A delivery that this process has. It is to be answered before its deadline, or it is handed out again: a
/// [`Worker`](crate::Worker) does that; whoever pulls calls [`Quipu::answer`](crate::Quipu::answer).
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) subscription: String,
    pub(crate) id: DeliveryId,
    pub(crate) token: u64,
    pub(crate) key: Option<Key>,
    pub(crate) attempt: u32,
    pub(crate) deadline: Timestamp,
    pub(crate) content: Content,
}

/// What is delivered.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Handed(Arc<Handed>),
    #[cfg(feature = "remote")]
    Sent(Arc<Sent>),
}

/// What a server sent.
#[cfg(feature = "remote")]
#[derive(Debug)]
pub(crate) struct Sent {
    pub event: Event<'static>,
    pub stamp: Stamp,
    pub idempotency_key: String,
}

/// The event of a delivery, or its data, is not what the handler expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidData(String);

impl std::fmt::Display for InvalidData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidData {}

impl Delivery {
    pub(crate) fn new(subscription: &str, handed: Handed) -> Self {
        let Handed { id, token, attempt, deadline, key, .. } = handed;
        let content = Content::Handed(Arc::new(handed));
        Self { subscription: subscription.to_owned(), id, token, key, attempt, deadline, content }
    }

    /// Whose delivery it is.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The event, or the edited copy of it. If the subscription transforms, its data is what the transformation made of
    /// it, a text as a string of JSON, and nothing is said of the media type or the schema of that; if it transforms an
    /// edited copy that is no CloudEvent, the attributes are those of the event as it was recorded.
    ///
    /// # Errors
    /// [`InvalidData`]: an edited copy that is no CloudEvent, of a subscription that does not transform.
    pub fn event(&self) -> Result<Event<'_>, InvalidData> {
        match &self.content {
            Content::Handed(handed) => match &handed.transformed {
                Some(outcome) => {
                    let event = handed.event().unwrap_or_else(|_| handed.recorded.event());
                    Ok(event.with_json(Some(json(outcome)?)))
                }
                None => handed.event().map_err(|invalid| InvalidData(invalid.to_string())),
            },
            #[cfg(feature = "remote")]
            Content::Sent(sent) => Ok(sent.event.clone()),
        }
    }

    /// What the log added to the event: its position, the version of its stream, when it was recorded.
    pub fn stamp(&self) -> &Stamp {
        match &self.content {
            Content::Handed(handed) => &handed.recorded.stamp,
            #[cfg(feature = "remote")]
            Content::Sent(sent) => &sent.stamp,
        }
    }

    /// The event's JSON data, or what the subscription's transformation made of the event, as a type of yours; no data
    /// counts as `null`. Data that is kept beside the log is there if the subscription's definition says `resolved`.
    ///
    /// # Errors
    /// [`InvalidData`] says what does not fit.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, InvalidData> {
        let event = self.event()?;
        let parsed = match event.data() {
            Data::Json(text) => serde_json::from_str(text),
            // Not null: there is data, and it is not here.
            Data::None | Data::Payload(_) if event.attribute(DATAREF).is_some() => {
                let uri = event.attribute(DATAREF).unwrap_or_default();
                let expected = "expected data, found a reference to it";
                return Err(InvalidData(format!(
                    "{expected} ({uri}): of a payload, let the subscription have data resolved"
                )));
            }
            Data::None => serde_json::from_str("null"),
            _ => return Err(InvalidData("expected JSON data, found bytes or text".into())),
        };
        parsed.map_err(|e| InvalidData(format!("the data of {} does not fit: {e}", event.kind())))
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the answer is due.
    pub fn deadline(&self) -> Timestamp {
        self.deadline
    }

    /// Whether somebody decided that it be delivered once more: it may come after later events of its key.
    pub fn is_redriven(&self) -> bool {
        self.id.dead_letter > 0
    }

    /// The replay that it belongs to, if it does: the number of the operation. Its event may have been processed before.
    pub fn replay(&self) -> Option<u64> {
        (self.id.replay > 0).then_some(self.id.replay)
    }

    /// The same for every attempt of this delivery, and for no other: whoever keeps it with the effect has the effect
    /// once.
    pub fn idempotency_key(&self) -> String {
        match &self.content {
            Content::Handed(handed) => handed.idempotency_key(&self.subscription),
            #[cfg(feature = "remote")]
            Content::Sent(sent) => sent.idempotency_key.clone(),
        }
    }

    pub(crate) fn id(&self) -> DeliveryId {
        self.id
    }

    pub(crate) fn key(&self) -> Option<Key> {
        self.key
    }

    pub(crate) fn token(&self) -> u64 {
        self.token
    }
}

/// What a transformation made, as JSON: as a server sends it.
fn json(outcome: &Transformed) -> Result<Cow<'_, str>, InvalidData> {
    let text = std::str::from_utf8(&outcome.body).map_err(|error| InvalidData(error.to_string()))?;
    match outcome.format {
        Format::Json => Ok(text.into()),
        Format::Text => Ok(serde_json::Value::from(text).to_string().into()),
    }
}
