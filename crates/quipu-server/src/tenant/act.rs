//! What operators do to tenants, to the end: what the log says first, and what is served then. One act at a time; that
//! each goes to its end, also if whoever asked for it is gone before, is seen to where acts are written down (see `audited`).

use std::sync::Arc;
use std::time::Duration;

use quipu_api::{Code, Problem};
use quipu_domain::Quotas;
use quipu_domain::access::KeySecret;
use quipu_engine::{Engine, KeyInfo, NotDone, TenantInfo, TenantRefusal};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, sleep};

use crate::refusal::not_done;
use crate::{Host, Phase, problem, reached};

/// How often it is looked whether requests of a tenant that goes away have ended.
const LOOK: Duration = Duration::from_millis(20);

impl Host {
    /// Makes a tenant and serves it.
    pub async fn create_tenant(
        self: Arc<Self>,
        name: String,
        quotas: Quotas,
    ) -> Result<(TenantInfo, KeyInfo, KeySecret), Problem> {
        let _one = self.turn().await?;
        let made = self.tell(move |engine| engine.create_tenant(&name, quotas)).await?;
        // It is made all the same, and its key is shown this once: to resume it is to serve it.
        _ = self.serve_tenant(&made.0.name).await;
        Ok(made)
    }

    /// Lets nobody into a tenant. When this is done nothing of it goes out any more.
    pub async fn suspend_tenant(self: Arc<Self>, name: String, reason: String) -> Result<TenantInfo, Problem> {
        let _one = self.turn().await?;
        let info = self.tell(move |engine| engine.suspend_tenant(&name, &reason)).await?;
        if let Some(home) = self.homes.get(&info.name) {
            home.close().await;
        }
        Ok(info)
    }

    /// Serves a tenant again.
    pub async fn resume_tenant(self: Arc<Self>, name: String) -> Result<TenantInfo, Problem> {
        let _one = self.turn().await?;
        let info = self.tell(move |engine| engine.resume_tenant(&name)).await?;
        if self.homes.get(&info.name).is_none_or(|home| home.is_closed()) {
            self.serve_tenant(&info.name).await?;
        }
        Ok(info)
    }

    /// Gives a tenant other quotas.
    pub async fn limit_tenant(self: Arc<Self>, name: String, quotas: Quotas) -> Result<TenantInfo, Problem> {
        let _one = self.turn().await?;
        self.tell(move |engine| engine.set_tenant_quotas(&name, quotas)).await
    }

    /// Removes a suspended tenant with everything of it. Requests that were under way when it was suspended are waited for as long
    /// as at the end of the server.
    pub async fn delete_tenant(self: Arc<Self>, name: String) -> Result<String, Problem> {
        let _one = self.turn().await?;
        if name == self.anybodys {
            let (state, expected) = ("that of requests without a credential", "another");
            return Err(not_done(&TenantRefusal::WrongState { name, state, expected }.into()));
        }
        let own = name.clone();
        self.tell(move |engine| engine.begin_to_delete_tenant(&own)).await?;
        self.homes.forget(&name).await;
        self.tickets.withdraw(&name);
        let until = Instant::now() + self.server.drain_timeout;
        loop {
            let own = name.clone();
            let finished = self.ask_engine(move |engine| engine.finish_deleting_tenant(&own)).await?;
            match finished {
                Err(NotDone::RefusedTenant(TenantRefusal::Busy { .. }))
                    if Instant::now() < until && *self.phases.borrow() < Phase::Ending =>
                {
                    sleep(LOOK).await;
                }
                finished => return finished.map(|()| name).map_err(|error| not_done(&error)),
            }
        }
    }

    /// The turn of an act; those that wait for theirs when the server ends are not done.
    async fn turn(&self) -> Result<MutexGuard<'_, ()>, Problem> {
        let mut phases = self.phases.clone();
        tokio::select! {
            biased;
            () = reached(&mut phases, Phase::Ending) => {
                let detail = "expected a server that goes on, found that it ends; repeat it on the next one";
                Err(Problem::new(Code::Unavailable, detail))
            }
            turn = self.acting.lock() => Ok(turn),
        }
    }

    async fn serve_tenant(self: &Arc<Self>, name: &str) -> Result<(), Problem> {
        let (host, own) = (Arc::clone(self), name.to_owned());
        let tenant = self.tell(move |engine| engine.existing_tenant(&own)).await?;
        let own = name.to_owned();
        let opened = problem::blocking(move || Ok(host.homes.open(&own, tenant))).await?;
        let home = opened.map_err(|error| {
            tracing::error!(tenant = name, %error, "a tenant is not served");
            Problem::new(Code::Internal, "the tenant is not served; the log of the server says why")
        })?;
        self.homes.serve(home).await;
        Ok(())
    }

    /// Asks the engine off the threads that serve sockets.
    pub(super) async fn tell<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, NotDone> + Send + 'static,
    ) -> Result<T, Problem> {
        self.ask_engine(work).await?.map_err(|error| not_done(&error))
    }

    async fn ask_engine<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, NotDone> + Send + 'static,
    ) -> Result<Result<T, NotDone>, Problem> {
        let engine = Arc::clone(&self.engine);
        problem::blocking(move || Ok(work(&engine))).await
    }
}
