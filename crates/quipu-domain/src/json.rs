//! CloudEvents as JSON: one event read and written in the CloudEvents 1.0.2 JSON event format. Batches and lines are
//! the business of whoever holds the bytes; each event stands for itself.
//!
//! Values are kept as slices of the input until an attribute's rule asks for them, so an event costs one pass and
//! nearly no copies.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain_envelope;
use crate::event::{clip, invalid};
use crate::limits::{BATCH_EVENTS_MAX, JSON_DEPTH_MAX};
use crate::{Data, Event, InvalidEvent, Timestamp, Value};

/// An event as it came in, and what it claims about its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming<'a> {
    /// The event.
    pub event: Event<'a>,
    /// The version that the event says it is in its stream: it is refused if it would become another. Only the
    /// older domain envelope can say this.
    pub stream_version: Option<u64>,
}

/// What the server adds to an event when it records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The number of the event in its tenant's log, from 1.
    pub position: u64,
    /// The number of the event in its stream, from 1; nothing for an event without a subject.
    pub stream_version: Option<u64>,
    /// When it was recorded; never earlier than the event before.
    pub recorded_time: Timestamp,
}

/// Reads one event: the CloudEvents JSON format, or the older domain envelope.
///
/// ```
/// let text = br#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","data":{"total":9}}"#;
/// let incoming = quipu_domain::parse_event(text)?;
/// assert_eq!(incoming.event.kind(), "order.placed");
/// # Ok::<(), quipu_domain::InvalidEvent>(())
/// ```
///
/// # Errors
/// [`InvalidEvent`] names the attribute, what was expected and what was found.
pub fn parse_event(json: &[u8]) -> Result<Incoming<'_>, InvalidEvent> {
    read(read_object(json)?)
}

/// As [`parse_event`], for a text: it is not looked through for bytes that are no UTF-8 once more.
///
/// # Errors
/// As [`parse_event`].
pub fn parse_event_text(json: &str) -> Result<Incoming<'_>, InvalidEvent> {
    read(read_object_text(json)?)
}

