//! Which dead letters to list, page by page.

use super::page::{PageSlots, Start, page_pairs, start};
use super::{pairs, unknown, write_query};
use crate::Problem;
use crate::parameter::once;

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
