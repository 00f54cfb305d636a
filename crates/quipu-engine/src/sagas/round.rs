//! One round of the stage: what was asked, what is due and what is new, each fed to its instances one after the other. What the fold
//! knows is copied once; what changes is kept beside it until the loop has written it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use quipu_domain::saga::{
    Act, ActKind, Again, Answer, Asked as AskedOfCode, Attempt, Due, Effect, Input as Fed, InstanceState, Kind,
    NotPossible, Note, Parent, Purpose, Role, State, Status, may, step,
};
use quipu_domain::saga::{HOPS_MAX, Message, Outcome as Ending};
use quipu_domain::{Data, Direction, Event, Filter, Timestamp, Value};
use quipu_store::Fault;

use super::catch_up::{Backlog, Behind, CHUNK, CatchUp, Missed};
use super::code::CodeInput;
use super::follow::Hit;
use super::mapping::{Answered, Asker, Cache, Mapped, data_of};
use super::origin::Origin;
use super::ready::{Plans, Ready};
use super::records::{Begun, Changed, Instance, StepRecord, is_by, key_hash};
use super::stage::{ActAsked, Acted, Asked, DUE_MAX, Outcome};
use super::{PlanName, SAGA_ENDED_MAX, SAGA_ENDED_MS, SAGA_INSTANCES_MAX, SagaRefusal};
use crate::append::Prepared;
use crate::mailbox::Reply;
use crate::operations::{OperationRefusal, OperationState};
use crate::read::Recorded;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// A round takes nothing more when it has so many bytes of events to publish and of states.
const ROUND_BYTES: usize = 2 << 20;
/// What follows from a single event, time or act is one commit: with so many bytes nothing more is published, and with more for what
/// undoes, neither is that. A commit has room for 128 MiB.
const FOLLOWS_BYTES_MAX: usize = 32 << 20;
const UNDOES_BYTES_MAX: usize = 80 << 20;
/// What a note takes beside its text, and a new instance beside its key.
const NOTE_BYTES: usize = 32;
const INSTANCE_BYTES: usize = 64;
/// Instances that it may begin, and after which a round takes nothing more.
const FOLLOWS_INSTANCES_MAX: usize = 10_000;
const ROUND_INSTANCES: usize = 1_000;
/// Steps of jq that it may take, some seconds, and after which a round takes nothing more.
const FOLLOWS_JQ_STEPS_MAX: u64 = 50_000_000;
const ROUND_JQ_STEPS: u64 = 5_000_000;
/// A place that nothing was written of is written when it is so many events old: an opening reads no more again.
const PLACE_EVENTS: u64 = 50_000;
/// Most ended instances that one commit forgets.
const FORGOTTEN_MAX: usize = 1_000;

/// What one instance is told, and by whom.
enum Told1 {
    Start { position: u64, parent: Option<Parent>, variables: Option<String> },
    Event { position: u64, roles: Vec<Role>, cause: Option<Attempt> },
    Due(Timestamp),
    Answered(Attempt, Answer, u64, String),
    Child(Attempt, Ending),
    Act(ActKind, String, u64),
    Sent(Attempt),
    NotSent(Attempt, String),
    Told(u16, u16, Answered),
}

impl Told1 {
    fn as_input(&self, number: u64) -> Fed<'_> {
        match self {
            Self::Start { position, parent, variables } => {
                Fed::Start { number, position: *position, parent: *parent, variables: variables.as_deref() }
            }
            Self::Event { position, roles, cause } => Fed::Event { position: *position, roles, cause: *cause },
            Self::Due(until) => Fed::Due { until: *until },
            Self::Answered(attempt, answer, position, text) => {
                Fed::Answered { attempt: *attempt, answer: *answer, position: *position, text }
            }
            Self::Child(attempt, outcome) => Fed::Child { attempt: *attempt, outcome: *outcome },
            Self::Act(what, reason, operation) => Fed::Act(Act { what: *what, operation: *operation, reason }),
            Self::Sent(attempt) => Fed::Sent { attempt: *attempt },
            Self::NotSent(attempt, reason) => Fed::NotSent { attempt: *attempt, reason },
            Self::Told(node, iteration, told) => Fed::Told { node: *node, iteration: *iteration, told: told.told() },
        }
    }
}

/// An instance in this round.
struct Open {
    ready: Arc<Ready>,
    key: Box<str>,
    begun: bool,
    state: State,
    notes: Vec<Note>,
    is_changed: bool,
}

struct Round<'a> {
    tenant: &'a Tenant,
    plans: Arc<Plans>,
    now: Timestamp,
    open: HashMap<u64, Open>,
    /// In the order in which they were first changed.
    order: Vec<u64>,
    /// The newest instance of a key, where this round knows of it.
    keys: HashMap<u128, Option<u64>>,
    /// Copies of what the fold has.
    known: HashMap<u64, Arc<Instance>>,
    last: u64,
    /// Open instances, those that this round begins counted.
    count: u64,
    queue: VecDeque<(u64, Told1)>,
    cache: Cache,
    commands: Vec<Prepared>,
    bytes: usize,
    calls: Vec<(u64, Attempt)>,
    /// Every instance that is not paused was told of the events up to here.
    told_to: u64,
    /// What was read of events that those missed that are to go on.
    backlog: Backlog,
    /// It came to a start for which there is no room.
    is_full: bool,
    /// Instances of which something was due.
    come: Vec<u64>,
    /// How many began.
    begun: usize,
}

/// Who waits for an act, and what to answer once the round is durable.
type Answers = Vec<(Reply<Acted>, Acted)>;