fn read(fields: Fields<'_>) -> Result<Incoming<'_>, InvalidEvent> {
    if domain_envelope::is_one(&fields) {
        return domain_envelope::read(&fields);
    }
    let mut builder = Event::builder("", "", "");
    let (mut id, mut source, mut kind, mut spec_version) = (None, None, None, None);
    let (mut content_type, mut data, mut data_base64) = (None, None, None);
    let mut seen = 0u32;
    for (name, raw) in &fields {
        let bit = match name.as_ref() {
            "specversion" => 0,
            "id" => 1,
            "source" => 2,
            "type" => 3,
            "subject" => 4,
            "time" => 5,
            "datacontenttype" => 6,
            "dataschema" => 7,
            "data" => 8,
            "data_base64" => 9,
            _ => 31,
        };
        if bit < 31 && seen & (1 << bit) != 0 {
            return Err(InvalidEvent::DuplicateAttribute { name: name.to_string() });
        }
        seen |= 1 << bit;
        // CloudEvents JSON format 2.2: an attribute set to null is unset. Data may be null.
        if *raw == "null" && bit != 8 {
            continue;
        }
        match bit {
            0 => spec_version = Some(text(name, raw)?),
            1 => id = Some(text(name, raw)?),
            2 => source = Some(text(name, raw)?),
            3 => kind = Some(text(name, raw)?),
            4 => builder = builder.subject(text(name, raw)?),
            5 => builder = builder.time(text(name, raw)?),
            6 => content_type = Some(text(name, raw)?),
            7 => builder = builder.data_schema(text(name, raw)?),
            8 => data = Some(*raw),
            9 => data_base64 = Some(text(name, raw)?),
            _ if name == "tags" => builder = builder.attribute("tags", tags(raw)?),
            _ => builder = builder.attribute(name.clone(), value(name, raw)?),
        }
    }
    match spec_version.as_deref() {
        Some("1.0") => {}
        Some(other) => return Err(invalid("specversion", "1.0", clip(other))),
        None => return Err(InvalidEvent::MissingAttribute { name: "specversion" }),
    }
    let data = read_data(content_type.as_deref(), data, data_base64)?;
    if let Some(media_type) = content_type {
        builder = builder.data_content_type(media_type);
    }
    let missing = |name| InvalidEvent::MissingAttribute { name };
    let event = builder.identified(
        id.ok_or_else(|| missing("id"))?,
        source.ok_or_else(|| missing("source"))?,
        kind.ok_or_else(|| missing("type"))?,
    );
    Ok(Incoming { event: event.data(data).build()?, stream_version: None })
}

/// Splits a JSON array into the texts of its events, each to be read by [`parse_event`] on its own.
///
/// # Errors
/// The text is not a JSON array.
pub fn parse_events(json: &[u8]) -> Result<Vec<&RawValue>, InvalidEvent> {
    split_array(json, usize::MAX)
}

/// Splits a JSON array of a stranger as [`parse_events`] does, and stops at more than [`BATCH_EVENTS_MAX`].
///
/// # Errors
/// The text is not a JSON array, or one of too many elements ([`InvalidEvent::TooMany`]).
pub fn parse_batch(json: &[u8]) -> Result<Vec<&RawValue>, InvalidEvent> {
    split_array(json, BATCH_EVENTS_MAX)
}

fn split_array(json: &[u8], limit: usize) -> Result<Vec<&RawValue>, InvalidEvent> {
    let mut is_over = false;
    let mut parser = serde_json::Deserializer::from_slice(json);
    let split = Elements { limit, is_over: &mut is_over }.deserialize(&mut parser);
    split.and_then(|texts| parser.end().map(|()| texts)).map_err(|error| match error.classify() {
        _ if is_over => InvalidEvent::TooMany { what: "events", limit, actual: limit + 1 },
        serde_json::error::Category::Data => InvalidEvent::NotAnObject { found: "no array of events" },
        _ => malformed(&error),
    })
}

/// The elements of an array, up to a limit: what is behind it is not even looked at.
struct Elements<'o> {
    limit: usize,
    is_over: &'o mut bool,
}

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = Vec<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(text) = elements.next_element()? {
            if texts.len() == self.limit {
                *self.is_over = true;
                return Err(serde::de::Error::custom("too many elements"));
            }
            texts.push(text);
        }
        Ok(texts)
    }
}

/// Whether data of this media type is JSON: `application/json`, `text/json` or `…+json`, with any parameters.
/// Nothing said means JSON.
pub(crate) fn is_json(media_type: Option<&str>) -> bool {
    let Some(media_type) = media_type else { return true };
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

impl<'a> Data<'a> {
    /// The body of a message in binary mode, as its media type says.
    ///
    /// # Errors
    /// The media type says JSON and the bytes are none.
    pub fn from_body(media_type: Option<&str>, body: &'a [u8]) -> Result<Self, InvalidEvent> {
        if body.is_empty() {
            return Ok(Data::None);
        }
        if is_json(media_type) {
            let raw: &RawValue = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
            check_depth(raw.get())?;
            return Ok(Data::Json(Cow::Borrowed(raw.get())));
        }
        let is_text = media_type.is_some_and(|m| m.trim_start().to_ascii_lowercase().starts_with("text/"));
        match std::str::from_utf8(body) {
            Ok(text) if is_text => Ok(Data::Text(Cow::Borrowed(text))),
            _ => Ok(Data::Binary(Cow::Borrowed(body))),
        }
    }
}

/// Whether two JSON texts say the same: members in any order, strings by what they stand for, numbers to the letter,
/// since a float cannot tell large ones apart.
pub(crate) fn same_value(a: &str, b: &str) -> bool {
    fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
        serde_json::from_str(text).ok()
    }
    let (a, b) = (a.trim(), b.trim());
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let members = parse::<BTreeMap<String, &RawValue>>(a).zip(parse::<BTreeMap<String, &RawValue>>(b));
            members.is_some_and(|(a, b)| {
                a.len() == b.len() && a.iter().zip(&b).all(|((k, v), (l, w))| k == l && same_value(v.get(), w.get()))
            })
        }
        (Some(b'['), Some(b'[')) => {
            let items = parse::<Vec<&RawValue>>(a).zip(parse::<Vec<&RawValue>>(b));
            items
                .is_some_and(|(a, b)| a.len() == b.len() && a.iter().zip(&b).all(|(v, w)| same_value(v.get(), w.get())))
        }
        (Some(b'"'), Some(b'"')) => parse::<String>(a) == parse::<String>(b),
        _ => a == b,
    }
}

