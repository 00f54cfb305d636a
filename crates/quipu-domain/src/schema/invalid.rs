//! Why a text is not a schema that can be registered: where, what was expected there, and what was found.

use std::fmt;

use super::draft::Draft;

/// A refused schema. Pointers are JSON pointers into the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidSchema {
    /// The text is not JSON.
    NotJson {
        /// Where and why.
        reason: String,
    },
    /// The text is too long.
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest.
        max: usize,
    },
    /// There is more of something than is allowed.
    TooMany {
        /// Where.
        pointer: String,
        /// Of what, in the plural.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// The most.
        max: u64,
    },
    /// `$schema` names no draft that is understood, or another than at the root.
    UnknownDraft {
        /// Where.
        pointer: String,
        /// What it names.
        found: String,
    },
    /// It breaks a rule of its draft.
    Malformed {
        /// Where.
        pointer: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A pattern that is no regular expression which is matched in linear time.
    Pattern {
        /// Where.
        pointer: String,
        /// The pattern, clipped.
        pattern: String,
    },
    /// A reference to something that is neither in the text nor registered.
    UnknownReference {
        /// Where.
        pointer: String,
        /// The reference, clipped.
        reference: String,
    },
    /// A reference into a document that has no schema there.
    DanglingReference {
        /// Where.
        pointer: String,
        /// The reference, clipped.
        reference: String,
    },
    /// A reference to a document of another draft.
    OtherDraft {
        /// Where.
        pointer: String,
        /// The draft of the text.
        expected: Draft,
        /// The draft of the document.
        found: Draft,
    },
    /// Two schemas of one name: an anchor or an `$id` twice, or a dynamic anchor that a schema which is referred to has
    /// as well, so that what it means would depend on how it was reached.
    AmbiguousAnchor {
        /// Where.
        pointer: String,
        /// The name.
        anchor: String,
    },
    /// A schema that applies itself to the very value it is applied to.
    Cycle {
        /// Where.
        pointer: String,
    },
    /// A recursive schema that comes to the same value on more than one way, so that each level doubles the work.
    BranchingRecursion {
        /// Where.
        pointer: String,
    },
}

impl InvalidSchema {
    /// The place as a JSON pointer; nothing where the text as a whole is refused.
    pub fn pointer(&self) -> Option<&str> {
        match self {
            InvalidSchema::NotJson { .. } | InvalidSchema::TooLarge { .. } => None,
            InvalidSchema::TooMany { pointer, .. }
            | InvalidSchema::UnknownDraft { pointer, .. }
            | InvalidSchema::Malformed { pointer, .. }
            | InvalidSchema::Pattern { pointer, .. }
            | InvalidSchema::UnknownReference { pointer, .. }
            | InvalidSchema::DanglingReference { pointer, .. }
            | InvalidSchema::OtherDraft { pointer, .. }
            | InvalidSchema::AmbiguousAnchor { pointer, .. }
            | InvalidSchema::Cycle { pointer }
            | InvalidSchema::BranchingRecursion { pointer } => Some(pointer),
        }
    }
}

impl fmt::Display for InvalidSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidSchema::NotJson { reason } => return write!(f, "expected a JSON Schema, found {reason}"),
            InvalidSchema::TooLarge { bytes, max } => {
                return write!(f, "expected a schema of at most {max} bytes, found {bytes}");
            }
            InvalidSchema::TooMany { what, found, max, .. } => {
                write!(f, "expected at most {max} {what}, found {found}")?;
            }
            InvalidSchema::UnknownDraft { found, .. } => write!(
                f,
                "expected one of the drafts 4, 6, 7, 2019-09 and 2020-12, the same in all of the schema, \
                 found {found:?}"
            )?,
            InvalidSchema::Malformed { expected, found, .. } => write!(f, "expected {expected}, found {found}")?,
            InvalidSchema::Pattern { pattern, .. } => write!(
                f,
                "expected a regular expression without look-around and back-references, not too large when it is \
                 compiled, found {pattern:?}"
            )?,
            InvalidSchema::UnknownReference { reference, .. } => write!(
                f,
                "expected a reference into this schema (#/$defs/name) or to a registered one \
                 (quipu:order.address.v1, or a name that is given with the schema), found {reference:?}"
            )?,
            InvalidSchema::DanglingReference { reference, .. } => {
                write!(f, "expected a reference to a place that has a schema, found {reference:?}")?;
            }
            InvalidSchema::OtherDraft { expected, found, .. } => {
                write!(f, "expected a reference to a schema of {}, found one of {}", expected.uri(), found.uri())?;
            }
            InvalidSchema::AmbiguousAnchor { anchor, .. } => write!(
                f,
                "expected an anchor or $id that only one schema has, for dynamic anchors also of those that are \
                 referred to, found {anchor:?} twice"
            )?,
            InvalidSchema::Cycle { .. } => f.write_str(
                "expected a schema that goes into a field or an item before it refers to itself, found one that \
                 applies itself to the same value",
            )?,
            InvalidSchema::BranchingRecursion { .. } => f.write_str(
                "expected a recursive schema that reaches each field or item on one way, found one that reaches it \
                 from two branches of allOf, anyOf, oneOf or the like, which would double the work at each level",
            )?,
        }
        match self.pointer() {
            None | Some("") => f.write_str(" at the root"),
            Some(pointer) => write!(f, " at {pointer}"),
        }
    }
}

impl std::error::Error for InvalidSchema {}
