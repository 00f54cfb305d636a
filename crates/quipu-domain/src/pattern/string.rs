//! The text that a JSON string stands for. A surrogate that has no partner stands for U+FFFD: no text in UTF-8 can
//! hold it, and an event is not turned away for it.

/// Appends what the inside of a JSON string (without its quotes) stands for. Broken escapes, which only text that
/// nobody has validated can hold, stand for U+FFFD or nothing.
pub(crate) fn decode(inner: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = inner.get(at) {
        if byte != b'\\' {
            let end = memchr::memchr(b'\\', &inner[at..]).map_or(inner.len(), |i| at + i);
            out.extend_from_slice(&inner[at..end]);
            at = end;
            continue;
        }
        at += 2;
        match inner.get(at - 1) {
            Some(b'b') => out.push(8),
            Some(b'f') => out.push(12),
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'u') => at += unicode(&inner[at..], out),
            Some(&other) => out.push(other),
            None => {}
        }
    }
}

/// Appends the character of `XXXX` or `XXXX\uXXXX`; how many bytes that took.
fn unicode(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let (code, taken) = match hex(rest) {
        Some(high @ 0xD800..=0xDBFF) => match rest[4..].strip_prefix(b"\\u").and_then(hex) {
            Some(low @ 0xDC00..=0xDFFF) => (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), 10),
            _ => (high, 4),
        },
        Some(code) => (code, 4),
        None => (0xFFFD, 4.min(rest.len())),
    };
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    taken
}

fn hex(rest: &[u8]) -> Option<u32> {
    let digits = rest.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(inner: &str) -> String {
        let mut out = Vec::new();
        decode(inner.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_lone_surrogate_stands_for_the_replacement_character() {
        for text in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\u0041", r"\ud800\ud800"] {
            assert!(decoded(text).starts_with('\u{FFFD}'), "{text}");
        }
        assert_eq!(decoded(r"\ud800\u0041"), "\u{FFFD}A");
        assert_eq!(decoded(r"\ud83d\ude00 \/ \b\f\n\r\t\\\u0022"), "😀 / \u{8}\u{c}\n\r\t\\\"");
    }

    proptest! {
        #[test]
        fn decoding_undoes_what_serde_json_writes(text in any::<String>()) {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(decoded(&written[1..written.len() - 1]), text);
        }

        #[test]
        fn any_bytes_decode_to_something(bytes in prop::collection::vec(prop_oneof![Just(b'\\'), Just(b'u'), any::<u8>()], 0..20)) {
            decode(&bytes, &mut Vec::new());
        }
    }
}
