//! What came while instances were paused. An act that may let some go on waits until the log behind them was read: once for all that
//! were asked about together, and so many events a round, so that nobody else waits for it. Nothing of it is recorded meanwhile: they
//! stay paused until a round feeds them the act and all that they missed. What a crash interrupts is asked and read again.

use std::collections::{HashMap, HashSet, VecDeque};

use quipu_domain::saga::{Attempt, Role};
use quipu_domain::{Direction, Filter};
use quipu_store::Fault;

use super::follow::Hit;
use super::ready::Plans;
use super::stage::ActAsked;
use crate::tenant::Tenant;

/// Events that a round reads for those that are behind: 60 ms for small ones in an unoptimized build.
const EVENTS_MAX: u64 = 5_000;
/// Events that are read at once.
pub(super) const CHUNK: usize = 500;
/// Most events that one catching up holds for its instances, about 64 bytes each. If there are more, the acts asked last wait for a
/// catching up of their own; what a single one missed beyond that is read while it is fed.
const MISSED_MAX: usize = 100_000;

/// An event that an instance is still to be told of.
pub(super) struct Missed {
    pub position: u64,
    pub roles: Vec<Role>,
    /// The attempt of the instance that caused it.
    pub cause: Option<Attempt>,
}

/// An instance that is paused.
pub(super) struct Behind {
    pub number: u64,
    pub plan: u32,
    pub key_hash: u128,
    /// It was told of the events up to here.
    pub place: u64,
}

/// What instances missed, as far as it was read.
#[derive(Default)]
pub(super) struct Backlog {
    instances: HashMap<u64, (Behind, Vec<Missed>)>,
    of_key: HashMap<u128, Vec<u64>>,
    /// The log was read up to here.
    pub to: u64,
    /// Events that are held.
    pub count: usize,
}

/// Acts in the order in which they were asked, and the backlog that is read for them.
pub(super) struct CatchUp {
    /// Each with the instances that are behind.
    pub acts: VecDeque<(ActAsked, Vec<u64>)>,
    /// Their turn comes after those.
    pub later: VecDeque<ActAsked>,
    pub backlog: Backlog,
}

impl Backlog {
    /// Nothing of it is read yet.
    pub fn of(behind: impl IntoIterator<Item = Behind>) -> Self {
        let mut backlog = Self { to: u64::MAX, ..Self::default() };
        for one in behind {
            backlog.to = backlog.to.min(one.place);
            // What several acts may let go on is there once.
            if !backlog.instances.contains_key(&one.number) {
                backlog.of_key.entry(one.key_hash).or_default().push(one.number);
                backlog.instances.insert(one.number, (one, Vec::new()));
            }
        }
        backlog
    }

    /// What was read of one instance, if it was read from that place on.
    pub fn split_off(&mut self, number: u64, place: u64) -> Option<Self> {
        let (behind, missed) = self.remove(number)?;
        if behind.place > place {
            return None;
        }
        let count = missed.len();
        let of_key = HashMap::from([(behind.key_hash, vec![number])]);
        Some(Self { instances: HashMap::from([(number, (behind, missed))]), of_key, to: self.to, count })
    }

    /// What was read of an instance since the last time.
    pub fn take(&mut self, number: u64) -> Vec<Missed> {
        let missed = self.instances.get_mut(&number).map(|(_, missed)| std::mem::take(missed)).unwrap_or_default();
        self.count -= missed.len();
        missed
    }

    fn remove(&mut self, number: u64) -> Option<(Behind, Vec<Missed>)> {
        let removed = self.instances.remove(&number)?;
        self.count -= removed.1.len();
        if let Some(numbers) = self.of_key.get_mut(&removed.0.key_hash) {
            numbers.retain(|other| *other != number);
        }
        Some(removed)
    }

    /// Keeps an event for those whom it concerns: by its key, or as an answer that names its command.
    fn keep(&mut self, hit: &Hit, position: u64, cause: impl Fn(u64) -> Option<Attempt>) {
        let roles: Vec<Role> = hit.roles.iter().copied().filter(|role| *role != Role::Start).collect();
        if roles.is_empty() {
            return;
        }
        let of_key = self.of_key.get(&hit.hash).into_iter().flatten().copied();
        let numbers: HashSet<u64> = of_key.chain(hit.caused_by).collect();
        for number in numbers {
            if let Some((behind, missed)) = self.instances.get_mut(&number)
                && behind.plan == hit.ready.number
                && behind.place < position
            {
                missed.push(Missed { position, roles: roles.clone(), cause: cause(number) });
                self.count += 1;
            }
        }
    }
}

