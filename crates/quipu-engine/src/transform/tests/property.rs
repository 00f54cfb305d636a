//! Whatever a stranger writes and whatever the event is: an outcome, a refusal or a fault, and the same each time.

use proptest::prelude::*;
use quipu_domain::{Template, Transform};

use super::super::Format;
use super::{EVENT, compiled, compiled_with_steps};

fn words() -> impl Strategy<Value = String> {
    let words = [
        ".",
        "..",
        ".a",
        ".data",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "|",
        ",",
        ";",
        ":",
        "?",
        "//",
        "//=",
        "|=",
        "+=",
        "=",
        "==",
        "<",
        "+",
        "-",
        "*",
        "/",
        "%",
        "1",
        "-1",
        "1e9",
        "0.5",
        "\"a\"",
        "\"\\(",
        ")\"",
        "\"",
        "$x",
        "as $x",
        "as [$x]",
        "def f:",
        "def g(h):",
        "f",
        "g(.)",
        "if",
        "then",
        "else",
        "end",
        "try",
        "catch",
        "reduce",
        "foreach",
        "label $x |",
        "break $x",
        "and",
        "or",
        "not",
        "range(3)",
        "range(1e9)",
        "repeat(.)",
        "recurse",
        "recurse(.[]?)",
        "limit(3; .[])",
        "first(.[])",
        "last(.[])",
        "map(.)",
        "select(.)",
        "empty",
        "error",
        "length",
        "keys",
        "add",
        "sort",
        "group_by(.)",
        "tojson",
        "fromjson",
        "path(..)",
        "paths",
        "del(.a)",
        "to_entries",
        "with_entries(.)",
        "test(\"a*\")",
        "gsub(\"a\"; \"b\")",
        "split(\"\")",
        "join(\",\")",
        "ascii",
        "@base64",
        "@uri",
        "@csv",
        "explode",
        "implode",
        "tostring",
        "tonumber",
        "floor",
        "infinite",
        "nan",
        "getpath([0])",
        "setpath([0]; 1)",
        "walk(.)",
        "flatten",
        "transpose",
        "combinations",
        "until(.; .)",
        "while(.; .)",
        "ltrimstr(\"a\")",
        "indices(1)",
        "contains(.)",
        "min_by(.)",
        "unique",
        "todate",
        "fromdate",
        "#",
        "\n",
        "é",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..24).prop_map(|words| words.join(" "))
}

/// Expressions that are mostly right, from parts that fit.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        ".",
        "..",
        ".data",
        ".data.order.lines",
        ".[]?",
        ".[0]?",
        ".a?",
        "1",
        "-1",
        "1.50",
        "1e400",
        "\"ab\"",
        "null",
        "true",
        "[]",
        "{}",
        "empty",
        "error",
        "range(4)",
        "keys?",
        "length?",
        "add?",
        "sort?",
        "tojson",
        "type",
        "nan",
        "infinite",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 40, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (two.clone(), prop::sample::select(vec!["|", ",", "+", "-", "*", "/", "%", "==", "<", "//", "and", "or"]))
                .prop_map(|((a, b), op)| format!("({a}) {op} ({b})")),
            (two.clone(), prop::sample::select(vec!["=", "|=", "+=", "//=", "*="]))
                .prop_map(|((a, b), op)| format!("({a}) {op} ({b})")),
            inner.clone().prop_map(|a| format!("[{a}]")),
            inner.clone().prop_map(|a| format!("{{a: ({a}), \"b\\({a})\": 1}}")),
            inner.clone().prop_map(|a| format!("(try ({a}) catch .)")),
            (
                inner.clone(),
                prop::sample::select(vec![
                    "first",
                    "last",
                    "map",
                    "path",
                    "repeat",
                    "recurse",
                    "walk",
                    "del",
                    "isempty",
                    "sort_by",
                    "group_by",
                    "add",
                    "paths",
                    "with_entries",
                    "map_values",
                    "any",
                    "all",
                    "max_by",
                    "select",
                ])
            )
                .prop_map(|(a, function)| format!("{function}({a})")),
            two.clone().prop_map(|(a, b)| format!("reduce ({a}) as $x (.; {b})")),
            two.clone().prop_map(|(a, b)| format!("(foreach ({a}) as [$x, {{a: $y}}] (.; {b}; [$x, $y]))")),
            two.clone().prop_map(|(a, b)| format!("(if {a} then {b} end)")),
            two.clone().prop_map(|(a, b)| format!("(def f(g): g | {a}; f({b}))")),
            two.clone().prop_map(|(a, b)| format!("limit({a}; {b})")),
            two.clone().prop_map(|(a, b)| format!("(while({a}; {b}))")),
            two.clone().prop_map(|(a, b)| format!("(.[{a}:{b}])")),
            two.prop_map(|(a, b)| format!("(label $l | {a} | ({b}, break $l))")),
        ]
    })
}

