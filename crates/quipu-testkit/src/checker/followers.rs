//! A follower sees each matching event once, in order.

use quipu_domain::{Direction, Filter};

use crate::Logged;
use crate::checker::{Verdict, violated};
use crate::model::scan;

/// What a follower of that filter that began after `after` and has come to `position` must have seen, in that order.
pub fn check(filter: &Filter, after: u64, position: u64, seen: &[u64], log: &[Logged]) -> Verdict {
    let mut expected = scan(log, filter, Direction::Forward);
    expected.retain(|at| *at > after && *at <= position);
    if position > log.len() as u64 {
        return Err(violated(
            "followers",
            format!("a follower is at position {position}, the log ends at {}", log.len()),
        ));
    }
    if expected != seen {
        return Err(violated(
            "followers",
            format!("{filter:?} from {after} to {position}: expected {expected:?}, found {seen:?}"),
        ));
    }
    Ok(())
}
