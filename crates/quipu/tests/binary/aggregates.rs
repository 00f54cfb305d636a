//! Aggregates over a store in a folder and one in memory: what is decided is what the events say, whoever else decides, and whatever
//! becomes of snapshots.

mod account;
mod behaviour;
mod courses;
mod snapshots;
mod verify;
