//! Properties: whatever the patterns and the events, a set says of each pattern what the naive matcher says, also while
//! patterns come and go. The generators draw from few names and values, so that much of it hits.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{naive, workload};
use crate::pattern::tree::Tree;
use crate::pattern::{Pattern, PatternSet, Scratch};
use crate::{Data, Event, Stamp, Timestamp, parse_event, write_event};

/// Names that are few, nest, hold dots, are aliases, or sort around the dot.
fn name() -> impl Strategy<Value = String> {
    let names = ["a", "b", "c", "a.b", "a-b", "", "detail", "detail-type", "data", "type", "specversion", "é"];
    prop_oneof![6 => prop::sample::select(names[..3].to_vec()), 2 => prop::sample::select(names.to_vec())]
        .prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    let texts = [
        "",
        "a",
        "b",
        "ab",
        "abc",
        "abcb",
        "ABC",
        "aBcAbc",
        "*",
        "a*b",
        "\\",
        "ß",
        "SS",
        "éa",
        "É",
        "\u{212A}",
        "k",
        "x.y",
        "\"q\"",
        "10.0.0.1",
        "10.0.0.2",
        "10.1.0.1",
        "::1",
        "0:0:0:0:0:0:0:1",
        "::ffff:10.0.0.1",
        "300",
        "null",
        "longer than sixteen bytes",
        "longer than sixteen bytes, ending otherwise",
        "1.0",
    ];
    prop_oneof![8 => prop::sample::select(texts.to_vec()).prop_map(str::to_owned), 1 => "[abß*\\\\]{0,6}"]
}

fn number() -> impl Strategy<Value = String> {
    let literals = [
        "0",
        "-0",
        "0.0",
        "1",
        "1.0",
        "10e-1",
        "-1",
        "2",
        "2.5",
        "25e-1",
        "300",
        "3e2",
        "1e400",
        "10e399",
        "9007199254740992",
        "9007199254740993",
        "0.1",
        "0.10",
        "1e-400",
        "5e-324",
    ];
    prop::sample::select(literals.to_vec()).prop_map(str::to_owned)
}

/// A number that `numeric` takes, by its rank.
fn bound() -> impl Strategy<Value = (usize, &'static str)> {
    prop::sample::select(vec![
        (0, "-1"),
        (1, "0"),
        (2, "0.1"),
        (3, "1"),
        (4, "2.5"),
        (5, "3e2"),
        (6, "9007199254740992"),
    ])
}

/// A JSON text; serde_json's values would lose the text of numbers.
fn literal() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => text().prop_map(|text| json!(text).to_string()),
        3 => number(),
        1 => prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ]
}

fn list(element: impl Strategy<Value = String>, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(element, 1..=most).prop_map(|all| format!("[{}]", all.join(",")))
}

/// Names may repeat.
fn object(value: impl Strategy<Value = String>, least: usize, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec((name(), value), least..=most).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("{}:{value}", json!(name))).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn event() -> impl Strategy<Value = String> {
    let value = literal().boxed().prop_recursive(4, 24, 4, |inner| {
        let elements = prop::collection::vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(", ")));
        prop_oneof![2 => elements, 3 => object(inner, 0, 4)]
    });
    object(value, 0, 5)
}

