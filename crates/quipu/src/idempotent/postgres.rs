//! Keys of processed deliveries in a PostgreSQL database, in the caller's transaction.
//!
//! ```no_run
//! # async fn example(quipu: quipu::Quipu) -> Result<(), Box<dyn std::error::Error>> {
//! use quipu::idempotent::postgres::first_time;
//! use std::{sync::Arc, time::Duration};
//! # #[derive(serde::Deserialize)]
//! # struct Order { total: i64 }
//!
//! let (client, connection) = tokio_postgres::connect("host=localhost user=shop", tokio_postgres::NoTls).await?;
//! tokio::spawn(connection);
//! let client = Arc::new(tokio::sync::Mutex::new(client));
//!
//! let worker = quipu.worker("billing").on("order.placed", move |delivery, order: Order| {
//!     let client = Arc::clone(&client);
//!     async move {
//!         let mut client = client.lock().await;
//!         let transaction = client.transaction().await?;
//!         if first_time(&transaction, &delivery).await? {
//!             transaction.execute("UPDATE account SET balance = balance - $1", &[&order.total]).await?;
//!         }
//!         transaction.commit().await?;
//!         Ok(())
//!     }
//! });
//! worker.run().await?;
//! # Ok(())
//! # }
//! ```

use std::time::SystemTime;

use tokio_postgres::types::Type;
use tokio_postgres::{Error, GenericClient, Transaction};

use crate::Delivery;

const CREATE: &str = "CREATE TABLE IF NOT EXISTS quipu_processed \
     (key text PRIMARY KEY, time timestamptz NOT NULL DEFAULT now())";
/// Held until the transaction ends that makes the table: two that make one at once would fail, `IF NOT EXISTS` or not.
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtext('quipu_processed'))";
/// Whether it exists in a schema of the search path.
const EXISTS: &str = "SELECT to_regclass('quipu_processed') IS NOT NULL";
const INSERT: &str = "INSERT INTO quipu_processed (key) VALUES ($1) ON CONFLICT (key) DO NOTHING";

/// Records the delivery's key in this transaction. `true` if it was not there: the effect is to happen, in this
/// transaction. `false` if it was: the effect has happened.
///
/// Another worker with the same delivery waits in its call until this transaction ends, and has `false` if it was
/// committed, `true` if it was not. Above `READ COMMITTED` it fails with a serialization failure (40001) instead.
///
/// # Errors
/// What the server says, or that it has gone. The transaction is of no use then: let the delivery be tried again.
pub async fn first_time(transaction: &Transaction<'_>, delivery: &Delivery) -> Result<bool, Error> {
    if !exists(transaction).await? {
        transaction.batch_execute(LOCK).await?;
        transaction.batch_execute(CREATE).await?;
    }
    let key = delivery.idempotency_key();
    // With the type given, preparing and executing are one round trip.
    Ok(transaction.execute_typed(INSERT, &[(&key, Type::TEXT)]).await? == 1)
}

/// Deletes the keys that were recorded before this time by the server's clock, and says how many. Keep them for longer
/// than a delivery may be repeated: the retry policy's `maxagems` and the retention of dead letters, which may be
/// redriven.
///
/// ```no_run
/// # async fn example(client: tokio_postgres::Client) -> Result<(), tokio_postgres::Error> {
/// use std::time::{Duration, SystemTime};
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let forgotten = quipu::idempotent::postgres::forget_before(&client, SystemTime::now() - 30 * DAY).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// What the server says, or that it has gone.
pub async fn forget_before(client: &impl GenericClient, time: SystemTime) -> Result<u64, Error> {
    if !exists(client).await? {
        return Ok(0);
    }
    let delete = "DELETE FROM quipu_processed WHERE time < $1";
    client.execute_typed(delete, &[(&time, Type::TIMESTAMPTZ)]).await
}

async fn exists(client: &impl GenericClient) -> Result<bool, Error> {
    let rows = client.query_typed(EXISTS, &[]).await?;
    rows.first().map_or(Ok(false), |row| row.try_get(0))
}