impl Tenant {
    /// Does a round as far as it goes without the loop.
    pub(super) fn round(&self) -> Result<Outcome, Fault> {
        let now = self.world.clock.now();
        let mut outcome = Outcome::default();
        let asked = std::mem::take(&mut *self.sagas.asked.lock());
        let seen = self.sagas.seen.load(std::sync::atomic::Ordering::Acquire);
        let (defined, asked): (Vec<_>, Vec<_>) = asked.into_iter().partition(|one| matches!(one, Asked::Define(..)));
        if !defined.is_empty() {
            // In a round of its own: what is new is looked at by the patterns that it leaves.
            self.sagas.asked.lock().splice(0..0, asked);
            return Ok(self.define_round(defined, seen, outcome));
        }
        let plans = Arc::clone(&self.sagas.plans.read());
        // What is decided after this is recorded no earlier than now.
        let (last, count, to, decided) = {
            let fold = self.decider.lock();
            (fold.sagas.last, fold.sagas.open, fold.sagas.to, fold.tail.next_position - 1)
        };
        let mut round = Round {
            tenant: self,
            plans: Arc::clone(&plans),
            now,
            open: HashMap::new(),
            order: Vec::new(),
            keys: HashMap::new(),
            known: HashMap::new(),
            last,
            count,
            queue: VecDeque::new(),
            cache: Cache::within(FOLLOWS_JQ_STEPS_MAX),
            commands: Vec::new(),
            bytes: 0,
            calls: Vec::new(),
            told_to: seen,
            backlog: Backlog::default(),
            is_full: false,
            come: Vec::new(),
            begun: 0,
        };
        // What is asked is fed before what is new, and after a fault it is answered with that.
        let mut answers = Vec::new();
        let mut fault = None;
        let mut asked = VecDeque::from(asked);
        let mut catching_up = std::mem::take(&mut *self.sagas.catching_up.lock());
        self.leave_withdrawn(&mut asked, &mut catching_up);
        let mut behind = Vec::new();
        while !round.is_long()
            && let Some(one) = asked.pop_front()
        {
            match one {
                Asked::Act(act) if fault.is_some() => {
                    answers.push((act.reply, Err(Fault::clone(fault.as_ref().expect("there is one")).into())));
                }
                Asked::Act(act) => {
                    let Some(act) = round.catch_up_first(act, seen, &mut behind, &mut catching_up) else { continue };
                    fault = round.answer_act(act, seen, &mut answers).err();
                }
                Asked::Answered { reply, .. } if fault.is_some() => outcome.answered.push(reply),
                Asked::Answered { number, attempt, answer, position, text, reply } => {
                    outcome.answered.push(reply);
                    if let Err(failed) = round.feed(number, Told1::Answered(attempt, answer, position, text)) {
                        fault = Some(failed);
                    }
                }
                Asked::Define(..) => unreachable!("they were taken out"),
            }
        }
        if !behind.is_empty() {
            catching_up.push_back(CatchUp::of(behind));
        }
        if fault.is_none()
            && let Some(mut first) = catching_up.pop_front()
        {
            match self.read_missed(&plans, &mut first, seen) {
                Ok(false) => catching_up.push_back(first),
                Ok(true) => match round.go_on_with(&mut first, seen, &mut answers) {
                    // Those that come later get a backlog of their own.
                    Ok(()) if first.acts.is_empty() => ask_again(&mut asked, first.later),
                    // It found no room for all.
                    Ok(()) => catching_up.push_front(first),
                    Err(failed) => {
                        answers.extend(first.all().map(|act| (act.reply, Err(failed.clone().into()))));
                        fault = Some(failed);
                    }
                },
                // Nothing of it was fed: it is the matter of those alone who need what cannot be read.
                Err(failed) => {
                    let (unread, others) = first.split_unread();
                    answers.extend(unread.into_iter().map(|act| (act.reply, Err(failed.clone().into()))));
                    ask_again(&mut asked, others);
                }
            }
        }
        // What finds no room is asked first in the next round.
        outcome.is_more = !asked.is_empty() || !catching_up.is_empty();
        *self.sagas.catching_up.lock() = catching_up;
        self.sagas.asked.lock().splice(0..0, asked);
        // A stop does not wait until all is read.
        self.fail_asked_if_closed();
        if let Some(fault) = fault {
            for (reply, _) in answers {
                reply(Err(fault.clone().into()));
            }
            outcome.answered.into_iter().for_each(|reply| reply(Err(fault.clone())));
            return Err(fault);
        }
        // Without the code of one the log is not followed, but what people do is done.
        let waits = self.sagas.waits_for_code.load(std::sync::atomic::Ordering::Acquire);
        let fed = if waits { Ok((seen, false)) } else { round.follow(seen, self.position(), decided) };
        outcome.come = std::mem::take(&mut round.come);
        let (seen, is_more) = match fed {
            Ok(fed) => fed,
            Err(fault) => {
                answers.into_iter().for_each(|(reply, _)| reply(Err(fault.clone().into())));
                outcome.answered.into_iter().for_each(|reply| reply(Err(fault.clone())));
                self.rewind(&outcome.come);
                return Err(fault);
            }
        };
        outcome.seen = seen;
        outcome.is_more |= is_more || !outcome.come.is_empty();
        outcome.is_full = round.is_full;
        outcome.answers = answers;
        round.finish(&mut outcome, to);
        Ok(outcome)
    }

    fn define_round(&self, defined: Vec<Asked>, seen: u64, mut outcome: Outcome) -> Outcome {
        outcome.seen = seen;
        for one in defined {
            let Asked::Define(make, reply) = one else { unreachable!("only declarations were given") };
            let (record, ready) = make(seen);
            outcome.commit.records.push((record.record(), record.clone()));
            outcome.defined.push((record, ready, reply));
        }
        outcome
    }

