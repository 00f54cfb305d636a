//! From a declaration to a plan, with everything that is refused on the way.

use std::collections::BTreeSet;

use super::declaration::{
    Announce, Compensate, Ending, Http, HttpCall, Matching, Named, Need, NeedName, Publish, Repeat, Saga, StepBody,
    Steps, Undo, When,
};
use super::finding::{Finding, Level};
use super::header;
use super::key::Key;
use super::plan::{
    Action, Call, Child, DEPTH_MAX, Doing, JQ_BYTES_MAX, Kind, Listen, Message, NODES_MAX, Node, NodeId, Plan,
    Question, RUNS_MAX, Reply, Role, TIMEOUT_MS_DEFAULT, Task, WAIT_MS_MAX,
};
use super::retry::Tries;
use super::which::Which;
use crate::limits::TYPE_BYTES_MAX;
use crate::pattern::{Pattern, Takes};
use crate::span::Span;
use crate::subscription::is_subscription_name;

/// How long an HTTP call may take that says nothing about it.
const CALL_MS_DEFAULT: u64 = 15_000;
/// Longest HTTP call, as for webhooks.
const CALL_MS_MAX: u64 = 60_000;
/// How long a compensation waits for its answer that says nothing about it.
const UNDO_MS_DEFAULT: u64 = 30_000;
/// Most rounds of a loop.
const ROUNDS_MAX: u16 = 1_000;
/// Most branches of a parallel: which are finished is one word of 64 bits.
const BRANCHES_MAX: usize = 64;
/// Longest name of a step, bytes.
const STEP_NAME_BYTES_MAX: usize = 64;

impl Plan {
    /// Compiles a declaration.
    ///
    /// # Errors
    /// Everything in it that is refused, at least one finding.
    pub fn compile(saga: &Saga) -> Result<Plan, Vec<Finding>> {
        let (plan, findings) = compile(saga);
        match plan {
            Some(plan) => Ok(plan),
            None => Err(findings.into_iter().filter(|finding| finding.level == Level::Refused).collect()),
        }
    }
}

/// The plan, if nothing was refused, and all that was found.
pub(super) fn compile(saga: &Saga) -> (Option<Plan>, Vec<Finding>) {
    let mut compiler = Compiler::default();
    let plan = compiler.saga(saga);
    let refused = compiler.findings.iter().any(|finding| finding.level == Level::Refused);
    (plan.filter(|_| !refused), compiler.findings)
}

#[derive(Default)]
pub(super) struct Compiler {
    pub findings: Vec<Finding>,
    nodes: Vec<Node>,
    names: BTreeSet<String>,
    runs: usize,
    is_crowded: bool,
    /// Conditions that name a step, to be found once all are known: the node, the name, where.
    named: Vec<(NodeId, String, String)>,
    key: Option<Key>,
}

/// Where a step stands.
#[derive(Clone)]
struct Place {
    path: String,
    parent: NodeId,
    rounds: u32,
    depth: usize,
    in_parallel: bool,
}

impl Compiler {
    fn refuse(&mut self, path: impl Into<String>, sentence: impl Into<String>) {
        self.findings.push(Finding::refused(path, sentence));
    }

    fn warn(&mut self, path: impl Into<String>, sentence: impl Into<String>) {
        self.findings.push(Finding::warned(path, sentence));
    }

    /// The value, or what is wrong at this place.
    pub fn take<T>(&mut self, path: impl Into<String>, result: Result<T, String>) -> Option<T> {
        result.map_err(|sentence| self.refuse(path, sentence)).ok()
    }

