//! Bytes on a disk.
//!
//! A tenant's log is a sequence of commits in segment files ([`FileLog`], behind the [`Log`] seam), with an [`Index`]
//! and snapshots beside it that may be deleted at any time. Files are reached only through [`Storage`], so that the
//! same code runs on a real disk and on the faulty one of the simulator.

mod backup;
pub mod body;
mod check;
pub mod commit;
mod dedup_filter;
mod file_log;
pub mod frame;
mod index;
mod log;
mod memory_storage;
mod memtable;
mod payload;
pub mod private;
mod recovery;
mod run;
mod segment;
pub mod snapshot;
mod storage;
mod terms;
mod varint;

pub use backup::{BackupReport, backup};
pub use check::{CheckReport, check, check_each};
pub use commit::{Commit, Digest, Record, RecordKind};
pub use file_log::{FileLog, FileLogOptions};
pub use frame::{FramedCommit, FramedRecord, PAYLOAD_BYTES_MAX};
pub use index::{Index, Selection};
pub use log::{Chunk, Fetched, Locator, Log, LogSize, Tail};
pub use memory_storage::MemoryStorage;
pub use memtable::spread;
pub use payload::{Kept, Payloads};
pub use recovery::TornTail;
/// For the fuzz targets: a run is reached through its [`Index`].
#[doc(hidden)]
pub use run::Run;
/// For the simulation, which rots what is sealed: a segment of so many bytes has no frame.
#[doc(hidden)]
pub use segment::HEADER_BYTES as SEGMENT_HEADER_BYTES;
pub use storage::{DiskStorage, Fault, File, OpenMode, Storage};
pub use terms::{Expr, Term, TermHasher};
pub use varint::{Reader, put, put_bytes};
