//! All tenants of one data folder, and the threads that drive them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use quipu_store::Fault;

use crate::options::{Options, World};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
use crate::tenants::{FoldedTenant, TENANT_SYSTEM, TenantRefusal, is_there};
use crate::threads::Threads;

/// A data folder that is open.
pub struct Engine {
    world: World,
    options: Options,
    tenants: Arc<Mutex<BTreeMap<String, Arc<Tenant>>>>,
    /// Held while a tenant is opened or let go of: one at a time. Opening reads the disk, and those that are open do not wait.
    opening: Mutex<()>,
    /// The presence of tenants that this let go of, and of their trails.
    leaving: Mutex<BTreeMap<String, Vec<Weak<()>>>>,
    threads: Arc<Threads>,
}

impl Engine {
    /// Opens a data folder; tenants are opened when they are asked for.
    pub fn open(world: World, options: Options) -> Result<Self, Fault> {
        let storage = &world.storage;
        storage.create_dir("tenants").map_err(|e| Fault::io("create", storage.display("tenants"), e))?;
        let tenants: Arc<Mutex<BTreeMap<String, Arc<Tenant>>>> = Arc::default();
        let listed = Arc::clone(&tenants);
        let threads = Threads::start(options.threads, Arc::clone(&world.clock), move || {
            let tenants: Vec<Arc<Tenant>> = listed.lock().values().cloned().collect();
            let trails: Vec<_> = tenants.iter().filter_map(|tenant| tenant.open_trail()).collect();
            tenants.into_iter().chain(trails).collect()
        });
        let (opening, leaving) = (Mutex::default(), Mutex::default());
        let engine = Self { world, options, tenants, opening, leaving, threads };
        if engine.tenant_exists(TENANT_SYSTEM) {
            engine.sweep()?;
        }
        Ok(engine)
    }

    /// The tenant of that name, made if there is none. Names are 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    ///
    /// # Errors
    /// See [`Tenant::open`]. One that is being made or deleted is [`Fault::Closed`]. One that was made before and whose folder is
    /// gone is not made again: a restored folder must not find an empty one in its place.
    pub fn tenant(&self, name: &str) -> Result<Arc<Tenant>, Fault> {
        assert!(is_tenant_name(name), "whoever takes names from outside checks them");
        if self.registered(name).is_none_or(|known| is_there(&known.state))
            && let Some(tenant) = self.opened_tenant(name)
        {
            return Ok(tenant);
        }
        let _one = self.opening.lock();
        match self.registered(name) {
            Some(known) => self.open_registered(name, &known),
            None => self.open_locked(name),
        }
    }

    /// The tenant of that name, which is never made.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`] if the log of `system` knows none; otherwise as [`Engine::tenant`].
    pub fn existing_tenant(&self, name: &str) -> Result<Arc<Tenant>, NotDone> {
        let _one = self.opening.lock();
        let known = self.registered(name).ok_or_else(|| TenantRefusal::not_found(name))?;
        Ok(self.open_registered(name, &known)?)
    }

    fn open_registered(&self, name: &str, known: &FoldedTenant) -> Result<Arc<Tenant>, Fault> {
        if !is_there(&known.state) {
            return Err(Fault::Closed);
        }
        self.opened_tenant(name).map_or_else(
            || {
                let folder = format!("tenants/{name}/log");
                let storage = &self.world.storage;
                storage.list(&folder).map_err(|e| Fault::io("open", storage.display(&folder), e))?;
                self.open_locked(name)
            },
            Ok,
        )
    }

    /// What the log of `system` says of a tenant, if anybody has opened it.
    fn registered(&self, name: &str) -> Option<FoldedTenant> {
        self.opened_tenant(TENANT_SYSTEM).and_then(|system| system.register.get(name))
    }

    /// The tenant of that name, whatever is going on with it.
    pub(crate) fn open_tenant(&self, name: &str) -> Result<Arc<Tenant>, Fault> {
        let _one = self.opening.lock();
        self.open_locked(name)
    }

