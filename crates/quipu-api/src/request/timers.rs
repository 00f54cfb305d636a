//! Which timers to list or to cancel.

use quipu_domain::Timestamp;
use quipu_domain::limits::PAGE_EVENTS_DEFAULT;

use super::page::{PageSlots, page_pairs};
use super::{missing, pairs, unknown, write_query};
use crate::parameter::once;
use crate::{Problem, timer};

/// A page of timers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimersRequest {
    /// Most entries on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

impl TimersRequest {
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

    /// The timer behind which the page begins, if not at the first, and how many it has at most.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn start(&self) -> Result<(Option<(Timestamp, u64)>, usize), Problem> {
        let behind = self.cursor.as_deref().map(timer::behind).transpose()?;
        Ok((behind, self.limit.unwrap_or(PAGE_EVENTS_DEFAULT)))
    }
}

/// The key of the timer to cancel, of a query string.
///
/// # Errors
/// `invalid-parameter`.
pub fn timer_key(query: &str) -> Result<String, Problem> {
    let mut key = None;
    for (name, value) in pairs(query) {
        match name.as_ref() {
            "key" => once(&name, &mut key, value.into_owned())?,
            _ => return Err(unknown(&name, "key")),
        };
    }
    key.ok_or_else(|| missing("key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_behind_the_one_before() {
        let cursor = timer::cursor_behind(Timestamp(5), 7);
        let request = TimersRequest::from_query(&format!("limit=3&cursor={cursor}")).unwrap();
        assert_eq!(request.start(), Ok((Some((Timestamp(5), 7)), 3)));
        assert_eq!(request.to_query(), format!("limit=3&cursor={cursor}"));
        let of_another = TimersRequest::from_query("cursor=AQAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert_eq!(of_another.start().unwrap_err().code, "invalid-cursor");
        for query in ["key=a", "limit=0", "direction=backward"] {
            assert_eq!(TimersRequest::from_query(query).unwrap_err().code, "invalid-parameter", "{query}");
        }
    }

    #[test]
    fn one_key_is_cancelled_at_a_time() {
        assert_eq!(timer_key("key=order%2F7"), Ok("order/7".to_owned()));
        for query in ["", "key=a&key=b", "key=a&all=true"] {
            assert_eq!(timer_key(query).unwrap_err().code, "invalid-parameter", "{query}");
        }
    }
}
