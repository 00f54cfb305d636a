//! The router reads each new event once for all subscriptions, and puts it into the queues of those whose patterns match.
//! A subscription that is behind reads the log itself, and joins when it has caught up.
//!
//! Compiling the patterns of thousands takes up to half a second. Whoever changes a definition does that beside the
//! router, which goes on with the patterns that it has until it is given others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::MutexGuard;
use quipu_domain::{Direction, Filter, Scratch, Snapshot};
use quipu_store::Fault;

use super::Subscriptions;
use super::running::{Matched, Running};
use crate::tenant::Tenant;

/// Events read at once.
const CHUNK: usize = 1_000;
/// The same where upcasters have to be asked.
const UPCAST_CHUNK: usize = 20;

pub(crate) struct Router {
    patterns: Snapshot<Arc<str>>,
    /// Subscriptions without a pattern, or with one that is asked of the event in another version.
    unfiltered: Vec<Arc<str>>,
    scratch: Scratch,
    /// Every event up to here was put into the queues of all that are attached.
    pub routed_to: u64,
    attached: HashMap<Arc<str>, Arc<Running>>,
}

impl Router {
    /// Nothing is fed; the next event that counts comes after `position`.
    pub fn after(position: u64, patterns: Snapshot<Arc<str>>, unfiltered: Vec<Arc<str>>) -> Self {
        Self { patterns, unfiltered, scratch: Scratch::default(), routed_to: position, attached: HashMap::new() }
    }

    /// Routes by these patterns, of which those of one subscription are others now; those that it had.
    fn replace(&mut self, patterns: Snapshot<Arc<str>>, changed: &Arc<str>) -> Snapshot<Arc<str>> {
        self.unfiltered.retain(|other| other != changed);
        self.attached.remove(changed);
        std::mem::replace(&mut self.patterns, patterns)
    }

    /// Feeds a subscription from now on, if it has looked at everything that was routed. Whether it has.
    pub fn attach(&mut self, running: &Arc<Running>, count: &AtomicUsize) -> bool {
        let mut inner = running.inner.lock();
        // The patterns here are still those of its old definition; it is woken when they are not.
        if inner.is_changing {
            return true;
        }
        let has_caught_up = inner.deliveries.scan() >= self.routed_to;
        if !inner.is_attached && !inner.is_deleted && inner.queue.is_empty() && has_caught_up {
            inner.is_attached = true;
            self.attached.insert(Arc::clone(&running.name), Arc::clone(running));
            count.store(self.attached.len(), Ordering::SeqCst);
        }
        inner.is_attached || inner.is_deleted || has_caught_up
    }

    fn looks_at_data(&self) -> bool {
        self.attached.values().any(|running| running.compiled().looks_at_data)
    }

    /// Says who those are.
    fn detach_those_who_look_at_data(&mut self) -> Vec<Arc<Running>> {
        let (looking, others): (HashMap<_, _>, _) =
            self.attached.drain().partition(|(_, running)| running.compiled().looks_at_data);
        self.attached = others;
        looking.values().for_each(|running| running.inner.lock().detach());
        looking.into_values().collect()
    }

    /// Whether somebody is fed who has to be asked about each event by upcasters.
    fn has_upcasting(&self) -> bool {
        let attached = self.unfiltered.iter().filter_map(|name| self.attached.get(name));
        attached.map(|running| running.compiled()).any(|compiled| compiled.pattern.is_some() && compiled.looks_at_data)
    }
}

impl Subscriptions {
    /// Routes by a subscription's pattern from now on. Whoever calls is the only one who changes definitions.
    pub(super) fn define(&self, running: &Arc<Running>) {
        let (name, compiled) = (&running.name, running.compiled());
        let mut patterns = self.patterns.lock();
        match compiled.shared_pattern() {
            // It was paused, say: there is nothing to compile.
            Some(pattern) if patterns.get(name) == Some(pattern) => {}
            Some(pattern) => patterns.insert(Arc::clone(name), pattern.clone()),
            None => _ = patterns.remove(name),
        }
        let mut router = self.router.lock();
        let before = router.replace(patterns.snapshot(), name);
        if compiled.shared_pattern().is_none() {
            router.unfiltered.push(Arc::clone(name));
        }
        // Its queue was filled by another pattern: it reads the log itself and joins again.
        running.inner.lock().detach();
        drop(router);
        // Freed here, not by whoever routes.
        drop(before);
    }

