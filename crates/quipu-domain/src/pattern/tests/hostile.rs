//! What a stranger may send: patterns up to and beyond each limit, events that are no JSON, and texts that made other
//! matchers slow.

use proptest::prelude::*;

use super::verdict;
use crate::limits::*;
use crate::pattern::{Explanation, Pattern, PatternSet, Scratch};
use crate::{Data, Event, InvalidEvent};

fn refused(text: &str, reason: &str) {
    let error = Pattern::parse(text).expect_err(reason).to_string();
    assert!(error.contains(reason), "{error}");
}

#[test]
fn every_limit_holds_at_its_edge() {
    let padded = |bytes: usize| format!("{{\"a\":[\"{}\"]}}", "x".repeat(bytes - 10));
    assert!(Pattern::parse(&padded(PATTERN_BYTES_MAX)).is_ok());
    refused(&padded(PATTERN_BYTES_MAX + 1), "bytes");

    // The list of values is a level, too.
    let nested = |levels: usize| format!("{}[1]{}", "{\"a\":".repeat(levels - 1), "}".repeat(levels - 1));
    assert!(Pattern::parse(&nested(JSON_DEPTH_MAX)).is_ok());
    refused(&nested(JSON_DEPTH_MAX + 1), "levels");
    refused(&"[".repeat(60_000), "JSON");
    refused(&nested(10_000), "levels");

    let values = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count].join(","));
    assert!(Pattern::parse(&values(PATTERN_VALUES_MAX)).is_ok());
    refused(&values(PATTERN_VALUES_MAX + 1), "values");
    let excluded = format!("{{\"a\":[{{\"anything-but\":[{}]}}]}}", vec!["1"; PATTERN_VALUES_MAX + 1].join(","));
    refused(&excluded, "values");

    let searches = |count: usize| format!("{{\"a\":[{}]}}", vec![r#"{"wildcard":"a*b"}"#; count].join(","));
    assert!(Pattern::parse(&searches(PATTERN_SEARCHES_MAX)).is_ok());
    refused(&searches(PATTERN_SEARCHES_MAX + 1), "wildcards");
    let affixes = vec![r#"{"wildcard":"a*"},{"wildcard":"*a"},{"equals-ignore-case":"a"}"#; 100].join(",");
    assert!(Pattern::parse(&format!("{{\"a\":[{affixes}]}}")).is_ok(), "an order answers these");

    // Of excluded texts each value is held against all: of wildcards always, of others if one is beyond ASCII.
    for (name, first, others) in [("wildcard", "b*", "a*"), ("equals-ignore-case", "é", "a")] {
        let excluded = |count: usize| {
            let texts = vec![format!("{others:?}"); count - 1].join(",");
            format!("{{\"a\":[{{\"anything-but\":{{\"{name}\":[{first:?},{texts}]}}}}]}}")
        };
        assert!(Pattern::parse(&excluded(PATTERN_SEARCHES_MAX)).is_ok());
        refused(&excluded(PATTERN_SEARCHES_MAX + 1), "wildcards");
    }
    for name in ["equals-ignore-case", "prefix", "suffix"] {
        let excluded = format!("{{\"a\":[{{\"anything-but\":{{\"{name}\":[{}]}}}}]}}", vec!["\"a\""; 100].join(","));
        assert!(Pattern::parse(&excluded).is_ok(), "an order answers these: {name}");
    }

    let fields = |count: usize| {
        let fields: Vec<String> = (0..count).map(|n| format!("\"f{n}\":[1]")).collect();
        format!("{{{}}}", fields.join(","))
    };
    assert!(Pattern::parse(&fields(PATTERN_FIELDS_MAX)).is_ok());
    refused(&fields(PATTERN_FIELDS_MAX + 1), "fields");

    let doubled = |times: usize| {
        let ors: Vec<String> =
            (0..times).map(|n| format!("\"o{n}\":{{\"$or\":[{{\"a\":[1]}},{{\"b\":[1]}}]}}")).collect();
        format!("{{{}}}", ors.join(","))
    };
    assert!(Pattern::parse(&doubled(10)).is_ok());
    refused(&doubled(11), "branches");
    refused(&doubled(200), "branches");

    let expanded = |list: usize| {
        let branches: Vec<String> = (0..64).map(|n| format!("{{\"b{n}\":[1]}}")).collect();
        format!("{{\"a\":[{}],\"$or\":[{}]}}", vec!["1"; list].join(","), branches.join(","))
    };
    assert!(Pattern::parse(&expanded(PATTERN_EXPANDED_MAX / 64 - 1)).is_ok());
    refused(&expanded(PATTERN_EXPANDED_MAX / 64), "multiplied");
}

#[test]
fn a_wildcard_of_a_hundred_stars_costs_no_more_than_a_search() {
    let stars = format!(r#"{{"a":[{{"wildcard":"{}b"}}]}}"#, "*a".repeat(100) + "*");
    let pattern = Pattern::parse(&stars).unwrap();
    // A matcher that tries all ways would try 10^200.
    let event = format!(r#"{{"a":"{}"}}"#, "a".repeat(100_000));
    assert!(!pattern.matches(event.as_bytes()).unwrap());
    assert!(pattern.matches(event.replace("a\"}", "b\"}").as_bytes()).unwrap());
}

#[test]
fn arrays_beside_each_other_do_not_multiply() {
    let elements = |name: &str| vec![format!("{{\"{name}\":1}}"); 2_000].join(",");
    let event = format!(
        r#"{{"p":[{}],"q":[{}],"r":[{}],"s":[{},{}]}}"#,
        elements("a"),
        elements("a"),
        elements("a"),
        elements("a"),
        elements("b"),
    );
    // 8 × 10^9 choices of p, q and r, and none in s.
    let pattern = Pattern::parse(r#"{"p":{"a":[1]},"q":{"a":[1]},"r":{"a":[1]},"s":{"a":[1],"b":[1]}}"#).unwrap();
    assert!(!pattern.matches(event.as_bytes()).unwrap());
}

#[test]
fn an_array_of_many_elements_is_gone_through_once() {
    let elements: Vec<String> = (0..40_000).map(|n| format!("{{\"a\":1,\"b\":{}}}", n % 2 + 1)).collect();
    let event = format!(r#"{{"i":[{}]}}"#, elements.join(","));
    let pattern = Pattern::parse(r#"{"i":{"a":[1],"b":[1,2],"c":[{"exists":false}],"d":[{"exists":false}]}}"#).unwrap();
    assert!(pattern.matches(event.as_bytes()).unwrap());
    let none = Pattern::parse(r#"{"i":{"a":[1],"b":[1],"c":[{"exists":false}]},"z":[1]}"#).unwrap();
    assert!(!none.matches(event.as_bytes()).unwrap());
    let apart = event.replace("{\"a\":1,\"b\":1}", "{\"a\":1},{\"b\":1}");
    let both = Pattern::parse(r#"{"i":{"a":[1],"b":[1]}}"#).unwrap();
    assert!(!both.matches(apart.as_bytes()).unwrap());
}

#[test]
fn an_event_that_asks_for_the_impossible_is_no_match() {
    // 40 arrays under one name, of elements that exclude each other.
    let array =
        "\"i\":[{\"a\":1},{\"b\":1},{\"c\":1},{\"d\":1},{\"e\":1},{\"f\":1},{\"g\":1},{\"h\":1},{\"x\":1},{\"y\":1}]";
    let event = format!("{{{},\"i\":[{{\"z\":1,\"k\":[{{\"m\":1}},{{\"n\":1}}]}}]}}", vec![array; 40].join(","));
    let fields = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|name| format!("\"{name}\":[1]")).join(",");
    let pattern = Pattern::parse(&format!("{{\"i\":{{{fields},\"k\":{{\"m\":[1],\"n\":[1]}}}}}}")).unwrap();
    assert!(!pattern.matches(event.as_bytes()).unwrap());
}

#[test]
fn an_element_among_thousands_is_found_by_a_list_of_thousands() {
    const ELEMENTS: usize = 12_000;
    let element = |a: usize, b: &str| format!(r#"{{"a":{a},"b":"{b}"}}"#);
    let table = [
        ("addresses", list(4_000, |n| format!(r#""10.0.{}.{}""#, n % 40, n / 40)), "::ffff:10.0.0.9", "10.0.39.7"),
        ("networks", list(2_000, |n| format!(r#"{{"cidr":"10.{}.{}.0/24"}}"#, n % 8, n / 8)), "9.0.0.1", "10.7.249.1"),
        ("prefixes", list(2_000, |n| format!(r#"{{"prefix":"p{n:04}"}}"#)), "p200", "p1999.x"),
        ("suffixes, one searched for", format!("{},{{\"wildcard\":\"x*y\"}}", suffixes(2_000)), "xyz", "x.y"),
    ];
    for (name, alternatives, other, fitting) in table {
        let pattern = format!(r#"{{"i":{{"a":[1],"b":[{alternatives}]}}}}"#);
        let mut elements = vec![element(0, other); ELEMENTS];
        elements.push(element(1, other));
        elements.push(element(0, fitting));
        assert!(!verdict(&pattern, &format!(r#"{{"i":[{}]}}"#, elements.join(","))), "{name}");
        elements.push(element(1, fitting));
        assert!(verdict(&pattern, &format!(r#"{{"i":[{}]}}"#, elements.join(","))), "{name}");
    }
}

#[test]
fn the_last_of_many_branches_finds_its_element_among_thousands() {
    // Each branch but the last fails at the same two fields, or has an element for either of its fields and none for both.
    let conditions = list(300, |n| format!(r#"{{"c":[{n}]}}"#));
    let shared = format!(r#"{{"$or":[{{"i":{{"a":[1],"b":[1]}},"$or":[{conditions}]}},{{"i":{{"b":[1],"x":[1]}}}}]}}"#);
    let own = format!(r#"{{"i":{{"a":[1],"$or":[{}]}}}}"#, list(300, |n| format!(r#"{{"x":[{n}]}}"#)));
    let elements = [list(10_000, |_| r#"{"a":1},{"b":1}"#.into()), list(299, |n| format!(r#"{{"x":{n}}}"#))].join(",");
    let event = |last: &str| format!(r#"{{"c":[{}],"i":[{elements},{last}]}}"#, list(300, |n| n.to_string()));
    for (pattern, last) in [(shared, r#"{"b":1,"x":1}"#), (own, r#"{"a":1,"x":299}"#)] {
        let set = PatternSet::from_iter([((), Pattern::parse(&pattern).unwrap())]);
        let (snapshot, mut scratch) = (set.snapshot(), Scratch::default());
        assert_eq!(snapshot.matches(event(last).as_bytes(), &mut scratch).len(), 1, "{pattern:.60}");
        let apart = last.replace(',', "},{");
        assert_eq!(snapshot.matches(event(&apart).as_bytes(), &mut scratch).len(), 0, "{pattern:.60}");
    }
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

fn suffixes(count: usize) -> String {
    list(count, |n| format!(r#"{{"suffix":"{n:04}s"}}"#))
}

#[test]
fn a_search_that_is_given_up_misses_no_event() {
    // Eleven fields in ten arrays under one name, of which each gives an element, and so a field.
    let names: Vec<String> = ('a'..='k').map(String::from).collect();
    let fields = names.iter().map(|name| format!("\"{name}\":[1]")).collect::<Vec<_>>().join(",");
    let pattern = Pattern::parse(&format!("{{\"i\":{{{fields}}}}}")).unwrap();
    let elements = names.iter().map(|name| format!("{{\"{name}\":1}}")).collect::<Vec<_>>().join(",");
    let arrays = vec![format!("\"i\":[{elements}]"); 10].join(",");
    // An eleventh, which the search would come to after 10! other choices; no field is rarer than that one.
    let again = elements.split_once(',').unwrap().1;
    let event = format!("{{\"i\":[{again}],{arrays},\"i\":[{{\"a\":1}}]}}").replacen("],\"i\":[", ",", 1);
    assert!(pattern.matches(event.as_bytes()).unwrap());
    assert!(pattern.matches(format!("{{{arrays}}}").as_bytes()).unwrap(), "too much rather than too little");
    assert_eq!(pattern.explain(format!("{{{arrays}}}").as_bytes()).unwrap(), Explanation::Match);
    let few = format!("{{{}}}", vec![format!("\"i\":[{elements}]"); 2].join(","));
    assert!(!pattern.matches(few.as_bytes()).unwrap(), "what is searched through is as it is");
}

#[test]
fn an_event_that_would_be_compared_for_minutes_is_refused() {
    let numbers: Vec<String> = (0..100).map(|n| format!(r#"{{"numeric":["<",-{n}]}}"#)).collect();
    let ors: Vec<String> =
        (0..7).map(|n| format!(r#""g{n}":{{"$or":[{{"x":[{{"exists":true}}]}},{{"y":[1]}}]}}"#)).collect();
    // 100 alternatives in each of 128 branches.
    let pattern = Pattern::parse(&format!(r#"{{"a":[{}],{}}}"#, numbers.join(","), ors.join(","))).unwrap();
    let event = |count: usize| format!(r#"{{"a":[{}]}}"#, vec!["1"; count].join(","));
    assert!(!pattern.matches(event(100).as_bytes()).unwrap());
    let many = event(10_000);
    for refused in [pattern.matches(many.as_bytes()).map(drop), pattern.explain(many.as_bytes()).map(drop)] {
        assert!(matches!(refused, Err(InvalidEvent::TooMany { actual, .. }) if actual > 128_000_000));
    }
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20));
    assert!(matches!(pattern.matches(long.as_bytes()), Err(InvalidEvent::TooMany { .. })));
    // One branch may look at many values.
    let one = Pattern::parse(&format!(r#"{{"a":[{}]}}"#, numbers.join(","))).unwrap();
    assert!(!one.matches(event(20_000).as_bytes()).unwrap());
}

#[test]
fn what_is_no_object_is_refused_when_it_comes_from_outside() {
    let pattern = Pattern::parse(r#"{"a":[1]}"#).unwrap();
    for text in ["", "[]", "\"a\"", "1", "{", "{\"a\":1", "{\"a\":1}}", "{\"a\":1,}"] {
        assert!(pattern.matches(text.as_bytes()).is_err(), "{text}");
        assert!(pattern.explain(text.as_bytes()).is_err(), "{text}");
    }
    let nested = |levels: usize| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(pattern.matches(nested(200).as_bytes()).unwrap());
    assert!(matches!(pattern.matches(nested(300).as_bytes()), Err(InvalidEvent::InvalidAttribute { .. })));
    // Nobody looks at it, so it may be as deep as it likes.
    assert!(!pattern.matches(nested(50_000).replace("\"a\"", "\"b\"").as_bytes()).unwrap());
}

fn set() -> PatternSet<u32> {
    let texts = [
        r#"{"a":["x"]}"#,
        r#"{"a":{"b":[{"numeric":[">",0]}]}}"#,
        r#"{"a":[{"wildcard":"*a*"}],"b":[{"exists":false}]}"#,
        r#"{"detail":{"a":[{"prefix":"x"},{"suffix":{"equals-ignore-case":"ß"}}]}}"#,
        r#"{"a":[{"cidr":"::/0"},{"anything-but":"x"}],"a.b":["y"]}"#,
        r#"{"":[null]}"#,
    ];
    (0..).zip(texts.map(|text| Pattern::parse(text).unwrap())).collect()
}

proptest! {
    #[test]
    fn bytes_that_are_no_json_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (snapshot, mut scratch) = (set().snapshot(), Scratch::default());
        snapshot.matches(&bytes, &mut scratch).count();
    }

    #[test]
    fn texts_of_the_signs_of_json_never_panic(
        text in "([{}\\[\\],:\"\\\\ ab.]|\"a\":|\"b\"|\\\\u|d800|true|nul|-1e4|ß){0,80}",
    ) {
        let (snapshot, mut scratch) = (set().snapshot(), Scratch::default());
        snapshot.matches(text.as_bytes(), &mut scratch).count();
        snapshot.matches(format!("{{\"a\":{text}").as_bytes(), &mut scratch).count();
        let event = Event::builder("a", "b", "c").data(Data::Json(text.as_str().into())).build_trusted();
        snapshot.matches_event(&event, None, &mut scratch).count();
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert_eq!(pattern.text(), text.as_str());
        }
    }

    #[test]
    fn an_event_that_breaks_off_never_panics(at in 0usize..200) {
        let text = r#"{"specversion":"1.0","a":[{"b":"x\u00e9"},["y\"",-1.5e3]],"data":{"a":"x","detail":[null,true]},"":null,"b":{"c":"]}"}}"#;
        let (snapshot, mut scratch) = (set().snapshot(), Scratch::default());
        snapshot.matches(&text.as_bytes()[..at.min(text.len())], &mut scratch).count();
        snapshot.matches(&text.as_bytes()[at.min(text.len())..], &mut scratch).count();
    }

    #[test]
    fn any_pattern_is_parsed_or_refused(text in "(\\{|\\}|\\[|\\]|,|:|\"a\"|\"prefix\"|\"numeric\"|\"\\$or\"|\"exists\"|\"=\"|1|true|\"anything-but\"){0,30}") {
        Pattern::parse(&text).ok();
    }
}
