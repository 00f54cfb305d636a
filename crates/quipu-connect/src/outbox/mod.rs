//! The outbox, for those whose truth is a PostgreSQL database: an event is a row, written in the transaction of the
//! change that it tells of, so both are there or neither is. A [`Relay`] takes the rows to Quipu, each once.
//!
//! The tables are those of [`INSTALL`].

mod database;
#[cfg(feature = "tower")]
pub mod layer;
mod relay;
mod target;

use quipu_domain::{Event, write_event};
use tokio_postgres::types::Type;
use tokio_postgres::{Error, Transaction};

pub use self::database::{Database, InvalidDatabase};
pub use self::relay::{NotRelayed, OnRefused, Relay, Until};
pub use self::target::{Done, NotTaken, Target};

/// What makes the tables; what is there stays.
pub const INSTALL: &str = include_str!("install.sql");

// With the type given, preparing and executing are one round trip.
const INSERT: &str = "INSERT INTO quipu_outbox (event) VALUES ($1::json)";

/// Writes an event to the outbox, in the caller's transaction: it is relayed if the transaction is committed, and
/// never otherwise. Call it after the change, when the rows that are changed are locked: events of rows that
/// transactions wait for each other at are then in the order of the changes.
///
/// # Errors
/// What the server says, or that it has gone. The transaction is of no use then.
pub async fn publish(transaction: &Transaction<'_>, event: &Event<'_>) -> Result<(), Error> {
    transaction.execute_typed(INSERT, &[(&json(event), Type::TEXT)]).await?;
    Ok(())
}

/// As [`publish`], on a connection that is in a transaction.
#[cfg(feature = "tower")]
async fn insert(client: &tokio_postgres::Client, event: &Event<'_>) -> Result<(), Error> {
    client.execute_typed(INSERT, &[(&json(event), Type::TEXT)]).await?;
    Ok(())
}

fn json(event: &Event<'_>) -> String {
    let mut json = Vec::new();
    write_event(&mut json, event, None);
    String::from_utf8(json).expect("an event in JSON is text")
}

/// Makes the tables, unless they are there.
///
/// # Errors
/// What the server says, or that it has gone.
pub async fn install(database: &Database) -> Result<(), NotRelayed> {
    let (client, _) = database.connect().await?;
    client.client().batch_execute(INSTALL).await.map_err(NotRelayed::from)
}
