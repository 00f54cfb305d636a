//! The engine over a real disk: what users of a tenant may rely on.

// Helpers of tests may unwrap as tests do; the lint's own exception covers only the test functions.
#![allow(clippy::unwrap_used)]

mod append;
mod backlog;
mod catalog;
mod changes;
mod clock_back;
mod crowd;
mod damage;
mod dead_letters;
mod explain;
mod given_up;
mod interventions;
mod maintain;
mod offline;
mod operations;
mod parked;
mod payloads;
mod places;
mod read;
mod replays;
mod saga_calls;
mod saga_limits;
mod sagas;
mod sagas_in_rust;
mod schedules;
mod schemas;
mod seek;
mod states;
mod subscriptions;
mod support;
mod taken_back;
mod tenants;
mod threads;
mod timers;
mod upcasters;
mod walk;
mod what_if;
