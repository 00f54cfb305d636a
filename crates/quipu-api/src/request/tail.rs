//! What to follow, and from where. What a client has seen last wins over where it wanted to begin.

use quipu_domain::Filter;

use super::view::{View, ViewSlots};
use super::{pairs, unknown, write_query};
use crate::parameter::{accept, filter_to_pairs, number, once};
use crate::{Code, Problem};

/// What to follow, and from where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TailRequest {
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub from: TailFrom,
    /// How they are shown.
    pub view: View,
}

/// Where a tail begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TailFrom {
    /// With the first event of the log.
    Start,
    /// With what is recorded from now on.
    #[default]
    End,
    /// With the event at this position.
    Position(u64),
}

impl TailRequest {
    /// Reads a query string; `lastEventId`, if it is there, is the position after which to resume.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        Self::from_pairs(pairs(query))
    }

    /// Reads name and value pairs, of a query string or of a `subscribe` object.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, Problem> {
        let mut filter = Filter::default();
        let (mut from, mut last, mut view) = (None, None, ViewSlots::default());
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name == "from" {
                once(name, &mut from, TailFrom::parse(name, value)?)?;
            } else if name == "lastEventId" {
                once(name, &mut last, TailFrom::after(name, value)?)?;
            } else if !view.accept(name, value)? && !accept(&mut filter, name, value)? {
                return Err(unknown(name, "a parameter of a filter, or from, lastEventId, schemaversion or data"));
            }
        }
        Ok(Self { filter, from: last.or(from).unwrap_or_default(), view: view.view() })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let from = match self.from {
            TailFrom::Start => "start".to_owned(),
            TailFrom::End => "end".to_owned(),
            TailFrom::Position(position) => position.to_string(),
        };
        write_query(filter_to_pairs(&self.filter).into_iter().chain([("from", from)]).chain(self.view.pairs()))
    }
}

impl TailFrom {
    fn parse(name: &str, value: &str) -> Result<Self, Problem> {
        match value {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => match number(name, value) {
                Ok(position) => Ok(Self::Position(position)),
                Err(_) => Err(Problem::parameter(name, "start, end or a position", value)),
            },
        }
    }

    /// Resumes after the position that a `Last-Event-ID` names.
    ///
    /// # Errors
    /// `invalid-parameter`, under that name.
    pub fn after(name: &str, value: &str) -> Result<Self, Problem> {
        Ok(Self::Position(number(name, value)?.saturating_add(1)))
    }

    /// The position after which to follow, in a log that ends at `newest`.
    ///
    /// # Errors
    /// `position-not-found` beyond the end: whoever asks for that has seen another log than this one, such as one that
    /// was since restored from an older copy, and would wait for what has another position here.
    pub fn follow_after(self, newest: u64) -> Result<u64, Problem> {
        match self {
            Self::Start => Ok(0),
            Self::End => Ok(newest),
            Self::Position(position) if position.saturating_sub(1) > newest => {
                let next = newest.saturating_add(1);
                let detail = format!(
                    "expected to begin at most at {next}, the next position to be recorded, found {position}: the log \
                     ends at {newest}"
                );
                Err(Problem::new(Code::PositionNotFound, detail).with("newest", newest))
            }
            Self::Position(position) => Ok(position.saturating_sub(1)),
        }
    }
}
