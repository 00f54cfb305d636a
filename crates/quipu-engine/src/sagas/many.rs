//! An act on many instances: which they are, and a portion of them, handed over to the stage in as few rounds
//! as it takes. Who does it is an operation, which does not wait: it looks later what became of them.

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quipu_domain::Event;
    use quipu_domain::saga::{ActKind, InstanceState};
    use quipu_store::Fault;

    use super::super::catch_up::{Behind, CatchUp};
    use super::super::records::key_hash;
    use super::super::{Declaration, PlanName, SAGA_INSTANCES_MAX};
    use super::{HandedOver, ask};
    use crate::mailbox::Slot;
    use crate::operations::{ItemOutcome, OperationState};
    use crate::options::Options;
    use crate::sagas::act::Intervention;
    use crate::sagas::list::InstanceFilter;
    use crate::sagas::stage::{ActAsked, Acted, Asked};
    use crate::still;
    use crate::subscriptions::NotDone;
    use crate::tenant::Tenant;

    const WAITS: &str = r#"{"saga": "waits", "starts_on": "a.b", "steps": [
        {"first": {"wait": "c.d"}}, {"second": {"wait": "e.f"}}]}"#;

    fn publish(tenant: &Arc<Tenant>, kind: &str, id: &str, correlation: &str) {
        let event = Event::builder(id, "/test", kind).correlation_id(correlation).build().unwrap();
        tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).unwrap();
    }

    fn run(tenant: &Arc<Tenant>) {
        for _ in 0..10 {
            tenant.step_sagas();
            tenant.decide();
            tenant.flush();
        }
    }

    /// Instances that are paused, and what they wait for behind so many other events.
    fn behind(tenant: &Arc<Tenant>, count: u64, others: u64) {
        let saga = Declaration::from(serde_json::from_str::<quipu_domain::saga::Saga>(WAITS).unwrap());
        tenant.apply_saga(saga, false, false).unwrap();
        (1..=count).for_each(|one| publish(tenant, "a.b", &format!("a{one}"), &one.to_string()));
        run(tenant);
        (1..=count).for_each(|one| {
            tenant.act_on_instance(one, ActKind::Pause { place: 0 }, "", 0).unwrap();
        });
        let other = |one: u64| Event::builder(one.to_string(), "/test", "x.y").build().unwrap();
        let prepared = (0..others).map(|one| tenant.prepare(&other(one), None).unwrap()).collect();
        tenant.publish_wait(prepared).unwrap();
        for one in 1..=count {
            publish(tenant, "c.d", &format!("c{one}"), &one.to_string());
            publish(tenant, "e.f", &format!("e{one}"), &one.to_string());
        }
        run(tenant);
    }

    fn act(number: u64) -> (ActAsked, Arc<Slot<Acted>>) {
        match ask(number, ActKind::Resume, "", 7) {
            (Asked::Act(act), slot) => (act, slot),
            _ => unreachable!("it is an act"),
        }
    }

    #[test]
    fn acts_that_wait_until_the_log_was_read_are_taken_back_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = still::tenant(folder.path(), Options::default());
        behind(&tenant, 3, 6_000);
        let (asked, slots): (Vec<_>, Vec<_>) = (1..=3).map(act).unzip();
        tenant.sagas.asked.lock().extend(asked.into_iter().map(Asked::Act));
        let round = tenant.round().unwrap();
        assert!(round.is_more && round.answers.is_empty() && round.commit.is_empty(), "one round does not read it all");
        assert!(tenant.has_unstepped());
        let answers = slots.into_iter().map(Ok).collect();
        let done = tenant.withdraw_acts(7, HandedOver { answers, has_failed: false });
        assert!(done.is_empty());
        (1..=3).for_each(|one| assert_eq!(tenant.instance(one).unwrap().state, InstanceState::Paused));
        assert!(!tenant.has_unstepped(), "nothing is left of it");
    }

    #[test]
    fn a_stop_does_not_wait_until_the_log_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = still::tenant(folder.path(), Options::default());
        behind(&tenant, 1, 12_000);
        let (asked, slot) = act(1);
        tenant.sagas.asked.lock().push(Asked::Act(asked));
        assert!(tenant.round().unwrap().is_more && !slot.is_there());
        // Whoever closes it has answered what was asked, but for what a round is at.
        tenant.mailbox.lock().is_closed = true;
        assert!(!tenant.step_sagas());
        assert!(slot.is_there() && matches!(slot.take(), Err(NotDone::Failed(Fault::Closed))));
        assert!(!tenant.has_round() && !tenant.has_unstepped(), "the log was not read to its end");
    }

    #[test]
    fn what_cannot_be_read_fails_the_acts_that_need_it_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = still::tenant(folder.path(), Options { segment_bytes: 64 << 10, ..Options::default() });
        behind(&tenant, 1, 6_000);
        publish(&tenant, "a.b", "a2", "2");
        run(&tenant);
        tenant.act_on_instance(2, ActKind::Pause { place: 0 }, "", 0).unwrap();
        publish(&tenant, "c.d", "c2", "2");
        publish(&tenant, "a.b", "a3", "3");
        run(&tenant);
        damage_but_for_the_last(&folder.path().join("t/log"));
        let (asked, slots): (Vec<_>, Vec<_>) = [1, 2].map(act).into_iter().unzip();
        let (pause, paused) = ask(3, ActKind::Pause { place: 0 }, "", 0);
        tenant.sagas.asked.lock().extend(asked.into_iter().map(Asked::Act).chain([pause]));
        run(&tenant);
        assert!(matches!(slots[0].take(), Err(NotDone::Failed(_))), "its part of the log is damaged");
        assert!(matches!(slots[1].take(), Ok(InstanceState::Running)));
        assert!(matches!(paused.take(), Ok(InstanceState::Paused)));
        assert_eq!(tenant.instance(1).unwrap().state, InstanceState::Paused);
        let soon = tenant.world.clock.now().plus_ms(10_000);
        assert!(tenant.next_of_sagas().is_none_or(|next| next > soon), "no round failed");
    }

    #[test]
    fn what_an_operation_did_behind_what_failed_is_known_when_it_is_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = still::tenant(folder.path(), Options::default());
        behind(&tenant, 3, 10);
        let (filter, act) = (InstanceFilter::default(), Intervention::Resume);
        let (info, _) = tenant.preview_intervention(act, "", &filter, None).unwrap();
        tenant.confirm_operation(info.id).unwrap();
        // As after a fault of the first one, or a crash before anything was noted.
        tenant.act_on_instance(2, ActKind::Resume, "", info.id).unwrap();
        let cancelled = tenant.cancel_operation(info.id).unwrap();
        assert_eq!((cancelled.done, cancelled.refused, cancelled.state), (2, 1, OperationState::Cancelled));
        let outcomes = |tenant: &Arc<Tenant>| {
            let items = tenant.operation_items(info.id, 0, 10).unwrap();
            items.into_iter().map(|item| item.outcome).collect::<Vec<_>>()
        };
        let reason = Some(format!("operation {} is cancelled", info.id));
        let expected = [ItemOutcome::Refused { reason }, ItemOutcome::Done, ItemOutcome::Waiting];
        assert_eq!(outcomes(&tenant), expected);
        tenant.close().unwrap();
        drop(tenant);
        assert_eq!(outcomes(&still::tenant(folder.path(), Options::default())), expected, "after a restart, too");
    }

    /// Changes a byte now and then of every segment that is full.
    fn damage_but_for_the_last(log: &std::path::Path) {
        let files = std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path());
        let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "seg")).collect();
        segments.sort();
        segments.pop();
        assert!(!segments.is_empty());
        for path in segments {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.iter_mut().skip(10_000).step_by(1_000).for_each(|byte| *byte ^= 4);
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
        }
    }

    #[test]
    fn what_is_left_is_read_from_where_it_was_paused() {
        let behind = |number, place| Behind { number, plan: 1, key_hash: u128::from(number), place };
        let waits = || [(1, 900), (2, 10)].map(|(number, place)| (act(number).0, vec![behind(number, place)]));
        let mut catch_up = CatchUp::of(waits().into());
        assert_eq!(catch_up.backlog.to, 10);
        catch_up.backlog.to = 500;
        catch_up.backlog.count = 5;
        assert!(!catch_up.make_room(4), "nothing was missed by the other");
        assert_eq!((catch_up.backlog.to, catch_up.later.len()), (900, 1));
        let (unread, others) = catch_up.split_unread();
        assert_eq!((unread.len(), others.len()), (1, 1), "whom it concerns is told that it cannot be read");
        let mut catch_up = CatchUp::of(waits().into());
        catch_up.backlog.to = 5;
        let (unread, others) = catch_up.split_unread();
        assert_eq!((unread.len(), others.len()), (2, 0), "and nobody asks for ever");
    }

    #[test]
    fn a_start_for_which_there_is_no_room_waits_and_keeps_no_thread() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = still::tenant(folder.path(), Options::default());
        let saga = Declaration::from(serde_json::from_str::<quipu_domain::saga::Saga>(WAITS).unwrap());
        tenant.apply_saga(saga, false, false).unwrap();
        tenant.decider.lock().sagas.open = SAGA_INSTANCES_MAX;
        publish(&tenant, "a.b", "a1", "1");
        assert!(!tenant.step_sagas() && !tenant.has_round());
        assert!(!tenant.has_unstepped() && tenant.next_of_sagas().is_some(), "it looks again after a while");
        tenant.decider.lock().sagas.open = 0;
        run(&tenant);
        assert_eq!(tenant.instance(1).unwrap().state, InstanceState::Running);
    }

    #[test]
    fn acts_for_which_there_is_no_room_come_later_and_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = still::tenant(folder.path(), Options::default());
        behind(&tenant, 5, 10);
        let (asked, slots): (Vec<_>, Vec<_>) = (1..=5).map(act).unzip();
        let plan = *tenant.sagas.plans.read().all.keys().next().unwrap();
        let waits = asked.into_iter().map(|act| {
            let (number, key_hash) = (act.number, key_hash(&PlanName::saga("waits"), &act.number.to_string()));
            (act, vec![Behind { number, plan, key_hash, place: 5 }])
        });
        let mut catch_up = CatchUp::of(waits.collect());
        let plans = Arc::clone(&tenant.sagas.plans.read());
        assert!(tenant.read_missed(&plans, &mut catch_up, tenant.position()).unwrap());
        assert!(catch_up.is_of(7) && !catch_up.is_of(8));
        assert!(catch_up.make_room(10) && catch_up.later.is_empty(), "each missed two events");
        assert!(catch_up.make_room(5));
        assert_eq!(catch_up.acts.iter().map(|(act, _)| act.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(catch_up.later.iter().map(|act| act.number).collect::<Vec<_>>(), [3, 4, 5]);
        assert!(!catch_up.make_room(1), "a single one keeps all that it missed");
        assert_eq!((catch_up.acts.len(), catch_up.later.len()), (1, 4));
        catch_up.acts.iter_mut().for_each(|(act, _)| act.operation = 8);
        assert!(catch_up.is_of(7), "what it asks next comes after those that are left for later");
        tenant.sagas.catching_up.lock().push_back(catch_up);
        tenant.step_sagas();
        tenant.decide();
        tenant.flush();
        assert_eq!(slots.iter().map(|slot| slot.is_there()).collect::<Vec<_>>(), [true, false, false, false, false]);
        run(&tenant);
        assert!(slots.iter().all(|slot| matches!(slot.take(), Ok(InstanceState::Completed))));
    }
}
