//! What is shown of sagas: declarations, instances, what made them what they are, and what they wait for. Nothing is shown that is
//! not durable.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::Timestamp;
use quipu_domain::saga::{Attempt, InstanceState, Note, Plan, Purpose, State, Waiting, What, explain};
use quipu_store::Fault;

use super::SagaRefusal;
use super::act::Intervention;
use super::ready::Ready;
use super::records::{Declaration, FoldedPlan, Instance, PlanName, key_hash};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// A saga, a rule or an expectation.
#[derive(Clone, Debug)]
pub struct PlanInfo {
    /// Its name.
    pub name: PlanName,
    /// How often it was declared anew, plus one.
    pub version: u32,
    /// What was declared last.
    pub declaration: Arc<Declaration>,
    /// When.
    pub at: Timestamp,
    /// Instances that are open, those of earlier versions too.
    pub open: u64,
    /// Instances that are remembered, those that have ended too.
    pub instances: u64,
    /// Events that it has still to look at.
    pub behind: u64,
    /// It is written in Rust, and its program has not brought its code: no saga of the tenant goes on before it does.
    pub lacks_code: bool,
    /// Why it does not go on with what it has still to look at, if something stands against that: a sentence.
    pub stuck: Option<String>,
    /// The newest event that was to begin an instance and has no key for it, so that it began none: its position. Of those that were
    /// looked at since the tenant was opened.
    pub keyless: Option<u64>,
}

/// Which instances are meant; all that is given has to hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceFilter {
    /// Of this saga, rule or expectation.
    pub name: Option<PlanName>,
    /// That stand so.
    pub states: Vec<InstanceState>,
    /// With this key.
    pub key: Option<String>,
    /// Opened before this time.
    pub opened_before: Option<Timestamp>,
    /// That nothing has changed since this time.
    pub unchanged_since: Option<Timestamp>,
    /// That are open and ask a person, or that nothing has changed since this time.
    pub stuck_since: Option<Timestamp>,
    /// With this somewhere in the key.
    pub search: Option<String>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceInfo {
    /// Its number.
    pub number: u64,
    /// What it is an instance of.
    pub name: PlanName,
    /// Which version.
    pub version: u32,
    /// Its key.
    pub key: String,
    /// How it stands.
    pub state: InstanceState,
    /// When it began.
    pub opened: Timestamp,
    /// When something changed last.
    pub updated: Timestamp,
    /// When something happens by itself.
    pub due: Option<Timestamp>,
    /// The position of the event that started it.
    pub start: u64,
    /// The instance that began it.
    pub parent: Option<u64>,
    /// What it failed by: the step, and why.
    pub failure: Option<(String, &'static str)>,
    /// What it waits for, in sentences, with the time of each where there is one.
    pub waiting: Vec<(String, Option<Timestamp>)>,
    /// The timers that it waits for, by their names or those of its steps.
    pub timers: Vec<(String, Timestamp)>,
    /// Which of these are endpoints to be called, and their URLs.
    pub calls: Vec<(usize, String)>,
    /// Its variables, as JSON.
    pub variables: Option<String>,
    /// What may be done to it as it stands.
    pub acts: Vec<&'static str>,
}

/// Some instances, the newest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstancePage {
    /// The instances.
    pub instances: Vec<InstanceInfo>,
    /// How many there are in all.
    pub total: u64,
    /// The last that was looked at, if there may be more behind it.
    pub next: Option<u64>,
}

/// Something that happened to an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineEntry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub note: Note,
    /// The name of the step; the saga's for what concerns all of it.
    pub step: String,
    /// Until when an answer to the attempt was waited for.
    pub until: Option<Timestamp>,
    /// What was published then.
    pub sent: Option<SentEvent>,
}

/// An event that an instance has published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentEvent {
    /// Where it is in the log.
    pub position: u64,
    /// Its `id`.
    pub id: String,
    /// Its type.
    pub kind: String,
}

/// An instance, what it is of, and how that is stepped, if this version can.
type Shown = (Arc<Instance>, FoldedPlan, Option<Arc<Ready>>);

impl InstanceFilter {
    pub(super) fn takes(&self, instance: &Instance, plan: &FoldedPlan) -> bool {
        self.name.as_ref().is_none_or(|name| plan.name == *name)
            && (self.states.is_empty() || self.states.contains(&instance.status))
            && self.key.as_ref().is_none_or(|key| *instance.key == **key)
            && self.opened_before.is_none_or(|time| instance.opened < time)
            && self.unchanged_since.is_none_or(|time| instance.updated < time)
            && self.stuck_since.is_none_or(|time| instance.is_stuck_since(time))
            && self.search.as_ref().is_none_or(|text| instance.key.contains(text.as_str()))
    }
}

