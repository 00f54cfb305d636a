//! Tests of sagas: given what has happened, when an event comes or time passes, then these commands are published, these timers wait
//! and the instance stands so. A store in memory does the work, with a clock that goes on when it is told to: what a test sees is what
//! runs, with its jq, its patterns and its retries.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use quipu_domain::saga::{Expectation, Rule, Saga, Written};
use quipu_domain::{Data, Direction, Event, Filter, Timestamp};
use quipu_engine::{
    Clock, InstanceFilter, InstanceInfo, InstanceState, Options, Random, SagaCode, SagaDeclaration, Tenant, World,
};
use quipu_store::MemoryStorage;

use super::Seen;
use crate::sagas::StateMachine;
use crate::sagas::machine::{Code, declared};

/// Noon of 1 January 2026, UTC: when a test begins.
const BEGINS: Timestamp = Timestamp(1_767_268_800_000_000);
/// What does not come to rest after so many rounds goes round for ever.
const ROUNDS_MAX: usize = 100_000;

/// A saga to test: declared ([`Saga`], as it is read from its file), or a [`StateMachine`]. Rules and expectations are tested alike.
///
/// ```
/// use std::time::Duration;
/// use quipu::sagas::{InstanceState, Saga};
/// use quipu::testing::{happened, saga};
///
/// let order: Saga = serde_json::from_str(r#"{
///     "saga": "order",
///     "starts_on": "order.placed",
///     "steps": [
///         {"reserve": {"send": "inventory.reserve", "await": "inventory.reserved", "timeout": "30s", "compensate": "inventory.release"}},
///         {"pay": {"send": "payment.charge", "await": "payment.charged", "fail_on": "payment.declined", "timeout": "2m", "compensate": "payment.refund"}}
///     ],
///     "completes_with": "order.fulfilled",
///     "fails_with": "order.failed"
/// }"#)?;
///
/// saga(order.clone())
///     .given([happened("order.placed", "o1"), happened("inventory.reserved", "o1")])
///     .when(happened("payment.declined", "o1"))
///     .then(["inventory.release", "order.failed"], [], InstanceState::Compensated);
///
/// saga(order)
///     .given([happened("order.placed", "o1"), happened("inventory.reserved", "o1")])
///     .when(Duration::from_secs(119))
///     .then([], [("pay", Duration::from_secs(1))], InstanceState::Running)
///     .when(Duration::from_secs(1))
///     .then(["payment.refund", "inventory.release", "order.failed"], [], InstanceState::Compensated);
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Panics
/// If it is refused, with all that was found.
#[track_caller]
pub fn saga(tested: impl Tested) -> SagaTest {
    let clock = Arc::new(Hands(AtomicI64::new(BEGINS.0)));
    let (storage, random) = (Arc::new(MemoryStorage::default()), Arc::new(Counter::default()));
    let world = World { storage, clock: Arc::clone(&clock) as _, random };
    let tenant = Tenant::open(&world, "test", Options::default()).expect("a store in memory opens");
    if let Err(refused) = tested.apply(&tenant) {
        panic!("the saga is refused: {refused}");
    }
    SagaTest { tenant, clock, from: 1 }
}

/// What can be tested as a saga.
pub trait Tested {
    #[doc(hidden)]
    fn apply(self, tenant: &Arc<Tenant>) -> Result<(), String>;
}

fn declare(tenant: &Arc<Tenant>, declaration: impl Into<SagaDeclaration>) -> Result<(), String> {
    tenant.apply_saga(declaration.into(), false, false).map(drop).map_err(|refused| refused.to_string())
}

impl Tested for Saga {
    fn apply(self, tenant: &Arc<Tenant>) -> Result<(), String> {
        declare(tenant, self)
    }
}

impl Tested for Rule {
    fn apply(self, tenant: &Arc<Tenant>) -> Result<(), String> {
        declare(tenant, self)
    }
}

impl Tested for Expectation {
    fn apply(self, tenant: &Arc<Tenant>) -> Result<(), String> {
        declare(tenant, self)
    }
}

impl<M: StateMachine> Tested for M {
    fn apply(self, tenant: &Arc<Tenant>) -> Result<(), String> {
        bring(tenant, declared::<M>(), Arc::new(Code(self)))
    }
}

fn bring(tenant: &Arc<Tenant>, written: Written, code: Arc<dyn SagaCode>) -> Result<(), String> {
    tenant.bring_saga(written, code).map(drop).map_err(|refused| refused.to_string())
}

/// An event that happens, of this type and with this correlation id, which is the key of an instance unless the saga says otherwise. What
/// else it has is set with [`Event::builder`].
pub fn happened(kind: &str, correlation_id: &str) -> Event<'static> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = format!("happened-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let event = Event::builder(id, "/test", kind.to_owned()).correlation_id(correlation_id.to_owned());
    event.json("{}").build().expect("a type and a correlation id").into_owned()
}

/// What a test tells a saga: an event, or that time passes.
#[derive(Clone, Debug)]
pub enum Happens {
    /// This event is published.
    Event(Box<Event<'static>>),
    /// So much time passes, and all that is due meanwhile happens at its time.
    Passes(Duration),
}

impl From<Event<'static>> for Happens {
    fn from(event: Event<'static>) -> Self {
        Self::Event(Box::new(event))
    }
}

