//! One member of a JSON object as the text that it is, found without understanding what stands beside it: names are
//! read as bytes, since those may hold half of a surrogate pair.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The JSON text of the member of this name; none if there is none or the text is no object. Of several the last counts,
/// as in the parsers that most consumers use.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    serde_json::Deserializer::from_str(json).deserialize_map(Member(name)).ok().flatten()
}

struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(is_it) = map.next_key_seed(IsNamed(self.0))? {
            let raw: &'de RawValue = map.next_value()?;
            if is_it {
                found = Some(raw.get());
            }
        }
        Ok(found)
    }
}

/// Whether a string is this one.
struct IsNamed<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for IsNamed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for IsNamed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<bool, E> {
        Ok(bytes == self.0.as_bytes())
    }
}
