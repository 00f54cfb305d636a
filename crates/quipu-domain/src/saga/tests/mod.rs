//! What comes and what becomes of it, row by row.

mod acts;
mod checks;
mod choreography;
mod circles;
mod declarations;
pub mod instance;
mod kinds;
mod outcomes;
mod sequence;
mod undoing;
