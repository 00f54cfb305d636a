//! The key of an event, by which it waits for others.

use quipu_domain::delivery::Key;
use quipu_domain::{Data, Event, Ordering, Subscription};
use quipu_store::TermHasher;

/// Where the key of an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyOf {
    /// Events wait for nobody.
    None,
    /// All wait for each other.
    Same,
    /// The subject: the stream.
    Subject,
    /// An attribute.
    Attribute(String),
    /// Members of the data, from the outside in.
    Data(Vec<String>),
}

impl KeyOf {
    pub fn new(subscription: &Subscription) -> Self {
        match subscription.ordering {
            Ordering::None => Self::None,
            Ordering::Strict => Self::Same,
            Ordering::PerKey => match subscription.key.split_once('.') {
                Some(("data", path)) => Self::Data(path.split('.').map(str::to_owned).collect()),
                _ if subscription.key == "subject" => Self::Subject,
                _ => Self::Attribute(subscription.key.clone()),
            },
        }
    }

    /// The key of an event; none if it has none and waits for nobody.
    pub fn of(&self, event: &Event<'_>, hasher: &TermHasher) -> Option<Key> {
        match self {
            Self::None => None,
            Self::Same => Some(0),
            Self::Subject => event.subject().map(|subject| hasher.stream(subject)),
            Self::Attribute(name) => attribute(event, name).map(|text| hasher.stream(&text)),
            Self::Data(path) => in_data(event, path).map(|text| hasher.stream(&text)),
        }
    }
}

fn attribute(event: &Event<'_>, name: &str) -> Option<String> {
    let text = match name {
        "type" => event.kind(),
        "source" => event.source(),
        "id" => event.id(),
        name => event.attribute(name)?,
    };
    Some(text.to_owned())
}

/// A scalar in the data, as its JSON text without quotes.
fn in_data(event: &Event<'_>, path: &[String]) -> Option<String> {
    let Data::Json(text) = event.data() else { return None };
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let found = path.iter().try_fold(&value, |value, name| value.get(name))?;
    match found {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Some(found.to_string()),
        _ => None,
    }
}

/// When an event's time is over (`expirytime`), if it says so.
pub(crate) fn expiry(event: &Event<'_>) -> Option<quipu_domain::Timestamp> {
    event.attribute("expirytime").and_then(quipu_domain::Timestamp::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::Value;

    #[test]
    fn a_key_is_the_subject_an_attribute_or_a_part_of_the_data() {
        let hasher = TermHasher::new([1; 16]);
        let event = Event::builder("1", "/s", "a.b")
            .subject("order/1")
            .attribute("userid", Value::Text("ada".into()))
            .json(r#"{"customer":{"id":7,"tags":["x"]}}"#)
            .build()
            .unwrap();
        let key = |key: &str| {
            let subscription = Subscription { key: key.into(), ..Subscription::default() };
            KeyOf::new(&subscription).of(&event, &hasher)
        };
        assert_eq!(key("subject"), Some(hasher.stream("order/1")));
        assert_eq!(key("userid"), Some(hasher.stream("ada")));
        assert_eq!(key("data.customer.id"), Some(hasher.stream("7")));
        for none in ["organizationid", "data.customer", "data.customer.tags", "data.none.id"] {
            assert_eq!(key(none), None, "{none}");
        }
        let ordered = |ordering| KeyOf::new(&Subscription { ordering, ..Subscription::default() }).of(&event, &hasher);
        assert_eq!((ordered(Ordering::None), ordered(Ordering::Strict)), (None, Some(0)));
    }
}
