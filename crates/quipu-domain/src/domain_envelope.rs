//! The older "domain event" envelope (`eventType`, `eventId`, `timestamp`, `version`, `metadata`, `data`), mapped to
//! CloudEvents. It is accepted, never written. What the mapping does not know is refused: it would be lost without a
//! word.
//!
//! | there | here |
//! |---|---|
//! | `eventId`, `eventType`, `timestamp`, `aggregateId`, `data` | `id`, `type`, `time`, `subject`, `data` |
//! | a textual `version` such as "2.0" | the schema version: `.v2` at the end of `type`, unless it names one |
//! | an integer `version` beside `aggregateId` | the stream version that the event claims |
//! | `metadata.{tenantId,userId,organizationId,correlationId,causationId}` | `tenantid`, `userid`, … |
//! | `source`, or else the first word of `eventType` | `source`, or else `/word` |

use std::borrow::Cow;

use crate::event::{clip, invalid};
use crate::json::{Fields, Incoming, read_object_text, text};
use crate::{Data, Event, InvalidEvent, Value, type_version};

/// The members that are mapped.
const MEMBERS: &[&str] = &["eventType", "eventId", "timestamp", "version", "aggregateId", "source", "metadata", "data"];
/// The members of `metadata`, and the attributes that they become.
const METADATA: &[(&str, &str)] = &[
    ("tenantId", "tenantid"),
    ("userId", "userid"),
    ("organizationId", "organizationid"),
    ("correlationId", "correlationid"),
    ("causationId", "causationid"),
];

/// Whether the object is a domain envelope rather than a CloudEvent.
pub(crate) fn is_one(fields: &Fields<'_>) -> bool {
    fields.iter().any(|(name, _)| name == "eventType") && !fields.iter().any(|(name, _)| name == "specversion")
}

pub(crate) fn read<'a>(fields: &Fields<'a>) -> Result<Incoming<'a>, InvalidEvent> {
    known(fields, "", MEMBERS)?;
    let id = text("eventId", required(fields, "eventId")?)?;
    let mut kind = text("eventType", required(fields, "eventType")?)?;
    let aggregate = optional(fields, "aggregateId")?.map(|raw| text("aggregateId", raw)).transpose()?;
    let mut stream_version = None;
    match optional(fields, "version")? {
        None => {}
        Some(raw) if raw.starts_with('"') => {
            let version = schema_version(&text("version", raw)?)?;
            if type_version(&kind).is_none() {
                kind = Cow::Owned(format!("{kind}.v{version}"));
            }
        }
        Some(raw) => {
            let version = raw.parse().ok().filter(|version| *version > 0);
            let Some(version) = version else {
                return Err(invalid("version", "a text such as \"2.0\" or a whole number from 1", clip(raw)));
            };
            if aggregate.is_none() {
                return Err(InvalidEvent::MissingAttribute { name: "aggregateId (for an integer version)" });
            }
            stream_version = Some(version);
        }
    }
    let source = match optional(fields, "source")? {
        Some(raw) => text("source", raw)?,
        None => Cow::Owned(format!("/{}", kind.split('.').next().unwrap_or_default())),
    };
    let mut builder = Event::builder(id, source, kind);
    if let Some(aggregate) = aggregate {
        builder = builder.subject(aggregate);
    }
    if let Some(raw) = optional(fields, "timestamp")? {
        builder = builder.time(text("timestamp", raw)?);
    }
    if let Some(raw) = optional(fields, "data")? {
        crate::json::check_depth(raw)?;
        builder = builder.data_content_type("application/json").data(Data::Json(Cow::Borrowed(raw)));
    }
    if let Some(raw) = optional(fields, "metadata")? {
        builder = read_metadata(builder, raw)?;
    }
    Ok(Incoming { event: builder.build()?, stream_version })
}

fn read_metadata<'a>(
    mut builder: crate::EventBuilder<'a>,
    raw: &'a str,
) -> Result<crate::EventBuilder<'a>, InvalidEvent> {
    let metadata = read_object_text(raw)?;
    let names: Vec<&str> = METADATA.iter().map(|(there, _)| *there).collect();
    known(&metadata, "metadata.", &names)?;
    for (there, here) in METADATA {
        if let Some(raw) = optional(&metadata, there)? {
            builder = builder.attribute(*here, Value::Text(text(there, raw)?));
        }
    }
    Ok(builder)
}

