//! Delivery: which deliveries of a subscription are unfinished, who may have one next, and what becomes of one that
//! fails. A state machine without I/O: it is told the time and chance, and answers with what happened.

mod attempt;
mod circuit;
mod lines;
mod pending;
mod progress;
#[cfg(test)]
mod property;
mod rate;
mod retry;

pub use attempt::{Attempt, Failure, GivenUp, Reason};
pub use circuit::{Circuit, CircuitState};
pub use lines::Key;
pub use pending::{
    Backlog, Deliveries, Delivery, DeliveryId, HandedOut, Moment, NotInFlight, Outcome, Phase, Rules, Summary,
};
pub use progress::{Progress, Saved, SavedDelivery};
pub use rate::{RateLimit, TokenBucket};
pub use retry::{Backoff, RetryPolicy};
