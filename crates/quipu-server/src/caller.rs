//! Whoever makes the calls of sagas: takes them from the engine, sends each to its endpoint, and tells the engine what became of it. The
//! engine decides which there are, under which keys, and what is next; `webhook` says what goes over the wire.
//!
//! Each endpoint has a line of its own, so that one that is down or slow holds up nobody else. Calls of one run of a step are made one
//! after the other: what undoes it may not overtake it. A call that was not answered when the server stops is made again under the same
//! key.

mod attempt;
mod line;
mod turn;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quipu_domain::Timestamp;
use quipu_domain::delivery::CircuitState;
use quipu_engine::{Calls, CallsGuard, Fault, NotDone, PlanName, SagaCall, Tenant};
use tokio::sync::{Mutex, Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::outward::Outward;
use crate::secrets::{OF_SAGA, SecretInfo, Secrets};
use crate::webhook::{Endpoint, Secret};
use line::Line;
use turn::{Turns, Waiting};

/// Most calls that are known here at once, those that wait for their endpoint counted; the engine keeps the others, 16 bytes each.
const WAITING_MAX: usize = 50_000;
/// Calls that are taken at once.
const TAKEN_MAX: usize = 500;

/// Makes the calls of a tenant's sagas.
pub(crate) struct Callers {
    shared: Arc<Shared>,
    /// There are new calls.
    woken: Arc<Notify>,
    arrivals: Mutex<mpsc::UnboundedReceiver<Waiting>>,
    _follows: CallsGuard,
}

/// What all lines have in common.
struct Shared {
    tenant: Arc<Tenant>,
    outward: Arc<Outward>,
    secrets: Arc<Secrets>,
    turns: Turns,
    /// A permit for each call that is known.
    known: Arc<Semaphore>,
    is_stopping: AtomicBool,
}

/// What the engine tells and asks.
struct Told {
    woken: Arc<Notify>,
    outward: Arc<Outward>,
}

impl Calls for Told {
    fn may_call(&self, url: &str) -> Result<(), String> {
        self.outward.webhooks().endpoint(url).map(drop).map_err(|refused| refused.to_string())
    }

    fn wake(&self) {
        self.woken.notify_one();
    }
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }
}

impl Callers {
    /// Makes ready to call for a tenant. [`Callers::run`] begins to.
    ///
    /// # Errors
    /// The log of the tenant cannot be written.
    pub fn open(tenant: Arc<Tenant>, (outward, secrets): (Arc<Outward>, Arc<Secrets>)) -> Result<Arc<Self>, Fault> {
        let woken = Arc::new(Notify::new());
        let told = Told { woken: Arc::clone(&woken), outward: Arc::clone(&outward) };
        let follows = tenant.on_calls(Arc::new(told))?;
        let (turns, arrivals) = Turns::new();
        let known = Arc::new(Semaphore::new(WAITING_MAX));
        let shared = Arc::new(Shared { tenant, outward, secrets, turns, known, is_stopping: AtomicBool::new(false) });
        Ok(Arc::new(Self { shared, woken, arrivals: Mutex::new(arrivals), _follows: follows }))
    }

    /// What may be known of the secrets that calls of a saga are signed with, newest first.
    ///
    /// # Errors
    /// There is no such saga.
    pub fn secrets(&self, saga: &str) -> Result<Vec<SecretInfo>, NotDone> {
        self.shared.tenant.saga(&PlanName::saga(saga))?;
        Ok(self.shared.secrets.list(&key_of(saga)))
    }

    /// A new secret for the calls of a saga, made by chance if none is given; the one before is good for a while more.
    ///
    /// # Errors
    /// There is no such saga, or the disk refuses.
    pub fn rotate(&self, saga: &str, given: Option<Secret>) -> Result<Secret, NotDone> {
        self.shared.tenant.saga(&PlanName::saga(saga))?;
        Ok(self.shared.secrets.rotate(&key_of(saga), given)?.1)
    }

