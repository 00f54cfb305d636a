use super::super::{InvalidSchedule, Schedule};
use super::*;

const NOW: &str = "2026-01-01T12:00:00Z";

fn read(text: &str) -> Result<Schedule, String> {
    let schedule: Schedule = serde_json::from_str(text).map_err(|error| error.to_string())?;
    schedule.check(at(NOW)).map_err(|invalid| invalid.to_string())?;
    Ok(schedule)
}

/// A schedule with some members besides its name and its event.
fn with(members: &str) -> String {
    format!(r#"{{"schedule":"s",{members},"event":{{"type":"a.b"}}}}"#)
}

#[test]
fn what_is_read_is_written_again() {
    for text in [
        r#"{"schedule":"nightly","cron":"30 2 * * *","zone":"Europe/Berlin","event":{"type":"report.due","subject":"sales","data":{"n": 1.10}},"missed":"latest","paused":false}"#,
        r#"{"schedule":"poll","every":"15m","event":{"type":"poll.due","jq":"{at: .scheduledtime}"},"missed":"all","catchup":"2h","from":"2026-01-01T00:00:00Z","until":"2027-01-01T00:00:00+01:00","paused":true}"#,
    ] {
        assert_eq!(serde_json::to_string(&read(text).unwrap()).unwrap(), text);
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place() {
    let long = "x".repeat(20_000);
    let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
    for (text, sentence) in [
        (with(r#""missed":"all""#), "expected either cron or every, found none of them"),
        (with(r#""cron":"@daily","every":"1h""#), "expected either cron or every, found both"),
        (with(r#""cron":"@daily","every":"1h","zone":"UTC""#), "found both"),
        (with(r#""cron":"0 24 * * *""#), "/cron: hour: expected 0 to 23, found \"24\""),
        (
            with(r#""cron":"@daily","zone":"Europe/Berlyn""#),
            "/zone: expected a time zone of the IANA database such as Europe/Berlin, found \"Europe/Berlyn\"; is Europe/Berlin meant?",
        ),
        (with(r#""every":"1h","zone":"UTC""#), "/zone: expected none beside every"),
        (with(r#""every":"999ms""#), "/every: expected 1s to 3650d, found 999ms"),
        (with(r#""every":"0s""#), "/every: expected 1s to 3650d, found 0ms"),
        (with(r#""every":"11000d""#), "/every: expected 1s to 3650d, found 11000d"),
        (with(r#""every":"soon""#), "expected a whole number and a unit"),
        (with(r#""cron":"@daily","catchup":"59s""#), "/catchup: expected 1m to 31d, found 59s"),
        (with(r#""cron":"@daily","catchup":"32d""#), "/catchup: expected 1m to 31d, found 32d"),
        (
            with(r#""cron":"@daily","from":"tomorrow""#),
            "/from: expected a time such as 2026-01-01T00:00:00Z, found \"tomorrow\"",
        ),
        (with(r#""cron":"@daily","until":"2026""#), "/until: expected a time"),
        (
            with(r#""cron":"@daily","from":"2026-02-01T00:00:00Z","until":"2026-02-01T00:00:00Z""#),
            "/until: expected a time after from",
        ),
        (
            with(r#""cron":"@daily","until":"2026-01-02T00:00:00Z""#),
            "/until: expected a tick to come before it, found none",
        ),
        (with(r#""cron":"@daily","missed":"some""#), "unknown variant `some`"),
        (with(r#""cron":"@daily","seconds":5"#), "unknown field `seconds`"),
        (r#"{"schedule":"a b","cron":"@daily","event":{"type":"a.b"}}"#.into(), "/schedule: expected a name"),
        (r#"{"schedule":"s","cron":"@daily"}"#.into(), "missing field `event`"),
        (
            r#"{"schedule":"s","cron":"@daily","event":{"type":""}}"#.into(),
            "/event: expected type to be a string that is not empty",
        ),
        (
            r#"{"schedule":"s","cron":"@daily","event":{"type":"a.b","data":1,"jq":"2"}}"#.into(),
            "/event: expected either data or jq, found both",
        ),
        (r#"{"schedule":"s","cron":"@daily","event":{"type":"a.b","tags":"x:y"}}"#.into(), "unknown field `tags`"),
        (
            format!(r#"{{"schedule":"s","cron":"@daily","event":{{"type":"a.b","data":"{long}"}}}}"#),
            "/event/data: expected at most 16384 bytes, found 20002",
        ),
        (
            format!(r#"{{"schedule":"s","cron":"@daily","event":{{"type":"a.b","jq":"{long}"}}}}"#),
            "/event/jq: expected at most 4096 bytes, found 20000",
        ),
        (
            format!(r#"{{"schedule":"s","cron":"@daily","event":{{"type":"a.b","data":{deep}}}}}"#),
            "/event: expected data to be JSON of at most 100 levels",
        ),
    ] {
        let found = read(&text).unwrap_err();
        assert!(found.contains(sentence), "{text}: {found}");
    }
}

/// Opening a log must not fail because a schedule is over, or because a limit has become narrower.
#[test]
fn a_timetable_is_made_of_whatever_was_declared_once() {
    let over: Schedule = serde_json::from_str(&with(r#""every":"1ms","until":"2020-01-01T00:00:00Z""#)).unwrap();
    assert_eq!(over.check(at(NOW)), Err(InvalidSchedule::Over));
    assert_eq!(over.timetable(at(NOW)).unwrap().next_after(at(NOW)), None);
}

#[test]
fn a_rate_counts_from_where_it_begins() {
    let first = |text: &str| read(text).unwrap().timetable(at(NOW)).unwrap().next_after(at(NOW)).unwrap().to_string();
    assert_eq!(first(&with(r#""every":"15m""#)), "2026-01-01T12:15:00.000Z");
    assert_eq!(first(&with(r#""every":"15m","from":"2026-01-01T12:20:00Z""#)), "2026-01-01T12:20:00.000Z");
    assert_eq!(first(&with(r#""every":"15m","from":"2025-06-01T00:07:00+02:00""#)), "2026-01-01T12:07:00.000Z");
}

#[test]
fn the_event_of_a_tick_is_told_apart_by_it() {
    let schedule = read(r#"{"schedule":"nightly","cron":"30 2 * * *","zone":"Europe/Berlin","event":{"type":"report.due","subject":"sales","data":{"n": 1.10}}}"#).unwrap();
    let tick = at("2026-03-29T01:00:00Z");
    let event = schedule.event(tick, 0, None).unwrap();
    assert_eq!((event.id(), event.source()), ("nightly/2026-03-29T01:00:00.000Z", "/quipu/schedules/nightly"));
    assert_eq!((event.kind(), event.subject()), ("report.due", Some("sales")));
    assert_eq!((event.attribute("scheduledtime"), event.attributes().len()), (Some("2026-03-29T01:00:00.000Z"), 1));
    assert_eq!(event.data(), &crate::Data::Json(r#"{"n": 1.10}"#.into()));

    let made = schedule.event(tick, 3, Some("[1]")).unwrap();
    assert_eq!(made.data(), &crate::Data::Json("[1]".into()));
    let missed = made.attributes().iter().find(|(name, _)| name == "missedticks").unwrap();
    assert_eq!(missed.1, crate::Value::Integer(3));
    let facts = r#"{"missed":3,"schedule":"nightly","scheduledtime":"2026-03-29T01:00:00.000Z"}"#;
    assert_eq!(schedule.facts(tick, 3).to_string(), facts);
}

#[test]
fn a_schedule_goes_by_its_own_rules() {
    let schedule = read(&with(r#""every":"1h","missed":"skip","catchup":"2h""#)).unwrap();
    let timetable = schedule.timetable(at(NOW)).unwrap();
    let due = schedule.due(&timetable, at(NOW), at("2026-01-02T12:00:30Z"));
    assert_eq!((due.publish, due.dropped), (vec![at("2026-01-02T12:00:00Z")], 1));
}
