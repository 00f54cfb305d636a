//! Keys of processed deliveries in a SQLite database, in the caller's transaction.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let quipu = quipu::Quipu::open(folder.path())?;
//! # quipu.create_subscription("billing", quipu::Subscription::default())?;
//! # quipu.publish(&quipu::Event::builder("1", "/shop", "order.placed").json(r#"{"total":90}"#).build()?)?;
//! use quipu::idempotent::sqlite::first_time;
//! use rusqlite::TransactionBehavior::Immediate;
//! use std::time::Duration;
//! # #[derive(serde::Deserialize)]
//! # struct Order { total: i64 }
//!
//! let mut database = rusqlite::Connection::open_in_memory()?;
//! database.execute_batch("CREATE TABLE account (balance INTEGER); INSERT INTO account VALUES (100)")?;
//!
//! for delivery in quipu.pull("billing", 100, Duration::from_secs(30))? {
//!     let order: Order = delivery.data()?;
//! #   for _ in 0..2 {
//!     let transaction = database.transaction_with_behavior(Immediate)?;
//!     if first_time(&transaction, &delivery)? {
//!         transaction.execute("UPDATE account SET balance = balance - ?1", [order.total])?;
//!     }
//!     transaction.commit()?;
//! #   }
//!     // A crash here repeats the delivery, and not the effect.
//!     quipu.answer(&delivery, quipu::Answer::Ack)?;
//! }
//! # let balance: i64 = database.query_row("SELECT balance FROM account", [], |row| row.get(0))?;
//! # assert_eq!(balance, 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, Error, ErrorCode, Result, Transaction};

use crate::Delivery;

/// `time` is in milliseconds since 1970.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS quipu_processed \
     (key TEXT NOT NULL PRIMARY KEY, time INTEGER NOT NULL) WITHOUT ROWID";
const INSERT: &str = "INSERT INTO quipu_processed (key, time) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING";

/// Records the delivery's key in this transaction. `true` if it was not there: the effect is to happen, in this
/// transaction. `false` if it was: the effect has happened.
///
/// Who calls it has the write lock until the transaction ends; another worker with the same delivery waits for it, as
/// long as the connection's busy timeout, and then finds what was committed. Call it before the transaction has read
/// anything, or begin with
/// [`Immediate`](rusqlite::TransactionBehavior::Immediate): SQLite refuses the write lock at once to who has read what
/// another has changed meanwhile.
///
/// # Errors
/// What SQLite says, [`ErrorCode::DatabaseBusy`] when the wait was too long. Nothing is recorded then: end the
/// transaction and let the delivery be tried again.
pub fn first_time(transaction: &Transaction<'_>, delivery: &Delivery) -> Result<bool> {
    let key = delivery.idempotency_key();
    let insert = || transaction.execute(INSERT, (&key, milliseconds(SystemTime::now())));
    let inserted = match insert() {
        // The insert comes first, since to look for the table is to read.
        Err(error) if may_lack_the_table(&error) => {
            transaction.execute(CREATE, ())?;
            insert()?
        }
        inserted => inserted?,
    };
    Ok(inserted == 1)
}

/// Deletes the keys that were recorded before this time, and says how many. Keep them for longer than a delivery may be
/// repeated: the retry policy's `maxagems` and the retention of dead letters, which may be redriven.
///
/// ```
/// # let database = rusqlite::Connection::open_in_memory()?;
/// use std::time::{Duration, SystemTime};
/// const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// let forgotten = quipu::idempotent::sqlite::forget_before(&database, SystemTime::now() - 30 * DAY)?;
/// assert_eq!(forgotten, 0);
/// # Ok::<(), rusqlite::Error>(())
/// ```
///
/// # Errors
/// What SQLite says.
pub fn forget_before(connection: &Connection, time: SystemTime) -> Result<usize> {
    connection.execute(CREATE, ())?;
    connection.execute("DELETE FROM quipu_processed WHERE time < ?1", [milliseconds(time)])
}

/// SQLite has one code for every mistake in a statement. Ours has none but a table that is not there.
fn may_lack_the_table(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

/// A time before 1970 reads as 1970.
fn milliseconds(time: SystemTime) -> i64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
