//! Reading in pages gives what reading at once gives: every page goes on where the one before ended.

use std::sync::Arc;

use quipu_domain::{Direction, Filter};
use quipu_engine::{Fault, Recorded, Tenant};

use crate::Logged;
use crate::checker::{Verdict, Violation, violated};

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
    turn(tenant, limit, direction, |from, limit| tenant.read(filter, direction, from, limit))
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
    turn(tenant, limit, direction, |from, limit| tenant.read_stream(subject, direction, from, limit))
}

fn turn(
    tenant: &Tenant,
    limit: usize,
    direction: Direction,
    read: impl Fn(Option<u64>, usize) -> Result<quipu_engine::Page, quipu_engine::Fault>,
) -> Result<Vec<Logged>, Violation> {
    let mut events = Vec::new();
    let mut from = None;
    loop {
        let page = read(from, limit).map_err(|fault| violated(NAME, format!("a page from {from:?}: {fault}")))?;
        if page.events.len() > limit {
            return Err(violated(NAME, format!("expected at most {limit} events, found {}", page.events.len())));
        }
        events.extend(all_logged(tenant, &page.events)?);
        let Some(next) = page.next else { break };
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
    let at_once = read(None, usize::MAX).map_err(|fault| violated(NAME, format!("all at once: {fault}")))?;
    same(&events, &all_logged(tenant, &at_once.events)?, at_once.next.is_none())?;
    Ok(events)
}

/// Reading at once ends early where a page has as many bytes as it may have; it is not `whole` then.
fn same(pages: &[Logged], at_once: &[Logged], whole: bool) -> Verdict {
    if pages.starts_with(at_once) && (!whole || pages.len() == at_once.len()) {
        return Ok(());
    }
    let positions = |events: &[Logged]| events.iter().map(|logged| logged.stamp.position).collect::<Vec<_>>();
    Err(violated(NAME, format!("by pages {:?}, at once {:?}", positions(pages), positions(at_once))))
}

/// An owned copy, with its data wherever that is kept.
///
/// # Errors
/// The payload cannot be read.
pub fn to_logged(tenant: &Tenant, recorded: &Recorded) -> Result<Logged, Fault> {
    let resolved = tenant.resolve(recorded.clone())?;
    Ok(Logged { stamp: resolved.stamp, event: resolved.event().into_owned() })
}

fn all_logged(tenant: &Tenant, events: &[Recorded]) -> Result<Vec<Logged>, Violation> {
    let logged = events.iter().map(|recorded| to_logged(tenant, recorded));
    logged.collect::<Result<_, _>>().map_err(|fault| violated(NAME, fault.to_string()))
}

#[cfg(test)]
mod tests {
    use quipu_domain::{Event, Stamp, Timestamp};

    use super::*;

    #[test]
    fn pages_that_skip_repeat_or_end_early_are_found() {
        let logged = |position| Logged {
            stamp: Stamp { position, stream_version: None, recorded_time: Timestamp(1) },
            event: Event::builder("e", "/s", "t").build().unwrap(),
        };
        let [all, skipped, repeated] = [&[1, 2, 3][..], &[1, 3], &[1, 2, 2, 3]]
            .map(|list: &[u64]| list.iter().copied().map(logged).collect::<Vec<_>>());
        same(&all, &all, true).unwrap();
        same(&all, &all[..2], false).unwrap();
        for wrong in [&skipped, &repeated, &all[..2].to_vec()] {
            assert!(same(wrong, &all, true).is_err(), "{wrong:?}");
        }
        assert!(same(&all, &all[..2], true).is_err());
    }
}
