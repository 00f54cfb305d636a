//! The event: a CloudEvents 1.0 envelope and its data. An [`Event`] that exists has passed every check, whoever made
//! it; reading JSON and HTTP headers ends in [`EventBuilder::build`] too.
//!
//! It borrows where it can, so that reading a request and decoding the log copy nothing; `Event<'static>` owns.
//!
//! Source of the attribute rules: CloudEvents 1.0.2, "Context Attributes" and "Type System".

mod builder;
mod check;
mod invalid;
mod payload;

use std::borrow::Cow;
use std::fmt;

use crate::Timestamp;

pub use builder::EventBuilder;
pub use check::is_forbidden_char;
pub use invalid::InvalidEvent;
pub use payload::{DATAREF, DataForm, Payload, PayloadForm};

pub(crate) use check::{check_name, is_tag};
pub(crate) use invalid::{clip, invalid};

/// An immutable fact.
///
/// ```
/// use quipu_domain::Event;
/// let event = Event::builder("7", "/shop", "order.placed").subject("order/17").tag("customer:c1").json("{}").build()?;
/// assert_eq!(event.tags().collect::<Vec<_>>(), ["customer:c1"]);
/// # Ok::<(), quipu_domain::InvalidEvent>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    kind: Cow<'a, str>,
    subject: Option<Cow<'a, str>>,
    time: Option<Cow<'a, str>>,
    data_content_type: Option<Cow<'a, str>>,
    data_schema: Option<Cow<'a, str>>,
    /// Sorted by name.
    attributes: Vec<(Cow<'a, str>, Value<'a>)>,
    data: Data<'a>,
}

/// The payload, kept byte for byte as it came.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Data<'a> {
    /// No payload.
    #[default]
    None,
    /// The text of one JSON value.
    Json(Cow<'a, str>),
    /// Text of another media type.
    Text(Cow<'a, str>),
    /// Bytes; base64 in JSON.
    Binary(Cow<'a, [u8]>),
    /// Kept beside the log: the event has no data until it is resolved.
    Payload(Payload),
}

/// The value of an extension attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A signed 32-bit number, the CloudEvents `Integer`.
    Integer(i32),
    /// A boolean.
    Boolean(bool),
}

impl<'a> Event<'a> {
    /// `id`: with `source` it identifies the event.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `source`: who says so.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// `type`: what happened.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// `subject`: the stream, if the event belongs to one.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// `time` as it was sent: when it happened, RFC 3339.
    pub fn time_text(&self) -> Option<&str> {
        self.time.as_deref()
    }

    /// `time`: when it happened.
    pub fn time(&self) -> Option<Timestamp> {
        self.time_text().and_then(Timestamp::parse)
    }

    /// `datacontenttype`: the media type of the data. Absent means JSON.
    pub fn data_content_type(&self) -> Option<&str> {
        self.data_content_type.as_deref()
    }

    /// `dataschema`: a URI that names the schema of the data.
    pub fn data_schema(&self) -> Option<&str> {
        self.data_schema.as_deref()
    }

    /// The extension attributes, sorted by name.
    pub fn attributes(&self) -> &[(Cow<'a, str>, Value<'a>)] {
        &self.attributes
    }

    /// The payload.
    pub fn data(&self) -> &Data<'a> {
        &self.data
    }

    /// The text of an extension attribute, if it is there and is a string.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let at = self.attributes.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok()?;
        match &self.attributes[at].1 {
            Value::Text(text) => Some(text),
            Value::Integer(_) | Value::Boolean(_) => None,
        }
    }

    /// `correlationid`: the business transaction that the event is part of.
    pub fn correlation_id(&self) -> Option<&str> {
        self.attribute("correlationid")
    }

    /// `causationid`: the `id` of the event that caused this one.
    pub fn causation_id(&self) -> Option<&str> {
        self.attribute("causationid")
    }

    /// `tags`: the `key:value` pairs for conditions and queries across streams.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.attribute("tags").into_iter().flat_map(|tags| tags.split(','))
    }

    /// Copies what is borrowed.
    pub fn into_owned(self) -> Event<'static> {
        let own = |text: Cow<'a, str>| Cow::<'static, str>::Owned(text.into_owned());
        Event {
            id: own(self.id),
            source: own(self.source),
            kind: own(self.kind),
            subject: self.subject.map(own),
            time: self.time.map(own),
            data_content_type: self.data_content_type.map(own),
            data_schema: self.data_schema.map(own),
            attributes: self.attributes.into_iter().map(|(name, value)| (own(name), value.into_owned())).collect(),
            data: match self.data {
                Data::None => Data::None,
                Data::Json(text) => Data::Json(own(text)),
                Data::Text(text) => Data::Text(own(text)),
                Data::Binary(bytes) => Data::Binary(Cow::Owned(bytes.into_owned())),
                Data::Payload(payload) => Data::Payload(payload),
            },
        }
    }

    /// The same event with other data: JSON, or none. What the media type and the schema said of the data goes with it.
    ///
    /// ```
    /// # use quipu_domain::{Data, Event};
    /// let event = Event::builder("1", "/shop", "order.placed").data_schema("/order.json").json("[7]").build()?;
    /// let other = event.with_json(Some("7"));
    /// assert_eq!((other.kind(), other.data(), other.data_schema()), ("order.placed", &Data::Json("7".into()), None));
    /// # Ok::<(), quipu_domain::InvalidEvent>(())
    /// ```
    #[must_use]
    pub fn with_json(self, text: Option<impl Into<Cow<'a, str>>>) -> Self {
        let data = text.map_or(Data::None, |text| Data::Json(text.into()));
        let event = if self.payload().is_some() { self.with_attribute(DATAREF, None) } else { self };
        Self { data_content_type: None, data_schema: None, data, ..event }
    }

    /// The same event with another type.
    #[must_use]
    pub fn with_kind(self, kind: impl Into<Cow<'a, str>>) -> Self {
        Self { kind: kind.into(), ..self }
    }

    /// The same event with another value of an extension attribute, or without it.
    #[must_use]
    pub fn with_attribute(mut self, name: &'static str, value: Option<Value<'a>>) -> Self {
        self.attributes.retain(|(known, _)| known != name);
        if let Some(value) = value {
            let at = self.attributes.partition_point(|(known, _)| known.as_ref() < name);
            self.attributes.insert(at, (name.into(), value));
        }
        self
    }

    /// Whether a second event under the same `source` and `id` says the same: same type, subject and data. A retry
    /// may carry a new `traceparent` or `time`. JSON is compared by value, since a client may write it anew.
    pub fn same_content(&self, other: &Event<'_>) -> bool {
        self.kind == other.kind && self.subject == other.subject && self.data.same_content(&other.data)
    }
}

