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
        // With the password of now, which may be forgotten by then.
        let sweep = Arc::new(Sweep { inner: Arc::downgrade(self), projected: projected.with_password() });
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
        // Asked each time, right before something is removed: it may be declared again meanwhile. In another database it is another.
        let is_here = |store: &ReadModelStore| self.projected.is_in(store);
        let info = || inner.tenant.projection(self.projected.name());
        let is_kept = |number: u64| {
            let release = info().and_then(|mut info| info.releases.remove(&number));
            release.is_some_and(|release| is_here(&release.declaration.store))
        };
        let is_gone = || !info().is_some_and(|info| info.releases.values().any(|of| is_here(&of.declaration.store)));
        if let Err(broken) = self.projected.sweep(is_kept, is_gone) {
            tracing::warn!(projection = self.projected.name(), error = broken.said, "what it left is not removed yet");
            inner.pool_for_elsewhere().put_later(self, RETRY);
        }
    }
}
