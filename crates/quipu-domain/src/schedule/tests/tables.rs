use super::*;

/// Each row: an expression, and the ticks that follow a time, all in UTC; a tick of the same day is its time alone.
fn hold(name: &str, rows: &[(&str, &str, &[&str])]) {
    let zone = zone(name);
    for (text, after, expected) in rows {
        let cron = Cron::parse(text).unwrap();
        let found: Vec<_> = ticks(&cron, &zone, at(after)).take(expected.len()).collect();
        let expected: Vec<_> = expected.iter().map(|tick| at(&format!("{tick}:00Z"))).collect();
        assert_eq!(found, expected, "{text} in {name} after {after}: {}", found[0]);
    }
}

/// 02:00 to 03:00 on 29 March at 01:00 UTC, 03:00 to 02:00 on 25 October at 01:00 UTC.
#[test]
fn berlin() {
    hold(
        "Europe/Berlin",
        &[
            // Left out: made up for at once, however many there were.
            ("30 2 * * *", "2026-03-28T01:30:00Z", &["2026-03-29T01:00", "2026-03-30T00:30"]),
            ("0,30 2 * * *", "2026-03-28T12:00:00Z", &["2026-03-29T01:00", "2026-03-30T00:00", "2026-03-30T00:30"]),
            ("0 1-4 * * *", "2026-03-28T12:00:00Z", &["2026-03-29T00:00", "2026-03-29T01:00", "2026-03-29T02:00"]),
            ("59 1 * * *", "2026-03-29T00:00:00Z", &["2026-03-29T00:59", "2026-03-29T23:59"]),
            ("0 3 * * *", "2026-03-29T00:00:00Z", &["2026-03-29T01:00", "2026-03-30T01:00"]),
            // With a star or a step: a distance.
            ("*/30 * * * *", "2026-03-29T00:00:00Z", &["2026-03-29T00:30", "2026-03-29T01:00", "2026-03-29T01:30"]),
            ("0 */2 * * *", "2026-03-28T22:30:00Z", &["2026-03-28T23:00", "2026-03-29T02:00", "2026-03-29T04:00"]),
            ("0-59/30 2 * * *", "2026-03-28T12:00:00Z", &["2026-03-30T00:00", "2026-03-30T00:30"]),
            ("*/30 2 * * *", "2026-03-28T12:00:00Z", &["2026-03-30T00:00", "2026-03-30T00:30"]),
            // Twice: the first time.
            ("30 2 * * *", "2026-10-24T12:00:00Z", &["2026-10-25T00:30", "2026-10-26T01:30"]),
            ("0 1-4 * * *", "2026-10-24T22:30:00Z", &["2026-10-24T23:00", "2026-10-25T00:00", "2026-10-25T02:00"]),
            ("0 3 * * *", "2026-10-24T12:00:00Z", &["2026-10-25T02:00", "2026-10-26T02:00"]),
            // Asked while the hour is there the second time.
            ("45 2 * * *", "2026-10-25T01:10:00Z", &["2026-10-26T01:45"]),
            ("30 3 * * *", "2026-10-25T01:10:00Z", &["2026-10-25T02:30"]),
            // With a star or a step: both times.
            ("30 * * * *", "2026-10-24T23:30:00Z", &["2026-10-25T00:30", "2026-10-25T01:30", "2026-10-25T02:30"]),
            (
                "*/30 2 * * *",
                "2026-10-24T12:00:00Z",
                &["2026-10-25T00:00", "2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-26T01:00"],
            ),
        ],
    );
}

/// 02:00 to 03:00 on 8 March at 07:00 UTC, 02:00 to 01:00 on 1 November at 06:00 UTC.
#[test]
fn new_york() {
    hold(
        "America/New_York",
        &[
            ("30 2 * * *", "2026-03-07T12:00:00Z", &["2026-03-08T07:00", "2026-03-09T06:30"]),
            ("30 1 * * *", "2026-10-31T12:00:00Z", &["2026-11-01T05:30", "2026-11-02T06:30"]),
            ("30 1 * * 0", "2026-11-01T05:30:00Z", &["2026-11-08T06:30"]),
            ("0 9 * * mon-fri", "2026-03-06T12:00:00Z", &["2026-03-06T14:00", "2026-03-09T13:00"]),
        ],
    );
}