    /// Answers the acts of operations that are being cancelled.
    fn leave_withdrawn(&self, asked: &mut VecDeque<Asked>, catching_up: &mut VecDeque<CatchUp>) {
        let withdrawn = self.sagas.withdrawn.lock().clone();
        if withdrawn.is_empty() {
            return;
        }
        let is_withdrawn = |act: &ActAsked| withdrawn.contains(&act.operation);
        let refuse = |act: ActAsked| {
            let (id, state) = (act.operation, OperationState::Cancelled);
            (act.reply)(Err(OperationRefusal::WrongState { id, state }.into()));
        };
        for one in std::mem::take(asked) {
            match one {
                Asked::Act(act) if is_withdrawn(&act) => refuse(act),
                one => asked.push_back(one),
            }
        }
        for mut one in std::mem::take(catching_up) {
            one.take_if(is_withdrawn).into_iter().for_each(refuse);
            match one.acts.is_empty() {
                true => ask_again(asked, one.later),
                false => catching_up.push_back(one),
            }
        }
    }

    /// Sets again what was due and is not done.
    fn rewind(&self, come: &[u64]) {
        let dues: Vec<_> = {
            let fold = self.decider.lock();
            come.iter().map(|number| (*number, fold.sagas.instances.get(*number).and_then(|one| one.due))).collect()
        };
        self.set_dues(dues);
    }
}

