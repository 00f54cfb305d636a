//! Pages: how many events one has, and where the next begins. A cursor belongs to the question that it was made for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use quipu_domain::limits::{PAGE_EVENTS_DEFAULT, PAGE_EVENTS_MAX};
use quipu_domain::{Direction, Timestamp};

use super::{pairs, unknown, write_query};
use crate::parameter::once;
use crate::{Code, Cursor, Problem, timer};

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

/// A page of a list that is asked for as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// Most entries on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        for (name, value) in pairs(query) {
            let mut slots = PageSlots { direction: None, limit: &mut request.limit, cursor: &mut request.cursor };
            if !slots.accept(&name, &value)? {
                return Err(unknown(&name, "limit or cursor"));
            }
        }
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        write_query(page_pairs(None, self.limit, self.cursor.as_deref()))
    }

    /// Most entries on the page.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(PAGE_EVENTS_DEFAULT)
    }

    /// The name after which the page begins, of a list of names.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn after_name(&self) -> Result<Option<String>, Problem> {
        after_name(self.cursor.as_deref())
    }

    /// The timer behind which the page begins, of the list of these.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn behind_timer(&self) -> Result<Option<(Timestamp, u64)>, Problem> {
        self.cursor.as_deref().map(timer::behind).transpose()
    }
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
pub(super) struct PageSlots<'a> {
    pub(super) direction: Option<&'a mut Option<Direction>>,
    pub(super) limit: &'a mut Option<usize>,
    pub(super) cursor: &'a mut Option<String>,
}

impl PageSlots<'_> {
    pub(super) fn accept(&mut self, name: &str, value: &str) -> Result<bool, Problem> {
        match (name, &mut self.direction) {
            ("direction", Some(slot)) => once(name, slot, direction(name, value)?),
            ("limit", _) => once(name, self.limit, limit(name, value)?),
            ("cursor", _) => once(name, self.cursor, value.to_owned()),
            _ => Ok(false),
        }
    }
}

/// Where to begin: at the cursor if there is one, which must be of the same question and direction.
pub(super) fn start(
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

/// The cursor of the page that begins after this name: what has names comes and goes between two pages, and the names keep their order.
pub fn cursor_after(name: &str) -> String {
    BASE64URL.encode(format!("after {name}"))
}

/// The name after which a page begins.
pub(super) fn after_name(cursor: Option<&str>) -> Result<Option<String>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let text = BASE64URL.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.as_deref().and_then(|text| text.strip_prefix("after ")) {
        Some(name) => Ok(Some(name.to_owned())),
        None => {
            let detail = "expected a cursor from an earlier page, found another text";
            Err(Problem::new(Code::InvalidCursor, detail))
        }
    }
}

pub(super) fn page_pairs(
    direction: Option<Direction>,
    limit: Option<usize>,
    cursor: Option<&str>,
) -> impl Iterator<Item = (&'static str, String)> {
    let direction = direction.map(|direction| ("direction", direction_text(direction).to_owned()));
    let limit = limit.map(|limit| ("limit", limit.to_string()));
    let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
    [direction, limit, cursor].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_timers_begins_behind_the_one_before() {
        let cursor = timer::cursor_behind(Timestamp(5), 7);
        let request = PageRequest::from_query(&format!("limit=3&cursor={cursor}")).unwrap();
        assert_eq!((request.behind_timer(), request.limit()), (Ok(Some((Timestamp(5), 7))), 3));
        assert_eq!(request.to_query(), format!("limit=3&cursor={cursor}"));
        let of_names = PageRequest { cursor: Some(cursor_after("a.b")), limit: None };
        assert_eq!(of_names.behind_timer().unwrap_err().code(), Some(Code::InvalidCursor));
        for query in ["key=a", "limit=0", "limit=7&limit=7", "direction=forward"] {
            assert_eq!(PageRequest::from_query(query).unwrap_err().code(), Some(Code::InvalidParameter), "{query}");
        }
    }

    #[test]
    fn a_cursor_leads_on_after_a_name() {
        assert_eq!(after_name(None), Ok(None));
        assert_eq!(after_name(Some(&cursor_after("order.ä"))), Ok(Some("order.ä".to_owned())));
        for cursor in ["", "%", "b3JkZXI"] {
            assert_eq!(after_name(Some(cursor)).unwrap_err().code(), Some(Code::InvalidCursor), "{cursor}");
        }
    }
}
