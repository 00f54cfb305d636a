//! Expressions of somebody who wants the process to hang, or to run out of memory or stack. The threads of tests have
//! 2 MiB of stack, as those of the engine.

use quipu_domain::Transform;

use super::{EVENT, apply, compiled, compiled_with_steps, outcome};

fn jq(expression: &str) -> Result<String, String> {
    apply(&Transform::Jq(expression.into()), EVENT)
}

/// With a tenth of the steps: how many there are makes no difference to what never ends.
fn jq_of_fewer_steps(expression: &str) -> Result<String, String> {
    let transformer = compiled_with_steps(&Transform::Jq(expression.into()), 100_000);
    outcome(&transformer.unwrap_or_else(|error| panic!("{expression}: {error}")), EVENT)
}

const STEPS: &str = "stopped after 1000000 steps";
const FEWER_STEPS: &str = "stopped after 100000 steps";
const BYTES: &str = "stopped: a value of more than 4194304 bytes";
const DEPTH: &str = "stopped: a value of more than 128 levels";
const STACK: &str = "stopped: parts that evaluate each other too deeply";
const PATH: &str = "stopped: a path of more than 256 steps";

#[test]
fn loops_without_end_are_stopped() {
    for expression in [
        "[range(1e12)] | length",
        "reduce range(1e9) as $i (0; . + 1)",
        "reduce range(1e9) as $i (0; .)",
        "last(range(1e12))",
        "last(range(0; 1; 0))",
        "[range(infinite)] | 1",
        "[repeat(1)] | 1",
        "last(repeat(1))",
        "repeat(empty)",
        "last(recurse(.))",
        "until(false; .)",
        "last(while(true; .))",
        "[limit(1e12; repeat(0))] | 1",
        "first(skip(1e12; repeat(0)))",
        "nth(1e12; repeat(0))",
        "isempty(repeat(empty))",
        "any(repeat(false); .)",
        "last(range(1e9) | range(1e9) | range(1e9))",
        "label $f | last(repeat(if . == 0 then break $f else . end))",
        "first(foreach repeat(1) as $x (0; . + $x; empty))",
        "[range(3000)] | last(combinations(3000))",
        "last(path(repeat(.)))",
        "[range(100)] | last([., ., ., ., ., ., .] | combinations)",
    ] {
        let reason = jq_of_fewer_steps(expression).expect_err(expression);
        assert!(reason == FEWER_STEPS || reason == BYTES, "{expression}: {reason}");
    }
    assert_eq!(jq("repeat(empty)").unwrap_err(), STEPS);
}

#[test]
fn being_stopped_cannot_be_caught() {
    for expression in [
        "try last(repeat(1)) catch 1",
        "[range(1e12) | (. + 1)?] | length",
        "last(repeat(1))? // 5",
        "first(repeat(try (\"x\" * 1e9) catch .))",
        "repeat(try error(1) catch empty)",
        "last(repeat((1, error(2))?))",
        "[limit(10; repeat(try last(repeat(1)) catch 3))]",
        "(\"x\" * 1e9)? // 1",
        "try ([limit(100000000; repeat(1))]) catch 1",
        ".. |= (try last(repeat(1)) catch 1)",
        "def f: try last(repeat(1)) catch 1; [f, f, f]",
        "label $x | try last(repeat(1)) catch break $x",
    ] {
        let reason = jq_of_fewer_steps(expression).expect_err(expression);
        assert!([FEWER_STEPS, BYTES].contains(&reason.as_str()), "{expression}: {reason}");
    }
}

#[test]
fn functions_that_call_themselves_are_refused() {
    for expression in [
        "def f: f; f",
        "def f: 1 + f; f",
        "def f: def g: f; g; f",
        "def f(x): x | f(x); f(.)",
        "def f($x): f($x + 1); f(0)",
        "def a: def b: def c: a; c; b; a",
        "def map(f): map(f); map(.)",
        "def f: [.[] | f]; f",
        "1 | def f: try f; f",
        "def f: @text \"\\(f)\"; f",
        "def f: . as {(f): $x} | 1; f",
        "def f: .[f]; f",
        "def f: reduce f as $x (0; 1); f",
        "def @f: @f \"a\"; 1",
        "def f: f as [$a, {b: $c}] | 1; f",
    ] {
        let error = compiled(&Transform::Jq(expression.into())).expect_err(expression);
        assert!(error.reason.starts_with("expected functions that do not call themselves"), "{expression}: {error}");
    }
    // One that hides another of the same name does not call itself.
    assert_eq!(jq("def f: 1; def g: f + 1; def f: g + 1; f").as_deref(), Ok("3"));
}

