//! Which tenants there are, and what is done to them. Records in the log of a tenant of their own, `system`; it is made when a
//! server first needs it, and its name is refused to anybody else.
//!
//! Making and deleting a tenant takes several steps, and each may be the last one before a crash. The record that says what is
//! going on is written first: whoever opens the folder goes on from there (see [`Engine::sweep`]).

mod records;
mod refusal;

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use quipu_domain::access::KeySecret;
use quipu_domain::{Grant, Permission, Quotas, Timestamp};
use quipu_store::Fault;

use crate::engine::Engine;
use crate::keys::{KeyInfo, NewKey};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
pub use records::TenantState;
use records::is_name;
pub(crate) use records::{FoldedTenant, FoldedTenants, TenantRecord};
pub use refusal::TenantRefusal;

/// The tenant whose log says which tenants there are, and whose keys may operate them.
pub const TENANT_SYSTEM: &str = "system";
/// Longest reason of a suspension, bytes.
const REASON_BYTES_MAX: usize = 1_024;
/// What people call the first key of a tenant.
const FIRST_KEY: &str = "admin";

/// A tenant, as operators see it.
#[derive(Clone, Debug)]
pub struct TenantInfo {
    /// Its name.
    pub name: String,
    /// What it is.
    pub state: TenantState,
    /// Since when it is that.
    pub since: Timestamp,
    /// When it was made, or found.
    pub made: Timestamp,
    /// Its own quotas, without those of all tenants.
    pub quotas: Quotas,
}

/// What a tenant uses of what its quotas are about.
#[derive(Clone, Copy, Debug)]
pub struct TenantUsage {
    /// The position of its newest event.
    pub position: u64,
    /// Bytes of its log and of the payloads beside it.
    pub storage_bytes: u64,
    /// Its subscriptions.
    pub subscriptions: u64,
    /// Its keys.
    pub keys: u64,
}

/// What the log of `system` says of tenants, in memory.
pub(crate) struct Register {
    all: RwLock<FoldedTenants>,
    /// Serializes changes.
    changing: Mutex<()>,
}

impl Register {
    pub fn new(folded: &FoldedTenants) -> Self {
        Self { all: RwLock::new(folded.clone()), changing: Mutex::new(()) }
    }

    pub fn get(&self, name: &str) -> Option<FoldedTenant> {
        self.all.read().tenants.get(name).cloned()
    }

    fn names(&self, is_meant: impl Fn(&TenantState) -> bool) -> Vec<String> {
        let all = self.all.read();
        all.tenants.iter().filter(|(_, tenant)| is_meant(&tenant.state)).map(|(name, _)| name.clone()).collect()
    }
}

impl TenantInfo {
    fn new(name: &str, tenant: &FoldedTenant) -> Self {
        let FoldedTenant { state, made, since, quotas } = tenant.clone();
        Self { name: name.to_owned(), state, since, made, quotas }
    }
}

/// What is done to tenants.
impl Engine {
    /// Takes note of all tenants of the folder, so that they can be listed and operated: those that the library or an older
    /// version has made too.
    ///
    /// # Errors
    /// The log of `system` cannot be opened or written.
    pub fn adopt_tenants(&self) -> Result<(), Fault> {
        let system = self.tenant(TENANT_SYSTEM)?;
        let _one = system.register.changing.lock();
        let time = system.now();
        let names = self.tenant_names()?.into_iter();
        let unknown = names.filter(|name| name != TENANT_SYSTEM && system.register.get(name).is_none());
        system.note_tenants(unknown.map(|name| TenantRecord::Active { name, time }).collect())
    }

    /// All tenants but `system`, by their names.
    ///
    /// # Errors
    /// The log of `system` cannot be opened.
    pub fn tenants(&self) -> Result<Vec<TenantInfo>, Fault> {
        let system = self.tenant(TENANT_SYSTEM)?;
        let all = system.register.all.read();
        Ok(all.tenants.iter().map(|(name, tenant)| TenantInfo::new(name, tenant)).collect())
    }

    /// One of them.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`].
    pub fn tenant_info(&self, name: &str) -> Result<TenantInfo, NotDone> {
        Ok(TenantInfo::new(name, &self.tenant(TENANT_SYSTEM)?.known_tenant(name)?))
    }

