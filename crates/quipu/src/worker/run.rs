//! The loop of a worker: fetch, begin handlers, answer. It knows deliveries and their keys, and not where they come from.

use std::collections::{HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quipu_domain::delivery::{Failure, Reason};
use quipu_engine::{Answer, WatchGuard};

use super::source::{Fetched, give_back};
use super::{Failed, Worker};
use crate::keeper::Keeper;
use crate::wakeup::Wakeup;
use crate::{Delivery, Error, Pending};

/// Deliveries that are taken at once for each that is worked on: a run of one key is taken together.
const AHEAD: usize = 4;
/// Most answers that are given together: what is behind them need not wait for a large request.
const ANSWERS_MAX: usize = 1_000;

/// A delivery, and with which others it came: those of its key that came with it are taken back with it.
struct Taken {
    fetch: u64,
    delivery: Delivery,
}

impl Taken {
    /// Whether it is of one run with another.
    fn is_of_the_run_of(&self, other: &Self) -> bool {
        self.fetch == other.fetch && self.delivery.key().is_some() && self.delivery.key() == other.delivery.key()
    }
}

/// A delivery that was worked on.
type Done = (Taken, Result<(), Failed>);

/// Answers that were begun to be given, and what they are for.
type Answering = (Pending<Vec<bool>>, Vec<Taken>);

pub(super) struct Run {
    worker: Worker,
    available: Arc<Wakeup>,
    fetching: Option<Pending<Fetched>>,
    /// How long that fetch may wait for something.
    patience: Duration,
    fetches: u64,
    /// Taken and not begun, in the order of their keys.
    waiting: VecDeque<Taken>,
    working: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    answers: Vec<(Taken, Answer)>,
    answering: Option<Answering>,
    keeper: Keeper,
    is_idle: bool,
    _guard: Option<WatchGuard>,
}

enum Step {
    Fetch,
    Fetched(Result<Fetched, Error>),
    Done(Done),
    Answered(Result<Vec<bool>, Error>, Vec<Taken>),
    Stop,
}

impl Run {
    pub fn begin(worker: Worker) -> Result<Self, Error> {
        let available = Arc::new(Wakeup::default());
        available.set();
        let guard = worker.source.watch(&available, &worker.report)?;
        let keeper = Keeper::start(Arc::clone(&worker.source));
        Ok(Self {
            worker,
            available,
            fetching: None,
            patience: Duration::ZERO,
            fetches: 0,
            waiting: VecDeque::new(),
            working: FuturesUnordered::new(),
            answers: Vec::new(),
            answering: None,
            keeper,
            is_idle: false,
            _guard: guard,
        })
    }

    pub async fn run(mut self) -> Result<(), Error> {
        loop {
            self.begin_waiting();
            match poll_fn(|context| self.poll_step(context)).await {
                Step::Fetch => self.fetch(),
                Step::Fetched(fetched) => self.fetched(fetched)?,
                Step::Done((taken, outcome)) => self.done(taken, outcome),
                Step::Answered(answered, taken) => self.answered(&answered?, &taken),
                Step::Stop => return Ok(()),
            }
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        // Before handlers, which may take long: the next answers wait for these.
        if let Some((answering, taken)) = &mut self.answering
            && let Poll::Ready(answered) = Pin::new(answering).poll(context)
        {
            let taken = std::mem::take(taken);
            self.answering = None;
            return Poll::Ready(Step::Answered(answered, taken));
        }
        if let Poll::Ready(Some(done)) = self.working.poll_next_unpin(context) {
            return Poll::Ready(Step::Done(done));
        }
        let stopper = &self.worker.stopper;
        let ends_when_idle = stopper.when_idle.poll_set(context).is_ready();
        if stopper.now.poll_set(context).is_ready() {
            // What it brings is given back.
            self.fetching = None;
            self.worker.source.end();
            return if self.has_nothing() { Poll::Ready(Step::Stop) } else { Poll::Pending };
        }
        if ends_when_idle && self.has_nothing() && !self.patience.is_zero() && self.fetching.take().is_some() {
            // Whether there is something is to be known now.
            self.available.set();
        }
        if let Some(fetching) = &mut self.fetching {
            if let Poll::Ready(fetched) = Pin::new(fetching).poll(context) {
                self.fetching = None;
                return Poll::Ready(Step::Fetched(fetched));
            }
            return Poll::Pending;
        }
        if self.has_room() && self.available.poll_take(context).is_ready() {
            return Poll::Ready(Step::Fetch);
        }
        if ends_when_idle && self.is_idle && self.has_nothing() {
            return Poll::Ready(Step::Stop);
        }
        Poll::Pending
    }

    fn has_nothing(&self) -> bool {
        self.working.is_empty() && self.waiting.is_empty() && self.answers.is_empty() && self.answering.is_none()
    }

    /// Answers that nobody takes hold up what is fetched.
    fn has_room(&self) -> bool {
        let concurrency = self.worker.concurrency;
        self.waiting.len() + self.working.len() < concurrency && self.answers.len() < concurrency * AHEAD
    }

    fn fetch(&mut self) {
        let source = &self.worker.source;
        let is_last = self.worker.stopper.when_idle.is_set() && self.has_nothing();
        self.patience = if is_last { Duration::ZERO } else { source.patience() };
        self.fetches += 1;
        self.fetching = Some(Arc::clone(source).fetch(self.worker.concurrency * AHEAD, self.patience));
    }

    fn fetched(&mut self, fetched: Result<Fetched, Error>) -> Result<(), Error> {
        match fetched {
            Ok(fetched) => {
                let deliveries = fetched.take();
                self.is_idle = deliveries.is_empty();
                if !deliveries.is_empty() {
                    self.available.set();
                    self.take(deliveries);
                }
                Ok(())
            }
            Err(error @ Error::Fault(_)) if !matches!(error, Error::Fault(quipu_store::Fault::Closed)) => {
                (self.worker.report)(&error);
                // The keeper comes round in a while: tried again then, not at once.
                self.keeper.wake_later(Arc::clone(&self.available));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// A key is with one consumer at a time, so what comes now replaces what came of it before: that is late.
    fn take(&mut self, deliveries: Vec<Delivery>) {
        if !self.waiting.is_empty() {
            let ids: HashSet<_> = deliveries.iter().map(Delivery::id).collect();
            let keys: HashSet<_> = deliveries.iter().filter_map(Delivery::key).collect();
            let is_late = |old: &Delivery| ids.contains(&old.id()) || old.key().is_some_and(|key| keys.contains(&key));
            _ = self.drop_waiting(|taken| is_late(&taken.delivery));
        }
        let fetch = self.fetches;
        deliveries.iter().for_each(|delivery| self.keeper.keep(delivery));
        self.waiting.extend(deliveries.into_iter().map(|delivery| Taken { fetch, delivery }));
    }

    fn drop_waiting(&mut self, is_late: impl Fn(&Taken) -> bool) -> Vec<Taken> {
        let waiting = std::mem::take(&mut self.waiting);
        let (late, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_late);
        self.waiting = waiting.into();
        late.iter().for_each(|taken| self.keeper.forget(&taken.delivery));
        late
    }

    /// Begins as many as may be worked on at once; those of one key one after the other.
    fn begin_waiting(&mut self) {
        let mut later = VecDeque::new();
        while self.working.len() < self.worker.concurrency
            && let Some(taken) = self.waiting.pop_front()
        {
            if !self.keeper.begin(&taken.delivery) {
                later.push_back(taken);
                continue;
            }
            let handler = self.worker.handlers.iter().find(|(matcher, _)| matcher.matches(&taken.delivery));
            let Some(handler) = handler.map(|(_, handler)| Arc::clone(handler)) else {
                let kind = taken.delivery.event().map_or_else(|e| e.to_string(), |event| event.kind().to_owned());
                let failed = Failed::GiveUp(format!("expected a handler for {kind}, found none"));
                self.working.push(Box::pin(std::future::ready((taken, Err(failed)))));
                continue;
            };
            self.working.push(Box::pin(async move {
                let handled = AssertUnwindSafe(async { handler(taken.delivery.clone()).await }).catch_unwind().await;
                let outcome = handled.unwrap_or_else(|_| Err(Failed::Retry("the handler panicked".into())));
                (taken, outcome)
            }));
        }
        later.append(&mut self.waiting);
        self.waiting = later;
    }

    fn done(&mut self, taken: Taken, outcome: Result<(), Failed>) {
        self.keeper.end(&taken.delivery);
        if outcome.is_err() {
            // What was handed out behind it in its run is taken back with it: it comes again after it.
            _ = self.drop_waiting(|other| other.is_of_the_run_of(&taken));
        }
        self.answers.push((taken, answer(outcome)));
        self.give_answers();
    }

    fn give_answers(&mut self) {
        if self.answering.is_none() && !self.answers.is_empty() {
            let count = self.answers.len().min(ANSWERS_MAX);
            let (taken, answers): (Vec<_>, Vec<_>) = self.answers.drain(..count).unzip();
            let answers = taken.iter().zip(answers).map(|(it, answer)| (it.delivery.id(), it.delivery.token(), answer));
            let answers = answers.collect();
            self.answering = Some((Arc::clone(&self.worker.source).answer(answers), taken));
        }
    }

    /// Too late: it is handed out again, and whoever has it then answers. What is behind it in its run comes after it; it
    /// is given back in case that the answer was in time, and only its confirmation was lost.
    fn answered(&mut self, in_time: &[bool], taken: &[Taken]) {
        taken.iter().for_each(|taken| self.keeper.forget(&taken.delivery));
        for (late, _) in taken.iter().zip(in_time).filter(|(_, in_time)| !**in_time) {
            let behind = self.drop_waiting(|other| other.is_of_the_run_of(late));
            give_back(&self.worker.source, behind.iter().map(|taken| &taken.delivery));
        }
        self.give_answers();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.worker.source.end();
        give_back(&self.worker.source, self.waiting.iter().map(|taken| &taken.delivery));
    }
}

fn answer(outcome: Result<(), Failed>) -> Answer {
    match outcome {
        Ok(()) => Answer::Ack,
        Err(Failed::Retry(error)) => Answer::Nack { failure: Failure::new(error), delay_ms: None },
        Err(Failed::RetryAfter(ms, error)) => Answer::Nack { failure: Failure::new(error), delay_ms: Some(ms) },
        Err(Failed::GiveUp(error)) => {
            Answer::GiveUp { failure: Failure::new(error), reason: Reason::GivenUpByConsumer }
        }
    }
}
