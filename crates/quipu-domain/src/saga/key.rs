//! Where in an event the key of an instance stands.

use crate::event::check_name;

/// Longest key path, bytes.
const PATH_BYTES_MAX: usize = 256;

/// Where the key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// `correlationid`; of an event that starts and has none: its `id`.
    Correlation,
    /// An attribute: `subject`.
    Attribute(Box<str>),
    /// A path into the data: `data.order.id` is `["order", "id"]`.
    Data(Box<[Box<str>]>),
}

impl Key {
    /// Reads `correlationid`, another attribute, or a path such as `data.orderId`.
    ///
    /// # Errors
    /// What was expected, and what was found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || {
            let shown: String = text.chars().take(64).collect();
            format!("expected correlationid, another attribute, or a path such as data.orderId, found {shown:?}")
        };
        match text.split_once('.') {
            None if text == "correlationid" => Ok(Self::Correlation),
            None => check_name(text).map(|()| Self::Attribute(text.into())).map_err(|_| expected()),
            Some(("data", path)) if text.len() <= PATH_BYTES_MAX && !path.split('.').any(str::is_empty) => {
                Ok(Self::Data(path.split('.').map(Into::into).collect()))
            }
            Some(_) => Err(expected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_an_attribute_or_a_path_into_the_data() {
        assert_eq!(Key::parse("correlationid"), Ok(Key::Correlation));
        assert_eq!(Key::parse("subject"), Ok(Key::Attribute("subject".into())));
        assert_eq!(Key::parse("data.order.Id"), Ok(Key::Data(["order".into(), "Id".into()].into())));
        for text in ["", "data", "data.", "data..id", "order.id", "Customer", "customer id"] {
            assert!(Key::parse(text).unwrap_err().starts_with("expected correlationid"), "{text}");
        }
    }
}
