//! The handle on an open store, blocking. Checking, hashing and waiting happen on the caller's thread; what it
//! returns is on disk.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use quipu_domain::schema::SchemaVersion;
use quipu_domain::{Direction, Event, Filter, Incoming, InvalidEvent, StreamState, Timestamp, Trace};
use quipu_engine::{
    Appended, CommitGuard, Engine, Options, Page, Prepared, Published, Recorded, Stats, StreamInfo, Tenant, TimerInfo,
    TimerName, TimerPage, TornTail, World,
};
use quipu_store::{DiskStorage, Fault, MemoryStorage, Storage};

use crate::readers::Readers;
use crate::signal::Signal;
use crate::{Append, AsyncQuipu, Error, Follower, Start, SystemClock, SystemRandom, Timer};

/// The tenant that is meant when none is named.
const TENANT_DEFAULT: &str = "default";

/// Events on one page when all pages are read anyway: large enough that the cost of a call does not show.
pub(crate) const PAGE_EVENTS: usize = 1_000;

/// An open store: one tenant of a data folder. A handle, cheap to clone and to share between threads.
///
/// The store closes cleanly with [`Quipu::close`], or when the last handle is dropped.
#[derive(Clone)]
pub struct Quipu {
    store: Arc<Store>,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) signal: Arc<Signal>,
    _commits: Arc<CommitGuard>,
}

/// What the handles of one data folder share.
struct Store {
    engine: Arc<Engine>,
    readers: OnceLock<Readers>,
    #[cfg(feature = "sqlite")]
    pub(crate) kept: crate::projections::Kept,
}

impl Drop for Store {
    fn drop(&mut self) {
        #[cfg(feature = "sqlite")]
        self.kept.close();
        // Nobody is left who could be told of a fault; the next opening finds and reports what is wrong.
        let _ = self.engine.close();
    }
}

