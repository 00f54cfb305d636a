//! A duplicate gets the first answer: no two events of a log have one source and id, and all answers about a pair
//! name one position.

use std::collections::BTreeMap;

use crate::checker::{Verdict, violated};
use crate::{Entry, Logged};

const NAME: &str = "duplicates";

/// Holds for histories that stay within the deduplication window.
pub fn check(history: &[Entry], log: &[Logged]) -> Verdict {
    let mut recorded: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for logged in log {
        let position = logged.stamp.position;
        if let Some(first) = recorded.insert((logged.event.source(), logged.event.id()), position) {
            return Err(violated(
                NAME,
                format!("{} is recorded at position {first} and again at {position}", logged.event.id()),
            ));
        }
    }
    for (number, entry) in history.iter().enumerate() {
        let Some(answer) = &entry.answer else { continue };
        for (draft, told) in entry.operation.drafts().iter().zip(answer.positions()) {
            let first = recorded.get(&(draft.event.source(), draft.event.id()));
            if told.is_some() && told.as_ref() != first {
                return Err(violated(
                    NAME,
                    format!("operation {number}, {}: expected position {first:?}, found {told:?}", draft.event.id()),
                ));
            }
        }
    }
    Ok(())
}
