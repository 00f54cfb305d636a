//! What a changed saga would have made of history: the events of a range are fed once more, in memory, to instances of the new
//! declaration, and each is held against the instance that there was. Nothing is published and nothing is written.
//!
//! What others did is known only as far as it happened. A command is taken as sent when the instance that there was sent it, and a call
//! or a saga within it comes to what it came to if that one asked for the same; whatever depends on what nobody was ever asked is unknown,
//! and never guessed.

mod facts;
mod instance;
mod past;
mod real;
mod verdict;
mod world;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use quipu_domain::saga::{Again, Attempt, Role, Saga};
use quipu_domain::{Direction, Filter, StartAt, Timestamp};
use quipu_store::Fault;

use super::SagaRefusal;
use super::follow::Hit;
use super::mapping::Cache;
use super::ready::{Plans, Ready};
use super::records::Declaration;
use super::stage::Stage;
use crate::read::Recorded;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
use instance::{Doubt, Would};
use real::{Beginning, Counterpart, Reals};
use verdict::End;
pub use verdict::{WhatIf, WhatIfDifference, WhatIfVerdict};
use world::{Limits, Stop, World};
pub use world::{WHAT_IF_BYTES_MAX, WHAT_IF_INSTANCES_MAX};

/// Most instances of one verdict that are listed.
pub const WHAT_IF_LISTED_MAX: usize = 100;
/// Events that are read at once, before it is looked whether somebody waits for the answer.
const CHUNK: usize = 100;
/// The number of the only plan that is asked.
const PLAN: u32 = 1;

/// What is fed, and how far it is.
struct Question<'a> {
    tenant: &'a Tenant,
    ready: Arc<Ready>,
    is_wanted: &'a dyn Fn() -> bool,
    limits: Limits,
    /// The first position, and the last.
    from: u64,
    until: u64,
    reals: Reals,
    /// None are those that are left out.
    instances: Vec<Option<Box<Would>>>,
    /// The newest of a key.
    by_key: HashMap<u128, usize>,
    /// By the number of the instance that there was.
    by_number: HashMap<u64, usize>,
    cache: Cache,
    /// What all that takes in memory.
    bytes: usize,
    /// Whether one was left out. No other begins then: a key has none that is not known.
    is_full: bool,
    left_out: u64,
    before: u64,
}

impl Tenant {
    /// What would have become of the instances of a range if the saga had been this one. Reads the range as long as `is_wanted`, which is
    /// asked at each event and each evaluation; none if it is not any more.
    ///
    /// # Errors
    /// [`SagaRefusal::Invalid`]; a range that makes no sense, as that of a replay; the log cannot be read.
    pub fn what_if(
        self: &Arc<Self>,
        saga: Saga,
        from: &StartAt,
        until: &StartAt,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Option<WhatIf>, NotDone> {
        self.what_if_within(saga, from, until, is_wanted, Limits::default())
    }

    fn what_if_within(
        self: &Arc<Self>,
        saga: Saga,
        from: &StartAt,
        until: &StartAt,
        is_wanted: &dyn Fn() -> bool,
        limits: Limits,
    ) -> Result<Option<WhatIf>, NotDone> {
        let (first, last) = self.range(from, until)?;
        let end = self.end_of(until, last)?;
        let declaration = Declaration::from(saga);
        let plan = declaration.plan().map_err(|findings| SagaRefusal::Invalid { findings })?;
        let ready = Arc::new(Ready::new(PLAN, 0, plan));
        if let Some((text, reason)) = ready.broken_jq() {
            return Err(SagaRefusal::Invalid { findings: vec![verdict::broken(text, reason)] }.into());
        }
        let plans = only(&ready);
        let mut stage = Stage::of(plans.patterns(), end);
        let reals = self.reals(&declaration)?;
        let mut question = Question {
            tenant: self,
            is_wanted,
            limits,
            from: first,
            until: last,
            bytes: reals.bytes(),
            reals,
            ready,
            instances: Vec::new(),
            by_key: HashMap::new(),
            by_number: HashMap::new(),
            cache: Cache::within(limits.jq_steps),
            is_full: false,
            left_out: 0,
            before: 0,
        };
        let mut next = Some(first);
        while let Some(at) = next {
            if !is_wanted() {
                return Ok(None);
            }
            let page = self.read_to(&Filter::default(), Direction::Forward, Some(at), CHUNK, last)?;
            let hits = self.hits(&plans, &mut stage, &page.events)?;
            match question.page(&page.events, hits) {
                Err(Stop::Unwanted) => return Ok(None),
                Err(Stop::Fault(fault)) => return Err(fault.into()),
                Err(Stop::TooMuch) | Ok(()) => {}
            }
            next = page.next.filter(|next| *next <= last);
        }
        match question.end(end) {
            Err(Stop::Fault(fault)) => Err(fault.into()),
            Err(Stop::Unwanted | Stop::TooMuch) => Ok(None),
            Ok(found) => Ok(Some(found.over(first, last, end))),
        }
    }

    /// Until when time passes: that of the end, or of its event.
    fn end_of(&self, until: &StartAt, last: u64) -> Result<Timestamp, Fault> {
        let told = if let StartAt::Time(text) = until { Timestamp::parse(text) } else { None };
        Ok(match (told, until) {
            (Some(time), _) => time,
            (None, StartAt::Position(_)) => self.event_at(last)?.map_or(self.now(), |one| one.stamp.recorded_time),
            (None, _) => self.now(),
        })
    }
}

/// One plan, as if it were all that is declared.
fn only(ready: &Arc<Ready>) -> Plans {
    Plans {
        all: BTreeMap::from([(PLAN, Arc::clone(ready))]),
        newest: BTreeMap::from([(ready.name.clone(), PLAN)]),
        looks_at_data: ready.looks_at_data,
    }
}

impl Question<'_> {
    /// Feeds a page of events: what the instances that there were published, and what is something to the new declaration.
    fn page(&mut self, events: &[Recorded], hits: Vec<Hit>) -> Result<(), Stop> {
        let mut hits = hits.into_iter().peekable();
        for (at, recorded) in events.iter().enumerate() {
            self.cache.forget();
            if let Some((number, attempt)) = self.published(recorded) {
                self.pass(number, attempt, recorded)?;
            }
            while let Some(hit) = hits.next_if(|hit| hit.event == at) {
                self.hit(hit, recorded)?;
            }
        }
        Ok(())
    }

