//! Whether versions of a schema can live with each other, proven or refuted.
//!
//! **What is asked.** *Backward*: whatever a producer of an old version writes, a reader of the new version accepts.
//! *Forward*: the old version accepts whatever a producer of the new one writes.
//!
//! **What a producer writes** of a schema: what the schema accepts, with only the fields that the schema declares. A
//! field is declared at a place if some schema that applies there names it under `properties` or `required`, as
//! needed by a dependency, or by a pattern of `patternProperties`; in whichever branch of an `anyOf`, `oneOf` or
//! `if`, so that a payload may mix branches. A place where nothing names fields is free, and so is one that states
//! `additionalProperties` or `unevaluatedProperties` other than `false`. A reader accepts what its schema does as it
//! stands.
//!
//! From this follows: to add an optional field is compatible in both directions, of whatever type, unless the older
//! reader says `additionalProperties: false`; to add a required one breaks backward; to remove an optional one breaks
//! nothing under an open reader; to remove a required one breaks forward.
//!
//! **Answers.** Yes is a proof (field by field, with the algebra of schemas at the leaves). No is a payload that
//! the writer's schema accepts and the reader's refuses, tried on the validator that the registry uses. Else the
//! answer is unknown, with reasons, and the caller may go and try the events that are stored.
//!
//! Pure and repeatable: budgets count steps, not time, and what is drawn at random follows from a fixed seed.

mod algebra;
pub(crate) mod keyword;
pub(crate) mod kind;
mod level;
pub(crate) mod part;
mod proof;
mod refute;
mod rule;
#[cfg(test)]
mod tests;
pub(crate) mod tree;
mod validator;
mod verdict;
mod words;
pub(crate) mod work;
mod writer;

pub use level::Level;
pub use verdict::{Answer, Break, CounterExample, Direction, Verdict};

use std::collections::BTreeSet;

use serde_json::Value;

use proof::Proof;
use refute::{Refutation, general};
use tree::Tree;
use work::Work;

/// What a comparison may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// All that is looked at, in units of some 50 ns; shared out to the pairs of versions and the directions. What is
    /// not decided by then is unknown.
    pub work: u64,
    /// Questions to the algebra of schemas, for one pair in one direction.
    pub questions: usize,
    /// Payloads that are tried, for one pair in one direction; large ones count for several.
    pub payloads: usize,
    /// Pairs of versions: transitive levels compare with the newest ones up to here and then say that they do not know.
    pub versions: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { work: 20_000_000, questions: 300, payloads: 3_000, versions: 64 }
    }
}

/// Compares a new version with the old ones, oldest first: the newest of them, or all if the level is transitive.
///
/// The schemas are taken as checked: valid, at most 256 KiB, 64 deep, without references to other documents.
pub fn compare(level: Level, old: &[(u32, &Value)], new: &Value, budget: Budget) -> Verdict {
    let mut verdict = Verdict::default();
    let from = if level.is_transitive() { 0 } else { old.len().saturating_sub(1) };
    let pairs = (old.len() - from).min(budget.versions);
    let mut comparisons = pairs * level.directions().len();
    let mut left = budget.work;
    for (index, (version, old)) in old[from..].iter().rev().enumerate() {
        if level.directions().is_empty() {
            break;
        }
        if index >= budget.versions {
            verdict.doubt(format!("version {version} and those before it were not compared"));
            break;
        }
        for direction in level.directions() {
            let (writer, reader) = match direction {
                Direction::Backward => (*old, new),
                Direction::Forward => (new, *old),
            };
            let share = left / comparisons.max(1) as u64;
            comparisons = comparisons.saturating_sub(1);
            left -= one(&mut verdict, *direction, *version, [writer, reader], share, budget);
        }
    }
    verdict
}

/// Compares a pair in one direction, and says how much of its share of the work it needed.
fn one(
    verdict: &mut Verdict,
    direction: Direction,
    version: u32,
    [writer, reader]: [&Value; 2],
    share: u64,
    budget: Budget,
) -> u64 {
    if writer == reader {
        return 0;
    }
    // A proof that takes too long leaves enough to look for a payload.
    let of_proof = share / 2;
    let work = Work::new(of_proof);
    let (written, read) = match (Tree::new(writer, &work), Tree::new(reader, &work)) {
        (Ok(written), Ok(read)) => (written, read),
        (Err(reason), _) | (_, Err(reason)) => {
            verdict.doubt(reason);
            return of_proof;
        }
    };
    if written.draft != read.draft {
        verdict.doubt("schemas of one draft are compared, found draft 7 and 2020-12".to_owned());
        return of_proof - work.left();
    }
    let mut proof = Proof::new(&written, &read, budget.questions);
    if proof.holds() {
        return of_proof - work.left();
    }
    work.renew(share - of_proof + work.left());
    refute(verdict, direction, version, &mut proof, budget);
    share - work.left()
}

/// Looks for payloads that show what breaks.
fn refute(verdict: &mut Verdict, direction: Direction, version: u32, proof: &mut Proof<'_, '_>, budget: Budget) {
    let mut refutation = match Refutation::new(proof.writer, proof.reader, budget.payloads) {
        Ok(refutation) => refutation,
        Err(reason) => return verdict.doubt(format!("a schema cannot be compiled: {reason}")),
    };
    refutation.search(proof, 0x5155_4950_5500 ^ u64::from(version));
    if refutation.shown.is_empty() {
        let places: BTreeSet<String> = proof.doubts.iter().map(|doubt| place(&doubt.path)).take(8).collect();
        let places: Vec<String> = places.into_iter().collect();
        verdict.doubt(format!("neither proven nor refuted: {}", places.join(", ")));
        for reason in std::mem::take(&mut proof.reasons) {
            verdict.doubt(reason);
        }
        return;
    }
    for shown in refutation.shown {
        let pointer = general(&shown.payload, &shown.fault.pointer);
        let what = words::what(&shown, direction);
        let schema_pointer = shown.fault.schema_pointer.clone();
        verdict.breaks.push(Break { direction, version, pointer: pointer.clone(), what, schema_pointer });
        let keyword = shown.fault.keyword;
        let payload = shown.payload;
        verdict.counter_examples.push(CounterExample { direction, version, payload, pointer, keyword });
    }
    verdict.answer = Answer::No;
}

fn place(path: &[part::Step]) -> String {
    let steps = path.iter().map(|step| match step {
        part::Step::Field(name) => name.as_str(),
        part::Step::AnyField | part::Step::Item(_) => "*",
    });
    let place = steps.collect::<Vec<_>>().join(".");
    if place.is_empty() { "the data".to_owned() } else { place }
}
