//! The binary content mode: attributes in `ce-` headers, data in the body.
//!
//! Source of the rules: CloudEvents HTTP protocol binding 1.0.2, section 3.1: a header value is unquoted first, then
//! percent-decoded once, and must be UTF-8 then; `datacontenttype` is the header `Content-Type` and nothing else.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode;
use quipu_domain::{Data, Event, InvalidEvent, Value};

/// Reads the event of a request in binary mode.
///
/// # Errors
/// [`InvalidEvent`] names the attribute, what was expected and what was found.
pub fn read<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Result<Event<'a>, InvalidEvent> {
    match required(headers, "specversion")?.as_ref() {
        "1.0" => {}
        other => return Err(invalid("specversion", "1.0", other)),
    }
    let (id, source, kind) = (required(headers, "id")?, required(headers, "source")?, required(headers, "type")?);
    let mut builder = Event::builder(id, source, kind);
    let mut previous = "";
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        // The values of one name follow each other.
        if attribute == previous {
            return Err(InvalidEvent::DuplicateAttribute { name: attribute.to_owned() });
        }
        previous = attribute;
        if matches!(attribute, "id" | "source" | "type" | "specversion") {
            continue;
        }
        let value = decode(attribute, value.as_bytes())?;
        builder = match attribute {
            "subject" => builder.subject(value),
            "time" => builder.time(value),
            "dataschema" => builder.data_schema(value),
            "datacontenttype" => {
                let expected = "the header Content-Type, without a ce- header for it";
                return Err(invalid(attribute, expected, &value));
            }
            _ => builder.attribute(attribute, Value::Text(value)),
        };
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if let Some(content_type) = content_type {
        builder = builder.data_content_type(content_type);
    }
    builder.data(Data::from_body(content_type, body)?).build()
}

fn required<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Cow<'a, str>, InvalidEvent> {
    match headers.get(format!("ce-{name}")) {
        Some(value) => decode(name, value.as_bytes()),
        None => Err(InvalidEvent::MissingAttribute { name }),
    }
}

fn decode<'a>(name: &str, raw: &'a [u8]) -> Result<Cow<'a, str>, InvalidEvent> {
    let raw = unquote(raw);
    // Nearly every value is plain.
    if let Cow::Borrowed(bytes) = raw
        && !bytes.contains(&b'%')
        && let Ok(text) = std::str::from_utf8(bytes)
    {
        return Ok(Cow::Borrowed(text));
    }
    let decoded: Vec<u8> = percent_decode(&raw).collect();
    match String::from_utf8(decoded) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(error) => {
            let found = String::from_utf8_lossy(error.as_bytes()).chars().take(80).collect::<String>();
            Err(invalid(name, "percent-encoded UTF-8", &found))
        }
    }
}

/// The content of a quoted string (RFC 7230, 3.2.6), with its backslashes resolved; anything else as it is.
fn unquote(raw: &[u8]) -> Cow<'_, [u8]> {
    let inner = match raw {
        [b'"', inner @ .., b'"'] => inner,
        _ => return Cow::Borrowed(raw),
    };
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        plain.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    Cow::Owned(plain)
}

fn invalid(name: &str, expected: &str, found: &str) -> InvalidEvent {
    InvalidEvent::InvalidAttribute { name: name.to_owned(), expected: expected.to_owned(), found: found.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(more: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t")] {
            if !more.iter().any(|(n, v)| *n == name && v.is_empty()) {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
        }
        for (name, value) in more.iter().filter(|(_, value)| !value.is_empty()) {
            map.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn values_are_unquoted_and_decoded_once() {
        for (raw, subject) in [
            ("plain", "plain"),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("100%2525", "100%25"),
            (r#""quoted \"text\"""#, r#"quoted "text""#),
            (r#""a%20b""#, "a b"),
            ("grün", "grün"),
        ] {
            let headers = headers(&[("ce-subject", raw)]);
            assert_eq!(read(&headers, b"").unwrap().subject(), Some(subject), "{raw}");
        }
    }

    #[test]
    fn what_the_binding_forbids_is_refused() {
        for (more, part) in [
            (vec![("ce-subject", "%C0%A0")], "UTF-8"),
            (vec![("ce-id", "2")], "twice"),
            (vec![("ce-userid", "a"), ("ce-userid", "b")], "twice"),
            (vec![("ce-datacontenttype", "text/plain")], "Content-Type"),
            (vec![("ce-id", "")], "id"),
            (vec![("ce-specversion", "")], "specversion"),
            (vec![("ce-position", "1")], "reserved"),
            (vec![("ce-user-id", "1")], "lower-case"),
        ] {
            let error = read(&headers(&more), b"").expect_err(part).to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn the_body_is_the_data_of_the_content_type() {
        let headers = headers(&[("content-type", "text/plain")]);
        let event = read(&headers, b"hi").unwrap();
        assert_eq!((event.data_content_type(), event.data()), (Some("text/plain"), &Data::Text("hi".into())));
    }
}
