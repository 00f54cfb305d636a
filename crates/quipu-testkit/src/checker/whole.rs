//! A commit is whole or absent, also one that nobody was told about.

use crate::checker::{Verdict, violated};
use crate::{Entry, Logged, Operation};

/// Of every append the log holds all events, side by side, or none that is only its own.
pub fn check(history: &[Entry], log: &[Logged]) -> Verdict {
    for (number, entry) in history.iter().enumerate() {
        let Operation::Append(proposal) = &entry.operation else { continue };
        let places: Vec<Option<usize>> = proposal
            .events
            .iter()
            .map(|draft| {
                log.iter().position(|logged| {
                    logged.event.id() == draft.event.id()
                        && logged.event.source() == draft.event.source()
                        && logged.event.same_content(&draft.event)
                })
            })
            .collect();
        // An append may repeat events of other operations; those are refused, and say nothing about wholeness.
        let is_only_here = proposal.events.iter().all(|draft| {
            let others = history.iter().enumerate().filter(|(other, _)| *other != number);
            !others.flat_map(|(_, other)| other.operation.drafts()).any(|other| {
                other.event.id() == draft.event.id()
                    && other.event.source() == draft.event.source()
                    && proposal.events.len() > 1
            })
        });
        let present = places.iter().flatten().count();
        let is_together = places.windows(2).all(|pair| match pair {
            [Some(a), Some(b)] => a + 1 == *b,
            _ => true,
        });
        if is_only_here && (present != 0 && present != places.len() || !is_together) {
            return Err(violated(
                "whole",
                format!("append {number} of {} events: the log holds {present}, at {places:?}", places.len()),
            ));
        }
    }
    Ok(())
}
