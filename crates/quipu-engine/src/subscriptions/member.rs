//! One scalar in JSON data, found by its path without understanding what stands beside it: a number that no float holds
//! or half of a surrogate pair elsewhere must not cost an event its key.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The scalar that a path of member names leads to: a string by what it stands for, a number or a boolean by its text.
/// None if there is nothing, null, an array or an object. Of members that have one name the last counts.
pub(super) fn scalar_at(json: &str, path: &[String]) -> Option<String> {
    let found = path.iter().try_fold(json, |json, name| member(json, name))?;
    match found.as_bytes().first()? {
        b'"' => serde_json::Deserializer::from_str(found).deserialize_bytes(Text).ok(),
        b't' | b'f' => Some(found.to_owned()),
        b'-' | b'0'..=b'9' => {
            // Beyond what a float holds it goes by how it was written.
            let number = serde_json::from_str::<serde_json::Number>(found);
            Some(number.map_or_else(|_| found.to_owned(), |number| number.to_string()))
        }
        _ => None,
    }
}

fn member<'a>(json: &'a str, name: &str) -> Option<&'a str> {
    serde_json::Deserializer::from_str(json).deserialize_map(Member(name)).ok().flatten()
}

/// The JSON text of the member of this name.
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

/// Whether a string is this one. It is read as bytes: those may hold half of a surrogate pair.
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

/// A string, halves of surrogate pairs replaced: events whose keys differ in them alone wait for each other.
struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}
