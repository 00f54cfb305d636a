//! The cursor: where the next page begins. Opaque to clients; inside it is 18 bytes in base64url:
//!
//! ```text
//! | version 1 | direction 1 | next 8, little endian | digest of the question 8 |
//! ```
//!
//! The digest (FNV-1a of the route and its filter) refuses a cursor that was given for another question. It protects
//! against mistakes, not against forgery: a forged cursor reads nothing that a position parameter could not.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use quipu_domain::Direction;

use crate::{Code, Problem};

const VERSION: u8 = 1;

/// Where the next page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The direction of reading.
    pub direction: Direction,
    /// Where to go on: a position, or within a stream a version.
    pub next: u64,
    /// The question it belongs to, of [`Cursor::digest`].
    pub question: u64,
}

impl Cursor {
    /// A digest of a question: the route and what it asks for, without direction, limit and cursor.
    pub fn digest(question: &str) -> u64 {
        question
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// The text of the cursor.
    pub fn encode(&self) -> String {
        let mut bytes = [0; 18];
        bytes[0] = VERSION;
        bytes[1] = u8::from(self.direction == Direction::Backward);
        bytes[2..10].copy_from_slice(&self.next.to_le_bytes());
        bytes[10..].copy_from_slice(&self.question.to_le_bytes());
        BASE64URL.encode(bytes)
    }

    /// Reads a cursor that must belong to a question.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn decode(text: &str, question: u64) -> Result<Self, Problem> {
        let bytes = BASE64URL.decode(text).ok().and_then(|bytes| <[u8; 18]>::try_from(bytes).ok());
        let Some([VERSION, direction @ (0 | 1), rest @ ..]) = bytes else {
            return Err(Self::unread());
        };
        let number = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| rest[at + i]));
        let direction = if direction == 0 { Direction::Forward } else { Direction::Backward };
        let cursor = Self { direction, next: number(0), question: number(8) };
        if cursor.question != question {
            return Err(Self::of_another());
        }
        Ok(cursor)
    }

    pub(crate) fn unread() -> Problem {
        Problem::new(Code::InvalidCursor, "expected a cursor from an earlier page, found another text")
    }

    pub(crate) fn of_another() -> Problem {
        let detail =
            "expected a cursor of the same filter, found one of another: repeat the parameters of the first page";
        Problem::new(Code::InvalidCursor, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(next: u64, backward: bool, question in "[a-z=&]{0,20}") {
            let direction = if backward { Direction::Backward } else { Direction::Forward };
            let cursor = Cursor { direction, next, question: Cursor::digest(&question) };
            prop_assert_eq!(Cursor::decode(&cursor.encode(), cursor.question), Ok(cursor));
            prop_assert!(Cursor::decode(&cursor.encode(), cursor.question ^ 1).is_err());
        }

        #[test]
        fn any_text_is_refused_or_read_but_never_panics(text in ".{0,40}") {
            let _ = Cursor::decode(&text, 0);
        }
    }
}
