//! What a matcher can be looked up by. Every value that the matcher takes has the property that its *access* names, and
//! an index finds the accesses of a value without looking at the patterns. Others may have it too: an access gives
//! candidates.

use std::net::IpAddr;

use super::super::address::{masked, number};
use super::super::value::Kind;
use super::hash::{eight, hash, mix};

/// The kinds of accesses; each has a bit in a [`Kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(super) enum Property {
    /// The string.
    Text,
    /// The string, folded.
    Folded,
    /// The exact double.
    Number,
    /// The literal of a number that is no exact double.
    Literal,
    /// `true`, `false` or `null`.
    Constant,
    /// The address that the string spells.
    Address,
    /// The first bytes.
    Head,
    /// The last bytes.
    Tail,
    /// The first bytes, folded.
    FoldedHead,
    /// The last bytes, folded.
    FoldedTail,
    /// A few bytes somewhere.
    Gram,
    /// The first bits of the address.
    Network,
    /// The double is in a range.
    Range,
    /// There is a value.
    Present,
}

/// A set of properties.
#[derive(Clone, Copy, Default)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub(super) fn add(&mut self, property: Property) {
        self.0 |= 1 << property as u8;
    }

    #[inline]
    pub(super) fn has(self, property: Property) -> bool {
        self.0 & 1 << property as u8 != 0
    }
}

/// A property and what it is: the key of an index entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) property: Property,
    /// Bytes of a text, head, tail or gram; bits of a network, those of an IPv6 one plus [`V6_BITS`].
    pub(super) size: u32,
    /// The hash of all but the path. Of a range its low end.
    pub(super) code: u64,
    /// The high end of a range.
    pub(super) high: u64,
}

/// What is added to the bits of an IPv6 network, so that one list has both families.
pub(super) const V6_BITS: u32 = 1_000;

/// The sizes of grams, greatest first. The longer, the rarer; a literal is looked up by a gram as long as it can hold.
pub(super) const GRAMS: [usize; 5] = [8, 4, 3, 2, 1];

impl Access {
    fn new(property: Property, size: usize, code: u64) -> Access {
        Access { property, size: size as u32, code, high: 0 }
    }

    pub(super) fn text(text: &[u8]) -> Access {
        Access::new(Property::Text, text.len(), code(Property::Text, hash(text)))
    }

    pub(super) fn folded(folded: &[u8]) -> Access {
        Access::new(Property::Folded, folded.len(), code(Property::Folded, hash(folded)))
    }

    pub(super) fn number(double: f64) -> Access {
        Access::new(Property::Number, 0, code(Property::Number, double.to_bits()))
    }

    pub(super) fn literal(literal: &[u8]) -> Access {
        Access::new(Property::Literal, 0, code(Property::Literal, hash(literal)))
    }

    pub(super) fn constant(kind: Kind) -> Access {
        Access::new(Property::Constant, 0, code(Property::Constant, kind as u64))
    }

    pub(super) fn address(address: IpAddr) -> Access {
        let (six, bits) = number(address);
        Access::new(Property::Address, 0, code(Property::Address, address_hash(six, bits)))
    }

    pub(super) fn network(address: IpAddr, bits: u8) -> Access {
        let (six, head) = masked(address, bits);
        let size = u32::from(bits) + if six { V6_BITS } else { 0 };
        let code = code(Property::Network, mix(address_hash(six, head), u64::from(bits)));
        Access { property: Property::Network, size, code, high: 0 }
    }

    /// A head or tail, folded or not. All of them are looked up by their size.
    pub(super) fn affix(property: Property, bytes: &[u8]) -> Access {
        Access::new(property, bytes.len(), code(property, hash(bytes)))
    }

    pub(super) fn gram(size: usize, gram: u64) -> Access {
        Access::new(Property::Gram, size, code(Property::Gram, mix(gram, size as u64)))
    }

    pub(super) fn range(low: u64, high: u64) -> Access {
        Access { property: Property::Range, size: 0, code: low, high }
    }

    pub(super) fn present() -> Access {
        Access::new(Property::Present, 0, 0)
    }

    /// How many events of a hundred may have the property, guessed from its kind: what it is decides more, and only
    /// the number of patterns that share it says anything about that.
    pub(super) fn generality(&self) -> u64 {
        match (self.property, self.size) {
            (Property::Text | Property::Folded | Property::Number | Property::Literal | Property::Address, _) => 1,
            (Property::Constant, _) => 16,
            (Property::Gram | Property::Head | Property::Tail | Property::FoldedHead | Property::FoldedTail, bytes) => {
                match bytes {
                    0 => 100,
                    1 => 64,
                    2 => 24,
                    3 => 8,
                    4..=7 => 3,
                    _ => 2,
                }
            }
            (Property::Network, bits) => {
                if bits % V6_BITS < 8 {
                    16
                } else {
                    2
                }
            }
            (Property::Range, _) => 4,
            (Property::Present, _) => 100,
        }
    }
}

#[inline]
fn code(property: Property, hash: u64) -> u64 {
    mix(hash, property as u64)
}

fn address_hash(six: bool, bits: u128) -> u64 {
    mix(mix(bits as u64, (bits >> 64) as u64), u64::from(six))
}

/// The bytes of a gram as a number; `at + size` must be inside.
#[inline]
pub(super) fn gram_at(text: &[u8], at: usize, size: usize) -> u64 {
    if size == 8 {
        return eight(text, at);
    }
    text[at..at + size].iter().fold(0, |gram, &byte| gram << 8 | u64::from(byte))
}