impl Round<'_> {
    /// Copies instances of these keys from the fold, all at once: the loop waits meanwhile.
    fn fetch(&mut self, hashes: impl Iterator<Item = u128>) {
        let wanted: HashSet<u128> = hashes.filter(|hash| !self.keys.contains_key(hash)).collect();
        if wanted.is_empty() {
            return;
        }
        let fold = self.tenant.decider.lock();
        for hash in wanted {
            let number = fold.sagas.of_key(hash);
            self.keys.insert(hash, number);
            if let Some((number, instance)) = number.and_then(|n| Some((n, fold.sagas.instances.get(n)?))) {
                self.known.insert(number, Arc::clone(instance));
            }
        }
    }

    fn fetch_numbers(&mut self, numbers: &[u64]) {
        let fold = self.tenant.decider.lock();
        for number in numbers {
            if let Some(instance) = fold.sagas.instances.get(*number) {
                self.known.entry(*number).or_insert_with(|| Arc::clone(instance));
            }
        }
    }

    /// An instance as this round has it.
    fn load(&mut self, number: u64) -> Option<&mut Open> {
        if !self.open.contains_key(&number) {
            if !self.known.contains_key(&number) {
                self.fetch_numbers(&[number]);
            }
            let instance = self.known.get(&number)?;
            let ready = Arc::clone(self.plans.all.get(&instance.plan)?);
            let state = postcard::from_bytes(&instance.state).ok()?;
            let key = instance.key.clone();
            let (begun, notes, is_changed) = (false, Vec::new(), false);
            self.open.insert(number, Open { ready, key, begun, state, notes, is_changed });
        }
        self.open.get_mut(&number)
    }

    /// Whether the log behind an instance has to be read before an act on it. Then it waits, and so does whatever the same operation
    /// asks after it; otherwise it is given back.
    fn catch_up_first(
        &mut self,
        act: ActAsked,
        seen: u64,
        behind: &mut Vec<(ActAsked, Vec<Behind>)>,
        catching_up: &mut VecDeque<CatchUp>,
    ) -> Option<ActAsked> {
        let operation = act.operation;
        let is_of = |one: &&mut CatchUp| operation > 0 && one.is_of(operation);
        if let Some(earlier) = catching_up.iter_mut().find(is_of) {
            earlier.later.push_back(act);
            return None;
        }
        let found = self.behind(&act, seen);
        if found.is_empty() && !behind.iter().any(|(other, _)| operation > 0 && other.operation == operation) {
            return Some(act);
        }
        behind.push((act, found));
        None
    }

    /// The instances that an act may let go on: its own, and those within it that may be undone with it.
    fn behind(&mut self, act: &ActAsked, seen: u64) -> Vec<Behind> {
        let Some(open) = self.load(act.number) else { return Vec::new() };
        let is_possible = may(&open.ready.plan, &open.state, act.act).is_ok();
        let was_done = act.operation > 0 && self.was_done(act.number, act.operation);
        if matches!(act.act, ActKind::Pause { .. }) || !is_possible || was_done {
            return Vec::new();
        }
        let (mut found, mut within) = (Vec::new(), vec![act.number]);
        while let Some(number) = within.pop() {
            let Some(open) = self.load(number) else { continue };
            let (ready, paused) = (Arc::clone(&open.ready), open.state.paused());
            let key_hash = key_hash(&ready.name, &open.key);
            let children = open.state.children(&ready.plan);
            let place = paused.map(|paused| paused.place).filter(|place| *place < seen);
            found.extend(place.map(|place| Behind { number, plan: ready.number, key_hash, place }));
            within.extend(children.into_iter().filter_map(|attempt| self.child_of(number, &ready, attempt)));
        }
        found
    }

    /// Does the acts that waited until the log was read, as far as there is room.
    fn go_on_with(&mut self, catch_up: &mut CatchUp, seen: u64, answers: &mut Answers) -> Result<(), Fault> {
        self.backlog = std::mem::take(&mut catch_up.backlog);
        while !self.is_long()
            && let Some((act, _)) = catch_up.acts.pop_front()
        {
            self.answer_act(act, seen, answers)?;
        }
        catch_up.backlog = std::mem::take(&mut self.backlog);
        Ok(())
    }

    fn answer_act(&mut self, asked: ActAsked, seen: u64, answers: &mut Answers) -> Result<(), Fault> {
        let ActAsked { number, act, reason, operation, reply } = asked;
        let (answer, outcome) = match self.act(number, act, reason, operation, seen) {
            Ok(answer) => (answer, Ok(())),
            Err(fault) => (Err(fault.clone().into()), Err(fault)),
        };
        answers.push((reply, answer));
        outcome
    }

    fn act(&mut self, number: u64, act: ActKind, reason: String, operation: u64, seen: u64) -> Result<Acted, Fault> {
        let refused = |refusal| Ok(Err(NotDone::RefusedSaga(refusal)));
        if self.load(number).is_none() {
            return refused(SagaRefusal::NoInstance { number });
        }
        // What an operation did before a crash, and had not noted, is not done twice.
        if operation > 0 && self.was_done(number, operation) {
            let status = self.open.get(&number).and_then(|open| open.state.status());
            return Ok(Ok(status.map_or(InstanceState::Running, InstanceState::from)));
        }
        let Some(open) = self.load(number) else { return refused(SagaRefusal::NoInstance { number }) };
        if open.ready.lacks_code() && act != ActKind::Resolve {
            return refused(SagaRefusal::NotPossible(NotPossible::NoCode));
        }
        let act = if let ActKind::Pause { .. } = act { ActKind::Pause { place: seen } } else { act };
        let asked = Act { what: act, operation, reason: &reason };
        if let Err(why) = may(&open.ready.plan, &open.state, asked.what) {
            return refused(SagaRefusal::NotPossible(why));
        }
        let paused = open.state.paused();
        self.feed(number, Told1::Act(act, reason, operation))?;
        // Something else may have stopped it again.
        let goes_on = self.open.get(&number).is_some_and(|open| open.state.paused().is_none());
        if let Some(paused) = paused
            && goes_on
        {
            self.catch_up(number, paused.place, seen)?;
        }
        let status = self.open.get(&number).and_then(|open| open.state.status());
        Ok(Ok(status.map_or(InstanceState::Running, InstanceState::from)))
    }

    /// Lets an instance go on that is to be undone: what came meanwhile may say what there is to undo.
    fn go_on(&mut self, number: u64) -> Result<(), Fault> {
        let Some(open) = self.load(number) else { return Ok(()) };
        let Some(paused) = open.state.paused() else { return Ok(()) };
        let act = if open.state.has_code_failed() { ActKind::Retry { from: None } } else { ActKind::Resume };
        self.feed(number, Told1::Act(act, "the saga that began it is undone".to_owned(), 0))?;
        match self.open.get(&number).is_some_and(|open| open.state.paused().is_none()) {
            true => self.catch_up(number, paused.place, self.told_to),
            false => Ok(()),
        }
    }

    /// Whether an operation intervened in an instance already.
    fn was_done(&self, number: u64, operation: u64) -> bool {
        self.known.get(&number).is_some_and(|instance| instance.was_acted_on_by(operation))
            || self.open.get(&number).is_some_and(|open| open.notes.iter().any(|note| is_by(note, operation)))
    }

    /// Feeds what came while an instance was paused. What of it was not read for its act is read here.
    fn catch_up(&mut self, number: u64, from: u64, to: u64) -> Result<(), Fault> {
        let Some(open) = self.load(number) else { return Ok(()) };
        let (ready, key_hash) = (Arc::clone(&open.ready), key_hash(&open.ready.name, &open.key));
        let behind = Behind { number, plan: ready.number, key_hash, place: from };
        let mut backlog = self.backlog.split_off(number, from).unwrap_or_else(|| Backlog::of([behind]));
        loop {
            let missed = backlog.take(number);
            for Missed { position, roles, cause } in missed.into_iter().filter(|one| one.position > from) {
                if position <= to {
                    self.feed(number, Told1::Event { position, roles, cause })?;
                }
            }
            if backlog.to >= to {
                break;
            }
            if self.tenant.mailbox.lock().is_closed {
                // A stop does not wait until all is read.
                return Err(Fault::Closed);
            }
            self.tenant.read_chunk(&self.plans, &mut backlog, to)?;
        }
        // Calls and sagas within it are asked about again.
        let Some(open) = self.open.get(&number) else { return Ok(()) };
        let children = open.state.children(&ready.plan);
        self.calls.extend(open.state.calls().map(|attempt| (number, attempt)));
        for attempt in children {
            if let Some(child) = self.child_of(number, &ready, attempt)
                && let Some(Status::Ended(outcome)) = self.load(child).and_then(|open| open.state.status())
            {
                self.feed(number, Told1::Child(attempt, outcome))?;
            }
        }
        Ok(())
    }

    /// Whether it takes nothing more, so that nobody else waits long for it and its commit stays small.
    fn is_long(&self) -> bool {
        let steps = self.cache.steps_taken(FOLLOWS_JQ_STEPS_MAX);
        self.bytes >= ROUND_BYTES || self.begun >= ROUND_INSTANCES || steps >= ROUND_JQ_STEPS
    }

    /// Feeds what is due by then, as far as a round takes it.
    fn due(&mut self, until: Timestamp) -> Result<(), Fault> {
        if self.tenant.sagas.next().is_none_or(|next| next > until) {
            return Ok(());
        }
        let first = self.come.len();
        self.come.extend(self.tenant.take_due(until, DUE_MAX - first));
        let come = self.come[first..].to_vec();
        self.fetch_numbers(&come);
        for number in come {
            // Those that are left wait as before.
            if self.is_long() {
                break;
            }
            let Some(open) = self.load(number) else { continue };
            // What came before it in this round may have put it off.
            let has_come = |due: &Due| !open.is_changed || due.at <= until;
            if let Some(due) = open.state.due().filter(has_come) {
                self.feed(number, Told1::Due(due.at))?;
            }
        }
        Ok(())
    }

    /// Feeds what is new and what is due, as they came: whatever was recorded in time is fed before its time is over, however late it is
    /// read. How far it came, and whether there is more.
    fn follow(&mut self, seen: u64, durable: u64, decided: u64) -> Result<(u64, bool), Fault> {
        if self.plans.all.is_empty() {
            return Ok((durable, false));
        }
        self.tenant.notice_set_back(self.now);
        let (to, read_until) = self.follow_log(seen, durable)?;
        // What is not read yet, or not durable, was recorded at that time or later. Where there is no room, time has to make it.
        let until = if to >= decided || self.is_full { self.now } else { read_until };
        self.due(until.min(self.now))?;
        Ok((to, to < durable && !self.is_full))
    }

    /// Feeds what is new, and what was due before it. How far it came, and the time before all that comes behind.
    fn follow_log(&mut self, seen: u64, durable: u64) -> Result<(u64, Timestamp), Fault> {
        let mut read_until = Timestamp(i64::MIN);
        if seen >= durable {
            return Ok((seen, read_until));
        }
        let page = self.tenant.read_to(&Filter::default(), Direction::Forward, Some(seen + 1), CHUNK, durable)?;
        let to = page.next.map_or(durable, |next| next - 1);
        let hits = {
            let mut stage = self.tenant.sagas.stage.lock();
            self.tenant.hits(&self.plans, &mut stage, &page.events)?
        };
        self.fetch(hits.iter().map(|hit| hit.hash));
        self.fetch_numbers(&hits.iter().filter_map(|hit| hit.caused_by).collect::<Vec<_>>());
        let starts: HashSet<usize> =
            hits.iter().filter(|hit| hit.roles.contains(&Role::Start)).map(|hit| hit.event).collect();
        let mut at = None;
        for hit in hits {
            let recorded = &page.events[hit.event];
            // An event is fed to all whom it concerns or to none: the next round begins with a whole one.
            if at != Some(hit.event) {
                at = Some(hit.event);
                read_until = just_before(recorded.stamp.recorded_time);
                self.due(read_until.min(self.now))?;
                self.is_full = self.count >= SAGA_INSTANCES_MAX && starts.contains(&hit.event);
                if self.is_full || self.is_long() || self.come.len() >= DUE_MAX {
                    // It is the first of the next round, which waits if there is no room.
                    return Ok((recorded.stamp.position - 1, read_until));
                }
            }
            self.hit(hit, recorded)?;
        }
        Ok((to, page.events.last().map_or(read_until, |last| just_before(last.stamp.recorded_time))))
    }

    fn hit(&mut self, hit: Hit, recorded: &Recorded) -> Result<(), Fault> {
        let Hit { ready, caused_by, key, hash, mut roles, .. } = hit;
        let position = recorded.stamp.position;
        self.told_to = position - 1;
        if ready.plan.kind() == Kind::Rule {
            self.cache.put(self.tenant, recorded.clone())?;
            return self.rule(ready, key, position);
        }
        let of_key = self.keys.get(&hash).copied().flatten();
        let has_begun = roles.contains(&Role::Start) && self.start(&ready, key, hash, of_key, recorded)?;
        roles.retain(|role| *role != Role::Start);
        if roles.is_empty() {
            return Ok(());
        }
        // Whoever names the command that it answers is heard whatever its key is. Versions share their keys: what another one waits for
        // concerns only its own instances. What begins an instance is told to no other of its key.
        let is_own =
            |round: &mut Self, number| round.load(number).is_some_and(|open| open.ready.number == ready.number);
        let answered = caused_by.filter(|number| is_own(self, *number));
        let of_key = of_key.filter(|number| !has_begun && is_own(self, *number));
        if let Some(number) = answered.or(of_key) {
            let cause = self.tenant.cause_of(&recorded.event(), number);
            self.feed(number, Told1::Event { position, roles, cause })?;
        }
        Ok(())
    }

    /// Tells a start to the instance of its key, or begins one. Whether it did.
    fn start(
        &mut self,
        ready: &Arc<Ready>,
        key: String,
        hash: u128,
        of_key: Option<u64>,
        recorded: &Recorded,
    ) -> Result<bool, Fault> {
        let position = recorded.stamp.position;
        let told = Told1::Start { position, parent: None, variables: None };
        let has_ended = |open: &mut Open| matches!(open.state.status(), Some(Status::Ended(_)) | None);
        let begins_another = ready.plan.again() == Again::Begin;
        match of_key {
            Some(number) if !begins_another || !self.load(number).is_none_or(has_ended) => {
                if self.load(number).is_some() {
                    self.feed(number, told)?;
                }
                Ok(false)
            }
            _ if key.is_empty() => Ok(false),
            _ => {
                self.cache.put(self.tenant, recorded.clone())?;
                let number = self.begin(Arc::clone(ready), key, hash);
                self.feed(number, told)?;
                Ok(true)
            }
        }
    }

    /// A new instance, not yet told that it begins.
    fn begin(&mut self, ready: Arc<Ready>, key: String, hash: u128) -> u64 {
        self.last += 1;
        self.count += 1;
        self.begun += 1;
        self.bytes += INSTANCE_BYTES + key.len();
        self.keys.insert(hash, Some(self.last));
        let (state, notes) = (State::default(), Vec::new());
        self.open.insert(self.last, Open { ready, key: key.into(), begun: true, state, notes, is_changed: false });
        self.last
    }

    /// A rule publishes at once, and nothing is kept of it unless it could not.
    fn rule(&mut self, ready: Arc<Ready>, key: String, position: u64) -> Result<(), Fault> {
        let hash = key_hash(&ready.name, &format!("{key}/{position}"));
        let number = self.begin(ready, format!("{key}/{position}"), hash);
        self.feed(number, Told1::Start { position, parent: None, variables: None })?;
        let is_done =
            self.open.get(&number).is_some_and(|open| open.state.status() == Some(Status::Ended(Ending::Completed)));
        if is_done {
            self.open.remove(&number);
            self.order.retain(|other| *other != number);
            self.keys.remove(&hash);
            self.last -= 1;
        }
        self.count -= 1;
        self.begun -= 1;
        Ok(())
    }

    /// Tells an instance something, and all that follows from it.
    fn feed(&mut self, number: u64, told: Told1) -> Result<(), Fault> {
        self.queue.push_back((number, told));
        while let Some((number, told)) = self.queue.pop_front() {
            let mut answers = VecDeque::from([told]);
            while let Some(told) = answers.pop_front() {
                let now = self.now;
                let Some(open) = self.load(number) else { break };
                let state = std::mem::take(&mut open.state);
                let before = state.clone();
                let stepped = step(&open.ready.plan, state, told.as_input(number), now);
                let has_changed = stepped.state != before || !stepped.notes.is_empty();
                open.state = stepped.state;
                let text = |note: &Note| note.text.as_ref().map_or(0, |text| text.len());
                let noted: usize = stepped.notes.iter().map(|note| NOTE_BYTES + text(note)).sum();
                open.notes.extend(stepped.notes);
                if has_changed && !open.is_changed {
                    open.is_changed = true;
                    self.order.push(number);
                    self.bytes += self.known.get(&number).map_or(0, |instance| instance.state.len());
                }
                self.bytes += noted;
                for effect in stepped.effects {
                    if let Some(answer) = self.carry_out(number, effect)? {
                        answers.push_back(answer);
                    }
                }
            }
        }
        Ok(())
    }

    /// Does what a step asks for; what is to be told at once.
    fn carry_out(&mut self, number: u64, effect: Effect) -> Result<Option<Told1>, Fault> {
        Ok(match effect {
            Effect::Send(attempt) => Some(match self.send(number, attempt)? {
                Ok(()) => Told1::Sent(attempt),
                Err(reason) => Told1::NotSent(attempt, reason),
            }),
            // What cannot be said to the endpoint is known now, and not when it is called.
            Effect::Call(attempt) => match self.call_body(number, attempt)? {
                Ok(_) => {
                    self.calls.push((number, attempt));
                    None
                }
                Err(reason) => Some(Told1::NotSent(attempt, reason)),
            },
            Effect::Begin(attempt) => match self.begin_child(number, attempt)? {
                Ok(()) => None,
                Err(reason) => Some(Told1::NotSent(attempt, reason)),
            },
            Effect::UndoChild(attempt) => {
                let ready = Arc::clone(&self.open[&number].ready);
                match self.child_of(number, &ready, attempt) {
                    Some(child) => {
                        self.go_on(child)?;
                        let reason = "the saga that began it is undone".to_owned();
                        self.queue.push_back((child, Told1::Act(ActKind::Undo, reason, 0)));
                        None
                    }
                    // It is not remembered any more, or never began.
                    None => Some(Told1::Child(attempt, Ending::Compensated)),
                }
            }
            Effect::Ask { node, iteration } => Some(Told1::Told(node, iteration, self.answer(number, node)?)),
            Effect::Tell { parent, outcome } => {
                self.queue.push_back((parent.number, Told1::Child(parent.attempt, outcome)));
                None
            }
        })
    }

    fn asker(&self, number: u64, attempt: Option<Attempt>) -> (Arc<Ready>, Box<str>, State, Option<Attempt>) {
        let open = &self.open[&number];
        (Arc::clone(&open.ready), open.key.clone(), open.state.clone(), attempt)
    }

    fn jq(&mut self, number: u64, attempt: Option<Attempt>, text: &str) -> Mapped<String> {
        let (ready, key, state, attempt) = self.asker(number, attempt);
        let asker = Asker { ready: &ready, key: &key, state: &state, attempt };
        asker.apply(self.tenant, &mut self.cache, text)
    }

    fn call_body(&mut self, number: u64, attempt: Attempt) -> Mapped<String> {
        let (ready, key, state, attempt) = self.asker(number, Some(attempt));
        let asker = Asker { ready: &ready, key: &key, state: &state, attempt };
        self.tenant.body(&asker, &mut self.cache)
    }

    fn answer(&mut self, number: u64, node: u16) -> Result<Answered, Fault> {
        let (ready, key, state, attempt) = self.asker(number, None);
        let answered = if ready.plan.is_written() {
            self.ask_code(number, &ready)?
        } else {
            let asker = Asker { ready: &ready, key: &key, state: &state, attempt };
            asker.answer(self.tenant, &mut self.cache, node)?
        };
        // The variables that there were are not kept.
        let bytes = answered.bytes().saturating_sub(state.variables().map_or(0, str::len));
        Ok(match self.has_room(bytes, FOLLOWS_BYTES_MAX) {
            Ok(()) => {
                self.bytes += bytes;
                answered
            }
            Err(reason) => Answered::Failed(reason),
        })
    }

    fn begin_child(&mut self, number: u64, attempt: Attempt) -> Mapped<()> {
        let ready = Arc::clone(&self.open[&number].ready);
        let Some(child) = ready.plan.child(attempt) else { return Ok(Err("there is no such step".into())) };
        if self.child_of(number, &ready, attempt).is_some() {
            return Ok(Ok(()));
        }
        let name = PlanName::saga(&*child.saga);
        let Some(begun) = self.plans.newest_of(&name).cloned() else {
            return Ok(Err(format!("expected a declared saga, found no {}", child.saga)));
        };
        let (_, key, state, attempt_of) = self.asker(number, Some(attempt));
        let asker = Asker { ready: &ready, key: &key, state: &state, attempt: attempt_of };
        let variables = match asker.variables(self.tenant, &mut self.cache, child)? {
            Ok(variables) => variables,
            Err(reason) => return Ok(Err(reason)),
        };
        if self.count >= SAGA_INSTANCES_MAX {
            return Ok(Err(format!("expected at most {SAGA_INSTANCES_MAX} open instances, and so many are open")));
        }
        if self.begun >= FOLLOWS_INSTANCES_MAX {
            let reason = format!("expected at most {FOLLOWS_INSTANCES_MAX} instances that one event leads to at once");
            return Ok(Err(reason));
        }
        let bytes = variables.as_ref().map_or(0, String::len);
        if let Err(reason) = self.has_room(bytes, FOLLOWS_BYTES_MAX) {
            return Ok(Err(reason));
        }
        self.bytes += bytes;
        let position = self.open[&number].state.start();
        let key = child_key(&ready, number, attempt);
        let hash = key_hash(&name, &key);
        let begun = self.begin(begun, key, hash);
        let parent = Some(Parent { number, attempt });
        self.queue.push_back((begun, Told1::Start { position, parent, variables }));
        Ok(Ok(()))
    }

    /// Whether so many bytes more may follow from what the round is at.
    fn has_room(&self, bytes: usize, most: usize) -> Result<(), String> {
        match self.bytes.saturating_add(bytes) > most {
            true => Err(format!(
                "expected at most {} MiB that one event leads to at once, with this it is more",
                most >> 20
            )),
            false => Ok(()),
        }
    }

    /// The instance that an attempt began.
    fn child_of(&mut self, number: u64, ready: &Ready, attempt: Attempt) -> Option<u64> {
        let command = Attempt { purpose: Purpose::Command, ..attempt };
        let child = ready.plan.child(command)?;
        let hash = key_hash(&PlanName::saga(&*child.saga), &child_key(ready, number, attempt));
        self.fetch([hash].into_iter());
        self.keys.get(&hash).copied().flatten()
    }

    /// Asks the code of a saga that is written in Rust.
    fn ask_code(&mut self, number: u64, ready: &Ready) -> Result<Answered, Fault> {
        let state = self.open[&number].state.clone();
        let (Some(asked), Some(code)) = (state.asked(), ready.code.get()) else {
            return Ok(Answered::Failed("its code is missing: open the store by the program that brings it".into()));
        };
        let input = match asked {
            AskedOfCode::Event { position } => match self.cache.get(self.tenant, *position)? {
                Some(recorded) => CodeInput::Event(Box::new(recorded.clone())),
                None => return Ok(Answered::Failed(format!("the event at position {position} is not there any more"))),
            },
            AskedOfCode::Timer { name, .. } => CodeInput::Timer(name),
            AskedOfCode::NotSent { kind, reason } => CodeInput::NotSent { kind, reason },
            AskedOfCode::Cancel { reason } => CodeInput::Cancel(reason),
        };
        Ok(match code.ask(state.variables(), input) {
            Ok(wanted) => Answered::Wanted(wanted),
            Err(reason) => Answered::Failed(reason),
        })
    }

    /// The event of an attempt: its type, its subject if it has one of its own, and its data.
    fn content(&mut self, number: u64, attempt: Attempt) -> Mapped<(Box<str>, Option<Option<String>>, Data<'static>)> {
        let (ready, _, state, _) = self.asker(number, Some(attempt));
        if let Some(sending) = state.sending(attempt) {
            let data = sending.data.as_ref().map_or(Data::None, |data| Data::Json(data.to_string().into()));
            let subject = sending.subject.as_ref().map(|subject| Some(subject.to_string()));
            return Ok(Ok((sending.kind.clone(), subject, data)));
        }
        let Some(Message { kind, subject, data }) = ready.plan.message(attempt, &state).cloned() else {
            return Ok(Err("there is no such step".into()));
        };
        let mapped = |round: &mut Self, text: Option<Box<str>>| match text {
            Some(text) => round.jq(number, Some(attempt), &text).map(|outcome| outcome.map(Some)),
            None => Ok(Ok(None)),
        };
        let subject = match mapped(self, subject)? {
            Ok(Some(json)) => match serde_json::from_str::<String>(&json) {
                Ok(subject) => Some(Some(subject)),
                Err(_) if json == "null" => Some(None),
                Err(_) => {
                    return Ok(Err(format!(
                        "expected a text as the subject, found {}",
                        json.chars().take(64).collect::<String>()
                    )));
                }
            },
            Ok(None) => None,
            Err(reason) => return Ok(Err(reason)),
        };
        let data = match mapped(self, data)? {
            Ok(Some(json)) => Data::Json(json.into()),
            Ok(None) => data_of(self.tenant, &mut self.cache, state.start())?,
            Err(reason) => return Ok(Err(reason)),
        };
        Ok(Ok((kind, subject, data)))
    }

    /// Publishes the event of an attempt.
    fn send(&mut self, number: u64, attempt: Attempt) -> Mapped<()> {
        let (ready, key, state, _) = self.asker(number, Some(attempt));
        let (kind, subject, data) = match self.content(number, attempt)? {
            Ok(content) => content,
            Err(reason) => return Ok(Err(reason)),
        };
        let causation = self.cache.get(self.tenant, state.last())?.map(|recorded| recorded.event().id().to_owned());
        let Some(start) = self.cache.get(self.tenant, state.start())? else {
            return Ok(Err(format!("the event at position {} is not there any more", state.start())));
        };
        let start = start.event();
        let is_rule = ready.plan.kind() == Kind::Rule;
        let log = self.tenant.log_name;
        let id = match is_rule {
            true => format!("{log:016x}/{}", state.start()),
            false => format!("{}{attempt}", self.tenant.instance_id(number)),
        };
        let mut event =
            Event::builder(id, ready.source.clone(), kind.to_string()).data(data).time(self.now.to_string());
        if let Some(subject) = subject.unwrap_or_else(|| start.subject().map(str::to_owned)) {
            event = event.subject(subject);
        }
        let origin = Origin { ready: &ready, key: &key, start: &start, causation };
        if is_rule {
            let hops = start.attributes().iter().find(|(name, _)| name == "hops").map(|(_, value)| value);
            let hops = if let Some(Value::Integer(hops)) = hops { i64::from(*hops).max(0) } else { 0 };
            if hops >= i64::from(HOPS_MAX) {
                return Ok(Err(format!(
                    "expected an event that at most {HOPS_MAX} rules led to, found one of {hops}: rules go round"
                )));
            }
            event = origin.mark(event).attribute("hops", Value::Integer(hops as i32 + 1));
        } else {
            event = origin.mark_of(event, self.tenant, number, attempt);
        }
        let event = match event.build() {
            Ok(event) => event.into_owned(),
            Err(invalid) => return Ok(Err(invalid.to_string())),
        };
        let prepared = match self.tenant.prepare_now(&event, None) {
            Ok(prepared) => prepared,
            Err(invalid) => return Ok(Err(invalid.to_string())),
        };
        if let Some(refusal) = prepared.refused() {
            return Ok(Err(refusal.to_string()));
        }
        let most = if attempt.purpose == Purpose::Command { FOLLOWS_BYTES_MAX } else { UNDOES_BYTES_MAX };
        if let Err(reason) = self.has_room(prepared.bytes(), most) {
            return Ok(Err(reason));
        }
        let mut prepared = [prepared];
        self.tenant.keep_payloads(&mut prepared)?;
        let [prepared] = prepared;
        self.bytes += prepared.bytes();
        self.commands.push(prepared);
        Ok(Ok(()))
    }

    /// What the loop is to write, and what follows then.
    fn finish(mut self, outcome: &mut Outcome, to: u64) {
        let mut changed = Vec::with_capacity(self.order.len());
        for number in std::mem::take(&mut self.order) {
            let Some(open) = self.open.remove(&number) else { continue };
            let Some(status) = open.state.status() else { continue };
            let due = open.state.due();
            outcome.dues.push((number, due));
            let begun = open.begun.then(|| Begun { plan: open.ready.number, key: open.key.into() });
            let state = postcard::to_stdvec(&open.state).expect("it has no map with keys unknown");
            changed.push(Changed { number, begun, state, status: InstanceState::from(status), due, notes: open.notes });
        }
        // What came and changed nothing waits as before.
        let settled: HashSet<u64> = outcome.dues.iter().map(|(number, _)| *number).collect();
        for number in outcome.come.iter().filter(|number| !settled.contains(number)) {
            let due = self.known.get(number).and_then(|instance| instance.due);
            outcome.dues.push((*number, due));
        }
        outcome.calls = self.calls;
        let is_old = outcome.seen >= to + PLACE_EVENTS;
        if changed.is_empty() && self.commands.is_empty() && !is_old {
            return;
        }
        let forgotten = self.tenant.forgotten(self.now);
        let step = StepRecord { to: outcome.seen, at: self.now, changed, forgotten };
        outcome.commit.step = Some((step.record(), Arc::new(step)));
        outcome.commit.commands = self.commands;
    }
}

