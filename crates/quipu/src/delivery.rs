//! One event on its way to one handler.

use quipu_domain::delivery::{DeliveryId, Key};
use quipu_domain::{Data, Event, Stamp, Timestamp};
use quipu_engine::Handed;
use serde::de::DeserializeOwned;

/// A delivery that this process has. It is to be answered with [`Quipu::answer`](crate::Quipu::answer) before its
/// deadline, or it is handed out again.
#[derive(Clone, Debug)]
pub struct Delivery {
    subscription: String,
    handed: Handed,
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
        Self { subscription: subscription.to_owned(), handed }
    }

    /// Whose delivery it is.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The event, or the edited copy of it.
    ///
    /// # Errors
    /// [`InvalidData`]: an edited copy that is no CloudEvent.
    pub fn event(&self) -> Result<Event<'_>, InvalidData> {
        self.handed.event().map_err(|invalid| InvalidData(invalid.to_string()))
    }

    /// What the log added to the event: its position, the version of its stream, when it was recorded.
    pub fn stamp(&self) -> &Stamp {
        &self.handed.recorded.stamp
    }

    /// The event's JSON data as a type of yours; no data counts as `null`.
    ///
    /// # Errors
    /// [`InvalidData`] says what does not fit.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, InvalidData> {
        let event = self.event()?;
        let parsed = match event.data() {
            Data::Json(text) => serde_json::from_str(text),
            Data::None => serde_json::from_str("null"),
            _ => return Err(InvalidData("expected JSON data, found bytes or text".into())),
        };
        parsed.map_err(|e| InvalidData(format!("the data of {} does not fit: {e}", event.kind())))
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.handed.attempt
    }

    /// When the answer is due.
    pub fn deadline(&self) -> Timestamp {
        self.handed.deadline
    }

    /// Whether somebody decided that it be delivered once more: it may come after later events of its key.
    pub fn is_redriven(&self) -> bool {
        self.handed.id.dead_letter > 0
    }

    /// The same for every attempt of this delivery, and for no other: whoever keeps it with the effect has the effect
    /// once.
    pub fn idempotency_key(&self) -> String {
        self.handed.idempotency_key(&self.subscription)
    }

    pub(crate) fn id(&self) -> DeliveryId {
        self.handed.id
    }

    pub(crate) fn key(&self) -> Option<Key> {
        self.handed.key
    }

    pub(crate) fn token(&self) -> u64 {
        self.handed.token
    }
}
