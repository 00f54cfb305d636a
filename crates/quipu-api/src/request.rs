//! The questions of a reader, read from parameters and written to them: an unknown or repeated parameter is refused
//! rather than ignored, since a filter with a typing mistake would return too much.

use std::borrow::Cow;

use quipu_domain::limits::{PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX};
use quipu_domain::{Direction, Filter};

use crate::parameter::{accept, filter_to_pairs, filter_to_query, number, once};
use crate::{Code, Cursor, Problem};

/// Which events to read, and which page of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReadRequest {
    /// Which events.
    pub filter: Filter,
    /// The direction, if one was given.
    pub direction: Option<Direction>,
    /// Most events on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

/// Which events of one stream to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamRequest {
    /// The first version to read, in the direction of reading.
    pub from_version: Option<u64>,
    /// The direction, if one was given.
    pub direction: Option<Direction>,
    /// Most events on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

/// Which streams to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamsRequest {
    /// What their names begin with.
    pub prefix: String,
    /// Most streams on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

/// Which dead letters to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLettersRequest {
    /// Whose deliveries.
    pub subscription: Option<String>,
    /// Events of this type.
    pub kind: Option<String>,
    /// Failures of this kind.
    pub fingerprint: Option<String>,
    /// `open` (the default), `redriven`, `discarded` or `all`.
    pub state: Option<String>,
    /// Most entries on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

/// What to follow, and from where.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TailRequest {
    /// Which events.
    pub filter: Filter,
    /// Where to begin.
    pub from: TailFrom,
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

/// Which event: its `source` and `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventKey {
    /// Its `source`.
    pub source: String,
    /// Its `id`.
    pub id: String,
}

/// Where a page begins and how many events it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The direction of reading.
    pub direction: Direction,
    /// Where to begin, inclusive; nothing means the end that the direction starts from.
    pub from: Option<u64>,
    /// Most events on the page.
    pub limit: usize,
    /// The digest of the question, for the cursor of the next page.
    pub question: u64,
    /// Whether an earlier page said to begin there.
    pub is_next: bool,
}

impl Start {
    /// The cursor of the page after this one.
    pub fn cursor(&self, next: u64) -> String {
        Cursor { direction: self.direction, next, question: self.question }.encode()
    }

    /// Checks that a cursor is of this log, where the newest is this one: a cursor leads to something that is there.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn within(&self, newest: u64) -> Result<(), Problem> {
        match self.from {
            Some(from) if self.is_next && from > newest => {
                let detail =
                    format!("expected a cursor up to {newest}, the newest there is, found {from}: begin again");
                Err(Problem::new(Code::InvalidCursor, detail).with("newest", newest))
            }
            _ => Ok(()),
        }
    }
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Pair<'_>> {
    form_urlencoded::parse(query.as_bytes())
}

pub(crate) fn unknown(name: &str, known: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("expected {known}, found {}", crate::problem::clip(name)))
        .with("parameter", name.chars().take(80).collect::<String>())
}

fn missing(name: &str) -> Problem {
    Problem::new(Code::InvalidParameter, format!("expected the parameter {name}, found none")).with("parameter", name)
}

fn direction(name: &str, value: &str) -> Result<Direction, Problem> {
    match value {
        "forward" => Ok(Direction::Forward),
        "backward" => Ok(Direction::Backward),
        _ => Err(Problem::parameter(name, "forward or backward", value)),
    }
}

fn direction_text(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "forward",
        Direction::Backward => "backward",
    }
}

pub(crate) fn limit(name: &str, value: &str) -> Result<usize, Problem> {
    match value.parse() {
        Ok(limit) if (1..=PAGE_EVENTS_MAX).contains(&limit) => Ok(limit),
        _ => Err(Problem::parameter(name, &format!("a number from 1 to {PAGE_EVENTS_MAX}"), value)),
    }
}

/// Page parameters: direction, limit and cursor; `false` if it is none of them.
struct PageSlots<'a> {
    direction: Option<&'a mut Option<Direction>>,
    limit: &'a mut Option<usize>,
    cursor: &'a mut Option<String>,
}

impl PageSlots<'_> {
    fn accept(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        match (name, &mut self.direction) {
            ("direction", Some(slot)) => once(name, slot, direction(name, value)?),
            ("limit", _) => once(name, self.limit, limit(name, value)?),
            ("cursor", _) => once(name, self.cursor, value.to_owned()),
            _ => Ok(false),
        }
    }
}

/// Where to begin: at the cursor if there is one, which must be of the same question and direction.
fn start(
    question: &str,
    cursor: Option<&str>,
    asked: Option<Direction>,
    from: Option<u64>,
    limit: Option<usize>,
) -> Result<Start, Problem> {
    let question = Cursor::digest(question);
    let limit = limit.unwrap_or(PAGE_EVENTS_DEFAULT);
    let Some(cursor) = cursor else {
        return Ok(Start { direction: asked.unwrap_or_default(), from, limit, question, is_next: false });
    };
    let cursor = Cursor::decode(cursor, question)?;
    if asked.is_some_and(|asked| asked != cursor.direction) {
        let expected = direction_text(cursor.direction);
        let detail = format!("expected the direction {expected} of this cursor, found the other");
        return Err(Problem::new(Code::InvalidCursor, detail));
    }
    Ok(Start { direction: cursor.direction, from: Some(cursor.next), limit, question, is_next: true })
}

