//! A tenant that is served: its log, and what stands around it for those who call.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use quipu_api::Problem;
use quipu_engine::{CommitGuard, Fault, TENANT_SYSTEM, Tenant};
use quipu_projections::{Pool, Projections};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinHandle;

use crate::caller::Callers;
use crate::gather::Gather;
use crate::pusher::Pushers;
use crate::quota::Meter;
use crate::webhook::Block;
use crate::{Phase, problem, reached};

/// Threads beside those that serve sockets that acts and questions of a tenant take at the same time; others wait. A sixteenth of
/// what there are.
const THREADS_MAX: usize = 32;

/// How many of them may read all events of a type: others wait, and whoever revokes a key meanwhile does not.
const SCANS_MAX: usize = 2;

/// Threads that keep the read models of all tenants.
const PROJECTING_THREADS: usize = 2;

/// One tenant, from when it is served until nobody is let in any more: one that is resumed gets another.
pub(crate) struct Home {
    /// Its name.
    pub name: String,
    pub tenant: Arc<Tenant>,
    /// The way of single events to the tenant.
    pub gather: Gather,
    /// Whoever pushes for subscriptions.
    pub pushers: Arc<Pushers>,
    /// Whoever calls for sagas.
    pub callers: Arc<Callers>,
    /// The newest position on disk, for whoever waits for events.
    pub positions: Arc<watch::Sender<u64>>,
    /// What it uses.
    pub meter: Meter,
    /// A permit for each thread that does something for it beside those that serve sockets: all tenants share them.
    threads: Arc<Semaphore>,
    /// A permit for each of those that reads all events of a type, which may take long.
    scans: Arc<Semaphore>,
    /// Its read models.
    pub projections: Arc<Projections>,
    /// Changes whenever one of them has come further.
    pub projected: Arc<watch::Sender<()>>,
    is_closed: watch::Sender<bool>,
    /// Whoever pushes and calls for it.
    pushing: Mutex<Option<JoinHandle<()>>>,
    _wakes_tails: CommitGuard,
}

/// All tenants that are served, and those that are suspended.
pub(crate) struct Homes {
    all: RwLock<BTreeMap<String, Arc<Home>>>,
    phases: watch::Receiver<Phase>,
    webhook_allowed: Vec<Block>,
    drain_timeout: Duration,
    projecting: Projecting,
}

/// Who keeps their read models, and how databases elsewhere are reached.
struct Projecting {
    pool: Arc<Pool>,
    #[cfg(feature = "postgres")]
    databases: Arc<crate::database::Databases>,
}

impl Projecting {
    fn open(
        &self,
        tenant: Arc<Tenant>,
        folder: Option<&Path>,
        progressed: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Projections> {
        let pool = Arc::clone(&self.pool);
        #[cfg(feature = "postgres")]
        return Projections::open_dialing(tenant, folder, pool, Arc::clone(&self.databases) as _, progressed);
        #[cfg(not(feature = "postgres"))]
        return Projections::open(tenant, folder, pool, progressed);
    }
}

impl Home {
    fn open(name: &str, tenant: Arc<Tenant>, webhook_allowed: Vec<Block>, projecting: &Projecting) -> io::Result<Self> {
        // What is wrong with its trail keeps nobody from events; acts are refused.
        if let Err(fault) = tenant.open_audit() {
            tracing::error!(tenant = name, %fault, "the audit trail cannot be opened");
        }
        let pushers = Pushers::open(Arc::clone(&tenant), webhook_allowed).map_err(io::Error::other)?;
        let callers = Callers::open(Arc::clone(&tenant), pushers.shared()).map_err(io::Error::other)?;
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
        let (projected, _) = watch::channel(());
        let projected = Arc::new(projected);
        let moved = Arc::clone(&projected);
        let folder = tenant.folder_on_disk();
        let projections = projecting.open(Arc::clone(&tenant), folder.as_deref(), move || moved.send_replace(()))?;
        let (meter, pushing) = (Meter::new(), Mutex::default());
        let (threads, scans) = (Arc::new(Semaphore::new(THREADS_MAX)), Arc::new(Semaphore::new(SCANS_MAX)));
        let (is_closed, _) = watch::channel(false);
        let name = name.to_owned();
        Ok(Self {
            name,
            tenant,
            gather,
            pushers,
            callers,
            positions,
            meter,
            threads,
            scans,
            projections: Arc::new(projections),
            projected,
            is_closed,
            pushing,
            _wakes_tails: wakes_tails,
        })
    }

    /// Does something for the tenant that may wait for the disk, on a thread of those that it may take.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Problem> {
        // Nobody closes it.
        let one = Arc::clone(&self.threads).acquire_owned().await;
        // It goes with the work, which goes on when nobody waits for it any more.
        problem::blocking(move || {
            let _one = one;
            work()
        })
        .await
    }

