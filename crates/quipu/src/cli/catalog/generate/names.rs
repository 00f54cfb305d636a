//! Names that a language can have, made of any text: letters, digits and underscores, each once.

use std::collections::HashSet;

/// The names that are taken in one place.
#[derive(Default)]
pub struct Names(HashSet<String>);

impl Names {
    pub fn of(taken: &[&str]) -> Self {
        Self(taken.iter().map(|name| (*name).to_owned()).collect())
    }

    /// The name, with a number behind it if it is taken.
    pub fn take(&mut self, name: String) -> String {
        let mut free = name.clone();
        let mut number = 2;
        while !self.0.insert(free.clone()) {
            free = format!("{name}{}{number}", if name.ends_with(|c: char| c.is_ascii_digit()) { "_" } else { "" });
            number += 1;
        }
        free
    }
}

/// `OrderPlacedV2` of `order.placed.v2`.
pub fn pascal(text: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(chars).collect::<String>()
    };
    begun(text.split(|c: char| !c.is_ascii_alphanumeric()).map(word).collect(), "Empty")
}

/// `order_placed_v2` of `order.placed.v2` and of `orderPlaced.v2`.
pub fn snake(text: &str) -> String {
    let mut out = String::new();
    let mut was_lower = false;
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
        } else {
            if c.is_ascii_uppercase() && was_lower {
                out.push('_');
            }
            out.push(c.to_ascii_lowercase());
        }
        was_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
    }
    begun(out.trim_end_matches('_').to_owned(), "empty")
}

/// Whether a character has no place in a comment: controls, also those that turn the direction of text, which may show code as other
/// than it is and which rustc refuses.
pub fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name begins with a letter.
fn begun(name: String, empty: &str) -> String {
    match name.chars().next() {
        None => empty.to_owned(),
        Some(first) if first.is_ascii_digit() => format!("{}{name}", if empty == "Empty" { "N" } else { "n" }),
        Some(_) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name() {
        let table = [
            ("order.placed.v2", "OrderPlacedV2", "order_placed_v2"),
            ("pull_request", "PullRequest", "pull_request"),
            ("isOpen", "IsOpen", "is_open"),
            ("+1", "N1", "n1"),
            ("", "Empty", "empty"),
            ("ö", "Empty", "empty"),
            ("URL", "URL", "url"),
        ];
        for (text, in_pascal, in_snake) in table {
            assert_eq!((pascal(text).as_str(), snake(text).as_str()), (in_pascal, in_snake), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let mut names = Names::of(&["Event"]);
        let taken: Vec<_> = ["Event", "A", "A", "A1", "A1"].map(|name| names.take(name.to_owned())).into();
        assert_eq!(taken, ["Event2", "A", "A2", "A1", "A1_2"]);
    }
}
