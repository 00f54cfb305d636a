//! A value of an event as patterns see it: a leaf, since objects and arrays are never compared.

use std::fmt;

/// One leaf.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Value<'a> {
    pub(crate) kind: Kind,
    /// Of a string what it stands for, of anything else the literal.
    pub(crate) text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    String,
    Number,
    True,
    False,
    Null,
}

impl fmt::Display for Value<'_> {
    /// As JSON. What is too long becomes a string that ends in `…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(self.text);
        let head = crate::event::clip(&text);
        match self.kind {
            _ if head.len() < text.len() => write!(f, "{}", serde_json::Value::from(format!("{head}…"))),
            Kind::String => write!(f, "{}", serde_json::Value::from(head)),
            _ => f.write_str(head),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_json_whatever_its_length() {
        let long = "\"9".repeat(100);
        for (kind, text, shown) in [
            (Kind::String, "a\"b", json("a\"b")),
            (Kind::Number, "1.50", "1.50".to_owned()),
            (Kind::Null, "null", "null".to_owned()),
            (Kind::String, &long, json(&format!("{}…", &long[..80]))),
            (Kind::Number, &"1".repeat(200), json(&format!("{}…", "1".repeat(80)))),
        ] {
            assert_eq!(Value { kind, text: text.as_bytes() }.to_string(), shown);
        }
    }

    fn json(text: &str) -> String {
        serde_json::Value::from(text).to_string()
    }
}
