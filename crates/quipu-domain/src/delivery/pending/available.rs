//! Deliveries that may be handed out now, in the order in which they go: the oldest first, and what is replayed after what is
//! not. A replay may be long, and must not keep new events from their consumer.

use std::collections::BTreeSet;

use super::DeliveryId;

#[derive(Debug, Default)]
pub(super) struct Available {
    own: BTreeSet<DeliveryId>,
    replayed: BTreeSet<DeliveryId>,
}

impl Available {
    pub fn is_empty(&self) -> bool {
        self.own.is_empty() && self.replayed.is_empty()
    }

    pub fn insert(&mut self, id: DeliveryId) {
        self.of(id).insert(id);
    }

    pub fn remove(&mut self, id: &DeliveryId) {
        self.of(*id).remove(id);
    }

    pub fn pop_first(&mut self) -> Option<DeliveryId> {
        self.own.pop_first().or_else(|| self.replayed.pop_first())
    }

    fn of(&mut self, id: DeliveryId) -> &mut BTreeSet<DeliveryId> {
        if id.replay > 0 { &mut self.replayed } else { &mut self.own }
    }
}
