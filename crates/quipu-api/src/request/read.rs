//! Which events or streams to read, page by page.

use quipu_domain::{Direction, Filter};

use super::page::{PageSlots, Start, page_pairs, start};
use super::view::{View, ViewSlots};
use super::{pairs, unknown, write_query};
use crate::Problem;
use crate::parameter::{accept, filter_to_pairs, filter_to_query, number, once};

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
    /// How they are shown.
    pub view: View,
}

impl ReadRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let (mut request, mut view) = (Self::default(), ViewSlots::default());
        for (name, value) in pairs(query) {
            let Self { filter, direction, limit, cursor, .. } = &mut request;
            let mut slots = PageSlots { direction: Some(direction), limit, cursor };
            let is_known = slots.accept(&name, &value)? || view.accept(&name, &value)?;
            if !is_known && !accept(filter, &name, &value)? {
                let known = "a parameter of a filter, or schemaversion, data, direction, limit or cursor";
                return Err(unknown(&name, known));
            }
        }
        Ok(Self { view: view.view(), ..request })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let page = page_pairs(self.direction, self.limit, self.cursor.as_deref());
        write_query(filter_to_pairs(&self.filter).into_iter().chain(page).chain(self.view.pairs()))
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
    /// How they are shown.
    pub view: View,
}

impl StreamRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let (mut request, mut view) = (Self::default(), ViewSlots::default());
        for (name, value) in pairs(query) {
            let Self { from_version, direction, limit, cursor, .. } = &mut request;
            let mut slots = PageSlots { direction: Some(direction), limit, cursor };
            if name == "fromversion" {
                once(&name, from_version, number(&name, &value)?)?;
            } else if !slots.accept(&name, &value)? && !view.accept(&name, &value)? {
                return Err(unknown(&name, "fromversion, schemaversion, data, direction, limit or cursor"));
            }
        }
        Ok(Self { view: view.view(), ..request })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let from = self.from_version.map(|version| ("fromversion", version.to_string()));
        let page = page_pairs(self.direction, self.limit, self.cursor.as_deref());
        write_query(from.into_iter().chain(page).chain(self.view.pairs()))
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