impl Tenant {
    /// Every saga, rule and expectation, by its name.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn sagas(self: &Arc<Self>) -> Result<Vec<PlanInfo>, Fault> {
        let plans = Arc::clone(&self.sagas.plans.read());
        let infos = {
            let fold = self.decider.lock();
            let sagas = &fold.sagas;
            let behind = self.position().saturating_sub(self.sagas.seen.load(Ordering::Acquire));
            let stuck = self.sagas.stuck.lock().clone();
            let info = |(name, number): (&PlanName, &u32)| {
                let plan = sagas.plans.get(number)?;
                let ready = plans.all.get(number);
                let keyless = ready.map_or(0, |ready| ready.keyless.load(Ordering::Relaxed));
                let of_name = || sagas.plans.values().filter(|plan| plan.name == *name);
                Some(PlanInfo {
                    name: name.clone(),
                    version: plan.version,
                    declaration: Arc::clone(&plan.declaration),
                    at: plan.at,
                    open: of_name().map(|plan| plan.open).sum(),
                    instances: of_name().map(|plan| plan.instances).sum(),
                    behind,
                    lacks_code: ready.is_some_and(|ready| ready.lacks_code()),
                    stuck: stuck.clone(),
                    keyless: (keyless > 0).then_some(keyless),
                })
            };
            sagas.newest.iter().filter_map(info).collect()
        };
        self.until_durable()?;
        Ok(infos)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`SagaRefusal::NotFound`].
    pub fn saga(self: &Arc<Self>, name: &PlanName) -> Result<PlanInfo, NotDone> {
        let found = self.sagas()?.into_iter().find(|info| info.name == *name);
        found.ok_or_else(|| SagaRefusal::NotFound { name: name.clone() }.into())
    }

    /// The plan of a saga, a rule or an expectation as it is declared now.
    ///
    /// # Errors
    /// [`SagaRefusal::NotFound`].
    pub fn plan_of(&self, name: &PlanName) -> Result<Plan, NotDone> {
        let found = self.sagas.plans.read().newest_of(name).map(|ready| ready.plan.clone());
        found.ok_or_else(|| SagaRefusal::NotFound { name: name.clone() }.into())
    }

    /// Instances with smaller numbers than one, at most so many.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn instances(
        self: &Arc<Self>,
        filter: &InstanceFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<InstancePage, Fault> {
        // A copy that shares everything: what changes meanwhile does not wait for the search.
        let sagas = self.decider.lock().sagas.clone();
        let of_key = filter.name.as_ref().zip(filter.key.as_ref());
        let mut first: BinaryHeap<Reverse<u64>> = BinaryHeap::with_capacity(limit + 2);
        let mut take = |number: u64, instance: &Instance| {
            let is_meant = sagas.plans.get(&instance.plan).is_some_and(|plan| filter.takes(instance, plan));
            if is_meant && before.is_none_or(|before| number < before) {
                first.push(Reverse(number));
                if first.len() > limit + 1 {
                    first.pop();
                }
            }
        };
        let by_key = of_key.and_then(|(name, key)| sagas.of_key(key_hash(name, key)));
        match (of_key, by_key) {
            // There may be older ones of the key: then all are looked at.
            (Some(_), None) => {}
            _ => sagas.instances.iter().for_each(|(number, instance)| take(number, instance)),
        }
        self.until_durable()?;
        let mut numbers: Vec<u64> = first.into_iter().map(|Reverse(number)| number).collect();
        numbers.sort_unstable_by_key(|number| Reverse(*number));
        let is_more = numbers.len() > limit;
        numbers.truncate(limit);
        let next = numbers.last().copied().filter(|_| is_more);
        let plans = Arc::clone(&self.sagas.plans.read());
        let info = |number: &u64| {
            let instance = sagas.instances.get(*number)?;
            Some(info(*number, instance, sagas.plans.get(&instance.plan)?, plans.all.get(&instance.plan)))
        };
        let instances = numbers.iter().filter_map(info).collect();
        Ok(InstancePage { instances, total: sagas.instances.len() as u64, next })
    }

    /// One instance.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`].
    pub fn instance(self: &Arc<Self>, number: u64) -> Result<InstanceInfo, NotDone> {
        let (instance, plan, ready) = self.instance_and_plan(number)?;
        Ok(info(number, &instance, &plan, ready.as_ref()))
    }

    /// What made an instance what it is, the first first, and how many entries between the first and the last were not kept.
    ///
    /// # Errors
    /// [`SagaRefusal::NoInstance`]; the log cannot be read.
    pub fn timeline(self: &Arc<Self>, number: u64) -> Result<(Vec<TimelineEntry>, u64), NotDone> {
        let (instance, _, ready) = self.instance_and_plan(number)?;
        let (mut entries, mut ends) = (Vec::new(), 0);
        for (at, note) in instance.notes() {
            let Some(ready) = &ready else {
                entries.push(TimelineEntry { at, note, step: String::new(), until: None, sent: None });
                continue;
            };
            ends += u16::from(note.what == What::Ended);
            let step = ready.plan.step_name(note.node).to_owned();
            let (mut until, mut sent) = (None, None);
            for attempt in attempts(&note, ends) {
                let id = format!("{}{attempt}", self.instance_id(number));
                let found = self.event_by_id(&ready.source, &id)?;
                if let Some(recorded) = found {
                    let (position, kind) = (recorded.stamp.position, recorded.event().kind().to_owned());
                    sent = Some(SentEvent { position, id, kind });
                }
                until = until.or_else(|| Some(at.plus_ms(i64::try_from(ready.plan.timeout_ms(attempt)?).ok()?)));
            }
            entries.push(TimelineEntry { at, note, step, until, sent });
        }
        Ok((entries, u64::from(instance.skipped)))
    }

    pub(super) fn instance_and_plan(self: &Arc<Self>, number: u64) -> Result<Shown, NotDone> {
        let found = {
            let fold = self.decider.lock();
            let instance = fold.sagas.instances.get(number).cloned();
            instance.and_then(|instance| Some((fold.sagas.plans.get(&instance.plan)?.clone(), instance)))
        };
        self.until_durable()?;
        let (plan, instance) = found.ok_or(SagaRefusal::NoInstance { number })?;
        let ready = self.sagas.plans.read().all.get(&instance.plan).cloned();
        Ok((instance, plan, ready))
    }
}

