//! What is to happen later: many times, each with who waits for it. Reading the clock is not its business, and neither is
//! what happens then.

mod wheel;

pub use wheel::{Due, Handle, Owner, Wheel};
