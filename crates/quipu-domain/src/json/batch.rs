//! The events of a JSON array as texts. What they say is not looked at: one that is wrong spoils no other.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::object::malformed;
use crate::InvalidEvent;
use crate::limits::BATCH_EVENTS_MAX;

/// Splits a JSON array into the texts of its events, each to be read by [`parse_event`](super::parse_event) on its own.
///
/// # Errors
/// The text is not a JSON array.
pub fn parse_events(json: &[u8]) -> Result<Vec<&RawValue>, InvalidEvent> {
    split_array(json, usize::MAX)
}

/// Splits a JSON array of a stranger as [`parse_events`] does, and stops at more than [`BATCH_EVENTS_MAX`].
///
/// # Errors
/// The text is not a JSON array, or one of too many elements ([`InvalidEvent::TooMany`]).
pub fn parse_batch(json: &[u8]) -> Result<Vec<&RawValue>, InvalidEvent> {
    split_array(json, BATCH_EVENTS_MAX)
}

fn split_array(json: &[u8], limit: usize) -> Result<Vec<&RawValue>, InvalidEvent> {
    let mut is_over = false;
    let mut parser = serde_json::Deserializer::from_slice(json);
    let split = Elements { limit, is_over: &mut is_over }.deserialize(&mut parser);
    split.and_then(|texts| parser.end().map(|()| texts)).map_err(|error| match error.classify() {
        _ if is_over => InvalidEvent::TooMany { what: "events", limit, actual: limit + 1 },
        serde_json::error::Category::Data => InvalidEvent::NotAnObject { found: "no array of events" },
        _ => malformed(&error),
    })
}

/// The elements of an array, up to a limit: what is behind it is not even looked at.
struct Elements<'o> {
    limit: usize,
    is_over: &'o mut bool,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = elements.next_element()? {
            if texts.len() == self.limit {
                *self.is_over = true;
                return Err(serde::de::Error::custom("too many elements"));
            }
            texts.push(text);
        }
        Ok(texts)
    }
}
