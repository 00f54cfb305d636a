//! Read models in SQL, kept from the log.
//!
//! A projection is a follower of commits whose step is SQL and whose place is kept in the read model's own database, in the
//! transaction that changes it: each event counts exactly once, whatever crashes. A read model is a cache: one that does not belong
//! to the log any more, since that was restored or an end of it was lost, is built again.
//!
//! [`Projections`] keeps those of a tenant; [`Pool`] has the threads that all tenants share.

mod compare;
mod keeper;
mod pool;
#[cfg(feature = "postgres")]
mod postgres;
mod query;
mod refusal;
mod sqlite;
mod status;
mod step;
mod store;
mod table;
mod value;

pub use compare::{Comparison, Difference, TableComparison, TableDigest};
pub use keeper::{Projections, VerifyProgress};
pub use pool::Pool;
#[cfg(feature = "postgres")]
pub use postgres::{Dial, Dialed, Dialing};
pub use query::{Order, Rows, SqlQuery, TableQuery, Test};
/// How connections to databases are encrypted.
#[cfg(feature = "postgres")]
pub use quipu_connect::tls;
pub use refusal::{NotDone, ReadModelRefusal};
/// What projections in code change their tables with.
pub use rusqlite;
pub use status::{FailedEvent, Phase, ProjectionStatus, ReleaseStatus};
pub use step::Project;
