//! The index of one path: which accesses the patterns have there, and the look-up of a value's among them. Entries are
//! in the segment's one table, told apart by the probe's salt.

use super::super::address::address;
use super::super::value::{Kind, Value};
use super::super::{fold, number};
use super::access::{Access, GRAMS, Kinds, Property, V6_BITS, gram_at};
use super::hash::mix;
use super::names::Node;
use super::ranges::Ranges;
use super::table::Table;

/// What to look for in the values of a path.
pub(super) struct Probe {
    pub(super) node: Node,
    pub(super) salt: u64,
    pub(super) kinds: Kinds,
    /// Bit n: there is a text of n bytes, the last bit for all that are longer.
    text_bytes: u64,
    /// Where to go if there is any value.
    pub(super) present: Option<u32>,
    pub(super) sizes: Option<Box<Sizes>>,
    pub(super) ranges: Option<Ranges>,
}

/// The sizes of accesses that are looked up size by size; each list sorted.
#[derive(Default)]
pub(super) struct Sizes {
    head: Vec<u32>,
    tail: Vec<u32>,
    folded_head: Vec<u32>,
    folded_tail: Vec<u32>,
    network: Vec<u32>,
    grams: Vec<Grams>,
}

/// Grams of one size, and a filter that most bytes of a value do not pass.
struct Grams {
    size: usize,
    filter: Vec<u64>,
}

impl Probe {
    pub(super) fn new(node: Node, salt: u64) -> Probe {
        let kinds = Kinds::default();
        Probe { node, salt, kinds, text_bytes: 0, present: None, sizes: None, ranges: None }
    }

    /// Prepares for entries with these accesses.
    pub(super) fn add(&mut self, accesses: &[Access]) {
        for access in accesses {
            self.kinds.add(access.property);
            match access.property {
                Property::Text => self.text_bytes |= 1 << access.size.min(63),
                Property::Head | Property::Tail | Property::FoldedHead | Property::FoldedTail | Property::Network => {
                    self.sizes.get_or_insert_default().add(access)
                }
                _ => {}
            }
        }
        for size in GRAMS {
            let of_size = |access: &&Access| access.property == Property::Gram && access.size as usize == size;
            let codes: Vec<u64> = accesses.iter().filter(of_size).map(|access| access.code).collect();
            if !codes.is_empty() {
                self.sizes.get_or_insert_default().grams.push(Grams::new(size, &codes));
            }
        }
    }

    #[inline]
    pub(super) fn entry(&self, code: u64) -> u64 {
        mix(code, self.salt)
    }

    /// Calls back with the number of each entry that the value leads to.
    #[inline]
    pub(super) fn look_up(&self, table: &Table, value: Value<'_>, folded: &mut Vec<u8>, found: &mut impl FnMut(u32)) {
        match value.kind {
            Kind::String => {
                let text = value.text;
                if self.text_bytes & 1 << text.len().min(63) != 0 {
                    table.find(self.entry(Access::text(text).code), &mut *found);
                }
                if self.kinds.has(Property::Folded) || self.sizes.is_some() || self.kinds.has(Property::Address) {
                    self.look_up_parts(table, text, folded, found);
                }
            }
            Kind::Number => self.look_up_number(table, value.text, found),
            kind if self.kinds.has(Property::Constant) => {
                table.find(self.entry(Access::constant(kind).code), found);
            }
            _ => {}
        }
    }

    fn look_up_number(&self, table: &Table, literal: &[u8], found: &mut impl FnMut(u32)) {
        let kinds = self.kinds;
        if !kinds.has(Property::Number) && !kinds.has(Property::Literal) && self.ranges.is_none() {
            return;
        }
        let Some(double) = number::exact(literal) else {
            return table.find(self.entry(Access::literal(literal).code), found);
        };
        if kinds.has(Property::Number) {
            table.find(self.entry(Access::number(double).code), &mut *found);
        }
        if let Some(ranges) = &self.ranges {
            ranges.find(number::ordered(double), found);
        }
    }

    fn look_up_parts(&self, table: &Table, text: &[u8], folded: &mut Vec<u8>, found: &mut impl FnMut(u32)) {
        let kinds = self.kinds;
        if kinds.has(Property::Address) || kinds.has(Property::Network) {
            self.look_up_address(table, text, found);
        }
        let sizes = self.sizes.as_deref();
        let folds =
            [Property::Folded, Property::FoldedHead, Property::FoldedTail].iter().any(|&property| kinds.has(property));
        if folds {
            folded.clear();
            fold::fold(text, folded);
            if kinds.has(Property::Folded) {
                table.find(self.entry(Access::folded(folded).code), &mut *found);
            }
        }
        let Some(sizes) = sizes else { return };
        self.look_up_affixes(table, Property::Head, &sizes.head, text, found);
        self.look_up_affixes(table, Property::Tail, &sizes.tail, text, found);
        self.look_up_affixes(table, Property::FoldedHead, &sizes.folded_head, folded, found);
        self.look_up_affixes(table, Property::FoldedTail, &sizes.folded_tail, folded, found);
        for grams in &sizes.grams {
            for at in 0..(text.len() + 1).saturating_sub(grams.size) {
                let gram = Access::gram(grams.size, gram_at(text, at, grams.size));
                if grams.may_have(gram.code) {
                    table.find(self.entry(gram.code), &mut *found);
                }
            }
        }
    }

    fn look_up_affixes(
        &self,
        table: &Table,
        property: Property,
        sizes: &[u32],
        text: &[u8],
        found: &mut impl FnMut(u32),
    ) {
        for &size in sizes {
            let size = size as usize;
            if size > text.len() {
                return;
            }
            let is_head = matches!(property, Property::Head | Property::FoldedHead);
            let part = if is_head { &text[..size] } else { &text[text.len() - size..] };
            table.find(self.entry(Access::affix(property, part).code), &mut *found);
        }
    }

    fn look_up_address(&self, table: &Table, text: &[u8], found: &mut impl FnMut(u32)) {
        let Some(address) = address(text) else { return };
        if self.kinds.has(Property::Address) {
            table.find(self.entry(Access::address(address).code), &mut *found);
        }
        for &size in self.sizes.iter().flat_map(|sizes| &sizes.network) {
            if (size >= V6_BITS) == address.is_ipv6() {
                table.find(self.entry(Access::network(address, (size % V6_BITS) as u8).code), &mut *found);
            }
        }
    }
}

impl Sizes {
    fn add(&mut self, access: &Access) {
        let sizes = match access.property {
            Property::Head => &mut self.head,
            Property::Tail => &mut self.tail,
            Property::FoldedHead => &mut self.folded_head,
            Property::FoldedTail => &mut self.folded_tail,
            _ => &mut self.network,
        };
        if let Err(at) = sizes.binary_search(&access.size) {
            sizes.insert(at, access.size);
        }
    }
}

impl Grams {
    /// Sixteen bits a gram: about one byte in sixteen passes by chance.
    fn new(size: usize, codes: &[u64]) -> Grams {
        let mut filter = vec![0; (codes.len() * 16).next_power_of_two().max(256) / 64];
        let mask = filter.len() * 64 - 1;
        for code in codes {
            let bit = *code as usize & mask;
            filter[bit / 64] |= 1 << (bit % 64);
        }
        Grams { size, filter }
    }

    #[inline]
    fn may_have(&self, code: u64) -> bool {
        let bit = code as usize & (self.filter.len() * 64 - 1);
        self.filter[bit / 64] & 1 << (bit % 64) != 0
    }
}
