//! Tables that are kept from events, each event exactly once: by the SQL of a declaration, or by code.
//!
//! ```
//! use std::time::Duration;
//! use quipu::projections::{Projection, TableQuery};
//! use quipu::{Event, Quipu};
//!
//! # let folder = tempfile::tempdir()?;
//! let quipu = Quipu::open(folder.path())?;
//! let projections = quipu.projections()?;
//! let orders: Projection = serde_json::from_str(r#"{
//!     "projection": "orders",
//!     "tables": "create table orders (id text primary key, total real)",
//!     "on": { "order.placed": "insert into orders values (:subject, :data.total)" }
//! }"#)?;
//! projections.apply(orders)?;
//!
//! let placed = Event::builder("1", "/shop", "order.placed").subject("order/17").json(r#"{"total":90}"#).build()?;
//! quipu.publish(&placed)?;
//! // Whoever writes reads what it wrote.
//! projections.wait("orders", quipu.position(), Duration::from_secs(5))?;
//! let rows = projections.rows("orders", "orders", &TableQuery { limit: 10, ..TableQuery::default() })?.rows;
//! assert_eq!(rows[0]["total"], 90.0);
//! # quipu.close()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use quipu_engine::Fault;

use crate::{Error, Quipu};

pub use quipu_domain::projection::{InvalidProjection, Projection};
pub use quipu_engine::{Recorded, Released, WantedRelease};
pub use quipu_projections::{
    Comparison, NotDone, Order, Phase, Pool, Project, ProjectionStatus, Projections, ReadModelRefusal, Rows, SqlQuery,
    TableDigest, TableQuery, Test, rusqlite,
};

/// How databases of read models are reached, for [`Projections::open_dialing`].
#[cfg(feature = "postgres")]
pub use quipu_projections::{Dial, Dialed, Dialing, tls};

/// Threads that keep the read models of all tenants of a store.
const THREADS: usize = 2;

/// The projections of the tenants of a store, from the first time that somebody asks for them.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Open>);

#[derive(Default)]
struct Open {
    pool: Option<Arc<Pool>>,
    tenants: BTreeMap<PathBuf, Arc<Projections>>,
}

impl Kept {
    /// Finishes what is on its way, and closes the files.
    pub fn close(&self) {
        let open = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        open.tenants.values().for_each(|projections| projections.close());
    }
}

impl Quipu {
    /// The projections of the tenant. Those that are declared are kept from the first call on, until the store is closed.
    ///
    /// # Errors
    /// The store has no folder, or that cannot be written.
    pub fn projections(&self) -> Result<Arc<Projections>, Error> {
        let failed = |path: String, error: std::io::Error| Error::from(Fault::io("keep read models in", path, error));
        let no_folder = || failed("memory".into(), std::io::Error::other("read models need a folder on a disk"));
        let folder = self.tenant.folder_on_disk().ok_or_else(no_folder)?;
        let at_folder = |error| failed(folder.display().to_string(), error);
        let mut open = self.kept().0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(projections) = open.tenants.get(&folder) {
            return Ok(Arc::clone(projections));
        }
        let pool = match &open.pool {
            Some(pool) => Arc::clone(pool),
            None => Arc::clone(open.pool.insert(Arc::new(Pool::new(THREADS).map_err(at_folder)?))),
        };
        let projections =
            Arc::new(Projections::open(Arc::clone(&self.tenant), Some(&folder), pool, || {}).map_err(at_folder)?);
        open.tenants.insert(folder.clone(), Arc::clone(&projections));
        Ok(projections)
    }
}
