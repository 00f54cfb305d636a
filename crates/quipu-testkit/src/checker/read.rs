//! What was read once never changes, and the log ends where the tenant says: no sooner, and with nothing that is not durable.

use crate::Logged;
use crate::checker::{Verdict, violated};

const NAME: &str = "read";

/// `before` is what was read earlier, and `position` the newest event that there is, as the tenant says.
pub fn check(before: &[Logged], log: &[Logged], position: u64) -> Verdict {
    if !log.starts_with(before) {
        return Err(violated(NAME, format!("{} events were read, now others are", before.len())));
    }
    if log.len() as u64 != position {
        return Err(violated(NAME, format!("{} events below position {position}", log.len())));
    }
    Ok(())
}
