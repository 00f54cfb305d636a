//! Regular expressions in schemas: how they are compiled, and what they cost on a text.
//!
//! The engine is the one whose time is linear in the text. The factor is the number of places in the expression that
//! may be reached at the same time: `^[ab]*a[ab]{4000}$` took 30 µs a byte.

use jsonschema::PatternOptions;
use regex_syntax::hir::{Hir, HirKind, Look};

/// Largest compiled form of one pattern, and of the automaton that grows from it while it is used. A list of ten letters
/// of any script takes 370 KiB; `^(.{1,100}){1,100}$` is refused in milliseconds instead of compiled.
const BYTES_MAX: usize = 512 * 1024;
/// What is taken for a pattern that only the engine's own reader understands.
const PLACES_MAX: u64 = BYTES_MAX as u64 / 64;

/// How every pattern of every schema is compiled.
pub(super) fn pattern_options() -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex().size_limit(BYTES_MAX).dfa_size_limit(BYTES_MAX)
}

/// What a pattern costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    /// Places that may be reached at once: for each byte of a text, each of them is looked at.
    pub(super) places: u64,
    /// Bytes of a text that are looked at, however long it is: one that begins with `^` ends with its longest match.
    pub(super) reach: u64,
}

impl Expression {
    pub(super) fn of(pattern: &str) -> Expression {
        let Ok(hir) = regex_syntax::parse(pattern) else {
            return Expression { places: PLACES_MAX, reach: u64::MAX };
        };
        let is_anchored = hir.properties().look_set_prefix().contains(Look::Start);
        let longest = hir.properties().maximum_len().filter(|_| is_anchored);
        let reach = longest.map_or(u64::MAX, |longest| longest as u64 + 1);
        Expression { places: places(&hir).clamp(1, PLACES_MAX), reach }
    }

    /// Steps to search a text of so many bytes; a place and a byte take two of them, 8 ns.
    pub(super) fn steps(self, bytes: usize) -> u64 {
        1 + self.places.saturating_mul(self.reach.min(bytes as u64)).saturating_mul(2)
    }
}

fn places(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        // A class of many ranges is searched through.
        HirKind::Class(class) => {
            let ranges = match class {
                regex_syntax::hir::Class::Unicode(class) => class.ranges().len(),
                regex_syntax::hir::Class::Bytes(class) => class.ranges().len(),
            };
            1 + ranges as u64 / 64
        }
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            places(&repetition.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => places(&capture.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().map(places).fold(0, u64::saturating_add),
    }
}
