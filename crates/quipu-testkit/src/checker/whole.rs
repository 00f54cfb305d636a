//! A commit is whole or absent, also one that nobody was told about.

use std::collections::{BTreeSet, HashMap};

use quipu_domain::Event;

use crate::checker::{Verdict, violated};
use crate::{Draft, Entry, Logged, Operation};

/// What tells events apart: source and id.
type Key<'e> = (&'e str, &'e str);

fn key<'e>(event: &'e Event<'_>) -> Key<'e> {
    (event.source(), event.id())
}

/// Of every append the log holds all events, side by side, or none that is only its own.
pub fn check(history: &[Entry], log: &[Logged]) -> Verdict {
    // What is looked up by source and id: where the log has it, and how many drafts of all operations were of it.
    let mut logged: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    for (place, each) in log.iter().enumerate() {
        logged.entry(key(&each.event)).or_default().push(place);
    }
    let mut sent: HashMap<Key<'_>, BTreeSet<usize>> = HashMap::new();
    for (number, entry) in history.iter().enumerate() {
        let drafts = entry.operation.drafts();
        // A retry is the same append: it is whole or absent as the first one is.
        let is_retry = |number: &usize| history[*number].operation == entry.operation;
        let earlier = drafts.first().and_then(|draft| sent.get(&key(&draft.event)));
        if earlier.is_some_and(|earlier| earlier.iter().any(is_retry)) {
            continue;
        }
        for draft in drafts {
            sent.entry(key(&draft.event)).or_default().insert(number);
        }
    }
    for (number, entry) in history.iter().enumerate() {
        let Operation::Append(proposal) = &entry.operation else { continue };
        let places: Vec<Option<usize>> = proposal
            .events
            .iter()
            .map(|draft| {
                let places = logged.get(&key(&draft.event))?;
                places.iter().copied().find(|place| log[*place].event.same_content(&draft.event))
            })
            .collect();
        // An append may repeat events of other operations; those are refused, and say nothing about wholeness.
        let is_repeated = |draft: &Draft| sent[&key(&draft.event)].len() > 1;
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
