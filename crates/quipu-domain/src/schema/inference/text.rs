//! What the texts at one place look like.

use serde_json::Value;

use super::format::{ALL, FORMATS, formats};

/// Fewest texts before a format is proposed: one text that looks like a date is a coincidence.
const FORMAT_TEXTS_MIN: u64 = 5;
/// Longest example.
const EXAMPLE_BYTES_MAX: usize = 40;

/// The texts at one place.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    count: u64,
    /// The formats that all of them have.
    formats: u8,
    examples: Vec<String>,
}

impl Default for Texts {
    fn default() -> Texts {
        Texts { count: 0, formats: ALL, examples: Vec::new() }
    }
}

impl Texts {
    pub(super) fn observe(&mut self, text: &str, examples: usize) {
        self.count += 1;
        self.formats &= formats(text, self.formats);
        self.see(text, examples);
    }

    pub(super) fn merge(&mut self, other: &Texts, examples: usize) {
        self.count += other.count;
        self.formats &= other.formats;
        for text in &other.examples {
            self.see(text, examples);
        }
    }

    fn see(&mut self, text: &str, examples: usize) {
        let is_new = || !self.examples.iter().any(|seen| seen == text);
        if self.examples.len() < examples && text.len() <= EXAMPLE_BYTES_MAX && is_new() {
            self.examples.push(text.to_owned());
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The format that all texts have, where there are enough of them.
    pub(super) fn format(&self) -> Option<&'static str> {
        let all = (self.count >= FORMAT_TEXTS_MIN).then_some(self.formats)?;
        (0..FORMATS.len()).find(|bit| all & (1 << bit) != 0).map(|bit| FORMATS[bit])
    }

    pub(super) fn examples(&self) -> impl Iterator<Item = Value> + '_ {
        self.examples.iter().map(|text| Value::from(text.as_str()))
    }
}
