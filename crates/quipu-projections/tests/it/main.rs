//! Tests of read models: each event counts once, and whatever cannot be taken in is named.

#![allow(clippy::unwrap_used, missing_docs)]

mod hostile;
mod live;
mod read;
mod releases;
mod support;
mod verify;
