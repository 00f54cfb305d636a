//! An append in the making: its events, what must still be true for it, and the checkpoint that is written with it.

use quipu_domain::{Checkpoint, Condition, Event, Query, StreamExpectation};
use quipu_engine::TimerName;

use crate::Timer;

/// Several events that are written all or nothing, under conditions.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let quipu = quipu::Quipu::open(folder.path())?;
/// use quipu::{Append, Event, Query, QueryItem};
/// let event = Event::builder("1", "/courses", "student.enrolled").tag("course:db").tag("student:ada").build()?;
/// let enrolled = Query { items: vec![QueryItem { types: vec!["student.enrolled".into()], tags: vec!["course:db".into()] }] };
/// // Nobody has enrolled since position 0, up to which this decision has read.
/// let appended = quipu.append(Append::of(vec![event]).expect_none_after(0, enrolled))?;
/// assert_eq!(appended.events[0].position, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an append does nothing until it is given to Quipu::append"]
pub struct Append {
    pub(crate) events: Vec<Event<'static>>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) timers: Vec<Timer>,
    pub(crate) cancels: Vec<TimerName>,
}

impl Append {
    /// An append of these events, in this order.
    pub fn of(events: impl IntoIterator<Item = Event<'static>>) -> Self {
        Self { events: events.into_iter().collect(), ..Self::default() }
    }

    /// Expects the newest event of a stream to have this version; 0 for a stream without events.
    pub fn expect_version(self, stream: impl Into<String>, version: u64) -> Self {
        self.expect_stream(stream, StreamExpectation::Version(version))
    }

    /// Expects a stream to be as said.
    pub fn expect_stream(self, stream: impl Into<String>, expected: StreamExpectation) -> Self {
        self.expect(Condition::Stream { stream: stream.into(), expected })
    }

    /// Expects no event after a position to match a query: a dynamic consistency boundary.
    pub fn expect_none_after(self, position: u64, query: Query) -> Self {
        self.expect(Condition::NoneAfter { position, query })
    }

    /// Adds a condition.
    pub fn expect(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Writes, in the same commit, how far an outside source is copied. It is refused if the number does not advance,
    /// so whoever copies events from elsewhere copies each exactly once.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Append, Event};
    /// let copied = Event::builder("row-9", "/legacy", "order.imported").build()?;
    /// quipu.append(Append::of(vec![copied]).checkpoint("orders-table", 9))?;
    /// assert_eq!(quipu.checkpoint("orders-table"), Some(9));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint(mut self, source: impl Into<String>, number: u64) -> Self {
        self.checkpoint = Some(Checkpoint { source: source.into(), number });
        self
    }

    /// Sets a timer in the same commit: it waits exactly if the events are recorded.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let quipu = quipu::Quipu::open(folder.path())?;
    /// use quipu::{Append, Event, Timer};
    /// use std::time::Duration;
    /// let placed = Event::builder("1", "/shop", "order.placed").subject("order/17").build()?;
    /// let missed = Event::builder("late-17", "/shop", "payment.missed").subject("order/17").build()?;
    /// let timer = Timer::after(Duration::from_secs(1_800), missed).key("payment/order/17");
    /// quipu.append(Append::of([placed]).timer(timer))?;
    ///
    /// let paid = Event::builder("2", "/shop", "order.paid").subject("order/17").build()?;
    /// let appended = quipu.append(Append::of([paid]).cancel("payment/order/17"))?;
    /// assert_eq!(appended.cancelled, [Some(1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timer(mut self, timer: Timer) -> Self {
        self.timers.push(timer);
        self
    }

    /// Cancels the timer with this key in the same commit, before others are set. There need not be one.
    pub fn cancel(self, key: impl Into<String>) -> Self {
        self.cancel_timer(TimerName::Key(key.into()))
    }

    /// The same, of a timer that is meant by its key or its number.
    pub fn cancel_timer(mut self, timer: TimerName) -> Self {
        self.cancels.push(timer);
        self
    }
}