    /// Which attempt of which instance an event is the command of.
    fn published(&self, recorded: &Recorded) -> Option<(u64, Attempt)> {
        let event = recorded.event();
        let log = self.tenant.instance_id(0);
        let log = log.strip_suffix("0/").unwrap_or(&log);
        let name = event.id().strip_prefix(log).filter(|_| event.source() == self.ready.source)?;
        let (number, attempt) = name.split_once('/')?;
        Some((number.parse().ok()?, attempt.parse().ok()?))
    }

    /// Does something with an instance that is not left out; one that takes too much is.
    fn with(
        &mut self,
        at: usize,
        act: impl FnOnce(&mut Would, &mut World<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let Some(one) = &mut self.instances[at] else { return Ok(()) };
        let before = one.bytes();
        let Self { tenant, ready, cache, is_wanted, .. } = self;
        let done = act(one, &mut World { tenant, ready, cache, is_wanted: *is_wanted });
        self.bytes = self.bytes + one.bytes() - before;
        match done {
            Ok(()) if self.bytes <= self.limits.bytes => {}
            Ok(()) | Err(Stop::TooMuch) => {
                self.bytes -= one.bytes();
                self.instances[at] = None;
                self.leave_out();
            }
            Err(stop) => return Err(stop),
        }
        Ok(())
    }

    fn leave_out(&mut self) {
        self.is_full = true;
        self.left_out += 1;
    }

    /// A command of an instance that there was passes by.
    fn pass(&mut self, number: u64, attempt: Attempt, recorded: &Recorded) -> Result<(), Stop> {
        let Some(at) = self.by_number.get(&number).copied() else { return Ok(()) };
        let (event, recorded) = (recorded.event(), recorded.stamp.recorded_time);
        // When its timeout began; it was recorded a little later.
        let time = event.time().unwrap_or(recorded);
        self.with(at, |one, world| one.pass(world, attempt, event.kind(), time, recorded))
    }

    /// As the stage does.
    fn hit(&mut self, hit: Hit, recorded: &Recorded) -> Result<(), Stop> {
        let Hit { caused_by, key, hash, mut roles, .. } = hit;
        let (position, time) = (recorded.stamp.position, recorded.stamp.recorded_time);
        let answered = caused_by.and_then(|number| self.by_number.get(&number).copied());
        let existing = answered.or_else(|| self.by_key.get(&hash).copied());
        let starts = roles.contains(&Role::Start);
        roles.retain(|role| *role != Role::Start);
        // What was due before it may have ended the one that there is.
        if let Some(at) = existing.filter(|_| starts) {
            self.with(at, |one, world| one.advance(world, time))?;
        }
        let is_again = self.ready.plan.again() == Again::Begin;
        if let Some(at) = existing.filter(|_| starts && is_again && !key.is_empty())
            && let Some(doubt) = self.doubt_about(at, End { position, time })
        {
            // What comes from here on may be the other's.
            self.with(at, |one, _| {
                one.doubt = Some(doubt);
                Ok(())
            })?;
            return self.begin(key, hash, recorded, Some(doubt));
        }
        let has_ended = |at: usize| self.instances[at].as_ref().is_some_and(|one| one.has_ended());
        match existing {
            Some(at) if !starts || !is_again || !has_ended(at) => {
                if roles.is_empty() {
                    return Ok(());
                }
                let tenant = self.tenant;
                self.with(at, |one, world| {
                    let cause = one.real.and_then(|number| tenant.cause_of(&recorded.event(), number));
                    one.event(world, position, &roles, cause, time)
                })
            }
            _ if starts && !key.is_empty() => self.begin(key, hash, recorded, None),
            _ => Ok(()),
        }
    }

    /// Why nobody knows how one stands at a place.
    fn doubt_about(&self, at: usize, place: End) -> Option<(Attempt, Doubt)> {
        let one = self.instances[at].as_ref()?;
        // What it waits for is looked at first: what is known of the other takes long to read.
        if one.doubt.is_some() || one.held(&self.ready.plan).is_empty() {
            return one.doubt;
        }
        let known = one.real.and_then(|number| self.reals.known(number));
        verdict::doubt(one, known.as_ref(), &self.ready.plan, place)
    }

    /// One begins; or, with a doubt, nobody knows whether it does.
    fn begin(
        &mut self,
        key: String,
        hash: u128,
        recorded: &Recorded,
        doubt: Option<(Attempt, Doubt)>,
    ) -> Result<(), Stop> {
        let (position, time) = (recorded.stamp.position, recorded.stamp.recorded_time);
        if self.is_full || self.instances.len() >= self.limits.instances || self.bytes >= self.limits.bytes {
            self.leave_out();
            return Ok(());
        }
        let (ready, range) = (&*self.ready, self.from..=self.until);
        let beginning = Beginning { recorded, key: &key, hash, ready, range };
        let counterpart = self.reals.counterpart(self.tenant, &beginning)?;
        let real = match counterpart {
            // What came before the range is not known here.
            Counterpart::Before => {
                self.before += 1;
                return Ok(());
            }
            Counterpart::Is(number) => Some(number).filter(|number| !self.by_number.contains_key(number)),
            Counterpart::Forgotten | Counterpart::None => None,
        };
        let at = self.instances.len();
        let known = real.and_then(|number| self.reals.known(number));
        let is_forgotten = counterpart == Counterpart::Forgotten || (real.is_some() && known.is_none());
        // Waits of retries are spread by the number: those of the one that there was are the same.
        let number = real.unwrap_or(self.reals.last() + 1 + at as u64);
        let one = Box::new(match doubt {
            Some(doubt) => Would::in_doubt(key.into(), real, doubt),
            None => Would::new(key.into(), real, is_forgotten),
        });
        self.bytes += one.bytes();
        self.instances.push(Some(one));
        self.by_key.insert(hash, at);
        real.into_iter().for_each(|number| _ = self.by_number.insert(number, at));
        if doubt.is_some() {
            return Ok(());
        }
        self.with(at, |one, world| {
            known.into_iter().try_for_each(|known| one.know(world, known))?;
            one.start(world, number, position, time)
        })
    }

    /// Lets pass what time is left, and says what became of each.
    fn end(mut self, end: Timestamp) -> Result<WhatIf, Stop> {
        let place = End { position: self.until, time: end };
        let mut found = WhatIf { before: self.before, ..WhatIf::default() };
        for at in 0..self.instances.len() {
            self.cache.forget();
            self.with(at, |one, world| one.advance(world, end))?;
            let Some(one) = self.instances[at].take() else { continue };
            self.bytes -= one.bytes();
            let known = one.real.and_then(|number| self.reals.known(number));
            found.count(verdict::of(&one, known.as_ref(), &self.ready.plan, place));
        }
        found.left_out = self.left_out;
        for number in self.reals.without(&self.by_number, self.from, self.until) {
            // Beyond the most that are held, whether there would be one is not known.
            if self.left_out > 0 {
                break;
            }
            if !(self.is_wanted)() {
                return Err(Stop::Unwanted);
            }
            found.count(self.reals.known(number).as_ref().map(verdict::only_old));
        }
        Ok(found.sorted())
    }
}

impl Tenant {
    fn reals(self: &Arc<Self>, asked: &Declaration) -> Result<Reals, Fault> {
        // A copy that shares everything: what changes meanwhile does not wait.
        let sagas = self.decider.lock().sagas.clone();
        self.until_durable()?;
        Ok(Reals::of(sagas, Arc::clone(&self.sagas.plans.read()), asked))
    }
}
