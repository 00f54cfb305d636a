//! Tables of what is compatible, properties over random schemas, and schemas that mean harm.

mod budget;
mod hostile;
mod property;
mod random_schema;
mod table;
mod writes;

use serde_json::Value;

use super::{Answer, Budget, Level, Verdict, compare};
use crate::schema::compatibility::validator::Validator;
use crate::schema::compatibility::work::Work;

/// A comparison at one level, with the default budget.
fn compared(level: Level, old: &Value, new: &Value) -> Verdict {
    compare(level, &[(1, old)], new, Budget::default())
}

/// Work without an end.
fn endless() -> Work {
    Work::new(u64::MAX)
}

/// Holds every counter-example against validators made for it here.
fn assert_true(verdict: &Verdict, old: &Value, new: &Value) {
    assert_eq!(verdict.answer == Answer::No, !verdict.counter_examples.is_empty());
    assert_eq!(verdict.breaks.len(), verdict.counter_examples.len());
    for example in &verdict.counter_examples {
        let (writer, reader) = match example.direction {
            super::Direction::Backward => (old, new),
            super::Direction::Forward => (new, old),
        };
        assert!(Validator::new(writer, &endless()).unwrap().accepts(&example.payload), "{example:?} of {writer}");
        assert!(!Validator::new(reader, &endless()).unwrap().accepts(&example.payload), "{example:?} for {reader}");
    }
}
