//! An append in the making: its events, what must still be true for it, and the checkpoint that is written with it.

use quipu_domain::{Checkpoint, Condition, Event, Query, StreamExpectation};

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
}
