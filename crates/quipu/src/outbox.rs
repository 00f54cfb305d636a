//! Events of an application whose truth is a PostgreSQL database: written to the table `quipu_outbox` in the transaction
//! of the change that they tell of, so both happen or neither does. `quipu outbox install` makes the table, and
//! `quipu outbox relay` takes its rows to a server or a folder, in order and each once.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use quipu::{Event, outbox};
//!
//! let (mut client, connection) = tokio_postgres::connect("host=/run/postgresql user=shop", tokio_postgres::NoTls).await?;
//! tokio::spawn(connection);
//! let transaction = client.transaction().await?;
//! transaction.execute("UPDATE orders SET status = 'paid' WHERE id = 17", &[]).await?;
//! let paid = Event::builder("17-paid", "/shop", "order.paid").subject("order/17").json(r#"{"total":90}"#).build()?;
//! outbox::publish(&transaction, &paid).await?;
//! transaction.commit().await?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "tower")]
pub use quipu_connect::outbox::layer;
pub use quipu_connect::outbox::publish;
