//! The stage: when it works, what it is asked, and what follows once a round is durable.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use quipu_domain::saga::{ActKind, Answer, Attempt, Due, InstanceState};
use quipu_domain::timer::{Handle, Owner, Wheel};
use quipu_domain::{Scratch, Snapshot, Timestamp};
use quipu_store::{Fault, Record};

use super::SAGA_INSTANCES_MAX;
use super::call::CallWatchers;
use super::catch_up::CatchUp;
use super::ready::{Entry, Plans, Ready};
use super::records::{FoldedSagas, SagaRecord, StepRecord};
use crate::append::Prepared;
use crate::mailbox::{Input, Reply, Slot};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// Most of what is due that one round takes.
pub(super) const DUE_MAX: usize = 500;
/// How soon a round that failed is tried again, milliseconds.
const AGAIN_MS: i64 = 1_000;
/// How far the clock must be set back before what waits is set anew.
const SET_BACK_US: i64 = 20_000;

/// The stage, and what is asked of it.
pub(crate) struct Sagas {
    pub(super) stage: Mutex<Stage>,
    /// A round is on its way.
    is_stepping: AtomicBool,
    pub(super) asked: Mutex<Vec<Asked>>,
    /// Acts that wait until the log behind their instances was read. Each is read on in its turn.
    pub(super) catching_up: Mutex<VecDeque<CatchUp>>,
    /// Operations whose acts are not to be done any more.
    pub(super) withdrawn: Mutex<HashSet<u64>>,
    /// Serializes declarations.
    pub(super) defining: Mutex<()>,
    pub(super) plans: RwLock<Arc<Plans>>,
    /// Every plan has seen the events up to here.
    pub(super) seen: AtomicU64,
    /// There are plans.
    is_on: AtomicBool,
    /// One is written in Rust, and its program has not brought its code yet: nothing goes on.
    pub(super) waits_for_code: AtomicBool,
    /// Whoever looks whether that is so does it alone.
    pub(super) looking: Mutex<()>,
    /// When something is due, microseconds.
    next: AtomicI64,
    /// A round failed: nothing is read before this time.
    not_before: AtomicI64,
    /// Why the log is not followed, if something stands against it.
    pub(super) stuck: Mutex<Option<String>>,
    pub(super) calls: Mutex<VecDeque<(u64, Attempt)>>,
    pub(super) call_watchers: CallWatchers,
    pub(super) next_call_watcher: AtomicU64,
}

/// What one round after the other needs.
pub(crate) struct Stage {
    pub patterns: Snapshot<Entry>,
    pub scratch: Scratch,
    wheel: Wheel,
    handles: HashMap<u64, Handle>,
    latest: Timestamp,
}

/// What is asked of the stage.
pub(crate) enum Asked {
    /// An intervention.
    Act(ActAsked),
    /// An endpoint answered.
    Answered {
        number: u64,
        attempt: Attempt,
        answer: Answer,
        position: u64,
        text: String,
        reply: Reply<Result<(), Fault>>,
    },
    /// A declaration; it is made with the place that the stage has come to.
    Define(Box<dyn FnOnce(u64) -> (SagaRecord, Option<Ready>) + Send>, Reply<Result<(), Fault>>),
}

/// An intervention that is asked of the stage.
pub(crate) struct ActAsked {
    pub number: u64,
    pub act: ActKind,
    pub reason: String,
    /// Which does it for many, 0 without one.
    pub operation: u64,
    pub reply: Reply<Acted>,
}

/// What a round came to, as the loop writes it.
#[derive(Default)]
pub(crate) struct StepCommit {
    pub commands: Vec<Prepared>,
    /// The record of what changed, with what it says.
    pub step: Option<(Record, Arc<StepRecord>)>,
    /// Of declarations.
    pub records: Vec<(Record, SagaRecord)>,
}

impl StepCommit {
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.step.is_none() && self.records.is_empty()
    }

    pub fn bytes(&self) -> usize {
        let records = self.records.iter().map(|(record, _)| record.bytes());
        let step = self.step.iter().map(|(record, _)| record.bytes());
        self.commands.iter().map(Prepared::bytes).sum::<usize>() + records.chain(step).sum::<usize>()
    }
}

/// What became of an intervention.
pub(crate) type Acted = Result<InstanceState, NotDone>;
/// A declaration, what can be stepped of it, and who waits for it to be durable.
type Defined = (SagaRecord, Option<Ready>, Reply<Result<(), Fault>>);

