//! An event on disk: the compact binary form of an envelope and its data, without what the server adds (position,
//! version and time stand in the frame around it). Its BLAKE3 digest is what the hash chain covers.
//!
//! ```text
//! body  = format:u8 (1) field*
//! field = code:u8 length:varint bytes          codes 1-31: one attribute each; 64-66: the data; 67: where it is kept
//!       | 32:u8 name:(length bytes) value      an attribute without a code of its own:
//!                                              value = 0 text:(length bytes) | 1 zigzag:varint | 2 (false) | 3 (true)
//! 67    = form:u8 (64-66, as the data had it) size:varint hash:[32]          a payload; `dataref` follows from it
//! ```

use std::borrow::Cow;

use quipu_domain::{DATAREF, Data, Event, Payload, PayloadForm, Value};

use crate::log::Log;
use crate::storage::Fault;
use crate::varint::{self, Reader};

const FORMAT: u8 = 1;
const ID: u8 = 1;
const SOURCE: u8 = 2;
const TYPE: u8 = 3;
const SUBJECT: u8 = 4;
const TIME: u8 = 5;
const DATA_CONTENT_TYPE: u8 = 6;
const DATA_SCHEMA: u8 = 7;
/// Attributes that are common enough for a code: `NAMED[i]` has the code `i + 8`. Never reorder; append.
const NAMED: [&str; 12] = [
    "correlationid",
    "causationid",
    "tags",
    "userid",
    "organizationid",
    "tenantid",
    "traceparent",
    "partitionkey",
    "priority",
    "expirytime",
    "sequence",
    "dataref",
];
const OTHER: u8 = 32;
const DATA_JSON: u8 = 64;
const DATA_TEXT: u8 = 65;
const DATA_BINARY: u8 = 66;
const DATA_PAYLOAD: u8 = 67;

/// Appends the body of an event.
pub fn encode(out: &mut Vec<u8>, event: &Event<'_>) {
    out.push(FORMAT);
    let mut field = |code: u8, text: Option<&str>| {
        if let Some(text) = text {
            out.push(code);
            varint::put_bytes(out, text.as_bytes());
        }
    };
    field(ID, Some(event.id()));
    field(SOURCE, Some(event.source()));
    field(TYPE, Some(event.kind()));
    field(SUBJECT, event.subject());
    field(TIME, event.time_text());
    field(DATA_CONTENT_TYPE, event.data_content_type());
    field(DATA_SCHEMA, event.data_schema());
    for (name, value) in event.attributes() {
        // Made again from the payload, so that no text can claim to be one.
        if event.payload().is_none() || name != DATAREF {
            encode_attribute(out, name, value);
        }
    }
    let (code, bytes) = match event.data() {
        Data::None => return,
        Data::Json(text) => (DATA_JSON, text.as_bytes()),
        Data::Text(text) => (DATA_TEXT, text.as_bytes()),
        Data::Binary(bytes) => (DATA_BINARY, bytes.as_ref()),
        Data::Payload(payload) => {
            out.push(DATA_PAYLOAD);
            return encode_payload(out, payload);
        }
    };
    out.push(code);
    varint::put_bytes(out, bytes);
}

fn encode_payload(out: &mut Vec<u8>, payload: &Payload) {
    let mut bytes = Vec::with_capacity(48);
    bytes.push(match payload.form {
        PayloadForm::Json => DATA_JSON,
        PayloadForm::Text => DATA_TEXT,
        PayloadForm::Binary => DATA_BINARY,
    });
    varint::put(&mut bytes, payload.bytes);
    bytes.extend_from_slice(&payload.hash);
    varint::put_bytes(out, &bytes);
}

fn decode_payload(bytes: &[u8]) -> Option<Payload> {
    let mut reader = Reader::new(bytes);
    let form = match reader.byte()? {
        DATA_JSON => PayloadForm::Json,
        DATA_TEXT => PayloadForm::Text,
        DATA_BINARY => PayloadForm::Binary,
        _ => return None,
    };
    let bytes = reader.varint()?;
    Some(Payload { form, bytes, hash: reader.rest().try_into().ok()? })
}

fn encode_attribute(out: &mut Vec<u8>, name: &str, value: &Value<'_>) {
    if let (Some(at), Value::Text(text)) = (NAMED.iter().position(|n| *n == name), value) {
        out.push(8 + at as u8);
        varint::put_bytes(out, text.as_bytes());
        return;
    }
    out.push(OTHER);
    varint::put_bytes(out, name.as_bytes());
    match value {
        Value::Text(text) => {
            out.push(0);
            varint::put_bytes(out, text.as_bytes());
        }
        Value::Integer(number) => {
            out.push(1);
            varint::put(out, ((number << 1) ^ (number >> 31)) as u32 as u64);
        }
        Value::Boolean(flag) => out.push(2 + u8::from(*flag)),
    }
}

