//! The search for payloads that a producer of one version writes and a reader of another refuses.
//!
//! Each is held against both schemas by the validator of the registry before it counts, so that a break that is
//! reported is a fact. Where to look is what the failed proof says; then at random.

use std::collections::BTreeSet;

use serde_json::Value;

use super::algebra::{self, Cut, standalone};
use super::part::Step;
use super::proof::{Doubt, Proof};
use super::tree::{Located, Tree};
use super::validator::{Fault, Validator};
use super::work::{Work, size};
use super::writer::declares_all;
use crate::schema::generate::{Amount, Generator, Random, border};

/// Breaks that one comparison of two versions reports.
const BREAKS_MAX: usize = 50;
/// Parts that are taken out of a counter-example to make it small.
const REMOVALS_MAX: usize = 300;

/// A payload that shows a break, and the reader's reason to refuse it.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) payload: Value,
    pub(super) fault: Fault,
}

/// Both sides, compiled, and what may still be spent.
pub(super) struct Refutation<'t, 'a> {
    writer: &'t Tree<'a>,
    whole: Located<'a>,
    writes: Validator,
    reads: Validator,
    /// Whether all faults of the reader may be gathered.
    is_tame: bool,
    left: usize,
    /// One that was found while another was looked for.
    spare: Option<Shown>,
    pub(super) shown: Vec<Shown>,
}

impl<'t, 'a> Refutation<'t, 'a> {
    pub(super) fn new(writer: &'t Tree<'a>, reader: &Tree<'a>, payloads: usize) -> Result<Self, String> {
        let whole = writer.located(&[writer.root], &[writer.root]);
        let (writes, reads) = (Validator::new(writer.root, &writer.work)?, Validator::new(reader.root, &writer.work)?);
        let is_tame = reader.is_tame;
        Ok(Self { writer, whole, writes, reads, is_tame, left: payloads, spare: None, shown: Vec::new() })
    }

    /// Looks where the proof failed, then anywhere.
    pub(super) fn search(&mut self, proof: &Proof<'_, 'a>, seed: u64) {
        let mut generator = Generator::new(self.writer, seed);
        let total = self.left;
        let mut doubts: Vec<&Doubt<'a>> = proof.doubts.iter().collect();
        if !self.is_tame {
            // A recursion is unrolled once by the proof: the outer place is the one to name.
            doubts.sort_by_key(|doubt| doubt.path.len());
        }
        for (index, doubt) in doubts.iter().enumerate() {
            if self.shown.len() >= BREAKS_MAX || self.work().is_spent() {
                return;
            }
            // What is left is shared out, so that one stubborn place does not starve the others.
            let share = (self.left / (doubts.len() - index)).max(40);
            self.at(&mut generator, doubt, proof, share);
        }
        if self.shown.is_empty()
            && let Some(Shown { payload, fault }) = self.spare.take()
        {
            self.show(payload, fault);
        }
        if self.shown.is_empty() {
            self.left = self.left.max(total / 4);
            self.anywhere(&mut generator, proof);
        }
    }

    /// Why a payload is a counter-example, if it is one.
    fn fault(&mut self, payload: &Value, is_sought: impl Fn(&Fault) -> bool) -> Option<Fault> {
        // A validation walks the payload: a large one counts for many.
        self.left = self.left.saturating_sub(1 + size(payload) / 32);
        if !self.work().take(size(payload)) || self.reads.accepts(payload) || !self.writes.accepts(payload) {
            return None;
        }
        if !declares_all(self.writer, &self.whole, payload) {
            return None;
        }
        let fault = if self.is_tame { self.reads.fault_at(payload, is_sought) } else { self.reads.fault(payload) };
        fault.filter(|_| !self.work().is_spent())
    }

    fn work(&self) -> &Work {
        &self.writer.work
    }

