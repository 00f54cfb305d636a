//! Reading in pages gives what reading at once gives: every page goes on where the one before ended.

use std::sync::Arc;

use quipu_domain::{Direction, Filter};
use quipu_engine::{Recorded, Tenant};

use crate::Logged;
use crate::checker::{Violation, violated};

const NAME: &str = "pages";

/// The whole log, from first to last.
///
/// # Errors
/// A page could not be read, or does not go on.
pub fn read_log(tenant: &Arc<Tenant>) -> Result<Vec<Logged>, Violation> {
    read_all(tenant, &Filter::default(), Direction::Forward, 64)
}

/// Everything that a filter finds, in pages of `limit`.
///
/// # Errors
/// A page could not be read, or does not go on.
pub fn read_all(
    tenant: &Arc<Tenant>,
    filter: &Filter,
    direction: Direction,
    limit: usize,
) -> Result<Vec<Logged>, Violation> {
    turn(limit, direction, |from| tenant.read(filter, direction, from, limit))
}

/// A whole stream, in pages of `limit`.
///
/// # Errors
/// A page could not be read, or does not go on.
pub fn read_stream(
    tenant: &Arc<Tenant>,
    subject: &str,
    direction: Direction,
    limit: usize,
) -> Result<Vec<Logged>, Violation> {
    turn(limit, direction, |from| tenant.read_stream(subject, direction, from, limit))
}

fn turn(
    limit: usize,
    direction: Direction,
    read: impl Fn(Option<u64>) -> Result<quipu_engine::Page, quipu_engine::Fault>,
) -> Result<Vec<Logged>, Violation> {
    let mut events = Vec::new();
    let mut from = None;
    loop {
        let page = read(from).map_err(|fault| violated(NAME, format!("a page from {from:?}: {fault}")))?;
        if page.events.len() > limit {
            return Err(violated(NAME, format!("expected at most {limit} events, found {}", page.events.len())));
        }
        events.extend(page.events.iter().map(to_logged));
        let Some(next) = page.next else { return Ok(events) };
        let goes_on = match (from, direction) {
            (None, _) => true,
            (Some(from), Direction::Forward) => next > from,
            (Some(from), Direction::Backward) => next < from,
        };
        if !goes_on {
            return Err(violated(NAME, format!("the page from {from:?} says to go on at {next}")));
        }
        from = Some(next);
    }
}

/// An owned copy.
pub fn to_logged(recorded: &Recorded) -> Logged {
    Logged { stamp: recorded.stamp, event: recorded.event().into_owned() }
}
