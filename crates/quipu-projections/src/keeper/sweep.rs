//! Removes from databases elsewhere what is kept no more: that may wait for a network, and is tried again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use quipu_domain::projection::ReadModelStore;

use super::Inner;
use crate::pool::Job;
use crate::postgres::Projected;

/// When it is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Removes what a projection left in a database, once that answers.
struct Sweep {
    inner: Weak<Inner>,
    projected: Projected,
}

impl Inner {
    /// Removes what is there of a projection in a database and is kept no more.
    pub(super) fn sweep(self: &Arc<Self>, projected: Projected) {
        let sweep = Arc::new(Sweep { inner: Arc::downgrade(self), projected });
        self.pool_for_elsewhere().put(sweep);
    }

    /// What a crash left.
    pub(super) fn sweep_all(self: &Arc<Self>) {
        for info in self.tenant.projections() {
            let newest = info.releases.values().next_back();
            if let Some(ReadModelStore::Postgres(url)) = newest.map(|release| &release.declaration.store) {
                self.sweep(self.elsewhere.projection(url, &info.name));
            }
        }
    }
}

impl Job for Sweep {
    fn turn(self: Arc<Self>) {
        let Some(inner) = self.inner.upgrade() else { return };
        // What is kept is asked now: it may be declared again meanwhile.
        let info = inner.tenant.projection(self.projected.name());
        let is_kept = |number: u64| info.as_ref().is_some_and(|info| info.releases.contains_key(&number));
        if let Err(broken) = self.projected.sweep(is_kept, info.is_none()) {
            tracing::warn!(projection = self.projected.name(), error = broken.said, "what it left is not removed yet");
            inner.pool_for_elsewhere().put_later(self, RETRY);
        }
    }
}