/// An object of 2,000 members.
const OBJECT: &str = r#"[range(2000) | {key: "k\(.)", value: 0}] | from_entries"#;

#[test]
fn large_values_are_stopped_before_they_are_made() {
    for (expression, stop) in [
        ("\"x\" * 1e9", BYTES),
        ("\"x\" * 1e300", BYTES),
        ("\"x\" * infinite", BYTES),
        ("[range(1e7)] | length", FEWER_STEPS),
        ("reduce range(100) as $i (\"x\"; . + .)", BYTES),
        ("reduce range(100) as $i ([1]; . + .)", BYTES),
        ("reduce range(100) as $i (1; [., .])", BYTES),
        ("reduce range(100) as $i (1; {a: ., b: .})", BYTES),
        ("reduce range(100) as $i ({a: 1}; . * {(\"k\\($i)\"): .})", BYTES),
        ("[1] | .[1e15] = 1", BYTES),
        ("[1] | .[100000000] = 1", BYTES),
        ("reduce range(1e6) as $i ({}; .[\"key \\($i)\"] = $i)", FEWER_STEPS),
        ("reduce range(1000) as $i (1; [.])", DEPTH),
        ("reduce range(1000) as $i (1; {a: .})", DEPTH),
        ("null | reduce range(1000) as $i (.; {a: .} | .a |= [.])", DEPTH),
        ("\"[\" * 100000 + \"]\" * 100000 | fromjson", "expected JSON of at most 128 levels, found more"),
        ("\"x\" * 4000000 | [., .]", BYTES),
        ("\"x\" * 4000000 | \"\\(.)\\(.)\"", BYTES),
        ("\"\\u0001\" * 4000000", "expected an outcome of at most 4194304 bytes, found more"),
        ("\"\\u0001\" * 4000000 | tojson", BYTES),
        ("[\"x\" * 1000000] | [combinations(10)] | length", BYTES),
        ("[range(1000)] | [.[] as $a | .[] as $b | .[] as $c | [$a, $b, $c]] | length", FEWER_STEPS),
        ("reduce range(40) as $i (10; . * .)", "1.7976931348623157e+308"),
        ("last(range(1e6) | \"x\" * 1000000)", FEWER_STEPS),
        ("\"x\" * 1000000 | last(range(1e6) as $i | ascii_downcase)", FEWER_STEPS),
        ("\"x\" * 1000000 as $p | $p + \"y\" | last(range(1e6) as $i | startswith($p))", FEWER_STEPS),
        ("\"x\" * 1000000 as $p | last(range(1e6) as $i | $p == $p + \"\")", FEWER_STEPS),
        ("[range(100000)] | last(range(1e6) as $i | sort)", FEWER_STEPS),
        ("[range(100000)] | last(range(1e6) as $i | .[50000])", FEWER_STEPS),
        ("[range(100000)] | last(range(1e6) as $i | tojson)", FEWER_STEPS),
        ("[range(100000)] | contains([range(100000) | -. - 1])", "false"),
        ("[range(30000)] as $a | [range(30000) | -. - 1] as $b | [$a[], $b[]] | contains($b + [5.5])", FEWER_STEPS),
        ("[range(100000)] | indices([range(50000)]) | length", "1"),
        ("\"a\" * 1000000 | indices(\"a\" * 500000) | length", FEWER_STEPS),
        ("\"a\" * 1000000 | [match(\"a\"; \"g\")] | length", FEWER_STEPS),
        ("\"a\" * 100000 | test(\"(a*)*b\")", "false"),
        // What is done in place is counted, too.
        (&format!("{OBJECT} | reduce range(300) as $i (.; .[] |= .)"), FEWER_STEPS),
        (&format!("{OBJECT} | reduce keys[] as $k (.; del(.[$k]))"), FEWER_STEPS),
        (r#""{" + "\"a\":1," * 60000 + "\"b\":1}" | last(range(20) as $i | fromjson)"#, FEWER_STEPS),
        ("last(range(50) as $i | \"a\" | test(\"(?i:\\\\p{L})\\($i)\"))", FEWER_STEPS),
        ("last(range(20) | \"a\" | test(\"\\\\w{1000}\")?)", FEWER_STEPS),
        ("\"ab\" * 5000 | test(\"(?:a|b|ab|ba|.){0,10}x\\\\b\")", "false"),
        ("\"ab\" * 50000 | test(\"(?:a|b|ab|ba|.){0,10}x\\\\b\")", FEWER_STEPS),
        ("[range(30000)] | join(\",\") | length", "168889"),
        ("[range(4) | \"x\" * 1100000] | join(\"\") | length", BYTES),
        ("\"a\" * 100000 | last(range(1e6) | \"a\" * 100000 | test(\"(a*)*b\"))", FEWER_STEPS),
        ("\"a\" * 50000 | [match(\".*[^a]|a\"; \"g\")] | length", FEWER_STEPS),
    ] {
        let found = if stop == FEWER_STEPS { jq_of_fewer_steps(expression) } else { jq(expression) };
        match found {
            Ok(outcome) => assert_eq!(outcome, stop, "{expression}"),
            Err(reason) => assert_eq!(reason, stop, "{expression}"),
        }
    }
}

#[test]
fn the_stack_is_never_used_up() {
    let nested = |open: &str, inside: &str, close: &str, n: usize| open.repeat(n) + inside + &close.repeat(n);
    let deep_in = |inside: &str| {
        let mut doubling = format!("def f0(g): {inside}; ");
        for i in 1..30 {
            doubling += &format!("def f{i}(g): f{}(f{}(g)); ", i - 1, i - 1);
        }
        doubling + "f29(.)"
    };
    for (expression, stop) in [
        (deep_in("((g))"), STACK),
        ("last(path(recurse(.a)))".to_owned(), PATH),
        ("null | last(path(recurse(.a)))".to_owned(), PATH),
        ("repeat(.) |= 1".to_owned(), STACK),
        ("null | recurse(.a) |= .".to_owned(), STACK),
        ("recurse(.) |= 1".to_owned(), STACK),
        ("limit(1e9; repeat(.)) = 1".to_owned(), "invalid path expression with input"),
        // Wide instead of deep.
        (format!("\"{}\"", "\\(1)".repeat(800)), ""),
        (format!("\"{}\"", "\\(.id)".repeat(500)), ""),
        (format!("{{{}a:1}}", "a:.id,".repeat(600)), ""),
        (format!(".a{}", "?".repeat(4_000)), ""),
        (format!("{}1", "def f: 1; ".repeat(400)), ""),
        (format!("def f({}$a): 1; f({}1)", "$a;".repeat(85), "1;".repeat(85)), ""),
        (format!("[range(85)] as [{}$a] | 1", "$a,".repeat(85)), ""),
        (format!("if false then 1 {} else 1 end", "elif false then 1 ".repeat(85)), ""),
        // Deep in what is deep already.
        (deep_in(&nested("[", "g", "]", 85)), STACK),
        (deep_in(&nested("{a:", "g", "}", 85)), STACK),
        (deep_in(&nested("\"\\(", "g", ")\"", 85)), STACK),
        (deep_in(&nested("if false then 1 else ", "g", " end", 85)), STACK),
        (deep_in(&format!("{}g", "1 as $x | ".repeat(85))), STACK),
        (deep_in(&format!("{{{}a:g}}", "a:1,".repeat(80))), STACK),
        (nested("[", "\"x\"", "]", 90), ""),
        (nested("-(", "1", ")", 90), ""),
        (nested("", "1", "|1", 90), ""),
        (nested("", "1", "|[.]", 90), ""),
        (nested("", "1", ",1", 90), ""),
        (nested("", "1", "+1", 90), ""),
        (nested("{a:", "1", "}", 90), ""),
        (nested("\"\\(", "1", ")\"", 90), ""),
        (nested("if . then ", "1", " else 2 end", 90), ""),
        (nested("try ", "1", "", 90), ""),
        (nested(".[", "1", "]?", 45), ""),
        (nested(". as $x | ", "1", "", 90), ""),
        (nested("reduce (", "1", ") as $x (0; 1)", 45), ""),
        (nested("first(", "1", ")", 90), ""),
        (nested("[limit(1; ", "1", ")]", 31), ""),
        ((0..45).fold("1".to_owned(), |inside, i| format!("def f{i}: {inside}; f{i}")), ""),
        (nested("label $x | ", "1", "", 90), ""),
        (nested("(.a |= ", "1", ")", 31), ""),
        (nested("path(", ".", ")", 90), ""),
    ] {
        match jq(&expression) {
            Ok(_) => {}
            Err(reason) => assert!(reason.starts_with(stop), "{expression}: {reason}"),
        }
    }
}

#[test]
fn deep_values_are_handled_to_their_last_level() {
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let deep_in_objects = format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120));
    for event in [&deep, &deep_in_objects] {
        for expression in [
            ".",
            ".. |= .",
            "[..] | length",
            "[paths] | length",
            "walk(.)",
            ". == .",
            "tojson | fromjson",
            "[flatten?]",
            "last(path(..)) | length",
            "[.. | .]|sort",
            ".. |= (.. |= .)",
            "[recurse(.[]?)] | length",
            "(.. | numbers) |= 2",
            "[tostream?] | 1",
            ". * {}",
            "contains(.)",
            "[., .] | unique",
            "del(..)",
        ] {
            if let Ok(transformer) = compiled(&Transform::Jq(expression.into())) {
                // Whatever comes of it: it comes.
                let _ = transformer.apply(event.as_bytes());
            }
        }
    }
    let beyond = format!("{}1{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(apply(&Transform::Jq(".".into()), &beyond).as_deref(), Ok(beyond.as_str()));
}

