//! What one event costs. Values are compared one by one while that is quick, which it is for nearly all events; when it
//! no longer is, they are put in order first (`sorted`), so that an event of many values and patterns of many branches
//! add up instead of multiplying. The search among the elements of arrays, which no order helps, has a number of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::field::Field;
use super::automaton::Term;
use super::check::Read;
use super::names::Node;
use super::sorted::Sorted;

/// Comparisons of values with one term that are always made: looking one up takes longer.
const COMPARED_ANYWAY: usize = 8;
/// Comparisons that are made for one event beside those: about a millisecond.
const COMPARED_MAX: usize = 100_000;
/// Steps of the search among elements for all branches of one pattern: 70 to 140 ms. 10,000 elements of
/// 100 bytes may each be tried with some fifty branches, or two arrays of 500 elements within one each with each, at 8 to 15
/// steps a try.
pub(super) const STEPS_MAX: usize = 5_000_000;
/// Leaves that are gathered in the time of one step.
const GATHERED_IN_STEP: usize = 4;

/// One event, and what was done and found out for it.
pub(super) struct Effort<'a> {
    pub(super) event: Read<'a>,
    pub(super) compared: usize,
    pub(super) steps_left: usize,
    steps_max: usize,
    paths: BTreeMap<Node, Sorted<'a>>,
    /// Whether a field of a pattern takes a value; of one automaton.
    answers: BTreeMap<(u32, u32), bool>,
    /// The leaves that a field takes, of one pattern and its fields that no order answers: each branch asks again.
    searched: BTreeMap<u32, Rc<[u32]>>,
    /// Fields of one pattern that no elements satisfy together.
    pub(super) impossible: BTreeSet<Vec<u32>>,
}

