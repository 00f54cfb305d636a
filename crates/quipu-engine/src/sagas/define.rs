//! Declaring sagas, rules and expectations. Instances that are open stay with the plan that they began with.

use std::sync::Arc;

use quipu_domain::saga::{Finding, Level};

use super::ready::Ready;
use super::records::{Change, Declaration, PlanName, SagaRecord};
use super::stage::Asked;
use super::{PLANS_MAX, SagaRefusal, VERSIONS_MAX};
use crate::mailbox::Slot;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// What became of a declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// Which version of its name it is.
    pub version: u32,
    /// Whether it was declared with this; not if it is what is declared already, or was only checked.
    pub is_new: bool,
    /// What was found and does not keep it from being applied.
    pub findings: Vec<Finding>,
}

impl Tenant {
    /// Applies a declaration, or only checks it. What is declared already changes nothing. New instances begin with it from the place on
    /// that is durable; those that are open go on with what they began with. If it is strict, nothing may be warned of.
    ///
    /// # Errors
    /// [`SagaRefusal::Invalid`] with all that was found, and [`SagaRefusal::TooMany`].
    pub fn apply_saga(
        self: &Arc<Self>,
        declaration: Declaration,
        is_strict: bool,
        is_dry: bool,
    ) -> Result<Applied, NotDone> {
        let _one_at_a_time = self.sagas.defining.lock();
        let plans = Arc::clone(&self.sagas.plans.read());
        let name = declaration.name();
        let findings = self.check_declaration(&declaration, &plans)?;
        let bad = if is_strict { Level::Warned } else { Level::Refused };
        let plan = match declaration.plan() {
            Ok(plan) if findings.iter().all(|finding| finding.level < bad) => plan,
            _ => return Err(SagaRefusal::Invalid { findings }.into()),
        };
        let (before, number, dropped) = {
            let fold = self.decider.lock();
            let sagas = &fold.sagas;
            let before = sagas.newest.get(&name).and_then(|plan| sagas.plans.get(plan));
            let before = before.map(|plan| (plan.version, *plan.declaration == declaration));
            let newest = sagas.newest.get(&name).copied();
            let of_name = sagas.plans.iter().filter(|(_, plan)| plan.name == name);
            let idle: Vec<u32> =
                of_name.clone().filter(|(_, plan)| plan.instances == 0).map(|(number, _)| *number).collect();
            // A plan that was replaced and of which nothing is remembered goes; what is newest now goes with the next.
            let dropped: Vec<u32> = idle.into_iter().filter(|number| Some(*number) != newest).collect();
            if before.is_none() && sagas.newest.len() >= PLANS_MAX {
                return Err(SagaRefusal::TooMany { limit: PLANS_MAX }.into());
            }
            if of_name.count() - dropped.len() >= VERSIONS_MAX {
                return Err(SagaRefusal::TooMany { limit: VERSIONS_MAX }.into());
            }
            (before, sagas.last_plan + 1, dropped)
        };
        match before {
            Some((version, true)) => return Ok(Applied { version, is_new: false, findings }),
            Some((version, false)) if is_dry => return Ok(Applied { version: version + 1, is_new: false, findings }),
            None if is_dry => return Ok(Applied { version: 1, is_new: false, findings }),
            _ => {}
        }
        let version = before.map_or(1, |(version, _)| version + 1);
        let at = self.world.clock.now();
        self.define(move |from| {
            let ready = Ready::new(number, from, plan);
            let declaration = Box::new(declaration);
            let change = Change::Declared { plan: number, declaration, at, from, dropped };
            (SagaRecord { name, change }, Some(ready))
        })?;
        Ok(Applied { version, is_new: true, findings })
    }

    /// Removes a saga, a rule or an expectation with all its versions, and what is remembered of instances that have ended.
    ///
    /// # Errors
    /// [`SagaRefusal::NotFound`] and [`SagaRefusal::InUse`].
    pub fn remove_saga(self: &Arc<Self>, name: &PlanName) -> Result<(), NotDone> {
        let _one_at_a_time = self.sagas.defining.lock();
        {
            let fold = self.decider.lock();
            if !fold.sagas.newest.contains_key(name) {
                return Err(SagaRefusal::NotFound { name: name.clone() }.into());
            }
            let open: u64 = fold.sagas.plans.values().filter(|plan| plan.name == *name).map(|plan| plan.open).sum();
            if open > 0 {
                return Err(SagaRefusal::InUse { name: name.clone(), open }.into());
            }
        }
        let name = name.clone();
        self.define(move |_| (SagaRecord { name, change: Change::Removed }, None))
    }

    fn define(
        self: &Arc<Self>,
        make: impl FnOnce(u64) -> (SagaRecord, Option<Ready>) + Send + 'static,
    ) -> Result<(), NotDone> {
        let (slot, answer) = Slot::pair();
        self.ask_sagas(Asked::Define(Box::new(make), Box::new(move |result| slot.put(result))));
        self.drive_round(&answer);
        Ok(answer.take()?)
    }
}
