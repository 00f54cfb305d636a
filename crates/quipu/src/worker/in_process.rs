//! Deliveries from a store that this process has open.

use std::sync::Arc;
use std::time::Duration;

use quipu_domain::delivery::DeliveryId;
use quipu_engine::{Answer, SubscriptionRefusal, WatchGuard};

use super::source::{Attempted, Fetched, Report, Source, look};
use crate::wakeup::Wakeup;
use crate::{Delivery, Error, Pending, Quipu};

pub(super) struct InProcess {
    quipu: Quipu,
    subscription: String,
}

impl InProcess {
    pub fn new(quipu: Quipu, subscription: &str) -> Self {
        Self { quipu, subscription: subscription.to_owned() }
    }

    /// None if it was deleted meanwhile.
    fn ack_deadline_ms(&self) -> Option<u64> {
        self.quipu.tenant.definition(&self.subscription).ok().map(|definition| definition.ack_deadline_ms)
    }

    fn take(&self, answers: Vec<(DeliveryId, u64, Answer)>) -> Result<Vec<bool>, Error> {
        let results = self.quipu.tenant.answer(&self.subscription, answers)?;
        let in_time = results.into_iter().map(|result| match result {
            Ok(()) => Ok(true),
            Err(SubscriptionRefusal::NotInFlight { .. }) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        });
        in_time.collect()
    }
}

impl Source for InProcess {
    fn watch(&self, available: &Arc<Wakeup>, _: &Report) -> Result<Option<WatchGuard>, Error> {
        let woken = Arc::clone(available);
        Ok(Some(self.quipu.tenant.on_available(&self.subscription, move || woken.set())?))
    }

    fn patience(&self) -> Duration {
        Duration::ZERO
    }

    fn fetch(self: Arc<Self>, limit: usize, _: Duration) -> Pending<Fetched> {
        let source = Arc::clone(&self);
        self.quipu.readers().run(move || {
            let handed = source.quipu.tenant.pull(&source.subscription, limit)?;
            let deliveries = handed.into_iter().map(|handed| Delivery::new(&source.subscription, handed)).collect();
            Ok(Fetched::new(source, deliveries))
        })
    }

    /// Taken before this returns.
    fn answer(self: Arc<Self>, answers: Vec<(DeliveryId, u64, Answer)>) -> Pending<Vec<bool>> {
        Pending::ready(self.take(answers))
    }

    fn look(&self) -> Duration {
        look(self.ack_deadline_ms().unwrap_or(u64::MAX))
    }

    fn extend(&self, attempts: Vec<Attempted>) {
        let Some(ms) = self.ack_deadline_ms() else { return };
        let answers = attempts.into_iter().map(|(id, token)| (id, token, Answer::Extend { ms })).collect();
        _ = self.quipu.tenant.answer(&self.subscription, answers);
    }

    fn release(self: Arc<Self>, attempts: Vec<Attempted>) {
        // Whoever reads the log for the subscription may have it locked.
        let source = Arc::clone(&self);
        _ = self.quipu.readers().run(move || {
            source.quipu.tenant.give_back(&source.subscription, &attempts);
            Ok(())
        });
    }

    fn end(&self) {}
}