/// Most parsers refuse JSON that is nested deeper than about a hundred levels: such data could be stored and never
/// read.
pub(crate) fn check_depth(text: &str) -> Result<(), InvalidEvent> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > JSON_DEPTH_MAX {
                    let expected = format!("JSON of at most {JSON_DEPTH_MAX} levels");
                    return Err(invalid("data", expected, "deeper nesting"));
                }
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    Ok(())
}

fn read_data<'a>(
    media_type: Option<&str>,
    data: Option<&'a str>,
    base64: Option<Cow<'a, str>>,
) -> Result<Data<'a>, InvalidEvent> {
    match (data, base64) {
        (None, None) => Ok(Data::None),
        (Some(_), Some(_)) => Err(InvalidEvent::DuplicateAttribute { name: "data (and data_base64)".into() }),
        (None, Some(encoded)) => match BASE64.decode(encoded.as_bytes()) {
            Ok(bytes) => Ok(Data::Binary(Cow::Owned(bytes))),
            Err(_) => Err(invalid("data_base64", "base64 with padding (RFC 4648, section 4)", clip(&encoded))),
        },
        (Some(raw), None) if !is_json(media_type) && raw.starts_with('"') => Ok(Data::Text(text("data", raw)?)),
        (Some(raw), None) => {
            check_depth(raw)?;
            Ok(Data::Json(Cow::Borrowed(raw)))
        }
    }
}

/// Appends the event to `out` as one JSON object on one line, with what the server added.
pub fn write_event(out: &mut Vec<u8>, event: &Event<'_>, stamp: Option<&Stamp>) {
    out.extend_from_slice(b"{\"specversion\":\"1.0\",\"id\":");
    write_text(out, event.id());
    write_field(out, "source", Some(event.source()));
    write_field(out, "type", Some(event.kind()));
    write_field(out, "subject", event.subject());
    write_field(out, "time", event.time_text());
    write_field(out, "datacontenttype", event.data_content_type());
    write_field(out, "dataschema", event.data_schema());
    for (name, value) in event.attributes() {
        match value {
            Value::Text(text) => write_field(out, name, Some(text)),
            Value::Integer(_) | Value::Boolean(_) => write_bare(out, name, &value.to_string()),
        }
    }
    if let Some(stamp) = stamp {
        write_bare(out, "position", &stamp.position.to_string());
        if let Some(version) = stamp.stream_version {
            write_bare(out, "streamversion", &version.to_string());
        }
        write_bare(out, "recordedtime", &format!("\"{}\"", stamp.recorded_time));
    }
    match event.data() {
        Data::None => {}
        Data::Json(text) => write_json_line(out, text),
        Data::Text(text) => write_field(out, "data", Some(text)),
        Data::Binary(bytes) => write_field(out, "data_base64", Some(&BASE64.encode(bytes))),
    }
    out.push(b'}');
}

