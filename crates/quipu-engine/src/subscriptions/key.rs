//! The key of an event, by which it waits for others.

use quipu_domain::delivery::Key;
use quipu_domain::{Data, Event, Ordering, Subscription};
use quipu_store::TermHasher;

use super::scalar::scalar_at;

/// Where the key of an event stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyOf {
    /// A definition that is not understood does not say.
    Unknown,
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
            Self::Unknown | Self::None => None,
            Self::Same => Some(0),
            Self::Subject => event.subject().map(|subject| hasher.stream(subject)),
            Self::Attribute(name) => attribute(event, name).map(|text| hasher.stream(&text)),
            Self::Data(path) => in_data(event, path).map(|text| hasher.stream(&text)),
        }
    }
}

/// An attribute as it was sent, a number or a boolean by its canonical text.
fn attribute(event: &Event<'_>, name: &str) -> Option<String> {
    let text = match name {
        "type" => event.kind(),
        "source" => event.source(),
        "id" => event.id(),
        "time" => event.time_text()?,
        "datacontenttype" => event.data_content_type()?,
        "dataschema" => event.data_schema()?,
        name => {
            let (_, value) = event.attributes().iter().find(|(other, _)| other == name)?;
            return Some(value.to_string());
        }
    };
    Some(text.to_owned())
}

fn in_data(event: &Event<'_>, path: &[String]) -> Option<String> {
    let Data::Json(text) = event.data() else { return None };
    scalar_at(text, path)
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

    fn key_of(key: &str, event: &Event<'_>, hasher: &TermHasher) -> Option<Key> {
        KeyOf::new(&Subscription { key: key.into(), ..Subscription::default() }).of(event, hasher)
    }

    #[test]
    fn an_attribute_of_any_type_is_a_key() {
        let hasher = TermHasher::new([1; 16]);
        let event = Event::builder("1", "/s", "a.b")
            .time("2026-01-31T09:30:00+01:00")
            .data_content_type("application/json")
            .data_schema("https://schema.example/1")
            .attribute("shard", Value::Integer(-7))
            .attribute("isurgent", Value::Boolean(true))
            .build()
            .unwrap();
        for (key, text) in [
            ("id", "1"),
            ("source", "/s"),
            ("type", "a.b"),
            ("time", "2026-01-31T09:30:00+01:00"),
            ("datacontenttype", "application/json"),
            ("dataschema", "https://schema.example/1"),
            ("shard", "-7"),
            ("isurgent", "true"),
        ] {
            assert_eq!(key_of(key, &event, &hasher), Some(hasher.stream(text)), "{key}");
        }
        assert_eq!(key_of("isnone", &event, &hasher), None);
    }

    #[test]
    fn a_member_is_a_key_whatever_stands_beside_it() {
        let hasher = TermHasher::new([1; 16]);
        for (json, text) in [
            (r#"{"a":1e400,"o":{"id":7}}"#, "7"),
            (r#"{"a":"\ud800","o":{"id":"x"}}"#, "x"),
            (r#"{"\udfff":[-1e999],"o":{"id":true}}"#, "true"),
            (r#" { "\u006f" : { "i\u0064" : "\u00e4" } } "#, "ä"),
            (r#"{"o":{"id":1},"o":{"id":2}}"#, "2"),
            (r#"{"o":{"id":1e2}}"#, "100.0"),
            (r#"{"o":{"id":18446744073709551615}}"#, "18446744073709551615"),
            (r#"{"o":{"id":1e400}}"#, "1e400"),
            (r#"{"o":{"id":"a\ud800"}}"#, "a\u{FFFD}\u{FFFD}\u{FFFD}"),
        ] {
            let event = Event::builder("1", "/s", "a.b").json(json).build().unwrap();
            assert_eq!(key_of("data.o.id", &event, &hasher), Some(hasher.stream(text)), "{json}");
        }
        for json in [r#"{"o":{"id":null}}"#, r#"{"o":[{"id":1}]}"#, r#"[{"o":{"id":1}}]"#, r#"{"o":{"id":{}}}"#, "7"] {
            let event = Event::builder("1", "/s", "a.b").json(json).build().unwrap();
            assert_eq!(key_of("data.o.id", &event, &hasher), None, "{json}");
        }
    }
}
