//! Many patterns held against one event at once.
//!
//! A [`PatternSet`] is changed by one owner; any number of threads match against its [`Snapshot`]s, which never change
//! and which nothing blocks. The patterns are in a few automata of growing size (`level`): a new pattern is compiled
//! together with the few newest, and only now and then with all.

mod access;
mod automaton;
mod build;
mod check;
mod consistent;
mod effort;
mod hash;
mod leaves;
mod level;
mod lower;
mod names;
mod one;
mod probe;
mod ranges;
mod scan;
mod snapshot;
mod sorted;
mod survey;
mod table;
mod walk;

pub use level::PatternSet;
pub use snapshot::{Matches, Scratch, Snapshot};

#[cfg(test)]
pub(super) use effort::in_order;
pub(super) use one::One;
