//! What is looked at before a saga is applied: all that its declaration alone says, and what those around it know.

use super::circle::circles;
use super::compile::{AWAITS, compile};
use super::declaration::Saga;
use super::finding::{Finding, Level};
use super::key::Key;
use super::plan::{Action, Doing, Kind, Message, NodeId, Plan, Question, Role, Task};
use crate::pattern::Pattern;

/// What is known of the surroundings of a saga. Whoever knows nothing says yes to everything.
pub trait Catalog {
    /// Whether this is jq.
    ///
    /// # Errors
    /// What was expected, and where.
    fn jq(&self, text: &str) -> Result<(), String>;

    /// Whether this may be called.
    ///
    /// # Errors
    /// What was expected, and what was found.
    fn url(&self, url: &str) -> Result<(), String>;

    /// Whether somebody publishes events that this pattern may take: they were seen, declared, or another saga sends them.
    fn is_published(&self, pattern: &Pattern) -> bool;

    /// Whether somebody follows events of this type.
    fn is_followed(&self, kind: &str) -> bool;

    /// What the schema of this type says against what a mapping makes of a sample; none if nothing, or nobody knows.
    fn objection(&self, kind: &str, data: Option<&str>) -> Option<String>;

    /// The newest sagas, rules and expectations of all other names.
    fn others(&self) -> Vec<&Plan>;

    /// Where the key stands in the version of this saga that has open instances, if there is one.
    fn key_in_use(&self, saga: &str) -> Option<Key>;
}

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What can be stepped, if nothing was refused.
    pub plan: Option<Plan>,
    /// All that was found, as it stands in the declaration.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// Whether it may be applied; if it is to be strict, nothing may be warned of.
    pub fn is_taken(&self, is_strict: bool) -> bool {
        let bad = if is_strict { Level::Warned } else { Level::Refused };
        self.plan.is_some() && self.findings.iter().all(|finding| finding.level < bad)
    }
}

/// Checks a declaration.
pub fn check(saga: &Saga, catalog: &dyn Catalog) -> Checked {
    let (plan, findings) = compile(saga);
    let Some(plan) = plan else { return Checked { plan: None, findings } };
    let others = catalog.others();
    let mut check = Check { plan: &plan, catalog, others: &others, findings };
    for node in 0..plan.len() as NodeId {
        check.step(node);
    }
    check.listens();
    check.ends();
    check.findings.extend(circles(&plan, &others));
    if catalog.key_in_use(&saga.saga).is_some_and(|key| key != plan.key) {
        let sentence =
            "expected the key of the open instances, which share it, found another; end them first, or use a new name";
        check.refuse("/key", sentence);
    }
    let findings = check.findings;
    let refused = findings.iter().any(|finding| finding.level == Level::Refused);
    Checked { plan: Some(plan).filter(|_| !refused), findings }
}

