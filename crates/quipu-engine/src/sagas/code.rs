//! Sagas that are written in Rust: their code, which a program brings each time it opens its store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::saga::{Finding, Wanted, Written};

use super::SagaRefusal;
use super::define::Applied;
use super::ready::{Plans, Ready};
use super::records::{Declaration, FoldedPlan, FoldedSagas, PlanName};
use crate::read::Recorded;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// The code of a saga: pure, since after a crash it is asked again, and quick, since the sagas of its tenant wait for it.
pub trait SagaCode: Send + Sync {
    /// What it wants; its state is JSON, none before the first time.
    ///
    /// # Errors
    /// Why it fails: the instance asks a person.
    fn ask(&self, state: Option<&str>, input: CodeInput<'_>) -> Result<Wanted, String>;
}

/// What the code of a saga is asked about.
#[derive(Clone, Debug)]
pub enum CodeInput<'a> {
    /// An event, with its data in it: the one that began the instance, or one that it hears of.
    Event(Box<Recorded>),
    /// The time of the timer with this name has come.
    Timer(&'a str),
    /// What it wanted to publish was not taken.
    NotSent {
        /// The type of the event.
        kind: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// Somebody, or the saga that began it, wants it undone.
    Cancel(&'a str),
}

impl std::fmt::Debug for dyn SagaCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SagaCode")
    }
}

impl Tenant {
    /// Declares a saga that is written in Rust, and brings its code. As long as the code of one is missing that new instances begin with,
    /// or that has open instances, no saga of the tenant follows the log: nothing is lost meanwhile. What people do is done.
    ///
    /// A version that is older than what is declared, and not declared itself, is left out: no instance needs it.
    ///
    /// # Errors
    /// As [`Tenant::apply_saga`], and [`SagaRefusal::Invalid`] if something else is declared under the number of its version.
    pub fn bring_saga(self: &Arc<Self>, written: Written, code: Arc<dyn SagaCode>) -> Result<Applied, NotDone> {
        let name = PlanName::saga(written.saga.as_str());
        let (found, newest) = {
            let fold = self.decider.lock();
            let declared = |plan: &FoldedPlan| match &*plan.declaration {
                Declaration::Written(written) => Some((**written).clone()),
                _ => None,
            };
            let of_name = fold.sagas.plans.iter().filter(|(_, plan)| plan.name == name);
            let mut all = of_name.filter_map(|(number, plan)| Some((*number, plan.version, declared(plan)?)));
            let found = all.rfind(|(.., other)| other.version == written.version);
            let newest = fold.sagas.newest.get(&name).and_then(|plan| declared(fold.sagas.plans.get(plan)?));
            (found, newest)
        };
        let version = written.version;
        let (applied, plan) = match found {
            Some((plan, version, other)) if other == written => {
                (Applied { version, is_new: false, findings: Vec::new() }, Some(plan))
            }
            Some(_) => {
                let sentence =
                    format!("expected another version than {version}, under which it listens to something else");
                return Err(SagaRefusal::Invalid { findings: vec![Finding::refused("/version", sentence)] }.into());
            }
            None if newest.is_some_and(|newest| newest.version > version) => {
                return Ok(Applied { version: 0, is_new: false, findings: Vec::new() });
            }
            None => (self.apply_saga(Declaration::Written(Box::new(written)), false, false)?, None),
        };
        {
            let plans = self.sagas.plans.read();
            let plan = plan.or_else(|| plans.newest.get(&name).copied());
            if let Some(ready) = plan.and_then(|plan| plans.all.get(&plan)) {
                // Who brings it twice keeps the first.
                let _ = ready.code.set(code);
            }
        }
        self.look_for_code();
        self.drive_sagas();
        Ok(applied)
    }

    /// Looks whether the code of a saga is missing that has something to do.
    pub(super) fn look_for_code(&self) {
        let _one_at_a_time = self.sagas.looking.lock();
        let plans = Arc::clone(&self.sagas.plans.read());
        let waits = plans.lack_code(&self.decider.lock().sagas);
        self.sagas.waits_for_code.store(waits, Ordering::Release);
    }
}

impl Plans {
    /// Whether one lacks its code that new instances begin with, or that has open ones.
    pub fn lack_code(&self, folded: &FoldedSagas) -> bool {
        let is_needed = |(number, ready): &(&u32, &Arc<Ready>)| {
            let is_open = folded.plans.get(number).is_some_and(|plan| plan.open > 0);
            is_open || self.newest.get(&ready.name) == Some(number)
        };
        self.all.iter().filter(|(_, ready)| ready.lacks_code()).any(|one| is_needed(&one))
    }
}
