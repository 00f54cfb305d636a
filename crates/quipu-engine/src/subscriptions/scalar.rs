//! One scalar in JSON data, found by its path without understanding what stands beside it: a number that no float holds
//! or half of a surrogate pair elsewhere must not cost an event its key.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};

use crate::member::member;

/// The scalar that a path of member names leads to: a string by what it stands for, a number or a boolean by its text.
/// None if there is nothing, null, an array or an object. Of members that have one name the last counts.
pub(crate) fn scalar_at(json: &str, path: &[impl AsRef<str>]) -> Option<String> {
    let found = path.iter().try_fold(json, |json, name| member(json, name.as_ref()))?;
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
