//! The engine over a real disk: what users of a tenant may rely on.

mod append;
mod damage;
mod offline;
mod read;
mod support;
mod threads;
