//! Payloads for a schema, as many as are asked for, the same ones for the same seed.
//!
//! The best that can be done in little time: what it makes is nearly always valid, and the caller holds it against
//! the schema. Meant for counter-examples and examples; it proves nothing.

mod border;
mod random;
mod text;

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

pub(crate) use border::border;
pub(crate) use random::Random;

use super::compatibility::keyword::is_schema;
use super::compatibility::kind::Kinds;
use super::compatibility::part::Step;
use super::compatibility::tree::{Located, Tree, texts};

/// Values in one payload.
const VALUES_MAX: usize = 2000;
/// Below this depth only what is required is written, and below twice of it nothing.
const DEPTH_MAX: usize = 24;
/// Items that a schema may ask for.
const ITEMS_MAX: u64 = 300;

/// How much of what is optional is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Least,
    Some,
    Most,
}

/// Makes payloads for one schema.
pub(crate) struct Generator<'t, 'a> {
    tree: &'t Tree<'a>,
    pub(crate) random: Random,
    left: usize,
}

impl<'t, 'a> Generator<'t, 'a> {
    pub(crate) fn new(tree: &'t Tree<'a>, seed: u64) -> Self {
        Self { tree, random: Random::new(seed), left: VALUES_MAX }
    }

    /// A payload of the schema, in which there is something at the end of a path. Nothing if none was found.
    pub(crate) fn payload(&mut self, amount: Amount, path: &[Step]) -> Option<Value> {
        let at = self.tree.located(&[self.tree.root], &[self.tree.root]);
        self.value(&at, amount, path)
    }

    /// A value for one place.
    pub(crate) fn value(&mut self, at: &Located<'a>, amount: Amount, path: &[Step]) -> Option<Value> {
        self.left = VALUES_MAX;
        self.make(at, amount, path, 0)
    }