    /// What a tenant uses; nothing of one that is neither active nor suspended.
    ///
    /// # Errors
    /// [`TenantRefusal::NotFound`], or it cannot be opened.
    pub fn tenant_usage(&self, name: &str) -> Result<Option<TenantUsage>, NotDone> {
        if !is_there(&self.tenant_info(name)?.state) {
            return Ok(None);
        }
        let tenant = self.existing_tenant(name)?;
        let (position, storage_bytes) = (tenant.position(), tenant.stored_bytes());
        let (subscriptions, keys) = (tenant.subscriptions().len() as u64, tenant.keys().len() as u64);
        Ok(Some(TenantUsage { position, storage_bytes, subscriptions, keys }))
    }

    /// Makes a tenant, and its first key, which may administer it. The secret of the key is returned once and kept nowhere.
    ///
    /// # Errors
    /// [`TenantRefusal`] if the name is none or is taken, or there are too many.
    pub fn create_tenant(&self, name: &str, quotas: Quotas) -> Result<(TenantInfo, KeyInfo, KeySecret), NotDone> {
        let system = self.tenant(TENANT_SYSTEM)?;
        if !is_name(name) {
            return Err(TenantRefusal::invalid_name(name).into());
        }
        let _one = system.register.changing.lock();
        // One that could not be finished before is begun anew.
        let is_left = |tenant: FoldedTenant| tenant.state == TenantState::Making;
        if system.register.get(name).is_some_and(is_left) {
            self.sweep_tenant(&system, name)?;
        }
        // Whatever is in the folder: nothing of it is to be in the new tenant.
        let is_taken = self.world().storage.list(&format!("tenants/{name}")).is_ok();
        if is_taken || system.register.get(name).is_some() {
            return Err(TenantRefusal::Exists { name: name.to_owned() }.into());
        }
        let limit = self.options().tenants_max;
        if system.register.all.read().tenants.len() >= limit {
            return Err(TenantRefusal::TooMany { limit }.into());
        }
        let time = system.now();
        system.note_tenants(vec![TenantRecord::Making { name: name.to_owned(), quotas, time }])?;
        let made = self.open_tenant(name).map_err(NotDone::from).and_then(|tenant| tenant.create_key(first_key()));
        let active =
            |made| system.note_tenants(vec![TenantRecord::Active { name: name.to_owned(), time }]).map(|()| made);
        match made.and_then(|made| active(made).map_err(NotDone::from)) {
            Ok((key, secret)) => Ok((TenantInfo::new(name, &system.known_tenant(name)?), key, secret)),
            Err(failed) => {
                // What cannot be undone now is undone when it is made again, or by the next start.
                self.let_go(name);
                let _ = self.sweep_tenant(&system, name);
                Err(failed)
            }
        }
    }

    /// Writes down that nobody is let into a tenant. To let nobody in is the business of whoever serves it.
    ///
    /// # Errors
    /// [`TenantRefusal`].
    pub fn suspend_tenant(&self, name: &str, reason: &str) -> Result<TenantInfo, NotDone> {
        if !(1..=REASON_BYTES_MAX).contains(&reason.len()) || reason.chars().any(char::is_control) {
            return Err(TenantRefusal::InvalidReason { limit: REASON_BYTES_MAX }.into());
        }
        let (name, reason) = (name.to_owned(), reason.to_owned());
        // Again with another reason is fine.
        self.change_tenant(&name.clone(), "active or suspended", is_there, |time| TenantRecord::Suspended {
            name,
            reason,
            time,
        })
    }

    /// Writes down that a tenant is served again.
    ///
    /// # Errors
    /// [`TenantRefusal`].
    pub fn resume_tenant(&self, name: &str) -> Result<TenantInfo, NotDone> {
        let own = name.to_owned();
        self.change_tenant(name, "active or suspended", is_there, |time| TenantRecord::Active { name: own, time })
    }

    /// Gives a tenant other quotas, from now on.
    ///
    /// # Errors
    /// [`TenantRefusal`].
    pub fn set_tenant_quotas(&self, name: &str, quotas: Quotas) -> Result<TenantInfo, NotDone> {
        let own = name.to_owned();
        let info =
            self.change_tenant(name, "active or suspended", is_there, |_| TenantRecord::Quotas { name: own, quotas })?;
        if let Some(tenant) = self.opened_tenant(name) {
            tenant.set_quotas(quotas.or(self.options().quotas));
        }
        Ok(info)
    }

    /// The first half of deleting a tenant: writes down that it goes away, and lets go of it. From now on it has no keys and takes
    /// nothing. May be repeated.
    ///
    /// # Errors
    /// [`TenantRefusal::WrongState`] unless it was suspended before.
    pub fn begin_to_delete_tenant(&self, name: &str) -> Result<(), NotDone> {
        let is_meant = |state: &TenantState| matches!(state, TenantState::Suspended { .. } | TenantState::Deleting);
        let own = name.to_owned();
        self.change_tenant(name, "suspended", is_meant, |time| TenantRecord::Deleting { name: own, time })?;
        self.let_go(name);
        Ok(())
    }

