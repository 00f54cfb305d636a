//! All tenants of one data folder, and the threads that drive them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use quipu_store::Fault;

use crate::options::{Options, World};
use crate::tenant::Tenant;
use crate::threads::Threads;

/// A data folder that is open.
pub struct Engine {
    world: World,
    options: Options,
    tenants: Arc<Mutex<BTreeMap<String, Arc<Tenant>>>>,
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
        Ok(Self { world, options, tenants, threads })
    }

    /// The tenant of that name, made if there is none. Names are 1 to 64 of `a-z`, `0-9`, `-` and `_`.
    ///
    /// # Errors
    /// See [`Tenant::open`].
    pub fn tenant(&self, name: &str) -> Result<Arc<Tenant>, Fault> {
        assert!(is_tenant_name(name), "whoever takes names from outside checks them");
        let mut tenants = self.tenants.lock();
        if let Some(tenant) = tenants.get(name) {
            return Ok(Arc::clone(tenant));
        }
        let threads = Arc::downgrade(&self.threads);
        let tenant = Tenant::open_driven(&self.world, &format!("tenants/{name}"), self.options.clone(), threads)?;
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
        let is_tenant = |name: &String| is_tenant_name(name) && storage.list(&format!("tenants/{name}/log")).is_ok();
        let mut names: Vec<_> = names.into_iter().filter(is_tenant).collect();
        names.sort_unstable();
        Ok(names)
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
