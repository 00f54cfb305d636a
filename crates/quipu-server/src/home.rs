//! A tenant that is served: its log, and what stands around it for those who call.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quipu_engine::{CommitGuard, Tenant};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::gather::Gather;
use crate::pusher::Pushers;
use crate::webhook::Block;
use crate::{Phase, reached};

/// One tenant.
pub(crate) struct Home {
    /// Its name.
    pub name: String,
    pub tenant: Arc<Tenant>,
    /// The way of single events to the tenant.
    pub gather: Gather,
    /// Whoever pushes for subscriptions.
    pub pushers: Arc<Pushers>,
    /// The newest position on disk, for whoever waits for events.
    pub positions: Arc<watch::Sender<u64>>,
    _wakes_tails: CommitGuard,
}

/// All tenants that are served.
pub(crate) struct Homes {
    all: RwLock<BTreeMap<String, Arc<Home>>>,
    /// Whoever pushes for them.
    pushing: Mutex<JoinSet<()>>,
    phases: watch::Receiver<Phase>,
    webhook_allowed: Vec<Block>,
    drain_timeout: Duration,
}

impl Home {
    fn open(name: &str, tenant: Arc<Tenant>, webhook_allowed: Vec<Block>) -> io::Result<Self> {
        // What is wrong with its trail keeps nobody from events; acts are refused.
        if let Err(fault) = tenant.open_audit() {
            tracing::error!(tenant = name, %fault, "the audit trail cannot be opened");
        }
        let pushers = Pushers::open(Arc::clone(&tenant), webhook_allowed).map_err(io::Error::other)?;
        let (positions, _) = watch::channel(tenant.position());
        let positions = Arc::new(positions);
        let newest = Arc::clone(&positions);
        let wakes_tails = tenant.on_commit(move |position| {
            newest.send_if_modified(|newest| {
                let is_newer = position > *newest;
                *newest = (*newest).max(position);
                is_newer
            });
        });
        let gather = Gather::start(Arc::clone(&tenant));
        Ok(Self { name: name.to_owned(), tenant, gather, pushers, positions, _wakes_tails: wakes_tails })
    }
}

impl Homes {
    pub fn new(phases: watch::Receiver<Phase>, webhook_allowed: Vec<Block>, drain_timeout: Duration) -> Self {
        let (all, pushing) = (RwLock::default(), Mutex::default());
        Self { all, pushing, phases, webhook_allowed, drain_timeout }
    }

    /// Serves a tenant from now on, and pushes for it until the server drains.
    ///
    /// # Errors
    /// Its secrets cannot be read.
    pub async fn open(&self, name: &str, tenant: Arc<Tenant>) -> io::Result<Arc<Home>> {
        let home = Arc::new(Home::open(name, tenant, self.webhook_allowed.clone())?);
        let mut phases = self.phases.clone();
        let draining = async move { reached(&mut phases, Phase::Draining).await };
        self.pushing.lock().await.spawn(Arc::clone(&home.pushers).run(draining, self.drain_timeout));
        self.all.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), Arc::clone(&home));
        Ok(home)
    }

    /// The tenant of that name, if it is served.
    pub fn get(&self, name: &str) -> Option<Arc<Home>> {
        self.all().get(name).cloned()
    }

    /// Why no tenant takes appends, if none does: where some do, each of the others says so to those who call it.
    pub fn unwell(&self) -> Option<quipu_engine::Fault> {
        let mut faults = self.all().values().map(|home| home.tenant.refuses_appends()).collect::<Vec<_>>();
        if faults.iter().all(Option::is_some) { faults.pop().flatten() } else { None }
    }

    fn all(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Home>>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody pushes any more: after the server began to drain.
    pub async fn end(&self) {
        let mut pushing = self.pushing.lock().await;
        while let Some(ended) = pushing.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "pushing failed");
            }
        }
    }
}