/// What follows once a round is durable.
#[derive(Default)]
pub(crate) struct Outcome {
    pub commit: StepCommit,
    /// Every plan has seen the events up to here.
    pub seen: u64,
    /// Of instances that changed: when they are due.
    pub dues: Vec<(u64, Option<Due>)>,
    pub calls: Vec<(u64, Attempt)>,
    /// Instances that were due.
    pub come: Vec<u64>,
    /// Whoever told what endpoints answered.
    pub answered: Vec<Reply<Result<(), Fault>>>,
    pub answers: Vec<(Reply<Acted>, Acted)>,
    pub defined: Vec<Defined>,
    /// There is more to do at once.
    pub is_more: bool,
    /// What comes next begins an instance, and there is no room for it.
    pub is_full: bool,
}

impl Sagas {
    /// Those of a log that was opened.
    pub fn new(folded: &FoldedSagas, now: Timestamp, position: u64) -> Self {
        let plans = Plans::new(folded);
        let mut stage = Stage::of(plans.patterns(), now);
        for (number, instance) in folded.instances.iter().filter(|(_, instance)| !instance.status.is_ended()) {
            stage.set(number, instance.due, now);
        }
        let sagas = Self {
            is_stepping: AtomicBool::new(false),
            asked: Mutex::default(),
            catching_up: Mutex::default(),
            withdrawn: Mutex::default(),
            defining: Mutex::default(),
            is_on: AtomicBool::new(!folded.plans.is_empty()),
            waits_for_code: AtomicBool::new(plans.lack_code(folded)),
            looking: Mutex::default(),
            seen: AtomicU64::new(if folded.plans.is_empty() { position } else { folded.to }),
            next: AtomicI64::new(i64::MAX),
            not_before: AtomicI64::new(i64::MIN),
            stuck: Mutex::default(),
            plans: RwLock::new(Arc::new(plans)),
            calls: Mutex::default(),
            call_watchers: CallWatchers::default(),
            next_call_watcher: AtomicU64::new(0),
            stage: Mutex::new(stage),
        };
        sagas.turned(&sagas.stage.lock());
        sagas
    }

    fn turned(&self, stage: &Stage) {
        self.next.store(stage.wheel.next().map_or(i64::MAX, |next| next.0), Ordering::Release);
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        if self.waits_for_code.load(Ordering::Acquire) {
            return None;
        }
        let next = self.next.load(Ordering::Acquire);
        (next < i64::MAX).then_some(Timestamp(next))
    }
}

impl Stage {
    /// One that looks for these patterns, and has nothing due.
    pub fn of(patterns: Snapshot<Entry>, now: Timestamp) -> Self {
        Self { patterns, scratch: Scratch::default(), wheel: Wheel::new(now), handles: HashMap::new(), latest: now }
    }

    /// Sets when an instance is due, in place of what was set.
    fn set(&mut self, number: u64, due: Option<Due>, now: Timestamp) {
        if let Some(handle) = self.handles.remove(&number) {
            self.wheel.remove(handle, Owner(number));
        }
        if let Some(due) = due {
            self.handles.insert(number, self.wheel.insert(due_at(due, now), Owner(number)));
        }
    }
}

fn full_house(position: u64) -> String {
    format!(
        "{SAGA_INSTANCES_MAX} instances are open: the event at position {position} begins another when one has ended"
    )
}

/// What waits for so long waits no longer than that from now on.
fn due_at(due: Due, now: Timestamp) -> Timestamp {
    if due.since > now {
        return Timestamp(now.0.saturating_add(due.at.0.saturating_sub(due.since.0).max(0))).min(due.at);
    }
    due.at
}

impl Tenant {
    /// Whether sagas have something to do that is not a matter of time.
    pub(crate) fn has_unstepped(&self) -> bool {
        let sagas = &self.sagas;
        let waits = sagas.waits_for_code.load(Ordering::Acquire);
        let is_behind = sagas.is_on.load(Ordering::Acquire) && sagas.seen.load(Ordering::Acquire) < self.position();
        if (!is_behind || waits) && !self.has_asked() {
            return false;
        }
        let not_before = sagas.not_before.load(Ordering::Acquire);
        not_before == i64::MIN || self.world.clock.now().0 >= not_before
    }

    /// Whether somebody waits for a round to answer.
    fn has_asked(&self) -> bool {
        !self.sagas.asked.lock().is_empty() || !self.sagas.catching_up.lock().is_empty()
    }

