//! Text by characters: jq counts Unicode code points where Rust counts bytes.

use std::ops::Range;

/// The bytes of a range of characters, which must not reach beyond the end.
pub(super) fn byte_range(text: &str, chars: Range<usize>) -> Range<usize> {
    let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let start = starts.nth(chars.start).unwrap_or(text.len());
    let end = match chars.end.checked_sub(chars.start + 1) {
        None => start,
        Some(more) => starts.nth(more).unwrap_or(text.len()),
    };
    start..end
}

/// Turns bytes into characters, for bytes that only go up.
pub(super) struct CharCounter<'a> {
    text: &'a str,
    byte: usize,
    chars: usize,
}

impl<'a> CharCounter<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, byte: 0, chars: 0 }
    }

    /// The characters before a byte. One that lies before the last is counted anew.
    pub fn chars_before(&mut self, byte: usize) -> usize {
        if byte < self.byte {
            (self.byte, self.chars) = (0, 0);
        }
        self.chars += self.text[self.byte..byte].chars().count();
        self.byte = byte;
        self.chars
    }
}
