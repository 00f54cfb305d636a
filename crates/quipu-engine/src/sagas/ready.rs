//! Plans that are ready to be stepped: with their jq compiled, and one set of patterns for all.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use quipu_domain::saga::{Action, Expectation, Finding, Key, Kind, Listen, Plan, Question, Rule, Saga};
use quipu_domain::{PatternSet, Snapshot};

use super::code::SagaCode;
use super::records::{Change, Declaration, DeclarationKind, FoldedSagas, PlanName, SagaRecord};
use crate::transform::Jq;

/// A plan with all that it takes to step it.
#[derive(Debug)]
pub(crate) struct Ready {
    pub number: u32,
    pub name: PlanName,
    pub plan: Plan,
    /// It takes events behind this position.
    pub from: u64,
    /// By their texts. What does not compile, after an upgrade say, fails when it is asked.
    jq: HashMap<Box<str>, Result<Jq, String>>,
    /// What stands in `source` of what it publishes.
    pub source: String,
    /// Whether a pattern or a key of it looks at data.
    pub looks_at_data: bool,
    pub has_calls: bool,
    /// Of one that is written in Rust, once its program has brought it.
    pub code: OnceLock<Arc<dyn SagaCode>>,
    /// The newest event that was to begin an instance, and has no key for it; 0 for none.
    pub keyless: AtomicU64,
}

/// The plans of a tenant.
#[derive(Clone, Default)]
pub(crate) struct Plans {
    pub all: BTreeMap<u32, Arc<Ready>>,
    /// The plan of each name that new instances begin with.
    pub newest: BTreeMap<PlanName, u32>,
    pub looks_at_data: bool,
}

/// Which of the patterns of which plan.
pub(crate) type Entry = (u32, u16);

impl Declaration {
    /// What kind it is, and its name.
    pub fn name(&self) -> PlanName {
        match self {
            Self::Saga(saga) => PlanName { kind: DeclarationKind::Saga, name: saga.saga.clone() },
            Self::Rule(rule) => PlanName { kind: DeclarationKind::Rule, name: rule.rule.clone() },
            Self::Expectation(one) => PlanName { kind: DeclarationKind::Expectation, name: one.expect.clone() },
            Self::Written(written) => PlanName { kind: DeclarationKind::Saga, name: written.saga.clone() },
        }
    }

    /// What can be stepped.
    ///
    /// # Errors
    /// Everything that is refused.
    pub fn plan(&self) -> Result<Plan, Vec<Finding>> {
        match self {
            Self::Saga(saga) => Plan::compile(saga),
            Self::Rule(rule) => Plan::of_rule(rule),
            Self::Expectation(expectation) => Plan::of_expectation(expectation),
            Self::Written(written) => Plan::of_written(written),
        }
    }
}

impl From<Saga> for Declaration {
    fn from(saga: Saga) -> Self {
        Self::Saga(Box::new(saga))
    }
}

impl From<Rule> for Declaration {
    fn from(rule: Rule) -> Self {
        Self::Rule(Box::new(rule))
    }
}

impl From<Expectation> for Declaration {
    fn from(expectation: Expectation) -> Self {
        Self::Expectation(Box::new(expectation))
    }
}

impl Ready {
    pub fn new(number: u32, from: u64, plan: Plan) -> Self {
        let kind = match plan.kind() {
            Kind::Saga => DeclarationKind::Saga,
            Kind::Rule => DeclarationKind::Rule,
            Kind::Expectation => DeclarationKind::Expectation,
        };
        let name = PlanName { kind, name: plan.name().to_owned() };
        let source = plan.source();
        let looks = |listen: &Listen| listen.pattern.looks_at_data() || matches!(listen.key, Key::Data(_));
        let looks_at_data = plan.listens().iter().any(looks);
        let nodes = 1..plan.len() as u16;
        let has_calls = nodes.clone().any(|node| {
            [plan.action(node), plan.compensation(node)].iter().any(|action| matches!(action, Some(Action::Call(_))))
        });
        let mut jq = HashMap::new();
        let asked = (0..plan.len() as u16).filter_map(|node| plan.question(node));
        let asked: Vec<Box<str>> = asked
            .filter_map(|question| match question {
                Question::Jq(text) | Question::Variables(text) => Some(text),
                Question::Pattern { .. } => None,
            })
            .collect();
        for text in texts(&plan).into_iter().chain(asked.iter().map(|text| &**text)) {
            let compiled = Jq::compile(text).map_err(|(at, reason)| format!("at byte {at}: {reason}"));
            jq.insert(text.into(), compiled);
        }
        let (code, keyless) = (OnceLock::new(), AtomicU64::new(0));
        Self { number, name, plan, from, jq, source, looks_at_data, has_calls, code, keyless }
    }

