//! What is sent of a delivery: the event as it was recorded, its edited copy, or what the subscription's transformation
//! makes of it. And what the delivery is known by.

use quipu_domain::{Event, parse_event_text};
use quipu_engine::Handed;

/// The outcome of a transformation.
pub(super) struct Outcome {
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// What is sent instead of the event, if the subscription transforms.
pub(super) fn transformed(handed: &Handed) -> Option<Outcome> {
    let transformed = handed.transformed.as_ref()?;
    Some(Outcome { content_type: transformed.format.content_type(), body: transformed.body.clone() })
}

/// The event that is delivered.
///
/// # Errors
/// An edited copy that is no event, in words.
pub(super) fn event(handed: &Handed) -> Result<Event<'_>, String> {
    match &handed.edited {
        None => Ok(handed.recorded.event()),
        Some(copy) => match parse_event_text(copy.get()) {
            Ok(incoming) => Ok(incoming.event),
            Err(invalid) => Err(format!("expected an edited copy that is an event: {invalid}")),
        },
    }
}

/// What a delivery is known by: the same for each attempt, also when it was redriven as it was, since nobody knows whether
/// the attempts before did something. An edited copy is another.
pub(super) fn idempotency_key(subscription: &str, handed: &Handed) -> String {
    handed.id.idempotency_key(subscription, handed.edited.is_some())
}