impl Quipu {
    /// Opens the store in a folder, which is made if it does not exist.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// let quipu = quipu::Quipu::open(folder.path().join("data"))?;
    /// assert_eq!(quipu.position(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Fault::Locked`] if another process has it, [`Fault::Damaged`] if acknowledged bytes are not what was written.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(folder, Options::default())
    }

    /// The same, with other limits and sizes.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// use quipu::{Options, Quipu};
    /// let quipu = Quipu::open_with(folder.path(), Options { event_bytes_max: 4096, ..Options::default() })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Quipu::open`].
    pub fn open_with(folder: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        Self::open_on(Arc::new(DiskStorage::new(folder.as_ref())), options)
    }

    /// A store in memory, gone with its last handle: for tests, and for what need not stay. It is the same store on another disk,
    /// so it does all that one in a folder does, and nothing else.
    ///
    /// ```
    /// let quipu = quipu::Quipu::in_memory()?;
    /// quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").build()?)?;
    /// assert_eq!(quipu.position(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Quipu::open`].
    pub fn in_memory() -> Result<Self, Error> {
        Self::in_memory_with(Options::default())
    }

    /// The same, with other limits and sizes.
    ///
    /// # Errors
    /// As [`Quipu::open`].
    pub fn in_memory_with(options: Options) -> Result<Self, Error> {
        Self::open_on(Arc::new(MemoryStorage::default()), options)
    }

    fn open_on(storage: Arc<dyn Storage>, options: Options) -> Result<Self, Error> {
        let world = World { storage, clock: Arc::new(SystemClock), random: Arc::new(SystemRandom) };
        let engine = Engine::open(world, options)?;
        let store = Arc::new(Store {
            engine: Arc::new(engine),
            readers: OnceLock::new(),
            #[cfg(feature = "sqlite")]
            kept: Default::default(),
        });
        Self::of(store, TENANT_DEFAULT)
    }

    /// Another tenant of the same folder, made on first use. Its name: 1 to 64 of `a-z 0-9 - _`.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// let acme = quipu.tenant("acme")?;
    /// acme.publish(&quipu::Event::builder("1", "/shop", "order.placed").build()?)?;
    /// assert_eq!((acme.position(), quipu.position()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Quipu::open`].
    pub fn tenant(&self, name: &str) -> Result<Self, Error> {
        Self::of(self.store.clone(), name)
    }

    fn of(store: Arc<Store>, name: &str) -> Result<Self, Error> {
        let tenant = store.engine.tenant(name)?;
        let signal = Arc::new(Signal::default());
        let commits = tenant.on_commit({
            let signal = signal.clone();
            move |position| signal.reached(position)
        });
        signal.reached(tenant.position());
        Ok(Self { store, tenant, signal, _commits: Arc::new(commits) })
    }

    /// The same operations as futures.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// let event = quipu::Event::builder("1", "/shop", "order.placed").build()?;
    /// let quipu = quipu.asynchronous();
    /// # let block_on = quipu_doc_block_on::block_on;
    /// let published = block_on(async { quipu.publish(&event).await })?;
    /// assert!(matches!(published, quipu::Published::Recorded(_)));
    /// # mod quipu_doc_block_on {
    /// #     use std::{future::Future, pin::pin, sync::Arc, task::{Context, Poll, Wake, Waker}, thread::Thread};
    /// #     struct Unpark(Thread);
    /// #     impl Wake for Unpark { fn wake(self: Arc<Self>) { self.0.unpark(); } }
    /// #     pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #         let mut future = pin!(future);
    /// #         let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    /// #         loop {
    /// #             match future.as_mut().poll(&mut Context::from_waker(&waker)) {
    /// #                 Poll::Ready(value) => return value,
    /// #                 Poll::Pending => std::thread::park(),
    /// #             }
    /// #         }
    /// #     }
    /// # }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn asynchronous(&self) -> AsyncQuipu {
        AsyncQuipu::new(self.clone())
    }

    /// Publishes one event.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Event, Published};
    /// let event = Event::builder("1", "/shop", "order.placed").build()?;
    /// assert!(matches!(quipu.publish(&event)?, Published::Recorded(place) if place.position == 1));
    /// // A repeat is answered with the first one's place.
    /// assert!(matches!(quipu.publish(&event)?, Published::Duplicate(place) if place.position == 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A refusal is an error here; for many events at once, see [`Quipu::publish_each`].
    pub fn publish(&self, event: &Event<'_>) -> Result<Published, Error> {
        let prepared = self.prepare(0, event, None)?;
        only(self.tenant.publish_wait(vec![prepared])?)
    }

    /// Publishes events of which each stands for itself: the answers, in the same order, say what became of each.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Event, Published};
    /// let event = |id: &'static str| Event::builder(id, "/shop", "order.placed").build();
    /// let published = quipu.publish_each(&[event("1")?, event("2")?, event("1")?])?;
    /// assert!(matches!(published[..], [Published::Recorded(_), Published::Recorded(_), Published::Duplicate(_)]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`] if one is over the size limit, and then none is published.
    pub fn publish_each(&self, events: &[Event<'_>]) -> Result<Vec<Published>, Error> {
        Ok(self.tenant.publish_wait(self.prepare_each(events)?)?)
    }

    /// The same for events as they came in from elsewhere, some of which may claim to be a version of their stream.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// let text = br#"{"eventType":"order.placed","eventId":"1","aggregateId":"order/1","version":1}"#;
    /// let published = quipu.publish_incoming(&[quipu::parse_event(text)?])?;
    /// assert!(matches!(published[0], quipu::Published::Recorded(_)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Quipu::publish_each`].
    pub fn publish_incoming(&self, events: &[Incoming<'_>]) -> Result<Vec<Published>, Error> {
        let prepared = events.iter().enumerate();
        let prepared = prepared.map(|(index, i)| self.prepare(index, &i.event, i.stream_version));
        Ok(self.tenant.publish_wait(prepared.collect::<Result<_, _>>()?)?)
    }

    /// Appends events, all or nothing.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Append, Event, StreamExpectation};
    /// let order = Event::builder("1", "/shop", "order.placed").subject("order/1").build()?;
    /// let stock = Event::builder("2", "/shop", "stock.reserved").subject("stock/book").build()?;
    /// let append = Append::of([order, stock]).expect_stream("order/1", StreamExpectation::DoesNotExist);
    /// assert_eq!(quipu.append(append)?.events.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] names every condition that failed, with what was expected and what was found.
    pub fn append(&self, append: Append) -> Result<Appended, Error> {
        Ok(self.tenant.append_wait(self.prepare_append(append)?)?)
    }

    /// Publishes an event later. The answer says for which timer it waits, or where it is if it was recorded before.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Event, Published, Timer, TimerName};
    /// use std::time::Duration;
    /// let reminder = Event::builder("1", "/shop", "order.reminded").subject("order/17").build()?;
    /// let set = quipu.set_timer(Timer::after(Duration::from_secs(3_600), reminder).key("reminder/17"))?;
    /// assert!(matches!(set, Published::Scheduled(waits) if waits.timer == 1));
    /// assert_eq!(quipu.timers(None, 100)?.timers[0].event().kind(), "order.reminded");
    /// assert_eq!(quipu.cancel_timer(TimerName::Key("reminder/17".into()))?, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidTimer`], or a refusal: another timer has its key, or another event its source and id.
    pub fn set_timer(&self, timer: Timer) -> Result<Published, Error> {
        only(self.append(Append::default().timer(timer))?.timers.into_iter().flatten().collect())
    }

    /// Cancels a timer. Its number, or nothing if there is none: it has fired, was cancelled, or never was.
    ///
    /// # Errors
    /// The disk failed.
    pub fn cancel_timer(&self, timer: TimerName) -> Result<Option<u64>, Error> {
        Ok(self.tenant.cancel_timer(timer)?)
    }

    /// A timer that waits.
    ///
    /// # Errors
    /// The disk failed.
    pub fn timer(&self, timer: &TimerName) -> Result<Option<TimerInfo>, Error> {
        Ok(self.tenant.timer(timer)?)
    }

    /// Timers that wait, those first that fire first: at most so many, behind the `next` of a page before.
    ///
    /// # Errors
    /// The disk failed.
    pub fn timers(&self, behind: Option<(Timestamp, u64)>, limit: usize) -> Result<TimerPage, Error> {
        Ok(self.tenant.timers(behind, limit)?)
    }

    /// One page of events that match a filter. `from`: the first position to look at, or the end that the direction
    /// starts from. A page may be short, even empty, and still have a next: the work for one is bounded.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").build()?)?;
    /// use quipu::{Direction, Filter, TypeMatch};
    /// let orders = Filter { types: vec![TypeMatch::parse("order.*")], ..Filter::default() };
    /// let page = quipu.read(&orders, Direction::Backward, None, 10)?;
    /// assert_eq!(page.events[0].event().kind(), "order.placed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn read(&self, filter: &Filter, direction: Direction, from: Option<u64>, limit: usize) -> Result<Page, Error> {
        Ok(self.tenant.read(filter, direction, from, limit)?)
    }

    /// All events that match a filter, oldest first, page by page.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").build()?)?;
    /// assert_eq!(quipu.events(quipu::Filter::default()).count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self, filter: Filter) -> Events {
        Events { quipu: self.clone(), filter, next: Some(1), page: Vec::new().into_iter() }
    }

    /// The event with its data in it, as it was sent, if that is kept beside the log (`dataref`); any other as it is.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # use quipu::{Event, Options, Quipu};
    /// let quipu = Quipu::open_with(folder.path(), Options { claim_check_bytes: 1_000, ..Options::default() })?;
    /// let text = format!("\"{}\"", "x".repeat(2_000));
    /// quipu.publish(&Event::builder("1", "/shop", "report.made").json(text.as_str()).build()?)?;
    /// let recorded = quipu.events(quipu::Filter::default()).next().unwrap()?;
    /// assert!(recorded.event().attribute("dataref").is_some());
    /// assert_eq!(quipu.resolve(recorded)?.event().data(), &quipu::Data::Json(text.into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The payload is missing or not what was written, which the fault names, or the disk failed.
    pub fn resolve(&self, recorded: Recorded) -> Result<Recorded, Error> {
        Ok(self.tenant.resolve(recorded)?)
    }

    /// One page of a stream. `from_version` and the page's `next` are versions.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").subject("order/1").build()?)?;
    /// let page = quipu.read_stream("order/1", quipu::Direction::Forward, None, 10)?;
    /// assert_eq!(page.events[0].stamp.stream_version, Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn read_stream(
        &self,
        subject: &str,
        direction: Direction,
        from_version: Option<u64>,
        limit: usize,
    ) -> Result<Page, Error> {
        Ok(self.tenant.read_stream(subject, direction, from_version, limit)?)
    }

    /// The version of a stream and the position of its newest event; all zero if it has none.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// assert_eq!(quipu.stream("order/1")?.version, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn stream(&self, subject: &str) -> Result<StreamState, Error> {
        Ok(self.tenant.stream(subject)?)
    }

    /// Streams whose names begin with `prefix`, in the order in which they began, from a position on; and where to go
    /// on, if there are more.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").subject("order/1").build()?)?;
    /// let (streams, next) = quipu.streams("order/", 1, 100)?;
    /// assert_eq!((streams[0].subject.as_str(), next), ("order/1", None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn streams(&self, prefix: &str, from: u64, limit: usize) -> Result<(Vec<StreamInfo>, Option<u64>), Error> {
        Ok(self.tenant.streams(prefix, from, limit)?)
    }

    /// The event at a position.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// assert!(quipu.event_at(1)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn event_at(&self, position: u64) -> Result<Option<Recorded>, Error> {
        Ok(self.tenant.event_at(position)?)
    }

    /// The event of a `source` and `id`; the newest, if the pair recurs beyond the deduplication window.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").build()?)?;
    /// assert!(quipu.event_by_id("/shop", "1")?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn event_by_id(&self, source: &str, id: &str) -> Result<Option<Recorded>, Error> {
        Ok(self.tenant.event_by_id(source, id)?)
    }

    /// The tree of causes and effects around the event at a position.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::Event;
    /// quipu.publish(&Event::builder("1", "/shop", "order.placed").correlation_id("c").build()?)?;
    /// quipu.publish(&Event::builder("2", "/pay", "payment.charged").correlation_id("c").causation_id("1").build()?)?;
    /// let trace = quipu.trace(2)?.expect("there is an event at position 2");
    /// let depths: Vec<usize> = trace.nodes.iter().map(|(depth, _)| *depth).collect();
    /// assert_eq!(depths, [0, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn trace(&self, position: u64) -> Result<Option<Trace>, Error> {
        Ok(self.tenant.trace(position)?)
    }

    /// Follows what is recorded.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Event, Filter, Start};
    /// let mut follower = quipu.follow(Filter::default(), Start::End);
    /// quipu.publish(&Event::builder("1", "/shop", "order.placed").build()?)?;
    /// let events = follower.next(100, std::time::Duration::from_secs(1))?;
    /// assert_eq!(events[0].stamp.position, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn follow(&self, filter: Filter, start: Start) -> Follower {
        let follower = self.tenant.follow(filter, start.after(&self.tenant));
        Follower { follower, signal: self.signal.clone(), version: SchemaVersion::Stored }
    }

    /// How far an outside source is copied, if an append has said so.
    pub fn checkpoint(&self, source: &str) -> Option<u64> {
        self.tenant.checkpoint(source)
    }

    /// The newest position on disk; 0 for an empty log.
    pub fn position(&self) -> u64 {
        self.tenant.position()
    }

    /// Why appends are refused at the moment, if they are: an earlier failed write, a full disk, a closed store.
    pub fn refuses_appends(&self) -> Option<Fault> {
        self.tenant.refuses_appends()
    }

    /// What was cut off at the end of the log when it was opened, if anything was: bytes that nobody had been told are
    /// recorded. They are kept in a file.
    pub fn torn_tail(&self) -> Option<&TornTail> {
        self.tenant.torn_tail()
    }

    /// Counts and sizes.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// assert_eq!(quipu.stats()?.events, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed.
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(self.tenant.stats()?)
    }

    /// Finishes what is waiting, leaves the marks that make the next opening fast, and ends all followers. Every
    /// handle on this folder is closed with it.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// quipu.close()?;
    /// let event = quipu::Event::builder("1", "/shop", "order.placed").build()?;
    /// assert!(matches!(quipu.publish(&event), Err(quipu::Error::Fault(quipu::Fault::Closed))));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The disk failed. What was acknowledged is safe all the same.
    pub fn close(&self) -> Result<(), Error> {
        #[cfg(feature = "sqlite")]
        self.store.kept.close();
        let closed = self.store.engine.close();
        self.signal.close();
        Ok(closed?)
    }

    /// The engine below, for what this library does not offer: the server and the benchmarks use it.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.store.engine
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn kept(&self) -> &crate::projections::Kept {
        &self.store.kept
    }

    pub(crate) fn readers(&self) -> &Readers {
        self.store.readers.get_or_init(Readers::start)
    }

    pub(crate) fn prepare(
        &self,
        index: usize,
        event: &Event<'_>,
        stream_version: Option<u64>,
    ) -> Result<Prepared, Error> {
        self.tenant.prepare(event, stream_version).map_err(|reason: InvalidEvent| Error::Invalid { index, reason })
    }

    pub(crate) fn prepare_each(&self, events: &[Event<'_>]) -> Result<Vec<Prepared>, Error> {
        events.iter().enumerate().map(|(index, event)| self.prepare(index, event, None)).collect()
    }

    pub(crate) fn prepare_append(&self, append: Append) -> Result<quipu_engine::Append, Error> {
        let events = self.prepare_each(&append.events)?;
        let timers = append.timers.into_iter().enumerate();
        let timers = timers.map(|(index, timer)| timer.prepare(index, &self.tenant)).collect::<Result<_, _>>()?;
        let (conditions, checkpoint, cancels) = (append.conditions, append.checkpoint, append.cancels);
        Ok(quipu_engine::Append { events, conditions, checkpoint, cancels, timers })
    }
}

/// The answer for the one event that was published.
pub(crate) fn only(published: Vec<Published>) -> Result<Published, Error> {
    match published.into_iter().next() {
        Some(Published::Refused(refusal)) => Err(Error::Refused(refusal)),
        Some(published) => Ok(published),
        None => unreachable!("the engine answers every event that it is given"),
    }
}

/// All events that match a filter, oldest first. Made by [`Quipu::events`]. It ends at what was newest when it got
/// there, or after an error.
pub struct Events {
    quipu: Quipu,
    filter: Filter,
    next: Option<u64>,
    page: std::vec::IntoIter<Recorded>,
}

impl Iterator for Events {
    type Item = Result<Recorded, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(recorded) = self.page.next() {
                return Some(Ok(recorded));
            }
            let from = self.next.take()?;
            match self.quipu.read(&self.filter, Direction::Forward, Some(from), PAGE_EVENTS) {
                Ok(page) => (self.page, self.next) = (page.events.into_iter(), page.next),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
