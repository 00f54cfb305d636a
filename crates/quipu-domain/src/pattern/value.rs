//! A value of an event as patterns see it: a leaf, since objects and arrays are never compared.

use std::fmt;

/// One leaf.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Value<'a> {
    pub(crate) kind: Kind,
    /// Of a string what it stands for, of anything else the literal.
    pub(crate) text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Number,
    True,
    False,
    Null,
}

impl fmt::Display for Value<'_> {
    /// As JSON, shortened.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.text);
        let head = crate::event::clip(&text);
        let more = if head.len() < text.len() { "…" } else { "" };
        match self.kind {
            Kind::String => write!(f, "{}{more}", serde_json::Value::from(head)),
            _ => write!(f, "{head}{more}"),
        }
    }
}
