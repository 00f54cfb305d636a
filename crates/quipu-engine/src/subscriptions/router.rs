//! The router reads each new event once for all subscriptions, and puts it into the queues of those whose patterns match.
//! A subscription that is behind reads the log itself, and joins when it has caught up.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::MutexGuard;
use quipu_domain::{Direction, Filter, PatternSet, Scratch};
use quipu_store::Fault;

use super::running::{Matched, Running};
use crate::tenant::Tenant;

/// Events read at once.
const CHUNK: usize = 1_000;

#[derive(Default)]
pub(crate) struct Router {
    patterns: PatternSet<Arc<str>>,
    /// Subscriptions without a pattern.
    unfiltered: Vec<Arc<str>>,
    scratch: Scratch,
    /// Every event up to here was put into the queues of all that are attached.
    pub routed_to: u64,
    attached: HashMap<Arc<str>, Arc<Running>>,
}

impl Router {
    /// Nothing is fed; the next event that counts comes after `position`.
    pub fn after(position: u64) -> Self {
        Self { routed_to: position, ..Self::default() }
    }

    /// Routes by a subscription's pattern from now on.
    pub fn define(&mut self, running: &Arc<Running>) {
        self.forget(&running.name);
        match &running.compiled().pattern {
            Some(pattern) => self.patterns.insert(Arc::clone(&running.name), pattern.clone()),
            None => self.unfiltered.push(Arc::clone(&running.name)),
        }
        // Its queue was filled by another pattern: it reads the log itself and joins again.
        running.inner.lock().detach();
    }

    pub fn forget(&mut self, name: &Arc<str>) {
        self.patterns.remove(name);
        self.unfiltered.retain(|other| other != name);
        self.attached.remove(name);
    }

    /// Feeds a subscription from now on, if it has looked at everything that was routed. Whether it has.
    pub fn attach(&mut self, running: &Arc<Running>, count: &AtomicUsize) -> bool {
        let mut inner = running.inner.lock();
        let has_caught_up = inner.deliveries.scan() >= self.routed_to;
        if !inner.is_attached && !inner.is_deleted && inner.queue.is_empty() && has_caught_up {
            inner.is_attached = true;
            self.attached.insert(Arc::clone(&running.name), Arc::clone(running));
            count.store(self.attached.len(), Ordering::SeqCst);
        }
        inner.is_attached || inner.is_deleted || has_caught_up
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
        let page = self.read_to(&Filter::default(), Direction::Forward, from, CHUNK, durable)?;
        let snapshot = router.patterns.snapshot();
        let mut found: HashMap<&Arc<str>, Vec<Matched>> = HashMap::new();
        for recorded in &page.events {
            let event = recorded.event();
            let names = snapshot.matches_event(&event, Some(&recorded.stamp), &mut router.scratch);
            for name in names.chain(&router.unfiltered) {
                if let Some((name, running)) = router.attached.get_key_value(name) {
                    let matched = running.compiled().matched(&event, recorded.stamp.position, &self.hasher);
                    found.entry(name).or_default().push(matched);
                }
            }
        }
        let (mut woken, mut detached) = (Vec::new(), Vec::new());
        for (name, found) in found {
            let running = &router.attached[name];
            let mut inner = running.inner.lock();
            inner.feed(&found);
            if !inner.is_attached {
                detached.push(Arc::clone(name));
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
