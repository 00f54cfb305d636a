//! An act on many instances: which they are, and a portion of them, handed over to the stage in as few rounds
//! as it takes. Who does it is an operation, which does not wait: it looks later what became of them.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use quipu_domain::saga::{ActKind, State};
use quipu_store::Fault;

use super::act::Intervention;
use super::list::{InstanceFilter, InstanceInfo};
use super::records::DeclarationKind;
use super::stage::{ActAsked, Acted, Asked};
use crate::mailbox::Slot;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

impl Tenant {
    /// The numbers of the instances that a filter takes and an act fits as they stand, ascending; not many more than `limit`. Whoever
    /// names none means sagas that nobody else began: those within others follow them.
    pub(crate) fn instances_for(
        self: &Arc<Self>,
        filter: &InstanceFilter,
        act: &Intervention,
        limit: usize,
    ) -> Result<Vec<u64>, Fault> {
        // A copy that shares everything: what changes meanwhile does not wait for the search.
        let sagas = self.decider.lock().sagas.clone();
        self.until_durable()?;
        let plans = Arc::clone(&self.sagas.plans.read());
        let is_named = filter.name.is_some() || filter.key.is_some();
        let fits = |plan: u32, state: &[u8]| {
            let ready = plans.all.get(&plan)?;
            let state: State = postcard::from_bytes(state).ok()?;
            let is_meant = is_named || (ready.name.kind == DeclarationKind::Saga && state.parent().is_none());
            Some(is_meant && act.fits(&ready.plan, &state))
        };
        let meant = sagas.instances.iter().filter(|(_, instance)| {
            let plan = sagas.plans.get(&instance.plan);
            plan.is_some_and(|plan| filter.takes(instance, plan)) && fits(instance.plan, &instance.state) == Some(true)
        });
        let mut numbers: Vec<u64> = meant.map(|(number, _)| number).take(limit).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// These instances, but for those that are gone.
    pub(crate) fn instances_of(self: &Arc<Self>, numbers: &[u64]) -> Vec<InstanceInfo> {
        numbers.iter().filter_map(|number| self.instance(*number).ok()).collect()
    }

    /// Has the stage do an act to each instance for an operation, in their order. What that did before is done.
    pub(crate) fn act_on_instances(
        self: &Arc<Self>,
        numbers: &[u64],
        act: &Intervention,
        reason: &str,
        operation: u64,
    ) -> HandedOver {
        if numbers.is_empty() {
            return HandedOver::default();
        }
        let (mut asked, mut answers) = (Vec::with_capacity(numbers.len()), VecDeque::with_capacity(numbers.len()));
        for number in numbers {
            answers.push_back(self.act_of(*number, act).map(|act| {
                let (one, slot) = ask(*number, act, reason, operation);
                asked.push(one);
                slot
            }));
        }
        self.ask_sagas_all(asked);
        answers.iter().flatten().for_each(|answer| self.drive_round(answer));
        HandedOver { answers, has_failed: false }
    }

    /// Has the stage leave alone what an operation asked of it, and waits for what it is at: a round. What was done, and not looked at
    /// yet.
    pub(crate) fn withdraw_acts(
        self: &Arc<Self>,
        operation: u64,
        mut handed_over: HandedOver,
    ) -> Vec<Result<(), NotDone>> {
        self.sagas.withdrawn.lock().insert(operation);
        self.drive_sagas();
        let mut done = Vec::new();
        while let Some(answer) = handed_over.answers.front() {
            answer.iter().for_each(|answer| self.drive_round(answer));
            if let Ok(answer) = answer {
                answer.wait();
            }
            done.extend(handed_over.next_done());
        }
        self.sagas.withdrawn.lock().remove(&operation);
        let is_done =
            |outcome: &Result<(), NotDone>| !matches!(outcome, Err(NotDone::Failed(_) | NotDone::RefusedOperation(_)));
        done.into_iter().take_while(is_done).collect()
    }

    /// Of each of these instances, whether an operation intervened in it. Nothing of that may be on its way.
    pub(crate) fn were_acted_on(&self, numbers: &[u64], operation: u64) -> Vec<bool> {
        // A copy that shares everything: the loop does not wait while notes are read.
        let instances = self.decider.lock().sagas.instances.clone();
        numbers.iter().map(|number| instances.get(*number).is_some_and(|one| one.was_acted_on_by(operation))).collect()
    }
}

/// Acts that the stage was given, in their order: it does them in that, too.
#[derive(Default)]
pub(crate) struct HandedOver {
    answers: VecDeque<Result<Arc<Slot<Acted>>, NotDone>>,
    has_failed: bool,
}

impl HandedOver {
    /// What became of the next one, once that is durable. After one that failed nothing is told of the others: they are asked again,
    /// and those that were done all the same are found so.
    pub fn next_done(&mut self) -> Option<Result<(), NotDone>> {
        while self.answers.front()?.as_ref().map_or(true, |answer| answer.is_there()) {
            let outcome = self.answers.pop_front()?.and_then(|answer| answer.take().map(drop));
            if !self.has_failed {
                self.has_failed = matches!(outcome, Err(NotDone::Failed(_)));
                return Some(outcome);
            }
        }
        None
    }

    /// Whether nothing is on its way.
    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }
}

/// The question, and where its answer comes.
fn ask(number: u64, act: ActKind, reason: &str, operation: u64) -> (Asked, Arc<Slot<Acted>>) {
    let (slot, answer) = Slot::pair();
    let reply = Box::new(move |result| slot.put(result));
    (Asked::Act(ActAsked { number, act, reason: reason.to_owned(), operation, reply }), answer)
}
