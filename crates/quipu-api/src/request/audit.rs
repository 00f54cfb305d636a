//! Which acts of the audit trail, page by page.

use quipu_domain::{Direction, Range, Timestamp};

use super::page::{PageSlots, Start, page_pairs, start};
use super::{pairs, unknown, write_query};
use crate::Problem;
use crate::parameter::{once, time};

/// Which acts to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRequest {
    /// What they were done to.
    pub subject: Option<String>,
    /// Who did them.
    pub actor: Option<String>,
    /// The name of the operation.
    pub operation: Option<String>,
    /// Their correlation id.
    pub correlation: Option<String>,
    /// How they ended.
    pub outcome: Option<String>,
    /// When they ended.
    pub time: Range<Timestamp>,
    /// The direction, if it was given.
    pub direction: Option<Direction>,
    /// Most acts on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

impl AuditRequest {
    /// The words of `outcome`.
    pub const OUTCOMES: &[&str] = &["done", "refused", "failed", "repeated", "begun"];

    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        for (name, value) in pairs(query) {
            let Self { direction, limit, cursor, .. } = &mut request;
            let mut slots = PageSlots { direction: Some(direction), limit, cursor };
            match name.as_ref() {
                "subject" => once(&name, &mut request.subject, value.into_owned())?,
                "actor" => once(&name, &mut request.actor, value.into_owned())?,
                "operation" => once(&name, &mut request.operation, value.into_owned())?,
                "correlationid" => once(&name, &mut request.correlation, value.into_owned())?,
                "outcome" if Self::OUTCOMES.contains(&value.as_ref()) => {
                    once(&name, &mut request.outcome, value.into_owned())?
                }
                "outcome" => return Err(Problem::parameter(&name, "done, refused, failed, repeated or begun", &value)),
                "timefrom" => once(&name, &mut request.time.from, time(&name, &value)?)?,
                "timeto" => once(&name, &mut request.time.to, time(&name, &value)?)?,
                _ if slots.accept(&name, &value)? => true,
                _ => {
                    let known = "subject, actor, operation, correlationid, outcome, timefrom, timeto, direction, limit or cursor";
                    return Err(unknown(&name, known));
                }
            };
        }
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        let page = page_pairs(self.direction, self.limit, self.cursor.as_deref());
        write_query(self.pairs().into_iter().chain(page))
    }

    /// What is asked for, without direction, limit and cursor.
    pub fn question(&self) -> String {
        write_query(self.pairs())
    }

    fn pairs(&self) -> Vec<(&'static str, String)> {
        let Self { subject, actor, operation, correlation, outcome, time, .. } = self;
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let pairs = [
            ("subject", subject.clone()),
            ("actor", actor.clone()),
            ("operation", operation.clone()),
            ("correlationid", correlation.clone()),
            ("outcome", outcome.clone()),
            ("timefrom", text(time.from)),
            ("timeto", text(time.to)),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Where the page begins.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn start(&self) -> Result<Start, Problem> {
        let question = format!("/v1/audit?{}", self.question());
        start(&question, self.cursor.as_deref(), self.direction, None, self.limit)
    }
}
