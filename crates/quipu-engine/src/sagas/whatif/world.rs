//! What the instances of a question are stepped with, and what all of it may take: strangers write the declarations, and the history.

use std::sync::Arc;

use quipu_store::Fault;

use super::super::mapping::Cache;
use super::super::ready::Ready;
use crate::tenant::Tenant;
use crate::transform::JQ_STEPS_MAX;

/// Most instances of one question: about 1 KiB of memory each.
pub const WHAT_IF_INSTANCES_MAX: usize = 200_000;
/// Most memory of one question, bytes: so much for each of the most instances, and as many instances that there were as are remembered,
/// of 56 bytes each.
pub const WHAT_IF_BYTES_MAX: usize = 256 << 20;
/// Most steps of jq of one question: as many as 2,000 evaluations may take at most, and 50 for each of 200,000 instances that take 200.
const JQ_STEPS: u64 = 2_000 * JQ_STEPS_MAX;

/// Events that are kept from one evaluation to the next, with their data.
const CACHED_EVENTS: usize = 16;

/// What one question may take. What is beyond is left out of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub instances: usize,
    pub bytes: usize,
    pub jq_steps: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { instances: WHAT_IF_INSTANCES_MAX, bytes: WHAT_IF_BYTES_MAX, jq_steps: JQ_STEPS }
    }
}

/// Why an instance is not stepped any further.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody waits for the answer any more.
    Unwanted,
    /// It would take more than is left of what one question may take.
    TooMuch,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What an instance is stepped with.
pub(super) struct World<'a> {
    pub tenant: &'a Tenant,
    pub ready: &'a Arc<Ready>,
    pub cache: &'a mut Cache,
    pub is_wanted: &'a dyn Fn() -> bool,
}

impl World<'_> {
    /// Goes on only as long as somebody waits for the answer.
    pub fn look(&self) -> Result<(), Stop> {
        if (self.is_wanted)() { Ok(()) } else { Err(Stop::Unwanted) }
    }

    /// Evaluates something, if somebody waits for it and there are steps left for it.
    pub fn ask<T>(&mut self, ask: impl FnOnce(&Tenant, &mut Cache) -> Result<T, Fault>) -> Result<T, Stop> {
        self.look()?;
        if self.cache.len() > CACHED_EVENTS {
            self.cache.forget();
        }
        let answer = ask(self.tenant, self.cache)?;
        // What was stopped before its end is no answer.
        if self.cache.is_spent() { Err(Stop::TooMuch) } else { Ok(answer) }
    }
}