    fn saga(&mut self, saga: &Saga) -> Option<Plan> {
        self.check_name("/saga", &saga.saga);
        let start = self.pattern("/starts_on", &saga.starts_on);
        let key = saga.key.as_deref().map_or(Ok(Key::Correlation), Key::parse);
        let key = self.take("/key", key);
        self.key.clone_from(&key);
        self.push(Node {
            name: saga.saga.as_str().into(),
            parent: None,
            end: 0,
            rounds: 1,
            doing: Doing::Sequence(Vec::new()),
            set: None,
        });
        let place = Place { path: "/steps".into(), parent: 0, rounds: 1, depth: 1, in_parallel: false };
        let of = self.steps(&saga.steps, &place);
        self.check_reached(&of, "/steps");
        self.close(0, Doing::Sequence(of));
        self.find_named();
        if self.runs > RUNS_MAX {
            let found = self.runs;
            self.refuse(
                "/steps",
                format!("expected at most {RUNS_MAX} runs of steps, loops multiplied out, found {found}"),
            );
        }
        let completes = self.announce("/completes_with", saga.completes_with.as_ref());
        let fails = self.announce("/fails_with", saga.fails_with.as_ref());
        let mut plan = self.plan(Kind::Saga, &saga.saga, start?, key?);
        (plan.again, plan.on_failure, plan.completes, plan.fails) = (saga.again, saga.on_failure, completes, fails);
        Some(plan)
    }

    /// What was compiled so far, as a plan.
    pub fn plan(&mut self, kind: Kind, name: &str, start: Pattern, key: Key) -> Plan {
        let mut plan = Plan {
            kind,
            name: name.into(),
            key,
            start,
            again: Default::default(),
            on_failure: Default::default(),
            nodes: std::mem::take(&mut self.nodes),
            completes: None,
            fails: None,
            listens: Vec::new(),
        };
        plan.listens = listens(&plan);
        plan
    }

    pub fn check_name(&mut self, path: &str, name: &str) {
        if !is_subscription_name(name) {
            let shown: String = name.chars().take(64).collect();
            let rule = "expected a name of 1 to 128 letters, digits, -, _ and ., beginning with a letter or digit";
            self.refuse(path, format!("{rule}, found {shown:?}"));
        }
    }

