//! Tests of read models: each event counts once, and whatever cannot be taken in is named.

#![allow(clippy::unwrap_used, missing_docs)]

// The server of the outbox's tests.
#[cfg(feature = "postgres")]
#[allow(dead_code)]
#[path = "../../../quipu/tests/binary/cluster.rs"]
mod cluster;
mod hostile;
mod live;
#[cfg(feature = "postgres")]
mod postgres;
mod read;
mod releases;
mod support;
mod verify;
