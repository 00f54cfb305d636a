//! Quipu in process: a durable event store that is opened like a file.
//!
//! ```
//! use quipu::{Append, Event, Filter, Quipu};
//!
//! # let folder = tempfile::tempdir()?;
//! let quipu = Quipu::open(folder.path())?;
//!
//! // Each event stands for itself, and is on disk when this returns.
//! let placed = Event::builder("1", "/shop", "order.placed").subject("order/17").json(r#"{"total":90}"#).build()?;
//! quipu.publish(&placed)?;
//!
//! // All or nothing, if the stream is still where the decision saw it.
//! let charged = Event::builder("2", "/payments", "payment.charged").subject("order/17").build()?;
//! quipu.append(Append::of(vec![charged]).expect_version("order/17", 1))?;
//!
//! for recorded in quipu.events(Filter::default()) {
//!     let recorded = recorded?;
//!     println!("{} {}", recorded.stamp.position, recorded.event().kind());
//! }
//! quipu.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **Aggregates.** [`Aggregate`] is a decision and a fold, both pure; [`Quipu::aggregates`] does the rest. [`testing`] tests them
//! in sentences, and [`Quipu::in_memory`] is a store without a folder.
//!
//! **Blocking and async.** The methods of [`Quipu`] block the calling thread. [`Quipu::asynchronous`] gives the same
//! operations under the same names, each returning a future. The futures need no particular runtime: they are woken
//! by the engine's threads.
//!
//! **Cost.** Many threads may share one `Quipu` (it is a handle; cloning it is cheap). Appends that wait at the same
//! time share one write and one sync of the disk.
//!
//! **Projections.** With the feature `sqlite`, [`Quipu::projections`] keeps tables from events, by the SQL of a declaration or by code.
//!
//! **Sagas.** [`Quipu::apply_saga`] declares long business transactions that are finished or undone; see [`sagas`].
//!
//! **Schedules.** [`Quipu::apply_schedule`] declares events that are published again and again; see [`schedules`].
//!
//! **Workers of a server.** With the feature `remote`, `Remote` has workers for the subscriptions of a server, with the
//! same handlers as those of a store in process.
//!
//! **Effects that happen once.** With the feature `sqlite` or `postgres`, `idempotent` records which deliveries were
//! processed in the handler's own transaction.
//!
//! **Truth in PostgreSQL.** With the feature `postgres`, `outbox` writes events in the transaction of the change that they
//! tell of, and `quipu outbox relay` takes them to Quipu.
//!
//! The HTTP server and the command line are not part of the library: with `default-features = false` neither is built.

mod aggregate;
mod append;
mod asynchronous;
#[cfg(any(feature = "cli", feature = "remote"))]
#[doc(hidden)]
pub mod client_tls;
mod delivery;
mod error;
mod follower;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod idempotent;
mod keeper;
#[cfg(feature = "postgres")]
pub mod outbox;
mod pending;
#[cfg(feature = "sqlite")]
pub mod projections;
mod quipu;
mod readers;
#[cfg(feature = "remote")]
mod remote;
pub mod sagas;
pub mod schedules;
mod schemas;
mod signal;
mod subscriptions;
mod system;
pub mod testing;
mod timer;
mod wakeup;
mod worker;

pub use self::aggregate::{Aggregate, Aggregates, Cause, Handled, Loaded, NotHandled};
pub use self::append::Append;
pub use self::asynchronous::{AsyncFollower, AsyncQuipu};
pub use self::delivery::{Delivery, InvalidData};
pub use self::error::Error;
pub use self::follower::{Follower, Start};
pub use self::pending::Pending;
pub use self::quipu::{Events, Quipu};
#[cfg(feature = "remote")]
pub use self::remote::Remote;
pub use self::system::{SystemClock, SystemRandom};
pub use self::timer::Timer;
pub use self::worker::{Failed, Stopper, Worker};

pub use quipu_domain::delivery::{Attempt, Backoff, Failure, RateLimit, Reason, RetryPolicy};
pub use quipu_domain::schema::{SchemaRules, SchemaVersion};
pub use quipu_domain::{
    Checkpoint, Condition, ConditionFailure, DATAREF, Data, DataForm, Direction, Filter, Incoming, InvalidEvent,
    Payload, PayloadForm, Query, QueryItem, Range, Refusal, Stamp, StreamExpectation, StreamState, Timestamp, Trace,
    TraceNode, TypeMatch, Value, limits, parse_event, parse_events, write_event,
};
pub use quipu_domain::{DeadLetterPolicy, OnGivenUp, Ordering, StartAt, Subscription};
pub use quipu_engine::{
    Answer, DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterLine, DeadLetterState, Explained, Lag,
    SeekPreview, Standstill, SubscriptionInfo, SubscriptionRefusal,
};
pub use quipu_engine::{Appended, Options, Page, Place, Published, Recorded, Scheduled, Stats, StreamInfo, TornTail};
pub use quipu_engine::{Baseline, RowVerdict, Since, TableState, TableVerdict, Verdict, VerdictOutcome};
pub use quipu_engine::{
    CheckedSchema, CheckedUpcaster, NewSchema, NotUpcast, Registered, SchemaInfo, SchemaRefusal, SchemaSummary,
    SchemasInfo, TypeInfo, UpcastReason, Upcaster, VerifiedSchema,
};
pub use quipu_engine::{InvalidTimer, TimerInfo, TimerName, TimerPage};
pub use quipu_engine::{KeyRefusal, OperationRefusal, TenantRefusal};
pub use quipu_store::Fault;

/// An immutable fact: a CloudEvents 1.0 envelope and its data, owning its bytes.
///
/// ```
/// let event = quipu::Event::builder("7", "/shop", "order.placed").subject("order/17").json("{}").build()?;
/// assert_eq!(event.subject(), Some("order/17"));
/// # Ok::<(), quipu::InvalidEvent>(())
/// ```
pub type Event = quipu_domain::Event<'static>;

/// The examples of the page are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/aggregates.md")]
mod aggregates_page {}
