//! Wildcards: `*` stands for any bytes, also none; `\*` and `\\` stand for `*` and `\`. Kept as the literals between
//! the stars. Each of them is looked for once, behind the one before it, so a match costs about the length of the value
//! however many stars there are; taking the leftmost place for each loses no match.

use memchr::memmem;

/// Texts that are looked through without preparation.
const SHORT_BYTES: usize = 24;

/// A checked wildcard.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wildcard {
    /// As it was written.
    pub(crate) text: String,
    /// What stands before, between and behind the stars: one more than there are stars.
    literals: Vec<Vec<u8>>,
}

impl Wildcard {
    /// What was expected, where the text is none.
    pub(crate) fn parse(text: &str) -> Result<Wildcard, &'static str> {
        let (mut literals, mut literal) = (Vec::new(), Vec::new());
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'*' if bytes.peek() == Some(&b'*') => return Err("one * at a time"),
                b'*' => literals.push(std::mem::take(&mut literal)),
                b'\\' => match bytes.next() {
                    Some(escaped @ (b'*' | b'\\')) => literal.push(escaped),
                    _ => return Err("\\* or \\\\, the only escapes"),
                },
                other => literal.push(other),
            }
        }
        literals.push(literal);
        Ok(Wildcard { text: text.to_owned(), literals })
    }

    pub(crate) fn accepts(&self, value: &[u8]) -> bool {
        match self.literals.as_slice() {
            [first, between @ .., last] => {
                let Some(rest) = value.strip_prefix(first.as_slice()) else { return false };
                let Some(mut rest) = rest.strip_suffix(last.as_slice()) else { return false };
                for literal in between {
                    let Some(at) = find(rest, literal) else { return false };
                    rest = &rest[at + literal.len()..];
                }
                true
            }
            [only] => value == only,
            [] => false,
        }
    }

    /// Whether texts have to be searched: one that only begins or ends with something is found by order.
    pub(crate) fn is_searched(&self) -> bool {
        match self.literals.as_slice() {
            [_] => false,
            [first, last] => !first.is_empty() && !last.is_empty(),
            _ => true,
        }
    }

    /// The literal that every value equals, begins with and ends with, and those that it holds in between.
    pub(crate) fn parts(&self) -> Parts<'_> {
        match self.literals.as_slice() {
            [first, between @ .., last] => Parts::Starred { first, between, last },
            [only] => Parts::Whole(only),
            [] => Parts::Whole(&[]),
        }
    }
}

/// Where a literal begins. Preparing a search costs more than looking through a short text.
fn find(text: &[u8], literal: &[u8]) -> Option<usize> {
    if literal.len() > text.len() {
        return None;
    }
    if text.len() > SHORT_BYTES {
        return memmem::find(text, literal);
    }
    let mut windows = (0..=text.len() - literal.len()).map(|at| (at, &text[at..at + literal.len()]));
    windows.find(|(_, window)| *window == literal).map(|(at, _)| at)
}

/// What an index can look a wildcard up by.
pub(crate) enum Parts<'a> {
    /// No star: only this value.
    Whole(&'a [u8]),
    /// The literals around the stars; any may be empty.
    Starred { first: &'a [u8], between: &'a [Vec<u8>], last: &'a [u8] },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_takes_any_bytes() {
        for (wildcard, value, takes) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("abc", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcbc", true),
            ("a*c", "abcb", false),
            ("ab*bc", "abc", false),
            ("*a*b*", "xbya", false),
            ("*a*b*", "xaxbx", true),
            ("a*b*c", "abbc", true),
            ("a*ab", "ab", false),
            (r"a\*c", "a*c", true),
            (r"a\*c", "abc", false),
            (r"\\*", r"\x", true),
            (r"*\\", r"x\", true),
            ("*ß*", "Maßes", true),
        ] {
            assert_eq!(Wildcard::parse(wildcard).unwrap().accepts(value.as_bytes()), takes, "{wildcard} {value}");
        }
    }

    #[test]
    fn two_stars_and_unknown_escapes_are_refused() {
        for text in ["**", "a**b", r"\d", r"a\", r"*\"] {
            assert!(Wildcard::parse(text).is_err(), "{text}");
        }
        assert!(Wildcard::parse(r"*\**").is_ok());
    }
}