/// Half an hour: 02:00 to 01:30 on 5 April at 15:00 UTC of the day before, 02:00 to 02:30 on 4 October at 15:30 UTC.
#[test]
fn lord_howe() {
    hold(
        "Australia/Lord_Howe",
        &[
            ("45 1 * * *", "2026-04-04T00:00:00Z", &["2026-04-04T14:45", "2026-04-05T15:15"]),
            (
                "*/15 * * * *",
                "2026-04-04T14:30:00Z",
                &["2026-04-04T14:45", "2026-04-04T15:00", "2026-04-04T15:15", "2026-04-04T15:30"],
            ),
            ("15 2 * * *", "2026-10-03T00:00:00Z", &["2026-10-03T15:30", "2026-10-04T15:15"]),
            ("30 2 * * *", "2026-10-03T00:00:00Z", &["2026-10-03T15:30", "2026-10-04T15:30"]),
            ("*/15 * * * *", "2026-10-03T15:00:00Z", &["2026-10-03T15:15", "2026-10-03T15:30", "2026-10-03T15:45"]),
        ],
    );
}

/// 30 December 2011 was left out, at 10:00 UTC.
#[test]
fn apia() {
    hold(
        "Pacific/Apia",
        &[
            ("0 12 * * *", "2011-12-29T00:00:00Z", &["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"]),
            ("0 12 30 12 *", "2011-12-29T00:00:00Z", &["2011-12-30T10:00", "2012-12-29T22:00"]),
            ("0 */6 * * *", "2011-12-29T22:00:00Z", &["2011-12-30T04:00", "2011-12-30T10:00", "2011-12-30T16:00"]),
        ],
    );
}

/// Where midnight is left out: 00:00 to 01:00 on 24 April at 22:00 UTC of the day before.
#[test]
fn cairo() {
    hold("Africa/Cairo", &[("@daily", "2026-04-22T22:00:00Z", &["2026-04-23T22:00", "2026-04-24T21:00"])]);
}

#[test]
fn days() {
    hold(
        "UTC",
        &[
            ("0 0 29 2 *", "2025-01-01T00:00:00Z", &["2028-02-29T00:00", "2032-02-29T00:00"]),
            ("0 0 29 2 *", "2096-02-29T00:00:00Z", &["2104-02-29T00:00"]),
            // A Monday that is the first of February.
            ("0 0 */30 2 mon", "2027-01-01T00:00:00Z", &["2027-02-01T00:00", "2038-02-01T00:00"]),
            ("0 0 */30 2 mon", "2094-01-01T00:00:00Z", &["2094-02-01T00:00", "2100-02-01T00:00"]),
            ("0 0 L * *", "2026-01-30T00:00:00Z", &["2026-01-31T00:00", "2026-02-28T00:00", "2026-03-31T00:00"]),
            ("0 0 L 2 *", "2027-02-27T00:00:00Z", &["2027-02-28T00:00", "2028-02-29T00:00"]),
            ("0 0 1,L 2 *", "2027-02-27T00:00:00Z", &["2027-02-28T00:00", "2028-02-01T00:00"]),
            ("0 0 31 * *", "2026-01-31T00:00:00Z", &["2026-03-31T00:00", "2026-05-31T00:00"]),
            // Either of both fields, unless one has a star.
            ("0 12 13 * fri", "2026-11-01T00:00:00Z", &["2026-11-06T12:00", "2026-11-13T12:00", "2026-11-20T12:00"]),
            ("0 12 */2 * mon", "2026-11-01T00:00:00Z", &["2026-11-09T12:00", "2026-11-23T12:00", "2026-12-07T12:00"]),
            ("0 12 * * sat-sun", "2026-11-01T12:00:00Z", &["2026-11-07T12:00", "2026-11-08T12:00"]),
            ("0 12 * * 5-7", "2026-11-01T12:00:00Z", &["2026-11-06T12:00", "2026-11-07T12:00", "2026-11-08T12:00"]),
            ("@yearly", "2026-01-01T00:00:00Z", &["2027-01-01T00:00"]),
            ("@Weekly", "2026-11-01T00:00:00Z", &["2026-11-08T00:00"]),
            (
                " 5-59/15\t0-3,22  * JAN,dec  * ",
                "2026-12-31T22:20:00Z",
                &["2026-12-31T22:35", "2026-12-31T22:50", "2027-01-01T00:05"],
            ),
        ],
    );
    hold("Asia/Kathmandu", &[("0 0 * * *", "2026-01-01T00:00:00Z", &["2026-01-01T18:15"])]);
}

