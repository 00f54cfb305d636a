//! What is asked of sagas and their instances.

use quipu_domain::Direction;
use quipu_domain::saga::Span;

use super::page::{PageSlots, Start, page_pairs, start};
use super::{pairs, unknown, write_query};
use crate::parameter::once;
use crate::{Code, Problem};

/// How a declaration is to be applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ApplyRequest {
    /// Nothing is to be changed.
    pub is_dry_run: bool,
    /// Nothing may be warned of.
    pub is_strict: bool,
}

impl ApplyRequest {
    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let (mut dry_run, mut strict) = (None, None);
        for (name, value) in pairs(query) {
            let slot = match name.as_ref() {
                "dryrun" => &mut dry_run,
                "strict" => &mut strict,
                _ => return Err(unknown(&name, "dryrun or strict")),
            };
            match value.as_ref() {
                "true" => once(&name, slot, true)?,
                "false" => once(&name, slot, false)?,
                other => return Err(Problem::parameter(&name, "true or false", other)),
            };
        }
        Ok(Self { is_dry_run: dry_run.unwrap_or(false), is_strict: strict.unwrap_or(false) })
    }

    /// Writes a query string, without `?`.
    pub fn to_query(self) -> String {
        let of = |name, is_asked: bool| is_asked.then(|| (name, "true".to_owned()));
        write_query(of("dryrun", self.is_dry_run).into_iter().chain(of("strict", self.is_strict)))
    }
}

/// Which instances to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstancesRequest {
    /// Of this saga.
    pub saga: Option<String>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of this expectation.
    pub expectation: Option<String>,
    /// That stand so: any of these words.
    pub states: Vec<String>,
    /// With this key.
    pub key: Option<String>,
    /// With this somewhere in the key.
    pub search: Option<String>,
    /// That began longer ago.
    pub older: Option<Span>,
    /// That are open and ask a person, or that nothing has changed for so long.
    pub stuck: Option<Span>,
    /// Most entries on the page, if a number was given.
    pub limit: Option<usize>,
    /// The cursor of the page before.
    pub cursor: Option<String>,
}

impl InstancesRequest {
    /// Longest text that is searched for, bytes: no key is longer.
    pub const SEARCH_BYTES_MAX: usize = 512;
    /// The words of `state`.
    pub const STATES: &[&str] = &[
        "running",
        "compensating",
        "needsperson",
        "paused",
        "completed",
        "compensated",
        "cancelled",
        "resolved",
        "failed",
    ];

    /// Reads a query string.
    ///
    /// # Errors
    /// `invalid-parameter`, with the name of the parameter.
    pub fn from_query(query: &str) -> Result<Self, Problem> {
        let mut request = Self::default();
        let span = |name: &str, value: &str| {
            value
                .parse::<Span>()
                .map_err(|_| Problem::parameter(name, "a number and a unit, such as 30s, 5m or 1d", value))
        };
        for (name, value) in pairs(query) {
            let mut slots = PageSlots { direction: None, limit: &mut request.limit, cursor: &mut request.cursor };
            match name.as_ref() {
                "saga" => once(&name, &mut request.saga, value.into_owned())?,
                "rule" => once(&name, &mut request.rule, value.into_owned())?,
                "expectation" => once(&name, &mut request.expectation, value.into_owned())?,
                "state" if Self::STATES.contains(&value.as_ref()) => {
                    if !request.states.iter().any(|state| *state == *value) {
                        request.states.push(value.into_owned());
                    }
                    true
                }
                "state" => return Err(Problem::parameter(&name, &Self::STATES.join(", "), &value)),
                "key" => once(&name, &mut request.key, value.into_owned())?,
                "search" if value.len() <= Self::SEARCH_BYTES_MAX => {
                    once(&name, &mut request.search, value.into_owned())?
                }
                "search" => {
                    return Err(Problem::parameter(
                        &name,
                        &format!("at most {} bytes", Self::SEARCH_BYTES_MAX),
                        &value,
                    ));
                }
                "older" => once(&name, &mut request.older, span(&name, &value)?)?,
                "stuck" => once(&name, &mut request.stuck, span(&name, &value)?)?,
                _ if slots.accept(&name, &value)? => true,
                _ => {
                    let known = "saga, rule, expectation, state, key, search, older, stuck, limit or cursor";
                    return Err(unknown(&name, known));
                }
            };
        }
        let named = [&request.saga, &request.rule, &request.expectation];
        if named.iter().filter(|name| name.is_some()).count() > 1 {
            let detail = "expected one of saga, rule and expectation, found more";
            return Err(Problem::new(Code::InvalidParameter, detail).with("parameter", "saga"));
        }
        Ok(request)
    }

    /// Writes a query string, without `?`.
    pub fn to_query(&self) -> String {
        write_query(self.question().into_iter().chain(page_pairs(None, self.limit, self.cursor.as_deref())))
    }

    fn question(&self) -> Vec<(&'static str, String)> {
        let Self { saga, rule, expectation, states, key, search, older, stuck, .. } = self;
        let of = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let lasts = |name, value: &Option<Span>| value.map(|value| (name, value.to_string()));
        let named = [of("saga", saga), of("rule", rule), of("expectation", expectation)];
        let states = states.iter().map(|state| Some(("state", state.clone())));
        let rest = [of("key", key), of("search", search), lasts("older", older), lasts("stuck", stuck)];
        named.into_iter().chain(states).chain(rest).flatten().collect()
    }

    /// Where the page begins.
    ///
    /// # Errors
    /// `invalid-cursor`.
    pub fn start(&self) -> Result<Start, Problem> {
        let question = format!("/v1/saga-instances?{}", write_query(self.question()));
        start(&question, self.cursor.as_deref(), Some(Direction::Backward), None, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_written_as_they_are_read() {
        let query = "saga=order&state=running&state=paused&key=o%2F1&search=o&older=1d&stuck=1h&limit=7";
        let request = InstancesRequest::from_query(query).unwrap();
        assert_eq!(request.to_query(), query);
        let cursor = request.start().unwrap().cursor(9);
        let next = InstancesRequest { cursor: Some(cursor.clone()), ..request };
        assert_eq!(next.start().unwrap().from, Some(9));
        let other = InstancesRequest { cursor: Some(cursor), ..InstancesRequest::default() };
        assert_eq!(other.start().unwrap_err().code, "invalid-cursor");
        let long = format!("search={}", "a".repeat(513));
        for wrong in
            ["state=open", "older=5", "stuck=x", "limit=0", "saga=a&rule=b", "key=a&key=b", "name=a", long.as_str()]
        {
            assert_eq!(InstancesRequest::from_query(wrong).unwrap_err().code, "invalid-parameter", "{wrong}");
        }
        let apply = ApplyRequest { is_dry_run: true, is_strict: true };
        assert_eq!(apply.to_query(), "dryrun=true&strict=true");
        assert_eq!(ApplyRequest::from_query("dryrun=true&strict=true"), Ok(apply));
        for wrong in ["dryrun=1", "strict=true&strict=true", "force=true"] {
            assert_eq!(ApplyRequest::from_query(wrong).unwrap_err().code, "invalid-parameter", "{wrong}");
        }
    }
}
