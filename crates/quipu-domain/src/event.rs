//! The event: a CloudEvents 1.0 envelope and its data. An [`Event`] that exists has passed every check, whoever made
//! it; reading JSON and HTTP headers ends in [`EventBuilder::build`] too.
//!
//! It borrows where it can, so that reading a request and decoding the log copy nothing; `Event<'static>` owns.
//!
//! Source of the attribute rules: CloudEvents 1.0.2, "Context Attributes" and "Type System".

use std::borrow::Cow;
use std::fmt;

use crate::Timestamp;
use crate::limits::*;

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

/// Why something is not an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields say what they are
pub enum InvalidEvent {
    /// The text is not JSON.
    MalformedJson { line: usize, column: usize, reason: String },
    /// The text is JSON, but not one object.
    NotAnObject { found: &'static str },
    /// A required attribute is not there.
    MissingAttribute { name: &'static str },
    /// An attribute is there twice.
    DuplicateAttribute { name: String },
    /// A name or a value breaks its rule.
    InvalidAttribute { name: String, expected: String, found: String },
    /// Only the server sets this attribute or uses this name.
    ReservedAttribute { name: String, expected: &'static str },
    /// More attributes than [`ATTRIBUTES_MAX`] or tags than [`TAGS_MAX`].
    TooMany { what: &'static str, limit: usize, actual: usize },
    /// The event is larger than the configured limit.
    TooLarge { limit: usize, actual: usize },
}

impl<'a> Event<'a> {
    /// Starts an event from the three attributes that identify and name it.
    pub fn builder(
        id: impl Into<Cow<'a, str>>,
        source: impl Into<Cow<'a, str>>,
        kind: impl Into<Cow<'a, str>>,
    ) -> EventBuilder<'a> {
        EventBuilder {
            event: Event {
                id: id.into(),
                source: source.into(),
                kind: kind.into(),
                subject: None,
                time: None,
                data_content_type: None,
                data_schema: None,
                attributes: Vec::new(),
                data: Data::None,
            },
            tags: Vec::new(),
        }
    }

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
            },
        }
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

/// An event in the making; [`EventBuilder::build`] checks it.
#[derive(Clone, Debug)]
pub struct EventBuilder<'a> {
    event: Event<'a>,
    tags: Vec<Cow<'a, str>>,
}

impl<'a> EventBuilder<'a> {
    pub(crate) fn identified(mut self, id: Cow<'a, str>, source: Cow<'a, str>, kind: Cow<'a, str>) -> Self {
        (self.event.id, self.event.source, self.event.kind) = (id, source, kind);
        self
    }

    /// Sets `subject`, the stream.
    pub fn subject(mut self, subject: impl Into<Cow<'a, str>>) -> Self {
        self.event.subject = Some(subject.into());
        self
    }

    /// Sets `time`, an RFC 3339 date-time.
    pub fn time(mut self, time: impl Into<Cow<'a, str>>) -> Self {
        self.event.time = Some(time.into());
        self
    }

    /// Sets `datacontenttype`.
    pub fn data_content_type(mut self, media_type: impl Into<Cow<'a, str>>) -> Self {
        self.event.data_content_type = Some(media_type.into());
        self
    }

    /// Sets `dataschema`.
    pub fn data_schema(mut self, uri: impl Into<Cow<'a, str>>) -> Self {
        self.event.data_schema = Some(uri.into());
        self
    }

    /// Adds an extension attribute.
    pub fn attribute(mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) -> Self {
        self.event.attributes.push((name.into(), value));
        self
    }

    /// Sets `correlationid`.
    pub fn correlation_id(self, id: impl Into<Cow<'a, str>>) -> Self {
        self.attribute("correlationid", Value::Text(id.into()))
    }

    /// Sets `causationid`, the `id` of the event that caused this one.
    pub fn causation_id(self, id: impl Into<Cow<'a, str>>) -> Self {
        self.attribute("causationid", Value::Text(id.into()))
    }

    /// Adds one tag, `key:value`.
    pub fn tag(mut self, tag: impl Into<Cow<'a, str>>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Sets the data to the text of a JSON value.
    pub fn json(mut self, text: impl Into<Cow<'a, str>>) -> Self {
        self.event.data = Data::Json(text.into());
        self
    }

    /// Sets the data.
    pub fn data(mut self, data: Data<'a>) -> Self {
        self.event.data = data;
        self
    }

    /// Checks every attribute against its rule. JSON data is taken to be JSON: whoever parses it has checked that.
    pub fn build(mut self) -> Result<Event<'a>, InvalidEvent> {
        if !self.tags.is_empty() {
            self.event.attributes.push((Cow::Borrowed("tags"), Value::Text(Cow::Owned(self.tags.join(",")))));
        }
        self.event.attributes.sort_by(|a, b| a.0.cmp(&b.0));
        check(&self.event)?;
        Ok(self.event)
    }

