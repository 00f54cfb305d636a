//! The items of an operation, and which of them were refused. Both are as small as a million items ask for: the numbers
//! are there once, whoever looks at them, and a refusal is a bit. Reasons are kept of the first refusals only.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::REFUSED_REASONS_MAX;

/// The numbers of the dead letters or instances, ascending. A copy is the same memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Items(Arc<[u64]>);

impl FromIterator<u64> for Items {
    fn from_iter<T: IntoIterator<Item = u64>>(ids: T) -> Self {
        Self(ids.into_iter().collect())
    }
}

impl Deref for Items {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl Serialize for Items {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Vec::deserialize(deserializer)?.into()))
    }
}

/// An item that could not be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemRefusal {
    /// Which, counted from 0.
    pub at: u64,
    /// Why; none if enough reasons are kept already.
    pub reason: Option<String>,
}

/// The items that were refused: a bit each, in the order of the items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refused {
    count: u64,
    bits: Vec<u8>,
    reasons: BTreeMap<u64, String>,
}

impl Refused {
    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether the reason of one more is kept.
    pub fn keeps_reasons(&self) -> bool {
        self.reasons.len() < REFUSED_REASONS_MAX
    }

    pub fn contains(&self, at: u64) -> bool {
        self.bits.get((at / 8) as usize).is_some_and(|bits| bits >> (at % 8) & 1 == 1)
    }

    pub fn reason(&self, at: u64) -> Option<&str> {
        self.reasons.get(&at).map(String::as_str)
    }

    /// Takes note of one. The same one again changes nothing.
    pub fn add(&mut self, refusal: ItemRefusal) {
        let ItemRefusal { at, reason } = refusal;
        if self.contains(at) {
            return;
        }
        let byte = (at / 8) as usize;
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0);
        }
        self.bits[byte] |= 1 << (at % 8);
        self.count += 1;
        if let Some(reason) = reason.filter(|_| self.keeps_reasons()) {
            self.reasons.insert(at, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_item_is_known_and_the_first_with_their_reasons() {
        let mut refused = Refused::default();
        let count = REFUSED_REASONS_MAX as u64 + 5;
        for at in (0..count).map(|i| i * 3).chain([0]) {
            refused.add(ItemRefusal { at, reason: Some(format!("reason {at}")) });
        }
        assert_eq!(refused.count(), count);
        assert!((0..count * 3).all(|at| refused.contains(at) == (at % 3 == 0)));
        assert_eq!(refused.reason(3), Some("reason 3"));
        assert_eq!(refused.reason((count - 1) * 3), None);
        assert_eq!(postcard::from_bytes::<Refused>(&postcard::to_allocvec(&refused).unwrap()).unwrap(), refused);
    }

    #[test]
    fn items_are_written_as_a_list_of_numbers() {
        let items: Items = [7, 9, 300].into_iter().collect();
        let bytes = postcard::to_allocvec(&items).unwrap();
        assert_eq!(bytes, postcard::to_allocvec(&vec![7u64, 9, 300]).unwrap());
        assert_eq!(postcard::from_bytes::<Items>(&bytes).unwrap(), items);
    }
}
