//! Finds the ends of strings and containers in JSON text without looking at each byte by itself: sixteen at a time,
//! as the vector instructions that every x86-64 and ARM64 has do it. Bytes that are no JSON give some place or none,
//! never a panic.

use wide::u8x16;

/// The end of a string.
pub(super) struct StringEnd {
    /// Where its closing quote is.
    pub(super) quote: usize,
    pub(super) has_escapes: bool,
    pub(super) has_dots: bool,
}

#[inline]
fn chunk(bytes: &[u8], at: usize) -> Option<u8x16> {
    bytes.get(at..)?.first_chunk::<16>().map(|chunk| u8x16::new(*chunk))
}

/// The end of the string whose inside begins at `at`.
#[inline]
pub(super) fn string_end(text: &[u8], mut at: usize) -> Option<StringEnd> {
    let (mut has_escapes, mut has_dots) = (false, false);
    loop {
        let Some(bytes) = chunk(text, at) else { return short_end(text, at, has_escapes, has_dots) };
        let stops = (bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\'))).to_bitmask();
        let dots = bytes.simd_eq(u8x16::splat(b'.')).to_bitmask();
        if stops == 0 {
            has_dots |= dots != 0;
            at += 16;
            continue;
        }
        let stop = stops.trailing_zeros();
        has_dots |= dots & ((1 << stop) - 1) != 0;
        at += stop as usize;
        if text[at] == b'"' {
            return Some(StringEnd { quote: at, has_escapes, has_dots });
        }
        has_escapes = true;
        at += 2;
    }
}

/// The same for the last 15 bytes of a text.
fn short_end(text: &[u8], mut at: usize, mut has_escapes: bool, mut has_dots: bool) -> Option<StringEnd> {
    loop {
        match text.get(at)? {
            b'"' => return Some(StringEnd { quote: at, has_escapes, has_dots }),
            b'\\' => {
                has_escapes = true;
                at += 1;
            }
            b'.' => has_dots = true,
            _ => {}
        }
        at += 1;
    }
}

/// What is behind the object or array that begins at `at`.
pub(super) fn container_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0;
    // All ones if the block begins inside of a string; whether its first byte is escaped.
    let (mut inside, mut escaped) = (0u64, false);
    while at < text.len() {
        let block = Block::read(text, at);
        let quotes = if block.backslashes == 0 && !escaped {
            block.quotes
        } else {
            block.quotes & !escaped_bytes(block.backslashes, &mut escaped)
        };
        let strings = prefix_xor(quotes) ^ inside;
        inside = ((strings as i64) >> 63) as u64;
        let (opens, closes) = (block.opens & !strings, block.closes & !strings);
        if closes.count_ones() < depth {
            depth = depth + opens.count_ones() - closes.count_ones();
        } else {
            let mut brackets = opens | closes;
            while brackets != 0 {
                let bit = brackets & brackets.wrapping_neg();
                if opens & bit != 0 {
                    depth += 1;
                } else if depth <= 1 {
                    return Some(at + bit.trailing_zeros() as usize + 1);
                } else {
                    depth -= 1;
                }
                brackets ^= bit;
            }
        }
        at += 64;
    }
    None
}

/// 64 bytes as bit masks.
struct Block {
    quotes: u64,
    backslashes: u64,
    opens: u64,
    closes: u64,
}

impl Block {
    #[inline]
    fn read(text: &[u8], at: usize) -> Block {
        if let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk::<64>()) {
            return Block::of(bytes);
        }
        let mut padded = [b' '; 64];
        let rest = text.get(at..).unwrap_or_default();
        padded[..rest.len()].copy_from_slice(rest);
        Block::of(&padded)
    }

    #[inline]
    fn of(bytes: &[u8; 64]) -> Block {
        let mut block = Block { quotes: 0, backslashes: 0, opens: 0, closes: 0 };
        let (quarters, _) = bytes.as_chunks::<16>();
        for (index, quarter) in quarters.iter().enumerate() {
            let bytes = u8x16::new(*quarter);
            let mask =
                |byte: u8, bytes: u8x16| u64::from(bytes.simd_eq(u8x16::splat(byte)).to_bitmask()) << (index * 16);
            // `[` and `]` differ from `{` and `}` by the one bit that is set here; nothing else becomes a brace.
            let braces = bytes | u8x16::splat(0x20);
            block.quotes |= mask(b'"', bytes);
            block.backslashes |= mask(b'\\', bytes);
            block.opens |= mask(b'{', braces);
            block.closes |= mask(b'}', braces);
        }
        block
    }
}

/// The bytes that stand behind a backslash which is not escaped itself.
fn escaped_bytes(mut backslashes: u64, first_is_escaped: &mut bool) -> u64 {
    let mut escaped = u64::from(*first_is_escaped);
    backslashes &= !escaped;
    *first_is_escaped = false;
    while backslashes != 0 {
        let bit = backslashes & backslashes.wrapping_neg();
        *first_is_escaped = bit == 1 << 63;
        escaped |= bit << 1;
        backslashes &= !(bit | bit << 1);
    }
    escaped
}

/// Each bit becomes the parity of the bits up to it: one between an opening quote and its closing one.
#[inline]
fn prefix_xor(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = serde_json::Value> {
        let text = prop_oneof!["[a-z\"\\\\\\[\\]{}.é]{0,40}", Just("\\".repeat(63)), Just("\"]".to_owned())];
        let leaf = prop_oneof![text.prop_map(serde_json::Value::from), Just(serde_json::Value::Null)];
        leaf.prop_recursive(5, 60, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[a-z.\"\\\\]{0,20}", inner, 0..8)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_end_of_a_container_is_where_its_text_ends(value in value(), tail in "[\\]}{\\[\",:a]{0,80}") {
            let text = serde_json::json!([value]).to_string();
            let whole = format!("{text}{tail}");
            prop_assert_eq!(container_end(whole.as_bytes(), 0), Some(text.len()));
            prop_assert_eq!(container_end(&whole.as_bytes()[..text.len() - 1], 0), None);
        }

        #[test]
        fn the_end_of_a_string_is_its_closing_quote(inside in "[a-z.\"\\\\é]{0,70}", tail in "[\",a]{0,40}") {
            let text = serde_json::to_string(&inside).unwrap();
            let end = string_end(format!("{text}{tail}").as_bytes(), 1).unwrap();
            prop_assert_eq!(end.quote, text.len() - 1);
            prop_assert_eq!(end.has_escapes, text.contains('\\'));
            prop_assert_eq!(end.has_dots, inside.contains('.'));
        }

        #[test]
        fn any_bytes_end_somewhere_or_nowhere(bytes in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'['), Just(b']'), any::<u8>()], 0..200), at in 0usize..220) {
            string_end(&bytes, at);
            container_end(&bytes, at);
        }
    }
}