fn check(transform: &Transform, event: &[u8]) {
    // Fewer steps than there are, so that more expressions are tried.
    let Ok(transformer) = compiled_with_steps(transform, 20_000) else { return };
    let outcome = transformer.apply(event);
    assert_eq!(transformer.apply(event), outcome, "{transform:?}: another outcome the second time");
    if let (Ok(bytes), Format::Json) = (&outcome, transformer.format()) {
        let outcome = serde_json::from_slice::<&serde_json::value::RawValue>(bytes);
        assert!(outcome.is_ok(), "{transform:?}: {}", String::from_utf8_lossy(bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_text_as_an_expression_is_survived(text in prop_oneof![words(), ".*", "\\PC{0,40}"]) {
        check(&Transform::Jq(text.clone()), EVENT.as_bytes());
        check(&Transform::Path(text), EVENT.as_bytes());
    }

    #[test]
    fn any_expression_is_survived(text in expression()) {
        // These are expressions indeed, unless they are too deep or define a function inside of itself.
        if let Err(error) = compiled(&Transform::Jq(text.clone())) {
            let why = error.reason;
            prop_assert!(why.contains("levels of nesting") || why.contains("do not call themselves"), "{}: {}", text, why);
        }
        check(&Transform::Jq(text), EVENT.as_bytes());
    }

    #[test]
    fn any_bytes_as_an_event_are_survived(event in prop::collection::vec(any::<u8>(), 0..64), text in expression()) {
        check(&Transform::Jq(text), &event);
        check(&Transform::Path("$.data[0].*.x".into()), &event);
    }

    #[test]
    fn any_json_comes_out_of_jq_as_the_same_json(event in json()) {
        let transformer = compiled(&Transform::Jq(".".into())).unwrap();
        let outcome: serde_json::Value = serde_json::from_slice(&transformer.apply(event.as_bytes()).unwrap()).unwrap();
        prop_assert_eq!(outcome, serde_json::from_str::<serde_json::Value>(&event).unwrap());
    }

    #[test]
    fn any_template_is_survived_and_what_says_json_is_json(
        text in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", "\"", ":", ",", "<a>", "<b>", "<n>", "\\<", "\\", "<aws.events.event>", "<aws.events.rule-name>",
            "<aws.events.event.json>", " ", "\n", "x", "1", "null", "\"k\":", "<", ">", "é",
        ]), 0..12),
        event in json(),
    ) {
        let paths = [("a", "$.a"), ("b", "$.a.b"), ("n", "$.*.a[*]")];
        let paths = paths.into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect();
        check(&Transform::Template(Template { paths, template: text.concat() }), event.as_bytes());
    }
}

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-1",
            "1.50",
            "1e5",
            "123456789012345678901234567890",
            "\"\""
        ])
        .prop_map(str::to_owned),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| serde_json::to_string(&x).unwrap()),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        let name = prop_oneof![prop::sample::select(vec!["a", "b", "data"]).prop_map(str::to_owned), any::<String>()];
        let member = (name, inner.clone())
            .prop_map(|(name, value)| format!("{}: {value}", serde_json::to_string(&name).unwrap()));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[ {}\n]", items.join(", "))),
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(",\r\t"))),
        ]
    })
}