fn write_query<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl ReadRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        for (name, value) in pairs(query) {
            let Self { filter, direction, limit, cursor } = &mut request;
            let mut slots = PageSlots { direction: Some(direction), limit, cursor };
            if !slots.accept(&name, &value)? && !accept(filter, &name, &value)? {
                return Err(unknown(&name, "a parameter of a filter, or direction, limit or cursor"));
            }
        }
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let page = page_pairs(self.direction, self.limit, self.cursor.as_deref());
        write_query(filter_to_pairs(&self.filter).into_iter().chain(page))
    }

    /// Where the page begins.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn start(&self) -> Result<Start, Problem> {
        let question = format!("/v1/events?{}", filter_to_query(&self.filter));
        start(&question, self.cursor.as_deref(), self.direction, None, self.limit)
    }
}

fn page_pairs(
    direction: Option<Direction>,
    limit: Option<usize>,
    cursor: Option<&str>,
) -> impl Iterator<Item = (&'static str, String)> {
    let direction = direction.map(|direction| ("direction", direction_text(direction).to_owned()));
    let limit = limit.map(|limit| ("limit", limit.to_string()));
    let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
    [direction, limit, cursor].into_iter().flatten()
}

impl StreamRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        for (name, value) in pairs(query) {
            let Self { from_version, direction, limit, cursor } = &mut request;
            let mut slots = PageSlots { direction: Some(direction), limit, cursor };
            if name == "fromversion" {
                once(&name, from_version, number(&name, &value)?)?;
            } else if !slots.accept(&name, &value)? {
                return Err(unknown(&name, "fromversion, direction, limit or cursor"));
            }
        }
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let from = self.from_version.map(|version| ("fromversion", version.to_string()));
        write_query(from.into_iter().chain(page_pairs(self.direction, self.limit, self.cursor.as_deref())))
    }

    /// Where the page of that stream begins, in versions.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn start(&self, subject: &str) -> Result<Start, Problem> {
        let question = format!("/v1/streams/{subject}");
        start(&question, self.cursor.as_deref(), self.direction, self.from_version, self.limit)
    }
}

impl StreamsRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        let mut prefix = None;
        for (name, value) in pairs(query) {
            let mut slots = PageSlots { direction: None, limit: &mut request.limit, cursor: &mut request.cursor };
            if name == "prefix" {
                once(&name, &mut prefix, value.into_owned())?;
            } else if !slots.accept(&name, &value)? {
                return Err(unknown(&name, "prefix, limit or cursor"));
            }
        }
        request.prefix = prefix.unwrap_or_default();
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let prefix = (!self.prefix.is_empty()).then(|| ("prefix", self.prefix.clone()));
        write_query(prefix.into_iter().chain(page_pairs(None, self.limit, self.cursor.as_deref())))
    }

    /// Where the page begins.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn start(&self) -> Result<Start, Problem> {
        start(&format!("/v1/streams?{}", self.prefix), self.cursor.as_deref(), None, None, self.limit)
    }
}

impl DeadLettersRequest {
    /// The words of `state`.
    pub const STATES: &[&str] = &["open", "redriven", "discarded", "all"];

    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        for (name, value) in pairs(query) {
            let mut slots = PageSlots { direction: None, limit: &mut request.limit, cursor: &mut request.cursor };
            match name.as_ref() {
                "subscription" => once(&name, &mut request.subscription, value.into_owned())?,
                "type" => once(&name, &mut request.kind, value.into_owned())?,
                "fingerprint" => once(&name, &mut request.fingerprint, value.into_owned())?,
                "state" if Self::STATES.contains(&value.as_ref()) => {
                    once(&name, &mut request.state, value.into_owned())?
                }
                "state" => return Err(Problem::parameter(&name, "open, redriven, discarded or all", &value)),
                _ if slots.accept(&name, &value)? => true,
                _ => return Err(unknown(&name, "subscription, type, fingerprint, state, limit or cursor")),
            };
        }
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        write_query(self.question().into_iter().chain(page_pairs(None, self.limit, self.cursor.as_deref())))
    }

    fn question(&self) -> Vec<(&'static str, String)> {
        let of = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let Self { subscription, kind, fingerprint, state, .. } = self;
        let pairs = [("subscription", subscription), ("type", kind), ("fingerprint", fingerprint), ("state", state)];
        pairs.into_iter().filter_map(|(name, value)| of(name, value)).collect()
    }

    /// Where the page begins.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn start(&self) -> Result<Start, Problem> {
        let question = format!("/v1/deadletters?{}", write_query(self.question()));
        start(&question, self.cursor.as_deref(), None, None, self.limit)
    }
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
        let (mut from, mut last) = (None, None);
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            if name == "from" {
                once(name, &mut from, TailFrom::parse(name, value)?)?;
            } else if name == "lastEventId" {
                once(name, &mut last, TailFrom::after(name, value)?)?;
            } else if !accept(&mut filter, name, value)? {
                return Err(unknown(name, "a parameter of a filter, or from or lastEventId"));
            }
        }
        Ok(Self { filter, from: last.or(from).unwrap_or_default() })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let from = match self.from {
            TailFrom::Start => "start".to_owned(),
            TailFrom::End => "end".to_owned(),
            TailFrom::Position(position) => position.to_string(),
        };
        write_query(filter_to_pairs(&self.filter).into_iter().chain([("from", from)]))
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

