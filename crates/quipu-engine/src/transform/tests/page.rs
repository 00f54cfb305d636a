//! The page about transformations: what it says comes out is what comes out.

use quipu_domain::Transform;

use super::{apply, compiled};

const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/transformations.md"));

/// What stands behind the fence, and the text inside.
fn blocks() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap())
}

#[test]
fn the_examples_of_the_page_are_true() {
    let (mut event, mut transform, mut checked) = ("", None, 0);
    for (kind, text) in blocks() {
        let text = text.trim_end();
        let transform_of_page = || transform.clone().expect("a transformation before its outcome");
        match kind {
            "json event" => event = text,
            "json transform" => transform = Some(serde_json::from_str::<Transform>(text).unwrap()),
            "json outcome" | "text outcome" => assert_eq!(apply(&transform_of_page(), event).as_deref(), Ok(text)),
            "text fault" => assert_eq!(apply(&transform_of_page(), event).unwrap_err(), text),
            "text refusal" => assert_eq!(compiled(&transform_of_page()).unwrap_err().to_string(), text),
            other => panic!("a block of an unknown kind: {other}"),
        }
        checked += usize::from(kind.ends_with("outcome") || kind.ends_with("fault") || kind.ends_with("refusal"));
    }
    assert_eq!(checked, 9);
}

#[test]
fn a_transformation_is_exactly_one_of_three() {
    for text in [
        "{}",
        r#"{"path":"$","jq":"."}"#,
        r#"{"inputpath":"$"}"#,
        r#"{"template":{"template":"x","more":1}}"#,
        r#"{"template":{"paths":{}}}"#,
        r#"{"jq":1}"#,
        r#""jq""#,
    ] {
        assert!(serde_json::from_str::<Transform>(text).is_err(), "{text}");
    }
}
