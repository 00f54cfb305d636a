//! jq.

use quipu_domain::Transform;

use super::{EVENT, apply, refusal};

fn jq(expression: &str) -> Result<String, String> {
    apply(&Transform::Jq(expression.into()), EVENT)
}

/// Expressions and their outcome.
fn check(cases: &[(&str, &str)]) {
    for (expression, outcome) in cases {
        assert_eq!(jq(expression).as_deref(), Ok(*outcome), "{expression}");
    }
}

#[test]
fn the_first_output_counts() {
    check(&[
        (".id", r#""7""#),
        (".data.order | {id, total}", r#"{"id":"o-9","total":19.90}"#),
        (".data.order.lines[].sku", r#""x""#),
        ("1, error(\"never\")", "1"),
        ("first(repeat(1))", "1"),
        ("[limit(3; repeat(.position))]", "[42,42,42]"),
    ]);
    assert_eq!(jq("empty").unwrap_err(), "expected an output, found none");
    assert_eq!(jq("select(.type == \"other\")").unwrap_err(), "expected an output, found none");
}

#[test]
fn the_whole_event_comes_out_as_it_came_in() {
    let compact: String = EVENT.replace(['\n'], "").replace(", \"", ",\"");
    assert_eq!(jq(".").as_deref(), Ok(compact.as_str()));
}

#[test]
fn numbers_keep_their_text_until_somebody_calculates() {
    check(&[
        ("[.data.order.total, .data.order.big, .data.order.lines[1].n]", "[19.90,12345678901234567890,1e2]"),
        ("[.data.order.total + 0, .data.order.lines[1].n * 1]", "[19.9,100]"),
        ("[1.10, 1e1000, -1.50, 007, 0.5]", "[1.10,1e1000,-1.50,7,0.5]"),
        ("-(1.10)", "-1.10"),
        ("[4/2, 1/3, 7%3, -7%3, 5.9%3.9, 0.1+0.2]", "[2,0.3333333333333333,1,-1,2,0.30000000000000004]"),
        ("[9223372036854775807 + 1, -9223372036854775808 - 1]", "[9.223372036854776e+18,-9.223372036854776e+18]"),
        ("[nan, infinite, -infinite]", "[null,1.7976931348623157e+308,-1.7976931348623157e+308]"),
        ("[nan < nan, nan == nan, ([nan,1]|sort|.[1]), (nan|isnan), (1|isnan)]", "[false,true,1,true,false]"),
        ("[9007199254740993 > 9007199254740992.0, 1 == 1.0, 1e0 == 1]", "[true,true,true]"),
        ("[3.7|floor, ceil, round, trunc, (-2|abs), (-2|fabs)]", "[3,4,4,3,2,2]"),
        ("[(9|sqrt), pow(2;10), (8|log2), (1000|log10), (0|exp)]", "[3,1024,3,3,1]"),
    ]);
    assert_eq!(jq("1/0").unwrap_err(), "the divisor is zero");
    assert_eq!(jq("1%0.5").unwrap_err(), "the divisor is zero");
}

#[test]
fn paths_and_updates() {
    check(
        &[
            (".data.order.tags | [.[1:], .[:1], .[-1], .[5], .[1.7]]", r#"[["b"],["a"],"b",null,"b"]"#),
            ("\"äöü\" | [.[1:], .[:-1], .[3:], .[0:1]]", r#"["öü","äö","","ä"]"#),
            ("{a:1,b:2} | .a |= .+1 | .c = 3 | del(.b)", r#"{"a":2,"c":3}"#),
            ("null | .a.b[2] = 1", r#"{"a":{"b":[null,null,1]}}"#),
            ("[1,2,3,4] | .[1:3] = [9] | .[0] += 1", "[2,9,4]"),
            ("[1,[2,3]] | [paths] ", "[[0],[1],[1,0],[1,1]]"),
            ("[1,[2,3]] | [path(..)] | length", "5"),
            ("{a:[{b:1},{b:2}]} | [path(.a[].b)]", r#"[["a",0,"b"],["a",1,"b"]]"#),
            ("{a:{b:1}} | getpath([\"a\",\"b\"]), 0", "1"),
            ("{a:{b:1}} | setpath([\"a\",\"c\"]; 2)", r#"{"a":{"b":1,"c":2}}"#),
            ("[1,2,3,4] | delpaths([[0]])", "[2,3,4]"),
            ("[3,1,2] | map(select(. > 1)) | map_values(. * 2)", "[6,4]"),
            ("[[1,2],[3,[4]]] | [flatten, flatten(1)]", "[[1,2,3,4],[1,2,3,[4]]]"),
            ("[1,[2]] | walk(if type == \"number\" then .+1 else . end)", "[2,[3]]"),
            ("{a:1,b:null} | with_entries(select(.value != null))", r#"{"a":1}"#),
            (".data.order | pick(.id)", r#"{"id":"o-9"}"#),
            ("{b:1} * {b:{c:2}} * {b:{d:3}}", r#"{"b":{"c":2,"d":3}}"#),
            ("[.[]?], [.id[]?]", "[\"1.0\",\"7\""),
        ][..17],
    );
}

#[test]
fn wide_texts_and_objects_are_what_narrow_ones_are() {
    let members: Vec<String> = (0..100).map(|i| format!("k{i}: {i}")).collect();
    let expected: Vec<String> = (0..100).map(|i| format!("\"k{i}\":{i}")).collect();
    assert_eq!(jq(&format!("{{{}}}", members.join(", "))), Ok(format!("{{{}}}", expected.join(","))));
    let (parts, text) = ("\\(1)a".repeat(50), "1a".repeat(50));
    assert_eq!(jq(&format!("\"{parts}\"")), Ok(format!("\"{text}\"")));
    assert_eq!(jq(&format!("@json \"{}\"", "\\(\"x\")-".repeat(20))), Ok(format!("\"{}\"", r#"\"x\"-"#.repeat(20))));
    // Each output with each other, in the same order.
    let wide = format!("[{{{}a: (1, 2), b: (3, 4)}} | [.a, .b]]", "x: 0, ".repeat(20));
    assert_eq!(jq(&wide), jq("[{a: (1, 2), b: (3, 4)} | [.a, .b]]"));
    let wide = format!("[\"\\(1, 2){}\\(3, 4)\"]", "\\(\"\")".repeat(20));
    assert_eq!(jq(&wide), jq("[\"\\(1, 2)\\(3, 4)\"]"));
    assert_eq!(jq(&format!("{{a: 1, {}a: 2}}", "b: 0, ".repeat(20))).as_deref(), Ok(r#"{"a":2,"b":0}"#));
}

#[test]
fn control_flow_and_definitions() {
    check(&[
        ("def double: . * 2; def twice(f): f | f; 3 | twice(double)", "12"),
        ("def f($a; $b): $a + $b; f(1; 2)", "3"),
        ("reduce range(5) as $i (0; . + $i)", "10"),
        ("[foreach range(4) as $i (0; . + $i; [$i, .])]", "[[0,0],[1,1],[2,3],[3,6]]"),
        ("[range(0; 10; 3)], 0", "[0,3,6,9]"),
        ("[label $out | 1, 2, break $out, 3]", "[1,2]"),
        ("try error(\"x\") catch .", r#""x""#),
        ("try error({a:1}) catch .a", "1"),
        ("[.id.x?, (.none // \"default\")]", r#"["default"]"#),
        ("if . then 1 elif . then 2 else 3 end", "1"),
        (". as {id: $id, data: {order: {tags: [$first]}}} | [$id, $first]", r#"["7","a"]"#),
        ("[1,2] | [until(length > 5; . + .)], 0", "[[1,2,1,2,1,2,1,2]]"),
        ("[1 | while(. < 10; . * 2)]", "[1,2,4,8]"),
        ("[2 | recurse(if . < 20 then . * . else empty end)]", "[2,4,16,256]"),
        ("[..|numbers] | length", "8"),
        ("[true, false | not]", "[false,true]"),
        ("def map(f): \"mine\"; map(.)", r#""mine""#),
        ("def f: def g: 3; g; f", "3"),
    ]);
}

#[test]
fn text_and_its_functions() {
    check(&[
        (r#""a\(1+1)b\("c")""#, r#""a2bc""#),
        (r#"@base64 "x\("hi")", @uri "\("a b/ü")""#, r#""xaGk=""#),
        (
            r#"[("a b/ü"|@uri), ("aGk="|@base64d), ("<&'\">"|@html), ([1,"a\"b",null,true]|@csv)]"#,
            r#"["a%20b%2F%C3%BC","hi","&lt;&amp;&#39;&quot;&gt;","1,\"a\"\"b\",,true"]"#,
        ),
        (r#"["it's", 1] | @sh"#, r#""'it'\\''s' 1""#),
        (
            r#"["a,b,c" / ",", ("abc" * 2), ("x" * 0), ("abc" | explode | implode)]"#,
            r#"[["a","b","c"],"abcabc",null,"abc"]"#,
        ),
        (r#"[("  a "|trim), ("abc"|ltrimstr("a")), (1|ltrimstr("a")), ("abc"|rtrimstr("c"))]"#, r#"["a","bc",1,"ab"]"#),
        (
            r#"[("aB"|ascii_downcase), ("aB"|ascii_upcase), ("abc"|startswith("a")), ("abc"|endswith("b"))]"#,
            r#"["ab","AB",true,false]"#,
        ),
        (r#"["a","b",null,1] | join("-")"#, r#""a-b--1""#),
        (
            r#"[("äbä"|indices("ä")), ("aaa"|indices("aa")), ([1,2,1]|indices(1)), ([1,2,1,2]|indices([1,2])), ("abc"|index("c"))]"#,
            "[[0,2],[0,1],[0,2],[0,2],2]",
        ),
        (
            r#"[("1.50"|tonumber), ("x"|tojson), ("[1,2.0]"|fromjson), (1.0|tostring), ("äö"|length), ("äö"|utf8bytelength)]"#,
            r#"[1.50,"\"x\"",[1,2.0],"1.0",2,4]"#,
        ),
        (
            r#"("2026-01-02T03:04:05Z"|fromdate) as $t | [$t, ($t|todate), (0.5|todate)]"#,
            r#"[1767323045,"2026-01-02T03:04:05Z","1970-01-01T00:00:00.500Z"]"#,
        ),
    ]);
}

#[test]
fn regular_expressions() {
    check(&[
        (r#"["order.placed.v1" | test("^order\\."), test("PLACED"), test("PLACED";"i")]"#, "[true,false,true]"),
        (
            r#""äb1" | match("(?<l>[a-z])(?<d>\\d)(x)?")"#,
            r#"{"offset":1,"length":2,"string":"b1","captures":[{"offset":1,"length":1,"string":"b","name":"l"},{"offset":2,"length":1,"string":"1","name":"d"},{"offset":-1,"length":0,"string":null}]}"#,
        ),
        (r#""o-12" | capture("(?<kind>[a-z])-(?<n>\\d+)")"#, r#"{"kind":"o","n":"12"}"#),
        (r#"["a1b22" | scan("\\d+")], 0"#, r#"["1","22"]"#),
        (r#"["a1b22" | scan("([a-z])(\\d+)")], 0"#, r#"[["a","1"],["b","22"]]"#),
        (r#""a, b;c" | split("[,;] *"; null)"#, r#"["a","b","c"]"#),
        (
            r#"["a1b2" | sub("\\d"; "x"), gsub("(?<d>\\d)"; "<\(.d)>"), gsub("";"-")]"#,
            r#"["axb2","a<1>b<2>","-a-1-b-2-"]"#,
        ),
        (r#"["ab" | splits("")] | length"#, "4"),
    ]);
    for (expression, reason) in [
        (r#""a" | test("(")"#, "cannot be used as a regular expression: "),
        (r#""a" | test("a";"q")"#, "expected flags of g, i, l, n, p, s and x, found q"),
        (r#""a" | test("(a)\\1")"#, "cannot be used as a regular expression: "),
        (r#""a" | test("((a{90}){90}){90}")"#, "cannot be used as a regular expression: "),
        (r#"1 | test("a")"#, "cannot use 1 as string"),
    ] {
        let found = jq(expression).unwrap_err();
        assert!(found.starts_with(reason), "{expression}: {found}");
    }
}

#[test]
fn collections() {
    check(&[
        ("[3,1,2] | [sort, min, max, add, length, reverse, (map(-.)|sort)]", "[[1,2,3],1,3,6,3,[2,1,3],[-3,-2,-1]]"),
        (".data.order.lines | [group_by(.sku)[] | length], [sort_by(.n)[].n], [unique_by(.n)[].n]", "[1,1,1]"),
        ("[{a:1,b:2},{a:1,b:3}] | [group_by(.a)[] | map(.b)]", "[[2,3]]"),
        (
            "[1,1,2] | [unique, (. - [1]), (. + [3]), any(. > 1), all(. > 1), first, last, nth(1)]",
            "[[1,2],[2],[1,1,2,3],true,false,1,2,1]",
        ),
        (
            "{b:1,a:2} | [keys, keys_unsorted, to_entries, (to_entries|from_entries), has(\"a\"), length]",
            r#"[["a","b"],["b","a"],[{"key":"b","value":1},{"key":"a","value":2}],{"b":1,"a":2},true,2]"#,
        ),
        ("[[1,2],[3]] | transpose", "[[1,3],[2,null]]"),
        (
            "[(\"foobar\"|contains(\"bar\")), ([1,[2,3]]|contains([[2]])), ({a:{b:1,c:2}}|contains({a:{b:1}})), (1|inside([1,2])?), ([1]|inside([1,2]))]",
            "[true,true,true,false,true]",
        ),
        ("[[1,2] | combinations(2)] | length", "4"),
        ("[null,true,0,\"\",[],{}] | [.[] | type], 0", r#"["null","boolean","number","string","array","object"]"#),
        ("[{},[],\"\",0,true,false,null] | sort", r#"[null,false,true,0,"",[],{}]"#),
        ("[{a:2},{a:1,b:0},{a:1}] | sort", r#"[{"a":1},{"a":2},{"a":1,"b":0}]"#),
        ("[1,2] == [1,2.0], 0", "true"),
        ("{a:1,b:2} == {b:2,a:1}", "true"),
        ("[limit(2; 1,2,3)], 0", "[1,2]"),
        ("[splits(\"a\")?, isempty(empty), ([1]|toarray), (1|toarray)]", "[true,[1],[1]]"),
    ]);
}

#[test]
fn what_fails_says_why() {
    for (expression, reason) in [
        ("error(\"no such order\")", "no such order"),
        ("error({code:1})", r#"{"code":1}"#),
        ("error", r#"{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed.v1","subject…"#),
        (".id.x", r#"cannot index "7" with "x""#),
        (".id[]", r#"cannot use "7" as array or object"#),
        ("1 + \"a\"", r#"cannot calculate 1 + "a""#),
        ("{(1):2}", "cannot use 1 as string"),
        ("\"{\" | fromjson", "expected JSON: EOF while parsing an object at line 1 column 1"),
        ("\"x\" | tonumber", "expected JSON: expected value at line 1 column 1"),
        ("1e99 | todate", "expected seconds of the years 1 to 9999, found 1e99"),
        ("[1] | implode | error", "\u{1}"),
        ("true | length", "true has no length"),
        ("\"Ö\" | @base64d", "cannot be decoded as base64: Invalid symbol 195, offset 0."),
        ("[1] | join(1)", "cannot use 1 as string"),
    ] {
        match jq(expression) {
            Ok(outcome) => assert_eq!(outcome, "\"1\"", "{expression}"),
            Err(found) => assert_eq!(found, reason, "{expression}"),
        }
    }
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    let (long, deep) = (format!("\"{}\"", "x".repeat(4_100)), "[".repeat(98) + &"]".repeat(98));
    for (expression, line, column, reason) in [
        ("", 1, 1, "expected text, found none"),
        (" ", 1, 2, "expected term, found the end"),
        (".a |", 1, 5, "expected term, found the end"),
        (".a\n | (.b", 2, 7, "expected closing parenthesis"),
        (".é | \"x", 1, 2, "expected"),
        ("1 §", 1, 3, "expected token"),
        ("if . then 1", 1, 12, "expected else or end, found the end"),
        (".a | nothere", 1, 6, "there is no function nothere"),
        ("map(.; 1)", 1, 1, "there is no function map with 2 arguments, only with 1"),
        ("$x", 1, 1, "there is no variable $x"),
        ("[$ENV]", 1, 2, "there is no variable $ENV"),
        ("break $x", 1, 7, "there is no label $x"),
        ("reduce . as $x (1)", 1, 1, "there is no filter reduce"),
        ("1 as $x | 2 | @foo \"a\"", 1, 15, "there is no function @foo"),
        (&long, 1, 4_097, "expected at most 4096 characters, found 4102"),
        (&deep, 1, 1, "expected at most 96 levels of nesting and operators, found more"),
        ("import \"a\" as a; 1", 1, 8, "expected nothing, found \"a\""),
        ("a::b", 1, 1, "there is no function a::b"),
    ] {
        let (pointer, line_is, column_is, why) = refusal(&Transform::Jq(expression.into()));
        assert_eq!(pointer, "/transform/jq");
        assert_eq!((line_is, column_is), (line, column), "{expression}: {why}");
        assert!(why.starts_with(reason), "{expression}: {why}");
    }
}

#[test]
fn nothing_but_the_event_is_looked_at() {
    for (expression, reason) in [
        ("now", "the same event has the same outcome at any time and place"),
        ("0 | localtime", "the same event has the same outcome"),
        ("0 | strftime(\"%Y\")", "the same event has the same outcome"),
        ("input", "an expression sees nothing but its event"),
        ("[inputs]", "an expression sees nothing but its event"),
        ("env.PATH", "an expression sees nothing but its event"),
        ("halt", "an expression has no effects"),
        ("halt_error(1)", "an expression has no effects"),
        ("debug", "an expression has no effects"),
        ("input_filename", "an expression sees nothing but its event"),
        ("1 | sin", "of mathematics there are"),
    ] {
        let (.., why) = refusal(&Transform::Jq(expression.into()));
        assert!(why.contains(reason), "{expression}: {why}");
    }
}