    /// Routes nothing to a subscription any more.
    pub(super) fn forget(&self, name: &Arc<str>) {
        let mut patterns = self.patterns.lock();
        patterns.remove(name);
        let before = self.router.lock().replace(patterns.snapshot(), name);
        drop(before);
    }
}

impl Tenant {
    /// Whether somebody is fed who does not know of the newest event yet.
    pub(crate) fn has_unrouted(&self) -> bool {
        self.subscriptions.attached.load(Ordering::SeqCst) > 0
            && self.subscriptions.routed_to.load(Ordering::Acquire) < self.position()
    }

    /// Routes what is new and durable.
    pub(crate) fn route(&self) -> Result<(), Fault> {
        self.route_with(|| Some(self.subscriptions.router.lock()))
    }

    /// Routes what is new and durable, unless somebody else is at it.
    pub(super) fn route_unless_busy(&self) -> Result<(), Fault> {
        self.route_with(|| self.subscriptions.router.try_lock())
    }

    fn route_with<'a>(&self, lock: impl Fn() -> Option<MutexGuard<'a, Router>>) -> Result<(), Fault> {
        while self.subscriptions.routed_to.load(Ordering::Acquire) < self.position() {
            let Some(mut router) = lock() else { return Ok(()) };
            let woken = self.route_chunk(&mut router)?;
            drop(router);
            woken.iter().for_each(|running| running.wake());
        }
        Ok(())
    }

    fn route_chunk(&self, router: &mut Router) -> Result<Vec<Arc<Running>>, Fault> {
        let durable = self.position();
        if router.attached.is_empty() {
            router.routed_to = durable;
            self.subscriptions.routed_to.store(durable, Ordering::Release);
            return Ok(Vec::new());
        }
        let from = Some(router.routed_to + 1);
        // Upcasters may compute for long: others want the router too.
        let chunk = if router.has_upcasting() { UPCAST_CHUNK } else { CHUNK };
        let page = self.read_to(&Filter::default(), Direction::Forward, from, chunk, durable)?;
        let mut woken = Vec::new();
        let mut found: HashMap<Arc<str>, Vec<Matched>> = HashMap::new();
        let registry = self.schemas.current();
        for recorded in &page.events {
            let mut event = recorded.event();
            if let Some(payload) = event.payload()
                && router.looks_at_data()
            {
                match self.read_payload(&payload, recorded.stamp.position) {
                    Ok(data) => event = event.with_data(data),
                    // Who looks at data reads the log itself, and meets the fault; the others go on.
                    Err(_) => woken.extend(router.detach_those_who_look_at_data()),
                }
            }
            let names = router.patterns.matches_event(&event, Some(&recorded.stamp), &mut router.scratch);
            for name in names.chain(&router.unfiltered) {
                let Some((name, running)) = router.attached.get_key_value(name) else { continue };
                let compiled = running.compiled();
                if compiled.shared_pattern().is_some() || compiled.matches(&registry, &event, &recorded.stamp) {
                    let matched = compiled.matched(&event, recorded.stamp.position, &self.hasher);
                    found.entry(Arc::clone(name)).or_default().push(matched);
                }
            }
        }
        let mut detached = Vec::new();
        for (name, found) in found {
            let Some(running) = router.attached.get(&name) else { continue };
            let mut inner = running.inner.lock();
            inner.feed(&found);
            if !inner.is_attached {
                detached.push(name);
            }
            woken.push(Arc::clone(running));
        }
        detached.iter().for_each(|name| _ = router.attached.remove(name));
        self.subscriptions.attached.store(router.attached.len(), Ordering::SeqCst);
        router.routed_to = page.next.map_or(durable, |next| next - 1);
        self.subscriptions.routed_to.store(router.routed_to, Ordering::Release);
        Ok(woken)
    }
}

#[cfg(test)]
mod tests;