#[test]
fn a_part_of_a_minute_is_after_the_tick() {
    let (cron, utc) = (Cron::parse("* * * * *").unwrap(), Zone::utc());
    for (after, next) in [
        ("2026-01-01T00:00:59.999999Z", "2026-01-01T00:01:00Z"),
        ("2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"),
        ("1969-12-31T23:58:59.5Z", "1969-12-31T23:59:00Z"),
    ] {
        assert_eq!(cron.next_after(&utc, at(after)), Some(at(next)));
    }
    assert_eq!(cron.next_after(&utc, Timestamp(i64::MAX)), None);
    assert_eq!(cron.next_after(&utc, Timestamp(i64::MIN)), None);
    assert_eq!(cron.next_after(&zone("Europe/Berlin"), at("9999-12-30T22:00:00Z")), None);
}

#[test]
fn what_is_no_expression_is_refused_with_a_sentence() {
    for (text, sentence) in [
        ("", "expected five fields (minute, hour, day of month, month, day of week), found 0"),
        ("0 0 * * * *", "found 6; there are no seconds"),
        ("@reboot", "expected one of @yearly"),
        ("60 * * * *", "minute: expected 0 to 59, found \"60\""),
        ("* 24 * * *", "hour: expected 0 to 23, found \"24\""),
        ("* * 0 * *", "day of month: expected 1 to 31, found \"0\""),
        ("* * * 13 *", "month: expected 1 to 12 or jan to dec, found \"13\""),
        ("* * * * 8", "day of week: expected 0 to 7 or sun to sat, found \"8\""),
        ("* * * * monday", "day of week: expected 0 to 7 or sun to sat, found \"monday\""),
        ("+5 * * * *", "minute: expected 0 to 59, found \"+5\""),
        ("-5 * * * *", "minute: expected 0 to 59, found \"\""),
        ("1,,2 * * * *", "minute: expected 0 to 59, found \"\""),
        ("1,2, * * * *", "minute: expected 0 to 59, found \"\""),
        ("5/15 * * * *", "minute: expected a range before a step, such as 5-59/5, found \"5/15\""),
        ("*/90 * * * *", "minute: expected a step of 1 to 59, the length of the range, found \"*/90\""),
        ("*/0 * * * *", "minute: expected a step of 1 to 59"),
        ("*/x * * * *", "minute: expected a step of 1 to 59"),
        ("*/5/5 * * * *", "minute: expected a step of 1 to 59"),
        ("0-30/40 * * * *", "minute: expected a step of 1 to 30"),
        ("* 22-2 * * *", "hour: expected a range that goes up; over the end it is two: 22-23,0-2, found \"22-2\""),
        ("* * * * fri-mon", "day of week: expected a range that goes up; over the end it is two: 5-7,0-1"),
        ("* * ? * *", "day of month: expected * for any value, found \"?\""),
        ("* * 15W * *", "day of month: expected no W"),
        ("* * LW * *", "day of month: expected no W"),
        ("* * * * MON#2", "day of week: expected no #"),
        ("* * * * 5L", "day of week: expected L, the last day of a month, as an item of its own in the day of month"),
        ("L * * * *", "minute: expected L"),
        ("0 0 30 2 *", "expected days that exist, found none"),
        ("0 0 31 4,6,9,11 *", "expected days that exist, found none"),
        (&"0,".repeat(400), "expected at most 512 bytes, found 800"),
    ] {
        let found = Cron::parse(text).unwrap_err().to_string();
        assert!(found.contains(sentence), "{text}: {found}");
    }
}
