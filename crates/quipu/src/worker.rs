//! A worker: handlers by type or pattern, run for each delivery of a subscription with bounded concurrency. It is one
//! future that needs no particular runtime: it is woken by the engine's threads.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use quipu_domain::delivery::{Failure, Reason};
use quipu_domain::{InvalidPattern, Pattern};
use quipu_engine::{Answer, SubscriptionRefusal, WatchGuard};
use serde::de::DeserializeOwned;

use crate::keeper::Keeper;
use crate::wakeup::Wakeup;
use crate::{Delivery, Error, Pending, Quipu};

/// Deliveries that are worked on at once, unless you say otherwise.
const CONCURRENCY: usize = 16;
/// Deliveries that are taken at once for each that is worked on: a run of one key is taken together.
const AHEAD: usize = 4;

type Handler = Arc<dyn Fn(Delivery) -> Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>> + Send + Sync>;

/// What a handler says of a delivery that it could not process. Every error becomes [`Failed::Retry`] by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// To be tried again as the subscription's policy says.
    Retry(String),
    /// To be tried again after so many milliseconds.
    RetryAfter(u64, String),
    /// Trying again is of no use: it becomes a dead letter.
    GiveUp(String),
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Runs handlers for the deliveries of a subscription. Made by [`Quipu::worker`].
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let quipu = quipu::Quipu::open(folder.path())?;
/// # quipu.create_subscription("billing", quipu::Subscription::default())?;
/// # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").json(r#"{"total":90}"#).build()?)?;
/// # let block_on = quipu_doc_block_on::block_on;
/// #[derive(serde::Deserialize)]
/// struct Order {
///     total: u64,
/// }
///
/// let worker = quipu.worker("billing").on("order.placed", |delivery, order: Order| async move {
///     println!("charge {} ({})", order.total, delivery.idempotency_key());
///     Ok(())
/// });
/// let stop = worker.stopper();
/// # stop.stop_when_idle();
/// block_on(worker.run())?;
/// # /// Stands for the runtime of the reader's choice.
/// # mod quipu_doc_block_on {
/// #     pub fn block_on<T>(future: impl Future<Output = T>) -> T {
/// #         struct Unpark(std::thread::Thread);
/// #         impl std::task::Wake for Unpark {
/// #             fn wake(self: std::sync::Arc<Self>) { self.0.unpark() }
/// #         }
/// #         let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
/// #         let mut context = std::task::Context::from_waker(&waker);
/// #         let mut future = std::pin::pin!(future);
/// #         loop {
/// #             match future.as_mut().poll(&mut context) {
/// #                 std::task::Poll::Ready(outcome) => return outcome,
/// #                 std::task::Poll::Pending => std::thread::park(),
/// #             }
/// #         }
/// #     }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Worker {
    quipu: Quipu,
    subscription: String,
    handlers: Vec<(Matcher, Handler)>,
    concurrency: usize,
    stopper: Stopper,
}

/// Ends a worker: it takes no further delivery, and finishes those that it has.
#[derive(Clone, Default)]
pub struct Stopper {
    now: Arc<Wakeup>,
    when_idle: Arc<Wakeup>,
}

impl Stopper {
    /// Takes no further delivery.
    pub fn stop(&self) {
        self.now.set();
    }

    /// Ends when there is nothing to deliver right now.
    pub fn stop_when_idle(&self) {
        self.when_idle.set();
    }
}

enum Matcher {
    Type(String),
    Pattern(Box<Pattern>),
}

impl Matcher {
    fn matches(&self, delivery: &Delivery) -> bool {
        let Ok(event) = delivery.event() else { return false };
        match self {
            Self::Type(kind) => {
                let version = event.kind().strip_prefix(kind.as_str()).map(|rest| rest.strip_prefix(".v"));
                match version {
                    Some(Some(number)) => !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()),
                    Some(None) => event.kind() == kind,
                    None => false,
                }
            }
            Self::Pattern(pattern) => pattern.matches_event(&event, Some(delivery.stamp())),
        }
    }
}

impl Worker {
    pub(crate) fn new(quipu: Quipu, subscription: &str) -> Self {
        let subscription = subscription.to_owned();
        Self { quipu, subscription, handlers: Vec::new(), concurrency: CONCURRENCY, stopper: Stopper::default() }
    }

