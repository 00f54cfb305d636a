//! An event as the body and headers of a webhook: CloudEvents in binary or structured mode, or the outcome of a
//! transformation.
//!
//! Source: CloudEvents HTTP protocol binding 1.0.2, sections 3.1 and 3.2.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use quipu_domain::{Data, Event, PushMode, Stamp, write_event};

/// What must not stand in the value of an attribute's header: section 3.1.3.2. Whatever is not ASCII is encoded anyway.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');
/// A webhook's id has no dot either, since dots separate the parts of what is signed.
const ID: &AsciiSet = &VALUE.add(b'.');
/// A media type may hold spaces and quotes.
const MEDIA_TYPE: &AsciiSet = CONTROLS;

/// What a transformation made of an event.
#[derive(Clone, Copy, Debug)]
pub struct Transformed<'a> {
    /// `application/json`, or `text/plain; charset=utf-8`.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: &'a [u8],
}

/// Body and headers.
#[derive(Debug)]
pub(super) struct Message {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Message {
    /// The event in this mode.
    pub(super) fn of_event(event: &Event<'_>, stamp: Option<&Stamp>, mode: PushMode) -> Self {
        match mode {
            // A receiver would take the body for the event itself, since the type of the body goes before headers.
            PushMode::Binary if is_event_type(event.data_content_type()) => Self::structured(event, stamp),
            PushMode::Binary => Self::binary(event, stamp),
            PushMode::Structured => Self::structured(event, stamp),
        }
    }

    /// What a transformation made of the event, with the event's attributes beside it.
    pub(super) fn of_outcome(event: &Event<'_>, stamp: Option<&Stamp>, outcome: Transformed<'_>) -> Self {
        let mut headers = attributes(event, stamp);
        // The schema is that of the data, which this is not any more.
        headers.remove("ce-dataschema");
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(outcome.content_type));
        Self { headers, body: Bytes::copy_from_slice(outcome.body) }
    }

    fn structured(event: &Event<'_>, stamp: Option<&Stamp>) -> Self {
        let mut body = Vec::with_capacity(1_024);
        write_event(&mut body, event, stamp);
        let mut headers = HeaderMap::new();
        let media_type = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, media_type);
        Self { headers, body: body.into() }
    }

    fn binary(event: &Event<'_>, stamp: Option<&Stamp>) -> Self {
        let (body, without_type) = match event.data() {
            // Where the data is says an attribute.
            Data::None | Data::Payload(_) => (Bytes::new(), None),
            Data::Json(text) => (Bytes::copy_from_slice(text.as_bytes()), Some("application/json")),
            Data::Text(text) => (Bytes::copy_from_slice(text.as_bytes()), Some("text/plain; charset=utf-8")),
            Data::Binary(bytes) => (Bytes::copy_from_slice(bytes), Some("application/octet-stream")),
        };
        let mut headers = attributes(event, stamp);
        if let Some(media_type) = event.data_content_type().or(without_type) {
            headers.insert(header::CONTENT_TYPE, encoded(media_type, MEDIA_TYPE));
        }
        Self { headers, body }
    }
}

fn is_event_type(media_type: Option<&str>) -> bool {
    let prefix = "application/cloudevents";
    let head = media_type.and_then(|media_type| media_type.trim_start().get(..prefix.len()));
    head.is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

/// All attributes but `datacontenttype`, each in its header.
fn attributes(event: &Event<'_>, stamp: Option<&Stamp>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16 + event.attributes().len());
    let mut set = |name: &'static str, text: &str| {
        headers.insert(HeaderName::from_static(name), encoded(text, VALUE));
    };
    set("ce-specversion", "1.0");
    set("ce-id", event.id());
    set("ce-source", event.source());
    set("ce-type", event.kind());
    let optional =
        [("ce-subject", event.subject()), ("ce-time", event.time_text()), ("ce-dataschema", event.data_schema())];
    for (name, text) in optional {
        text.into_iter().for_each(|text| set(name, text));
    }
    if let Some(stamp) = stamp {
        set("ce-position", &stamp.position.to_string());
        stamp.stream_version.iter().for_each(|version| set("ce-streamversion", &version.to_string()));
        set("ce-recordedtime", &stamp.recorded_time.to_string());
    }
    for (name, value) in event.attributes() {
        let name =
            HeaderName::try_from(format!("ce-{name}")).expect("lower-case letters and digits are fit for a name");
        headers.insert(name, encoded(&value.to_string(), VALUE));
    }
    headers
}

/// The id of a webhook from the idempotency key of its delivery: the same, with what a header or a signature cannot
/// take percent-encoded.
pub(super) fn webhook_id(idempotency_key: &str) -> String {
    utf8_percent_encode(idempotency_key, ID).to_string()
}

/// The text with these characters, and all beyond ASCII, percent-encoded.
pub(super) fn encoded(text: &str, characters: &'static AsciiSet) -> HeaderValue {
    let encoded = Cow::from(utf8_percent_encode(text, characters));
    HeaderValue::from_str(&encoded).expect("what a header cannot take is encoded")
}

