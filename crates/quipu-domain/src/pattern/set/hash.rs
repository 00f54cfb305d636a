//! The hash of names and values. Fast on the short strings that events are made of: two loads and two
//! multiplications up to 16 bytes.
//!
//! It is not secret. Whoever may add patterns to a tenant can make them collide, which slows that tenant's matching
//! down; events cannot, since they are only looked up. A hash only ever finds candidates; what matches is decided on
//! the values themselves.

const A: u64 = 0x9E37_79B9_7F4A_7C15;
const B: u64 = 0xD6E8_FEB8_6659_FD93;

/// Both halves of a product, so that every bit of either side counts.
#[inline]
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ A) * u128::from(b ^ B);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let length = bytes.len() as u64;
    let (first, last) = match bytes.len() {
        0 => (0, 0),
        1..=3 => (u64::from(bytes[0]) << 8 | u64::from(bytes[bytes.len() / 2]), u64::from(bytes[bytes.len() - 1])),
        4..=7 => (four(bytes, 0), four(bytes, bytes.len() - 4)),
        8..=16 => (eight(bytes, 0), eight(bytes, bytes.len() - 8)),
        _ => return long(bytes),
    };
    mix(first ^ length, mix(last, length))
}

fn long(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64;
    let mut at = 0;
    while at + 16 < bytes.len() {
        state = mix(eight(bytes, at) ^ state, eight(bytes, at + 8));
        at += 16;
    }
    mix(eight(bytes, bytes.len() - 16) ^ state, eight(bytes, bytes.len() - 8))
}

#[inline]
fn four(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from(u32::from_le_bytes(*chunk)))
}

/// Eight bytes as a number; `at + 8` must be inside.
#[inline]
pub(super) fn eight(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn different_texts_have_different_hashes() {
        let mut texts = HashSet::new();
        for n in 0..30_000u32 {
            texts.extend([format!("{n}"), format!("order-{n:08}"), format!("{n:040}"), "ab".repeat(n as usize % 99)]);
        }
        let hashes: HashSet<u64> = texts.iter().map(|text| hash(text.as_bytes())).collect();
        assert_eq!(hashes.len(), texts.len());
    }
}
