//! The rules of an event's attributes. Whether data is JSON is for whoever parses it.
//!
//! Source: CloudEvents 1.0.2, "Context Attributes" and "Type System".

use super::payload::{DATAREF, is_reserved};
use super::{Event, InvalidEvent, Value, clip, invalid};
use crate::Timestamp;
use crate::limits::*;

pub(super) fn check(event: &Event<'_>) -> Result<(), InvalidEvent> {
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
            ("expirytime" | "deliverat", Value::Text(text)) => check_time(name, Some(text))?,
            (DATAREF, Value::Text(uri)) if is_reserved(uri) => {
                let expected =
                    "a URI of another scheme than quipu:, which names what the server keeps; send the data itself";
                return Err(InvalidEvent::ReservedAttribute { name: DATAREF.into(), expected });
            }
            (
                "tags" | "expirytime" | "deliverat" | "correlationid" | "causationid" | "userid" | "organizationid"
                | "tenantid",
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

/// Whether a character may not stand in an attribute: control characters and noncharacters.
pub fn is_forbidden_char(c: char) -> bool {
    c.is_control() || (c as u32) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c)
}

/// A string attribute must not be empty, over its limit, or hold control characters or noncharacters.
fn check_text(name: &str, text: &str, limit: usize) -> Result<(), InvalidEvent> {
    if text.is_empty() {
        return Err(invalid(name, "a string that is not empty", "an empty string"));
    }
    if text.len() > limit {
        return Err(invalid(name, format!("at most {limit} bytes"), &format!("{} bytes", text.len())));
    }
    // Printable ASCII, the usual case, is settled by a scan of bytes.
    if text.bytes().all(|c| (0x20..0x7F).contains(&c)) || !text.contains(is_forbidden_char) {
        return Ok(());
    }
    Err(invalid(name, "no control characters", &clip(text).escape_debug().to_string()))
}

fn check_no_space(name: &str, text: &str, expected: &str) -> Result<(), InvalidEvent> {
    if text.contains(char::is_whitespace) { Err(invalid(name, expected, clip(text))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::EventBuilder;
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
}