    fn make(&mut self, at: &Located<'a>, amount: Amount, path: &[Step], depth: usize) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        if !self.tree.work.take(10) {
            return None;
        }
        if depth > 2 * DEPTH_MAX {
            return None;
        }
        let alternatives = self.tree.alternatives(at);
        self.tree.work.take(alternatives.len());
        let at = &alternatives[self.random.below(alternatives.len())];
        if at.holds.iter().any(|schema| **schema == Value::Bool(false)) {
            return None;
        }
        if let Some(values) = self.tree.values(at) {
            let drawn = (0..8).map(|_| self.random.below(values.len())).collect::<Vec<_>>();
            return drawn
                .into_iter()
                .filter_map(|index| values.get(index))
                .find(|value| self.roughly(at, value))
                .cloned();
        }
        match self.kind(at, path)? {
            Kinds::NULL => Some(Value::Null),
            Kinds::BOOLEAN => Some(Value::Bool(self.random.below(2) == 0)),
            Kinds::STRING => text::text(&mut self.random, &at.holds, &self.tree.work).map(Value::String),
            Kinds::INTEGER => self.number(at, true),
            Kinds::ARRAY => self.array(at, amount, path, depth),
            Kinds::OBJECT => self.object(at, amount, path, depth),
            _ => self.number(at, false),
        }
    }

    /// Whether a listed value has a type that is allowed; a const that another list lacks is the caller's to refuse.
    fn roughly(&self, at: &Located<'a>, value: &Value) -> bool {
        self.tree.work.take(at.holds.len());
        let lists = at.holds.iter().filter_map(|schema| schema.get("enum")?.as_array());
        lists.filter(|list| list.len() < 100).all(|list| list.contains(value) || value.is_number())
    }

    fn kind(&mut self, at: &Located<'a>, path: &[Step]) -> Option<Kinds> {
        let kinds = self.tree.kinds(at);
        let wanted = match path.first() {
            Some(Step::Item(_)) => Kinds::ARRAY,
            Some(_) => Kinds::OBJECT,
            None => {
                Kinds::NUMBERS.or(Kinds::NULL).or(Kinds::BOOLEAN).or(Kinds::STRING).or(Kinds::ARRAY).or(Kinds::OBJECT)
            }
        };
        let kinds = if kinds.meets(wanted) { kinds.and(wanted) } else { kinds };
        // What is said of fields is seldom said of numbers: a schema without a type mostly means one.
        let hinted = [
            (Kinds::OBJECT, "properties"),
            (Kinds::OBJECT, "required"),
            (Kinds::ARRAY, "items"),
            (Kinds::STRING, "pattern"),
            (Kinds::STRING, "maxLength"),
        ];
        let hint = hinted
            .iter()
            .find(|(kind, word)| kinds.meets(*kind) && at.holds.iter().any(|each| each.get(word).is_some()));
        if let Some((kind, _)) = hint
            && self.random.below(4) > 0
        {
            return Some(*kind);
        }
        let all =
            [Kinds::NULL, Kinds::BOOLEAN, Kinds::INTEGER, Kinds::NUMBERS, Kinds::STRING, Kinds::ARRAY, Kinds::OBJECT];
        let may: Vec<Kinds> = all.into_iter().filter(|kind| kind.within(kinds)).collect();
        may.get(self.random.below(may.len())).copied()
    }

    fn number(&mut self, at: &Located<'a>, whole: bool) -> Option<Value> {
        let bounds = |keyword: &str| {
            let of = |schema: &&'a Value| schema.get(keyword).and_then(Value::as_f64);
            at.holds.iter().filter_map(of).collect::<Vec<_>>()
        };
        let step = bounds("multipleOf").into_iter().fold(0.0, f64::max);
        let unit = if step > 0.0 {
            step
        } else if whole {
            1.0
        } else {
            0.5
        };
        let low = bounds("minimum").into_iter().fold(f64::NEG_INFINITY, f64::max);
        let low = bounds("exclusiveMinimum").into_iter().map(|bound| bound + unit).fold(low, f64::max);
        let high = bounds("maximum").into_iter().fold(f64::INFINITY, f64::min);
        let high = bounds("exclusiveMaximum").into_iter().map(|bound| bound - unit).fold(high, f64::min);
        let (low, high) = match (low.is_finite(), high.is_finite()) {
            (true, true) => (low, high),
            (true, false) => (low, low + 20.0 * unit),
            (false, true) => (high - 20.0 * unit, high),
            (false, false) => (-5.0 * unit, 20.0 * unit),
        };
        let drawn = match self.random.below(4) {
            0 => low,
            1 => high,
            _ => low + (high - low) * (self.random.below(1000) as f64 / 1000.0),
        };
        let mut number = if step > 0.0 || whole { (drawn / unit).floor() * unit } else { drawn };
        if number < low {
            number += unit;
        }
        if number.fract() == 0.0 && number.abs() < 9e15 && (whole || self.random.below(2) == 0) {
            return Some(Value::from(number as i64));
        }
        Number::from_f64(number).map(Value::Number)
    }

    fn array(&mut self, at: &Located<'a>, amount: Amount, path: &[Step], depth: usize) -> Option<Value> {
        let counts =
            |keyword: &str| at.holds.iter().filter_map(|schema| schema.get(keyword)?.as_u64()).collect::<Vec<_>>();
        let low = counts("minItems").into_iter().max().unwrap_or(0);
        let high = counts("maxItems").into_iter().min().unwrap_or(low + 3).min(low + 3);
        let forced = match path.first() {
            Some(Step::Item(index)) => *index as u64 + 1,
            _ => 0,
        };
        let len = match amount {
            Amount::Least => low,
            Amount::Most => high,
            Amount::Some => low + self.random.below((high.saturating_sub(low) + 1) as usize) as u64,
        };
        let len = len.max(forced);
        if len > ITEMS_MAX {
            return None;
        }
        let unique = at.holds.iter().any(|schema| schema.get("uniqueItems") == Some(&Value::Bool(true)));
        let contains: Vec<&'a Value> = at.holds.iter().filter_map(|schema| schema.get("contains")).collect();
        let len = len.max(if contains.is_empty() { 0 } else { 1 });
        let mut items: Vec<Value> = Vec::new();
        for index in 0..len as usize {
            let mut place = self.tree.item(at, index);
            if index < contains.len() {
                place.holds.push(contains[index]);
                place.holds = self.tree.holding(&place.holds);
            }
            let below = if forced == index as u64 + 1 { &path[1..] } else { &[] };
            let mut made = None;
            for _ in 0..8 {
                made = self.make(&place, amount, below, depth + 1);
                if !unique || made.as_ref().is_none_or(|item| !items.contains(item)) {
                    break;
                }
            }
            match made {
                Some(item) => items.push(item),
                None if index as u64 >= low.max(forced) => break,
                None => return None,
            }
        }
        Some(items.into())
    }

    fn object(&mut self, at: &Located<'a>, amount: Amount, path: &[Step], depth: usize) -> Option<Value> {
        let declared = self.tree.declared(at);
        let mut needed: BTreeSet<String> = BTreeSet::new();
        let mut optional: BTreeSet<String> = BTreeSet::new();
        for schema in &at.holds {
            needed.extend(texts(schema.get("required")).map(str::to_owned));
            optional
                .extend(schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys).cloned());
        }
        if amount == Amount::Some {
            optional.extend(declared.names.iter().map(|name| (*name).to_owned()));
            let others = ["extra", "x-extra"].into_iter().map(str::to_owned);
            optional
                .extend(others.filter(|name| {
                    declared.open || declared.patterns.iter().any(|each| self.tree.matches(each, name))
                }));
            optional.extend(
                declared.patterns.iter().filter_map(|each| text::of_pattern(&mut self.random, each, &self.tree.work)),
            );
        }
        match path.first() {
            Some(Step::Field(name)) => drop(needed.insert(name.clone())),
            Some(Step::AnyField) => drop(needed.insert(self.unnamed(at))),
            _ => {}
        }
        for name in optional {
            let takes = amount == Amount::Most || (amount == Amount::Some && self.random.below(2) == 0);
            if takes && depth < DEPTH_MAX {
                needed.insert(name);
            }
        }
        self.depend(at, &mut needed);
        let least = at.holds.iter().filter_map(|schema| schema.get("minProperties")?.as_u64()).max().unwrap_or(0);
        let mut more = declared.names.iter().map(|name| (*name).to_owned()).chain((0..8).map(|n| format!("field{n}")));
        while (needed.len() as u64) < least {
            needed.insert(more.next()?);
        }
        let mut fields = Map::new();
        let required: BTreeSet<&str> = at.holds.iter().flat_map(|schema| texts(schema.get("required"))).collect();
        if !self.tree.work.take(4 * needed.len()) {
            return None;
        }
        for name in needed {
            let place = self.tree.field(at, &name);
            let below = match path.first() {
                Some(Step::Field(forced)) if *forced == name => &path[1..],
                Some(Step::AnyField) if !declared.names.contains(&name.as_str()) => &path[1..],
                _ => &[],
            };
            match self.make(&place, amount, below, depth + 1) {
                Some(value) => drop(fields.insert(name, value)),
                None if required.contains(name.as_str()) => return None,
                None => {}
            }
        }
        Some(fields.into())
    }

    /// A name that a pattern declares, or none does.
    fn unnamed(&mut self, at: &Located<'a>) -> String {
        let declared = self.tree.declared(at);
        let of_pattern =
            declared.patterns.first().and_then(|pattern| text::of_pattern(&mut self.random, pattern, &self.tree.work));
        match of_pattern {
            Some(name) if !declared.open || self.random.below(2) == 0 => name,
            _ => "extra".to_owned(),
        }
    }

    /// Adds the fields on which those that are there depend.
    fn depend(&self, at: &Located<'a>, fields: &mut BTreeSet<String>) {
        for _ in 0..4 {
            if !self.tree.work.take(4 * at.holds.len() + fields.len()) {
                return;
            }
            for schema in &at.holds {
                for keyword in ["dependentRequired", "dependencies"] {
                    let lists = schema.get(keyword).and_then(Value::as_object).into_iter().flatten();
                    for (_, needs) in
                        lists.filter(|(name, needs)| fields.contains(*name) && !is_schema(needs)).collect::<Vec<_>>()
                    {
                        fields.extend(texts(Some(needs)).map(str::to_owned));
                    }
                }
            }
        }
    }
}