    fn at(&mut self, generator: &mut Generator<'_, 'a>, doubt: &Doubt<'a>, proof: &Proof<'_, 'a>, share: usize) {
        let stop = self.left.saturating_sub(share);
        let sought = pointer(&doubt.path);
        let is_there = |fault: &Fault| fault.pointer.starts_with(&sought);
        let (mut bases, mut refused) = (Vec::new(), Vec::new());
        for round in 0..6 {
            let amount = if round < 2 { Amount::Least } else { Amount::Some };
            let Some(base) = generator.payload(amount, &doubt.path) else { continue };
            match self.fault(&base, is_there) {
                Some(fault) if is_there(&fault) => return self.show(base, fault),
                Some(fault) => {
                    self.spare.get_or_insert(Shown { payload: base.clone(), fault });
                    refused.push(base);
                }
                None => bases.push(base),
            }
        }
        bases.append(&mut refused);
        let values = self.values(generator, doubt, proof);
        for base in bases.iter().take(3) {
            for value in &values {
                if self.left <= stop || self.work().is_spent() {
                    break;
                }
                let mut payload = base.clone();
                let Some(place) = place(&mut payload, &doubt.path) else { break };
                *place = value.clone();
                let Some(fault) = self.fault(&payload, is_there) else { continue };
                if fault.pointer.starts_with(&sought) || sought.starts_with(&fault.pointer) {
                    return self.show(payload, fault);
                }
                self.spare.get_or_insert(Shown { payload, fault });
            }
        }
    }

    /// Values for the place where a proof failed.
    fn values(&mut self, generator: &mut Generator<'_, 'a>, doubt: &Doubt<'a>, proof: &Proof<'_, 'a>) -> Vec<Value> {
        let mut schemas: Vec<&Value> = vec![doubt.reader];
        schemas.extend(proof.reader.holding(&[doubt.reader]));
        schemas.extend(doubt.writer.holds.iter().copied());
        let mut values = border(&mut generator.random, &schemas, self.work());
        for round in 0..24 {
            if self.work().is_spent() {
                return Vec::new();
            }
            let amount = [Amount::Some, Amount::Least, Amount::Most][round % 3];
            values.extend(generator.value(&doubt.writer, amount, &[]));
        }
        values.extend(of_difference(doubt, proof));
        // Lists of what the items may be, twice the same, and beside the border.
        let of_items = self.writer.item(&doubt.writer, 0);
        let item = generator.value(&of_items, Amount::Least, &[]);
        values.extend(item.map(|item| Value::Array(vec![item.clone(), item])));
        values
    }

    fn anywhere(&mut self, generator: &mut Generator<'_, 'a>, proof: &Proof<'_, 'a>) {
        let mut random = Random::new(generator.random.next());
        let roots = [proof.reader.root, self.writer.root];
        let near = border(&mut random, &roots, self.work());
        let mut round = 0;
        while self.left > 0 && !self.work().is_spent() && round < 400 && self.shown.is_empty() {
            round += 1;
            let amount = if round % 8 == 1 { Amount::Least } else { Amount::Some };
            let made = match near.get(round / 2).filter(|_| round % 2 == 0) {
                Some(value) => Some(value.clone()),
                None => generator.payload(amount, &[]),
            };
            let Some(payload) = made else { continue };
            if let Some(fault) = self.fault(&payload, |_| true) {
                self.show(payload, fault);
            }
        }
    }

    /// Keeps a counter-example, made small, unless its break is known.
    fn show(&mut self, payload: Value, fault: Fault) {
        let (payload, fault) = self.smaller(payload, fault);
        let pointer = general(&payload, &fault.pointer);
        let repeats = |shown: &Shown| {
            let known = general(&shown.payload, &shown.fault.pointer);
            let is_unrolled = !self.is_tame
                && shown.fault.schema_pointer == fault.schema_pointer
                && known.rsplit('/').next() == pointer.rsplit('/').next();
            (known == pointer || is_unrolled) && shown.fault.keyword == fault.keyword
        };
        if !self.shown.iter().any(repeats) {
            self.shown.push(Shown { payload, fault });
        }
    }

