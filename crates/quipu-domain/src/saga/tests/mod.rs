//! What comes and what becomes of it, row by row.

mod instance;
mod sequence;
