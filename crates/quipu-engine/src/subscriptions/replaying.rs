//! Replays as a subscription sees them: deliveries that somebody else puts among its own, and what became of them. How far each
//! replay is stands here, beside the deliveries, and goes into the same commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::InvalidSubscription;
use quipu_domain::delivery::{DeliveryId, Key};
use quipu_store::{Fault, Record};
use serde::{Deserialize, Serialize};

use super::checkpoint::Places;
use super::refusal::{NotDone, SubscriptionRefusal};
use super::running::{Compiled, Inner};
use super::{Subscriptions, Unsent};
use crate::operations::{FoldedOperations, OperationRefusal, REPLAY_WINDOW, Work, check_target, replayed_record};
use crate::tenant::Tenant;

/// What became of the events of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCounts {
    /// Every event up to here was looked at.
    pub looked_to: u64,
    /// Events that became deliveries.
    pub handed: u64,
    /// Deliveries that were acknowledged.
    pub acknowledged: u64,
    /// Deliveries that became dead letters.
    pub dead_lettered: u64,
    /// Deliveries that were forgotten by a seek.
    pub forgotten: u64,
}

impl ReplayCounts {
    /// Deliveries that are over.
    pub fn finished(&self) -> u64 {
        self.acknowledged + self.dead_lettered + self.forgotten
    }

    /// Deliveries that are not.
    pub fn waiting(&self) -> u64 {
        self.handed.saturating_sub(self.finished())
    }
}

struct Replaying {
    counts: ReplayCounts,
    /// Whether it may go to an endpoint.
    webhooks: bool,
    is_dirty: bool,
}

/// Where a replay stands.
pub(crate) enum Standing {
    /// Its subscription takes deliveries.
    Open(Arc<Compiled>, ReplayCounts),
    /// It is being deleted, and may be there still afterwards.
    Held(ReplayCounts),
    /// It is not there, or is not one that this replay may go to.
    Gone,
}

/// The replays to one subscription that are at work.
#[derive(Default)]
pub(crate) struct Replays(BTreeMap<u64, Replaying>);

impl Replays {
    /// Takes note that a delivery is over; of one that belongs to no replay, nothing.
    pub fn finished(&mut self, id: DeliveryId, count: impl FnOnce(&mut ReplayCounts)) {
        if let Some(one) = self.0.get_mut(&id.replay) {
            count(&mut one.counts);
            one.is_dirty = true;
        }
    }

    /// So many deliveries of each are gone.
    pub fn forget(&mut self, unfinished: &BTreeMap<u64, u64>) {
        for (id, one) in &mut self.0 {
            one.counts.forgotten += unfinished.get(id).copied().unwrap_or(0);
            one.is_dirty = true;
        }
    }

    pub fn is_dirty(&self) -> bool {
        self.0.values().any(|one| one.is_dirty)
    }

    /// What changed since the last time as records.
    pub fn take_records(&mut self) -> Vec<Record> {
        let changed = self.0.iter_mut().filter(|(_, one)| one.is_dirty);
        let record = |(id, one): (&u64, &mut Replaying)| {
            one.is_dirty = false;
            replayed_record(*id, &one.counts)
        };
        changed.map(record).collect()
    }

    /// Whether the subscription may be defined so while they are at work.
    pub fn allow(&self, compiled: &Compiled) -> Result<(), SubscriptionRefusal> {
        let definition = &compiled.definition;
        let mut all = self.0.iter();
        let blocking = match (definition.answers, &definition.push) {
            (true, _) => all.next().map(|(id, _)| (id, "/answers")),
            (false, Some(_)) => all.find(|(_, one)| !one.webhooks).map(|(id, _)| (id, "/push")),
            (false, None) => None,
        };
        let Some((id, pointer)) = blocking else { return Ok(()) };
        let detail = format!(
            "expected no endpoint while operation {id} replays events to this subscription, which was not allowed to call one; \
             cancel it, or wait for its end"
        );
        Err(SubscriptionRefusal::Invalid(InvalidSubscription { pointer: pointer.into(), detail }))
    }
}

impl Inner {
    /// Whether a replay could deliver more by now.
    pub fn wants_replays(&self) -> bool {
        self.replays.0.values().any(|one| one.counts.waiting() <= REPLAY_WINDOW / 2)
    }
}