impl Tenant {
    /// Ended instances that are too many or too old.
    fn forgotten(&self, now: Timestamp) -> Vec<u64> {
        let fold = self.decider.lock();
        let ended = &fold.sagas.ended;
        let surplus = ended.len().saturating_sub(SAGA_ENDED_MAX);
        let is_old = |number: &u64| {
            let instance = fold.sagas.instances.get(*number);
            instance.is_some_and(|one| one.status.is_ended() && one.updated.plus_ms(SAGA_ENDED_MS) < now)
        };
        let has_ended = |number: &u64| fold.sagas.instances.get(*number).is_some_and(|one| one.status.is_ended());
        let first = ended.iter().take(FORGOTTEN_MAX).enumerate();
        first
            .take_while(|(at, number)| *at < surplus || is_old(number))
            .map(|(_, number)| *number)
            .filter(has_ended)
            .collect()
    }
}

/// Puts acts before all that is asked.
fn ask_again(asked: &mut VecDeque<Asked>, acts: VecDeque<ActAsked>) {
    acts.into_iter().rev().for_each(|act| asked.push_front(Asked::Act(act)));
}

fn just_before(time: Timestamp) -> Timestamp {
    Timestamp(time.0.saturating_sub(1))
}

fn child_key(ready: &Ready, number: u64, attempt: Attempt) -> String {
    format!("{}/{number}/{}.{}", ready.name.name, attempt.node, attempt.iteration)
}
