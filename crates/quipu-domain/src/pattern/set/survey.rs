//! What the patterns of a set have in common, before any of them is entered: how long their prefixes and suffixes are,
//! and which literals of wildcards are rare. From it follows by which accesses each field can be looked up.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use super::super::field::Field;
use super::super::fold::fold;
use super::super::matcher::Matcher;
use super::super::wildcard::{Parts, Wildcard};
use super::access::{Access, GRAMS, Property, gram_at};
use super::hash::mix;
use super::names::Node;

/// Most sizes of prefixes or suffixes that are looked up in one value; longer ones are entered by their first or last
/// bytes of a size that is. Sixteen look-ups of a value cost about 0.2 µs.
const SIZES_MAX: usize = 16;
/// Most sizes of networks of one family that are looked up, which are all of IPv4: an event of 1 MiB may have 150,000
/// addresses.
const NETWORK_SIZES_MAX: usize = 32;
/// Longest prefix or suffix that is entered whole. What is longer is told apart by its first bytes or not at all.
const SIZE_BYTES_MAX: u32 = 128;
/// Most grams of a wildcard that are compared for the rarest.
const GRAMS_MAX: usize = 256;

/// A map from what is a hash already.
pub(super) type HashedMap<V> = HashMap<u64, V, BuildHasherDefault<Hashed>>;

#[derive(Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = mix(self.0, u64::from(byte)));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Default)]
pub(super) struct Survey {
    /// Of each path and kind of affix, the sizes and how often they occur; then those that are looked up.
    sizes: BTreeMap<(Node, Property), BTreeMap<u32, u32>>,
    /// The same of the networks of each path and family.
    networks: BTreeMap<(Node, bool), BTreeMap<u32, u32>>,
    /// How many wildcards could be looked up by an access, by [`at`].
    wildcards: HashedMap<u32>,
}

/// An access of a path as one number.
pub(super) fn at(node: Node, access: &Access) -> u64 {
    mix(mix(access.code, access.high), u64::from(node) << 8 | access.property as u64)
}

