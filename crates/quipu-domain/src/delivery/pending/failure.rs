//! What becomes of an attempt that failed, by its consumer's word or because its time is over: it is tried again later or
//! given up, and what was handed out behind it in its run is taken back.

use super::super::attempt::{Attempt, Failure, GivenUp, Reason, bytes, remember};
use super::super::retry::DELAY_MS_MAX;
use super::{Deliveries, DeliveryId, Moment, Phase, Rules};
use crate::Timestamp;

/// What the attempts of all unfinished deliveries may take before only the first and the newest of each are kept: they
/// are written down together, and a consumer that fails with long errors must not fill memory or a commit.
const HISTORY_BYTES_MAX: usize = if cfg!(test) { 2_000 } else { 16 << 20 };

/// What became of a failed attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is tried again at this time.
    Retried(Timestamp),
    /// It is given up: a dead letter is to be recorded, and if the key is parked, [`Deliveries::park`] called.
    GivenUp(GivenUp),
}

impl Deliveries {
    /// What became due: attempts whose deadline is over fail, and retries may be handed out.
    pub fn tick(&mut self, moment: Moment<'_>) -> Vec<(DeliveryId, Outcome)> {
        let mut outcomes = Vec::new();
        self.time_is(moment.now);
        while let Some((due, id)) = self.timers.pop(moment.now) {
            let is_first = self.is_first(id);
            match self.unfinished.get_mut(&id).map(|delivery| &mut delivery.phase) {
                // An earlier event of its run is still being worked on: it never had its turn.
                Some(Phase::InFlight { .. }) if !is_first => self.take_back_from(id),
                Some(Phase::InFlight { since, .. }) => {
                    let waited = due.0.saturating_sub(since.0) / 1_000;
                    let failure = Failure::new(format!("no acknowledgement within {waited} ms"));
                    outcomes.push((id, self.fail(id, failure, None, moment)));
                }
                Some(phase @ Phase::Waiting { .. }) => {
                    *phase = Phase::Ready;
                    self.dirty.insert(id);
                    if is_first {
                        self.available.insert(id);
                    }
                }
                _ => {}
            }
        }
        outcomes
    }

    /// When [`Deliveries::tick`] has something to do next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    pub(super) fn fail(
        &mut self,
        id: DeliveryId,
        failure: Failure,
        delay_ms: Option<u64>,
        moment: Moment<'_>,
    ) -> Outcome {
        let Moment { rules, now, chance } = moment;
        self.end_attempt(id, failure, now);
        let delivery = self.unfinished.get_mut(&id).expect("it was in flight");
        let asked = delay_ms.map(|ms| ms.min(DELAY_MS_MAX));
        let delay = asked.unwrap_or_else(|| rules.retry.backoff.delay_ms(delivery.attempts, chance));
        let until = now.plus_ms(delay as i64);
        let first = delivery.first_attempt.unwrap_or(now);
        if let Some(reason) = rules.retry.gives_up(delivery.attempts, first, until) {
            return Outcome::GivenUp(self.given_up(id, reason, rules));
        }
        delivery.phase = Phase::Waiting { since: now, until };
        let key = delivery.key;
        self.timers.insert(id, now, until);
        key.into_iter().for_each(|key| self.step_back(key));
        Outcome::Retried(until)
    }

    /// Ends an attempt that failed, and takes back those that were handed out behind it in its run.
    pub(super) fn end_attempt(&mut self, id: DeliveryId, failure: Failure, now: Timestamp) {
        let delivery = self.unfinished.get_mut(&id).expect("it was in flight");
        let Phase::InFlight { since, deadline, .. } = delivery.phase else { return };
        let duration_ms = (now.0.saturating_sub(since.0) / 1_000).max(0) as u64;
        let attempt = Attempt { number: delivery.attempts, time: since, duration_ms, failure: failure.cut() };
        self.history_bytes -= bytes(&delivery.history);
        remember(&mut delivery.history, attempt, self.history_bytes > HISTORY_BYTES_MAX);
        self.history_bytes += bytes(&delivery.history);
        delivery.phase = Phase::Ready;
        self.in_flight -= 1;
        self.timers.remove(id, deadline);
        self.dirty.insert(id);
        self.take_back_from(id);
    }

    /// Takes back this delivery and what was handed out behind it in its run.
    pub(super) fn take_back_from(&mut self, id: DeliveryId) {
        let Some(line) = self.unfinished[&id].key.and_then(|key| self.lines.get(key)) else { return };
        let run: Vec<DeliveryId> = line.order.iter().copied().skip_while(|other| *other != id).collect();
        run.into_iter().for_each(|other| self.take_back(other));
    }

    /// An attempt that never was: what came before it failed.
    pub(super) fn take_back(&mut self, id: DeliveryId) {
        let Some(delivery) = self.unfinished.get_mut(&id) else { return };
        if let Phase::InFlight { deadline, .. } = delivery.phase {
            delivery.phase = Phase::Ready;
            delivery.attempts -= 1;
            if delivery.attempts == 0 {
                delivery.first_attempt = None;
            }
            self.in_flight -= 1;
            self.timers.remove(id, deadline);
            self.dirty.insert(id);
        }
    }

    pub(super) fn given_up(&mut self, id: DeliveryId, reason: Reason, rules: &Rules) -> GivenUp {
        let delivery = &self.unfinished[&id];
        let (attempts, history) = (delivery.attempts, delivery.history.clone());
        let redriven_from = delivery.redriven_from(id);
        // One that is parked stays until somebody decides, and its key with it. A replay goes on: it has an end.
        if let Some(key) = delivery.key.filter(|_| rules.parks_keys && id.replay == 0) {
            self.set_phase(id, Phase::Parked { dead_letter: 0 });
            self.parked += 1;
            self.step_back(key);
        } else {
            self.remove(id);
        }
        GivenUp { reason, attempts, history, redriven_from }
    }
}