impl Data<'_> {
    fn same_content(&self, other: &Data<'_>) -> bool {
        match (self, other) {
            (Data::Json(a), Data::Json(b)) => a == b || crate::json::same_value(a, b),
            (a, b) => a == b,
        }
    }
}

impl Value<'_> {
    /// Copies what is borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Integer(number) => Value::Integer(number),
            Value::Boolean(flag) => Value::Boolean(flag),
        }
    }
}

impl fmt::Display for Value<'_> {
    /// The canonical string of CloudEvents 1.0.2, "Type System".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Integer(number) => write!(f, "{number}"),
            Value::Boolean(flag) => write!(f, "{flag}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base<'a>() -> EventBuilder<'a> {
        Event::builder("1", "/s", "order.placed")
    }

    #[test]
    fn content_is_compared_by_json_value() {
        let with = |json: &'static str| base().json(json).build().unwrap();
        assert!(with(r#"{"a":1,"b":2}"#).same_content(&with(r#"{ "b": 2, "a": 1 }"#)));
        assert!(!with(r#"{"a":1}"#).same_content(&with(r#"{"a":2}"#)));
        assert!(with(r#"{"a":[1, "\u0041"]}"#).same_content(&with(r#"{"a":[1,"A"]}"#)));
        assert!(!with(r#"{"a":[1,2]}"#).same_content(&with(r#"{"a":[1,2,3]}"#)));
        // Beyond what a float can tell apart.
        assert!(!with("{\"n\":18446744073709551616}").same_content(&with("{\"n\":18446744073709551999}")));
        assert!(!with("{}").same_content(&base().build().unwrap()));
        assert!(!with("{}").same_content(&base().subject("s").json("{}").build().unwrap()));
    }
}
