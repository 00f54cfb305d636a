//! The deliveries of a subscription of a server, as a worker's source. Each request has a thread of its own for as long
//! as it takes: a long poll holds up no answer, and one that nobody waits for any more holds up nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use quipu_api::delivery::{
    ANSWERS_MAX, AnswerBody, AnswerOutcome, AnswerResult, DELAY_MS_MAX, DeliveryHandle, PULL_MAX,
};
use quipu_api::{AnswersAnswer, AnswersRequest, PullAnswer, PullRequest, SubscriptionAnswer};
use quipu_domain::delivery::{DeliveryId, Failure};
use quipu_domain::is_subscription_name;
use quipu_engine::{Answer, SubscriptionRefusal, WatchGuard};

use super::call::{Client, Trouble};
use super::ending::Ending;
use super::fetched;
use super::persistence::Persistence;
use crate::pending::pending;
use crate::wakeup::Wakeup;
use crate::worker::source::{Attempted, Fetched, Report, Source, look};
use crate::{Delivery, Error, Pending};

/// How long a poll waits: shorter than proxies do, and a server that is gone without a word is noticed soon after.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until the definition is known: the first deliveries come with it, and may have a short deadline.
const FIRST_LOOK: Duration = Duration::from_millis(100);

pub(super) struct Deliveries {
    client: Arc<Client>,
    subscription: String,
    /// 0 until the server has told.
    ack_deadline_ms: AtomicU64,
    ending: Ending,
    watcher: OnceLock<(Arc<Wakeup>, Report)>,
}

impl Deliveries {
    pub fn new(client: Arc<Client>, subscription: &str) -> Self {
        let (ack_deadline_ms, ending, watcher) = Default::default();
        Self { client, subscription: subscription.to_owned(), ack_deadline_ms, ending, watcher }
    }

    fn insist<T>(
        &self,
        is_wanted: impl Fn() -> bool,
        attempt: impl Fn() -> Result<T, Trouble>,
    ) -> Option<Result<T, Error>> {
        let report = |error: &Error| {
            if let Some((_, report)) = self.watcher.get() {
                report(error);
            }
        };
        Persistence { ending: &self.ending, report: &report, is_wanted: &is_wanted }.insist(attempt)
    }

    /// Asks for the definition, which may have been changed.
    fn look_up(&self) -> Result<(), Trouble> {
        let answer: SubscriptionAnswer = self.client.get(&self.subscription)?;
        self.ack_deadline_ms.store(answer.definition.ack_deadline_ms, Ordering::Relaxed);
        Ok(())
    }

    fn pull(&self, limit: usize, patience: Duration) -> Result<Vec<Delivery>, Trouble> {
        if self.ack_deadline_ms.load(Ordering::Relaxed) == 0 {
            self.look_up()?;
        }
        let max = u32::try_from(limit).unwrap_or(PULL_MAX).clamp(1, PULL_MAX);
        let request = PullRequest { max, wait_ms: patience.as_millis() as u64 };
        let begun = Instant::now();
        let answer: PullAnswer = self.client.post(&self.subscription, "pull", &request, patience)?;
        if answer.deliveries.is_empty() && begun.elapsed() < patience / 2 {
            return Err(self.client.passing(&"the server answers before its time: it is about to stop"));
        }
        let read = answer.deliveries.iter().map(|body| fetched::read(&self.subscription, body));
        read.collect::<Result<Vec<_>, _>>().map_err(|reason| {
            // For somebody else, who can read them.
            let back: Vec<_> = answer.deliveries.iter().rev().map(|body| given_back(&body.delivery)).collect();
            _ = self.give(&back);
            Trouble::Lasting(self.client.error(&reason))
        })
    }

    /// Whether each was in time.
    fn give(&self, answers: &[AnswerBody]) -> Result<Vec<bool>, Trouble> {
        let mut in_time = Vec::with_capacity(answers.len());
        for answers in answers.chunks(ANSWERS_MAX) {
            let request = AnswersRequest { answers: answers.to_vec() };
            let taken: AnswersAnswer = self.client.post(&self.subscription, "answers", &request, Duration::ZERO)?;
            in_time.extend(taken.results.iter().map(|result| matches!(result, AnswerResult::Done)));
        }
        in_time.resize(answers.len(), false);
        Ok(in_time)
    }

