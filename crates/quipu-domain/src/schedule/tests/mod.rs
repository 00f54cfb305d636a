//! Tables of what the documentation says, and properties against naive rules and against another implementation.

mod declaration;
mod missed;
mod property;
mod tables;

use super::{Cron, Zone};
use crate::Timestamp;

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap_or_else(|| panic!("no time: {text}"))
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).unwrap()
}

/// The ticks after a time.
fn ticks<'a>(cron: &'a Cron, zone: &'a Zone, after: Timestamp) -> impl Iterator<Item = Timestamp> + 'a {
    std::iter::successors(cron.next_after(zone, after), |tick| cron.next_after(zone, *tick))
}