    /// Handles events of a type, or of all its versions if it has no `.vN`. The data is parsed first: what does not fit
    /// is given up at once, since it would never fit.
    #[must_use]
    pub fn on<T, F>(self, kind: &str, handler: impl Fn(Delivery, T) -> F + Send + Sync + 'static) -> Self
    where
        T: DeserializeOwned + Send,
        F: Future<Output = Result<(), Failed>> + Send + 'static,
    {
        self.with(Matcher::Type(kind.to_owned()), handler)
    }

    /// Handles events that match a pattern, as [`Worker::on`] does. The first handler that fits has the event.
    ///
    /// # Errors
    /// [`InvalidPattern`].
    pub fn on_pattern<T, F>(
        self,
        pattern: &str,
        handler: impl Fn(Delivery, T) -> F + Send + Sync + 'static,
    ) -> Result<Self, InvalidPattern>
    where
        T: DeserializeOwned + Send,
        F: Future<Output = Result<(), Failed>> + Send + 'static,
    {
        let pattern = Pattern::parse(pattern)?;
        Ok(self.with(Matcher::Pattern(Box::new(pattern)), handler))
    }

    fn with<T, F>(mut self, matcher: Matcher, handler: impl Fn(Delivery, T) -> F + Send + Sync + 'static) -> Self
    where
        T: DeserializeOwned + Send,
        F: Future<Output = Result<(), Failed>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let run = move |delivery: Delivery| -> Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>> {
            match delivery.data::<T>() {
                Ok(data) => Box::pin(handler(delivery, data)),
                Err(invalid) => Box::pin(std::future::ready(Err(Failed::GiveUp(invalid.to_string())))),
            }
        };
        self.handlers.push((matcher, Arc::new(run)));
        self
    }

    /// How many deliveries are worked on at once; 16 without it.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Ends the worker from elsewhere.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Works until it is stopped. Handlers run inside of this future: a handler that blocks its thread holds up the
    /// others, and several workers on one subscription share its deliveries. While a handler is at work its deadline is
    /// moved. A handler that panics has failed.
    ///
    /// # Errors
    /// There is no subscription of that name (any more), or the store was closed. Other faults are tried again.
    pub async fn run(self) -> Result<(), Error> {
        Run::begin(self)?.run().await
    }
}

/// A delivery that was worked on.
type Done = (Delivery, Result<(), Failed>);

struct Run {
    worker: Worker,
    available: Arc<Wakeup>,
    pulling: Option<Pending<Vec<Delivery>>>,
    /// Taken and not begun, in the order of their keys.
    waiting: std::collections::VecDeque<Delivery>,
    working: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    keeper: Keeper,
    is_idle: bool,
    _guard: WatchGuard,
}

enum Step {
    Pull,
    Pulled(Result<Vec<Delivery>, Error>),
    Done(Done),
    Stop,
}

impl Run {
    fn begin(worker: Worker) -> Result<Self, Error> {
        let available = Arc::new(Wakeup::default());
        available.set();
        let woken = Arc::clone(&available);
        let guard = worker.quipu.tenant.on_available(&worker.subscription, move || woken.set())?;
        let keeper = Keeper::start(Arc::clone(&worker.quipu.tenant), &worker.subscription);
        Ok(Self {
            worker,
            available,
            pulling: None,
            waiting: std::collections::VecDeque::new(),
            working: FuturesUnordered::new(),
            keeper,
            is_idle: false,
            _guard: guard,
        })
    }

