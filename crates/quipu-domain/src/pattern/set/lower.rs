//! Turns patterns into conjunctions of terms: names become numbers, the usual tests move into the automaton's memory.

use std::sync::Arc;

use super::super::Pattern;
use super::super::field::Field;
use super::super::matcher::Matcher;
use super::automaton::{Conjunction, Reading, Term, Test};
use super::names::{Names, Node};

/// What becomes of patterns.
#[derive(Default)]
pub(super) struct Lowered {
    pub(super) conjunctions: Vec<Conjunction>,
    pub(super) terms: Vec<Term>,
    /// The pattern and field that each term is from.
    pub(super) origins: Vec<(u32, u32)>,
    pub(super) texts: Vec<u8>,
}

/// A path as a CloudEvent has it, if the pattern says it in the words of AWS.
fn cloud_event_path(path: &str) -> Option<String> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let name = match first {
        "detail" => "data",
        "detail-type" => "type",
        _ => return None,
    };
    Some(rest.map_or_else(|| name.to_owned(), |rest| format!("{name}.{rest}")))
}

/// Makes all paths of a pattern fields.
pub(super) fn add_names(pattern: &Pattern, names: &mut Names) {
    for field in &pattern.fields {
        names.add(&field.path);
        if let Some(path) = cloud_event_path(&field.path) {
            names.add(&path);
        }
    }
}

/// Whether all paths of a pattern are fields.
pub(super) fn has_names(pattern: &Pattern, names: &Names) -> bool {
    pattern.fields.iter().all(|field| {
        names.find(&field.path).is_some()
            && cloud_event_path(&field.path).is_none_or(|path| names.find(&path).is_some())
    })
}

/// Lowers patterns whose names were added.
pub(super) fn lower(patterns: &[Arc<Pattern>], names: &Names) -> Lowered {
    let mut lowered = Lowered::default();
    for (number, pattern) in patterns.iter().enumerate() {
        lowered.pattern(number as u32, pattern, names);
    }
    lowered
}

/// A field as one reading sees it.
struct Seen {
    path: String,
    node: Node,
    weight: u32,
    test: Test,
}

impl Lowered {
    fn pattern(&mut self, number: u32, pattern: &Pattern, names: &Names) {
        let tests: Vec<Test> = pattern.fields.iter().map(|field| self.test(field)).collect();
        let see = |path: String, field: &Field, test: Test| {
            let node = names.find(&path).expect("the names were added before");
            Seen { path, node, weight: field.comparisons() as u32, test }
        };
        let plain: Vec<Seen> =
            pattern.fields.iter().zip(&tests).map(|(f, &test)| see(f.path.clone(), f, test)).collect();
        let other = |(field, &test): (&Field, &Test)| cloud_event_path(&field.path).map(|path| see(path, field, test));
        let others: Vec<Option<Seen>> = pattern.fields.iter().zip(&tests).map(other).collect();
        for branch in &pattern.branches {
            if branch.iter().all(|&field| others[field as usize].is_none()) {
                self.conjunction(number, Reading::Any, branch.iter().map(|&field| (field, &plain[field as usize])));
                continue;
            }
            self.conjunction(number, Reading::Plain, branch.iter().map(|&field| (field, &plain[field as usize])));
            let seen = |&field: &u32| (field, others[field as usize].as_ref().unwrap_or(&plain[field as usize]));
            let mut renamed: Vec<(u32, &Seen)> = branch.iter().map(seen).collect();
            renamed.sort_by(|a, b| a.1.path.cmp(&b.1.path));
            self.conjunction(number, Reading::CloudEvent, renamed.into_iter());
        }
    }

    fn conjunction<'a>(&mut self, pattern: u32, reading: Reading, fields: impl Iterator<Item = (u32, &'a Seen)>) {
        let first_term = self.terms.len() as u32;
        for (field, seen) in fields {
            self.terms.push(Term { node: seen.node, field, weight: seen.weight, test: seen.test });
            self.origins.push((pattern, field));
        }
        let terms = (self.terms.len() as u32 - first_term) as u16;
        self.conjunctions.push(Conjunction { pattern, first_term, terms, reading });
    }

    fn test(&mut self, field: &Field) -> Test {
        let [matcher] = field.matchers.as_slice() else { return Test::Field };
        match matcher {
            Matcher::Text(text) => self.text(text, |start, bytes| Test::Text { start, bytes }),
            Matcher::Prefix(text) => self.text(text, |start, bytes| Test::Prefix { start, bytes }),
            Matcher::Suffix(text) => self.text(text, |start, bytes| Test::Suffix { start, bytes }),
            Matcher::Number(number) => number.exact.map(Test::Number),
            Matcher::Numeric(range) => Some(Test::Range { low: range.low, high: range.high }),
            Matcher::Present => Some(Test::Present),
            Matcher::Absent => Some(Test::Absent),
            _ => None,
        }
        .unwrap_or(Test::Field)
    }

    /// A test of a text, while places in the automaton's memory fit into 32 bits.
    fn text(&mut self, text: &str, test: impl Fn(u32, u32) -> Test) -> Option<Test> {
        let start = u32::try_from(self.texts.len()).ok()?;
        self.texts.extend_from_slice(text.as_bytes());
        u32::try_from(self.texts.len()).ok()?;
        Some(test(start, text.len() as u32))
    }
}
