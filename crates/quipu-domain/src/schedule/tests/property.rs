use std::collections::BTreeSet;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Pacific/Chatham",
];
/// Where a day was left out, one came nearly twice, or a clock was 44 minutes and 30 seconds behind; each with a time shortly before.
const ODD_CHANGES: [(&str, &str); 5] = [
    ("Pacific/Apia", "2011-12-30T09:00:00Z"),
    ("Pacific/Kwajalein", "1993-08-21T11:00:00Z"),
    ("Pacific/Kwajalein", "1969-09-30T12:00:00Z"),
    ("Africa/Monrovia", "1972-01-07T00:00:00Z"),
    ("Asia/Pyongyang", "2018-05-04T14:00:00Z"),
];

/// The items of a field.
fn items(first: u8, last: u8) -> impl Strategy<Value = String> {
    let number = first..=last;
    let range = (number.clone(), number.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let stepped = (number.clone(), number.clone(), 1u8..=20)
        .prop_filter("a step fits into its range", |(a, b, step)| a.abs_diff(*b) >= *step)
        .prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b)));
    let item = prop_oneof![3 => number.prop_map(|n| n.to_string()), 1 => range, 1 => stepped];
    prop::collection::vec(item, 1..4).prop_map(|items| items.join(","))
}

fn star_or(field: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop_oneof![Just("*".to_owned()), field]
}

fn stepped_star(most: u8) -> impl Strategy<Value = String> {
    (1..=most).prop_map(|step| format!("*/{step}"))
}

fn day() -> impl Strategy<Value = String> {
    prop_oneof![4 => star_or(items(1, 31)), 1 => Just("L".to_owned()), 1 => Just("1,15,L".to_owned())]
}

/// Anything that an expression can be.
fn expression() -> impl Strategy<Value = String> {
    let minute = prop_oneof![3 => items(0, 59), 1 => Just("*".to_owned()), 1 => stepped_star(59)];
    let hour = prop_oneof![3 => items(0, 23), 1 => Just("*".to_owned()), 1 => stepped_star(23)];
    let (day, weekday) = (prop_oneof![5 => day(), 1 => stepped_star(30)], star_or(items(0, 7)));
    (minute, hour, day, star_or(items(1, 12)), weekday)
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
        .prop_filter("a day is such", |text| Cron::parse(text).is_ok())
}

/// Expressions of which the other implementation says the same: it takes a list of hours for a distance, and a stepped star of days
/// for a choice of days.
fn expression_of_both() -> impl Strategy<Value = String> {
    let minute =
        prop_oneof![3 => (0u8..60).prop_map(|n| n.to_string()), 1 => Just("*".to_owned()), 1 => stepped_star(59)];
    let hour =
        prop_oneof![3 => (0u8..24).prop_map(|n| n.to_string()), 1 => Just("*".to_owned()), 1 => stepped_star(23)];
    (minute, hour, day(), star_or(items(1, 12)), star_or(items(0, 7)))
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
        .prop_filter("a day is such", |text| Cron::parse(text).is_ok())
}

/// From 1970 to 2069, in seconds.
fn moment() -> impl Strategy<Value = jiff::Timestamp> {
    (0i64..100 * 365 * 86_400).prop_map(|second| jiff::Timestamp::from_second(second).unwrap())
}

/// Near a change of a zone's clock.
fn moment_of_change() -> impl Strategy<Value = (&'static str, jiff::Timestamp)> {
    (select(&ZONES[..]), moment(), -200_000i64..100_000).prop_map(|(name, around, off)| {
        let change = zone(name).0.following(around).next().map_or(around, |change| change.timestamp());
        (name, change + SignedDuration::from_secs(off))
    })
}

fn moment_of_odd_change() -> impl Strategy<Value = (&'static str, jiff::Timestamp)> {
    (select(&ODD_CHANGES[..]), -200_000i64..100_000).prop_map(|((name, shortly_before), off)| {
        let before: jiff::Timestamp = shortly_before.parse().unwrap();
        let change = zone(name).0.following(before).next().unwrap().timestamp();
        assert!(change.duration_since(before) <= SignedDuration::from_hours(2), "{name} {change}");
        (name, change + SignedDuration::from_secs(off))
    })
}

fn ours(moment: jiff::Timestamp) -> Timestamp {
    Timestamp(moment.as_microsecond())
}

