//! `store check` finds nothing wrong in a folder that was looked through and stopped cleanly, no payload that nothing refers to,
//! and counts the events that reading counts.

use quipu_store::Storage;

use crate::checker::{Verdict, violated};

const NAME: &str = "folder";

/// Checks every checksum and the hash chain of a tenant's folder.
pub fn check(storage: &dyn Storage, folder: &str, events: u64, commits: u64) -> Verdict {
    let report = quipu_store::check(storage, folder, &mut |_, _| {})
        .map_err(|fault| violated(NAME, format!("the folder cannot be read: {fault}")))?;
    if let Some(problem) = report.problems.iter().chain(&report.cache_problems).next() {
        return Err(violated(NAME, format!("expected no problem, found {}: {problem}", report.problems.len())));
    }
    if report.torn.is_some() {
        return Err(violated(NAME, format!("expected no torn tail after a clean stop, found {:?}", report.torn)));
    }
    if report.orphans != (0, 0) {
        let (payloads, bytes) = report.orphans;
        return Err(violated(
            NAME,
            format!("expected no payload without an event, found {payloads} of {bytes} bytes in all"),
        ));
    }
    if (report.events, report.commits) != (events, commits) {
        return Err(violated(
            NAME,
            format!("expected {events} events in {commits} commits, found {} in {}", report.events, report.commits),
        ));
    }
    Ok(())
}