    /// As [`Home::blocking`], what may read the whole log or all of a read model: few do at once.
    pub async fn scanning<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Problem> {
        let one = Arc::clone(&self.scans).acquire_owned().await;
        self.blocking(move || {
            let _one = one;
            work()
        })
        .await
    }

    /// Lets nobody in any more, ends what waits, and waits for what is on its way.
    pub async fn close(&self) {
        self.is_closed.send_replace(true);
        self.pushed().await;
        self.projections_closed().await;
    }

    /// Waits until no read model is open.
    async fn projections_closed(&self) {
        let projections = Arc::clone(&self.projections);
        if let Err(error) = tokio::task::spawn_blocking(move || projections.close()).await {
            tracing::error!(%error, "closing read models failed");
        }
    }

    /// Whether nobody is let in any more.
    pub fn is_closed(&self) -> bool {
        *self.is_closed.borrow()
    }

    /// Waits until nobody is let in any more.
    pub async fn closed(&self) {
        // The sender is there as long as this is.
        let _ = self.is_closed.subscribe().wait_for(|is_closed| *is_closed).await;
    }

    /// Waits until nobody pushes any more.
    async fn pushed(&self) {
        if let Some(pushing) = self.pushing.lock().await.take()
            && let Err(error) = pushing.await
        {
            tracing::error!(%error, "pushing failed");
        }
    }
}

impl Homes {
    /// Nobody is served yet.
    ///
    /// # Errors
    /// There are no threads for them.
    pub fn new(
        phases: watch::Receiver<Phase>,
        webhook_allowed: Vec<Block>,
        #[cfg(feature = "postgres")] databases: Vec<crate::DatabaseHost>,
        drain_timeout: Duration,
    ) -> io::Result<Self> {
        let projecting = Projecting {
            pool: Arc::new(Pool::new(PROJECTING_THREADS)?),
            #[cfg(feature = "postgres")]
            databases: Arc::new(crate::database::Databases::new(databases)),
        };
        Ok(Self { all: RwLock::default(), phases, webhook_allowed, drain_timeout, projecting })
    }

    /// Opens what stands around a tenant, which reads the disk.
    ///
    /// # Errors
    /// Its secrets cannot be read.
    pub fn open(&self, name: &str, tenant: Arc<Tenant>) -> io::Result<Home> {
        Home::open(name, tenant, self.webhook_allowed.clone(), &self.projecting)
    }

    /// Serves a tenant from now on, and pushes and calls for it until the server drains or it is closed.
    pub async fn serve(&self, home: Home) {
        let home = Arc::new(home);
        let ending = || {
            let (mut phases, mut is_closed) = (self.phases.clone(), home.is_closed.subscribe());
            async move {
                tokio::select! {
                    () = reached(&mut phases, Phase::Draining) => {}
                    _ = is_closed.wait_for(|is_closed| *is_closed) => {}
                }
            }
        };
        let pushing = Arc::clone(&home.pushers).run(ending(), self.drain_timeout);
        let calling = Arc::clone(&home.callers).run(ending(), self.drain_timeout);
        let pushing = tokio::spawn(async { _ = tokio::join!(pushing, calling) });
        *home.pushing.lock().await = Some(pushing);
        self.put(home);
    }

    /// Knows a tenant and lets nobody in.
    pub fn keep_out(&self, home: Home) {
        home.is_closed.send_replace(true);
        self.put(Arc::new(home));
    }

    fn put(&self, home: Arc<Home>) {
        self.all.write().unwrap_or_else(PoisonError::into_inner).insert(home.name.clone(), home);
    }

    /// Knows a tenant no more.
    pub async fn forget(&self, name: &str) {
        let home = self.all.write().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Some(home) = home {
            home.close().await;
        }
    }

    /// The tenant of that name, if it is served.
    pub fn get(&self, name: &str) -> Option<Arc<Home>> {
        self.all().get(name).cloned()
    }

    /// Why no tenant takes appends, if none does: where some do, each of the others says so to those who call it.
    pub fn unwell(&self) -> Option<Fault> {
        let all = self.all();
        let others = all.values().filter(|home| home.name != TENANT_SYSTEM && !home.is_closed());
        let mut faults = others.map(|home| home.tenant.refuses_appends()).collect::<Vec<_>>();
        if faults.iter().all(Option::is_some) { faults.pop().flatten() } else { None }
    }

    fn all(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Home>>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody pushes any more: after the server began to drain.
    pub async fn end(&self) {
        let homes: Vec<_> = self.all().values().cloned().collect();
        for home in homes {
            home.pushed().await;
            home.projections_closed().await;
        }
    }
}
