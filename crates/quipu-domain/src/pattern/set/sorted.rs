//! The values of one path in order, for events that have many of them: a question about a matcher costs a few binary
//! searches instead of a comparison with each value, and its answer is stretches of ordered values. Only what no order
//! answers, such as a wildcard or a text that ignores case outside of ASCII, is held against each different string; a
//! pattern may have but few of those ([`PATTERN_SEARCHES_MAX`](crate::limits::PATTERN_SEARCHES_MAX)).

use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::Range;
use std::rc::Rc;

use super::super::address::{address, masked, number};
use super::super::field::Field;
use super::super::matcher::{Excluded, Matcher, Number};
use super::super::number::{exact, ordered};
use super::super::value::{Kind, Value};
use super::super::wildcard::Parts;
use super::check::Read;
use super::effort::count;
use super::names::Node;

/// A value and its leaf.
type Placed<T> = (T, u32);

/// What one event has at one path.
pub(super) struct Sorted<'a> {
    /// Every leaf, in the order of the document.
    all: Rc<[u32]>,
    /// In the order of the document.
    strings: Vec<Placed<&'a [u8]>>,
    constants: Vec<Placed<Kind>>,
    /// Exact doubles, as [`ordered`].
    numbers: Vec<Placed<u64>>,
    /// Literals that are no exact doubles.
    literals: Vec<Placed<&'a [u8]>>,
    addresses: Option<Vec<Placed<IpAddr>>>,
    /// By [`Spelling`]; each made when it is first asked for.
    spelled: [Option<Vec<Placed<&'a [u8]>>>; 4],
}

/// Values of which a stretch is an answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    All,
    Strings,
    Constants,
    Numbers,
    Literals,
    Addresses,
    Spelled(Spelling),
}

type Stretch = (Row, Range<usize>);