    /// Why a URL is not called now, and until when, as far as its circuit says that.
    pub fn held_back(&self, url: &str) -> Option<(String, Option<Timestamp>)> {
        let endpoint = Endpoint::parse(url).ok()?;
        match self.shared.outward.gates.circuit(&endpoint.origin())? {
            CircuitState::Closed => None,
            CircuitState::Open { until } => {
                Some((format!("the circuit of {endpoint} is open: it failed, and is tried again then"), Some(until)))
            }
            CircuitState::Probing => {
                Some((format!("the circuit of {endpoint} is probing: one call is on its way and decides"), None))
            }
        }
    }

    /// Forgets the secrets of a saga that was removed.
    pub fn forget(&self, saga: &str) {
        let key = key_of(saga);
        if let Err(fault) = self.shared.secrets.keep(|other| other != key) {
            tracing::warn!(%fault, "cannot forget the secrets of a saga that was removed; the next start does");
        }
    }

    /// Calls until `stopping` is ready; then begins nothing more, and waits at most `patience` for what is on its way. What has no answer
    /// then is called again after a restart. Called once.
    pub async fn run(self: Arc<Self>, stopping: impl Future<Output = ()>, patience: Duration) {
        let mut arrivals = self.arrivals.lock().await;
        let mut lines: HashMap<String, mpsc::UnboundedSender<Waiting>> = HashMap::new();
        let mut tasks = JoinSet::new();
        let mut stopping = std::pin::pin!(stopping);
        loop {
            let is_full = self.take().await;
            while let Ok(waiting) = arrivals.try_recv() {
                self.line_up(waiting, &mut lines, &mut tasks);
            }
            tokio::select! {
                () = &mut stopping => break,
                () = self.woken.notified() => {}
                Some(waiting) = arrivals.recv() => self.line_up(waiting, &mut lines, &mut tasks),
                Some(_) = tasks.join_next() => lines.retain(|_, line| !line.is_closed()),
                _ = self.shared.known.acquire(), if is_full => {}
            }
        }
        self.shared.is_stopping.store(true, Ordering::Release);
        lines.clear();
        let finished = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, finished).await.is_err() {
            tracing::warn!(
                "calls of sagas were still on their way at the end of the drain timeout; they are made again"
            );
        }
    }

    /// Takes what the engine has, as far as there is room. Whether there was none for more.
    async fn take(&self) -> bool {
        while self.shared.tenant.has_calls() {
            let room = self.shared.known.available_permits().min(TAKEN_MAX);
            if room == 0 {
                return true;
            }
            let tenant = Arc::clone(&self.shared.tenant);
            // Off the threads that serve sockets: it waits for the loop.
            let Ok(taken) = tokio::task::spawn_blocking(move || tenant.take_calls(room)).await else { return false };
            for call in taken {
                let Ok(permit) = Arc::clone(&self.shared.known).try_acquire_owned() else {
                    unreachable!("there was room")
                };
                self.shared.turns.wait(call, permit);
            }
        }
        false
    }

    /// Has a call wait in the line of its endpoint.
    fn line_up(
        &self,
        waiting: Waiting,
        lines: &mut HashMap<String, mpsc::UnboundedSender<Waiting>>,
        tasks: &mut JoinSet<()>,
    ) {
        let origin = origin_of(waiting.call());
        let waiting = match lines.entry(origin.clone()) {
            Entry::Vacant(_) => waiting,
            Entry::Occupied(line) => match line.get().send(waiting) {
                Ok(()) => return,
                // It was idle and has ended.
                Err(mpsc::error::SendError(waiting)) => waiting,
            },
        };
        let (sender, arrivals) = mpsc::unbounded_channel();
        sender.send(waiting).expect("its receiver is there");
        tasks.spawn(Line::new(Arc::clone(&self.shared), origin.clone(), arrivals).run());
        lines.insert(origin, sender);
    }
}

/// What the secrets of a saga are known by.
fn key_of(saga: &str) -> String {
    format!("{OF_SAGA}{saga}")
}

/// What lines are known by: the endpoint. A URL that is none has a line too, where it is told that it is none.
fn origin_of(call: &SagaCall) -> String {
    Endpoint::parse(&call.url).map(|endpoint| endpoint.origin()).unwrap_or_default()
}