    /// Lets what is due come, and says when the next is.
    pub(crate) fn sagas_due(self: &Arc<Self>) -> Option<Timestamp> {
        let (next, now) = (self.next_of_sagas(), self.world.clock.now());
        let is_set_back = next.is_some() && self.sagas.stage.lock().latest.0 > now.0.saturating_add(SET_BACK_US);
        if self.has_unstepped() || is_set_back || next.is_some_and(|next| next <= now) {
            self.drive_sagas();
            return None;
        }
        next
    }

    /// When the stage has something to do that is a matter of time.
    pub fn next_of_sagas(&self) -> Option<Timestamp> {
        let not_before = self.sagas.not_before.load(Ordering::Acquire);
        let again = (not_before > i64::MIN).then_some(Timestamp(not_before));
        self.sagas.next().into_iter().chain(again).min()
    }

    /// Whether a round is on its way.
    pub(crate) fn has_round(&self) -> bool {
        self.sagas.is_stepping.load(Ordering::Acquire)
    }

    /// Without threads nobody else drives: whoever waits for an answer does the rounds.
    pub(super) fn drive_round<T>(self: &Arc<Self>, answer: &Slot<T>) {
        // A round that fails answers some, and leaves the others for the next.
        let is_waiting = || !answer.is_there() && self.has_asked();
        while !self.has_threads() && (self.step_sagas() || self.has_round() || is_waiting()) {
            self.decide();
            self.flush();
            // What cannot be written would be tried for ever.
            if answer.is_there() && self.refuses_appends().is_some() {
                return;
            }
        }
    }

    pub(super) fn ask_sagas(self: &Arc<Self>, asked: Asked) {
        self.ask_sagas_all(vec![asked]);
    }

    pub(super) fn ask_sagas_all(self: &Arc<Self>, asked: Vec<Asked>) {
        self.sagas.asked.lock().extend(asked);
        self.drive_sagas();
        self.fail_asked_if_closed();
    }

    /// Answers what nobody will do any more.
    pub(crate) fn fail_asked_if_closed(&self) {
        if !self.mailbox.lock().is_closed {
            return;
        }
        for catch_up in std::mem::take(&mut *self.sagas.catching_up.lock()) {
            catch_up.all().for_each(|act| (act.reply)(Err(Fault::Closed.into())));
        }
        let asked = std::mem::take(&mut *self.sagas.asked.lock());
        for one in asked {
            match one {
                Asked::Act(act) => (act.reply)(Err(Fault::Closed.into())),
                Asked::Define(_, reply) => reply(Err(Fault::Closed)),
                // It is called again after the next opening.
                Asked::Answered { .. } => {}
            }
        }
    }

    /// Does one round: what was asked, what is due, what is new. Whether the loop was given something; the next round begins when
    /// that is durable. Whoever drives a tenant without threads calls it, decides and flushes until it gives false.
    pub fn step_sagas(self: &Arc<Self>) -> bool {
        !self.sagas.is_stepping.swap(true, Ordering::AcqRel) && self.step_on()
    }

    /// The same, where a round is on its way: the caller was left `is_stepping`.
    pub(crate) fn step_on(self: &Arc<Self>) -> bool {
        loop {
            let outcome = match self.round() {
                Ok(outcome) => outcome,
                Err(fault) => {
                    self.later(&fault);
                    self.sagas.is_stepping.store(false, Ordering::Release);
                    return false;
                }
            };
            self.sagas.not_before.store(i64::MIN, Ordering::Release);
            *self.sagas.stuck.lock() = outcome.is_full.then(|| full_house(outcome.seen + 1));
            if !outcome.commit.is_empty() {
                self.write_round(outcome);
                return true;
            }
            let (is_more, is_full) = (outcome.is_more, outcome.is_full);
            self.settle(outcome, Ok(()));
            if is_full && !self.has_asked() {
                self.rest();
            }
            if self.mailbox.lock().is_closed {
                // Nobody is to wait until all is read that is left.
                self.sagas.is_stepping.store(false, Ordering::SeqCst);
                return false;
            }
            // Nothing came of it: nobody waits for it to be durable. If there is more to read others have their turn first.
            if is_more && self.step_on_elsewhere() {
                return false;
            }
            if !is_more {
                self.sagas.is_stepping.store(false, Ordering::SeqCst);
                // Whoever asked before the line above saw that somebody was at it and left.
                if !self.has_unstepped() || self.sagas.is_stepping.swap(true, Ordering::AcqRel) {
                    return false;
                }
            }
        }
    }

    fn later(&self, fault: &Fault) {
        *self.sagas.stuck.lock() = Some(fault.to_string());
        self.rest();
        self.fail_asked_if_closed();
    }