    /// The second half: removes everything of it. The name can be used again then.
    ///
    /// # Errors
    /// [`TenantRefusal::Busy`] while somebody holds it; [`TenantRefusal::NotFound`] if nobody has begun to delete it.
    pub fn finish_deleting_tenant(&self, name: &str) -> Result<(), NotDone> {
        let system = self.tenant(TENANT_SYSTEM)?;
        let _one = system.register.changing.lock();
        match system.known_tenant(name)?.state {
            TenantState::Deleting => Ok(self.sweep_tenant(&system, name)?),
            state => {
                let (name, state) = (name.to_owned(), state.as_str());
                Err(TenantRefusal::WrongState { name, state, expected: "deleting" }.into())
            }
        }
    }

    /// Goes on with what a crash has cut short: tenants that were being made or deleted go away.
    ///
    /// # Errors
    /// The log of `system` cannot be written. What cannot be removed now is left to be deleted by an operator.
    pub(crate) fn sweep(&self) -> Result<(), Fault> {
        let system = self.tenant(TENANT_SYSTEM)?;
        let _one = system.register.changing.lock();
        let left = system.register.names(|state| !is_there(state)).into_iter();
        let removed = left.filter(|name| self.remove_tenant(name).is_ok());
        system.note_tenants(removed.map(|name| TenantRecord::Gone { name }).collect())
    }

    /// Removes everything of a tenant that nobody holds, for good, and only then writes down that it is gone.
    fn sweep_tenant(&self, system: &Arc<Tenant>, name: &str) -> Result<(), NotDone> {
        if self.is_held(name) {
            return Err(TenantRefusal::Busy { name: name.to_owned() }.into());
        }
        // After a failed write nobody knows what the log says of it: the next start does.
        if let Some(fault) = system.refuses_appends() {
            return Err(fault.into());
        }
        self.remove_tenant(name)?;
        Ok(system.note_tenants(vec![TenantRecord::Gone { name: name.to_owned() }])?)
    }

    fn remove_tenant(&self, name: &str) -> Result<(), Fault> {
        let (storage, folder) = (&self.world().storage, format!("tenants/{name}"));
        storage.remove_dir(&folder).map_err(|e| Fault::io("remove", storage.display(&folder), e))?;
        storage.sync_dir("tenants").map_err(|e| Fault::io("sync", storage.display("tenants"), e))
    }

    /// Writes a record of a tenant that is in a state for it, and says what it is then.
    fn change_tenant(
        &self,
        name: &str,
        expected: &'static str,
        is_meant: impl Fn(&TenantState) -> bool,
        record: impl FnOnce(Timestamp) -> TenantRecord,
    ) -> Result<TenantInfo, NotDone> {
        let system = self.tenant(TENANT_SYSTEM)?;
        let _one = system.register.changing.lock();
        let state = system.known_tenant(name)?.state;
        if !is_meant(&state) {
            return Err(TenantRefusal::WrongState { name: name.to_owned(), state: state.as_str(), expected }.into());
        }
        system.note_tenants(vec![record(system.now())])?;
        Ok(TenantInfo::new(name, &system.known_tenant(name)?))
    }
}

impl Tenant {
    /// Writes records of tenants down, and then holds them for true.
    fn note_tenants(self: &Arc<Self>, records: Vec<TenantRecord>) -> Result<(), Fault> {
        if records.is_empty() {
            return Ok(());
        }
        self.write_records_wait(records.iter().map(TenantRecord::record).collect())?;
        let mut all = self.register.all.write();
        records.into_iter().for_each(|record| all.take(record));
        Ok(())
    }

    fn known_tenant(&self, name: &str) -> Result<FoldedTenant, TenantRefusal> {
        self.register.get(name).ok_or_else(|| TenantRefusal::not_found(name))
    }
}

/// Whether a tenant is there: neither being made nor going away.
pub(crate) fn is_there(state: &TenantState) -> bool {
    matches!(state, TenantState::Active | TenantState::Suspended { .. })
}

fn first_key() -> NewKey {
    let grant = Grant { permissions: [Permission::Administer].into(), pattern: None, subscriptions: None };
    NewKey { name: FIRST_KEY.into(), grants: vec![grant], user: None, certificate: None, life_ms: None }
}
