//! Events that a replay delivers once more. They are in lines of their own, whose keys whoever replays makes: those of one key
//! of one replay go one run after the other, and neither wait for others of the event's key nor keep them waiting.

use super::super::lines::Key;
use super::{Deliveries, DeliveryId};

impl Deliveries {
    /// Delivers an event once more, after those of the same key that this was called for before. It does not expire: somebody
    /// wants it now.
    pub fn replay(&mut self, position: u64, replay: u64, key: Option<Key>) {
        self.insert(DeliveryId { replay, ..DeliveryId::routed(position) }, key, None);
    }

    /// Takes back what of a replay is unfinished; answers to it come too late from now on. How many those were.
    pub fn withdraw(&mut self, replay: u64) -> u64 {
        let unfinished: Vec<DeliveryId> = self.unfinished.keys().copied().filter(|id| id.replay == replay).collect();
        // From the last on: no other of its line moves up only to be taken back, too.
        unfinished.iter().rev().for_each(|id| self.remove(*id));
        unfinished.len() as u64
    }

    /// How many deliveries of each replay are unfinished.
    pub fn replayed(&self) -> std::collections::BTreeMap<u64, u64> {
        let mut counts = std::collections::BTreeMap::new();
        self.unfinished.keys().filter(|id| id.replay > 0).for_each(|id| *counts.entry(id.replay).or_default() += 1);
        counts
    }
}
