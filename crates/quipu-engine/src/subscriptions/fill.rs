//! Brings the deliveries of a subscription up to date with the log: from the router's queue, or, while the subscription
//! is behind, from the log itself.

use std::sync::atomic::Ordering;

use quipu_domain::delivery::Key;
use quipu_domain::{Direction, Filter};
use quipu_store::Fault;

use super::key::KeyOf;
use super::running::{Compiled, Inner};
use crate::tenant::Tenant;

/// Events looked at in one go, so that a caller who finds none is not kept: the next call goes on.
const EXAMINED_MAX: usize = 20_000;
/// Events read at once.
const CHUNK: usize = 1_000;
/// Events of one key that are taken up at once.
const KEY_EVENTS: usize = 256;

impl Tenant {
    /// Offers events as far as there is room. Whether there is more to look at right now.
    pub(super) fn fill(&self, compiled: &Compiled, inner: &mut Inner) -> Result<bool, Fault> {
        if inner.is_changing {
            return Ok(false);
        }
        let mut examined = 0;
        while let Some((key, from, to)) = inner.deliveries.reads() {
            if examined >= EXAMINED_MAX {
                return Ok(true);
            }
            self.read_key(compiled, inner, key, from, to)?;
            examined += KEY_EVENTS;
        }
        while inner.deliveries.has_room(&compiled.rules) {
            // Read first: what was routed up to here is in the queue by now.
            let routed_to = self.subscriptions.routed_to.load(Ordering::Acquire);
            if let Some(matched) = inner.queue.pop_front() {
                if matched.position > inner.deliveries.scan() {
                    inner.deliveries.offer(matched.position, matched.key, matched.expires);
                }
                continue;
            }
            if inner.is_attached {
                inner.deliveries.looked_to(routed_to);
                return Ok(false);
            }
            let durable = self.position();
            if inner.deliveries.scan() >= durable {
                return Ok(false);
            }
            if examined >= EXAMINED_MAX {
                return Ok(true);
            }
            let from = Some(inner.deliveries.scan() + 1);
            let page = self.read_to(&Filter::default(), Direction::Forward, from, CHUNK, durable)?;
            examined += page.events.len().max(1);
            for recorded in &page.events {
                if !inner.deliveries.has_room(&compiled.rules) {
                    return Ok(false);
                }
                let (event, position) = (recorded.event(), recorded.stamp.position);
                if compiled.matches(&event, &recorded.stamp) {
                    let matched = compiled.matched(&event, position, &self.hasher);
                    inner.deliveries.offer(position, matched.key, matched.expires);
                } else {
                    inner.deliveries.looked_to(position);
                }
            }
        }
        Ok(false)
    }

    /// Finds the next events of a key that waited while an earlier one of it was unfinished.
    fn read_key(&self, compiled: &Compiled, inner: &mut Inner, key: Key, from: u64, to: u64) -> Result<(), Fault> {
        let Some(first) = self.event_at(from)? else {
            inner.deliveries.found(key, &[], to);
            return Ok(());
        };
        // The subject leads through the index, if this is an event of the key; another key has to be looked for.
        let event = first.event();
        let is_first_of_key = compiled.key.of(&event, &self.hasher) == Some(key);
        let filter = match (&compiled.key, event.subject()) {
            (KeyOf::Subject, Some(subject)) if is_first_of_key => {
                Filter { subjects: vec![subject.to_owned()], ..Filter::default() }
            }
            _ => Filter::default(),
        };
        let page = self.read_to(&filter, Direction::Forward, Some(from), KEY_EVENTS, to)?;
        let is_of_key = |recorded: &&crate::read::Recorded| {
            let event = recorded.event();
            compiled.key.of(&event, &self.hasher) == Some(key) && compiled.matches(&event, &recorded.stamp)
        };
        let mut found: Vec<u64> =
            page.events.iter().filter(is_of_key).map(|recorded| recorded.stamp.position).collect();
        // The last one found is where to read on: the position after it may be of any key.
        let read_to = match (page.next, &found[..]) {
            (None, _) => to,
            (Some(_), [.., last]) if found.len() > 1 => last - 1,
            (Some(next), _) => next - 1,
        };
        found.retain(|position| *position <= read_to);
        inner.deliveries.found(key, &found, read_to);
        Ok(())
    }
}