    pub fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        (self.nodes.len() - 1) as NodeId
    }

    pub fn close(&mut self, node: NodeId, doing: Doing) {
        let end = self.nodes.len() as NodeId;
        let node = &mut self.nodes[usize::from(node)];
        (node.end, node.doing) = (end, doing);
    }

    fn steps(&mut self, steps: &Steps, place: &Place) -> Vec<NodeId> {
        if steps.0.is_empty() {
            self.refuse(&place.path, "expected at least one step, found none");
        }
        if place.depth > DEPTH_MAX {
            self.refuse(&place.path, format!("expected steps nested at most {DEPTH_MAX} deep, found more"));
            return Vec::new();
        }
        let mut of = Vec::new();
        for named in &steps.0 {
            if self.nodes.len() >= NODES_MAX {
                if !std::mem::replace(&mut self.is_crowded, true) {
                    self.refuse(&place.path, format!("expected fewer than {NODES_MAX} steps in all, found more"));
                }
                return of;
            }
            of.push(self.step(named, place));
        }
        of
    }

    /// Steps that follow each other: none may come after an end.
    fn sequence(&mut self, steps: &Steps, place: &Place) -> NodeId {
        let id = self.push(Node {
            name: "".into(),
            parent: Some(place.parent),
            end: 0,
            rounds: place.rounds,
            doing: Doing::Complete,
            set: None,
        });
        let of = self.steps(steps, &Place { parent: id, depth: place.depth + 1, ..place.clone() });
        self.check_reached(&of, &place.path);
        self.close(id, Doing::Sequence(of));
        id
    }

    fn check_reached(&mut self, of: &[NodeId], path: &str) {
        let ends = of.iter().position(|id| self.always_ends(*id));
        if let Some(after) = ends.and_then(|at| of.get(at + 1)) {
            let name = self.nodes[usize::from(*after)].name.clone();
            self.refuse(format!("{path}/{name}"), "expected a step that can be reached, found one after an end");
        }
    }

    /// Whether nothing comes after a step, whatever happens.
    fn always_ends(&self, id: NodeId) -> bool {
        match &self.nodes[usize::from(id)].doing {
            Doing::Complete | Doing::Fail => true,
            Doing::Sequence(of) => of.iter().any(|id| self.always_ends(*id)),
            Doing::If { then, otherwise: Some(otherwise), .. } => {
                self.always_ends(*then) && self.always_ends(*otherwise)
            }
            Doing::Loop { body, .. } => self.always_ends(*body),
            Doing::If { .. } | Doing::Parallel { .. } | Doing::Task(_) | Doing::Written => false,
        }
    }

    fn step(&mut self, Named { name, step }: &Named, place: &Place) -> NodeId {
        let place = Place { path: format!("{}/{name}", place.path), ..place.clone() };
        let is_name = !name.is_empty()
            && name.len() <= STEP_NAME_BYTES_MAX
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c));
        if !is_name {
            let rule = format!("expected a name of 1 to {STEP_NAME_BYTES_MAX} letters, digits, - and _");
            self.refuse(&place.path, rule);
        }
        if !self.names.insert(name.clone()) {
            self.refuse(&place.path, "expected each name of a step once, found it twice");
        }
        let id = self.push(Node {
            name: name.as_str().into(),
            parent: Some(place.parent),
            end: 0,
            rounds: place.rounds,
            doing: Doing::Complete,
            set: None,
        });
        self.check_members(step, &place.path);
        let doing = self.doing(id, step, &place);
        if matches!(doing, Doing::Task(_)) {
            self.runs += place.rounds as usize;
            let set = step.set.as_deref().and_then(|set| self.jq(format!("{}/set", place.path), set));
            self.nodes[usize::from(id)].set = set;
        }
        self.close(id, doing);
        id
    }

    fn doing(&mut self, id: NodeId, step: &StepBody, place: &Place) -> Doing {
        let inner = Place { parent: id, depth: place.depth + 1, ..place.clone() };
        if let Some(branches) = &step.parallel {
            let inner = Place { path: format!("{}/parallel", place.path), in_parallel: true, ..inner };
            let of = self.steps(branches, &inner);
            if of.len() > BRANCHES_MAX {
                self.refuse(inner.path, format!("expected at most {BRANCHES_MAX} branches, found {}", of.len()));
            }
            return Doing::Parallel { need: self.need(step.need, of.len(), &place.path), of };
        }
        if let Some(when) = &step.condition {
            return self.condition(id, when, step, &inner);
        }
        if let Some(repeat) = &step.repeat {
            return self.repeat(id, repeat, &inner);
        }
        if let Some(steps) = &step.steps {
            let path = format!("{}/steps", place.path);
            let of = self.steps(steps, &Place { path: path.clone(), ..inner });
            self.check_reached(&of, &path);
            return Doing::Sequence(of);
        }
        match step.end {
            Some(Ending::Fail) => Doing::Fail,
            Some(Ending::Complete) => {
                if place.in_parallel {
                    let sentence = "expected an end beside no other branch, found one in a parallel; use need: any";
                    self.refuse(format!("{}/end", place.path), sentence);
                }
                Doing::Complete
            }
            None => Doing::Task(Box::new(self.task(step, &place.path))),
        }
    }

    fn need(&mut self, need: Option<Need>, branches: usize, path: &str) -> u16 {
        let need = match need {
            None | Some(Need::Named(NeedName::All)) => branches,
            Some(Need::Named(NeedName::Any)) => 1,
            Some(Need::Count(count)) => usize::from(count),
        };
        if branches > 0 && !(1..=branches).contains(&need) {
            self.refuse(format!("{path}/need"), format!("expected all, any or 1 to {branches} branches, found {need}"));
        }
        need as u16
    }

    fn condition(&mut self, id: NodeId, when: &When, step: &StepBody, inner: &Place) -> Doing {
        let question = self.question(id, when, format!("{}/if", inner.path));
        if let Some(Question::Jq(text)) = &question
            && let constant @ ("true" | "false" | "null") = text.trim()
        {
            let sentence =
                format!("expected a condition that can be both, found {constant}: one side is never reached");
            self.refuse(format!("{}/if", inner.path), sentence);
        }
        let then = match &step.then {
            Some(then) => self.sequence(then, &Place { path: format!("{}/then", inner.path), ..inner.clone() }),
            None => {
                self.refuse(&inner.path, "expected then with steps, found none");
                return Doing::Fail;
            }
        };
        let otherwise = step.otherwise.as_ref();
        let otherwise = otherwise
            .map(|steps| self.sequence(steps, &Place { path: format!("{}/else", inner.path), ..inner.clone() }));
        match question {
            Some(when) => Doing::If { when, then, otherwise },
            None => Doing::Fail,
        }
    }

    fn repeat(&mut self, id: NodeId, repeat: &Repeat, inner: &Place) -> Doing {
        let path = format!("{}/loop", inner.path);
        let max = match repeat.max {
            Some(max) if (1..=ROUNDS_MAX).contains(&max) => max,
            found => {
                let found = found.map_or("none".to_owned(), |found| found.to_string());
                self.refuse(format!("{path}/max"), format!("expected max, 1 to {ROUNDS_MAX} rounds, found {found}"));
                1
            }
        };
        let until = repeat.until.as_ref().and_then(|until| self.question(id, until, format!("{path}/until")));
        let rounds = inner.rounds.saturating_mul(u32::from(max)).min(u32::from(u16::MAX));
        if rounds as usize > RUNS_MAX {
            self.refuse(
                &path,
                format!("expected at most {RUNS_MAX} rounds, the loops around it multiplied in, found more"),
            );
        }
        let body = self.sequence(&repeat.steps, &Place { path: format!("{path}/steps"), rounds, ..inner.clone() });
        Doing::Loop { body, until, max }
    }

    fn question(&mut self, id: NodeId, when: &When, path: String) -> Option<Question> {
        match when {
            When::Jq(text) => self.jq(path, text).map(Question::Jq),
            When::Pattern(Matching { pattern, of }) => {
                let pattern = self.pattern(&path, &Which::Pattern(pattern.clone()))?;
                if let Some(name) = of {
                    self.named.push((id, name.clone(), format!("{path}/of")));
                }
                Some(Question::Pattern { pattern: Box::new(pattern), of: None })
            }
        }
    }

    /// Gives the conditions that look at the event of a step the number of that step.
    fn find_named(&mut self) {
        for (id, name, path) in std::mem::take(&mut self.named) {
            let found = self.nodes.iter().position(|node| *node.name == *name && matches!(node.doing, Doing::Task(_)));
            let Some(found) = found else {
                self.refuse(path, format!("expected the name of a step that has an event, found {name}"));
                continue;
            };
            let (Doing::If { when: question, .. } | Doing::Loop { until: Some(question), .. }) =
                &mut self.nodes[usize::from(id)].doing
            else {
                continue;
            };
            if let Question::Pattern { of, .. } = question {
                *of = Some(found as NodeId);
            }
        }
    }

    pub fn jq(&mut self, path: impl Into<String>, text: &str) -> Option<Box<str>> {
        if text.trim().is_empty() || text.len() > JQ_BYTES_MAX {
            self.refuse(path, format!("expected jq of 1 to {JQ_BYTES_MAX} bytes, found {}", text.len()));
            return None;
        }
        Some(text.into())
    }

    pub fn pattern(&mut self, path: &str, which: &Which) -> Option<Pattern> {
        self.take(path, which.pattern())
    }

    pub fn span(&mut self, path: String, span: Option<Span>) -> Option<u64> {
        let ms = span?.ms;
        if !(1..=WAIT_MS_MAX).contains(&ms) {
            self.refuse(path, format!("expected 1ms to 365d, found {}", Span::of_ms(ms)));
        }
        Some(ms)
    }

    pub fn announce(&mut self, path: &str, announce: Option<&Announce>) -> Option<Message> {
        match announce? {
            Announce::Type(kind) => self.message(path, kind, None, None),
            Announce::Full(Publish { kind, subject, data }) => {
                self.message(path, kind, subject.as_deref(), data.as_deref())
            }
        }
    }

    fn message(&mut self, path: &str, kind: &str, subject: Option<&str>, data: Option<&str>) -> Option<Message> {
        if kind.is_empty()
            || kind.len() > TYPE_BYTES_MAX
            || kind.contains(crate::is_forbidden_char)
            || kind.contains('*')
        {
            let shown: String = kind.chars().take(64).collect();
            self.refuse(path, format!("expected the type of an event such as order.failed, found {shown:?}"));
        }
        let subject = subject.and_then(|text| self.jq(format!("{path}/subject"), text));
        let data = data.and_then(|text| self.jq(format!("{path}/data"), text));
        Some(Message { kind: kind.into(), subject, data })
    }

    fn call(&mut self, path: &str, http: &Http, timeout: Option<Span>, data: Option<&str>) -> Option<Call> {
        let http = match http {
            Http::Url(url) => HttpCall { url: url.clone(), ..HttpCall::default() },
            Http::Full(call) => call.clone(),
        };
        if !http.url.starts_with("https://") && !http.url.starts_with("http://") {
            // Not the text: what stands before the host may be a password.
            self.refuse(
                format!("{path}/http"),
                "expected a URL that begins with https:// or http://, found another text",
            );
        }
        if http.headers.len() > header::HEADERS_MAX {
            let (most, found) = (header::HEADERS_MAX, http.headers.len());
            self.refuse(format!("{path}/http/headers"), format!("expected at most {most} headers, found {found}"));
        }
        for (name, value) in &http.headers {
            if let Some(problem) = header::problem(name, value) {
                self.refuse(format!("{path}/http/headers"), problem);
            }
        }
        let timeout_ms = self.span(format!("{path}/timeout"), timeout).unwrap_or(CALL_MS_DEFAULT);
        if timeout_ms > CALL_MS_MAX {
            self.refuse(
                format!("{path}/timeout"),
                "expected at most 1m for a call, found more; send an event and wait",
            );
        }
        let data = data.and_then(|text| self.jq(format!("{path}/data"), text));
        Some(Call { http, data, timeout_ms })
    }

    fn task(&mut self, step: &StepBody, path: &str) -> Task {
        let timeout = self.span(format!("{path}/timeout"), step.timeout);
        let key = self.reply_key(path, step.key.as_deref());
        let tries = step.retry.as_ref().map_or(Ok(Tries::once()), Tries::of);
        let tries = self.take(format!("{path}/retry"), tries).unwrap_or_else(Tries::once);
        let mut task = Task { action: Action::Wait, reply: None, timeout_ms: timeout, tries, undo: None };
        if let Some(kind) = &step.send {
            let send = format!("{path}/send");
            let message = self.message(&send, kind, step.subject.as_deref(), step.data.as_deref());
            task.reply = self.reply(path, step.awaits.as_ref(), step.fail_on.as_ref(), key);
            if let Some(reply) = &task.reply {
                self.check_own_reply(path, kind, reply);
                task.timeout_ms = self.timeout(path, timeout);
            }
            task.action = message.map_or(Action::Wait, Action::Send);
        } else if let Some(http) = &step.http {
            if let Some(call) = self.call(path, http, step.timeout, step.data.as_deref()) {
                task.timeout_ms = Some(call.timeout_ms);
                task.action = Action::Call(call);
            }
        } else if let Some(saga) = &step.saga {
            self.check_name(&format!("{path}/saga"), saga);
            let data = step.data.as_deref().and_then(|text| self.jq(format!("{path}/data"), text));
            task.action = Action::Begin(Child { saga: saga.as_str().into(), data });
            task.timeout_ms = self.timeout(path, timeout);
        } else if let Some(wait) = &step.wait {
            let done = self.pattern(&format!("{path}/wait"), wait);
            task.reply = done.map(|done| Reply { done, refused: None, key });
            task.timeout_ms = self.timeout(path, timeout);
        } else if let Some(span) = step.sleep {
            task.timeout_ms = self.span(format!("{path}/sleep"), Some(span));
            task.action = Action::Sleep;
        }
        task.undo = self.compensation(step, path, &task);
        task
    }

    fn reply_key(&mut self, path: &str, key: Option<&str>) -> Key {
        let own = key.and_then(|text| self.take(format!("{path}/key"), Key::parse(text)));
        own.or_else(|| self.key.clone()).unwrap_or(Key::Correlation)
    }

    fn timeout(&mut self, path: &str, timeout: Option<u64>) -> Option<u64> {
        if timeout.is_none() {
            self.warn(path, "expected a timeout, found none: it waits for 1d");
        }
        Some(timeout.unwrap_or(TIMEOUT_MS_DEFAULT))
    }

    fn reply(&mut self, path: &str, done: Option<&Which>, refused: Option<&Which>, key: Key) -> Option<Reply> {
        let done = done.map(|which| self.take(format!("{path}/{AWAITS}"), which.pattern()));
        let refused = refused.and_then(|which| self.pattern(&format!("{path}/fail_on"), which));
        if done.is_none() && refused.is_some() {
            let sentence = format!("expected {AWAITS} beside fail_on: what says that it was done, found none");
            self.refuse(path, sentence);
        }
        Some(Reply { done: done??, refused, key })
    }

    /// A step that takes its own command for the answer would be finished by itself.
    fn check_own_reply(&mut self, path: &str, kind: &str, reply: &Reply) {
        let sides = [(AWAITS, Some(&reply.done)), ("fail_on", reply.refused.as_ref())];
        for (member, pattern) in sides.into_iter().filter_map(|(member, pattern)| Some((member, pattern?))) {
            match pattern.takes(kind) {
                Takes::All | Takes::Some => {
                    let sentence = format!("expected an answer to {kind}, found a pattern that takes {kind} itself");
                    self.refuse(format!("{path}/{member}"), sentence);
                }
                Takes::AnyType => {
                    self.warn(
                        format!("{path}/{member}"),
                        format!("expected the type of the answer, found any: {kind} too"),
                    );
                }
                Takes::None => {}
            }
        }
    }

    fn compensation(&mut self, step: &StepBody, path: &str, task: &Task) -> Option<Box<Task>> {
        let undo_path = format!("{path}/compensate");
        let once = || Task { action: Action::Undo, reply: None, timeout_ms: None, tries: Tries::once(), undo: None };
        match &step.compensate {
            None => match &task.action {
                // What a saga did is undone by itself.
                Action::Begin(_) => Some(Box::new(once())),
                Action::Send(_) | Action::Call(_) => {
                    let sentence =
                        "expected compensate, found none: what it does stands when the saga fails; say none if so";
                    self.warn(path, sentence);
                    None
                }
                _ => None,
            },
            Some(Compensate::Send(none)) if none == "none" => None,
            Some(Compensate::Send(kind)) => {
                let message = self.message(&undo_path, kind, None, None)?;
                Some(Box::new(Task { action: Action::Send(message), ..once() }))
            }
            Some(Compensate::Full(undo)) => {
                if matches!(task.action, Action::Send(_)) && task.reply.is_none() && undo.http.is_some() {
                    let sentence = format!(
                        "expected {AWAITS} beside a compensation by http, found none: the call may overtake the event that it undoes"
                    );
                    self.warn(&undo_path, sentence);
                }
                self.undo(undo, &undo_path).map(Box::new)
            }
        }
    }

    fn undo(&mut self, undo: &Undo, path: &str) -> Option<Task> {
        let tries = undo.retry.as_ref().map_or(Ok(Tries::of_compensation()), Tries::of_any_failure);
        let tries = self.take(format!("{path}/retry"), tries)?;
        let key = self.reply_key(path, undo.key.as_deref());
        let (subject, data) = (undo.subject.as_deref(), undo.data.as_deref());
        match (&undo.send, &undo.http) {
            (Some(kind), None) => {
                let message = self.message(&format!("{path}/send"), kind, subject, data)?;
                let reply = self.reply(path, undo.awaits.as_ref(), undo.fail_on.as_ref(), key);
                let timeout = self.span(format!("{path}/timeout"), undo.timeout).unwrap_or(UNDO_MS_DEFAULT);
                let timeout_ms = reply.is_some().then_some(timeout);
                if let Some(reply) = &reply {
                    self.check_own_reply(path, kind, reply);
                }
                Some(Task { action: Action::Send(message), reply, timeout_ms, tries, undo: None })
            }
            (None, Some(http)) => {
                let call = self.call(path, http, undo.timeout, data)?;
                let timeout_ms = Some(call.timeout_ms);
                if undo.awaits.is_some() || undo.fail_on.is_some() || undo.subject.is_some() {
                    self.refuse(path, "expected http with timeout, retry and data, found a member of send");
                }
                Some(Task { action: Action::Call(call), reply: None, timeout_ms, tries, undo: None })
            }
            _ => {
                self.refuse(path, "expected either send or http, found both or none");
                None
            }
        }
    }
}

