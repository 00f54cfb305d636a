//! What events are looked up by: terms, hashed to 64 bits with the tenant's own key, so that nobody outside can make
//! many events collide. A lookup yields candidates; whoever asked reads them and checks.

use std::ops::RangeInclusive;

use quipu_domain::{Event, base_type, type_prefixes};
use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13Wide};
use std::hash::Hasher;

/// Something that many events can have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term<'a> {
    /// `subject`.
    Stream(&'a str),
    /// `type`; a version at its end does not count.
    Type(&'a str),
    /// The type begins with these dot-separated words.
    TypePrefix(&'a str),
    /// `source`.
    Source(&'a str),
    /// One tag.
    Tag(&'a str),
    /// `correlationid`.
    Correlation(&'a str),
    /// `causationid`.
    Causation(&'a str),
    /// `userid`.
    User(&'a str),
    /// `organizationid`.
    Organization(&'a str),
    /// `priority`.
    Priority(&'a str),
    /// The event is the first of its stream.
    StreamStart,
    /// The data is kept beside the log, as the payload of this hash.
    Payload(&'a [u8; 32]),
}

/// Hashes terms with a tenant's key.
#[derive(Clone, Copy, Debug)]
pub struct TermHasher {
    key: [u8; 16],
}

/// The low bits of a pair's key are its source's; the rest is its id's, so that an id alone is a range of keys.
const SOURCE_MASK: u64 = 0xFF_FFFF;

impl TermHasher {
    /// With the key from the log's first record.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    fn hash(&self, kind: u8, text: impl AsRef<[u8]>) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(text.as_ref());
        hasher.write_u8(kind);
        hasher.finish()
    }

    /// The key of a term.
    pub fn term(&self, term: Term<'_>) -> u64 {
        match term {
            Term::Stream(text) => self.hash(1, text),
            Term::Type(text) => self.hash(2, base_type(text)),
            Term::TypePrefix(text) => self.hash(3, text),
            Term::Source(text) => self.hash(4, text),
            Term::Tag(text) => self.hash(5, text),
            Term::Correlation(text) => self.hash(6, text),
            Term::Causation(text) => self.hash(7, text),
            Term::User(text) => self.hash(8, text),
            Term::Organization(text) => self.hash(9, text),
            Term::Priority(text) => self.hash(10, text),
            Term::StreamStart => self.hash(11, ""),
            Term::Payload(hash) => self.hash(12, hash),
        }
    }

    /// The key of an event's identity.
    pub fn pair(&self, source: &str, id: &str) -> u64 {
        (self.hash(20, id) & !SOURCE_MASK) | (self.hash(21, source) & SOURCE_MASK)
    }

    /// The keys that the pairs of an id have, whatever the source.
    pub fn pairs_of_id(&self, id: &str) -> RangeInclusive<u64> {
        let low = self.hash(20, id) & !SOURCE_MASK;
        low..=low | SOURCE_MASK
    }

    /// What a stream is kept under in memory. 128 bits, since two streams must never be taken for one.
    pub fn stream(&self, subject: &str) -> u128 {
        let mut hasher = SipHasher13Wide::new_with_key(&self.key);
        hasher.write(subject.as_bytes());
        hasher.finish128().as_u128()
    }

    /// The keys of all the terms of an event, except [`Term::StreamStart`].
    pub fn terms_of(&self, event: &Event<'_>, out: &mut Vec<u64>) {
        let mut add = |term| out.push(self.term(term));
        add(Term::Type(event.kind()));
        type_prefixes(event.kind()).for_each(|prefix| add(Term::TypePrefix(prefix)));
        add(Term::Source(event.source()));
        event.subject().into_iter().for_each(|text| add(Term::Stream(text)));
        event.tags().for_each(|tag| add(Term::Tag(tag)));
        event.correlation_id().into_iter().for_each(|text| add(Term::Correlation(text)));
        event.causation_id().into_iter().for_each(|text| add(Term::Causation(text)));
        event.attribute("userid").into_iter().for_each(|text| add(Term::User(text)));
        event.attribute("organizationid").into_iter().for_each(|text| add(Term::Organization(text)));
        event.attribute("priority").into_iter().for_each(|text| add(Term::Priority(text)));
        event.payload().iter().for_each(|payload| add(Term::Payload(&payload.hash)));
    }
}

/// Which events are wanted, in terms of an index. An answer may hold more than what matches, never less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// Every event.
    All,
    /// Events with this term.
    Has(u64),
    /// Events that every part wants.
    And(Vec<Expr>),
    /// Events that any part wants.
    Or(Vec<Expr>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_range_of_its_pairs() {
        let hasher = TermHasher::new([9; 16]);
        let range = hasher.pairs_of_id("7");
        for source in ["/a", "/b", "/c"] {
            assert!(range.contains(&hasher.pair(source, "7")));
            assert!(!range.contains(&hasher.pair(source, "8")));
        }
        assert_ne!(hasher.pair("/a", "7"), hasher.pair("/b", "7"));
    }

    #[test]
    fn the_same_text_in_another_role_is_another_term() {
        let hasher = TermHasher::new([9; 16]);
        assert_ne!(hasher.term(Term::Stream("x")), hasher.term(Term::Source("x")));
        assert_eq!(hasher.term(Term::Type("a.b.v2")), hasher.term(Term::Type("a.b")));
        assert_ne!(hasher.stream("x"), TermHasher::new([8; 16]).stream("x"));
    }
}