    /// The same, for whoever holds `opening`.
    fn open_locked(&self, name: &str) -> Result<Arc<Tenant>, Fault> {
        if let Some(tenant) = self.opened_tenant(name) {
            return Ok(tenant);
        }
        let threads = Arc::downgrade(&self.threads);
        let tenant = Tenant::open_driven(&self.world, &format!("tenants/{name}"), self.options.clone(), threads)?;
        let known = self.registered(name);
        tenant.set_quotas(known.map_or(self.options.quotas, |known| known.quotas.or(self.options.quotas)));
        self.tenants.lock().insert(name.to_owned(), Arc::clone(&tenant));
        Ok(tenant)
    }

    /// The names of all tenants, sorted.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn tenant_names(&self) -> Result<Vec<String>, Fault> {
        let storage = &self.world.storage;
        let names = storage.list("tenants").map_err(|e| Fault::io("list", storage.display("tenants"), e))?;
        // What is no tenant's name was put there by somebody else.
        let is_tenant = |name: &String| is_tenant_name(name) && self.tenant_exists(name);
        let mut names: Vec<_> = names.into_iter().filter(is_tenant).collect();
        names.sort_unstable();
        Ok(names)
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// The tenant of that name, if it is open.
    pub(crate) fn opened_tenant(&self, name: &str) -> Option<Arc<Tenant>> {
        self.tenants.lock().get(name).cloned()
    }

    fn tenant_exists(&self, name: &str) -> bool {
        self.world.storage.list(&format!("tenants/{name}/log")).is_ok()
    }

    /// Closes a tenant that goes away. Whoever holds it still can read it, and append nothing.
    pub(crate) fn let_go(&self, name: &str) {
        let _one = self.opening.lock();
        let Some(tenant) = self.tenants.lock().remove(name) else { return };
        let held = [Some(Arc::clone(&tenant)), tenant.open_trail()].into_iter().flatten();
        self.leaving.lock().insert(name.to_owned(), held.map(|one| Arc::downgrade(&one.presence)).collect());
        // What it could not write down is not needed any more.
        let _ = tenant.close_trail();
        let _ = tenant.close();
    }

    /// Whether somebody holds a tenant that this let go of, or its trail, or takes it apart: a thread that maintains it does.
    pub(crate) fn is_held(&self, name: &str) -> bool {
        let mut leaving = self.leaving.lock();
        leaving.retain(|_, held| held.iter().any(|one| one.strong_count() > 0));
        leaving.contains_key(name) || self.tenants.lock().contains_key(name)
    }

    /// Finishes what waits, marks every log as complete and stops the threads. Appends are refused from now on.
    ///
    /// # Errors
    /// The first tenant's fault; the others are closed all the same.
    pub fn close(&self) -> Result<(), Fault> {
        let _one = self.opening.lock();
        let tenants: Vec<_> = std::mem::take(&mut *self.tenants.lock()).into_values().collect();
        let mut outcome = Ok(());
        for tenant in tenants {
            // One that takes nothing any more keeps what it wrote down last.
            if tenant.refuses_appends().is_none() {
                outcome = outcome.and(tenant.settle_deliveries());
            }
            outcome = outcome.and(tenant.close_trail());
            outcome = outcome.and(tenant.close());
            outcome = outcome.and(tenant.seal_trail());
        }
        self.threads.stop();
        outcome
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Whoever cares about the outcome has called `close`.
        let _ = self.close();
    }
}

/// Whether a name may be a tenant's.
pub fn is_tenant_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::still;

    #[test]
    fn a_tenant_is_not_removed_under_whoever_maintains_its_trail() {
        let folder = tempfile::TempDir::new().unwrap();
        let engine = Engine::open(still::world(folder.path()).0, Options::default()).unwrap();
        let tenant = engine.tenant("acme").unwrap();
        let trail = tenant.trail().unwrap();
        engine.let_go("acme");
        drop(tenant);
        assert!(engine.is_held("acme"));
        drop(trail);
        while engine.is_held("acme") {
            // A thread may look at it right now.
            std::thread::yield_now();
        }
    }
}