    /// The event as it is. For decoding what was checked before it was written; everything else calls `build`.
    pub fn build_trusted(self) -> Event<'a> {
        self.event
    }
}

fn check(event: &Event<'_>) -> Result<(), InvalidEvent> {
    check_text("id", &event.id, ID_BYTES_MAX)?;
    check_text("source", &event.source, SOURCE_BYTES_MAX)?;
    check_no_space("source", &event.source, "a URI reference such as /orders or https://example.com/shop")?;
    check_text("type", &event.kind, TYPE_BYTES_MAX)?;
    check_no_space("type", &event.kind, "a name such as order.placed or com.example.order.placed.v2")?;
    if event.kind.starts_with("quipu.") {
        return Err(InvalidEvent::ReservedAttribute { name: "type".into(), expected: "a type outside of quipu.*" });
    }
    if let Some(subject) = &event.subject {
        check_text("subject", subject, SUBJECT_BYTES_MAX)?;
    }
    check_time("time", event.time.as_deref())?;
    if let Some(media_type) = &event.data_content_type {
        check_text("datacontenttype", media_type, ATTRIBUTE_VALUE_BYTES_MAX)?;
        if !media_type.contains('/') {
            return Err(invalid("datacontenttype", "a media type such as application/json", media_type));
        }
    }
    if let Some(uri) = &event.data_schema {
        check_text("dataschema", uri, ATTRIBUTE_VALUE_BYTES_MAX)?;
    }
    check_attributes(event)
}

fn check_attributes(event: &Event<'_>) -> Result<(), InvalidEvent> {
    let attributes = &event.attributes;
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(InvalidEvent::TooMany { what: "attributes", limit: ATTRIBUTES_MAX, actual: attributes.len() });
    }
    for pair in attributes.windows(2) {
        if pair[0].0 == pair[1].0 {
            return Err(InvalidEvent::DuplicateAttribute { name: pair[0].0.to_string() });
        }
    }
    for (name, value) in attributes {
        check_name(name)?;
        if let Value::Text(text) = value {
            check_text(name, text, ATTRIBUTE_VALUE_BYTES_MAX)?;
        }
        match (name.as_ref(), value) {
            ("tags", Value::Text(tags)) => check_tags(tags)?,
            ("priority", Value::Text(text)) if matches!(text.as_ref(), "low" | "medium" | "high" | "urgent") => {}
            ("priority", other) => {
                return Err(invalid("priority", "low, medium, high or urgent", &other.to_string()));
            }
            ("expirytime", Value::Text(text)) => check_time("expirytime", Some(text))?,
            (
                "tags" | "expirytime" | "correlationid" | "causationid" | "userid" | "organizationid" | "tenantid",
                Value::Integer(_) | Value::Boolean(_),
            ) => return Err(invalid(name, "a string", &value.to_string())),
            _ => {}
        }
    }
    Ok(())
}

/// CloudEvents 1.0.2, "Attribute Naming Convention": lower-case letters and digits.
pub(crate) fn check_name(name: &str) -> Result<(), InvalidEvent> {
    if matches!(name, "position" | "streamversion" | "recordedtime") {
        return Err(InvalidEvent::ReservedAttribute {
            name: name.into(),
            expected: "no value: the server sets this attribute when it records the event",
        });
    }
    if name == "data" || name == "specversion" {
        return Err(InvalidEvent::DuplicateAttribute { name: name.into() });
    }
    let fits = !name.is_empty() && name.len() <= ATTRIBUTE_NAME_BYTES_MAX;
    if fits && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        return Ok(());
    }
    Err(invalid(clip(name), "a name of 1 to 64 lower-case letters a-z and digits", clip(name)))
}

fn check_tags(tags: &str) -> Result<(), InvalidEvent> {
    let count = tags.split(',').count();
    if count > TAGS_MAX {
        return Err(InvalidEvent::TooMany { what: "tags", limit: TAGS_MAX, actual: count });
    }
    match tags.split(',').find(|tag| !is_tag(tag)) {
        Some(tag) => Err(invalid("tags", "tags such as customer:c1, separated by commas, without spaces", clip(tag))),
        None => Ok(()),
    }
}

