//! The instances that there were: which is the counterpart of which, and what became of it.

use std::collections::HashMap;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::saga::{InstanceState, Note, State};

use super::super::PlanName;
use super::super::ready::{Plans, Ready};
use super::super::records::{FoldedSagas, Instance, key_hash};

/// All that are remembered of one saga.
pub(super) struct Reals {
    sagas: FoldedSagas,
    plans: Arc<Plans>,
    /// By the hash of the key: numbers, ascending, and where each began. Not those that other sagas began.
    by_key: HashMap<u128, Vec<(u64, u64)>>,
}

/// The instance that an event began when it was recorded.
pub(super) enum Counterpart {
    Is(u64),
    /// The key had one that began before the range.
    Before,
    None,
}

/// One of them.
pub(super) struct Known {
    pub number: u64,
    pub key: Box<str>,
    pub status: InstanceState,
    pub updated: Timestamp,
    /// The position of the newest event that moved it.
    pub last: u64,
    /// The step that it failed by, and why.
    pub failure: Option<(String, &'static str)>,
    pub ready: Arc<Ready>,
    pub notes: Vec<(Timestamp, Note)>,
    /// Whether some of the notes were not kept.
    pub is_skipped: bool,
}

impl Known {
    /// Whether somebody intervened.
    pub fn is_intervened(&self) -> bool {
        self.notes.iter().any(|(_, note)| note.what.is_act())
    }
}

impl Reals {
    pub fn of(sagas: FoldedSagas, plans: Arc<Plans>, name: &PlanName) -> Self {
        let mut by_key: HashMap<u128, Vec<(u64, u64)>> = HashMap::new();
        let of_name = |instance: &Instance| sagas.plans.get(&instance.plan).is_some_and(|plan| plan.name == *name);
        for (number, instance) in sagas.instances.iter().filter(|(_, instance)| of_name(instance)) {
            let Ok(state) = postcard::from_bytes::<State>(&instance.state) else { continue };
            if state.parent().is_none() {
                by_key.entry(key_hash(name, &instance.key)).or_default().push((number, state.start()));
            }
        }
        by_key.values_mut().for_each(|all| all.sort_unstable());
        Self { sagas, plans, by_key }
    }

    /// What the event at a position began.
    pub fn counterpart(&self, hash: u128, position: u64, from: u64) -> Counterpart {
        let Some(all) = self.by_key.get(&hash) else { return Counterpart::None };
        if let Some((number, _)) = all.iter().find(|(_, start)| *start == position) {
            return Counterpart::Is(*number);
        }
        match all.last() {
            // The other declaration begins with another event of the same key.
            Some((number, start)) if *start >= from => Counterpart::Is(*number),
            Some(_) => Counterpart::Before,
            None => Counterpart::None,
        }
    }

    pub fn is_remembered(&self, number: u64) -> bool {
        self.sagas.instances.get(number).is_some()
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
            last: state.last(),
            failure,
            ready,
            notes: instance.notes(),
            is_skipped: instance.skipped > 0,
        })
    }

    /// Those that began in a range and have no counterpart, ascending.
    pub fn without(&self, counterparts: &HashMap<u64, usize>, from: u64, until: u64) -> Vec<u64> {
        let is_alone =
            |(number, start): &&(u64, u64)| (from..=until).contains(start) && !counterparts.contains_key(number);
        let mut alone: Vec<u64> = self.by_key.values().flatten().filter(is_alone).map(|(number, _)| *number).collect();
        alone.sort_unstable();
        alone
    }
}
