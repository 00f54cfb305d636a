//! A duplicate gets the first answer: no two events that are not further apart than the deduplication window have one
//! source and id, and without a window all answers about a pair name one position.

use std::collections::BTreeMap;

use crate::checker::{Verdict, pair, violated};
use crate::{Entry, Logged};

const NAME: &str = "duplicates";

/// `window` is in how many of the newest events a pair is looked for; nothing if the history stays within it.
pub fn check(history: &[Entry], log: &[Logged], window: Option<u64>) -> Verdict {
    let mut recorded: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for logged in log {
        let position = logged.stamp.position;
        let first = recorded.insert(pair(&logged.event), position);
        if let Some(first) = first.filter(|first| window.is_none_or(|window| first + window >= position)) {
            return Err(violated(
                NAME,
                format!("{} is recorded at position {first} and again at {position}", logged.event.id()),
            ));
        }
    }
    if window.is_some() {
        // Which of several events an answer meant is what the model says.
        return Ok(());
    }
    for (number, entry) in history.iter().enumerate() {
        let Some(answer) = &entry.answer else { continue };
        for (draft, told) in entry.operation.drafts().iter().zip(answer.positions()) {
            let first = recorded.get(&pair(&draft.event));
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
