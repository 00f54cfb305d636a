//! A definition as the log has it: word for word, so that what this version does not understand of it is there for one
//! that does. What is understood is shown meanwhile; nothing is delivered by it.

use std::collections::BTreeMap;

use quipu_domain::{InvalidSubscription, Subscription};
use serde_json::value::RawValue;

/// What can be read of a definition.
pub(super) struct Stored {
    /// Members that are not understood are as if they were not there.
    pub definition: Subscription,
    /// The members that are not understood, and why.
    pub unread: Vec<InvalidSubscription>,
}

impl Stored {
    pub fn read(text: &RawValue) -> Self {
        match serde_json::from_str(text.get()) {
            Ok(definition) => Self { definition, unread: Vec::new() },
            Err(error) => Self::read_in_part(text, &error),
        }
    }

    /// Every member has a default, so each can be read alone.
    fn read_in_part(text: &RawValue, error: &serde_json::Error) -> Self {
        let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(text.get()).unwrap_or_default();
        let mut unread = Vec::new();
        members.retain(|name, value| match read(&BTreeMap::from([(name.clone(), *value)])) {
            Ok(_) => true,
            Err(error) => {
                let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
                unread.push(invalid(pointer, &error));
                false
            }
        });
        if unread.is_empty() {
            unread.push(invalid(String::new(), error));
        }
        Self { definition: read(&members).unwrap_or_default(), unread }
    }

    /// Whether it says by which key events wait.
    pub fn is_key_known(&self) -> bool {
        !self.unread.iter().any(|invalid| ["", "/key", "/ordering"].contains(&invalid.pointer.as_ref()))
    }
}

fn read(members: &BTreeMap<String, &RawValue>) -> Result<Subscription, serde_json::Error> {
    serde_json::from_str(&serde_json::to_string(members)?)
}

fn invalid(pointer: String, error: &serde_json::Error) -> InvalidSubscription {
    let text = error.to_string();
    // Where it is in a text that nobody sees.
    let detail = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]).to_owned();
    InvalidSubscription { pointer: pointer.into(), detail }
}