/// Whether the text is one tag: `key:value`, at most [`TAG_BYTES_MAX`] bytes, no comma and no white space.
pub(crate) fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_BYTES_MAX
        && tag.split_once(':').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty())
        && !tag.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control())
}

fn check_time(name: &str, text: Option<&str>) -> Result<(), InvalidEvent> {
    match text {
        Some(text) if Timestamp::parse(text).is_none() => {
            Err(invalid(name, "an RFC 3339 date-time such as 2026-01-31T09:30:00Z", clip(text)))
        }
        _ => Ok(()),
    }
}

/// A string attribute must not be empty, over its limit, or hold control characters or noncharacters.
fn check_text(name: &str, text: &str, limit: usize) -> Result<(), InvalidEvent> {
    if text.is_empty() {
        return Err(invalid(name, "a string that is not empty", "an empty string"));
    }
    if text.len() > limit {
        return Err(invalid(name, format!("at most {limit} bytes"), &format!("{} bytes", text.len())));
    }
    let forbidden = |c: char| c.is_control() || (c as u32) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c);
    // Printable ASCII, the usual case, is settled by a scan of bytes.
    if text.bytes().all(|c| (0x20..0x7F).contains(&c)) || !text.contains(forbidden) {
        return Ok(());
    }
    Err(invalid(name, "no control characters", &clip(text).escape_debug().to_string()))
}

fn check_no_space(name: &str, text: &str, expected: &str) -> Result<(), InvalidEvent> {
    if text.contains(char::is_whitespace) { Err(invalid(name, expected, clip(text))) } else { Ok(()) }
}

pub(crate) fn invalid(name: &str, expected: impl Into<String>, found: &str) -> InvalidEvent {
    InvalidEvent::InvalidAttribute { name: name.to_owned(), expected: expected.into(), found: found.to_owned() }
}

/// The head of a text that a stranger sent, short enough for a message.
pub(crate) fn clip(text: &str) -> &str {
    let mut end = text.len().min(80);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl fmt::Display for InvalidEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedJson { line, column, reason } => {
                write!(f, "expected JSON, found an error at line {line}, column {column}: {reason}")
            }
            Self::NotAnObject { found } => write!(f, "expected a JSON object, found {found}"),
            Self::MissingAttribute { name } => write!(f, "expected the attribute {name}, found none"),
            Self::DuplicateAttribute { name } => write!(f, "expected {name} once, found it twice"),
            Self::InvalidAttribute { name, expected, found } => {
                write!(f, "expected {name} to be {expected}, found {found}")
            }
            Self::ReservedAttribute { name, expected } => {
                write!(f, "{name} is reserved: expected {expected}")
            }
            Self::TooMany { what, limit, actual } => write!(f, "expected at most {limit} {what}, found {actual}"),
            Self::TooLarge { limit, actual } => {
                write!(f, "expected an event of at most {limit} bytes, found {actual}")
            }
        }
    }
}

impl std::error::Error for InvalidEvent {}

#[cfg(test)]
mod tests {
    use super::*;

    fn base<'a>() -> EventBuilder<'a> {
        Event::builder("1", "/s", "order.placed")
    }

    #[test]
    fn each_rule_refuses_what_breaks_it() {
        let long = "x".repeat(10_000);
        let cases: Vec<(EventBuilder<'_>, &str)> = vec![
            (Event::builder("", "/s", "t"), "id"),
            (Event::builder("1", "", "t"), "source"),
            (Event::builder("1", "/a b", "t"), "source"),
            (Event::builder("1", "/s", ""), "type"),
            (Event::builder("1", "/s", "a b"), "type"),
            (Event::builder("1", "/s", "quipu.delivery.acked"), "type"),
            (Event::builder("1\u{7}", "/s", "t"), "id"),
            (Event::builder(long.as_str(), "/s", "t"), "id"),
            (base().subject(""), "subject"),
            (base().time("yesterday"), "time"),
            (base().data_content_type("json"), "datacontenttype"),
            (base().tag("novalue"), "tags"),
            (base().tag("a:b c"), "tags"),
            (base().attribute("Upper", Value::Boolean(true)), "Upper"),
            (base().attribute("position", Value::Integer(1)), "position"),
            (base().attribute("priority", Value::Text("asap".into())), "priority"),
            (base().attribute("expirytime", Value::Text("soon".into())), "expirytime"),
            (base().attribute("userid", Value::Integer(3)), "userid"),
            (base().correlation_id("a").correlation_id("b"), "correlationid"),
        ];
        for (builder, name) in cases {
            let error = builder.build().expect_err(name).to_string();
            assert!(error.contains(name), "{name}: {error}");
        }
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
