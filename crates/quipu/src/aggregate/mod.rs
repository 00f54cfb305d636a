//! Aggregates: a decision as a pure function of a state, and the state as a fold of events. What is around that (reading, the
//! condition that the append is made under, repeats, snapshots) is the same for all of them and is here.

mod cause;
mod execute;
mod load;
mod not_handled;
mod read;
mod shape;
mod verify;
mod write;

use std::marker::PhantomData;

use quipu_domain::{Query, QueryItem};
use quipu_engine::Place;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Quipu;

pub use self::cause::Cause;
pub use self::load::Loaded;
pub use self::not_handled::NotHandled;

pub(crate) use self::read::read;
pub(crate) use self::shape::variants;
pub(crate) use self::write::write;

/// What a user writes of an aggregate: how it decides, and what its events make of it. The state is the type itself, and its
/// [`Default`] is the state before the first event.
///
/// **Events** are an enum whose variants are named as the event types, with `#[serde(rename)]`; what a variant holds is the
/// event's data. A variant that is named `order.placed.v2` is version 2 of its schema, one without a version is version 1. An
/// event is read in the newest version that there is a variant for: older ones are upcast, see
/// [`Quipu::register_schema`](crate::Quipu::register_schema).
///
/// ```
/// use quipu::{Aggregate, Quipu};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Account {
///     balance: i64,
/// }
///
/// #[derive(Debug, Serialize, Deserialize)]
/// enum Entry {
///     #[serde(rename = "account.credited")]
///     Credited { amount: i64 },
///     #[serde(rename = "account.debited")]
///     Debited { amount: i64 },
/// }
///
/// enum Move {
///     Deposit(i64),
///     Withdraw(i64),
/// }
///
/// #[derive(Debug, PartialEq)]
/// struct Overdrawn {
///     missing: i64,
/// }
///
/// impl Aggregate for Account {
///     const NAME: &'static str = "account";
///     type Command = Move;
///     type Event = Entry;
///     type Refusal = Overdrawn;
///
///     fn decide(&self, command: &Move) -> Result<Vec<Entry>, Overdrawn> {
///         match *command {
///             Move::Deposit(amount) => Ok(vec![Entry::Credited { amount }]),
///             Move::Withdraw(amount) if amount > self.balance => Err(Overdrawn { missing: amount - self.balance }),
///             Move::Withdraw(amount) => Ok(vec![Entry::Debited { amount }]),
///         }
///     }
///
///     fn evolve(&mut self, event: Entry) {
///         match event {
///             Entry::Credited { amount } => self.balance += amount,
///             Entry::Debited { amount } => self.balance -= amount,
///         }
///     }
/// }
///
/// let quipu = Quipu::in_memory()?;
/// let accounts = quipu.aggregates::<Account>();
/// accounts.execute("ada", &Move::Deposit(100))?;
/// accounts.execute("ada", &Move::Withdraw(30))?;
/// let account = accounts.load("ada")?;
/// assert_eq!((account.state.balance, account.version), (70, 2));
///
/// let refused = accounts.execute("ada", &Move::Withdraw(71)).unwrap_err();
/// assert_eq!(refused.refusal(), Some(&Overdrawn { missing: 1 }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Aggregate: Default + Serialize + DeserializeOwned {
    /// What it is called: 1 to 64 of `a-z 0-9 - _`. Its streams are `NAME/id`, the source of its events is `/NAME`.
    const NAME: &'static str;
    /// A snapshot is kept when so many events have come since the last; 0 for none. Reading 100 events takes well under a
    /// millisecond.
    const SNAPSHOT_EVERY: u64 = 100;
    /// To be raised when [`Aggregate::evolve`] makes another state of the same events: snapshots of another version are not used.
    /// Changes of the names of the state's fields and of the events' variants are seen without it.
    const EVOLVE_VERSION: u32 = 1;

    /// What may be asked of it.
    type Command;
    /// What may happen to it: an enum.
    type Event: Serialize + DeserializeOwned;
    /// Why it may say no.
    type Refusal;

    /// What happens if this is asked in this state. Nothing but the state and the command may count: it is called again when
    /// somebody else was faster.
    ///
    /// # Errors
    /// The rule that stands against it.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Refusal>;

    /// What an event makes of the state. It has happened: there is nothing to refuse.
    fn evolve(&mut self, event: Self::Event);

    /// The tags of an event, `key:value`, by which decisions across aggregates find it.
    fn tags(_event: &Self::Event) -> Vec<String> {
        Vec::new()
    }

    /// The stream of an event that was decided across aggregates, if it is to have one. What was decided on one stream goes there.
    fn stream(_event: &Self::Event) -> Option<String> {
        None
    }
}

/// The aggregates of one kind. Made by [`Quipu::aggregates`]; a handle, cheap to clone.
pub struct Aggregates<A> {
    quipu: Quipu,
    cause: Cause,
    tries_max: u32,
    aggregate: PhantomData<fn() -> A>,
}

/// What a decision has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handled<E> {
    /// What happened, in order; nothing if the decision was that nothing has to.
    pub events: Vec<E>,
    /// Where each event is.
    pub places: Vec<Place>,
    /// Whether the command had been handled before: what happened then is here.
    pub is_duplicate: bool,
}

/// How often a command is decided when others keep being faster. Every conflict means that somebody else got on.
const TRIES_MAX: u32 = 10;

impl Quipu {
    /// The aggregates of one kind.
    ///
    /// # Panics
    /// If the kind's name is none, or its events are not an enum as serde derives it: both are mistakes in the program.
    pub fn aggregates<A: Aggregate>(&self) -> Aggregates<A> {
        let is_name = |name: &str| {
            let chars = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
            (1..=64).contains(&name.len()) && name.bytes().all(chars)
        };
        assert!(is_name(A::NAME), "expected a name of 1 to 64 of a-z 0-9 - _, found {:?}", A::NAME);
        // Looked at once, here, and not at the first event.
        variants::<A::Event>();
        Aggregates { quipu: self.clone(), cause: Cause::default(), tries_max: TRIES_MAX, aggregate: PhantomData }
    }
}

impl<A> Clone for Aggregates<A> {
    fn clone(&self) -> Self {
        let (quipu, cause) = (self.quipu.clone(), self.cause.clone());
        Self { quipu, cause, tries_max: self.tries_max, aggregate: PhantomData }
    }
}

impl<A: Aggregate> Aggregates<A> {
    /// The same, for commands that have this cause.
    #[must_use]
    pub fn caused_by(self, cause: Cause) -> Self {
        Self { cause, ..self }
    }

    /// The same, with another number of times that a command is decided before [`NotHandled::Conflict`]; at least 1. The default
    /// is 10.
    #[must_use]
    pub fn tries_max(self, tries_max: u32) -> Self {
        Self { tries_max: tries_max.max(1), ..self }
    }

    /// The stream of one of them: `NAME/id`.
    pub fn stream(&self, id: &str) -> String {
        format!("{}/{id}", A::NAME)
    }

    /// Events of the kind's types that carry all of these tags: what a decision across aggregates rests on.
    pub fn tagged<T: Into<String>>(&self, tags: impl IntoIterator<Item = T>) -> Query {
        let mut types: Vec<String> = variants::<A::Event>().iter().map(|name| shape::base(name)).collect();
        types.dedup();
        Query { items: vec![QueryItem { types, tags: tags.into_iter().map(Into::into).collect() }] }
    }
}
