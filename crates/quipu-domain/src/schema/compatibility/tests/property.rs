//! Properties over random pairs: a yes is never contradicted, every counter-example is true.

use proptest::prelude::*;
use serde_json::Value;

use super::random_schema::{document, edited};
use super::{Answer, Level, assert_true, compared, endless};
use crate::schema::compatibility::tree::Tree;
use crate::schema::compatibility::validator::Validator;
use crate::schema::compatibility::writer::declares_all;
use crate::schema::generate::{Amount, Generator, Random, border};

/// A pair of versions that both compile.
fn pair(seed: u64) -> Option<(Value, Value)> {
    let mut random = Random::new(seed);
    let seven = random.below(2) == 0;
    let old = document(&mut random, seven);
    let new = edited(&mut random, &old, 2, seven);
    let compiles = |schema: &Value| Validator::new(schema, &endless()).is_ok() && Tree::new(schema, &endless()).is_ok();
    (old != new && compiles(&old) && compiles(&new)).then_some((old, new))
}

/// Whether payloads that a producer of the writer's schema writes contradict a yes; and how many were made.
fn contradiction(writer: &Value, reader: &Value, seed: u64, wanted: usize) -> (usize, Option<Value>) {
    let tree = Tree::new(writer, &endless()).unwrap();
    let at = tree.located(&[writer], &[writer]);
    let (writes, reads) = (Validator::new(writer, &endless()).unwrap(), Validator::new(reader, &endless()).unwrap());
    let mut generator = Generator::new(&tree, seed);
    let near = border(&mut Random::new(seed), &[writer, reader], &endless());
    let mut made = 0;
    for round in 0..wanted * 3 {
        if made == wanted {
            break;
        }
        let amount = [Amount::Some, Amount::Some, Amount::Some, Amount::Least, Amount::Most][round % 5];
        let payload = near.get(round).cloned().or_else(|| generator.payload(amount, &[]));
        let Some(mut payload) = payload else { continue };
        // Every other one is bent: a field gets a value from elsewhere.
        if round % 2 == 1
            && let Some(fields) = payload.as_object_mut()
            && let Some(value) = fields.values_mut().next()
        {
            *value = near[round % near.len()].clone();
        }
        if writes.accepts(&payload) && declares_all(&tree, &at, &payload) {
            made += 1;
            if !reads.accepts(&payload) {
                return (made, Some(payload));
            }
        }
    }
    (made, None)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_yes_to_is_never_contradicted_by_a_thousand_payloads(seed: u64) {
        let Some((old, new)) = pair(seed) else { return Ok(()) };
        for (level, writer, reader) in [(Level::Backward, &old, &new), (Level::Forward, &new, &old)] {
            let verdict = compared(level, &old, &new);
            assert_true(&verdict, &old, &new);
            if verdict.answer == Answer::Yes {
                let (_, found) = contradiction(writer, reader, seed, 1000);
                prop_assert_eq!(found, None, "{} {} {}", level, old, new);
            }
        }
    }
}

/// Counts over many pairs. With `QUIPU_PAIRS=20000` and `--no-capture` it prints the figures of the documents.
#[test]
fn few_answers_are_unknown() {
    let pairs = std::env::var("QUIPU_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(150_u64);
    let (mut yes, mut no, mut unknown, mut payloads) = (0_u64, 0_u64, 0_u64, 0);
    for seed in 0..pairs {
        let Some((old, new)) = pair(seed) else { continue };
        for (level, writer, reader) in [(Level::Backward, &old, &new), (Level::Forward, &new, &old)] {
            let verdict = compared(level, &old, &new);
            assert_true(&verdict, &old, &new);
            match verdict.answer {
                Answer::Yes => {
                    yes += 1;
                    let (made, found) = contradiction(writer, reader, seed, if pairs > 1000 { 300 } else { 50 });
                    payloads += made;
                    assert_eq!(found, None, "seed {seed} {level} {old} {new}");
                }
                Answer::No => no += 1,
                Answer::Unknown => {
                    unknown += 1;
                    let bent = contradiction(writer, reader, seed, 2000).1;
                    if pairs > 1000 || std::env::var_os("QUIPU_SHOW").is_some() {
                        println!("unknown, seed {seed}, {level}, {bent:?}: {:?}\n  {old}\n  {new}", verdict.reasons);
                    }
                }
            }
        }
    }
    let all = yes + no + unknown;
    let share = 100.0 * unknown as f64 / all.max(1) as f64;
    println!("{all} comparisons: {yes} yes ({payloads} payloads), {no} no, {unknown} unknown ({share:.1} %)");
    assert!(share < 10.0, "{share} % are unknown");
}