/// JSON that a client sent over several lines goes out on one: raw line breaks can only stand between tokens.
fn write_json_line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b",\"data\":");
    if text.contains(['\n', '\r']) {
        out.extend(text.bytes().map(|c| if c == b'\n' || c == b'\r' { b' ' } else { c }));
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

fn write_field(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    let Some(text) = text else { return };
    write_name(out, name);
    write_text(out, text);
}

fn write_bare(out: &mut Vec<u8>, name: &str, literal: &str) {
    write_name(out, name);
    out.extend_from_slice(literal.as_bytes());
}

fn write_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|c| c >= 0x20 && c != b'"' && c != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        serde_json::to_writer(out, text).expect("a string is JSON and a Vec takes it");
    }
}

/// The fields of one object, in order and with repeats, values as the text they stand in.
pub(crate) type Fields<'a> = Vec<(Cow<'a, str>, &'a str)>;

fn read_object(json: &[u8]) -> Result<Fields<'_>, InvalidEvent> {
    let object: Object<'_> = serde_json::from_slice(json).map_err(|error| no_object(json, &error))?;
    Ok(object.0)
}

pub(crate) fn read_object_text(json: &str) -> Result<Fields<'_>, InvalidEvent> {
    let object: Object<'_> = serde_json::from_str(json).map_err(|error| no_object(json.as_bytes(), &error))?;
    Ok(object.0)
}

fn no_object(json: &[u8], error: &serde_json::Error) -> InvalidEvent {
    let first = json.iter().find(|c| !c.is_ascii_whitespace());
    match (error.classify(), first) {
        (serde_json::error::Category::Data, Some(b'[')) => InvalidEvent::NotAnObject { found: "an array" },
        (serde_json::error::Category::Data, Some(b'"')) => InvalidEvent::NotAnObject { found: "a string" },
        (serde_json::error::Category::Data, _) => InvalidEvent::NotAnObject { found: "a plain value" },
        _ => malformed(error),
    }
}

pub(crate) fn malformed(error: &serde_json::Error) -> InvalidEvent {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
    InvalidEvent::MalformedJson { line: error.line(), column: error.column(), reason }
}

struct Object<'a>(Fields<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(Name(name)) = map.next_key()? {
                    let raw: &'de RawValue = map.next_value()?;
                    fields.push((name, raw.get()));
                }
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A key, borrowed unless it holds escapes. (serde's own `Cow` always copies.)
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// The string that a JSON text stands for, borrowed unless it holds escapes.
pub(crate) fn text<'a>(name: &str, raw: &'a str) -> Result<Cow<'a, str>, InvalidEvent> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if !inner.contains('\\') => Ok(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(raw).map(Cow::Owned).map_err(|error| malformed(&error)),
        None => Err(invalid(name, "a string", clip(raw))),
    }
}

fn value<'a>(name: &str, raw: &'a str) -> Result<Value<'a>, InvalidEvent> {
    match raw.as_bytes()[0] {
        b'"' => Ok(Value::Text(text(name, raw)?)),
        b't' => Ok(Value::Boolean(true)),
        b'f' => Ok(Value::Boolean(false)),
        _ => match raw.parse() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => Err(invalid(name, "a string, a boolean or a 32-bit integer", clip(raw))),
        },
    }
}

