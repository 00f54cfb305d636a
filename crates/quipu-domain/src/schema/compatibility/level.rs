//! How far versions of a schema have to live with each other. The names are those of Confluent's registry.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Direction;

/// What is asked of a new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Nothing.
    None,
    /// It reads what the newest version wrote.
    #[default]
    Backward,
    /// It reads what any version wrote.
    BackwardTransitive,
    /// The newest version reads what it writes.
    Forward,
    /// Every version reads what it writes.
    ForwardTransitive,
    /// It and the newest version read each other.
    Full,
    /// It and every version read each other.
    FullTransitive,
}

const NAMES: [(Level, &str); 7] = [
    (Level::None, "none"),
    (Level::Backward, "backward"),
    (Level::BackwardTransitive, "backward-transitive"),
    (Level::Forward, "forward"),
    (Level::ForwardTransitive, "forward-transitive"),
    (Level::Full, "full"),
    (Level::FullTransitive, "full-transitive"),
];

impl Level {
    /// Its name: lower case, with `-`.
    pub fn as_str(self) -> &'static str {
        NAMES.iter().find(|(level, _)| *level == self).map_or("none", |(_, name)| name)
    }

    /// The level of a name, in whichever case, with `-` or `_`.
    pub fn parse(name: &str) -> Option<Level> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        NAMES.iter().find(|(_, known)| *known == name).map(|(level, _)| *level)
    }

    /// Whether all versions count, rather than the newest.
    pub fn is_transitive(self) -> bool {
        matches!(self, Level::BackwardTransitive | Level::ForwardTransitive | Level::FullTransitive)
    }

    /// What is left of it where upcasters make the new version read what old ones wrote: that old ones read what it writes.
    #[must_use]
    pub fn without_backward(self) -> Level {
        match self {
            Level::None | Level::Backward | Level::BackwardTransitive => Level::None,
            Level::Forward | Level::Full => Level::Forward,
            Level::ForwardTransitive | Level::FullTransitive => Level::ForwardTransitive,
        }
    }

    /// The directions that are asked for.
    pub fn directions(self) -> &'static [Direction] {
        match self {
            Level::None => &[],
            Level::Backward | Level::BackwardTransitive => &[Direction::Backward],
            Level::Forward | Level::ForwardTransitive => &[Direction::Forward],
            Level::Full | Level::FullTransitive => &[Direction::Backward, Direction::Forward],
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
