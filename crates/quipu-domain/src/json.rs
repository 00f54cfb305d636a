//! CloudEvents as JSON: one event read and written in the CloudEvents 1.0.2 JSON event format. Batches and lines are
//! the business of whoever holds the bytes; each event stands for itself.
//!
//! Values are kept as slices of the input until an attribute's rule asks for them, so an event costs one pass and
//! nearly no copies.

mod batch;
mod data;
mod object;
mod read;
mod write;

use crate::Timestamp;

pub use batch::{parse_batch, parse_events};
pub(crate) use read::unchecked;
pub use read::{Incoming, parse_event, parse_event_text};
pub use write::write_event;

pub(crate) use data::{check_depth, same_value};
pub(crate) use object::{Fields, malformed, read_object_text, text};

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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::Data;
    use crate::limits::JSON_DEPTH_MAX;

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
    fn brackets_beside_each_other_and_in_strings_are_no_levels() {
        let of = |data: &str| format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{data}}}"#);
        let siblings = vec![r#"{"a\"]}":["[[{{","\\",[]]}"#; JSON_DEPTH_MAX].join(",");
        assert!(parse_event(of(&format!("[{siblings}]")).as_bytes()).is_ok());
        let deep = format!("{}{}", "[".repeat(JSON_DEPTH_MAX), "]".repeat(JSON_DEPTH_MAX));
        assert!(parse_event(of(&format!("[{siblings},{deep}]")).as_bytes()).is_err());
        assert!(parse_event(of(&format!("[{siblings},{}]", &deep[1..deep.len() - 1])).as_bytes()).is_ok());
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