/// `tags` is a string, `a:1,b:2`, since CloudEvents attributes know no lists; an array of strings is taken too.
fn tags(raw: &str) -> Result<Value<'_>, InvalidEvent> {
    if raw.starts_with('[') {
        let list: Vec<String> = serde_json::from_str(raw)
            .map_err(|_| invalid("tags", "a string such as a:1,b:2 or an array of strings", clip(raw)))?;
        return Ok(Value::Text(Cow::Owned(list.join(","))));
    }
    Ok(Value::Text(text("tags", raw)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(json: &str) -> String {
        let mut out = Vec::new();
        write_event(&mut out, &parse_event(json.as_bytes()).unwrap().event, None);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_read_is_written_again() {
        for json in [
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"x","time":"2026-01-01T00:00:00Z","datacontenttype":"application/json","dataschema":"/d","flag":true,"number":-3,"tags":"a:1,b:2","data":{"a":[1,2.50,null]}}"#,
            r#"{"specversion":"1.0","id":"q\"\\","source":"/s","type":"t","datacontenttype":"text/plain","data":"a\nb"}"#,
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"AAEC/w=="}"#,
            r#"{"specversion":"1.0","id":"ü","source":"/s","type":"t","data":null}"#,
        ] {
            assert_eq!(round_trip(json), json);
        }
    }

    #[test]
    fn a_text_is_read_as_its_bytes_are() {
        for json in [
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"grün","data":{"n":1.50}}"#,
            r#"{"eventType":"a.b","eventId":"1","metadata":{"userId":"u"}}"#,
            r#"{"specversion":"1.0","id":1}"#,
            r#"{"id":"#,
            "[1]",
            "\"x\"",
            "3",
            "",
        ] {
            assert_eq!(parse_event_text(json), parse_event(json.as_bytes()), "{json}");
        }
    }

    #[test]
    fn data_over_several_lines_is_written_on_one() {
        let json = "{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"data\":{\n \"a\": 1\n}}";
        assert!(!round_trip(json).contains('\n'));
    }

    #[test]
    fn tags_may_be_an_array() {
        let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","tags":["a:1","b:2"]}"#;
        assert_eq!(parse_event(json).unwrap().event.attribute("tags"), Some("a:1,b:2"));
    }

    #[test]
    fn a_null_attribute_is_unset() {
        let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":null,"userid":null}"#;
        let event = parse_event(json).unwrap().event;
        assert_eq!((event.subject(), event.attributes().len()), (None, 0));
    }

    #[test]
    fn bad_json_is_refused_with_the_place() {
        let table: [(&str, &str); 11] = [
            ("{", "line 1"),
            ("[]", "an array"),
            ("3", "a plain value"),
            (r#"{"id":"1","source":"/s","type":"t"}"#, "specversion"),
            (r#"{"specversion":"0.3","id":"1","source":"/s","type":"t"}"#, "1.0"),
            (r#"{"specversion":"1.0","source":"/s","type":"t"}"#, "id"),
            (r#"{"specversion":"1.0","id":"1","id":"2","source":"/s","type":"t"}"#, "twice"),
            (r#"{"specversion":"1.0","id":1,"source":"/s","type":"t"}"#, "a string"),
            (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","n":5000000000}"#, "32-bit"),
            (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"AA=="}"#, "data"),
            (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data_base64":"*"}"#, "base64"),
        ];
        for (json, part) in table {
            let error = parse_event(json.as_bytes()).expect_err(json).to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn data_that_is_nested_too_deep_is_refused() {
        let nested = |levels: usize| {
            let data = format!("{}\"[[[\\\"[\"{}", "[".repeat(levels), "]".repeat(levels));
            format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{data}}}"#)
        };
        assert!(parse_event(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
        assert!(parse_event(nested(JSON_DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(Data::from_body(None, "[".repeat(200).as_bytes()).is_err());
    }

    #[test]
    fn a_body_is_kept_as_its_media_type_says() {
        let table: [(Option<&str>, &[u8], Data<'_>); 5] = [
            (Some("application/json"), b"", Data::None),
            (Some("application/json; charset=utf-8"), b"{}", Data::Json("{}".into())),
            (Some("application/vnd.x+json"), b"1", Data::Json("1".into())),
            (Some("text/plain"), b"hi", Data::Text("hi".into())),
            (Some("image/png"), b"\x89P", Data::Binary(Cow::Borrowed(b"\x89P"))),
        ];
        for (media_type, body, data) in table {
            assert_eq!(Data::from_body(media_type, body), Ok(data));
        }
        assert!(Data::from_body(None, b"{").is_err());
    }
}
