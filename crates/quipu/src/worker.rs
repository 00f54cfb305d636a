//! A worker: handlers by type or pattern, run for each delivery of a subscription with bounded concurrency. It is one
//! future that needs no particular runtime: it is woken by other threads. Here is what its user says; `run.rs` does it,
//! and where deliveries come from is behind `source.rs`.

mod in_process;
mod run;
pub(crate) mod source;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use quipu_domain::{InvalidPattern, Pattern};
use serde::de::DeserializeOwned;

use self::in_process::InProcess;
use self::run::Run;
use self::source::{Report, Source};
use crate::wakeup::Wakeup;
use crate::{Delivery, Error, Quipu};

/// Deliveries that are worked on at once, unless you say otherwise.
const CONCURRENCY: usize = 16;

type Handler = Arc<dyn Fn(Delivery) -> Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>> + Send + Sync>;

/// What a handler says of a delivery that it could not process. Every error becomes [`Failed::Retry`] by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// To be tried again as the subscription's policy says.
    Retry(String),
    /// To be tried again after so many milliseconds, at most 7 days.
    RetryAfter(u64, String),
    /// Trying again is of no use: it becomes a dead letter.
    GiveUp(String),
}

impl<E: std::error::Error> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Runs handlers for the deliveries of a subscription. Made by [`Quipu::worker`], or, with the feature `remote`, for a
/// subscription of a server by `Remote::worker`.
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
    source: Arc<dyn Source>,
    report: Report,
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
    pub(crate) fn in_process(quipu: Quipu, subscription: &str) -> Self {
        Self::new(Arc::new(InProcess::new(quipu, subscription)))
    }

    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        let report: Report = Arc::new(|_| {});
        Self { source, report, handlers: Vec::new(), concurrency: CONCURRENCY, stopper: Stopper::default() }
    }

    /// Handles events of a type, or of all its versions if it has no `.vN`. The data is parsed first: what does not fit
    /// is given up at once, since it would never fit. If the subscription transforms, what its transformation made is the
    /// data; the type is that of the event.
    #[must_use]
    pub fn on<T, F>(self, kind: &str, handler: impl Fn(Delivery, T) -> F + Send + Sync + 'static) -> Self
    where
        T: DeserializeOwned + Send,
        F: Future<Output = Result<(), Failed>> + Send + 'static,
    {
        self.with(Matcher::Type(kind.to_owned()), handler)
    }

    /// Handles events that match a pattern, as [`Worker::on`] does. The first handler that fits has the event. If the
    /// subscription transforms, the pattern is held against the attributes and what the transformation made.
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

    /// Calls this for each fault that is tried again, on the thread that met it: the log cannot be read, the server does
    /// not answer. Without it they pass in silence.
    #[must_use]
    pub fn on_trouble(mut self, report: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.report = Arc::new(report);
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
    /// There is no subscription of that name (any more), or the store was closed; of a server also: it refused for good
    /// ([`Error::Server`]). Other faults are tried again.
    pub async fn run(self) -> Result<(), Error> {
        Run::begin(self)?.run().await
    }
}
