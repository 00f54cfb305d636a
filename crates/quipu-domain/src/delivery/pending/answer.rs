//! The answers of a consumer: it has processed an event, could not, gives it back, or asks for more time. Only whoever has
//! the token of the attempt may answer, and answers for a run come in its order.

use super::super::attempt::{Failure, GivenUp, Reason};
use super::{Deliveries, DeliveryId, Moment, Outcome, Phase};
use crate::Timestamp;
use crate::subscription::ACK_DEADLINE_MS_MAX;

/// The answer of a consumer that is not in time, or not about its own delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotInFlight {
    /// The token is not that of an attempt that is in flight: it came too late, or was answered before.
    Late,
    /// An earlier event of the same run has to be answered first.
    OutOfOrder {
        /// The event that is first.
        first: u64,
    },
}

impl Deliveries {
    /// The consumer has processed it.
    ///
    /// # Errors
    /// [`NotInFlight`]: the attempt is over, or an earlier event of the key is not answered yet.
    pub fn ack(&mut self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        self.first_in_flight(id, token)?;
        self.remove(id);
        Ok(())
    }

    /// The consumer could not process it. `delay_ms` replaces the policy's delay, up to 7 days. What was handed out behind it in its
    /// run is taken back.
    ///
    /// # Errors
    /// As [`Deliveries::ack`].
    pub fn nack(
        &mut self,
        id: DeliveryId,
        token: u64,
        failure: Failure,
        delay_ms: Option<u64>,
        moment: Moment<'_>,
    ) -> Result<Outcome, NotInFlight> {
        self.first_in_flight(id, token)?;
        self.time_is(moment.now);
        Ok(self.fail(id, failure, delay_ms, moment))
    }

    /// The consumer or the endpoint says that trying again is of no use.
    ///
    /// # Errors
    /// As [`Deliveries::ack`].
    pub fn give_up(
        &mut self,
        id: DeliveryId,
        token: u64,
        failure: Failure,
        reason: Reason,
        moment: Moment<'_>,
    ) -> Result<GivenUp, NotInFlight> {
        self.first_in_flight(id, token)?;
        self.time_is(moment.now);
        self.end_attempt(id, failure, moment.now);
        Ok(self.given_up(id, reason, moment.rules))
    }

    /// The consumer gives it back without having tried: it was no attempt. So is what was handed out behind it in its run.
    ///
    /// # Errors
    /// [`NotInFlight::Late`].
    pub fn release(&mut self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        self.in_flight(id, token)?;
        if self.unfinished[&id].key.is_some() {
            self.take_back_from(id);
        } else {
            self.take_back(id);
        }
        if self.is_first(id) {
            self.available.insert(id);
        }
        Ok(())
    }

    /// The event's time is over, as was found when it was read. Whether that ends it: behind others of its key it is taken
    /// back until it is its turn, with what was handed out behind it. If it ended before them and they had to wait, it would
    /// be found once more in the log.
    ///
    /// # Errors
    /// The attempt with that token is over meanwhile, and what became of the delivery is decided.
    pub fn expire(&mut self, id: DeliveryId, token: u64, expires: Timestamp) -> Result<bool, NotInFlight> {
        self.in_flight(id, token)?;
        let is_first = self.is_first(id);
        if is_first {
            self.remove(id);
        } else {
            self.take_back_from(id);
            self.unfinished.get_mut(&id).into_iter().for_each(|delivery| delivery.expires = Some(expires));
        }
        Ok(is_first)
    }

    /// Moves the deadline of an attempt to `ms` from now, at most an hour.
    ///
    /// # Errors
    /// [`NotInFlight::Late`].
    pub fn extend(&mut self, id: DeliveryId, token: u64, ms: u64, now: Timestamp) -> Result<(), NotInFlight> {
        self.in_flight(id, token)?;
        self.time_is(now);
        let deadline = now.plus_ms(ms.min(ACK_DEADLINE_MS_MAX) as i64);
        if let Some(delivery) = self.unfinished.get_mut(&id)
            && let Phase::InFlight { deadline: before, .. } = &mut delivery.phase
        {
            self.timers.remove(id, *before);
            self.timers.insert(id, now, deadline);
            *before = deadline;
        }
        Ok(())
    }

    fn in_flight(&self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        match self.unfinished.get(&id).map(|delivery| delivery.phase) {
            Some(Phase::InFlight { token: current, .. }) if current == token => Ok(()),
            _ => Err(NotInFlight::Late),
        }
    }

    /// Whether an attempt could be acknowledged now. Answers for a run come in its order, or its key would not have one.
    ///
    /// # Errors
    /// [`NotInFlight`].
    pub fn first_in_flight(&self, id: DeliveryId, token: u64) -> Result<(), NotInFlight> {
        self.in_flight(id, token)?;
        let line = self.unfinished[&id].key.and_then(|key| self.lines.get(key));
        match line.and_then(|line| line.order.front()) {
            Some(first) if *first != id => Err(NotInFlight::OutOfOrder { first: first.position }),
            _ => Ok(()),
        }
    }
}
