//! Positions and versions have no gap, and recorded times never go back.

use std::collections::BTreeMap;

use crate::Logged;
use crate::checker::{Verdict, violated};

const NAME: &str = "gapless";

/// Positions are 1, 2, 3 …; so are the versions of each stream, and only events of a stream have one.
pub fn check(log: &[Logged]) -> Verdict {
    let mut versions: BTreeMap<&str, u64> = BTreeMap::new();
    for (index, logged) in log.iter().enumerate() {
        let (expected, found) = (index as u64 + 1, logged.stamp.position);
        if found != expected {
            return Err(violated(NAME, format!("expected position {expected}, found {found}")));
        }
        let version = logged.event.subject().map(|subject| {
            let version = versions.entry(subject).or_default();
            *version += 1;
            *version
        });
        if logged.stamp.stream_version != version {
            return Err(violated(
                NAME,
                format!(
                    "position {found}, stream {:?}: expected version {version:?}, found {:?}",
                    logged.event.subject(),
                    logged.stamp.stream_version
                ),
            ));
        }
        if index > 0 && logged.stamp.recorded_time < log[index - 1].stamp.recorded_time {
            return Err(violated(NAME, format!("position {found} was recorded before the position before it")));
        }
    }
    Ok(())
}
