//! Sagas that are written in Rust: a state machine from events and timers to what is to be done.

use std::error::Error as StdError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use quipu_domain::saga::{Outcome, Sending, Wait, Wanted, Which, Written};
use quipu_domain::{Event, Timestamp};
use quipu_engine::{Applied, CodeInput, SagaCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Quipu};

/// A saga that is written in Rust. Its state, its timers and what it publishes are in one commit with the place up to which it has
/// read, so that no crash comes between them.
///
/// [`step`](Self::step) has to be pure, since it is asked again after a crash, and quick, since the sagas of its tenant wait for it: it
/// asks nobody, and has anything done by publishing a command.
///
/// ```
/// use std::time::Duration;
/// use quipu::sagas::{Effects, Input, NotStepped, StateMachine};
/// use quipu::testing::{happened, saga};
/// use quipu::sagas::InstanceState;
/// use serde::{Deserialize, Serialize};
/// use serde_json::json;
///
/// #[derive(Clone, Copy)]
/// struct Payment;
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Asked {
///     times: u32,
/// }
///
/// impl StateMachine for Payment {
///     const NAME: &'static str = "payment";
///     const STARTS_ON: &'static [&'static str] = &["order.placed"];
///     const HEARS: &'static [&'static str] = &["payment.charged", "payment.declined"];
///     type State = Asked;
///
///     fn step(&self, state: &mut Asked, input: Input<'_>) -> Result<Effects, NotStepped> {
///         Ok(match input {
///             Input::Event(event) if event.kind() == "payment.charged" => {
///                 Effects::default().send("order.paid", &json!({"after": state.times})).complete()
///             }
///             Input::Event(event) if event.kind() == "payment.declined" => Effects::default().compensated(),
///             Input::Event(_) | Input::Timer(_) if state.times < 3 => {
///                 state.times += 1;
///                 Effects::default().send("payment.charge", &json!({})).timer("answer", Duration::from_secs(60))
///             }
///             Input::Cancel(_) => Effects::default().send("payment.refund", &json!({})).cancelled(),
///             _ => Effects::default().send("payment.refund", &json!({})).compensated(),
///         })
///     }
/// }
///
/// saga(Payment)
///     .given([happened("order.placed", "o1")])
///     .when(Duration::from_secs(61))
///     .then(["payment.charge"], [("answer", Duration::from_secs(59))], InstanceState::Running)
///     .when(happened("payment.charged", "o1"))
///     .then(["order.paid"], [], InstanceState::Completed);
///
/// // In a program: each time it opens its store.
/// let quipu = quipu::Quipu::in_memory()?;
/// quipu.run_saga(Payment)?;
/// # Ok::<(), quipu::Error>(())
/// ```
pub trait StateMachine: Send + Sync + 'static {
    /// Its name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    const NAME: &'static str;
    /// Which version of the code it is. Instances stay with the one that they began with, so a program runs old versions beside the new one
    /// until none of theirs is open.
    const VERSION: u32 = 1;
    /// The types of the events that begin an instance: `order.placed` in all its versions, or all that begin alike, `order.*`.
    const STARTS_ON: &'static [&'static str];
    /// The types of the other events of its key that it is told of.
    const HEARS: &'static [&'static str] = &[];
    /// Where the key of the instance stands in all of them: `correlationid`, another attribute, or a path such as `data.orderId`.
    const KEY: &'static str = "correlationid";
    /// What an instance remembers: at most 16 KiB as JSON.
    type State: Default + Serialize + DeserializeOwned;

    /// What is to be done about an event or a timer. What is not known to it is best answered with no effects.
    ///
    /// # Errors
    /// Why it fails, as if it panicked: the state stays, and a person is asked, who has it retried once it is mended, skipped or resolved.
    fn step(&self, state: &mut Self::State, input: Input<'_>) -> Result<Effects, NotStepped>;
}

/// Why the code of a saga failed.
pub type NotStepped = Box<dyn StdError + Send + Sync>;