    /// The deadline of what was extended just now.
    fn deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.ack_deadline_ms.load(Ordering::Relaxed))
    }
}

impl Source for Deliveries {
    fn watch(&self, available: &Arc<Wakeup>, report: &Report) -> Result<Option<WatchGuard>, Error> {
        if !is_subscription_name(&self.subscription) {
            return Err(SubscriptionRefusal::NotFound { name: self.subscription.clone() }.into());
        }
        _ = self.watcher.set((Arc::clone(available), Arc::clone(report)));
        Ok(None)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn fetch(self: Arc<Self>, limit: usize, patience: Duration) -> Pending<Fetched> {
        let (promise, fetching) = pending();
        thread::spawn(move || {
            let pulled = self.insist(|| promise.is_awaited(), || self.pull(limit, patience));
            if let Some((available, _)) = self.watcher.get().filter(|_| !patience.is_zero()) {
                // The next poll waits as this one did.
                available.set();
            }
            if let Some(pulled) = pulled {
                promise.keep(pulled.map(|deliveries| Fetched::new(self, deliveries)));
            }
        });
        fetching
    }

    /// Tried until the last of them is late.
    fn answer(self: Arc<Self>, answers: Vec<(DeliveryId, u64, Answer)>) -> Pending<Vec<bool>> {
        let (promise, answering) = pending();
        thread::spawn(move || {
            let deadline = self.deadline();
            let bodies: Vec<_> = answers.into_iter().map(|(id, token, answer)| body(id, token, answer)).collect();
            let is_wanted = || promise.is_awaited() && Instant::now() < deadline;
            let given = self.insist(is_wanted, || self.give(&bodies));
            promise.keep(given.unwrap_or_else(|| Ok(vec![false; bodies.len()])));
        });
        answering
    }

    fn look(&self) -> Duration {
        match self.ack_deadline_ms.load(Ordering::Relaxed) {
            0 => FIRST_LOOK,
            deadline_ms => look(deadline_ms),
        }
    }

    fn extend(&self, attempts: Vec<Attempted>) {
        let ms = self.ack_deadline_ms.load(Ordering::Relaxed);
        let extensions = attempts.into_iter().map(|(id, token)| body(id, token, Answer::Extend { ms }));
        // What fails is tried at the next look, before the deadline is over; so is the definition.
        _ = self.give(&extensions.collect::<Vec<_>>());
        _ = self.look_up();
    }

    fn release(self: Arc<Self>, attempts: Vec<Attempted>) {
        thread::spawn(move || {
            // The last of a run first: giving back one takes those behind it along.
            let attempts = attempts.into_iter().rev();
            let bodies: Vec<_> = attempts.map(|(id, token)| body(id, token, Answer::Release)).collect();
            let deadline = self.deadline();
            _ = self.insist(|| Instant::now() < deadline, || self.give(&bodies));
        });
    }

    fn end(&self) {
        self.ending.set();
    }
}

fn given_back(handle: &DeliveryHandle) -> AnswerBody {
    AnswerBody {
        position: handle.position,
        dead_letter: handle.dead_letter,
        replay: handle.replay,
        token: handle.token.clone(),
        outcome: AnswerOutcome::Release,
        delay_ms: None,
        ms: None,
        error: None,
    }
}

fn body(id: DeliveryId, token: u64, answer: Answer) -> AnswerBody {
    let error = |failure: Failure| Some(failure.cut().error);
    let (outcome, delay_ms, ms, error) = match answer {
        Answer::Ack => (AnswerOutcome::Ack, None, None, None),
        Answer::Nack { failure, delay_ms } => (AnswerOutcome::Nack, delay_ms, None, error(failure)),
        Answer::Extend { ms } => (AnswerOutcome::Extend, None, Some(ms), None),
        Answer::Release => (AnswerOutcome::Release, None, None, None),
        Answer::GiveUp { failure, .. } => (AnswerOutcome::GiveUp, None, None, error(failure)),
    };
    AnswerBody {
        position: id.position,
        dead_letter: (id.dead_letter > 0).then_some(id.dead_letter),
        replay: (id.replay > 0).then_some(id.replay),
        token: format!("{token:016x}"),
        outcome,
        delay_ms: delay_ms.map(|ms| ms.min(DELAY_MS_MAX)),
        ms,
        error,
    }
}
