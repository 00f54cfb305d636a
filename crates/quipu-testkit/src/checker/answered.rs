//! Everything that a process took is answered by the time it has stopped, and nobody is told that the outcome is not known
//! unless a fault was injected.

use crate::checker::{Verdict, is_injected, violated};
use crate::{Answer, Entry};

const NAME: &str = "answered";

/// What a process stopped with: everything has its answer.
pub fn check(entries: &[Entry]) -> Verdict {
    match entries.iter().position(|entry| entry.answer.is_none()) {
        Some(number) => Err(violated(NAME, format!("operation {number} was not answered when its process stopped"))),
        None => Ok(()),
    }
}

/// An answer that came. `has_failed` is whether the disk failed in this process, as it was asked to.
pub fn check_answer(answer: &Answer, has_failed: bool) -> Verdict {
    match answer {
        Answer::Unknown(why) if !(has_failed && is_injected(why)) => {
            Err(violated(NAME, format!("no fault was injected that leads to: {why}")))
        }
        _ => Ok(()),
    }
}

/// An answer that was given before the operation was in line: it can only be that it was not taken. `is_busy` is whether
/// anything waits for its answer.
pub fn check_at_once(answer: &Answer, has_failed: bool, is_busy: bool) -> Verdict {
    match answer {
        Answer::Unknown(why) if is_busy && why.contains("wait to be appended") => Ok(()),
        Answer::Unknown(_) => check_answer(answer, has_failed),
        _ => Err(violated(NAME, format!("answered before it was durable: {answer:?}"))),
    }
}
