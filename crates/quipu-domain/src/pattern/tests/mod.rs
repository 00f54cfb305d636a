//! The language as a whole: the cases of the reference, our own vectors, and properties against a naive matcher.

mod cases;
mod hostile;
mod naive;
mod property;
mod vectors;
/// What the benchmark matches.
#[path = "../../../benches/pattern/workload.rs"]
mod workload;

use super::set::in_order;
use super::{Pattern, PatternSet, Scratch};

/// What everything that can match says about one pattern and one event; they must agree.
fn verdict(pattern: &str, event: &str) -> bool {
    let parsed = Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
    let naive = naive::Document::read(event).is_matched_by(&naive::read(pattern));
    let explanation = parsed.explain(event.as_bytes()).unwrap();
    assert_eq!(parsed.matches(event.as_bytes()).unwrap(), naive, "alone {pattern} {event}");
    assert_eq!(explanation == super::Explanation::Match, naive, "explained {pattern} {event}");
    let set = PatternSet::from_iter([((), parsed)]);
    let matched = set.snapshot().matches(event.as_bytes(), &mut Scratch::default()).len() == 1;
    assert_eq!(matched, naive, "in a set {pattern} {event}");
    let matched = in_order(|| set.snapshot().matches(event.as_bytes(), &mut Scratch::default()).len() == 1);
    assert_eq!(matched, naive, "in order {pattern} {event}");
    naive
}