/// The ticks in four days after a moment, step by step, by the sentences of the documentation.
fn naive(cron: &Cron, zone: &TimeZone, after: jiff::Timestamp) -> Vec<Timestamp> {
    let fits = |wall: DateTime| {
        let (date, has) = (wall.date(), |bits: u64, value: i8| bits & (1 << value) != 0);
        let of_month = has(cron.days, date.day()) || (cron.last_day && date == date.last_of_month());
        let of_week = has(cron.weekdays, date.weekday().to_sunday_zero_offset());
        let has_day = if cron.either_day { of_month || of_week } else { of_month && of_week };
        wall.second() == 0
            && has_day
            && has(cron.months, date.month())
            && has(cron.hours, wall.hour())
            && has(cron.minutes, wall.minute())
    };
    // No clock shows a full minute or is changed in between.
    let (step, day) = (SignedDuration::from_secs(30), SignedDuration::from_hours(24));
    // From two days before, to know which times of the day have been there already.
    let mut moment = jiff::Timestamp::from_second(after.as_second() / 30 * 30).unwrap() - day * 2;
    let (mut shown, mut before, mut ticks) = (BTreeSet::new(), zone.to_datetime(moment - step), Vec::new());
    while moment <= after + day * 4 {
        let wall = zone.to_datetime(moment);
        let is_new = shown.insert(wall);
        let mut left_out = before + step;
        let mut made_up_for = false;
        while cron.is_fixed && left_out < wall {
            made_up_for |= fits(left_out);
            left_out += step;
        }
        if moment > after && ((fits(wall) && (is_new || !cron.is_fixed)) || made_up_for) {
            ticks.push(ours(moment));
        }
        (before, moment) = (wall, moment + step);
    }
    ticks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn ticks_are_those_of_croner(
        text in expression_of_both(),
        (name, after) in prop_oneof![1 => (select(&ZONES[..]), moment()), 2 => moment_of_change()],
    ) {
        let (cron, zone, theirs) = (Cron::parse(&text).unwrap(), zone(name), croner::Cron::from_str(&text).unwrap());
        let mut from = after.to_zoned(zone.0.clone());
        for tick in ticks(&cron, &zone, ours(after)).take(5) {
            from = theirs.find_next_occurrence(&from, false).unwrap();
            prop_assert_eq!(tick, ours(from.timestamp()), "{} in {} after {}", text, name, after);
        }
    }

    #[test]
    fn without_a_zone_all_expressions_are_read_as_croner_reads_them(text in expression(), after in moment()) {
        let fields: Vec<&str> = text.split(' ').collect();
        prop_assume!(!(fields[2].starts_with("*/") && fields[4] != "*"));
        let (cron, theirs) = (Cron::parse(&text).unwrap(), croner::Cron::from_str(&text).unwrap());
        let mut from = after.to_zoned(TimeZone::UTC);
        for tick in ticks(&cron, &Zone::utc(), ours(after)).take(5) {
            from = theirs.find_next_occurrence(&from, false).unwrap();
            prop_assert_eq!(tick, ours(from.timestamp()), "{} after {}", text, after);
        }
    }

    #[test]
    fn ticks_come_one_after_the_other(text in expression(), (name, after) in moment_of_change()) {
        let (cron, zone) = (Cron::parse(&text).unwrap(), zone(name));
        let all: Vec<_> = ticks(&cron, &zone, ours(after)).take(50).collect();
        prop_assert!(all[0] > ours(after) && all.is_sorted_by(|a, b| a < b));
        // Asked at any time between two, the later one is next.
        for two in all.windows(2) {
            prop_assert_eq!(cron.next_after(&zone, Timestamp(two[1].0 - 1)), Some(two[1]));
            prop_assert_eq!(cron.next_after(&zone, Timestamp(two[0].0.midpoint(two[1].0))), Some(two[1]));
        }
    }

    #[test]
    fn a_text_of_any_kind_is_read_or_refused_in_few_words(text in "[0-9*/,L?#W@a-z -]{0,40}|.{0,600}") {
        if let Err(invalid) = Cron::parse(&text) {
            prop_assert!(invalid.to_string().len() < 600);
        }
    }
}

proptest! {
    // Each looks at 17,000 moments.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_tick_is_lost_or_added_where_a_clock_changes(text in expression(), (name, after) in moment_of_change()) {
        let (cron, zone) = (Cron::parse(&text).unwrap(), zone(name));
        let end = ours(after + SignedDuration::from_hours(96));
        let found: Vec<_> = ticks(&cron, &zone, ours(after)).take_while(|tick| *tick <= end).collect();
        prop_assert_eq!(found, naive(&cron, &zone.0, after), "{} in {} after {}", text, name, after);
    }

    #[test]
    fn nor_where_a_clock_changes_by_a_day_or_by_seconds(text in expression(), (name, after) in moment_of_odd_change()) {
        let (cron, zone) = (Cron::parse(&text).unwrap(), zone(name));
        let end = ours(after + SignedDuration::from_hours(96));
        let found: Vec<_> = ticks(&cron, &zone, ours(after)).take_while(|tick| *tick <= end).collect();
        prop_assert_eq!(found, naive(&cron, &zone.0, after), "{} in {} after {}", text, name, after);
    }
}
