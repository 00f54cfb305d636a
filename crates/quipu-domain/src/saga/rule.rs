//! Rules: an event that is published for each event that a pattern takes.

use serde::{Deserialize, Serialize};

use super::compile::Compiler;
use super::declaration::{Announce, Publish};
use super::finding::{Finding, Level};
use super::key::Key;
use super::plan::{Action, Doing, Kind, Node, Plan, Task};
use super::retry::Tries;
use super::which::Which;
use crate::pattern::Takes;

/// How often rules may set each other off by one event: the attribute `hops` of what is published.
pub const HOPS_MAX: u16 = 16;

/// Publishes an event for each that it takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rule {
    /// Its name: letters, digits, `-`, `_` and `.`, beginning with a letter or digit.
    pub rule: String,
    /// Which events it takes.
    pub on: Which,
    /// What it publishes.
    pub publish: Publish,
}

impl Plan {
    /// Compiles a rule: a plan that ends with its first step, so that nothing of it is kept.
    ///
    /// # Errors
    /// Everything that is refused.
    pub fn of_rule(rule: &Rule) -> Result<Plan, Vec<Finding>> {
        let mut compiler = Compiler::default();
        compiler.check_name("/rule", &rule.rule);
        let start = compiler.pattern("/on", &rule.on);
        let message = compiler.announce("/publish", Some(&Announce::Full(rule.publish.clone())));
        if let Some(start) = &start
            && start.takes(&rule.publish.kind) == Takes::All
        {
            let kind = &rule.publish.kind;
            let sentence = format!("expected an event that the rule does not take itself, found {kind}");
            compiler.findings.push(Finding::refused("/publish/type", sentence));
        }
        let (Some(start), Some(message)) = (start, message) else { return Err(compiler.findings) };
        let action = Action::Send(message);
        let task = Task { action, reply: None, timeout_ms: None, tries: Tries::once(), undo: None };
        compiler.only(&rule.rule, task);
        let plan = compiler.plan(Kind::Rule, &rule.rule, start, Key::Correlation);
        let is_refused = compiler.findings.iter().any(|finding| finding.level == Level::Refused);
        if is_refused { Err(compiler.findings) } else { Ok(plan) }
    }
}

impl Compiler {
    /// A saga of one step.
    pub(super) fn only(&mut self, name: &str, task: Task) {
        let node = |parent, doing| Node { name: name.into(), parent, end: 2, rounds: 1, doing, set: None };
        self.push(node(None, Doing::Sequence(vec![1])));
        self.push(node(Some(0), Doing::Task(Box::new(task))));
    }
}
