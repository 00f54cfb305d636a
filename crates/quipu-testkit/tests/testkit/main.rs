//! The one integration binary of the testkit: the faulty disk shows its faults, the checkers fail where they must, the
//! crash matrix and a handful of simulations pass.
#![allow(clippy::unwrap_used)]

mod architecture;
mod checkers;
mod claims;
mod corpus;
mod crash_matrix;
mod deliveries;
mod delivery_cases;
mod delivery_checkers;
mod disk;
mod formats;
mod imports;
mod log;
mod mutations;
mod others;
mod outcomes;
mod payloads;
mod replays;
mod sagas;
mod schedules;
mod seam;
mod simulation;
mod supply_chain;
mod tenants;
mod timers;
