//! Which attempt of which step: the name of a command, the same for ever.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::plan::NodeId;

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// To do a step.
    Command,
    /// To undo it.
    Compensation,
    /// To undo it once more, since it succeeded after it was undone.
    Late,
    /// To say how the saga ended.
    End,
}

/// One attempt of one run of a step. Written `node.iteration/attempt`, a compensation `node.iteration/c/attempt`, a late one
/// `node.iteration/late/attempt`, the end `end/attempt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Attempt {
    /// The step.
    pub node: NodeId,
    /// Which run of it, in loops; 0 elsewhere.
    pub iteration: u16,
    /// 1, 2, 3 …, counted for each purpose but for compensations, of which a late one counts on.
    pub number: u16,
    /// What it is for.
    pub purpose: Purpose,
}

impl Attempt {
    /// What all attempts of the same purpose have in common: the end of the idempotency key.
    ///
    /// ```
    /// use quipu_domain::saga::{Attempt, Purpose};
    /// let attempt = Attempt { node: 3, iteration: 0, number: 2, purpose: Purpose::Compensation };
    /// assert_eq!((attempt.key().as_str(), attempt.to_string().as_str()), ("3.0/c", "3.0/c/2"));
    /// assert_eq!("3.0/c/2".parse(), Ok(attempt));
    /// ```
    pub fn key(&self) -> String {
        let Self { node, iteration, .. } = self;
        match self.purpose {
            Purpose::Command => format!("{node}.{iteration}"),
            Purpose::Compensation => format!("{node}.{iteration}/c"),
            Purpose::Late => format!("{node}.{iteration}/late"),
            Purpose::End => "end".to_owned(),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key(), self.number)
    }
}

/// A text that names no attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnAttempt;

impl FromStr for Attempt {
    type Err = NotAnAttempt;

    fn from_str(text: &str) -> Result<Self, NotAnAttempt> {
        let (key, number) = text.rsplit_once('/').ok_or(NotAnAttempt)?;
        let number: u16 = number.parse().map_err(|_| NotAnAttempt)?;
        let (run, purpose) = match key.split_once('/') {
            None if key == "end" => ("0.0", Purpose::End),
            None => (key, Purpose::Command),
            Some((run, "c")) => (run, Purpose::Compensation),
            Some((run, "late")) => (run, Purpose::Late),
            Some(_) => return Err(NotAnAttempt),
        };
        let (node, iteration) = run.split_once('.').ok_or(NotAnAttempt)?;
        let node = node.parse().map_err(|_| NotAnAttempt)?;
        let iteration = iteration.parse().map_err(|_| NotAnAttempt)?;
        let read = Self { node, iteration, number, purpose };
        // `+1` and `01` are numbers too, and no name that was given.
        if read.to_string() == text { Ok(read) } else { Err(NotAnAttempt) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_nothing_else_is_one() {
        for purpose in [Purpose::Command, Purpose::Compensation, Purpose::Late] {
            let attempt = Attempt { node: 255, iteration: 1_999, number: 65_535, purpose };
            assert_eq!(attempt.to_string().parse(), Ok(attempt));
        }
        let end = Attempt { node: 0, iteration: 0, number: 1, purpose: Purpose::End };
        assert_eq!((end.to_string().as_str(), "end/1".parse()), ("end/1", Ok(end)));
        for text in
            ["", "1", "1/1", "1.0", "1.0/", "+1.0/1", "1.0/01", "1.0/x/1", "1.0/c/c/1", "end", "1.0/1/", "70000.0/1"]
        {
            assert_eq!(text.parse::<Attempt>(), Err(NotAnAttempt), "{text}");
        }
    }
}
