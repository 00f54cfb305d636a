//! No acknowledged event is lost or changed.

use crate::checker::{Verdict, violated};
use crate::{Entry, Logged};

const NAME: &str = "acknowledged";

/// Every event that an answer gave a position to stands there, with its content.
pub fn check(history: &[Entry], log: &[Logged]) -> Verdict {
    for (number, entry) in history.iter().enumerate() {
        let Some(answer) = &entry.answer else { continue };
        for (draft, position) in entry.operation.drafts().iter().zip(answer.positions()) {
            let Some(position) = position else { continue };
            let at = |logged: &&Logged| logged.stamp.position == position;
            let Some(logged) = log.iter().find(at) else {
                return Err(violated(
                    NAME,
                    format!(
                        "operation {number} was told position {position} for {}, the log ends at {}",
                        draft.event.id(),
                        log.len()
                    ),
                ));
            };
            let (found, sent) = (&logged.event, &draft.event);
            if (found.id(), found.source()) != (sent.id(), sent.source()) || !found.same_content(sent) {
                return Err(violated(
                    NAME,
                    format!("operation {number}: expected {sent:?} at position {position}, found {found:?}"),
                ));
            }
        }
    }
    Ok(())
}
