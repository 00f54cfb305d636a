//! A recorded event as JSON, read again: what `write_event` wrote with its stamp. For clients of a server; what
//! strangers publish is read by `parse_event`, which takes no word of the server's from them.

use std::borrow::Cow;

use crate::event::{clip, invalid};
use crate::json::{read_object_text, text, unchecked};
use crate::{Event, InvalidEvent, Stamp, Timestamp};

/// Reads an event and what the server added to it. The event's attributes are not held against their rules: that was
/// done before it was recorded, and the server's own events have names that others may not use.
///
/// ```
/// let text = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","position":7,
///     "recordedtime":"2026-01-31T09:30:00.000Z","data":{"total":9}}"#;
/// let (event, stamp) = quipu_domain::parse_recorded(text)?;
/// assert_eq!((event.kind(), stamp.position, stamp.stream_version), ("order.placed", 7, None));
/// # Ok::<(), quipu_domain::InvalidEvent>(())
/// ```
///
/// # Errors
/// [`InvalidEvent`] names what is missing or no JSON.
pub fn parse_recorded(json: &str) -> Result<(Event<'_>, Stamp), InvalidEvent> {
    let mut fields = read_object_text(json)?;
    let mut take = |name: &str| {
        let at = fields.iter().position(|(found, _)| found == name)?;
        Some(fields.swap_remove(at).1)
    };
    let (position, version, time) = (take("position"), take("streamversion"), take("recordedtime"));
    let position = position.ok_or(InvalidEvent::MissingAttribute { name: "position" })?;
    let time = text("recordedtime", time.ok_or(InvalidEvent::MissingAttribute { name: "recordedtime" })?)?;
    let stamp = Stamp {
        position: number("position", position)?,
        stream_version: version.map(|raw| number("streamversion", raw)).transpose()?,
        recorded_time: Timestamp::parse(&time)
            .ok_or_else(|| invalid("recordedtime", "an RFC 3339 time", clip(&time)))?,
    };
    // An event's attributes are sorted; whoever passed the text on may have put them elsewhere.
    fields.sort_by(|(a, _): &(Cow<'_, str>, _), (b, _)| a.cmp(b));
    Ok((unchecked(&fields)?.build_trusted(), stamp))
}

fn number(name: &str, raw: &str) -> Result<u64, InvalidEvent> {
    raw.parse().map_err(|_| invalid(name, "a number", clip(raw)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Value, write_event};

    #[test]
    fn what_is_written_with_its_stamp_is_read_again() {
        let all = Event::builder("1", "/s", "order.placed").subject("x").tag("a:1").tag("b:2");
        let all = all.attribute("zone", Value::Integer(-3)).attribute("flag", Value::Boolean(true));
        let own = Event::builder("1", "/quipu/deliveries", "quipu.delivery.failed").json("[1,2.50]");
        for (event, stream_version) in
            [(all.json(r#"{"q":"\""}"#).build().unwrap(), Some(4)), (own.build_trusted(), None)]
        {
            let stamp = Stamp { position: 9, stream_version, recorded_time: Timestamp(1_769_852_000_123) };
            let mut json = Vec::new();
            write_event(&mut json, &event, Some(&stamp));
            assert_eq!(parse_recorded(std::str::from_utf8(&json).unwrap()), Ok((event, stamp)));
        }
    }

    #[test]
    fn an_event_that_was_not_recorded_is_none() {
        for (stamp, missing) in [
            (r#""x":1"#, "position"),
            (r#""position":1"#, "recordedtime"),
            (r#""position":"1","recordedtime":"2026-01-31T09:30:00Z""#, "a number"),
            (r#""position":1,"recordedtime":"today""#, "RFC 3339"),
        ] {
            let json = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{stamp}}}"#);
            let error = parse_recorded(&json).expect_err(&json).to_string();
            assert!(error.contains(missing), "{json}: {error}");
        }
    }
}