    /// Whether it cannot be stepped before its program brings its code.
    pub fn lacks_code(&self) -> bool {
        self.plan.is_written() && self.code.get().is_none()
    }

    pub fn jq(&self, text: &str) -> Result<&Jq, String> {
        match self.jq.get(text) {
            Some(Ok(jq)) => Ok(jq),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("it is not of this plan".into()),
        }
    }

    /// The first jq that does not compile, and why.
    pub fn broken_jq(&self) -> Option<(&str, &str)> {
        self.jq.iter().find_map(|(text, jq)| jq.as_ref().err().map(|reason| (&**text, reason.as_str())))
    }
}

/// Every jq of a plan.
fn texts(plan: &Plan) -> Vec<&str> {
    let mut texts: Vec<&str> = Vec::new();
    let messages = [plan.completes_with(), plan.fails_with()];
    for message in messages.into_iter().flatten() {
        texts.extend([message.subject.as_deref(), message.data.as_deref()].into_iter().flatten());
    }
    for node in 0..plan.len() as u16 {
        for action in [plan.action(node), plan.compensation(node)].into_iter().flatten() {
            match action {
                Action::Send(message) => {
                    texts.extend([message.subject.as_deref(), message.data.as_deref()].into_iter().flatten());
                }
                Action::Call(call) => texts.extend(call.data.as_deref()),
                Action::Begin(child) => texts.extend(child.data.as_deref()),
                Action::Undo | Action::Wait | Action::Sleep => {}
            }
        }
    }
    texts
}

impl Plans {
    /// Those of a log that was opened.
    pub fn new(folded: &FoldedSagas) -> Self {
        let mut plans = Self::default();
        for (number, one) in &folded.plans {
            // What an older version took is taken; if it cannot be, its instances wait.
            if let Ok(plan) = one.declaration.plan() {
                plans.all.insert(*number, Arc::new(Ready::new(*number, one.from, plan)));
            }
        }
        plans.newest = folded.newest.clone();
        plans.looks_at_data = plans.all.values().any(|ready| ready.looks_at_data);
        plans
    }

    /// Takes in a declaration.
    pub fn define(&mut self, SagaRecord { name, change }: SagaRecord, ready: Option<Ready>) {
        match change {
            Change::Declared { plan, dropped, .. } => {
                dropped.iter().for_each(|plan| _ = self.all.remove(plan));
                ready.into_iter().for_each(|ready| _ = self.all.insert(plan, Arc::new(ready)));
                self.newest.insert(name, plan);
            }
            Change::Removed => {
                self.all.retain(|_, ready| ready.name != name);
                self.newest.remove(&name);
            }
        }
        self.looks_at_data = self.all.values().any(|ready| ready.looks_at_data);
    }

    pub fn newest_of(&self, name: &PlanName) -> Option<&Arc<Ready>> {
        self.newest.get(name).and_then(|number| self.all.get(number))
    }

    /// All that they listen to.
    pub fn patterns(&self) -> Snapshot<Entry> {
        let mut set = PatternSet::new();
        for (number, ready) in &self.all {
            let is_newest = self.newest.get(&ready.name) == Some(number);
            for (at, listen) in ready.plan.listens().iter().enumerate() {
                // What came before it begins nothing any more.
                if is_newest || listen.role != quipu_domain::saga::Role::Start {
                    set.insert((*number, at as u16), listen.pattern.clone());
                }
            }
        }
        set.snapshot()
    }
}
