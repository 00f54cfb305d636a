//! The values of one path in order, for events that have many of them: a question about a matcher costs a few binary
//! searches instead of a comparison with each value. Only what no order answers, a wildcard or a text that ignores case
//! outside of ASCII, is held against each different string; a pattern may have but few of those
//! ([`PATTERN_SEARCHES_MAX`](crate::limits::PATTERN_SEARCHES_MAX)).

use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::Range;

use super::super::address::{address, masked, number};
use super::super::field::Field;
use super::super::matcher::{Excluded, Matcher, Number};
use super::super::number::{exact, ordered};
use super::super::value::{Kind, Value};
use super::super::wildcard::Parts;
use super::check::Read;
use super::effort::count;
use super::names::Node;

/// What one event has at one path.
pub(super) struct Sorted<'a> {
    kinds: Vec<Kind>,
    strings: Vec<&'a [u8]>,
    /// Exact doubles, as [`ordered`], in order.
    numbers: Vec<u64>,
    /// Literals that are no exact doubles, in order.
    literals: Vec<&'a [u8]>,
    addresses: Option<Vec<IpAddr>>,
    /// By [`Spelling`]; each made when it is first asked for.
    orders: [Option<Vec<&'a [u8]>>; 4],
}

/// How strings are compared: from which end, and whether the case of ASCII counts.
#[derive(Clone, Copy)]
struct Spelling {
    from_end: bool,
    ignores_case: bool,
}

const FORWARD: Spelling = Spelling { from_end: false, ignores_case: false };
const BACKWARD: Spelling = Spelling { from_end: true, ignores_case: false };
const FORWARD_ANY_CASE: Spelling = Spelling { from_end: false, ignores_case: true };
const BACKWARD_ANY_CASE: Spelling = Spelling { from_end: true, ignores_case: true };

impl<'a> Sorted<'a> {
    pub(super) fn of(event: Read<'a>, node: Node) -> Sorted<'a> {
        let (mut kinds, mut strings, mut numbers, mut literals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for index in event.leaves.of(node) {
            let Value { kind, text } = event.leaves.value(event.input, event.leaves.leaf(index));
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
            match kind {
                Kind::String => strings.push(text),
                Kind::Number => match exact(text) {
                    Some(double) => numbers.push(ordered(double)),
                    None => literals.push(text),
                },
                _ => {}
            }
        }
        numbers.sort_unstable();
        literals.sort_unstable();
        Sorted { kinds, strings, numbers, literals, addresses: None, orders: [const { None }; 4] }
    }

    /// Whether the field takes one of the values.
    pub(super) fn has_any_of(&mut self, field: &Field) -> bool {
        field.matchers.iter().any(|matcher| self.has(matcher))
    }

    fn has(&mut self, matcher: &Matcher) -> bool {
        match matcher {
            Matcher::Present => !self.kinds.is_empty(),
            Matcher::Absent => false,
            Matcher::Constant(kind) => self.kinds.contains(kind),
            Matcher::Text(text) => self.has_whole(FORWARD, text.as_bytes()),
            Matcher::Prefix(text) => self.has_affix(FORWARD, text.as_bytes()),
            Matcher::Suffix(text) => self.has_affix(BACKWARD, text.as_bytes()),
            Matcher::EqualsIgnoreCase(text) if text.is_ascii() => self.has_whole(FORWARD_ANY_CASE, text.as_bytes()),
            Matcher::PrefixIgnoreCase(text) if text.is_ascii() => self.has_affix(FORWARD_ANY_CASE, text.as_bytes()),
            Matcher::SuffixIgnoreCase(text) if text.is_ascii() => self.has_affix(BACKWARD_ANY_CASE, text.as_bytes()),
            Matcher::Wildcard(wildcard) => match wildcard.parts() {
                Parts::Whole(text) => self.has_whole(FORWARD, text),
                Parts::Starred { first, between: [], last: [] } => self.has_affix(FORWARD, first),
                Parts::Starred { first: [], between: [], last } => self.has_affix(BACKWARD, last),
                _ => self.has_searched(matcher),
            },
            Matcher::EqualsIgnoreCase(_) | Matcher::PrefixIgnoreCase(_) | Matcher::SuffixIgnoreCase(_) => {
                self.has_searched(matcher)
            }
            Matcher::Address(_, wanted) => self.addresses().binary_search(wanted).is_ok(),
            Matcher::Cidr(_, network) => {
                let (addresses, first) = (self.addresses(), masked(network.address, network.bits));
                let at = addresses.partition_point(|&address| number(address) < first);
                addresses.get(at).is_some_and(|&address| network.contains(address))
            }
            Matcher::Number(number) => !self.equal(number).1.is_empty(),
            Matcher::Numeric(range) => {
                let at = self.numbers.partition_point(|&number| number < range.low);
                self.numbers.get(at).is_some_and(|&number| number <= range.high)
            }
            Matcher::AnythingBut(excluded) => self.has_other_than(matcher, excluded),
        }
    }

    /// Whether there is a value that is not excluded: of another kind, or outside of all stretches that are.
    fn has_other_than(&mut self, matcher: &Matcher, excluded: &Excluded) -> bool {
        let kind = if matches!(excluded, Excluded::Numbers(_)) { Kind::Number } else { Kind::String };
        if self.kinds.iter().any(|&other| other != kind) {
            return true;
        }
        let (order, affixes, is_whole) = match excluded {
            Excluded::Numbers(numbers) => return self.has_other_number(numbers),
            Excluded::Texts(texts) => (FORWARD, texts, true),
            Excluded::Prefixes(texts) => (FORWARD, texts, false),
            Excluded::Suffixes(texts) => (BACKWARD, texts, false),
            Excluded::IgnoringCase(texts) if texts.iter().all(|text| text.is_ascii()) => {
                (FORWARD_ANY_CASE, texts, true)
            }
            Excluded::IgnoringCase(_) | Excluded::Wildcards(_) => return self.has_searched(matcher),
        };
        let strings = self.order(order);
        let stretches = affixes.iter().map(|affix| order.stretch(strings, affix.as_bytes(), is_whole)).collect();
        !is_covered(strings.len(), stretches)
    }

    fn has_other_number(&self, numbers: &[Number]) -> bool {
        let (mut doubles, mut literals) = (Vec::new(), Vec::new());
        for number in numbers {
            let (is_exact, stretch) = self.equal(number);
            if is_exact { doubles.push(stretch) } else { literals.push(stretch) }
        }
        !is_covered(self.numbers.len(), doubles) || !is_covered(self.literals.len(), literals)
    }

    /// The stretch of the doubles that a number is, or of the literals if it is no exact double.
    fn equal(&self, number: &Number) -> (bool, Range<usize>) {
        fn stretch<T: Ord>(all: &[T], one: &T) -> Range<usize> {
            all.partition_point(|other| other < one)..all.partition_point(|other| other <= one)
        }
        match number.exact {
            Some(double) => (true, stretch(&self.numbers, &ordered(double))),
            None => (false, stretch(&self.literals, &number.literal.as_bytes())),
        }
    }

    fn has_whole(&mut self, spelling: Spelling, text: &[u8]) -> bool {
        !spelling.stretch(self.order(spelling), text, true).is_empty()
    }

    fn has_affix(&mut self, spelling: Spelling, affix: &[u8]) -> bool {
        !spelling.stretch(self.order(spelling), affix, false).is_empty()
    }

    fn has_searched(&mut self, matcher: &Matcher) -> bool {
        let mut strings = self.order(FORWARD);
        if let Matcher::Wildcard(wildcard) = matcher
            && let Parts::Starred { first, .. } = wildcard.parts()
        {
            strings = &strings[FORWARD.stretch(strings, first, false)];
        }
        strings.iter().inspect(|_| count(1)).any(|text| matcher.accepts(Value { kind: Kind::String, text }))
    }

    /// The different strings in order.
    fn order(&mut self, spelling: Spelling) -> &[&'a [u8]] {
        let strings = &self.strings;
        self.orders[spelling.index()].get_or_insert_with(|| {
            let mut keyed: Vec<(u64, &[u8])> = strings.iter().map(|&text| (spelling.key(text), text)).collect();
            keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| spelling.compare(a.1, b.1)));
            keyed.dedup_by(|a, b| a.0 == b.0 && spelling.compare(a.1, b.1).is_eq());
            keyed.into_iter().map(|(_, text)| text).collect()
        })
    }