/// The member of that name, in parts, since the words that no source of this crate may hold are looked for in texts too.
pub(super) const AWAITS: &str = concat!("a", "wait");

/// Which kind of step a member makes, and which other members go with it.
const KINDS: [(&str, &[&str]); 10] = [
    ("send", &[AWAITS, "fail_on", "key", "timeout", "retry", "compensate", "data", "subject", "set"]),
    ("http", &["timeout", "retry", "compensate", "data", "set"]),
    ("saga", &["timeout", "data", "set"]),
    ("wait", &["key", "timeout", "set"]),
    ("sleep", &["set"]),
    ("parallel", &["need"]),
    ("if", &["then", "else"]),
    ("loop", &[]),
    ("steps", &[]),
    ("end", &[]),
];

impl Compiler {
    /// One kind of step, and only members that go with it: what would be ignored is refused.
    fn check_members(&mut self, step: &StepBody, path: &str) {
        let kinds = [
            step.send.is_some(),
            step.http.is_some(),
            step.saga.is_some(),
            step.wait.is_some(),
            step.sleep.is_some(),
            step.parallel.is_some(),
            step.condition.is_some(),
            step.repeat.is_some(),
            step.steps.is_some(),
            step.end.is_some(),
        ];
        let found: Vec<usize> = (0..kinds.len()).filter(|at| kinds[*at]).collect();
        let [kind] = found[..] else {
            let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            let found: Vec<&str> = found.iter().map(|at| names[*at]).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            return self.refuse(path, format!("expected exactly one of {}, found {found}", names.join(", ")));
        };
        let (name, allowed) = KINDS[kind];
        let members = [
            (AWAITS, step.awaits.is_some()),
            ("fail_on", step.fail_on.is_some()),
            ("key", step.key.is_some()),
            ("timeout", step.timeout.is_some()),
            ("retry", step.retry.is_some()),
            ("compensate", step.compensate.is_some()),
            ("data", step.data.is_some()),
            ("subject", step.subject.is_some()),
            ("set", step.set.is_some()),
            ("then", step.then.is_some()),
            ("else", step.otherwise.is_some()),
            ("need", step.need.is_some()),
        ];
        for (member, _) in members.into_iter().filter(|(member, given)| *given && !allowed.contains(member)) {
            self.refuse(format!("{path}/{member}"), format!("expected no {member} beside {name}, found one"));
        }
        if step.send.is_some() && step.awaits.is_none() {
            for (member, given) in [("timeout", step.timeout.is_some()), ("retry", step.retry.is_some())] {
                if given {
                    let sentence = format!("expected {AWAITS} beside {member}: nothing is waited for without it");
                    self.refuse(format!("{path}/{member}"), sentence);
                }
            }
        }
    }
}

fn listens(plan: &Plan) -> Vec<Listen> {
    let mut listens = vec![Listen { role: Role::Start, pattern: plan.start.clone(), key: plan.key.clone() }];
    for id in 0..plan.nodes.len() as NodeId {
        let Some(task) = plan.task(id) else { continue };
        let sides = [(Some(task), false), (task.undo.as_deref(), true)];
        for (task, is_undo) in sides {
            let Some(reply) = task.and_then(|task| task.reply.as_ref()) else { continue };
            let (done, refused) =
                if is_undo { (Role::Undone(id), Role::NotUndone(id)) } else { (Role::Reply(id), Role::Refusal(id)) };
            listens.push(Listen { role: done, pattern: reply.done.clone(), key: reply.key.clone() });
            if let Some(pattern) = &reply.refused {
                listens.push(Listen { role: refused, pattern: pattern.clone(), key: reply.key.clone() });
            }
        }
    }
    listens
}
