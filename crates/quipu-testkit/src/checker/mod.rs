//! The checkers: each compares what the store did with what it promised, and says the first difference in words.
//! They look at histories and logs as values, so that a test can hand them a wrong one.

use std::panic::{AssertUnwindSafe, catch_unwind};

use quipu_domain::Event;
use quipu_engine::Fault;

use crate::faulty_disk::{IO_ERROR, POWER_CUT};

pub mod acknowledged;
pub mod answered;
pub mod answers;
pub mod deliveries;
pub mod duplicates;
pub mod folder;
pub mod followers;
pub mod gapless;
pub mod indexes;
pub mod linearizable;
pub mod pages;
pub mod read;
pub mod sagas;
pub mod timers;
pub mod whole;

/// What a checker found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker.
    pub checker: &'static str,
    /// What was expected and what was found.
    pub detail: String,
}

/// Shorthand of the checkers.
pub type Verdict = Result<(), Violation>;

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.checker, self.detail)
    }
}

/// Runs a simulation. An assertion of the engine is a finding like any other.
pub(crate) fn caught(run: impl FnOnce() -> Verdict) -> Verdict {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(violated("panic", text.unwrap_or_default()))
    })
}

/// Whether a fault is one that the simulation made, and not a finding.
pub(crate) fn simulated(what: &'static str, fault: &Fault) -> Verdict {
    let is_ours = match fault {
        Fault::Io { source, .. } => is_injected(&source.to_string()),
        Fault::Unindexed { cause } => is_injected(cause),
        Fault::Poisoned { cause } => is_injected(cause),
        Fault::DiskFull { .. } => true,
        _ => false,
    };
    if is_ours { Ok(()) } else { Err(violated(what, fault.to_string())) }
}

/// Whether the words name what the faulty disk does: its errors, not the files that they are about.
pub(crate) fn is_injected(why: &str) -> bool {
    [IO_ERROR, POWER_CUT, "no room left on the disk"].iter().any(|ours| why.contains(ours))
}

/// What names an event: source and id.
pub(crate) fn pair<'e>(event: &'e Event<'_>) -> (&'e str, &'e str) {
    (event.source(), event.id())
}

pub(crate) fn violated(checker: &'static str, detail: impl Into<String>) -> Violation {
    Violation { checker, detail: detail.into() }
}
