//! Brings the deliveries of a subscription up to date with the log: from the router's queue, or, while the subscription
//! is behind, from the log itself.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use quipu_domain::delivery::Key;
use quipu_domain::{Direction, Filter};
use quipu_store::Fault;

use super::key::KeyOf;
use super::running::{Compiled, Inner};
use crate::payloads::looks;
use crate::read::Recorded;
use crate::tenant::Tenant;

/// Events looked at in one go, so that a caller who finds none is not kept: the next call goes on.
const EXAMINED_MAX: usize = 20_000;
/// Events read at once.
const CHUNK: usize = 1_000;
/// Events of one subject that are read at once.
const KEY_EVENTS: usize = 256;

impl Tenant {
    /// Offers events as far as there is room. Whether there is more to look at right now.
    pub(super) fn fill(&self, compiled: &Compiled, inner: &mut Inner) -> Result<bool, Fault> {
        if inner.is_changing {
            return Ok(false);
        }
        if compiled.definition.shadow {
            inner.looked_to(self.position());
            return Ok(false);
        }
        let mut examined = 0;
        // Half of it at most for keys that go on: they do not keep new events of others waiting.
        while examined < EXAMINED_MAX / 2
            && let Some(reads) = inner.deliveries.reads()
        {
            examined += self.read_keys(compiled, inner, reads)?;
        }
        let has_reads = inner.deliveries.has_reads();
        let mut chunk = 0;
        while inner.deliveries.has_room(&compiled.rules) {
            // Read first: what was routed up to here is in the queue by now.
            let routed_to = self.subscriptions.routed_to.load(Ordering::Acquire);
            if let Some(matched) = inner.queue.pop_front() {
                if matched.position > inner.deliveries.scan() {
                    inner.offer(matched);
                }
                continue;
            }
            if inner.is_attached {
                inner.looked_to(routed_to);
                return Ok(has_reads);
            }
            let durable = self.position();
            if inner.deliveries.scan() >= durable {
                return Ok(has_reads);
            }
            if examined >= EXAMINED_MAX {
                return Ok(true);
            }
            let from = Some(inner.deliveries.scan() + 1);
            // No more than may be offered, or the rest is read again by the next one who asks; but of a pattern that wants
            // few of them, more each time.
            chunk = (chunk * 4).clamp(inner.deliveries.room(&compiled.rules).min(CHUNK), CHUNK);
            let page = self.read_to(&Filter::default(), Direction::Forward, from, chunk, durable)?;
            examined += page.events.len().max(1);
            let registry = self.schemas.current();
            for recorded in &page.events {
                if !inner.deliveries.has_room(&compiled.rules) {
                    return Ok(has_reads);
                }
                if examined >= 2 * EXAMINED_MAX {
                    // Payloads took what is left of it.
                    return Ok(true);
                }
                let (event, position) = (self.seen(recorded, compiled.looks_at_data)?, recorded.stamp.position);
                examined += looks(recorded, compiled.looks_at_data) + compiled.upcast_looks();
                if compiled.matches(&registry, &event, &recorded.stamp) {
                    inner.offer(compiled.matched(&event, position, &self.hasher));
                } else {
                    inner.looked_to(position);
                }
            }
        }
        Ok(has_reads)
    }

    /// Finds the next events of keys that waited while an earlier one of each was unfinished. Says how many were looked at.
    fn read_keys(&self, compiled: &Compiled, inner: &mut Inner, reads: (Key, u64, u64)) -> Result<usize, Fault> {
        let (key, from, to) = reads;
        // A subject leads through the index; other keys have to be looked for.
        match self.subject_of(compiled, key, from)? {
            Some(subject) => self.read_subject(compiled, inner, subject, reads),
            None => self.look_for_keys(compiled, inner, to),
        }
    }

    /// The subject that is the key, if there is an event of the key here to know it by.
    fn subject_of(&self, compiled: &Compiled, key: Key, position: u64) -> Result<Option<String>, Fault> {
        if !matches!(compiled.key, KeyOf::Subject) {
            return Ok(None);
        }
        let Some(recorded) = self.event_at(position)? else { return Ok(None) };
        let event = recorded.event();
        // A subject is no part of the data.
        let is_of_key = compiled.key.of(&event, &self.hasher) == Some(key);
        Ok(event.subject().filter(|_| is_of_key).map(str::to_owned))
    }

    fn read_subject(
        &self,
        compiled: &Compiled,
        inner: &mut Inner,
        subject: String,
        (key, from, to): (Key, u64, u64),
    ) -> Result<usize, Fault> {
        let filter = Filter { subjects: vec![subject], ..Filter::default() };
        let page = self.read_to(&filter, Direction::Forward, Some(from), KEY_EVENTS, to)?;
        // The last one of the subject is where to read on: the position after it may be of any key.
        let read_to = match (page.next, &page.events[..]) {
            (Some(_), [_, .., last]) => last.stamp.position - 1,
            (Some(next), _) => next - 1,
            (None, _) => to,
        };
        let mut positions = self.matching(compiled, &page.events)?.remove(&key).unwrap_or_default();
        positions.retain(|position| *position <= read_to);
        inner.deliveries.found(key, &positions, read_to);
        Ok(page.events.len().max(1))
    }

    /// One look at the log serves every key that has to be looked for here. From the lowest on: others join on the way.
    fn look_for_keys(&self, compiled: &Compiled, inner: &mut Inner, to: u64) -> Result<usize, Fault> {
        let from = inner.deliveries.all_reads().map(|(_, from)| from).min();
        let page = self.read_to(&Filter::default(), Direction::Forward, from, CHUNK, to)?;
        let read_to = page.next.map_or(to, |next| next - 1);
        let mut found = self.matching(compiled, &page.events)?;
        let keys: Vec<_> = inner.deliveries.all_reads().filter(|(_, from)| *from <= read_to).collect();
        for (key, from) in keys {
            let mut positions = found.remove(&key).unwrap_or_default();
            positions.retain(|position| *position >= from);
            inner.deliveries.found(key, &positions, read_to);
        }
        Ok(page.events.len().max(1))
    }

    /// The positions of those that match, by their key.
    fn matching(&self, compiled: &Compiled, events: &[Recorded]) -> Result<HashMap<Key, Vec<u64>>, Fault> {
        let (mut found, registry): (HashMap<Key, Vec<u64>>, _) = (HashMap::new(), self.schemas.current());
        for recorded in events {
            let event = self.seen(recorded, compiled.looks_at_data)?;
            if let Some(key) = compiled.key.of(&event, &self.hasher)
                && compiled.matches(&registry, &event, &recorded.stamp)
            {
                found.entry(key).or_default().push(recorded.stamp.position);
            }
        }
        Ok(found)
    }
}
