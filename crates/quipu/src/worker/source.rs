//! Where the deliveries of a worker come from and where its answers go: a store in this process, or a server. Which
//! handler runs when is not decided here.

use std::sync::Arc;
use std::time::Duration;

use quipu_domain::delivery::DeliveryId;
use quipu_engine::{Answer, WatchGuard};

use crate::wakeup::Wakeup;
use crate::{Delivery, Error, Pending};

/// The longest time between two looks after deadlines: a definition may be changed meanwhile.
const LOOK_MS_MAX: u64 = 1_000;

/// An attempt: the delivery and its token.
pub(crate) type Attempted = (DeliveryId, u64);

/// Told of what failed and is tried again.
pub(crate) type Report = Arc<dyn Fn(&Error) + Send + Sync>;

/// One subscription as a worker sees it.
pub(crate) trait Source: Send + Sync {
    /// From now on sets the flag whenever there may be something to fetch that was not there before. A fetch that had
    /// something need not be followed by it: there may always be more.
    fn watch(&self, available: &Arc<Wakeup>, report: &Report) -> Result<Option<WatchGuard>, Error>;

    /// How long a fetch waits for the first delivery if it may.
    fn patience(&self) -> Duration;

    /// Begins to fetch at most so many deliveries. [`Error::Fault`] may pass; any other error is final.
    fn fetch(self: Arc<Self>, limit: usize, patience: Duration) -> Pending<Fetched>;

    /// Gives answers, those of one call after those of the call before. Whether each was in time.
    fn answer(self: Arc<Self>, answers: Vec<(DeliveryId, u64, Answer)>) -> Pending<Vec<bool>>;

    /// How long deliveries may go without [`Source::extend`].
    fn look(&self) -> Duration;

    /// Moves deadlines. May block. One that is too late is found out when it is answered.
    fn extend(&self, attempts: Vec<Attempted>);

    /// Gives back what no handler has seen, in the order in which it came. Does not block.
    fn release(self: Arc<Self>, attempts: Vec<Attempted>);

    /// The worker takes nothing any more: what is waited for need not be waited for long.
    fn end(&self);
}

/// How long deliveries with this deadline may go without being extended: two looks may come late or fail.
pub(crate) fn look(ack_deadline_ms: u64) -> Duration {
    Duration::from_millis((ack_deadline_ms / 3).clamp(1, LOOK_MS_MAX))
}

/// Deliveries that were fetched; given back if nobody takes them.
pub(crate) struct Fetched {
    source: Arc<dyn Source>,
    deliveries: Vec<Delivery>,
}

impl Fetched {
    pub fn new(source: Arc<dyn Source>, deliveries: Vec<Delivery>) -> Self {
        Self { source, deliveries }
    }

    pub fn take(mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        give_back(&self.source, &self.deliveries);
    }
}

/// See [`Source::release`].
pub(crate) fn give_back<'d>(source: &Arc<dyn Source>, deliveries: impl IntoIterator<Item = &'d Delivery>) {
    let attempts: Vec<Attempted> = deliveries.into_iter().map(|it| (it.id(), it.token())).collect();
    if !attempts.is_empty() {
        Arc::clone(source).release(attempts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_looked_after_three_times_and_each_second_however_long_it_is() {
        let ms = |deadline_ms| look(deadline_ms).as_millis();
        assert_eq!([0, 1, 600, 3_000, 30_000, u64::MAX].map(ms), [1, 1, 200, 1_000, 1_000, 1_000]);
    }
}