struct Check<'a> {
    plan: &'a Plan,
    catalog: &'a dyn Catalog,
    others: &'a [&'a Plan],
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn refuse(&mut self, path: impl Into<String>, sentence: impl Into<String>) {
        self.findings.push(Finding::refused(path, sentence));
    }

    fn warn(&mut self, path: impl Into<String>, sentence: impl Into<String>) {
        self.findings.push(Finding::warned(path, sentence));
    }

    fn path(&self, node: NodeId) -> String {
        format!("/steps/{}", self.plan.step_name(node))
    }

    fn step(&mut self, node: NodeId) {
        let (plan, path) = (self.plan, self.path(node));
        match &plan.node(node).doing {
            Doing::If { when, .. } => self.question(&format!("{path}/if"), when),
            Doing::Loop { until: Some(until), .. } => self.question(&format!("{path}/loop/until"), until),
            Doing::Task(task) => {
                self.task(&path, task, false);
                if let Some(undo) = &task.undo {
                    self.task(&format!("{path}/compensate"), undo, true);
                }
                self.jq(&format!("{path}/set"), plan.node(node).set.as_deref());
            }
            _ => {}
        }
    }

    fn question(&mut self, path: &str, question: &Question) {
        if let Question::Jq(text) | Question::Variables(text) = question {
            self.jq(path, Some(text));
        }
    }

    fn jq(&mut self, path: &str, text: Option<&str>) {
        if let Some(Err(sentence)) = text.map(|text| self.catalog.jq(text)) {
            self.refuse(path, sentence);
        }
    }

    fn task(&mut self, path: &str, task: &Task, is_undo: bool) {
        match &task.action {
            Action::Send(message) => {
                self.message(path, message);
                if !self.catalog.is_followed(&message.kind) {
                    let kind = &message.kind;
                    self.warn(
                        path,
                        format!("expected somebody who follows {kind}, found nobody: it is published to no one"),
                    );
                }
            }
            Action::Call(call) => {
                if let Err(sentence) = self.catalog.url(&call.http.url) {
                    self.refuse(format!("{path}/http"), sentence);
                }
                self.jq(&format!("{path}/data"), call.data.as_deref());
            }
            Action::Begin(child) if !is_undo => {
                self.jq(&format!("{path}/data"), child.data.as_deref());
                self.child(path, &child.saga);
            }
            _ => {}
        }
    }

    fn message(&mut self, path: &str, message: &Message) {
        self.jq(&format!("{path}/subject"), message.subject.as_deref());
        self.jq(&format!("{path}/data"), message.data.as_deref());
        if let Some(sentence) = self.catalog.objection(&message.kind, message.data.as_deref()) {
            self.warn(
                format!("{path}/data"),
                format!("expected data that the schema of {} takes: {sentence}", message.kind),
            );
        }
    }

    fn child(&mut self, path: &str, saga: &str) {
        let is_it = |plan: &Plan| plan.kind() == Kind::Saga && plan.name() == saga;
        if !is_it(self.plan) && !self.others.iter().any(|plan| is_it(plan)) {
            self.warn(format!("{path}/saga"), format!("expected a declared saga, found no {saga}: the step will fail"));
        }
    }

    fn listens(&mut self) {
        for listen in self.plan.listens() {
            let path = match listen.role {
                Role::Start => "/starts_on".to_owned(),
                Role::Reply(node) if self.plan.action(node) == Some(&Action::Wait) => {
                    format!("{}/wait", self.path(node))
                }
                Role::Reply(node) => format!("{}/{AWAITS}", self.path(node)),
                Role::Refusal(node) => format!("{}/fail_on", self.path(node)),
                Role::Undone(node) => format!("{}/compensate/{AWAITS}", self.path(node)),
                Role::NotUndone(node) => format!("{}/compensate/fail_on", self.path(node)),
            };
            if !self.catalog.is_published(&listen.pattern) {
                self.warn(
                    path,
                    format!("expected an event that somebody publishes, found none that {} takes", listen.pattern),
                );
            }
        }
        self.alike();
    }

    /// Two steps that are open at once and wait for the same cannot be told apart by an answer that names no command.
    fn alike(&mut self) {
        let plan = self.plan;
        let replies: Vec<(NodeId, &Pattern)> = plan
            .listens()
            .iter()
            .filter_map(|listen| match listen.role {
                Role::Reply(node) => Some((node, &listen.pattern)),
                _ => None,
            })
            .collect();
        for (at, (node, pattern)) in replies.iter().enumerate() {
            let twin = replies[..at].iter().find(|(other, same)| same == pattern && are_beside(plan, *other, *node));
            if let Some((other, _)) = twin {
                let other = plan.step_name(*other);
                let sentence = format!(
                    "expected another event than {other} waits for, found the same: answers have to name their command by causationid"
                );
                self.warn(self.path(*node), sentence);
            }
        }
    }

    fn ends(&mut self) {
        for (path, message) in [("/completes_with", &self.plan.completes), ("/fails_with", &self.plan.fails)] {
            if let Some(message) = message {
                self.message(path, message);
            }
        }
    }
}

/// Whether two steps are in different branches of a parallel.
fn are_beside(plan: &Plan, one: NodeId, other: NodeId) -> bool {
    (0..plan.len() as NodeId).any(|node| match &plan.node(node).doing {
        Doing::Parallel { of, .. } => {
            let branch = |id: NodeId| of.iter().find(|branch| (**branch..plan.node(**branch).end).contains(&id));
            matches!((branch(one), branch(other)), (Some(one), Some(other)) if one != other)
        }
        _ => false,
    })
}