/// The text as the value of a header.
pub(super) fn value(text: &str) -> HeaderValue {
    encoded(text, VALUE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use quipu_domain::{Timestamp, Value};

    fn header<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
        message.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn binary_mode_has_attributes_in_headers_and_data_in_the_body() {
        let event = Event::builder("1", "/shop", "order.placed")
            .subject("Euro € \"😀\" 100%")
            .time("2026-01-31T09:30:00Z")
            .data_schema("https://example.com/schema")
            .attribute("count", Value::Integer(-3))
            .attribute("flag", Value::Boolean(true))
            .json("{\"n\": 1}")
            .build()
            .unwrap();
        let stamp = Stamp { position: 7, stream_version: Some(2), recorded_time: Timestamp(0) };
        let message = Message::of_event(&event, Some(&stamp), PushMode::Binary);
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/shop"),
            ("ce-type", "order.placed"),
            ("ce-subject", "Euro%20%E2%82%AC%20%22%F0%9F%98%80%22%20100%25"),
            ("ce-time", "2026-01-31T09:30:00Z"),
            ("ce-dataschema", "https://example.com/schema"),
            ("ce-count", "-3"),
            ("ce-flag", "true"),
            ("ce-position", "7"),
            ("ce-streamversion", "2"),
            ("ce-recordedtime", "1970-01-01T00:00:00.000Z"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(header(&message, name), Some(value), "{name}");
        }
        assert_eq!((message.headers.len(), &message.body[..]), (13, &b"{\"n\": 1}"[..]));
    }

    #[test]
    fn structured_mode_has_the_whole_event_in_the_body() {
        let event = Event::builder("1", "/shop", "order.placed").json("{}").build().unwrap();
        let message = Message::of_event(&event, None, PushMode::Structured);
        let body = br#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","data":{}}"#;
        assert_eq!(&message.body[..], body);
        assert_eq!(header(&message, "content-type"), Some("application/cloudevents+json; charset=utf-8"));
        assert_eq!(message.headers.len(), 1);
    }

    #[test]
    fn an_event_whose_data_is_an_event_is_never_taken_for_its_data() {
        for media_type in ["application/cloudevents+json", "Application/CloudEvents-batch+json; charset=utf-8"] {
            let event = Event::builder("1", "/s", "t").data_content_type(media_type).json("{}").build().unwrap();
            let message = Message::of_event(&event, None, PushMode::Binary);
            assert!(message.body.starts_with(br#"{"specversion":"1.0","id":"1""#));
        }
    }

    #[test]
    fn a_transformed_event_keeps_its_attributes_but_not_the_schema_of_its_data() {
        let event = Event::builder("1", "/s", "t").data_schema("/schema").data_content_type("image/png");
        let event = event.data(Data::Binary(Cow::Borrowed(b"\x89"))).build().unwrap();
        let outcome = Transformed { content_type: "text/plain; charset=utf-8", body: b"hello" };
        let message = Message::of_outcome(&event, None, outcome);
        assert_eq!(header(&message, "content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!((header(&message, "ce-id"), header(&message, "ce-dataschema")), (Some("1"), None));
        assert_eq!(&message.body[..], b"hello");
    }

    #[test]
    fn a_body_without_a_media_type_gets_that_of_its_kind() {
        for (data, media_type) in [
            (Data::None, None),
            (Data::Json("1".into()), Some("application/json")),
            (Data::Text("a".into()), Some("text/plain; charset=utf-8")),
            (Data::Binary(Cow::Borrowed(b"\x00")), Some("application/octet-stream")),
        ] {
            let event = Event::builder("1", "/s", "t").data(data).build().unwrap();
            let message = Message::of_event(&event, None, PushMode::Binary);
            assert_eq!(header(&message, "content-type"), media_type);
        }
    }

    #[test]
    fn an_id_has_no_dot_and_two_keys_have_two_ids() {
        assert_eq!(webhook_id("a.b/é c"), "a%2Eb/%C3%A9%20c");
        assert_ne!(webhook_id("a.b"), webhook_id("a%2Eb"));
    }

    proptest! {
        #[test]
        fn what_is_written_in_binary_mode_is_read_back(
            id in "[^\\p{C}]{1,20}", subject in "[^\\p{C}]{1,20}", extension in "[^\\p{C}]{1,20}", body in ".{1,40}",
        ) {
            let event = Event::builder(id, "/s", "t").subject(subject).data_content_type("text/plain; charset=\"utf-8\"")
                .attribute("userid", Value::Text(extension.into())).data(Data::Text(body.into())).build();
            prop_assume!(event.is_ok());
            let event = event.unwrap();
            let message = Message::of_event(&event, None, PushMode::Binary);
            prop_assert_eq!(crate::binary::read(&message.headers, &message.body).unwrap(), event);
        }
    }
}
