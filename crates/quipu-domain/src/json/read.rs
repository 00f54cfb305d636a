//! One event from its JSON object: each attribute by its own rule, none twice.

use std::borrow::Cow;

use super::data::read_data;
use super::object::{Fields, read_object, read_object_text, text};
use crate::domain_envelope;
use crate::event::{clip, invalid};
use crate::{Event, EventBuilder, InvalidEvent, Value};

/// An event as it came in, and what it claims about its stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Incoming<'a> {
    /// The event.
    pub event: Event<'a>,
    /// The version that the event says it is in its stream: it is refused if it would become another. Only the
    /// older domain envelope can say this.
    pub stream_version: Option<u64>,
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
    Ok(Incoming { event: unchecked(&fields)?.build()?, stream_version: None })
}

/// The event that these fields make, its attributes not yet held against their rules.
pub(crate) fn unchecked<'a>(fields: &Fields<'a>) -> Result<EventBuilder<'a>, InvalidEvent> {
    let mut builder = Event::builder("", "", "");
    let (mut id, mut source, mut kind, mut spec_version) = (None, None, None, None);
    let (mut content_type, mut data, mut data_base64) = (None, None, None);
    let mut seen = 0u32;
    for (name, raw) in fields {
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
    Ok(event.data(data))
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
