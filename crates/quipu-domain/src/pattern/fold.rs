//! Equality that ignores case: character by character, a value may show the upper or the lower case form of the
//! pattern's character, as Unicode maps it without any language. It is not symmetric: `ß` in a pattern takes `SS`, `S`
//! does not take `ſ`. The forms of one character may differ in length.
//!
//! [`fold`] maps everything that a pattern takes to one text, so that a hash finds it; it may map more.

/// How many bytes at the start of `value` the whole of `pattern` takes.
pub(crate) fn prefix_bytes(pattern: &str, value: &[u8]) -> Option<usize> {
    if pattern.is_ascii() {
        let head = value.get(..pattern.len())?;
        return head.eq_ignore_ascii_case(pattern.as_bytes()).then_some(pattern.len());
    }
    // No form of a character begins with the other, so the first that fits is the only one (tested below).
    let mut rest = value;
    for character in pattern.chars() {
        rest = strip_front(rest, character.to_lowercase()).or_else(|| strip_front(rest, character.to_uppercase()))?;
    }
    Some(value.len() - rest.len())
}

/// Whether the whole of `pattern` takes the end of `value`.
pub(crate) fn is_suffix(pattern: &str, value: &[u8]) -> bool {
    if pattern.is_ascii() {
        let start = value.len().checked_sub(pattern.len());
        return start.is_some_and(|start| value[start..].eq_ignore_ascii_case(pattern.as_bytes()));
    }
    let mut rest = value;
    for character in pattern.chars().rev() {
        let forms = [strip_back(rest, character.to_lowercase()), strip_back(rest, character.to_uppercase())];
        let Some(shorter) = forms.into_iter().flatten().next() else { return false };
        rest = shorter;
    }
    true
}

fn strip_front(value: &[u8], form: impl Iterator<Item = char>) -> Option<&[u8]> {
    let mut rest = value;
    for character in form {
        rest = rest.strip_prefix(character.encode_utf8(&mut [0; 4]).as_bytes())?;
    }
    Some(rest)
}

fn strip_back(value: &[u8], form: impl DoubleEndedIterator<Item = char>) -> Option<&[u8]> {
    let mut rest = value;
    for character in form.rev() {
        rest = rest.strip_suffix(character.encode_utf8(&mut [0; 4]).as_bytes())?;
    }
    Some(rest)
}

/// Appends the folded form of a text. What is no UTF-8 stays as it is: no pattern takes it.
pub(crate) fn fold(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text);
    if text.is_ascii() {
        out[start..].make_ascii_lowercase();
        return;
    }
    if let Ok(text) = std::str::from_utf8(text) {
        out.truncate(start);
        let mut buffer = [0; 4];
        // Thrice, since `ẞ` has only a lower case form, `ß`, which has only an upper case form, `SS`.
        let forms = text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
        forms.for_each(|c| out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        fold(text.as_bytes(), &mut out);
        out
    }

    fn equals(pattern: &str, value: &str) -> bool {
        prefix_bytes(pattern, value.as_bytes()) == Some(value.len())
    }

    #[test]
    fn a_value_may_show_either_form_of_each_character() {
        for (pattern, value, takes) in [
            ("aBc", "ABC", true),
            ("aBc", "abc ", false),
            ("straße", "STRASSE", true),
            ("straße", "straße", true),
            ("STRASSE", "straße", false),
            ("k", "\u{212A}", false),
            ("\u{212A}", "k", true),
            ("\u{3B0}", "\u{3A5}\u{308}\u{301}", true),
            ("ⱥx", "ȺX", true),
            ("", "", true),
        ] {
            assert_eq!(equals(pattern, value), takes, "{pattern} {value}");
        }
        assert_eq!(prefix_bytes("ß", b"SSA"), Some(2));
        assert!(is_suffix("aß", "xASS".as_bytes()) && is_suffix("é", "É".as_bytes()) && !is_suffix("é", b"e"));
    }

    #[test]
    fn the_forms_of_a_character_fold_alike_and_none_begins_or_ends_with_the_other() {
        for c in (0..=0x10_FFFF).filter_map(char::from_u32) {
            if c.to_lowercase().eq([c]) && c.to_uppercase().eq([c]) {
                continue;
            }
            let (lower, upper): (String, String) = (c.to_lowercase().collect(), c.to_uppercase().collect());
            assert_eq!(folded(&lower), folded(&upper), "{c}");
            assert_eq!(folded(&lower), folded(&c.to_string()), "{c}");
            if lower != upper {
                assert!(!lower.starts_with(&upper) && !upper.starts_with(&lower), "{c}");
                assert!(!lower.ends_with(&upper) && !upper.ends_with(&lower), "{c}");
            }
        }
    }
}