    /// Takes out what is not needed for the same break.
    fn smaller(&mut self, mut payload: Value, mut fault: Fault) -> (Value, Fault) {
        let mut kept: BTreeSet<String> = BTreeSet::new();
        for _ in 0..REMOVALS_MAX {
            if !self.work().take(4 * size(&payload)) {
                break;
            }
            let Some((at, smaller)) = removal(&payload, &kept) else { break };
            if self.left == 0 {
                break;
            }
            let is_same = |found: &Fault| found.keyword == fault.keyword && same_end(found, &fault);
            match self.fault(&smaller, is_same).filter(is_same) {
                Some(found) => (payload, fault) = (smaller, found),
                None => drop(kept.insert(at)),
            }
        }
        (payload, fault)
    }
}

fn same_end(one: &Fault, other: &Fault) -> bool {
    one.schema_pointer == other.schema_pointer
        && one.pointer.rsplit('/').next().map(|end| end.parse::<usize>().is_ok() || other.pointer.ends_with(end))
            == Some(true)
}

/// Payloads out of what the algebra leaves when the reader's values are taken from the writer's.
fn of_difference<'a>(doubt: &Doubt<'a>, proof: &Proof<'_, 'a>) -> Vec<Value> {
    let document = || {
        let writer = proof.document(&doubt.writer, &|_| true)?;
        let reader = standalone(proof.reader, doubt.reader, Cut::Narrower, &|_| true)?;
        let reader = algebra::all_of(proof.draft(), vec![reader]);
        let small = algebra::is_small(&writer) && algebra::is_small(&reader) && size(&writer) < 200;
        if small { algebra::difference(&writer, &reader, &proof.writer.work) } else { None }
    };
    let Some(document) = document() else { return Vec::new() };
    let Ok(tree) = Tree::new(&document, &proof.writer.work) else { return Vec::new() };
    let mut generator = Generator::new(&tree, 7);
    (0..12).filter_map(|round| generator.payload([Amount::Some, Amount::Least][round % 2], &[])).collect()
}

/// The first field or item that was not tried yet, and the payload without it.
fn removal(payload: &Value, kept: &BTreeSet<String>) -> Option<(String, Value)> {
    fn find(value: &Value, at: &str, kept: &BTreeSet<String>) -> Option<String> {
        let named: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| (escaped(name), value)).collect(),
            Value::Array(items) => {
                items.iter().enumerate().rev().map(|(index, item)| (index.to_string(), item)).collect()
            }
            _ => return None,
        };
        named.into_iter().find_map(|(name, value)| {
            let here = format!("{at}/{name}");
            if kept.contains(&here) { find(value, &here, kept) } else { Some(here) }
        })
    }
    let at = find(payload, "", kept)?;
    let (parent, last) = at.rsplit_once('/')?;
    let last = last.replace("~1", "/").replace("~0", "~");
    let mut smaller = payload.clone();
    match smaller.pointer_mut(parent)? {
        Value::Object(fields) => drop(fields.remove(&last)?),
        Value::Array(items) => drop(items.remove(last.parse().ok()?)),
        _ => return None,
    }
    Some((at, smaller))
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A path as a JSON pointer, as far as its fields have names.
fn pointer(path: &[Step]) -> String {
    let mut pointer = String::new();
    for step in path {
        match step {
            Step::Field(name) => pointer.push_str(&format!("/{}", escaped(name))),
            Step::Item(index) => pointer.push_str(&format!("/{index}")),
            Step::AnyField => break,
        }
    }
    pointer
}

/// A JSON pointer with `*` for the items of lists.
pub(super) fn general(payload: &Value, pointer: &str) -> String {
    let mut general = String::new();
    let mut here = Some(payload);
    for part in pointer.split('/').skip(1) {
        let is_item = here.is_some_and(Value::is_array);
        general.push('/');
        general.push_str(if is_item { "*" } else { part });
        here = here.and_then(|value| value.pointer(&format!("/{part}")));
    }
    general
}

/// What is at the end of a path; of a field without a name, the last one.
fn place<'v>(payload: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    path.iter().try_fold(payload, |value, step| match (value, step) {
        (Value::Object(fields), Step::Field(name)) => fields.get_mut(name),
        (Value::Object(fields), Step::AnyField) => fields.values_mut().last(),
        (Value::Array(items), Step::Item(index)) => items.get_mut(*index),
        _ => None,
    })
}
