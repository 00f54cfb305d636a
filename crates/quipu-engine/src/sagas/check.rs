//! What is looked at when a declaration is applied, beyond what it says itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use quipu_domain::saga::{Catalog, Finding, Key, Plan, circles};
use quipu_domain::{Pattern, Takes};
use quipu_store::Fault;

use super::call::Calls;
use super::ready::{Plans, Ready};
use super::records::{Declaration, PlanName};
use crate::tenant::Tenant;
use crate::transform::Jq;

/// What is known of the surroundings of a saga.
struct Around<'a> {
    plans: &'a Plans,
    callers: Vec<Arc<dyn Calls>>,
    own: PlanName,
    /// Whether a version of it has instances that are open.
    open: Option<Key>,
    published: BTreeSet<String>,
    followed: Vec<Option<Pattern>>,
}

/// The newest of all other names.
fn others<'a>(plans: &'a Plans, own: &PlanName) -> impl Iterator<Item = &'a Arc<Ready>> {
    plans.newest.iter().filter(move |(name, _)| *name != own).filter_map(|(_, plan)| plans.all.get(plan))
}

/// Which events sagas, rules and expectations take and publish.
#[derive(Default)]
pub(crate) struct SagaFlow {
    /// Names such as `sagas/fulfilment`, each with what it takes.
    pub listens: Vec<(String, Pattern)>,
    /// The sources of what is published, each with a type.
    pub sends: BTreeSet<(String, String)>,
}

impl Catalog for Around<'_> {
    fn jq(&self, text: &str) -> Result<(), String> {
        Jq::compile(text).map(drop).map_err(|(at, reason)| format!("at byte {at}: {reason}"))
    }

    fn url(&self, url: &str) -> Result<(), String> {
        // Nobody knows if nobody calls.
        self.callers.iter().try_for_each(|calls| calls.may_call(url))
    }

    fn is_published(&self, pattern: &Pattern) -> bool {
        let takes = |kind: &str| pattern.takes(kind) != Takes::None;
        self.published.iter().any(|kind| takes(kind))
            || others(self.plans, &self.own).any(|ready| ready.plan.publishes().any(takes))
    }

    fn is_followed(&self, kind: &str) -> bool {
        let takes = |pattern: &Pattern| pattern.takes(kind) != Takes::None;
        let listens = |ready: &Arc<Ready>| ready.plan.listens().iter().any(|listen| takes(&listen.pattern));
        self.followed.iter().any(|pattern| pattern.as_ref().is_none_or(takes))
            || others(self.plans, &self.own).any(listens)
    }

    fn objection(&self, _: &str, _: Option<&str>) -> Option<String> {
        // What a mapping makes depends on the event: it is held to its schema when it is published.
        None
    }

    fn others(&self) -> Vec<&Plan> {
        others(self.plans, &self.own).map(|ready| &ready.plan).collect()
    }

    fn key_in_use(&self, _: &str) -> Option<Key> {
        self.open.clone()
    }
}

impl Tenant {
    /// Which events pass through what is declared now.
    pub(crate) fn saga_flow(&self) -> SagaFlow {
        let plans = Arc::clone(&self.sagas.plans.read());
        let mut flow = SagaFlow::default();
        for ready in plans.newest.values().filter_map(|number| plans.all.get(number)) {
            let name = format!("{}s/{}", ready.name.kind.as_str(), ready.name.name);
            flow.listens.extend(ready.plan.listens().iter().map(|listen| (name.clone(), listen.pattern.clone())));
            flow.sends.extend(ready.plan.publishes().map(|kind| (ready.source.clone(), kind.to_owned())));
        }
        flow.sends.extend(self.scheduled_types());
        flow
    }

    /// The key of a saga's instances that are open.
    fn key_in_use(&self, own: &PlanName, plans: &Plans) -> Option<Key> {
        let open = {
            let fold = self.decider.lock();
            let mut open = fold.sagas.plans.iter().filter(|(_, plan)| plan.name == *own && plan.open > 0);
            open.next().map(|(number, _)| *number)
        };
        open.and_then(|number| plans.all.get(&number)).map(|ready| ready.plan.key().clone())
    }

    /// Looks at a declaration: all that is found, refusals and warnings.
    pub(super) fn check_declaration(&self, declaration: &Declaration, plans: &Plans) -> Result<Vec<Finding>, Fault> {
        let own = declaration.name();
        match declaration {
            Declaration::Saga(saga) => {
                let open = self.key_in_use(&own, plans);
                let (published, followed) = (self.published_types()?, self.followed());
                let callers = self.sagas.call_watchers.all();
                let around = Around { plans, callers, own, open, published, followed };
                Ok(quipu_domain::saga::check(saga, &around).findings)
            }
            Declaration::Written(_) => Ok(match declaration.plan() {
                Err(findings) => findings,
                Ok(plan) => match self.key_in_use(&own, plans) {
                    Some(key) if key != *plan.key() => {
                        let sentence = "expected the key that the open instances have, found another";
                        vec![Finding::refused("/key", sentence)]
                    }
                    _ => Vec::new(),
                },
            }),
            Declaration::Rule(_) | Declaration::Expectation(_) => Ok(match declaration.plan() {
                Err(findings) => findings,
                Ok(plan) => {
                    let ready = Ready::new(0, 0, plan);
                    match ready.broken_jq() {
                        Some((_, reason)) => vec![Finding::refused("/publish", reason)],
                        None => {
                            let others: Vec<&Plan> = others(plans, &own).map(|ready| &ready.plan).collect();
                            circles(&ready.plan, &others)
                        }
                    }
                }
            }),
        }
    }
}
