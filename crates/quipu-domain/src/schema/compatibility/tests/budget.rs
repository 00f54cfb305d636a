//! Pairs that registration lets through and that are made to be dear: what is looked at has an end, and where it ends
//! nothing is claimed.

use serde_json::{Map, Value, json};

use super::super::{Answer, Budget, Level, Verdict, compare};
use super::assert_true;
use crate::schema::compatibility::tree::Tree;
use crate::schema::compatibility::work::Work;
use crate::schema::generate::{Amount, Generator};
use crate::schema::{Document, Limits};

fn fields(count: usize, of: impl Fn(usize) -> Value) -> Value {
    let fields: Map<String, Value> = (0..count).map(|n| (format!("f{n}"), of(n))).collect();
    json!({"type": "object", "properties": fields})
}

fn list(count: usize, of: impl Fn(usize) -> Value) -> Value {
    (0..count).map(of).collect()
}

fn tagged(v: usize) -> impl Fn(usize) -> Value {
    move |n| json!({"type": "object", "properties": {"k": {"const": n}, "v": {"maxLength": 50 + v}}, "required": ["k"]})
}

/// Every pair took seconds or did not end when only steps were counted, or has a shape of its own.
fn pairs() -> Vec<(&'static str, [Value; 2])> {
    let both = |of: &dyn Fn(usize) -> Value| [of(0), of(1)];
    let choice = |n: usize, v: usize| {
        list(6, |m| json!({"properties": {format!("p{n}"): {"const": m + v}}, "required": [format!("p{n}")]}))
    };
    vec![
        ("products", both(&|v| json!({"type": "object", "allOf": list(300, |n| json!({"anyOf": choice(n, v)}))}))),
        (
            "texts",
            both(
                &|v| json!({"anyOf": list(1_000, |n| json!({"type": "string", "minLength": n + v, "maxLength": n + 1 + v}))}),
            ),
        ),
        ("tagged", both(&|v| json!({"oneOf": list(1_000, tagged(v))}))),
        ("tagged fields", both(&|v| fields(50, |_| json!({"oneOf": list(20, tagged(v))})))),
        ("patterns", both(&|v| fields(128, |n| json!({"pattern": format!("^[a-z{v}]{{1,{}}}$", 1 + n)})))),
        ("objects", both(&|v| fields(18, |_| json!({"enum": list(400, |n| json!({"k": n + v}))})))),
        ("all", both(&|v| json!({"allOf": list(2_000, |n| json!({"required": [format!("f{}", n + v)]}))}))),
        ("not", both(&|v| json!({"not": {"anyOf": list(500, |n| json!({"required": [format!("f{}", n + v)]}))}}))),
    ]
}

fn with_work(work: u64, [old, new]: &[Value; 2]) -> Verdict {
    compare(Level::Full, &[(1, old)], new, Budget { work, ..Budget::default() })
}

#[test]
fn a_pair_that_is_dear_is_unknown_and_not_looked_at_for_ever() {
    for (name, pair) in pairs() {
        for schema in &pair {
            if let Err(refused) = Document::parse(schema.to_string(), &Limits::default()) {
                panic!("{name} is not what registration lets through: {refused}");
            }
        }
        let verdict = with_work(400_000, &pair);
        assert_true(&verdict, &pair[0], &pair[1]);
        assert_ne!(verdict.answer, Answer::Yes, "{name}");
        if verdict.answer == Answer::Unknown {
            assert_ne!(verdict.reasons, Vec::<String>::new(), "{name}");
        }
    }
}

/// Schemas that are compatible: with too little work that is not known, and is never denied.
#[test]
fn a_budget_too_small_never_turns_a_verdict_round() {
    let wider = [
        [fields(40, |_| json!({"type": "string", "maxLength": 5})), fields(40, |_| json!({"type": "string"}))],
        [json!({"oneOf": list(20, tagged(0))}), json!({"anyOf": list(20, tagged(0))})],
        [json!({"enum": list(50, |n| json!(n))}), json!({"enum": list(60, |n| json!(n))})],
    ];
    for pair in wider {
        let at = |work| {
            let budget = Budget { work, ..Budget::default() };
            compare(Level::Backward, &[(1, &pair[0])], &pair[1], budget).answer
        };
        assert_eq!(at(Budget::default().work), Answer::Yes, "{}", pair[0]);
        let (mut work, mut answers) = (1, Vec::new());
        while work < 2_000_000 {
            answers.push(at(work));
            work *= 2;
        }
        assert_eq!(answers[0], Answer::Unknown);
        assert!(!answers.contains(&Answer::No), "{answers:?} {}", pair[0]);
    }
}

/// A transitive level compares with many versions: they share what there is for one.
#[test]
fn many_versions_share_one_budget() {
    let versions: Vec<Value> = (0..40).map(|v| json!({"oneOf": list(60, tagged(v))})).collect();
    let old: Vec<(u32, &Value)> = (1..).zip(&versions[1..]).collect();
    let verdict = compare(Level::FullTransitive, &old, &versions[0], Budget { work: 500_000, ..Budget::default() });
    assert_eq!(verdict.answer, Answer::Unknown);
}

/// What is made is paid for by what it takes to make it, found or not.
#[test]
fn making_payloads_is_paid_for() {
    let made = |schema: &Value| {
        let work = Work::new(1 << 30);
        let tree = Tree::new(schema, &work).unwrap();
        work.renew(1 << 30);
        Generator::new(&tree, 1).payload(Amount::Most, &[]);
        (1 << 30) - work.left()
    };
    let one = made(&fields(1, |_| json!({"type": "string"})));
    let hundred = made(&fields(100, |_| json!({"type": "string"})));
    let choices = made(&json!({"oneOf": list(1_000, tagged(0))}));
    assert!(hundred > 50 * one / 2 && choices > 1_000, "{one} {hundred} {choices}");
}

/// Nothing, repeated 400 times at each of 12 levels.
#[test]
fn a_pattern_that_makes_nothing_for_ever_is_given_up() {
    let nothing = (0..12).fold(String::new(), |inner, _| format!("(?:{inner}){{400}}"));
    let of = |end: &str| json!({"type": "string", "pattern": format!("^{nothing}{end}$")});
    let pair = [of("a"), of("b")];
    assert_ne!(with_work(Budget::default().work, &pair).answer, Answer::Yes);
}