impl EventKey {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let (mut source, mut id) = (None, None);
        for (name, value) in pairs(query) {
            match name.as_ref() {
                "source" => once(&name, &mut source, value.into_owned())?,
                "id" => once(&name, &mut id, value.into_owned())?,
                _ => return Err(unknown(&name, "source and id")),
            };
        }
        let missing = |name: &'static str| move || missing(name);
        Ok(Self { source: source.ok_or_else(missing("source"))?, id: id.ok_or_else(missing("id"))? })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        write_query([("source", self.source.clone()), ("id", self.id.clone())])
    }
}

/// Reads the query string of a checkpoint: its `source`.
///
/// # Errors
/// `invalid-parameter`, with the name of the parameter.
pub fn checkpoint_source(query: &str) -> Result<String, Problem> {
    let mut source = None;
    for (name, value) in pairs(query) {
        if name != "source" {
            return Err(unknown(&name, "source"));
        }
        once(&name, &mut source, value.into_owned())?;
    }
    source.ok_or_else(|| missing("source"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_continues_its_own_question_only() {
        let first = ReadRequest::from_query("type=a.b&direction=backward").unwrap();
        let cursor = first.start().unwrap().cursor(7);
        let again = ReadRequest { cursor: Some(cursor), direction: None, ..first };
        let start = again.start().unwrap();
        assert_eq!((start.direction, start.from), (Direction::Backward, Some(7)));
        let turned = ReadRequest { direction: Some(Direction::Forward), ..again.clone() };
        assert_eq!(turned.start().unwrap_err().code, "invalid-cursor");
        let other = ReadRequest { filter: Filter::default(), ..again };
        assert_eq!(other.start().unwrap_err().code, "invalid-cursor");
    }

    #[test]
    fn requests_are_written_as_they_are_read() {
        let query = "type=a.b&direction=backward&limit=7&cursor=abc";
        assert_eq!(ReadRequest::from_query(query).unwrap().to_query(), query);
        let query = "fromversion=3&direction=forward&limit=7";
        assert_eq!(StreamRequest::from_query(query).unwrap().to_query(), query);
        let query = "prefix=order%2F&limit=7";
        assert_eq!(StreamsRequest::from_query(query).unwrap().to_query(), query);
        let query = "tag=k%3Av&from=17";
        assert_eq!(TailRequest::from_query(query).unwrap().to_query(), query);
        let query = "source=%2Fshop&id=a+b";
        assert_eq!(EventKey::from_query(query).unwrap().to_query(), query);
    }

    #[test]
    fn a_last_event_id_wins_over_from() {
        let request = TailRequest::from_query("from=start&lastEventId=9").unwrap();
        assert_eq!(request.from.follow_after(100), Ok(9));
        assert_eq!(TailFrom::Position(5).follow_after(100), Ok(4));
        assert_eq!(TailFrom::End.follow_after(100), Ok(100));
    }

    #[test]
    fn a_tail_begins_at_most_at_the_next_position() {
        for (from, newest, expected) in [
            (TailFrom::Position(0), 0, Some(0)),
            (TailFrom::Position(1), 0, Some(0)),
            (TailFrom::Position(2), 0, None),
            (TailFrom::Position(101), 100, Some(100)),
            (TailFrom::Position(102), 100, None),
            (TailFrom::after("lastEventId", "100").unwrap(), 100, Some(100)),
            (TailFrom::after("lastEventId", "101").unwrap(), 100, None),
            (TailFrom::after("lastEventId", "18446744073709551615").unwrap(), 100, None),
        ] {
            let found = from.follow_after(newest);
            assert_eq!(found.as_ref().ok(), expected.as_ref(), "{from:?}");
            if let Err(problem) = found {
                assert_eq!(
                    (problem.code(), &problem.members["newest"]),
                    (Some(Code::PositionNotFound), &newest.into())
                );
            }
        }
    }

    #[test]
    fn a_cursor_beyond_the_end_is_refused() {
        let request = ReadRequest::default();
        let cursor = request.start().unwrap().cursor(8);
        let start = ReadRequest { cursor: Some(cursor), ..request }.start().unwrap();
        assert_eq!(start.within(8), Ok(()));
        let problem = start.within(7).unwrap_err();
        assert_eq!((problem.code(), &problem.members["newest"]), (Some(Code::InvalidCursor), &7.into()));
        let first = StreamRequest { from_version: Some(9), ..StreamRequest::default() }.start("s").unwrap();
        assert_eq!(first.within(7), Ok(()), "only a cursor says that there was something");
    }
}
