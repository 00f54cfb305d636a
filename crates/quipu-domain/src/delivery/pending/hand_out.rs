//! Handing out: who may go now, oldest first, a run of one key together.

use super::super::attempt::{GivenUp, Reason};
use super::super::lines::Key;
use super::{Deliveries, DeliveryId, Phase, Rules};
use crate::Timestamp;

/// What came of handing out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandedOut {
    /// What goes to the consumer.
    pub handed: Vec<DeliveryId>,
    /// Those whose event's time was over before it was delivered.
    pub expired: Vec<DeliveryId>,
    /// Those whose next attempt would have come too late.
    pub given_up: Vec<(DeliveryId, GivenUp)>,
}

impl Deliveries {
    /// Whether something may be handed out now.
    pub fn is_available(&self, rules: &Rules) -> bool {
        !self.available.is_empty() && self.in_flight < rules.max_in_flight
    }

    /// Hands out at most `limit` deliveries, oldest first, with the attempt's token each; a run of one key stays
    /// together. What is too late for an attempt is finished and reported instead.
    pub fn hand_out(
        &mut self,
        limit: usize,
        now: Timestamp,
        rules: &Rules,
        token: &mut dyn FnMut() -> u64,
    ) -> HandedOut {
        self.time_is(now);
        let HandedOut { mut handed, mut expired, mut given_up } = HandedOut::default();
        let limit = limit.min(rules.max_in_flight.saturating_sub(self.in_flight));
        while handed.len() < limit
            && let Some(first) = self.available.pop_first()
        {
            let mut next = Some(first);
            while let Some(id) = next.filter(|_| handed.len() < limit) {
                let delivery = self.unfinished.get_mut(&id).expect("what is available is unfinished");
                if delivery.expires.is_some_and(|expires| expires <= now) {
                    let key = delivery.key;
                    if !self.is_first(id) {
                        // As in `expire`.
                        break;
                    }
                    expired.push(id);
                    self.remove(id);
                    next = self.next_after(key);
                    continue;
                }
                if delivery.first_attempt.is_some_and(|first| rules.retry.is_too_late(first, now)) {
                    let key = delivery.key;
                    given_up.push((id, self.given_up(id, Reason::TooOld, rules)));
                    next = self.next_after(key);
                    continue;
                }
                let deadline = now.plus_ms(rules.ack_deadline_ms as i64);
                delivery.attempts += 1;
                delivery.first_attempt.get_or_insert(now);
                delivery.phase = Phase::InFlight { token: token(), since: now, deadline };
                let key = delivery.key;
                self.timers.insert(id, now, deadline);
                self.in_flight += 1;
                self.dirty.insert(id);
                handed.push(id);
                next = key.and_then(|key| self.next_in_run(key));
            }
            // The limit cut the run before its first.
            if let Some(id) = next.filter(|id| self.is_first(*id)) {
                self.available.insert(id);
            }
        }
        HandedOut { handed, expired, given_up }
    }

    /// The next of a line whose first was finished, which is available now; none if it was parked.
    fn next_after(&mut self, key: Option<Key>) -> Option<DeliveryId> {
        let next = key.and_then(|key| self.next_in_run(key));
        next.iter().for_each(|id| self.available.remove(id));
        next
    }

    /// The first of a line that is ready, if all before it are in flight.
    fn next_in_run(&self, key: Key) -> Option<DeliveryId> {
        let order = &self.lines.get(key)?.order;
        let next = order.iter().find(|id| !matches!(self.unfinished[id].phase, Phase::InFlight { .. }))?;
        (self.unfinished[next].phase == Phase::Ready).then_some(*next)
    }

    pub(super) fn is_first(&self, id: DeliveryId) -> bool {
        let key = self.unfinished.get(&id).and_then(|delivery| delivery.key);
        key.and_then(|key| self.lines.get(key)).is_none_or(|line| line.order.front() == Some(&id))
    }
}
