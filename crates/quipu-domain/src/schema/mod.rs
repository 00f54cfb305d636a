//! Schemas: what the data of one version of an event type looks like, and which versions can live with which.

pub mod compatibility;
mod generate;