/// The attempts whose event may have been published with a note.
fn attempts(note: &Note, ends: u16) -> Vec<Attempt> {
    let Note { node, iteration, attempt: number, .. } = *note;
    let of = |purpose| Attempt { node, iteration, number, purpose };
    match note.what {
        What::Tried => vec![of(Purpose::Command)],
        What::UndoTried => vec![of(Purpose::Compensation), of(Purpose::Late)],
        What::Ended => vec![Attempt { node: 0, iteration: 0, number: ends, purpose: Purpose::End }],
        _ => Vec::new(),
    }
}

fn info(number: u64, instance: &Instance, plan: &FoldedPlan, ready: Option<&Arc<Ready>>) -> InstanceInfo {
    let state: State = postcard::from_bytes(&instance.state).unwrap_or_default();
    let mut calls = Vec::new();
    let waiting = match ready {
        Some(ready) => {
            let sentence = |one: &Waiting| match said(ready, instance, one) {
                Some(said) => format!("{} ({said})", one.sentence(&ready.plan)),
                None => one.sentence(&ready.plan),
            };
            let all = explain(&ready.plan, &state);
            let url = |one: &Waiting| match one {
                Waiting::Endpoint { attempt } => Some(ready.plan.call(*attempt)?.http.url.clone()),
                _ => None,
            };
            calls.extend(all.iter().enumerate().filter_map(|(at, one)| Some((at, url(one)?))));
            let timers = state.timers().map(|(name, due)| (format!("the timer {name}"), Some(due.at)));
            all.iter().map(|one| (sentence(one), time_of(one))).chain(timers).collect()
        }
        None => vec![("its declaration cannot be read by this version".to_owned(), None)],
    };
    let acts = ready.map_or_else(Vec::new, |ready| Intervention::that_fit(&ready.plan, &state));
    let failure = state.failure().map(|failure| {
        let step = ready.map_or("", |ready| ready.plan.step_name(failure.node));
        (step.to_owned(), failure.why.sentence())
    });
    InstanceInfo {
        number,
        name: plan.name.clone(),
        version: plan.version,
        key: instance.key.to_string(),
        state: instance.status,
        opened: instance.opened,
        updated: instance.updated,
        due: instance.due.map(|due| due.at),
        start: state.start(),
        parent: state.parent().map(|parent| parent.number),
        failure,
        waiting,
        timers: ready.map_or_else(Vec::new, |ready| state.waits_until(&ready.plan)),
        calls,
        variables: state.variables().map(str::to_owned),
        acts,
    }
}

/// What an endpoint said to the call that something is waited for after.
fn said(ready: &Ready, instance: &Instance, waiting: &Waiting) -> Option<Box<str>> {
    let (Waiting::NextAttempt { after: attempt, .. } | Waiting::Person { about: attempt, .. }) = waiting else {
        return None;
    };
    ready.plan.call(*attempt)?;
    let is_it = |note: &Note| {
        let was_answered = matches!(note.what, What::Refused | What::TimedOut | What::UndoRefused | What::UndoTimedOut);
        was_answered && (note.node, note.iteration, note.attempt) == (attempt.node, attempt.iteration, attempt.number)
    };
    let mut notes = instance.notes().into_iter().rev();
    notes.find(|(_, note)| is_it(note)).and_then(|(_, note)| note.text)
}

fn time_of(waiting: &Waiting) -> Option<Timestamp> {
    match waiting {
        Waiting::Resume { since } => Some(*since),
        Waiting::Answer { until, .. } | Waiting::Child { until, .. } | Waiting::Event { until, .. } => *until,
        Waiting::Time { until, .. } => Some(*until),
        Waiting::NextAttempt { at, .. } => Some(*at),
        Waiting::Endpoint { .. } | Waiting::Person { .. } | Waiting::Evaluation { .. } => None,
    }
}
