//! What is asked of schemas.

use crate::parameter::number;
use crate::problem::clip;
use crate::{Code, Problem};

use super::{pairs, unknown};

/// Which two versions are told apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffRequest {
    /// The version before.
    pub from: Option<u32>,
    /// The version after.
    pub to: Option<u32>,
}

impl DiffRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// A parameter is unknown or no version; the problem says which.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut asked = Self::default();
        for (name, value) in pairs(query) {
            let place = match name.as_ref() {
                "from" => &mut asked.from,
                "to" => &mut asked.to,
                _ => return Err(unknown(&name, "from or to")),
            };
            if place.replace(version(&name, &value)?).is_some() {
                return Err(twice(&name));
            }
        }
        Ok(asked)
    }
}

/// Which stored events are read as which version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyRequest {
    /// The version; the newest without it.
    pub version: Option<u32>,
    /// The position after which to begin.
    pub after: u64,
}

impl VerifyRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// A parameter is unknown or no number; the problem says which.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let (mut asked, mut after) = (Self::default(), None);
        for (name, text) in pairs(query) {
            let is_twice = match name.as_ref() {
                "version" => asked.version.replace(version(&name, &text)?).is_some(),
                "after" => after.replace(number(&name, &text)?).is_some(),
                _ => return Err(unknown(&name, "version or after")),
            };
            if is_twice {
                return Err(twice(&name));
            }
        }
        Ok(Self { after: after.unwrap_or_default(), ..asked })
    }
}

/// Whether a schema is asked for with those that it refers to.
///
/// # Errors
/// A parameter is unknown or no such word; the problem says which.
pub fn bundled(query: &str) -> Result<bool, Problem> {
    let mut asked = None;
    for (name, value) in pairs(query) {
        let word = match (name.as_ref(), value.as_ref()) {
            ("bundled", "true") => true,
            ("bundled", "false") => false,
            ("bundled", other) => {
                let detail = format!("expected true or false, found {}", clip(other));
                return Err(Problem::new(Code::InvalidParameter, detail).with("parameter", "bundled"));
            }
            _ => return Err(unknown(&name, "bundled")),
        };
        if asked.replace(word).is_some() {
            return Err(twice(&name));
        }
    }
    Ok(asked.unwrap_or(false))
}

/// Reads a version.
///
/// # Errors
/// It is none.
pub fn version(name: &str, text: &str) -> Result<u32, Problem> {
    text.parse().ok().filter(|version| *version > 0).ok_or_else(|| {
        let detail = format!("expected a version from 1, found {}", clip(text));
        Problem::new(Code::InvalidParameter, detail).with("parameter", clip(name))
    })
}

fn twice(name: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("expected {} once, found it twice", clip(name)))
        .with("parameter", clip(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_words_are_read_and_nothing_else() {
        assert_eq!(DiffRequest::from_query("to=3&from=1"), Ok(DiffRequest { from: Some(1), to: Some(3) }));
        assert_eq!(DiffRequest::from_query(""), Ok(DiffRequest::default()));
        assert_eq!((bundled(""), bundled("bundled=true"), bundled("bundled=false")), (Ok(false), Ok(true), Ok(false)));
        let verify = VerifyRequest { version: Some(2), after: 7 };
        assert_eq!(VerifyRequest::from_query("version=2&after=7"), Ok(verify));
        for query in ["version=0", "after=x", "after=1&after=1", "from=1"] {
            let problem = VerifyRequest::from_query(query).unwrap_err();
            assert_eq!(problem.code(), Some(Code::InvalidParameter), "{query}");
        }
        for query in ["from=0", "from=x", "from=1&from=1", "since=1"] {
            assert_eq!(DiffRequest::from_query(query).unwrap_err().code(), Some(Code::InvalidParameter), "{query}");
        }
        for query in ["bundled=yes", "bundled=true&bundled=true", "b=1"] {
            assert_eq!(bundled(query).unwrap_err().code(), Some(Code::InvalidParameter), "{query}");
        }
    }
}