impl Subscriptions {
    /// After a restart: replays that are at work go on, and deliveries of those that were cancelled are not made any more.
    pub fn restore_replays(&self, folded: &FoldedOperations) {
        let running = folded.operations.iter().filter(|(_, one)| one.ended.is_none());
        let at_work: BTreeMap<u64, _> = running
            .filter_map(|(id, one)| match &one.work {
                Work::Replay(replay) => Some((*id, (replay, folded.counts_of(*id)))),
                Work::Redrive { .. } | Work::Discard { .. } | Work::Saga { .. } => None,
            })
            .collect();
        for running in self.all() {
            let mut inner = running.inner.lock();
            let unfinished = inner.deliveries.replayed();
            let compiled = running.compiled();
            let is_own = |id: &u64| {
                let to_here = at_work.get(id).filter(|(replay, _)| replay.to == running.name.as_ref());
                to_here.is_some_and(|(replay, _)| check_target(&replay.to, &compiled, replay.webhooks).is_ok())
            };
            unfinished.keys().filter(|id| !is_own(id)).for_each(|id| _ = inner.deliveries.withdraw(*id));
            for (id, (replay, counts)) in at_work.iter().filter(|(id, _)| is_own(id)) {
                let mut counts = *counts;
                // A seek has forgotten the others.
                counts.forgotten += counts.waiting() - unfinished.get(id).copied().unwrap_or(0).min(counts.waiting());
                inner.replays.0.insert(*id, Replaying { counts, webhooks: replay.webhooks, is_dirty: true });
            }
        }
    }
}

impl Tenant {
    pub(crate) fn compiled(&self, name: &str) -> Result<Arc<Compiled>, SubscriptionRefusal> {
        Ok(self.running(name)?.compiled())
    }

    /// Lets a replay put its events among the deliveries of a subscription, if that is one that it may go to.
    pub(crate) fn begin_replay(
        &self,
        id: u64,
        name: &str,
        counts: ReplayCounts,
        webhooks: bool,
        check: impl FnOnce(&Compiled) -> Result<(), OperationRefusal>,
    ) -> Result<(), NotDone> {
        let running = self.running(name)?;
        let mut inner = running.inner.lock();
        if inner.is_deleted {
            return Err(SubscriptionRefusal::NotFound { name: name.to_owned() }.into());
        }
        check(&running.compiled())?;
        inner.replays.0.insert(id, Replaying { counts, webhooks, is_dirty: true });
        Ok(())
    }

    /// How far a replay is, and how its subscription is defined.
    pub(crate) fn replaying(&self, id: u64, name: &str) -> Standing {
        let Ok(running) = self.running(name) else { return Standing::Gone };
        let inner = running.inner.lock();
        match inner.replays.0.get(&id) {
            None => Standing::Gone,
            Some(one) if inner.is_deleted => Standing::Held(one.counts),
            Some(one) => Standing::Open(running.compiled(), one.counts),
        }
    }

    /// Puts events among the deliveries of a subscription, the replay having looked at those from one place to another. How far it is
    /// then; nothing if the subscription is not as it was when they were looked at.
    pub(crate) fn replay_events(
        &self,
        id: u64,
        name: &str,
        compiled: &Arc<Compiled>,
        (from, to): (u64, u64),
        events: impl ExactSizeIterator<Item = (u64, Option<Key>)>,
    ) -> Option<ReplayCounts> {
        let running = self.running(name).ok()?;
        let count = events.len();
        let counts = {
            let mut inner = running.inner.lock();
            let Inner { deliveries, replays, is_deleted, .. } = &mut *inner;
            let one = replays.0.get_mut(&id).filter(|one| !*is_deleted && one.counts.looked_to == from)?;
            if !Arc::ptr_eq(&running.compiled(), compiled) {
                return None;
            }
            events.for_each(|(position, key)| deliveries.replay(position, id, key));
            one.counts.handed += count as u64;
            one.counts.looked_to = to;
            one.is_dirty |= to > from;
            one.counts
        };
        if count > 0 {
            running.wake();
        }
        Some(counts)
    }

    /// Takes back what of a replay is unfinished, and ends it here. What it came to, how many deliveries were taken back, and the
    /// records of both; nothing if its subscription was deleted.
    pub(crate) fn withdraw_replay(
        &self,
        id: u64,
        name: &str,
    ) -> Result<Option<(ReplayCounts, u64, Vec<Record>)>, Fault> {
        let Ok(running) = self.running(name) else { return Ok(None) };
        // What was given up is a dead letter, and counts as such.
        self.bury(&running, &mut running.inner.lock())?;
        let withdrawn = running.inner.lock().deliveries.withdraw(id);
        let records = self.progress_of(&running, Places::Kept).inspect_err(|_| {
            // It goes on without what was taken back.
            let finished = DeliveryId { replay: id, ..DeliveryId::default() };
            running.inner.lock().replays.finished(finished, |counts| counts.forgotten += withdrawn);
        })?;
        let one = running.inner.lock().replays.0.remove(&id);
        running.wake();
        Ok(one.map(|one| (one.counts, withdrawn, records)))
    }

    /// Forgets the place of a replay that has ended or could not begin.
    pub(crate) fn end_replay(&self, id: u64, name: &str) {
        if let Ok(running) = self.running(name) {
            running.inner.lock().replays.0.remove(&id);
        }
    }

    /// Writes records together, after those that wait; what the log does not take now is written later.
    pub(crate) fn write_with_progress(
        self: &Arc<Self>,
        unsent: &mut Unsent,
        records: Vec<Record>,
    ) -> Result<(), Fault> {
        unsent.push(records);
        self.write_unsent(unsent)
    }
}