impl Survey {
    pub(super) fn of<'a>(fields: impl Iterator<Item = (Node, &'a Field)> + Clone) -> Survey {
        let mut survey = Survey::default();
        for (node, field) in fields.clone() {
            field.matchers.iter().for_each(|matcher| survey.note_sizes(node, matcher));
        }
        survey.sizes.values_mut().for_each(|sizes| thin_out(sizes, SIZES_MAX));
        survey.networks.values_mut().for_each(|sizes| thin_out(sizes, NETWORK_SIZES_MAX));
        for (node, field) in fields {
            for matcher in &field.matchers {
                if let Matcher::Wildcard(wildcard) = matcher {
                    for access in survey.of_wildcard(node, wildcard) {
                        *survey.wildcards.entry(at(node, &access)).or_default() += 1;
                    }
                }
            }
        }
        survey
    }

    fn note_sizes(&mut self, node: Node, matcher: &Matcher) {
        if let Matcher::Cidr(_, network) = matcher {
            let sizes = self.networks.entry((node, network.address.is_ipv6())).or_default();
            *sizes.entry(network.bits.into()).or_default() += 1;
        }
        let mut note = |property: Property, bytes: usize| {
            if bytes > 0 {
                let size = (bytes as u32).min(SIZE_BYTES_MAX);
                *self.sizes.entry((node, property)).or_default().entry(size).or_default() += 1;
            }
        };
        match matcher {
            Matcher::Prefix(text) => note(Property::Head, text.len()),
            Matcher::Suffix(text) => note(Property::Tail, text.len()),
            Matcher::PrefixIgnoreCase(text) => note(Property::FoldedHead, folded(text).len()),
            Matcher::SuffixIgnoreCase(text) => note(Property::FoldedTail, folded(text).len()),
            Matcher::Wildcard(wildcard) => {
                if let Parts::Starred { first, last, .. } = wildcard.parts() {
                    note(Property::Head, first.len());
                    note(Property::Tail, last.len());
                }
            }
            _ => {}
        }
    }

    /// The accesses of a field, one or more for each alternative; nothing if it takes absence or all alternatives
    /// together say nothing.
    pub(super) fn accesses(&self, node: Node, field: &Field, out: &mut Vec<Access>) {
        if field.may_be_absent {
            return;
        }
        out.extend(field.matchers.iter().map(|matcher| self.access(node, matcher)));
    }

    fn access(&self, node: Node, matcher: &Matcher) -> Access {
        match matcher {
            Matcher::Text(text) => Access::text(text.as_bytes()),
            Matcher::Address(_, address) => Access::address(*address),
            Matcher::Number(number) => match number.exact {
                Some(double) => Access::number(double),
                None => Access::literal(number.literal.as_bytes()),
            },
            Matcher::Constant(kind) => Access::constant(*kind),
            Matcher::Prefix(text) => self.affix(node, Property::Head, text.as_bytes()),
            Matcher::Suffix(text) => self.affix(node, Property::Tail, text.as_bytes()),
            Matcher::EqualsIgnoreCase(text) => Access::folded(&folded(text)),
            Matcher::PrefixIgnoreCase(text) => self.affix(node, Property::FoldedHead, &folded(text)),
            Matcher::SuffixIgnoreCase(text) => self.affix(node, Property::FoldedTail, &folded(text)),
            Matcher::Wildcard(wildcard) => {
                let rarity = |access: &Access| {
                    let shared = self.wildcards.get(&at(node, access)).copied().unwrap_or(1);
                    u64::from(shared) * access.generality()
                };
                self.of_wildcard(node, wildcard).into_iter().min_by_key(rarity).unwrap_or(Access::present())
            }
            Matcher::Cidr(_, network) => {
                let sizes = self.networks.get(&(node, network.address.is_ipv6()));
                let fits = sizes.and_then(|sizes| sizes.range(..=u32::from(network.bits)).next_back());
                fits.map_or(Access::present(), |(&bits, _)| Access::network(network.address, bits as u8))
            }
            Matcher::Numeric(range) => Access::range(range.low, range.high),
            Matcher::AnythingBut(_) | Matcher::Present | Matcher::Absent => Access::present(),
        }
    }

    /// A head or tail of a size that is looked up.
    fn affix(&self, node: Node, property: Property, text: &[u8]) -> Access {
        let sizes = self.sizes.get(&(node, property));
        let fits = sizes.and_then(|sizes| sizes.range(..=text.len() as u32).next_back());
        let Some((&size, _)) = fits else { return Access::present() };
        match property {
            Property::Head | Property::FoldedHead => Access::affix(property, &text[..size as usize]),
            _ => Access::affix(property, &text[text.len() - size as usize..]),
        }
    }

    /// All accesses that a wildcard could be looked up by.
    fn of_wildcard(&self, node: Node, wildcard: &Wildcard) -> Vec<Access> {
        let (first, between, last) = match wildcard.parts() {
            Parts::Whole(text) => return vec![Access::text(text)],
            Parts::Starred { first, between, last } => (first, between, last),
        };
        let mut accesses = Vec::new();
        if !first.is_empty() {
            accesses.push(self.affix(node, Property::Head, first));
        }
        if !last.is_empty() {
            accesses.push(self.affix(node, Property::Tail, last));
        }
        for literal in between {
            let Some(&size) = GRAMS.iter().find(|&&size| size <= literal.len()) else { continue };
            let room = GRAMS_MAX.saturating_sub(accesses.len());
            let grams = (0..=literal.len() - size).take(room);
            accesses.extend(grams.map(|start| Access::gram(size, gram_at(literal, start, size))));
        }
        accesses
    }
}

fn folded(text: &str) -> Vec<u8> {
    let mut folded = Vec::new();
    fold(text.as_bytes(), &mut folded);
    folded
}

/// Keeps the least size, which everything can be looked up by, and those that the others lose least by: each keeps
/// about the same share of the texts.
fn thin_out(sizes: &mut BTreeMap<u32, u32>, most: usize) {
    if sizes.len() <= most {
        return;
    }
    let total: u32 = sizes.values().sum();
    let (mut seen, mut kept) = (0, 0);
    sizes.retain(|_, &mut count| {
        let is_due = u64::from(seen) * most as u64 >= u64::from(kept) * u64::from(total);
        seen += count;
        kept += u32::from(is_due);
        is_due
    });
}