/// What a saga is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// An event: the first of an instance is the one that began it.
    Event(&'a Event<'a>),
    /// The time of the timer with this name has come. It is not set any more.
    Timer(&'a str),
    /// A command was not published: its schema refuses it.
    NotSent {
        /// Its type.
        kind: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// Somebody, or the saga that began it, wants it undone. It may be completed already in the second case.
    Cancel(&'a str),
}

/// What is to be done. At most 64 events are published by one step, and 64 timers wait at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    sends: Vec<Sending>,
    timers: Vec<(Box<str>, Option<Wait>)>,
    ends: Option<Outcome>,
    invalid: Option<String>,
}

impl Effects {
    /// Publishes a command or another event, with the subject of the event that began the instance.
    pub fn send(self, kind: &str, data: &impl Serialize) -> Self {
        self.sending(kind, None, data)
    }

    /// The same, with another subject.
    pub fn send_to(self, kind: &str, subject: &str, data: &impl Serialize) -> Self {
        self.sending(kind, Some(subject.into()), data)
    }

    fn sending(mut self, kind: &str, subject: Option<Box<str>>, data: &impl Serialize) -> Self {
        match serde_json::to_value(data) {
            Ok(data) => {
                let data = Some(data).filter(|data| !data.is_null());
                self.sends.push(Sending { kind: kind.into(), subject, data });
            }
            Err(error) => self.invalid = Some(format!("the data of {kind} cannot be written as JSON: {error}")),
        }
        self
    }

    /// Sets a timer, in place of the one with this name.
    pub fn timer(mut self, name: &str, after: Duration) -> Self {
        let ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.timers.push((name.into(), Some(Wait::Ms(ms))));
        self
    }

    /// The same, at a time of the clock.
    pub fn timer_at(mut self, name: &str, at: Timestamp) -> Self {
        self.timers.push((name.into(), Some(Wait::Until(at))));
        self
    }

    /// Cancels a timer, if it is set.
    pub fn cancel_timer(mut self, name: &str) -> Self {
        self.timers.push((name.into(), None));
        self
    }

    /// Ends the instance: all is done. Its timers are cancelled.
    pub fn complete(self) -> Self {
        self.end(Outcome::Completed)
    }

    /// Ends the instance: it failed, and all that it did is undone.
    pub fn compensated(self) -> Self {
        self.end(Outcome::Compensated)
    }

    /// Ends the instance: it was cancelled, and all that it did is undone.
    pub fn cancelled(self) -> Self {
        self.end(Outcome::Cancelled)
    }

    /// Ends the instance: it failed, and something that it did stands.
    pub fn failed(self) -> Self {
        self.end(Outcome::Failed)
    }

    fn end(mut self, outcome: Outcome) -> Self {
        self.ends = Some(outcome);
        self
    }
}

/// What a machine declares.
pub(crate) fn declared<M: StateMachine>() -> Written {
    let which = |types: &[&str]| Which::Types(types.iter().map(|kind| (*kind).to_owned()).collect());
    Written {
        saga: M::NAME.to_owned(),
        version: M::VERSION,
        starts_on: which(M::STARTS_ON),
        hears: (!M::HEARS.is_empty()).then(|| which(M::HEARS)),
        key: Some(M::KEY.to_owned()),
        again: Default::default(),
    }
}

/// A machine as the engine asks it.
pub(crate) struct Code<M>(pub M);

impl<M: StateMachine> SagaCode for Code<M> {
    fn ask(&self, state: Option<&str>, input: CodeInput<'_>) -> Result<Wanted, String> {
        // Reading and writing a state is code of its author too.
        catch_unwind(AssertUnwindSafe(|| self.stepped(state, input))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("its code panicked: {}", text.unwrap_or_default()))
        })
    }
}

impl<M: StateMachine> Code<M> {
    fn stepped(&self, state: Option<&str>, input: CodeInput<'_>) -> Result<Wanted, String> {
        let mut state: M::State = match state {
            Some(text) => serde_json::from_str(text).map_err(|error| format!("its state cannot be read: {error}"))?,
            None => M::State::default(),
        };
        let effects = match input {
            CodeInput::Event(recorded) => self.0.step(&mut state, Input::Event(&recorded.event())),
            CodeInput::Timer(name) => self.0.step(&mut state, Input::Timer(name)),
            CodeInput::NotSent { kind, reason } => self.0.step(&mut state, Input::NotSent { kind, reason }),
            CodeInput::Cancel(reason) => self.0.step(&mut state, Input::Cancel(reason)),
        };
        let effects = effects.map_err(|error| error.to_string())?;
        if let Some(invalid) = effects.invalid {
            return Err(invalid);
        }
        let state = serde_json::to_string(&state).map_err(|error| format!("its state cannot be written: {error}"))?;
        Ok(Wanted { state: state.into(), sends: effects.sends, timers: effects.timers, ends: effects.ends })
    }
}

impl Quipu {
    /// Runs a saga that is written in Rust: declares it if it is new, and brings its code. To be called each time the store is opened, also
    /// for old versions that have open instances; until the code of all is there no saga of the tenant follows the log, and none misses anything.
    ///
    /// # Errors
    /// [`SagaRefusal::Invalid`](super::SagaRefusal::Invalid): a name, a type or a key that is none, or the number of a version under which
    /// something else was declared.
    pub fn run_saga<M: StateMachine>(&self, machine: M) -> Result<Applied, Error> {
        Ok(self.tenant.bring_saga(declared::<M>(), Arc::new(Code(machine)))?)
    }
}
