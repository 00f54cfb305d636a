//! What Quipu is tested with: a [`FaultyDisk`], virtual time and seeded randomness, a [`Model`] of what the store
//! means, a [`Simulation`] that drives the real engine over both, a [`DeliverySimulation`] of subscriptions and their
//! workers, a [`TimerSimulation`], a [`SagaSimulation`], the checkers that compare them, and the crash matrix. A dev-dependency of other crates only; nothing here
//! ships.

pub mod checker;
mod clock;
mod content;
mod crash_matrix;
mod deliveries;
mod dice;
mod faulty_disk;
mod machine;
mod memory_log;
mod model;
pub mod mutation;
mod names;
mod operation;
pub mod proof;
mod raw_log;
mod sagas;
mod simulation;
mod submit;
mod tamper;
mod timers;
mod workload;

pub use clock::VirtualClock;
pub use content::FailedSync;
pub use crash_matrix::{CrashMatrix, MatrixReport};
pub use deliveries::{DeliveryReport, DeliverySimulation};
pub use dice::{Dice, SeededRandom};
pub use faulty_disk::{FaultyDisk, Kind, Trigger};
pub use machine::{FOLDER, Failure, Voice, is_cache};
pub use memory_log::MemoryLog;
pub use model::{Model, Remembered, scan};
pub use operation::{Answer, Draft, Entry, Logged, Operation, Proposal};
pub use raw_log::{ChangedPart, DeclaredPart, Part, RawLog, StepPart, TimerPart, Written};
pub use sagas::{SagaReport, SagaSimulation};
pub use simulation::{Report, Simulation};
pub use tamper::tamper;
pub use timers::{TimerReport, TimerSimulation};
pub use workload::Workload;
