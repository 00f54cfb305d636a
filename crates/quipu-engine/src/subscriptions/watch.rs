//! Telling whoever follows the definitions of a tenant's subscriptions which one was made, changed or deleted.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::tenant::Tenant;

/// Called with the name of a subscription whose definition is another now.
pub(super) type DefinitionWatcher = Arc<dyn Fn(&str) + Send + Sync>;

/// Ends a watch of definitions when it is dropped.
pub struct DefinitionGuard {
    tenant: Weak<Tenant>,
    id: u64,
}

impl Drop for DefinitionGuard {
    fn drop(&mut self) {
        if let Some(tenant) = self.tenant.upgrade() {
            tenant.subscriptions.definition_watchers.lock().retain(|(id, _)| *id != self.id);
        }
    }
}

impl Tenant {
    /// Calls `changed` with the name of every subscription that was made, changed or deleted, after that, until the guard
    /// is dropped. It must be quick and must not change subscriptions itself.
    pub fn on_definition(self: &Arc<Self>, changed: impl Fn(&str) + Send + Sync + 'static) -> DefinitionGuard {
        let id = self.subscriptions.next_watcher.fetch_add(1, Ordering::Relaxed);
        self.subscriptions.definition_watchers.lock().push((id, Arc::new(changed)));
        DefinitionGuard { tenant: Arc::downgrade(self), id }
    }

    pub(super) fn tell_definition(&self, name: &str) {
        let all = self.subscriptions.definition_watchers.lock();
        let watchers: Vec<DefinitionWatcher> = all.iter().map(|(_, watcher)| Arc::clone(watcher)).collect();
        drop(all);
        watchers.iter().for_each(|watcher| watcher(name));
    }
}