/// How strings are compared: from which end, and whether the case of ASCII counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
        let (mut strings, mut constants, mut numbers, mut literals) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let all: Rc<[u32]> = event.leaves.of(node).collect();
        for &leaf in &*all {
            let Value { kind, text } = event.leaves.value(event.input, event.leaves.leaf(leaf));
            match kind {
                Kind::String => strings.push((text, leaf)),
                Kind::Number => match exact(text) {
                    Some(double) => numbers.push((ordered(double), leaf)),
                    None => literals.push((text, leaf)),
                },
                Kind::True | Kind::False | Kind::Null => constants.push((kind, leaf)),
            }
        }
        constants.sort_unstable();
        numbers.sort_unstable();
        literals.sort_unstable();
        Sorted { all, strings, constants, numbers, literals, addresses: None, spelled: [const { None }; 4] }
    }

    /// Every leaf, in the order of the document.
    pub(super) fn all(&self) -> &Rc<[u32]> {
        &self.all
    }

    /// Whether the field takes one of the values.
    pub(super) fn has_any_of(&mut self, field: &Field) -> bool {
        let mut found = Vec::new();
        field.matchers.iter().any(|matcher| {
            self.find(matcher, &mut found);
            !found.is_empty()
        })
    }

    /// The leaves whose values the field takes, in the order of the document.
    pub(super) fn taken_by(&mut self, field: &Field) -> Rc<[u32]> {
        let mut found = Vec::new();
        field.matchers.iter().for_each(|matcher| self.find(matcher, &mut found));
        found.sort_unstable_by_key(|(row, stretch)| (*row, stretch.start));
        if let Some((Row::All, _)) = found.first() {
            return Rc::clone(&self.all);
        }
        let (mut leaves, mut seen) = (Vec::new(), (Row::All, 0));
        for (row, stretch) in found {
            let start = if seen.0 == row { stretch.start.max(seen.1) } else { stretch.start };
            if start < stretch.end {
                self.add_leaves(row, start..stretch.end, &mut leaves);
                seen = (row, stretch.end);
            }
        }
        leaves.sort_unstable();
        leaves.dedup();
        leaves.into()
    }

    fn add_leaves(&self, row: Row, stretch: Range<usize>, leaves: &mut Vec<u32>) {
        fn add<T>(row: &[Placed<T>], stretch: Range<usize>, leaves: &mut Vec<u32>) {
            leaves.extend(row[stretch].iter().map(|(_, leaf)| *leaf));
        }
        match row {
            Row::All => leaves.extend_from_slice(&self.all[stretch]),
            Row::Strings => add(&self.strings, stretch, leaves),
            Row::Constants => add(&self.constants, stretch, leaves),
            Row::Numbers => add(&self.numbers, stretch, leaves),
            Row::Literals => add(&self.literals, stretch, leaves),
            Row::Addresses => add(self.addresses.as_deref().unwrap_or_default(), stretch, leaves),
            Row::Spelled(spelling) => {
                add(self.spelled[spelling.index()].as_deref().unwrap_or_default(), stretch, leaves);
            }
        }
    }

    /// Adds the stretches of values that a matcher takes, which may overlap; none is empty.
    fn find(&mut self, matcher: &Matcher, found: &mut Vec<Stretch>) {
        let stretch = match matcher {
            Matcher::Present => (Row::All, 0..self.all.len()),
            Matcher::Absent => return,
            Matcher::Constant(kind) => (Row::Constants, equal(&self.constants, kind)),
            Matcher::Text(text) => self.whole(FORWARD, text.as_bytes()),
            Matcher::Prefix(text) => self.affix(FORWARD, text.as_bytes()),
            Matcher::Suffix(text) => self.affix(BACKWARD, text.as_bytes()),
            Matcher::EqualsIgnoreCase(text) if text.is_ascii() => self.whole(FORWARD_ANY_CASE, text.as_bytes()),
            Matcher::PrefixIgnoreCase(text) if text.is_ascii() => self.affix(FORWARD_ANY_CASE, text.as_bytes()),
            Matcher::SuffixIgnoreCase(text) if text.is_ascii() => self.affix(BACKWARD_ANY_CASE, text.as_bytes()),
            Matcher::Wildcard(wildcard) => match wildcard.parts() {
                Parts::Whole(text) => self.whole(FORWARD, text),
                Parts::Starred { first, between: [], last: [] } => self.affix(FORWARD, first),
                Parts::Starred { first: [], between: [], last } => self.affix(BACKWARD, last),
                Parts::Starred { first, .. } => return self.search(matcher, first, found),
            },
            Matcher::EqualsIgnoreCase(_) | Matcher::PrefixIgnoreCase(_) | Matcher::SuffixIgnoreCase(_) => {
                return self.search(matcher, b"", found);
            }
            Matcher::Address(_, wanted) => (Row::Addresses, equal(self.addresses(), wanted)),
            Matcher::Cidr(_, network) => {
                let (addresses, first) = (self.addresses(), masked(network.address, network.bits));
                let start = addresses.partition_point(|&(address, _)| number(address) < first);
                let inside = addresses[start..].partition_point(|&(address, _)| network.contains(address));
                (Row::Addresses, start..start + inside)
            }
            Matcher::Number(number) => self.number(number),
            Matcher::Numeric(range) => {
                let start = self.numbers.partition_point(|&(number, _)| number < range.low);
                (Row::Numbers, start..self.numbers.partition_point(|&(number, _)| number <= range.high))
            }
            Matcher::AnythingBut(excluded) => return self.find_others(matcher, excluded, found),
        };
        add(stretch, found);
    }

    /// Finds what is not excluded: values of another kind, and those outside of all stretches that are.
    fn find_others(&mut self, matcher: &Matcher, excluded: &Excluded, found: &mut Vec<Stretch>) {
        add((Row::Constants, 0..self.constants.len()), found);
        if let Excluded::Numbers(numbers) = excluded {
            add((Row::Strings, 0..self.strings.len()), found);
            let stretches: Vec<Stretch> = numbers.iter().map(|number| self.number(number)).collect();
            add_gaps(Row::Numbers, self.numbers.len(), &stretches, found);
            add_gaps(Row::Literals, self.literals.len(), &stretches, found);
            return;
        }
        add((Row::Numbers, 0..self.numbers.len()), found);
        add((Row::Literals, 0..self.literals.len()), found);
        let (spelling, affixes, is_whole) = match excluded {
            Excluded::Texts(texts) => (FORWARD, texts, true),
            Excluded::Prefixes(texts) => (FORWARD, texts, false),
            Excluded::Suffixes(texts) => (BACKWARD, texts, false),
            Excluded::IgnoringCase(texts) if texts.iter().all(|text| text.is_ascii()) => {
                (FORWARD_ANY_CASE, texts, true)
            }
            Excluded::IgnoringCase(_) | Excluded::Wildcards(_) | Excluded::Numbers(_) => {
                return self.search(matcher, b"", found);
            }
        };
        let strings = self.spelled(spelling);
        let stretch = |affix: &String| (Row::Spelled(spelling), spelling.stretch(strings, affix.as_bytes(), is_whole));
        let stretches: Vec<Stretch> = affixes.iter().map(stretch).collect();
        add_gaps(Row::Spelled(spelling), strings.len(), &stretches, found);
    }

    /// The stretch of the doubles that a number is, or of the literals if it is no exact double.
    fn number(&self, number: &Number) -> Stretch {
        match number.exact {
            Some(double) => (Row::Numbers, equal(&self.numbers, &ordered(double))),
            None => (Row::Literals, equal(&self.literals, &number.literal.as_bytes())),
        }
    }

    fn whole(&mut self, spelling: Spelling, text: &[u8]) -> Stretch {
        (Row::Spelled(spelling), spelling.stretch(self.spelled(spelling), text, true))
    }

    fn affix(&mut self, spelling: Spelling, affix: &[u8]) -> Stretch {
        (Row::Spelled(spelling), spelling.stretch(self.spelled(spelling), affix, false))
    }

    /// Holds a matcher against each different string that begins with what it asks for.
    fn search(&mut self, matcher: &Matcher, first: &[u8], found: &mut Vec<Stretch>) {
        let strings = self.spelled(FORWARD);
        let within = FORWARD.stretch(strings, first, false);
        let mut start = within.start;
        for same in strings[within].chunk_by(|a, b| a.0 == b.0) {
            let end = start + same.len();
            count(matcher.weight() as u32);
            if matcher.accepts(Value { kind: Kind::String, text: same[0].0 }) {
                add((Row::Spelled(FORWARD), start..end), found);
            }
            start = end;
        }
    }

    /// The strings in order.
    fn spelled(&mut self, spelling: Spelling) -> &[Placed<&'a [u8]>] {
        let strings = &self.strings;
        self.spelled[spelling.index()].get_or_insert_with(|| {
            let key = |&(text, leaf): &Placed<&'a [u8]>| (spelling.key(text), text, leaf);
            let mut keyed: Vec<(u64, &[u8], u32)> = strings.iter().map(key).collect();
            keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| spelling.compare(a.1, b.1)));
            keyed.into_iter().map(|(_, text, leaf)| (text, leaf)).collect()
        })
    }

    fn addresses(&mut self) -> &[Placed<IpAddr>] {
        self.addresses.get_or_insert_with(|| {
            let spelled = |&(text, leaf): &Placed<&[u8]>| Some((address(text)?, leaf));
            let mut all: Vec<Placed<IpAddr>> = self.strings.iter().filter_map(spelled).collect();
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
    fn stretch(self, ordered: &[Placed<&[u8]>], affix: &[u8], is_whole: bool) -> Range<usize> {
        let start = ordered.partition_point(|(text, _)| self.compare(text, affix).is_lt());
        let fits = |(text, _): &Placed<&[u8]>| match is_whole {
            true => self.compare(text, affix).is_eq(),
            false => self.letters(text).take(affix.len()).eq(self.letters(affix)),
        };
        start..start + ordered[start..].partition_point(fits)
    }
}

fn equal<T: Ord>(ordered: &[Placed<T>], one: &T) -> Range<usize> {
    ordered.partition_point(|(other, _)| other < one)..ordered.partition_point(|(other, _)| other <= one)
}

fn add((row, stretch): Stretch, found: &mut Vec<Stretch>) {
    if !stretch.is_empty() {
        found.push((row, stretch));
    }
}

/// Adds what stretches leave out of a row of so many values.
fn add_gaps(row: Row, values: usize, stretches: &[Stretch], found: &mut Vec<Stretch>) {
    let mut own: Vec<&Range<usize>> = stretches.iter().filter(|other| other.0 == row).map(|other| &other.1).collect();
    own.sort_unstable_by_key(|stretch| stretch.start);
    let mut reached = 0;
    for stretch in own {
        add((row, reached..stretch.start), found);
        reached = reached.max(stretch.end);
    }
    add((row, reached..values), found);
}
