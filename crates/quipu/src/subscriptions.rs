//! Subscriptions on the handle: make one, take deliveries, say what became of them, and decide about dead letters.
//! [`Worker`] does the taking and answering for you.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use quipu_domain::{StartAt, Subscription};
use quipu_engine::{
    Answer, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterLine, Explained, SeekPreview, SubscriptionInfo,
    SubscriptionRefusal,
};

use crate::{Delivery, Error, Quipu, Worker};

impl Quipu {
    /// Makes a subscription: a durable, named follower that delivers each matching event at least once, in order per
    /// key. The same definition again changes nothing. Whether it is new.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Subscription, StartAt};
    /// let definition = Subscription { start: StartAt::Beginning, ..Subscription::default() };
    /// assert!(quipu.create_subscription("billing", definition.clone())?);
    /// assert!(!quipu.create_subscription("billing", definition)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SubscriptionRefusal`]: the name is taken by another, or the definition makes no sense.
    pub fn create_subscription(&self, name: &str, definition: Subscription) -> Result<bool, Error> {
        Ok(self.tenant.create_subscription(name, definition)?)
    }

    /// Changes a subscription; where it is stays.
    ///
    /// # Errors
    /// As [`Quipu::create_subscription`]; there is none of that name.
    pub fn update_subscription(&self, name: &str, definition: Subscription) -> Result<(), Error> {
        Ok(self.tenant.update_subscription(name, definition)?)
    }

    /// Holds deliveries back, or goes on.
    ///
    /// # Errors
    /// There is no subscription of that name.
    pub fn pause_subscription(&self, name: &str, paused: bool) -> Result<(), Error> {
        Ok(self.tenant.pause_subscription(name, paused)?)
    }

    /// Deletes a subscription. Its dead letters stay until they are too old.
    ///
    /// # Errors
    /// There is no subscription of that name.
    pub fn delete_subscription(&self, name: &str) -> Result<(), Error> {
        Ok(self.tenant.delete_subscription(name)?)
    }

    /// What a seek would mean: how many events come again, and how many never come. Nothing while the stored definition is
    /// not accepted any more: which events match is not known before it is changed.
    ///
    /// # Errors
    /// There is no subscription of that name; the place makes no sense.
    pub fn preview_seek(&self, name: &str, to: &StartAt) -> Result<Option<SeekPreview>, Error> {
        Ok(self.tenant.preview_seek(name, to)?)
    }

    /// Goes on with the event at `to`, whatever was done before.
    ///
    /// # Errors
    /// As [`Quipu::preview_seek`].
    pub fn seek_subscription(&self, name: &str, to: &StartAt) -> Result<(), Error> {
        Ok(self.tenant.seek_subscription(name, to)?)
    }

    /// Every subscription, by name.
    pub fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        self.tenant.subscriptions()
    }

    /// Why a subscription is not moving, and how far behind it is.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// # quipu.create_subscription("billing", quipu::Subscription::default())?;
    /// quipu.pause_subscription("billing", true)?;
    /// assert_eq!(quipu.explain_subscription("billing")?.standstill, quipu::Standstill::Paused { reason: None });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There is no subscription of that name; the log cannot be read.
    pub fn explain_subscription(&self, name: &str) -> Result<Explained, Error> {
        Ok(self.tenant.explain_subscription(name)?)
    }

    /// The next deliveries, at most `limit`; waits up to `timeout` for the first. Empty after that.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// # quipu.create_subscription("billing", quipu::Subscription::default())?;
    /// # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").build()?)?;
    /// use quipu::Answer;
    /// for delivery in quipu.pull("billing", 100, std::time::Duration::from_secs(30))? {
    ///     println!("{}", delivery.event()?.kind());
    ///     quipu.answer(&delivery, Answer::Ack)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There is no subscription of that name; the log cannot be read.
    pub fn pull(&self, name: &str, limit: usize, timeout: Duration) -> Result<Vec<Delivery>, Error> {
        let deadline = Instant::now().checked_add(timeout);
        let (woken, wait) = mpsc::sync_channel(1);
        let _guard = self.tenant.on_available(name, move || _ = woken.try_send(()))?;
        loop {
            let handed = self.tenant.pull(name, limit)?;
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if !handed.is_empty() || left.is_zero() || wait.recv_timeout(left).is_err() {
                return Ok(handed.into_iter().map(|handed| Delivery::new(name, handed)).collect());
            }
        }
    }

    /// Says what became of a delivery. Acknowledgements are on disk within 100 ms; a crash before that repeats the
    /// delivery.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotInFlight`]: it comes too late, or an earlier event of its run is not answered yet.
    pub fn answer(&self, delivery: &Delivery, answer: Answer) -> Result<(), Error> {
        let answers = vec![(delivery.id(), delivery.token(), answer)];
        let mut results = self.tenant.answer(delivery.subscription(), answers)?;
        results.remove(0).map_err(|refusal: SubscriptionRefusal| refusal.into())
    }

    /// Says what became of many deliveries of one subscription, in this order. One result each.
    ///
    /// # Errors
    /// There is no subscription of that name. A result is as [`Quipu::answer`] says.
    pub fn answer_each(
        &self,
        subscription: &str,
        answers: Vec<(&Delivery, Answer)>,
    ) -> Result<Vec<Result<(), SubscriptionRefusal>>, Error> {
        let answers = answers.into_iter().map(|(delivery, answer)| (delivery.id(), delivery.token(), answer)).collect();
        Ok(self.tenant.answer(subscription, answers)?)
    }

    /// A worker that runs a handler for each delivery of a subscription.
    pub fn worker(&self, subscription: &str) -> Worker {
        Worker::in_process(self.clone(), subscription)
    }

    /// Dead letters that match, by number, from `from` on, at most `limit`. Looking at them never changes them.
    pub fn dead_letters(&self, filter: &DeadLetterFilter, from: u64, limit: usize) -> Vec<Arc<DeadLetterLine>> {
        self.tenant.dead_letters(filter, from, limit)
    }

    /// Dead letters that match, grouped by subscription, type and kind of failure; the largest group first.
    pub fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Vec<DeadLetterGroup> {
        self.tenant.dead_letter_groups(filter)
    }

    /// A dead letter with all its attempts.
    ///
    /// # Errors
    /// There is none of that number; the log cannot be read.
    pub fn dead_letter(&self, id: u64) -> Result<DeadLetter, Error> {
        Ok(self.tenant.dead_letter(id)?.0)
    }

    /// Delivers the event of a dead letter once more, to its own subscription or to another.
    ///
    /// # Errors
    /// There is none of that number, or it was decided about before.
    pub fn redrive(&self, id: u64, to: Option<&str>) -> Result<(), Error> {
        Ok(self.tenant.redrive(id, to)?)
    }

    /// Decides that a dead letter need not be delivered.
    ///
    /// # Errors
    /// As [`Quipu::redrive`].
    pub fn discard(&self, id: u64, reason: &str) -> Result<(), Error> {
        Ok(self.tenant.discard(id, reason)?)
    }
}