    /// Looks for what is new after a while, or when something is due or asked.
    fn rest(&self) {
        let at = self.world.clock.now().plus_ms(AGAIN_MS);
        self.sagas.not_before.store(at.0, Ordering::Release);
        self.wake_timers();
    }

    fn write_round(self: &Arc<Self>, mut outcome: Outcome) {
        let commit = std::mem::take(&mut outcome.commit);
        let bytes = commit.bytes();
        let tenant = Arc::clone(self);
        let reply = move |result: Result<(), Fault>| {
            let fault = result.clone().err();
            tenant.settle(outcome, result);
            if let Some(fault) = fault {
                tenant.later(&fault);
            }
            tenant.sagas.is_stepping.store(false, Ordering::SeqCst);
            if tenant.has_unstepped() {
                tenant.drive_sagas();
            }
            tenant.wake_timers();
        };
        if self.enqueue(bytes, Input::Step(Box::new(commit), Box::new(reply))) {
            self.drive_elsewhere();
        }
    }

    /// What follows once a round is durable, or failed.
    fn settle(&self, outcome: Outcome, result: Result<(), Fault>) {
        let sagas = &self.sagas;
        let now = self.world.clock.now();
        let mut is_called = false;
        match &result {
            Ok(()) => {
                let mut stage = sagas.stage.lock();
                sagas.seen.fetch_max(outcome.seen, Ordering::AcqRel);
                is_called = !outcome.calls.is_empty();
                sagas.calls.lock().extend(outcome.calls);
                outcome.dues.into_iter().for_each(|(number, due)| stage.set(number, due, now));
                sagas.turned(&stage);
            }
            Err(_) => {
                // As the fold has them, where nothing has changed.
                let instances = {
                    let fold = self.decider.lock();
                    let due = |number: &u64| fold.sagas.instances.get(*number).and_then(|one| one.due);
                    outcome.come.iter().map(|number| (*number, due(number))).collect::<Vec<_>>()
                };
                let mut stage = sagas.stage.lock();
                instances.into_iter().for_each(|(number, due)| stage.set(number, due, now));
                sagas.turned(&stage);
            }
        }
        outcome.answered.into_iter().for_each(|reply| reply(result.clone()));
        if is_called {
            sagas.call_watchers.all().iter().for_each(|calls| calls.wake());
        }
        if result.is_ok() && !outcome.defined.is_empty() {
            let mut plans = Plans::clone(&sagas.plans.read());
            for (record, ready, reply) in outcome.defined {
                plans.define(record, ready);
                let mut stage = sagas.stage.lock();
                stage.patterns = plans.patterns();
                sagas.is_on.store(!plans.all.is_empty(), Ordering::Release);
                *sagas.plans.write() = Arc::new(plans.clone());
                drop(stage);
                self.look_for_code();
                reply(Ok(()));
            }
        } else {
            outcome.defined.into_iter().for_each(|(_, _, reply)| reply(result.clone()));
        }
        for (reply, answer) in outcome.answers {
            match &result {
                Ok(()) => reply(answer),
                Err(fault) => reply(Err(fault.clone().into())),
            }
        }
    }

    /// Times are set anew once the clock was set back.
    pub(super) fn notice_set_back(&self, now: Timestamp) {
        let mut stage = self.sagas.stage.lock();
        if stage.latest.0 > now.0.saturating_add(SET_BACK_US) {
            self.wind_sagas(&mut stage, now);
            self.sagas.turned(&stage);
        }
        stage.latest = now;
    }

    /// Instances of which something is due by then, at most so many.
    pub(super) fn take_due(&self, until: Timestamp, limit: usize) -> Vec<u64> {
        let mut stage = self.sagas.stage.lock();
        let mut come = Vec::new();
        stage.wheel.advance(until, limit, &mut come);
        for one in &come {
            stage.handles.remove(&one.owner.0);
        }
        self.sagas.turned(&stage);
        come.into_iter().map(|due| due.owner.0).collect()
    }

    pub(super) fn set_dues(&self, dues: Vec<(u64, Option<Due>)>) {
        let now = self.world.clock.now();
        let mut stage = self.sagas.stage.lock();
        dues.into_iter().for_each(|(number, due)| stage.set(number, due, now));
        self.sagas.turned(&stage);
    }

    fn wind_sagas(&self, stage: &mut Stage, now: Timestamp) {
        stage.wheel.clear(now);
        stage.handles.clear();
        let instances = self.decider.lock().sagas.instances.clone();
        for (number, instance) in instances.iter().filter(|(_, instance)| instance.due.is_some()) {
            stage.set(number, instance.due, now);
        }
    }
}
