//! Read models in SQL, kept from the log.
//!
//! A projection is a follower of commits whose step is SQL and whose place is kept in the read model's own database, in the
//! transaction that changes it: each event counts exactly once, whatever crashes. A read model is a cache: one that does not belong
//! to the log any more, since that was restored or an end of it was lost, is built again.
//!
//! [`Projections`] keeps those of a tenant; [`Pool`] has the threads that all tenants share.

mod keeper;
mod pool;
mod refusal;
mod sqlite;
mod status;

pub use keeper::{Projections, VerifyProgress};
pub use pool::Pool;
pub use refusal::{NotDone, ReadModelRefusal};
/// What projections in code change their tables with.
pub use rusqlite;
pub use sqlite::{
    Comparison, Difference, Order, Project, Rows, SqlQuery, TableComparison, TableDigest, TableQuery, Test,
};
pub use status::{FailedEvent, Phase, ProjectionStatus, ReleaseStatus};
