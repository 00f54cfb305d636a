//! What `quipu dev --demo` puts into the store: real webhook events once, and orders for as long as it runs.

mod github;
mod orders;

pub use github::load;
pub use orders::Trickle;
