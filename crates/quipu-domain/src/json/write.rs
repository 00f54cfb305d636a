//! An event as one JSON object on one line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Stamp;
use crate::{Data, Event, Value};

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
        Data::None | Data::Payload(_) => {}
        Data::Json(text) => write_json_line(out, text),
        Data::Text(text) => write_field(out, "data", Some(text)),
        Data::Binary(bytes) => write_field(out, "data_base64", Some(&BASE64.encode(bytes))),
    }
    out.push(b'}');
}

/// JSON that a client sent over several lines goes out on one: raw line breaks can only stand between tokens.
fn write_json_line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b",\"data\":");
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
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
