//! The instances that there were: which is the counterpart of which, and what became of it.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::saga::{Again, InstanceState, Note, State};
use quipu_store::Fault;

use super::super::PlanName;
use super::super::ready::{Plans, Ready};
use super::super::records::{Declaration, FoldedPlan, FoldedSagas, Instance, key_hash};
use crate::read::Recorded;
use crate::tenant::Tenant;

/// All that are remembered of one saga.
pub(super) struct Reals {
    sagas: FoldedSagas,
    plans: Arc<Plans>,
    name: PlanName,
    /// The plans of the declaration that is asked about.
    unchanged: Vec<u32>,
    /// Hash of the key, where it began, number; ascending. Not those that other sagas began.
    by_key: Vec<(u128, u64, u64)>,
    /// Where an instance of whatever saga began, and its number; ascending. Numbers are given in the order of the log, so one that is
    /// missing between two was given between where those began. Not those that sagas began.
    starts: Vec<(u64, u64)>,
    /// The numbers of all, ascending.
    numbers: Vec<u64>,
    /// Behind which position this saga has begun instances; none if it is not declared.
    declared: Option<u64>,
}

/// The instance that there was in the place of one that an event begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Counterpart {
    Is(u64),
    /// The key had one that began before the range.
    Before,
    /// There may have been one, and it is not remembered.
    Forgotten,
    None,
}

/// What begins an instance of the other declaration.
pub(super) struct Beginning<'a> {
    pub recorded: &'a Recorded,
    pub key: &'a str,
    pub hash: u128,
    /// What it is stepped by.
    pub ready: &'a Ready,
    /// All that is fed.
    pub range: RangeInclusive<u64>,
}

/// One of them.
pub(super) struct Known {
    pub number: u64,
    pub key: Box<str>,
    pub status: InstanceState,
    pub updated: Timestamp,
    /// The position of the event that began it.
    pub start: u64,
    /// The position of the newest event that moved it.
    pub last: u64,
    /// The step that it failed by, and why.
    pub failure: Option<(String, &'static str)>,
    pub ready: Arc<Ready>,
    pub notes: Vec<(Timestamp, Note)>,
    /// Whether some of the notes were not kept.
    pub is_skipped: bool,
    /// Whether its declaration is the one that is asked about.
    pub is_unchanged: bool,
}

impl Known {
    /// Whether somebody intervened.
    pub fn is_intervened(&self) -> bool {
        self.notes.iter().any(|(_, note)| note.what.is_act())
    }
}

impl Reals {
    pub fn of(sagas: FoldedSagas, plans: Arc<Plans>, asked: &Declaration) -> Self {
        let name = &asked.name();
        let (mut by_key, mut starts) = (Vec::new(), Vec::new());
        let of_name = |instance: &Instance| sagas.plans.get(&instance.plan).is_some_and(|plan| plan.name == *name);
        for (number, instance) in sagas.instances.iter() {
            let Ok(state) = postcard::from_bytes::<State>(&instance.state) else { continue };
            if state.parent().is_some() {
                continue;
            }
            starts.push((state.start(), number));
            if of_name(instance) {
                by_key.push((key_hash(name, &instance.key), state.start(), number));
            }
        }
        let mut numbers: Vec<u64> = sagas.instances.iter().map(|(number, _)| number).collect();
        by_key.sort_unstable();
        starts.sort_unstable();
        numbers.sort_unstable();
        let of_name = || sagas.plans.values().filter(|plan| plan.name == *name);
        // If the first version is gone, nobody knows from where on there were instances.
        let first = of_name().find(|plan| plan.version == 1).map(|plan| plan.from);
        let declared = of_name().next().map(|_| first.unwrap_or(0));
        let is_asked = |one: &(&u32, &FoldedPlan)| *one.1.declaration == *asked;
        let unchanged = sagas.plans.iter().filter(is_asked).map(|(number, _)| *number).collect();
        Self { plans, name: name.clone(), unchanged, by_key, starts, numbers, declared, sagas }
    }

    /// How many bytes it takes, beside what the tenant has in memory anyhow.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.by_key) + size_of_val(&*self.starts) + size_of_val(&*self.numbers)
    }

