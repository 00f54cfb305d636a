//! What somebody decided about a delivery that was given up: its key is parked until it is tried again or dropped, or the
//! event is delivered once more beside its key.

use super::super::attempt::bytes;
use super::{Deliveries, Delivery, DeliveryId, Phase};

impl Deliveries {
    /// Says which dead letter a delivery that was given up became, if its key is parked.
    pub fn park(&mut self, id: DeliveryId, dead_letter: u64) {
        if matches!(self.unfinished.get(&id).map(|delivery| delivery.phase), Some(Phase::Parked { .. })) {
            self.set_phase(id, Phase::Parked { dead_letter });
            if let Some(delivery) = self.unfinished.get_mut(&id) {
                // The dead letter has them.
                self.history_bytes -= bytes(&delivery.history);
                delivery.history = Vec::new();
            }
        }
    }

    /// Tries a parked delivery again from the start, even if its event has expired. Whether it was parked by this dead letter.
    pub fn unpark(&mut self, id: DeliveryId, dead_letter: u64) -> bool {
        if !self.is_parked_by(id, dead_letter) {
            return false;
        }
        self.set_phase(id, Phase::Ready);
        self.parked -= 1;
        if let Some(delivery) = self.unfinished.get_mut(&id) {
            (delivery.attempts, delivery.first_attempt) = (0, None);
            (delivery.expires, delivery.unparked_from) = (None, Some(dead_letter));
            self.history_bytes -= bytes(&delivery.history);
            delivery.history.clear();
        }
        if self.is_first(id) {
            self.available.insert(id);
        }
        true
    }

    /// Goes on with the key without a parked delivery. Whether it was parked by this dead letter.
    pub fn drop_parked(&mut self, id: DeliveryId, dead_letter: u64) -> bool {
        let is_parked = self.is_parked_by(id, dead_letter);
        if is_parked {
            self.remove(id);
        }
        is_parked
    }

    /// Whether this dead letter parks the delivery's key.
    pub fn is_parked_by(&self, id: DeliveryId, dead_letter: u64) -> bool {
        self.unfinished.get(&id).is_some_and(|delivery| delivery.phase == Phase::Parked { dead_letter })
    }

    /// Delivers an event once more, whatever its key is doing. Whether it was not there already.
    pub fn redrive(&mut self, position: u64, dead_letter: u64) -> bool {
        let id = DeliveryId { dead_letter, ..DeliveryId::routed(position) };
        if self.unfinished.contains_key(&id) {
            return false;
        }
        self.unfinished.insert(id, Delivery::new(None, None));
        self.available.insert(id);
        self.dirty.insert(id);
        true
    }
}
