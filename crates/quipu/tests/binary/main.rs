//! The built binary, run as users run it: exit codes, what goes to standard output and what to standard error, and
//! the shape of JSON. One folder and one server a test.

// Helpers of tests may unwrap as tests do; the lint's own exception covers only the test functions.
#![allow(clippy::unwrap_used)]

mod aggregates;
mod audit;
mod calls;
mod catalog;
#[cfg(feature = "postgres")]
// Another crate tests with it too.
#[allow(dead_code)]
mod cluster;
mod configuration;
mod contexts;
mod deadletters;
mod demo;
mod events;
mod failures;
mod faults;
#[cfg(all(feature = "postgres", feature = "sqlite"))]
mod idempotent;
mod identity;
mod keys;
mod operations;
#[cfg(feature = "postgres")]
mod outbox;
mod patterns;
mod payloads;
mod process;
mod projections;
#[cfg(feature = "remote")]
mod remote;
mod replays;
mod sagas;
mod schedules;
mod schemas;
mod stores;
mod subscriptions;
mod tails;
mod tenants;
mod timers;
mod tls;
mod tour;
mod webhooks;
mod worker;
mod worker_loops;
