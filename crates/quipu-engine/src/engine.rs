//! All tenants of one data folder, and the threads that drive them.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use quipu_store::Fault;

use crate::options::{Options, World};
use crate::tenant::Tenant;
use crate::tenants::{TENANT_SYSTEM, is_there};
use crate::threads::Threads;

/// A data folder that is open.
pub struct Engine {
    world: World,
    options: Options,
    tenants: Arc<Mutex<BTreeMap<String, Arc<Tenant>>>>,
    /// Tenants that this let go of, and whoever still holds them.
    leaving: Mutex<BTreeMap<String, Weak<Tenant>>>,
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
        let engine = Self { world, options, tenants, leaving: Mutex::default(), threads };
        if engine.tenant_exists(TENANT_SYSTEM) {
            engine.sweep()?;
        }
        Ok(engine)
    }

    /// The tenant of that name, made if there is none. Names are 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    ///
    /// # Errors
    /// See [`Tenant::open`]. One that is being made or deleted is [`Fault::Closed`].
    pub fn tenant(&self, name: &str) -> Result<Arc<Tenant>, Fault> {
        assert!(is_tenant_name(name), "whoever takes names from outside checks them");
        let known = self.opened_tenant(TENANT_SYSTEM).and_then(|system| system.register.get(name));
        match known.is_none_or(|known| is_there(&known.state)) {
            true => self.open_tenant(name),
            false => Err(Fault::Closed),
        }
    }

    /// The tenant of that name, whatever is going on with it.
    pub(crate) fn open_tenant(&self, name: &str) -> Result<Arc<Tenant>, Fault> {
        let mut tenants = self.tenants.lock();
        if let Some(tenant) = tenants.get(name) {
            return Ok(Arc::clone(tenant));
        }
        let threads = Arc::downgrade(&self.threads);
        let tenant = Tenant::open_driven(&self.world, &format!("tenants/{name}"), self.options.clone(), threads)?;
        let known = tenants.get(TENANT_SYSTEM).and_then(|system| system.register.get(name));
        tenant.set_quotas(known.map_or(self.options.quotas, |known| known.quotas.or(self.options.quotas)));
        tenants.insert(name.to_owned(), Arc::clone(&tenant));
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
        let Some(tenant) = self.tenants.lock().remove(name) else { return };
        self.leaving.lock().insert(name.to_owned(), Arc::downgrade(&tenant));
        // What it could not write down is not needed any more.
        let _ = tenant.close_trail();
        let _ = tenant.close();
    }

    /// Whether somebody holds a tenant that this let go of.
    pub(crate) fn is_held(&self, name: &str) -> bool {
        let mut leaving = self.leaving.lock();
        leaving.retain(|_, tenant| tenant.strong_count() > 0);
        leaving.contains_key(name) || self.tenants.lock().contains_key(name)
    }

    /// Finishes what waits, marks every log as complete and stops the threads. Appends are refused from now on.
    ///
    /// # Errors
    /// The first tenant's fault; the others are closed all the same.
    pub fn close(&self) -> Result<(), Fault> {
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