impl CatchUp {
    /// One for these acts, nothing of which is read yet.
    pub fn of(behind: Vec<(ActAsked, Vec<Behind>)>) -> Self {
        let (mut acts, mut all) = (VecDeque::with_capacity(behind.len()), Vec::new());
        for (act, behind) in behind {
            acts.push_back((act, behind.iter().map(|one| one.number).collect()));
            all.extend(behind);
        }
        Self { acts, later: VecDeque::new(), backlog: Backlog::of(all) }
    }

    /// Takes acts out.
    pub fn take_if(&mut self, is_taken: impl Fn(&ActAsked) -> bool) -> Vec<ActAsked> {
        let (taken, left): (Vec<_>, _) = std::mem::take(&mut self.acts).into_iter().partition(|(act, _)| is_taken(act));
        self.acts = left.into();
        let (later, left): (Vec<_>, _) = std::mem::take(&mut self.later).into_iter().partition(is_taken);
        self.later = left.into();
        taken.into_iter().map(|(act, _)| act).chain(later).collect()
    }

    /// Leaves those for later that were asked last, until what is held is not too much. Whether that could be done.
    pub(super) fn make_room(&mut self, missed_max: usize) -> bool {
        while self.backlog.count > missed_max {
            if self.acts.len() <= 1 {
                return false;
            }
            let Some((act, behind)) = self.acts.pop_back() else { return false };
            behind.into_iter().for_each(|number| _ = self.backlog.remove(number));
            self.later.push_front(act);
            // Those that are left may have been paused later, and need nothing before that.
            let least = self.backlog.instances.values().map(|(one, _)| one.place).min();
            self.backlog.to = self.backlog.to.max(least.unwrap_or(0));
        }
        true
    }

    /// All acts of it, in their order.
    pub fn all(self) -> impl Iterator<Item = ActAsked> {
        self.acts.into_iter().map(|(act, _)| act).chain(self.later)
    }

    /// Once what comes next cannot be read: the acts that need it, and the others, whose instances were paused later.
    pub fn split_unread(self) -> (Vec<ActAsked>, VecDeque<ActAsked>) {
        let Self { acts, later, backlog } = self;
        let needs_it = |number: &u64| backlog.instances.get(number).is_none_or(|(one, _)| one.place <= backlog.to);
        let (unread, others): (Vec<_>, Vec<_>) = acts.into_iter().partition(|(_, behind)| behind.iter().any(needs_it));
        if unread.is_empty() {
            // They would be asked about in vain again and again.
            return (others.into_iter().map(|(act, _)| act).chain(later).collect(), VecDeque::new());
        }
        let others = others.into_iter().map(|(act, _)| act).chain(later).collect();
        (unread.into_iter().map(|(act, _)| act).collect(), others)
    }

    /// Whether it has acts of an operation. Those left for later count: what is asked after them is done after them.
    pub fn is_of(&self, operation: u64) -> bool {
        self.acts.iter().map(|(act, _)| act).chain(&self.later).any(|act| act.operation == operation)
    }
}

impl Tenant {
    /// Reads on, as far as a round does. Whether that is all there is to read.
    pub(super) fn read_missed(&self, plans: &Plans, catch_up: &mut CatchUp, seen: u64) -> Result<bool, Fault> {
        let to = seen.min(catch_up.backlog.to.saturating_add(EVENTS_MAX));
        while catch_up.backlog.to < to {
            self.read_chunk(plans, &mut catch_up.backlog, to)?;
            if !catch_up.make_room(MISSED_MAX) {
                return Ok(true);
            }
        }
        Ok(catch_up.backlog.to >= seen)
    }

    /// Reads on at once, and not behind `to`.
    pub(super) fn read_chunk(&self, plans: &Plans, backlog: &mut Backlog, to: u64) -> Result<(), Fault> {
        // All of them: an answer may name its command and have any correlation id.
        let page = self.read_to(&Filter::default(), Direction::Forward, Some(backlog.to + 1), CHUNK, to)?;
        let hits = {
            let mut stage = self.sagas.stage.lock();
            self.hits(plans, &mut stage, &page.events)?
        };
        for hit in hits {
            let recorded = &page.events[hit.event];
            let event = recorded.event();
            backlog.keep(&hit, recorded.stamp.position, |number| self.cause_of(&event, number));
        }
        backlog.to = page.next.map_or(to, |next| next - 1);
        Ok(())
    }
}