/// Reads the body of the event at a position of a log.
///
/// # Errors
/// [`Fault::Damaged`]: its checksum fitted, so it was written by something that is not this program, or by a bug.
pub fn decode_at<'a>(bytes: &'a [u8], position: u64, log: &dyn Log) -> Result<Event<'a>, Fault> {
    decode(bytes).ok_or_else(|| Fault::Damaged {
        path: log.name(),
        offset: 0,
        detail: format!("the event at position {position} has a checksum that fits and cannot be decoded"),
    })
}

/// Reads a body; nothing if the bytes are none.
pub fn decode(bytes: &[u8]) -> Option<Event<'_>> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != FORMAT {
        return None;
    }
    let (mut id, mut source, mut kind) = ("", "", "");
    let mut builder: Option<quipu_domain::EventBuilder<'_>> = None;
    let mut payload = None;
    while let Some(code) = reader.byte() {
        match code {
            // They come first: what the others were put to would be another event's.
            ID | SOURCE | TYPE if builder.is_some() => return None,
            ID => id = reader.text()?,
            SOURCE => source = reader.text()?,
            TYPE => kind = reader.text()?,
            DATA_PAYLOAD => payload = Some(decode_payload(reader.bytes()?)?),
            _ => {
                let b = builder.take().unwrap_or_else(|| Event::builder(id, source, kind));
                builder = Some(decode_field(b, code, &mut reader)?);
            }
        }
    }
    if id.is_empty() {
        return None;
    }
    let event = builder.unwrap_or_else(|| Event::builder(id, source, kind)).build_trusted();
    Some(match payload {
        Some(payload) => event.with_payload(payload),
        None => event,
    })
}

fn decode_field<'a>(
    builder: quipu_domain::EventBuilder<'a>,
    code: u8,
    reader: &mut Reader<'a>,
) -> Option<quipu_domain::EventBuilder<'a>> {
    Some(match code {
        SUBJECT => builder.subject(reader.text()?),
        TIME => builder.time(reader.text()?),
        DATA_CONTENT_TYPE => builder.data_content_type(reader.text()?),
        DATA_SCHEMA => builder.data_schema(reader.text()?),
        OTHER => {
            let name = reader.text()?;
            builder.attribute(name, decode_value(reader)?)
        }
        DATA_JSON => builder.data(Data::Json(Cow::Borrowed(reader.text()?))),
        DATA_TEXT => builder.data(Data::Text(Cow::Borrowed(reader.text()?))),
        DATA_BINARY => builder.data(Data::Binary(Cow::Borrowed(reader.bytes()?))),
        named => {
            let name = *NAMED.get(usize::from(named.checked_sub(8)?))?;
            builder.attribute(name, Value::Text(Cow::Borrowed(reader.text()?)))
        }
    })
}

fn decode_value<'a>(reader: &mut Reader<'a>) -> Option<Value<'a>> {
    Some(match reader.byte()? {
        0 => Value::Text(Cow::Borrowed(reader.text()?)),
        1 => {
            let zigzag = u32::try_from(reader.varint()?).ok()?;
            Value::Integer((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32))
        }
        2 => Value::Boolean(false),
        3 => Value::Boolean(true),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_event_with_everything_is_read_back() {
        let event = Event::builder("1", "/s", "order.placed.v1")
            .subject("order/1")
            .time("2026-01-01T00:00:00Z")
            .data_content_type("application/json")
            .data_schema("/schemas/1")
            .correlation_id("c")
            .tag("a:1")
            .attribute("custom", Value::Text("x".into()))
            .attribute("least", Value::Integer(i32::MIN))
            .attribute("most", Value::Integer(i32::MAX))
            .attribute("on", Value::Boolean(true))
            .attribute("off", Value::Boolean(false))
            .attribute("priority", Value::Text("high".into()))
            .json("{\"a\":1}")
            .build()
            .unwrap();
        let mut out = Vec::new();
        encode(&mut out, &event);
        assert_eq!(decode(&out), Some(event));
    }

    #[test]
    fn an_event_with_a_payload_is_read_back_and_takes_the_room_of_a_reference() {
        for form in [PayloadForm::Json, PayloadForm::Text, PayloadForm::Binary] {
            let event = Event::builder("1", "/s", "t").data_content_type("x/y").tag("a:1").build().unwrap();
            let mut bare = Vec::new();
            encode(&mut bare, &event);
            let event = event.with_payload(Payload { hash: [7; 32], bytes: 1 << 40, form });
            let mut out = Vec::new();
            encode(&mut out, &event);
            assert_eq!(decode(&out), Some(event));
            assert_eq!(out.len(), bare.len() + 2 + 1 + 6 + 32);
            assert_eq!(decode(&out[..out.len() - 1]), None);
        }
    }

    /// Found by fuzzing: the event was read with an empty id.
    #[test]
    fn an_identity_behind_other_fields_is_no_body() {
        assert_eq!(decode(b"\x01\x09\x01c\x01\x011"), None);
        assert!(decode(b"\x01\x01\x011\x09\x01c").is_some());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_panic(mut bytes in any::<Vec<u8>>()) {
            decode(&bytes);
            bytes.insert(0, FORMAT);
            decode(&bytes);
        }
    }
}
