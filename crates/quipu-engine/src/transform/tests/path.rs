//! Paths.

use quipu_domain::Transform;

use super::{EVENT, apply, refusal};

fn at(path: &str) -> Result<String, String> {
    apply(&Transform::Path(path.into()), EVENT)
}

#[test]
fn a_path_finds_the_text_as_it_came_in() {
    for (path, found) in [
        ("$.data.order.total", "19.90"),
        ("$.data.order.big", "12345678901234567890"),
        ("$.data.order.lines[1].n", "1e2"),
        ("$.data.order.note", r#""say \"hi\"\n<b>""#),
        ("$.data.order.coupon", "null"),
        ("$.data.order.tags", r#"["a","b"]"#),
        ("$.data.order.tags[1]", r#""b""#),
        ("$.data.customer-id", "5"),
        ("$.data.a/b.c_d", "1"),
        ("$.data.é", r#""ü""#),
        ("$.position", "42"),
    ] {
        assert_eq!(at(path).as_deref(), Ok(found), "{path}");
    }
    assert_eq!(at("$").as_deref(), Ok(EVENT));
}

#[test]
fn the_names_of_aws_stand_for_those_of_cloudevents() {
    assert_eq!(at("$.detail.order.id").as_deref(), Ok(r#""o-9""#));
    assert_eq!(at("$.detail-type").as_deref(), Ok(r#""order.placed.v1""#));
    // Only at the top.
    assert!(at("$.data.detail").is_err());
}

#[test]
fn a_star_makes_an_array_of_all_that_is_found() {
    for (path, found) in [
        ("$.data.order.lines[*].sku", r#"["x","y/z"]"#),
        ("$.data.order.lines.*.n", "[2,1e2,3]"),
        ("$.data.order.tags[*]", r#"["a","b"]"#),
        ("$.data.order.lines[*].none", "[]"),
        ("$.data.order.id.*", "[]"),
        ("$.data.a/b.*", "[1]"),
        ("$.data.order.lines[*].*", r#"["x",2,"y/z",1e2,3]"#),
    ] {
        assert_eq!(at(path).as_deref(), Ok(found), "{path}");
    }
}

#[test]
fn a_path_that_finds_nothing_is_a_fault() {
    for path in ["$.none", "$.data.order.lines[3]", "$.data.order.id.x", "$.data.order.id[0]", "$.data.none[*]"] {
        assert_eq!(at(path).unwrap_err(), "expected something at the path, found nothing", "{path}");
    }
}

#[test]
fn of_a_name_that_stands_twice_the_last_counts() {
    assert_eq!(apply(&Transform::Path("$.a".into()), r#"{"a":1,"b":2,"a":3}"#).as_deref(), Ok("3"));
    assert_eq!(apply(&Transform::Path("$.a".into()), r#"{"\u0061":1}"#).as_deref(), Ok("1"));
}

#[test]
fn a_name_that_is_half_of_a_surrogate_pair_hides_none_beside_it() {
    assert_eq!(apply(&Transform::Path("$.a".into()), r#"{"\ud800":1,"a":2,"b\udfff":3}"#).as_deref(), Ok("2"));
}

#[test]
fn what_is_no_path_is_refused_with_its_place() {
    let long = format!("$.{}", "x".repeat(255));
    for (path, column, reason) in [
        ("", 1, "expected text"),
        ("data.order", 1, "expected a path that starts with $"),
        ("$data", 2, "expected . or ["),
        ("$.", 2, "expected a name"),
        ("$.data..order", 7, "expected a name"),
        ("$.data['order']", 7, "expected an index"),
        ("$.data[-1]", 7, "expected an index"),
        ("$.data[+1]", 7, "expected an index"),
        ("$.data[1:2]", 7, "expected an index"),
        ("$.data[", 7, "expected ]"),
        ("$.data[99999999999999999999]", 7, "expected an index"),
        ("$.data[?(@.a>1)]", 7, "expected an index"),
        ("$.da ta", 5, "expected . or ["),
        ("$.é é", 4, "expected . or ["),
        (&long, 257, "expected at most 256 characters, found 257"),
    ] {
        let (pointer, line, found, why) = refusal(&Transform::Path(path.into()));
        assert_eq!((pointer.as_str(), line, found), ("/transform/path", 1, column), "{path}: {why}");
        assert!(why.starts_with(reason), "{path}: {why}");
    }
}

#[test]
fn paths_that_look_at_too_much_are_a_fault() {
    let (levels, bytes) = (90, 200_000);
    let text = "x".repeat(bytes);
    let event = format!("{}\"{text}\"{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let path = format!("${}", ".a".repeat(levels));
    assert_eq!(apply(&Transform::Path(path.clone()), &event), Ok(format!("\"{text}\"")));
    let names: Vec<String> = (0..100).map(|i| format!("n{i}")).collect();
    let paths = names.iter().map(|name| (name.clone(), path.clone())).collect();
    let template = names.iter().map(|name| format!("<{name}>")).collect();
    let all = Transform::Template(quipu_domain::Template { paths, template });
    assert_eq!(
        apply(&all, &event).unwrap_err(),
        "expected paths that look at no more than 1073741824 bytes of an event in all"
    );
}