    /// What the event began when it was recorded, or what began in the place of it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn counterpart(&self, tenant: &Tenant, beginning: &Beginning<'_>) -> Result<Counterpart, Fault> {
        let Beginning { recorded, key, hash, ready, range } = beginning;
        let position = recorded.stamp.position;
        let first = self.by_key.partition_point(|(other, ..)| other < hash);
        let of_key = &self.by_key[first..];
        let of_key = &of_key[..of_key.partition_point(|(other, ..)| other == hash)];
        let (earlier, later) = of_key.split_at(of_key.partition_point(|(_, start, _)| *start < position));
        if let Some((_, _, number)) = later.first().filter(|(_, start, _)| *start == position) {
            return Ok(Counterpart::Is(*number));
        }
        if earlier.last().is_some_and(|(_, start, _)| start < range.start()) {
            return Ok(Counterpart::Before);
        }
        // Where it would have begun one as well, it did, or there was one already.
        let in_force = self.in_force(position);
        if let Some(in_force) = in_force
            && in_force.key_of_start(tenant, recorded)?.as_deref() == Some(key)
        {
            let is_known = !earlier.is_empty() || position > self.sagas.to;
            return Ok(if is_known { Counterpart::None } else { Counterpart::Forgotten });
        }
        // The other declaration begins with an earlier event of the same key.
        let next = later.first().filter(|(_, start, _)| start <= range.end());
        if let Some((_, start, number)) = next {
            let begins_another = ready.plan.again() == Again::Begin && {
                let began = tenant.event_at(*start)?;
                let own = began.map(|began| ready.key_of_start(tenant, &began)).transpose()?;
                own.flatten().as_deref() == Some(key)
            };
            if !begins_another {
                let is_sure = !self.has_forgotten(position, *start);
                return Ok(if is_sure { Counterpart::Is(*number) } else { Counterpart::Forgotten });
            }
        }
        let is_sure = !self.has_forgotten(position, *range.end());
        Ok(if is_sure { Counterpart::None } else { Counterpart::Forgotten })
    }

    /// What new instances began with at a position, as far as that is remembered.
    fn in_force(&self, position: u64) -> Option<&Ready> {
        let before = |ready: &&Arc<Ready>| ready.name == self.name && ready.from < position;
        self.plans.all.values().filter(before).max_by_key(|ready| ready.from).map(|ready| &**ready)
    }

    /// Whether an instance of this saga may have begun from one position to another that is not remembered.
    fn has_forgotten(&self, from: u64, until: u64) -> bool {
        let Some(declared) = self.declared else { return false };
        let (from, until) = (from.max(declared + 1), until.min(self.sagas.to));
        if from > until {
            return false;
        }
        let after = self.starts.partition_point(|(start, _)| *start < from);
        let after = after.checked_sub(1).map_or(0, |at| self.starts[at].1);
        let before = self.starts.partition_point(|(start, _)| *start <= until);
        let before = self.starts.get(before).map_or(self.sagas.last + 1, |(_, number)| *number);
        let known = self.numbers.partition_point(|number| *number < before)
            - self.numbers.partition_point(|number| *number <= after);
        (known as u64) < before.saturating_sub(after + 1)
    }

    /// The largest number that was given.
    pub fn last(&self) -> u64 {
        self.sagas.last
    }

    /// What is known of one, if this version can read its declaration.
    pub fn known(&self, number: u64) -> Option<Known> {
        let instance = self.sagas.instances.get(number)?;
        let ready = Arc::clone(self.plans.all.get(&instance.plan)?);
        let state: State = postcard::from_bytes(&instance.state).ok()?;
        let failure = state.failure();
        let failure = failure.map(|failure| (ready.plan.step_name(failure.node).to_owned(), failure.why.sentence()));
        Some(Known {
            number,
            key: instance.key.clone(),
            status: instance.status,
            updated: instance.updated,
            start: state.start(),
            last: state.last(),
            failure,
            ready,
            notes: instance.notes(),
            is_skipped: instance.skipped > 0,
            is_unchanged: self.unchanged.contains(&instance.plan),
        })
    }

    /// Those that began in a range and have no counterpart, ascending.
    pub fn without(&self, counterparts: &HashMap<u64, usize>, from: u64, until: u64) -> Vec<u64> {
        let is_alone = |(_, start, number): &&(u128, u64, u64)| {
            (from..=until).contains(start) && !counterparts.contains_key(number)
        };
        let mut alone: Vec<u64> = self.by_key.iter().filter(is_alone).map(|(.., number)| *number).collect();
        alone.sort_unstable();
        alone
    }
}
