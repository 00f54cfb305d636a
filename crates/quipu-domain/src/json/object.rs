//! One JSON object taken apart: its fields in order and with repeats, each value as the text that it stands in.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::InvalidEvent;
use crate::event::{clip, invalid};

/// The fields of one object, in order and with repeats, values as the text they stand in.
pub(crate) type Fields<'a> = Vec<(Cow<'a, str>, &'a str)>;

pub(super) fn read_object(json: &[u8]) -> Result<Fields<'_>, InvalidEvent> {
    let object: Object<'_> = serde_json::from_slice(json).map_err(|error| no_object(json, &error))?;
    Ok(object.0)
}

pub(crate) fn read_object_text(json: &str) -> Result<Fields<'_>, InvalidEvent> {
    let object: Object<'_> = serde_json::from_str(json).map_err(|error| no_object(json.as_bytes(), &error))?;
    Ok(object.0)
}

fn no_object(json: &[u8], error: &serde_json::Error) -> InvalidEvent {
    let first = json.iter().find(|c| !c.is_ascii_whitespace());
    match (error.classify(), first) {
        (serde_json::error::Category::Data, Some(b'[')) => InvalidEvent::NotAnObject { found: "an array" },
        (serde_json::error::Category::Data, Some(b'"')) => InvalidEvent::NotAnObject { found: "a string" },
        (serde_json::error::Category::Data, _) => InvalidEvent::NotAnObject { found: "a plain value" },
        _ => malformed(error),
    }
}

pub(crate) fn malformed(error: &serde_json::Error) -> InvalidEvent {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
    InvalidEvent::MalformedJson { line: error.line(), column: error.column(), reason }
}

struct Object<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    let raw: &'de RawValue = map.next_value()?;
                    fields.push((name, raw.get()));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A key, borrowed unless it holds escapes. (serde's own `Cow` always copies.)
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The string that a JSON text stands for, borrowed unless it holds escapes.
pub(crate) fn text<'a>(name: &str, raw: &'a str) -> Result<Cow<'a, str>, InvalidEvent> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(|error| malformed(&error)),
        None => Err(invalid(name, "a string", clip(raw))),
    }
}
