//! Tests that read as sentences: given what has happened, when this is asked, then that happens or is refused. Nothing is opened
//! and nothing is written; what a test of more than one aggregate runs against is [`Quipu::in_memory`](crate::Quipu::in_memory).
//!
//! ```
//! # use quipu::Aggregate;
//! # use serde::{Deserialize, Serialize};
//! use quipu::testing::given;
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Door {
//!     is_open: bool,
//! }
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! enum Happened {
//!     #[serde(rename = "door.opened")]
//!     Opened,
//!     #[serde(rename = "door.closed")]
//!     Closed,
//! }
//! impl Aggregate for Door {
//!     const NAME: &'static str = "door";
//!     type Command = Happened;
//!     type Event = Happened;
//!     type Refusal = &'static str;
//!     fn decide(&self, command: &Happened) -> Result<Vec<Happened>, &'static str> {
//!         match (command, self.is_open) {
//!             (Happened::Opened, false) => Ok(vec![Happened::Opened]),
//!             (Happened::Closed, true) => Ok(vec![Happened::Closed]),
//!             _ => Err("it is so already"),
//!         }
//!     }
//!     fn evolve(&mut self, event: Happened) {
//!         self.is_open = event == Happened::Opened;
//!     }
//! }
//!
//! given::<Door>([]).when(Happened::Opened).then([Happened::Opened]);
//! given::<Door>([Happened::Opened]).when(Happened::Opened).then_refused("it is so already");
//! ```

use std::fmt::Debug;

use quipu_domain::{Data, Event};

use crate::aggregate::{Aggregate, read, variants, write};
use crate::{Error, Filter, Quipu};

mod sagas;

pub use sagas::{Happens, SagaTest, Tested, happened, saga};

/// An aggregate to which things have happened.
#[must_use = "nothing is checked before `then`"]
pub struct Given<A: Aggregate> {
    state: A,
}

/// What an aggregate has answered.
#[must_use = "nothing is checked before `then`"]
pub struct When<A: Aggregate> {
    decided: Result<Vec<A::Event>, A::Refusal>,
}

/// An aggregate to which these events have happened. They go through their written form, so that a test sees what is read from a
/// log: a field that JSON loses is lost here.
#[track_caller]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut state = A::default();
    for event in events {
        state.evolve(through_writing(&event));
    }
    Given { state }
}

/// An event as it is read after it was written.
#[track_caller]
fn through_writing<E: serde::Serialize + serde::de::DeserializeOwned>(event: &E) -> E {
    let (kind, data) = write(event).unwrap_or_else(|reason| panic!("an event that cannot be written: {reason}"));
    let builder = Event::builder("1", "/given", kind);
    let builder = data.into_iter().fold(builder, |builder, data| builder.json(data));
    let written = builder.build().unwrap_or_else(|reason| panic!("an event that cannot be recorded: {reason}"));
    read(&written, variants::<E>()).unwrap_or_else(|reason| panic!("an event that cannot be read: {reason}"))
}

impl<A: Aggregate> Given<A> {
    /// Something is asked of it.
    pub fn when(self, command: A::Command) -> When<A> {
        When { decided: self.state.decide(&command) }
    }
}

impl<A: Aggregate> When<A>
where
    A::Event: Debug + PartialEq,
    A::Refusal: Debug,
{
    /// Then this happens, and nothing else. Each event is the same after it was written and read.
    ///
    /// # Panics
    /// If something else happens.
    #[track_caller]
    pub fn then(self, expected: impl IntoIterator<Item = A::Event>) {
        let expected: Vec<A::Event> = expected.into_iter().collect();
        match self.decided {
            Ok(decided) => {
                assert_eq!(decided, expected, "left: what happens; right: what was expected");
                for event in &decided {
                    assert_eq!(*event, through_writing(event), "left: what happens; right: how it is read from a log");
                }
            }
            Err(refusal) => panic!("expected {expected:?}, found the refusal {refusal:?}"),
        }
    }

    /// Then it is refused, and so.
    ///
    /// # Panics
    /// If it is not, or otherwise.
    #[track_caller]
    pub fn then_refused(self, expected: A::Refusal)
    where
        A::Refusal: PartialEq,
    {
        match self.decided {
            Ok(decided) => panic!("expected the refusal {expected:?}, found {decided:?}"),
            Err(refusal) => assert_eq!(refusal, expected, "left: the refusal; right: what was expected"),
        }
    }
}

/// An event as tests look at it: its stream, its type and its data, without ids and times.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// `subject`.
    pub stream: Option<String>,
    /// `type`.
    pub kind: String,
    /// The data, if it is JSON; else null.
    pub data: serde_json::Value,
}

impl Seen {
    /// An event that is expected.
    pub fn new(stream: &str, kind: &str, data: serde_json::Value) -> Self {
        Self { stream: Some(stream.to_owned()), kind: kind.to_owned(), data }
    }
}

/// All that was published, oldest first: what a test of a whole service asserts on.
///
/// ```
/// use quipu::{Event, Quipu, testing::{Seen, published}};
/// use serde_json::json;
///
/// let quipu = Quipu::in_memory()?;
/// quipu.publish(&Event::builder("1", "/shop", "order.placed").subject("order/1").json(r#"{"total":90}"#).build()?)?;
/// assert_eq!(published(&quipu)?, [Seen::new("order/1", "order.placed", json!({"total": 90}))]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The disk failed.
pub fn published(quipu: &Quipu) -> Result<Vec<Seen>, Error> {
    let seen = |recorded| {
        let recorded = quipu.resolve(recorded)?;
        let event = recorded.event();
        let data = match event.data() {
            Data::Json(text) => serde_json::from_str(text).unwrap_or_default(),
            _ => serde_json::Value::Null,
        };
        Ok(Seen { stream: event.subject().map(str::to_owned), kind: event.kind().to_owned(), data })
    };
    quipu.events(Filter::default()).map(|recorded| recorded.and_then(seen)).collect()
}