/// Refuses what the mapping has no place for. As elsewhere a member that is null is not there.
fn known(fields: &Fields<'_>, place: &str, names: &[&str]) -> Result<(), InvalidEvent> {
    match fields.iter().find(|(name, raw)| *raw != "null" && !names.contains(&name.as_ref())) {
        None => Ok(()),
        Some((name, raw)) => {
            let name = format!("{place}{}", clip(name));
            let names = names.join(", ");
            let expected = format!("absent, since this envelope has only {names} (a CloudEvent can carry more)");
            Err(invalid(&name, expected, clip(raw)))
        }
    }
}

/// The major number of "2", "2.0" or "v2.1".
fn schema_version(version: &str) -> Result<u32, InvalidEvent> {
    let digits = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    match digits.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(invalid("version", "a schema version such as \"2.0\"", clip(version))),
    }
}

fn required<'a>(fields: &Fields<'a>, name: &'static str) -> Result<&'a str, InvalidEvent> {
    optional(fields, name)?.ok_or(InvalidEvent::MissingAttribute { name })
}

fn optional<'a>(fields: &Fields<'a>, name: &'static str) -> Result<Option<&'a str>, InvalidEvent> {
    let mut values = fields.iter().filter(|(n, _)| n == name).map(|(_, raw)| *raw);
    let first = values.next().filter(|raw| *raw != "null");
    match values.next() {
        Some(_) => Err(InvalidEvent::DuplicateAttribute { name: name.to_owned() }),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use crate::parse_event;

    #[test]
    fn every_field_is_mapped() {
        let json = br#"{"eventType":"order.created","eventId":"e1","timestamp":"2026-01-01T00:00:00Z","version":"2.0",
            "aggregateId":"order/1","metadata":{"tenantId":"t","userId":"u","organizationId":"o","correlationId":"c","causationId":"k"},
            "data":{"total":1}}"#;
        let event = parse_event(json).unwrap().event;
        assert_eq!((event.id(), event.source(), event.kind()), ("e1", "/order", "order.created.v2"));
        assert_eq!((event.subject(), event.time_text()), (Some("order/1"), Some("2026-01-01T00:00:00Z")));
        let names = ["tenantid", "userid", "organizationid", "correlationid", "causationid"];
        assert_eq!(names.map(|name| event.attribute(name).unwrap()), ["t", "u", "o", "c", "k"]);
    }

    #[test]
    fn an_integer_version_is_the_stream_version() {
        let json = br#"{"eventType":"order.created","eventId":"e1","version":3,"aggregateId":"order/1"}"#;
        let incoming = parse_event(json).unwrap();
        assert_eq!((incoming.event.kind(), incoming.stream_version), ("order.created", Some(3)));
    }

    #[test]
    fn a_member_that_is_null_is_not_there() {
        let json = br#"{"eventType":"a.b","eventId":"1","aggregateType":null,"metadata":{"ip":null}}"#;
        assert_eq!(parse_event(json).unwrap().event.id(), "1");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (json, part) in [
            (r#"{"eventType":"a.b"}"#, "eventId"),
            (r#"{"eventType":"a.b","eventId":"1","version":"x"}"#, "version"),
            (r#"{"eventType":"a.b","eventId":"1","version":0,"aggregateId":"a"}"#, "version"),
            (r#"{"eventType":"a.b","eventId":"1","version":1}"#, "aggregateId"),
            (r#"{"eventType":"a.b","eventId":"1","eventId":"2"}"#, "twice"),
            (r#"{"eventType":"a.b","eventId":"1","metadata":3}"#, "object"),
            (r#"{"eventType":"a.b","eventId":"1","aggregateType":"order"}"#, "aggregateType"),
            (r#"{"eventType":"a.b","eventId":"1","metadata":{"userId":"u","ip":"::1"}}"#, "metadata.ip"),
            (r#"{"eventType":"a.b","eventId":"1","metadata":{"userid":"u"}}"#, "metadata.userid"),
        ] {
            let error = parse_event(json.as_bytes()).expect_err(json).to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
