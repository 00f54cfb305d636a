//! Bytes on a disk.
//!
//! A tenant's log is a sequence of commits in segment files ([`FileLog`], behind the [`Log`] seam), with indexes and
//! snapshots beside it that may be deleted at any time. Files are reached only through [`Storage`], so that the same
//! code runs on a real disk and on the faulty one of the simulator.

mod storage;

pub use storage::{DiskStorage, Fault, File, OpenMode, Storage};
