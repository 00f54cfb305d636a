//! Deliveries that are finished, with that on disk: nothing may happen to them any more. They are kept apart from what is
//! owed, which is looked through at every step; after a while nearly all deliveries of a run are here.

use std::collections::{BTreeMap, BTreeSet};

use quipu_domain::delivery::DeliveryId;

use super::owed::{Owed, State};

#[derive(Debug, Default)]
pub(super) struct Settled {
    ids: BTreeSet<DeliveryId>,
    /// How many of them were acknowledged.
    pub acknowledged: u64,
    /// The newest position of each key that this process finished: nothing before it may come any more.
    newest: BTreeMap<String, u64>,
}

impl Settled {
    /// Whether it belongs here. Of one whose key was changed a second delivery may be underway.
    pub fn takes(owed: &Owed) -> bool {
        !owed.is_loose && matches!(owed.state, State::Done { is_durable: true, .. })
    }

    /// Takes one, in this session of the process.
    pub fn take(&mut self, id: DeliveryId, owed: Owed, now: u64) {
        self.ids.insert(id);
        self.acknowledged += u64::from(matches!(owed.state, State::Done { is_acknowledged: true, .. }));
        if let (State::Done { session, .. }, Some(key), 0) = (owed.state, owed.key, id.dead_letter)
            && session == now
        {
            let newest = self.newest.entry(key).or_default();
            *newest = id.position.max(*newest);
        }
    }

    pub fn has(&self, id: DeliveryId) -> bool {
        self.ids.contains(&id)
    }

    /// The newest position of a key that this process finished.
    pub fn newest_of(&self, key: &str) -> Option<u64> {
        self.newest.get(key).copied()
    }

    /// Another process, or other keys: what comes now is not compared with what came before.
    pub fn forget_order(&mut self) {
        self.newest.clear();
    }
}
