//! What goes wrong: a transformation that makes no sense, found when the subscription is made, and one that makes
//! nothing of an event, which ends in a dead letter.

use std::fmt;

/// Longest part of an expression in a message: who wrote it knows the rest. Characters.
const EXPRESSION_CHARS_MAX: usize = 256;
/// Longest reason: it may hold values of the event. Characters.
const REASON_CHARS_MAX: usize = 512;

/// A transformation that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTransform {
    /// The member, as a JSON pointer into the subscription: `/transform/jq`.
    pub pointer: String,
    /// Its text, cut to 256 characters.
    pub expression: String,
    /// What was expected and what was found.
    pub reason: String,
    /// Where in the text, from line 1.
    pub line: usize,
    /// Where in the line, in characters from column 1.
    pub column: usize,
}

impl InvalidTransform {
    /// `at` is a byte of the expression.
    pub(crate) fn new(pointer: impl Into<String>, expression: &str, at: usize, reason: impl Into<String>) -> Self {
        let before = expression.get(..at).unwrap_or(expression);
        let line_before = before.rsplit('\n').next().unwrap_or_default();
        Self {
            pointer: pointer.into(),
            expression: cut(expression, EXPRESSION_CHARS_MAX),
            reason: cut(&reason.into(), REASON_CHARS_MAX),
            line: before.matches('\n').count() + 1,
            column: line_before.chars().count() + 1,
        }
    }
}

impl fmt::Display for InvalidTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pointer, expression, reason, line, column } = self;
        write!(f, "{pointer}: {reason}, at line {line}, column {column} of {expression:?}")
    }
}

impl std::error::Error for InvalidTransform {}

/// Why a transformation made nothing of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformFault {
    /// The path, the template or the jq expression, cut to 256 characters.
    pub expression: String,
    /// What was expected and what was found, cut to 512 characters.
    pub reason: String,
}

impl TransformFault {
    pub(super) fn new(expression: &str, reason: &str) -> Self {
        Self { expression: cut(expression, EXPRESSION_CHARS_MAX), reason: cut(reason, REASON_CHARS_MAX) }
    }
}

impl fmt::Display for TransformFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.expression, self.reason)
    }
}

impl std::error::Error for TransformFault {}

fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}