    async fn run(mut self) -> Result<(), Error> {
        loop {
            self.begin_waiting();
            match poll_fn(|context| self.poll_step(context)).await {
                Step::Pull => self.pull(),
                Step::Pulled(pulled) => self.pulled(pulled)?,
                Step::Done((delivery, outcome)) => self.done(&delivery, outcome)?,
                Step::Stop => return Ok(()),
            }
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Poll::Ready(Some(done)) = self.working.poll_next_unpin(context) {
            return Poll::Ready(Step::Done(done));
        }
        let stopper = &self.worker.stopper;
        let is_stopped = stopper.now.poll_set(context).is_ready();
        if let Some(pulling) = &mut self.pulling {
            if let Poll::Ready(pulled) = Pin::new(pulling).poll(context) {
                self.pulling = None;
                return Poll::Ready(Step::Pulled(pulled));
            }
            return Poll::Pending;
        }
        let has_nothing = self.working.is_empty() && self.waiting.is_empty();
        if is_stopped {
            return if has_nothing { Poll::Ready(Step::Stop) } else { Poll::Pending };
        }
        if self.waiting.len() + self.working.len() < self.worker.concurrency
            && self.available.poll_take(context).is_ready()
        {
            return Poll::Ready(Step::Pull);
        }
        if stopper.when_idle.poll_set(context).is_ready() && self.is_idle && has_nothing {
            return Poll::Ready(Step::Stop);
        }
        Poll::Pending
    }

    fn pull(&mut self) {
        let limit = self.worker.concurrency * AHEAD;
        let (quipu, name) = (self.worker.quipu.clone(), self.worker.subscription.clone());
        self.pulling = Some(self.worker.quipu.readers().run(move || {
            let handed = quipu.tenant.pull(&name, limit)?;
            Ok(handed.into_iter().map(|handed| Delivery::new(&name, handed)).collect())
        }));
    }

    fn pulled(&mut self, pulled: Result<Vec<Delivery>, Error>) -> Result<(), Error> {
        match pulled {
            Ok(deliveries) => {
                self.is_idle = deliveries.is_empty();
                if !deliveries.is_empty() {
                    self.available.set();
                }
                deliveries.iter().for_each(|delivery| self.keeper.keep(delivery));
                self.waiting.extend(deliveries);
                Ok(())
            }
            Err(Error::Fault(fault)) if !matches!(fault, quipu_store::Fault::Closed) => {
                // The keeper comes round in a while: tried again then, not at once.
                self.keeper.wake_later(Arc::clone(&self.available));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Begins as many as may be worked on at once; those of one key one after the other.
    fn begin_waiting(&mut self) {
        let mut later = std::collections::VecDeque::new();
        while self.working.len() < self.worker.concurrency
            && let Some(delivery) = self.waiting.pop_front()
        {
            if !self.keeper.begin(&delivery) {
                later.push_back(delivery);
                continue;
            }
            let handler = self.worker.handlers.iter().find(|(matcher, _)| matcher.matches(&delivery));
            let Some(handler) = handler.map(|(_, handler)| Arc::clone(handler)) else {
                let kind = delivery.event().map_or_else(|e| e.to_string(), |event| event.kind().to_owned());
                let failed = Failed::GiveUp(format!("expected a handler for {kind}, found none"));
                self.working.push(Box::pin(std::future::ready((delivery, Err(failed)))));
                continue;
            };
            self.working.push(Box::pin(async move {
                let ready = AssertUnwindSafe(async { handler(delivery.clone()).await }).catch_unwind().await;
                let outcome = ready.unwrap_or_else(|_| Err(Failed::Retry("the handler panicked".into())));
                (delivery, outcome)
            }));
        }
        later.append(&mut self.waiting);
        self.waiting = later;
    }

    fn done(&mut self, delivery: &Delivery, outcome: Result<(), Failed>) -> Result<(), Error> {
        let has_failed = outcome.is_err();
        self.keeper.end(delivery);
        let answer = match outcome {
            Ok(()) => Answer::Ack,
            Err(Failed::Retry(error)) => Answer::Nack { failure: Failure::new(error), delay_ms: None },
            Err(Failed::RetryAfter(ms, error)) => Answer::Nack { failure: Failure::new(error), delay_ms: Some(ms) },
            Err(Failed::GiveUp(error)) => {
                Answer::GiveUp { failure: Failure::new(error), reason: Reason::GivenUpByConsumer }
            }
        };
        if has_failed {
            // What was handed out behind it in its run was taken back: it comes again after it.
            let keeper = &mut self.keeper;
            self.waiting.retain(|other| {
                let stays = delivery.key().is_none() || other.key() != delivery.key();
                if !stays {
                    keeper.forget(other);
                }
                stays
            });
        }
        match self.worker.quipu.answer(delivery, answer) {
            // Too late: it is handed out again, and whoever has it then answers.
            Ok(()) | Err(Error::Subscription(SubscriptionRefusal::NotInFlight { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