impl From<Duration> for Happens {
    fn from(time: Duration) -> Self {
        Self::Passes(time)
    }
}

/// A saga under test.
pub struct SagaTest {
    tenant: Arc<Tenant>,
    clock: Arc<Hands>,
    /// Where what the last thing led to begins in the log.
    from: u64,
}

impl SagaTest {
    /// These events have happened, one after the other.
    #[must_use = "nothing is checked before `then`"]
    #[track_caller]
    pub fn given(mut self, events: impl IntoIterator<Item = Event<'static>>) -> Self {
        for event in events {
            self = self.when(event);
        }
        self
    }

    /// Something happens.
    #[must_use = "nothing is checked before `then`"]
    #[track_caller]
    pub fn when(mut self, happens: impl Into<Happens>) -> Self {
        match happens.into() {
            Happens::Event(event) => {
                let prepared = self.tenant.prepare(&event, None).unwrap_or_else(|invalid| panic!("{invalid}"));
                self.from = self.tenant.position() + 2;
                self.tenant.publish(vec![prepared], |answers| {
                    answers.unwrap_or_else(|fault| panic!("the event is not published: {fault}"));
                });
                self.rest();
            }
            Happens::Passes(time) => {
                self.from = self.tenant.position() + 1;
                let until = self.clock.0.load(Ordering::Relaxed) + i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
                while let Some(due) = self.next().filter(|due| due.0 <= until) {
                    self.clock.0.fetch_max(due.0, Ordering::Relaxed);
                    self.rest();
                }
                self.clock.0.store(until, Ordering::Relaxed);
                self.rest();
            }
        }
        self
    }

    /// Then these events are published, in this order and no others; these timers wait, by the names of steps or timers and how long
    /// yet; and the newest instance stands so. What its commands hold is in [`SagaTest::sent`].
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn then<'a>(
        self,
        commands: impl IntoIterator<Item = &'a str>,
        timers: impl IntoIterator<Item = (&'a str, Duration)>,
        state: InstanceState,
    ) -> Self {
        let sent: Vec<String> = self.sent().into_iter().map(|seen| seen.kind).collect();
        let commands: Vec<&str> = commands.into_iter().collect();
        assert_eq!(sent, commands, "left: what is published; right: what was expected");
        let Some(instance) = self.instance() else { panic!("expected an instance that is {state:?}, found none") };
        let why = || instance.waiting.iter().map(|(why, _)| why.as_str()).collect::<Vec<_>>().join("; ");
        assert_eq!(instance.state, state, "left: how the instance stands; right: what was expected; {}", why());
        let mut waiting = self.timers(&instance);
        let mut expected: Vec<(String, Duration)> =
            timers.into_iter().map(|(name, time)| (name.to_owned(), time)).collect();
        waiting.sort();
        expected.sort();
        assert_eq!(waiting, expected, "left: the timers that wait; right: what was expected");
        self
    }

    /// What the last thing led to, oldest first.
    #[track_caller]
    pub fn sent(&self) -> Vec<Seen> {
        let mut sent = Vec::new();
        let mut next = Some(self.from);
        while let Some(at) = next {
            let page =
                self.tenant.read(&Filter::default(), Direction::Forward, Some(at), 1_000).expect("memory is read");
            for recorded in page.events {
                let recorded = self.tenant.resolve(recorded).expect("memory is read");
                let event = recorded.event();
                let data = match event.data() {
                    Data::Json(text) => serde_json::from_str(text).unwrap_or_default(),
                    _ => serde_json::Value::Null,
                };
                sent.push(Seen { stream: event.subject().map(str::to_owned), kind: event.kind().to_owned(), data });
            }
            next = page.next;
        }
        sent
    }

    /// The newest instance, open or not.
    #[track_caller]
    pub fn instance(&self) -> Option<InstanceInfo> {
        let page = self.tenant.instances(&InstanceFilter::default(), None, 1).expect("memory is read");
        page.instances.into_iter().next()
    }

    fn timers(&self, instance: &InstanceInfo) -> Vec<(String, Duration)> {
        let now = self.clock.0.load(Ordering::Relaxed);
        let left = |at: Timestamp| Duration::from_micros(u64::try_from(at.0 - now).unwrap_or(0));
        instance.timers.iter().map(|(name, at)| (name.clone(), left(*at))).collect()
    }

    fn next(&self) -> Option<Timestamp> {
        [self.tenant.fire_timers(), self.tenant.next_of_sagas()].into_iter().flatten().min()
    }

    /// Lets everything happen that happens by itself.
    #[track_caller]
    fn rest(&self) {
        for _ in 0..ROUNDS_MAX {
            self.tenant.fire_timers();
            let stepped = self.tenant.step_sagas();
            let decided = self.tenant.decide();
            let flushed = self.tenant.flush();
            if !stepped && decided == 0 && flushed == 0 {
                return;
            }
        }
        panic!("the saga goes on without an end: a loop of it has no wait");
    }
}

#[derive(Default)]
struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }
}

/// Nothing in a test has to be a secret.
#[derive(Default)]
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0];
        }
    }
}
