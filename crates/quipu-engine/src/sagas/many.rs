//! An act on many instances: which they are, and a portion of them in as few rounds as it takes. Who does it is an operation.

use std::sync::Arc;

use quipu_domain::saga::{ActKind, State};
use quipu_store::Fault;

use super::act::Intervention;
use super::list::{InstanceFilter, InstanceInfo};
use super::stage::{Acted, Asked};
use crate::mailbox::Slot;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

impl Tenant {
    /// The numbers of the instances that a filter takes and an act fits as they stand, ascending; not many more than `limit`.
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
        let fits = |plan: u32, state: &[u8]| {
            let ready = plans.all.get(&plan)?;
            let state: State = postcard::from_bytes(state).ok()?;
            Some(act.fits(&ready.plan, &state))
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

    /// Does an act to each instance for an operation, in their order. What that did before is done.
    pub(crate) fn act_on_instances(
        self: &Arc<Self>,
        numbers: &[u64],
        act: &Intervention,
        reason: &str,
        operation: u64,
    ) -> Vec<Result<(), NotDone>> {
        let (mut asked, mut answers) = (Vec::with_capacity(numbers.len()), Vec::with_capacity(numbers.len()));
        for number in numbers {
            answers.push(self.act_of(*number, act).map(|act| {
                let (one, slot) = ask(*number, act, reason, operation);
                asked.push(one);
                slot
            }));
        }
        self.ask_sagas_all(asked);
        let answer = |answer: Arc<Slot<Acted>>| {
            self.drive_round(&answer);
            answer.take().map(drop)
        };
        answers.into_iter().map(|one| one.and_then(answer)).collect()
    }
}

/// The question, and where its answer comes.
fn ask(number: u64, act: ActKind, reason: &str, operation: u64) -> (Asked, Arc<Slot<Acted>>) {
    let (slot, answer) = Slot::pair();
    let reply = Box::new(move |result| slot.put(result));
    (Asked::Act { number, act, reason: reason.to_owned(), operation, reply }, answer)
}