impl<'a> Effort<'a> {
    pub(super) fn new(event: Read<'a>) -> Effort<'a> {
        Effort {
            event,
            compared: 0,
            steps_left: STEPS_MAX,
            steps_max: STEPS_MAX,
            paths: BTreeMap::new(),
            answers: BTreeMap::new(),
            searched: BTreeMap::new(),
            impossible: BTreeSet::new(),
        }
    }

    /// The same with a limit of its own for each pattern.
    pub(super) fn of_steps(event: Read<'a>, steps_max: usize) -> Effort<'a> {
        Effort { steps_left: steps_max, steps_max, ..Effort::new(event) }
    }

    /// The patterns that follow are of another automaton and have the same numbers.
    pub(super) fn begin_automaton(&mut self) {
        self.answers.clear();
    }

    pub(super) fn begin_pattern(&mut self) {
        self.steps_left = self.steps_max;
        self.searched.clear();
        self.impossible.clear();
    }

    /// Whether a term's values may be compared one by one.
    #[inline]
    pub(super) fn may_compare(&mut self, term: &Term) -> bool {
        let cost = self.event.leaves.size(term.node).saturating_mul(term.weight as usize);
        #[cfg(test)]
        if !tests::IS_QUICK.get() {
            return false;
        }
        if cost <= COMPARED_ANYWAY {
            return true;
        }
        let compared = self.compared.saturating_add(cost);
        let is_quick = compared <= COMPARED_MAX;
        if is_quick {
            self.compared = compared;
        }
        is_quick
    }

    /// Whether a field of a pattern takes a value at a path, by the order of the values there.
    pub(super) fn has_sorted(&mut self, pattern: u32, term: &Term, field: &Field) -> bool {
        let Effort { event, paths, answers, .. } = self;
        *answers.entry((pattern, term.field)).or_insert_with(|| {
            let sorted = paths.entry(term.node).or_insert_with(|| Sorted::of(*event, term.node));
            sorted.has_any_of(field)
        })
    }

    /// The leaves of a term's path and those that its field takes, by the order of the values there.
    pub(super) fn choices_sorted(&mut self, term: &Term, field: &Field) -> (Rc<[u32]>, Rc<[u32]>) {
        let Effort { event, paths, searched, .. } = self;
        let sorted = paths.entry(term.node).or_insert_with(|| Sorted::of(*event, term.node));
        let taken = match searched.get(&term.field) {
            Some(taken) => Rc::clone(taken),
            None => sorted.taken_by(field),
        };
        if field.is_searched() {
            searched.insert(term.field, Rc::clone(&taken));
        }
        (Rc::clone(sorted.all()), taken)
    }

    /// Takes the steps for gathering so many leaves; nothing if there are not so many left.
    pub(super) fn gather(&mut self, leaves: usize) -> Option<()> {
        self.step(leaves / GATHERED_IN_STEP)
    }

    /// Takes steps of the search among elements; nothing if there are not so many left.
    pub(super) fn step(&mut self, steps: usize) -> Option<()> {
        count(1);
        let left = self.steps_left.checked_sub(steps);
        self.steps_left = left.unwrap_or(0);
        left.map(drop)
    }
}

/// Counts comparisons and steps, for the tests below.
#[cfg(test)]
pub(super) fn count(steps: u32) {
    tests::COUNTED.set(tests::COUNTED.get() + steps as usize);
}

#[cfg(not(test))]
#[inline(always)]
pub(super) fn count(_: u32) {}

/// Matches with all values put in order, so that tests see the same answers.
#[cfg(test)]
pub(in super::super) fn in_order<T>(matching: impl FnOnce() -> T) -> T {
    tests::IS_QUICK.set(false);
    let answer = matching();
    tests::IS_QUICK.set(true);
    answer
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::super::{Pattern, PatternSet, Scratch};

    thread_local! {
        pub(super) static COUNTED: Cell<usize> = const { Cell::new(0) };
        pub(super) static IS_QUICK: Cell<bool> = const { Cell::new(true) };
    }

    /// Comparisons and steps for one pattern and one event that it does not match.
    fn counted(pattern: &str, event: &str) -> usize {
        let set = PatternSet::from_iter([((), Pattern::parse(pattern).unwrap())]);
        COUNTED.set(0);
        assert_eq!(set.snapshot().matches(event.as_bytes(), &mut Scratch::default()).len(), 0, "{pattern:.100}");
        COUNTED.get()
    }

    fn list(count: usize, item: impl Fn(usize) -> String) -> String {
        (0..count).map(item).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn many_values_and_many_alternatives_add_up_and_do_not_multiply() {
        const VALUES: usize = 20_000;
        let numbers = list(VALUES, |_| "1".into());
        let texts = list(VALUES, |n| format!("\"{}x\"", n % 900));
        let table: [(&str, String, String); 8] = [
            ("ranges", list(900, |n| format!(r#"{{"numeric":["<",-{n}]}}"#)), numbers.clone()),
            ("prefixes", list(900, |n| format!(r#"{{"prefix":"{n}y"}}"#)), texts.clone()),
            ("suffixes", list(900, |n| format!(r#"{{"suffix":"y{n}"}}"#)), texts.clone()),
            ("networks", list(900, |n| format!(r#"{{"cidr":"10.0.{}.0/24"}}"#, n % 256)), texts.clone()),
            ("ignoring case", list(900, |n| format!(r#"{{"equals-ignore-case":"Y{n}"}}"#)), texts.clone()),
            (
                "excluded texts",
                format!(r#"{{"anything-but":[{texts}]}}"#, texts = list(900, |n| format!("\"{n}x\""))),
                texts.clone(),
            ),
            (
                "excluded prefixes",
                format!(r#"{{"anything-but":{{"prefix":[{}]}}}}"#, list(900, |n| format!("\"{n}x\""))),
                texts,
            ),
            ("excluded numbers", format!(r#"{{"anything-but":[{}]}}"#, list(900, |n| n.to_string())), numbers),
        ];
        for (name, alternatives, values) in table {
            let event = format!(r#"{{"b":"x","a":[{values}]}}"#);
            let counted = counted(&format!(r#"{{"a":[{alternatives}],"b":["x"]}}"#), &event);
            // 18,000,000 if they multiplied; a binary search of 20,000 takes 15 comparisons, putting them in order 30 each.
            assert!(counted < 40 * (VALUES + 900), "{name}: {counted}");
        }
    }

    #[test]
    fn many_values_and_many_branches_add_up_and_do_not_multiply() {
        const VALUES: usize = 20_000;
        let all = list(1_000, |n| format!("\"{n}\""));
        let event = format!(r#"{{"b":[{all}],"a":[{}]}}"#, list(VALUES, |n| format!("\"{n}\"")));
        for ask in ["\"x{n}\"", "{\"prefix\":\"{n}x\"}", "{\"suffix\":\"x{n}\"}", "{\"numeric\":[\"<\",{n}]}"] {
            let branch = |n: usize| format!(r#"{{"a":[{}],"b":["{n}"]}}"#, ask.replace("{n}", &n.to_string()));
            let counted = counted(&format!(r#"{{"$or":[{}]}}"#, list(1_000, branch)), &event);
            assert!(counted < 60 * (VALUES + 1_000), "{ask}: {counted}");
        }
    }

    #[test]
    fn branches_with_the_same_fields_below_elements_are_searched_for_once() {
        let elements = list(20_000, |n| format!(r#"{{"{}":1}}"#, if n % 2 == 0 { "a" } else { "b" }));
        let event = format!(r#"{{"c":[{}],"i":[{elements}]}}"#, list(1_000, |n| n.to_string()));
        let pattern =
            format!(r#"{{"i":{{"a":[1],"b":[1]}},"$or":[{}]}}"#, list(1_000, |n| format!(r#"{{"c":[{n}]}}"#)));
        let counted = counted(&pattern, &event);
        // A try of each of 10,000 elements takes a few; 1,000 branches would take a thousand times that.
        assert!(counted < 200_000, "{counted}");
    }
}
