//! What the benchmarks over sockets share: the command line, the server, the events, and how requests and frames are
//! written and answers read. What a benchmark sends and when is its own.

pub mod arguments;
pub mod event;
pub mod host;
pub mod input;
pub mod paced;
pub mod report;
pub mod wire;
