//! Effects that happen once, though deliveries come at least once: a handler that writes to a database of its own
//! records the key of the delivery in the same transaction as the effect. Both are there or neither is, so a repeat
//! finds the key and leaves the effect out. The modules `sqlite` and `postgres` are behind the features of their names.
//!
//! Effects outside of that database are not covered: whoever calls somebody else hands
//! [`Delivery::idempotency_key`](crate::Delivery::idempotency_key) on.
//!
//! **The table** is `quipu_processed`, of a key and the time when it was recorded. It is made by the first call, in the
//! caller's transaction. It grows by a row a delivery; `forget_before` bounds it.
//!
//! **A key** is made of the name of the subscription, the name of the tenant's log and a position:
//! `billing/5be1c04a97f3d268/17`. It is the same for every attempt, whether redriven or repeated by a seek. The log has
//! its name from when it was made, so several stores, or tenants of one, can share a database; a copy of a store has the
//! names of the original. Whoever seeks back so that effects happen once more deletes the keys of the subscription first
//! (`DELETE FROM quipu_processed WHERE key LIKE 'billing/5be1c04a97f3d268/%'`), and so does whoever makes a deleted one
//! anew.

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
