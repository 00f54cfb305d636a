//! Expectations: an event that has to follow another in time. What is missing is said by an event.

use serde::{Deserialize, Serialize};

use super::compile::Compiler;
use super::declaration::Announce;
use super::finding::{Finding, Level};
use super::key::Key;
use super::plan::{Action, Kind, Plan, Reply, Task};
use super::retry::Tries;
use super::which::Which;
use crate::span::Span;

/// The type of the event that says that one is missing, unless another is given.
pub const MISSED: &str = "expectation.missed";

/// An event has to follow another in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Expectation {
    /// Its name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub expect: String,
    /// Which event another has to follow.
    pub after: Which,
    /// Which event has to follow.
    pub then: Which,
    /// In which time.
    pub within: Span,
    /// Where both have the key that they belong together by: `correlationid`, another attribute, or a path such as
    /// `data.orderId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is published if it does not come; `expectation.missed` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<Announce>,
}

impl Plan {
    /// Compiles an expectation: a saga that waits once, and fails with what it publishes.
    ///
    /// # Errors
    /// Everything that is refused.
    pub fn of_expectation(expectation: &Expectation) -> Result<Plan, Vec<Finding>> {
        let mut compiler = Compiler::default();
        compiler.check_name("/expect", &expectation.expect);
        let start = compiler.pattern("/after", &expectation.after);
        let done = compiler.pattern("/then", &expectation.then);
        let key = expectation.key.as_deref().map_or(Ok(Key::Correlation), Key::parse);
        let key = compiler.take("/key", key);
        let timeout_ms = compiler.span("/within".into(), Some(expectation.within));
        let otherwise = expectation.otherwise.clone().unwrap_or_else(|| Announce::Type(MISSED.to_owned()));
        let fails = compiler.announce("/otherwise", Some(&otherwise));
        let (Some(start), Some(done), Some(key)) = (start, done, key) else { return Err(compiler.findings) };
        let reply = Some(Reply { done, refused: None, key: key.clone() });
        let task = Task { action: Action::Wait, reply, timeout_ms, tries: Tries::once(), undo: None };
        compiler.only(&expectation.expect, task);
        let mut plan = compiler.plan(Kind::Expectation, &expectation.expect, start, key);
        // The same two may follow each other again.
        plan.again = super::Again::Begin;
        plan.fails = fails;
        let is_refused = compiler.findings.iter().any(|finding| finding.level == Level::Refused);
        if is_refused { Err(compiler.findings) } else { Ok(plan) }
    }
}
