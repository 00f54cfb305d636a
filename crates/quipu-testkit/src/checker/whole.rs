//! A commit is whole or absent, also one that nobody was told about.

use std::collections::{BTreeSet, HashMap};

use crate::checker::{Verdict, pair, violated};
use crate::{Draft, Entry, Logged, Operation};

/// Of every append the log holds all events, side by side, or none that is only its own.
pub fn check(history: &[Entry], log: &[Logged]) -> Verdict {
    // What is looked up by source and id: where the log has it, and how many drafts of all operations were of it.
    let mut logged: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (place, each) in log.iter().enumerate() {
        logged.entry(pair(&each.event)).or_default().push(place);
    }
    let mut sent: HashMap<(&str, &str), BTreeSet<usize>> = HashMap::new();
    for (number, entry) in history.iter().enumerate() {
        let drafts = entry.operation.drafts();
        // A retry is the same append: it is whole or absent as the first one is.
        let is_retry = |number: &usize| history[*number].operation == entry.operation;
        let earlier = drafts.first().and_then(|draft| sent.get(&pair(&draft.event)));
        if earlier.is_some_and(|earlier| earlier.iter().any(is_retry)) {
            continue;
        }
        for draft in drafts {
            sent.entry(pair(&draft.event)).or_default().insert(number);
        }
    }
    for (number, entry) in history.iter().enumerate() {
        let Operation::Append(proposal) = &entry.operation else { continue };
        let places: Vec<Option<usize>> = proposal
            .events
            .iter()
            .map(|draft| {
                let places = logged.get(&pair(&draft.event))?;
                places.iter().copied().find(|place| log[*place].event.same_content(&draft.event))
            })
            .collect();
        // An append may repeat events of other operations; those are refused, and say nothing about wholeness.
        let is_repeated = |draft: &Draft| sent[&pair(&draft.event)].len() > 1;
        let is_only_here = proposal.events.len() == 1 || !proposal.events.iter().any(is_repeated);
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