    fn addresses(&mut self) -> &[IpAddr] {
        self.addresses.get_or_insert_with(|| {
            let mut all: Vec<IpAddr> = self.strings.iter().filter_map(|text| address(text)).collect();
            all.sort_unstable();
            all
        })
    }
}

impl Spelling {
    fn index(self) -> usize {
        usize::from(self.from_end) * 2 + usize::from(self.ignores_case)
    }

    fn letters(self, text: &[u8]) -> impl Iterator<Item = u8> {
        let letter = move |at: usize| {
            let letter = text[if self.from_end { text.len() - 1 - at } else { at }];
            if self.ignores_case { letter.to_ascii_lowercase() } else { letter }
        };
        (0..text.len()).map(letter)
    }

    /// The first eight letters, so that most comparisons need not look at the text.
    fn key(self, text: &[u8]) -> u64 {
        let (mut key, mut letters) = ([0; 8], self.letters(text));
        key.iter_mut().for_each(|byte| *byte = letters.next().unwrap_or(0));
        u64::from_be_bytes(key)
    }

    fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        count(1);
        if self.index() == FORWARD.index() { a.cmp(b) } else { self.letters(a).cmp(self.letters(b)) }
    }

    /// Where in the ordered strings those are that begin with an affix, or are it.
    fn stretch(self, ordered: &[&[u8]], affix: &[u8], is_whole: bool) -> Range<usize> {
        let start = ordered.partition_point(|text| self.compare(text, affix).is_lt());
        let fits = |text: &&[u8]| match is_whole {
            true => self.compare(text, affix).is_eq(),
            false => self.letters(text).take(affix.len()).eq(self.letters(affix)),
        };
        start..start + ordered[start..].partition_point(fits)
    }
}

/// Whether stretches leave no place out.
fn is_covered(places: usize, mut stretches: Vec<Range<usize>>) -> bool {
    stretches.sort_unstable_by_key(|stretch| stretch.start);
    let reach = |to: usize, stretch: &Range<usize>| if stretch.start <= to { to.max(stretch.end) } else { to };
    stretches.iter().fold(0, reach) == places
}