#[test]
fn texts_that_nest_without_end_are_refused() {
    for unit in [
        "(",
        "[",
        "{",
        "-",
        "try ",
        "if ",
        "\"\\(",
        ".[",
        "def a: ",
        "reduce ",
        "1|",
        "1,",
        "..|",
        "{a:",
        ". as [",
        "label $x|",
    ] {
        let expression = unit.repeat(4_096 / unit.len());
        assert!(compiled(&Transform::Jq(expression)).is_err(), "{unit}");
        for (inside, close) in [("1", ")"), ("1", "]"), ("1", "}"), ("1", ")\""), ("$x", "]|1"), ("1", ""), (".", ";.")]
        {
            let n = 4_096 / (unit.len() + close.len()) - 1;
            let _ = compiled(&Transform::Jq(unit.repeat(n) + inside + &close.repeat(n)));
        }
    }
    let patterns = format!(". as {}$x{} | 1", "[".repeat(2_000), "]".repeat(2_000));
    let path = ".a".repeat(2_000);
    let members = format!("{}{{a:1{}", format!("{{{}b:", "a:1,".repeat(11)).repeat(20), "}".repeat(21));
    let variables = format!(". as [{}$a] | 1", "$a,".repeat(1_000));
    let arguments = format!("def f({}$a): 1; f({}1)", "$a;".repeat(600), "1;".repeat(600));
    let branches = format!("if false then 1 {} else 1 end", "elif false then 1 ".repeat(200));
    let updates = [format!("{path} |= 1"), format!("path({path})"), ".[]".repeat(1_000)];
    for expression in [patterns, path, members, variables, arguments, branches].into_iter().chain(updates) {
        let why = compiled(&Transform::Jq(expression)).unwrap_err().reason;
        assert_eq!(why, "expected at most 96 levels of nesting and operators, found more");
    }
}

#[test]
fn what_a_thread_kept_of_an_earlier_event_makes_no_difference() {
    let test = Transform::Jq(r#"test("\\w+x")?"#.into());
    let [few, many] = [10_000, 100_000].map(|steps| compiled_with_steps(&test, steps).unwrap());
    assert_eq!(outcome(&few, "\"ax\"").unwrap_err(), "stopped after 10000 steps");
    assert_eq!(outcome(&many, "\"ax\"").as_deref(), Ok("true"));
    assert_eq!(outcome(&few, "\"ax\"").unwrap_err(), "stopped after 10000 steps");
    // More expressions than are kept: those that come again cost again.
    let many = |n: usize| format!("[range(40) | range({n}) | tostring as $n | \"a\" | test(\"\\($n)a\")] | length");
    assert_eq!(jq_of_fewer_steps(&many(10)).as_deref(), Ok("400"));
    assert_eq!(jq_of_fewer_steps(&many(30)).unwrap_err(), FEWER_STEPS);
}