fn operator() -> impl Strategy<Value = String> {
    let quoted = || text().prop_map(|text| json!(text).to_string());
    let wildcard =
        prop::collection::vec(prop::sample::select(vec!["a", "b", "bc", "ß", "\\*", "\\\\", "longer "]), 0..4)
            .prop_flat_map(|parts| (Just(parts), any::<bool>(), any::<bool>()))
            .prop_map(|(parts, front, back)| {
                let middle = parts.join("*");
                let back = back && !(middle.is_empty() && front);
                json!(format!("{}{middle}{}", if front { "*" } else { "" }, if back { "*" } else { "" })).to_string()
            })
            .boxed();
    let range = (bound(), bound(), 0..2usize, 0..2usize).prop_map(|((a, low), (b, high), open, wide)| match a < b {
        true => format!(r#"{{"numeric":["{}",{low},"{}",{high}]}}"#, [">", ">="][open], ["<", "<="][wide]),
        false => format!(r#"{{"numeric":["{}",{low}]}}"#, [">", ">=", "<", "<=", "="][open + 2 * wide]),
    });
    let networks = ["10.0.0.0/24", "10.0.0.0/8", "1.1.1.1/0", "::/0", "::1/127", "::ffff:0:0/96", "10.0.0.2/31"];
    let excluded = prop_oneof![
        list(quoted(), 3),
        list(number(), 3),
        quoted(),
        number(),
        list(quoted().prop_filter("not empty", |t| t != "\"\""), 2).prop_map(|all| format!(r#"{{"prefix":{all}}}"#)),
        list(quoted().prop_filter("not empty", |t| t != "\"\""), 2).prop_map(|all| format!(r#"{{"suffix":{all}}}"#)),
        list(quoted(), 2).prop_map(|all| format!(r#"{{"equals-ignore-case":{all}}}"#)),
        list(wildcard.clone(), 2).prop_map(|all| format!(r#"{{"wildcard":{all}}}"#)),
    ];
    prop_oneof![
        1 => quoted().prop_map(|text| format!(r#"{{"prefix":{text}}}"#)),
        1 => quoted().prop_map(|text| format!(r#"{{"suffix":{text}}}"#)),
        1 => quoted().prop_map(|text| format!(r#"{{"equals-ignore-case":{text}}}"#)),
        1 => quoted().prop_map(|text| format!(r#"{{"prefix":{{"equals-ignore-case":{text}}}}}"#)),
        1 => quoted().prop_map(|text| format!(r#"{{"suffix":{{"equals-ignore-case":{text}}}}}"#)),
        2 => wildcard.prop_map(|text| format!(r#"{{"wildcard":{text}}}"#)),
        2 => range,
        1 => prop::sample::select(networks.to_vec()).prop_map(|network| format!(r#"{{"cidr":"{network}"}}"#)),
        2 => any::<bool>().prop_map(|exists| format!(r#"{{"exists":{exists}}}"#)),
        2 => excluded.prop_map(|operand| format!(r#"{{"anything-but":{operand}}}"#)),
    ]
}

fn pattern() -> impl Strategy<Value = String> {
    let values = prop_oneof![4 => list(prop_oneof![literal(), operator()], 3), 1 => list(literal(), 12)].boxed();
    let fields = object(values, 1, 3).prop_recursive(3, 16, 3, |inner| {
        let or = prop::collection::vec(inner.clone(), 2..4).prop_map(|all| format!(r#"{{"$or":[{}]}}"#, all.join(",")));
        prop_oneof![object(inner.clone(), 1, 2), or, (inner.clone(), inner).prop_map(|(a, b)| joined(&a, &b))]
    });
    prop_oneof![3 => fields, 1 => Just(r#"{"a":[{"exists":false}]}"#.to_owned())]
}

/// The members of two objects in one.
fn joined(a: &str, b: &str) -> String {
    format!("{},{}", &a[..a.len() - 1], &b[1..])
}

fn found(set: &PatternSet<usize>, event: &[u8], scratch: &mut Scratch) -> Vec<usize> {
    let snapshot = set.snapshot();
    let mut found: Vec<usize> = snapshot.matches(event, scratch).copied().collect();
    found.sort_unstable();
    found
}

fn wanted(patterns: &BTreeMap<usize, Tree>, event: &str) -> Vec<usize> {
    let event = naive::Document::read(event);
    patterns.iter().filter(|(_, pattern)| event.is_matched_by(pattern)).map(|(key, _)| *key).collect()
}

/// Patterns as the naive matcher reads them.
fn read(patterns: &BTreeMap<usize, String>) -> BTreeMap<usize, Tree> {
    patterns.iter().map(|(key, text)| (*key, naive::read(text))).collect()
}

/// So many cases, or `PROPTEST_CASES` for a longer look.
fn cases(count: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { config } else { ProptestConfig { cases: count, ..config } }
}

fn set_of(patterns: &BTreeMap<usize, String>) -> PatternSet<usize> {
    patterns.iter().map(|(key, text)| (*key, Pattern::parse(text).unwrap())).collect()
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn a_set_says_what_the_naive_matcher_says(
        patterns in prop::collection::vec(pattern(), 1..60),
        events in prop::collection::vec(event(), 1..20),
    ) {
        let patterns: BTreeMap<usize, String> = patterns.into_iter().enumerate().collect();
        let (set, read, mut scratch) = (set_of(&patterns), read(&patterns), Scratch::default());
        for event in &events {
            prop_assert_eq!(found(&set, event.as_bytes(), &mut scratch), wanted(&read, event), "{}", event);
        }
    }

    #[test]
    fn one_pattern_says_and_explains_what_the_naive_matcher_says(pattern in pattern(), event in event()) {
        super::verdict(&pattern, &event);
    }

    #[test]
    fn an_event_matches_as_its_document_does(
        patterns in prop::collection::vec(envelope_pattern(), 1..30),
        event in envelope(),
        stamp in prop::option::of((1u64..20, prop::option::of(1u64..5))),
    ) {
        let stamp = stamp.map(|(position, stream_version)| {
            Stamp { position, stream_version, recorded_time: Timestamp(1_767_225_600_000_000) }
        });
        let patterns: BTreeMap<usize, String> = patterns.into_iter().enumerate().collect();
        let (set, mut scratch) = (set_of(&patterns), Scratch::default());
        let mut document = Vec::new();
        write_event(&mut document, &event, stamp.as_ref());
        let snapshot = set.snapshot();
        let mut of_event: Vec<usize> = snapshot.matches_event(&event, stamp.as_ref(), &mut scratch).copied().collect();
        of_event.sort_unstable();
        prop_assert_eq!(&of_event, &found(&set, &document, &mut scratch));
        prop_assert_eq!(&of_event, &wanted(&read(&patterns), std::str::from_utf8(&document).unwrap()));
        for (key, text) in &patterns {
            let pattern = Pattern::parse(text).unwrap();
            prop_assert_eq!(pattern.matches_event(&event, stamp.as_ref()), of_event.contains(key));
            let explained = pattern.explain_event(&event, stamp.as_ref());
            prop_assert_eq!(explained, pattern.explain(&document).unwrap());
        }
    }
}

proptest! {
    // Each case compiles some seventy sets.
    #![proptest_config(cases(40))]

    #[test]
    fn patterns_come_and_go_and_older_snapshots_stay(
        steps in prop::collection::vec((0usize..80, prop::option::weighted(0.7, pattern())), 1..150),
        events in prop::collection::vec(event(), 1..4),
    ) {
        let (mut set, mut model, mut scratch) = (PatternSet::new(), BTreeMap::new(), Scratch::default());
        let middle = steps.len() / 2;
        let mut kept = None;
        for (number, (key, text)) in steps.into_iter().enumerate() {
            match text {
                Some(text) => {
                    set.insert(key, Pattern::parse(&text).unwrap());
                    model.insert(key, text);
                }
                None => prop_assert_eq!(set.remove(&key), model.remove(&key).is_some()),
            }
            if number == middle {
                kept = Some((set.snapshot(), model.clone()));
            }
        }
        prop_assert_eq!((set.len(), set.snapshot().len()), (model.len(), model.len()));
        prop_assert!(model.iter().all(|(key, text)| set.get(key).is_some_and(|p| p.text() == text)));
        let (snapshot, older) = kept.expect("there is a middle");
        let (model, older) = (read(&model), read(&older));
        for event in &events {
            prop_assert_eq!(found(&set, event.as_bytes(), &mut scratch), wanted(&model, event), "{}", event);
            let mut then: Vec<usize> = snapshot.matches(event.as_bytes(), &mut scratch).copied().collect();
            then.sort_unstable();
            prop_assert_eq!(then, wanted(&older, event), "{}", event);
        }
    }
}

/// Events of every kind of data.
fn envelope() -> impl Strategy<Value = Event<'static>> {
    let data = prop_oneof![
        event().prop_map(|json| Data::Json(json.into())),
        literal().prop_map(|json| Data::Json(json.into())),
        text().prop_map(|text| Data::Text(text.into())),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| Data::Binary(bytes.into())),
        Just(Data::None),
    ];
    let attributes = (prop::option::of(Just("ab")), prop::option::of(-1..3i32), prop::option::of(any::<bool>()));
    (data, attributes).prop_map(|(data, (subject, number, flag))| {
        let mut builder = Event::builder("a", "ab", "order.placed").tag("a:b");
        builder = subject.into_iter().fold(builder, |builder, subject| builder.subject(subject));
        builder = number.into_iter().fold(builder, |builder, n| builder.attribute("b", crate::Value::Integer(n)));
        builder = flag.into_iter().fold(builder, |builder, f| builder.attribute("c", crate::Value::Boolean(f)));
        let media_type = match data {
            Data::Json(_) | Data::None => "application/json",
            Data::Text(_) => "text/plain",
            Data::Binary(_) | Data::Payload(_) => "image/png",
        };
        builder.data_content_type(media_type).data(data).build().unwrap()
    })
}

fn envelope_pattern() -> impl Strategy<Value = String> {
    let names = [
        "id",
        "source",
        "type",
        "detail-type",
        "subject",
        "time",
        "datacontenttype",
        "tags",
        "b",
        "c",
        "position",
        "streamversion",
        "recordedtime",
        "data_base64",
        "specversion",
        "data",
    ];
    let attribute = (prop::sample::select(names.to_vec()), list(prop_oneof![literal(), operator()], 2))
        .prop_map(|(name, values)| format!(r#"{{"{name}":{values}}}"#))
        .boxed();
    let below = (prop::sample::select(vec!["data", "detail"]), pattern())
        .prop_map(|(name, inner)| format!(r#"{{"{name}":{inner}}}"#))
        .boxed();
    prop_oneof![attribute.clone(), below.clone(), (attribute, below).prop_map(|(a, b)| joined(&a, &b))]
}

#[test]
fn sets_of_many_patterns_that_share_their_keys_say_what_the_naive_matcher_says() {
    let mut patterns = BTreeMap::new();
    for n in 0..600usize {
        let text = match n % 6 {
            0 => format!(r#"{{"a":["s"],"b":["t"],"c":["k{}"],"d":["v{}"]}}"#, n % 7, n % 11),
            1 => format!(r#"{{"a":["s"],"b":[{{"prefix":"t{}"}}],"c":["k{}"]}}"#, n % 3, n % 7),
            2 => format!(r#"{{"a":["s"],"n":[{{"numeric":[">=",{},"<",{}]}}]}}"#, n % 50, n % 50 + 2),
            3 => format!(r#"{{"a":["s"],"w":[{{"wildcard":"*x{}*y{}"}}]}}"#, n % 13, n % 5),
            4 => format!(r#"{{"a":["s"],"b":["t",{{"exists":false}}],"d":[{{"anything-but":"v{}"}}]}}"#, n % 3),
            _ => format!(
                r#"{{"a":["s","z{n}"],"d":[{{"suffix":"{}"}}],"i":{{"x":[{}],"y":[{}]}}}}"#,
                n % 10,
                n % 4,
                n % 5
            ),
        };
        patterns.insert(n, text);
    }
    let (set, patterns) = (set_of(&patterns), read(&patterns));
    let mut scratch = Scratch::default();
    for n in 0..60usize {
        let event = json!({
            "a": if n % 5 == 0 { json!(["s", "s", "z5"]) } else { json!("s") },
            "b": if n % 4 == 0 { json!("t") } else { json!(format!("t{}z", n % 4)) },
            "c": format!("k{}", n % 7), "d": format!("v{}", n % 11), "n": n, "w": format!("x{}x3-y{}", n % 13, n % 5),
            "i": [{"x": n % 4, "y": n % 3}, {"x": 1, "y": 2}, {"x": 3}],
        });
        let mut members = Map::new();
        event.as_object().unwrap().iter().filter(|(key, _)| n % 6 != 5 || *key != "b").for_each(|(key, value)| {
            members.insert(key.clone(), value.clone());
        });
        let event = Value::Object(members).to_string();
        assert_eq!(found(&set, event.as_bytes(), &mut scratch), wanted(&patterns, &event), "{event}");
    }
}

#[test]
fn the_sets_that_are_benchmarked_say_what_the_naive_matcher_says() {
    says_as_the_naive_matcher(&workload::small_events(), &workload::SMALL_KINDS, workload::small_pattern);
    says_as_the_naive_matcher(&workload::github_events(), &workload::GITHUB_KINDS, workload::github_pattern);
}

fn says_as_the_naive_matcher(events: &[String], kinds: &[&str], pattern: fn(&str, u64) -> String) {
    for kind in kinds {
        // Numbers far apart, so that each kind has some that match.
        let numbers = (0..40u64).chain((0..40).map(|n| n * 4_999));
        let patterns: BTreeMap<usize, String> = numbers.map(|n| pattern(kind, n)).enumerate().collect();
        let (set, patterns) = (set_of(&patterns), read(&patterns));
        let mut scratch = Scratch::default();
        for event in events.iter().step_by(events.len() / 10) {
            assert_eq!(found(&set, event.as_bytes(), &mut scratch), wanted(&patterns, event), "{kind} {event}");
        }
    }
}

#[test]
fn a_parsed_event_matches_as_what_it_was_parsed_from() {
    let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":[{"b":1.50}]},"n":7}"#;
    let event = parse_event(text.as_bytes()).unwrap().event;
    for (pattern, matches) in [
        (r#"{"detail":{"a":{"b":[1.5]}},"detail-type":["t"],"n":[7.0],"specversion":["1.0"]}"#, true),
        (r#"{"detail":{"a":{"b":[1.6]}}}"#, false),
        (r#"{"position":[{"exists":false}]}"#, true),
    ] {
        let pattern = Pattern::parse(pattern).unwrap();
        assert_eq!(pattern.matches_event(&event, None), matches, "{pattern}");
        assert_eq!(pattern.matches(text.as_bytes()).unwrap(), matches, "{pattern}");
    }
}
