//! The records of sagas, rules and expectations, and the fold of them. Declarations are JSON, steps postcard. Nothing here asks a
//! plan, a pattern or jq: what an instance came to is written, so that opening needs none of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::saga::{Due, Expectation, InstanceState, Note, Rule, Saga, Written};
use quipu_store::snapshot::Sink;
use quipu_store::{Fault, Reader, Record, RecordKind, put, put_bytes};
use serde::{Deserialize, Serialize};

use crate::sharded::Sharded;

/// Notes of an instance that are kept: the first, and the last.
const NOTES_FIRST: usize = 64;
const NOTES_LAST: usize = 128;
/// Between them, the last that say which operation intervened: it is not to do so twice.
const NOTES_OPERATIONS: usize = 16;

/// What was declared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Declaration {
    /// A saga.
    Saga(Box<Saga>),
    /// A rule.
    Rule(Box<Rule>),
    /// An expectation.
    Expectation(Box<Expectation>),
    /// A saga that is written in Rust.
    Written(Box<Written>),
}

/// What kind of declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclarationKind {
    /// A saga.
    Saga,
    /// A rule.
    Rule,
    /// An expectation.
    Expectation,
}

/// What a declaration is known by: kinds do not share names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlanName {
    /// What kind it is.
    pub kind: DeclarationKind,
    /// Its name.
    pub name: String,
}

/// A record of a declaration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SagaRecord {
    pub name: PlanName,
    pub change: Change,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    /// Declared, or declared anew: instances that are open stay with what they began with.
    Declared {
        /// Of all plans of the tenant, never given twice.
        plan: u32,
        declaration: Box<Declaration>,
        at: Timestamp,
        /// It takes events behind this position.
        from: u64,
        /// Plans of this name that have no instances any more, and go.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dropped: Vec<u32>,
    },
    /// All of it is gone.
    Removed,
}

impl SagaRecord {
    pub fn record(&self) -> Record {
        Record::new(RecordKind::Saga, serde_json::to_vec(self).expect("it has no map with keys unknown"))
    }
}

/// What one commit of the stage came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepRecord {
    /// Every plan has seen the events up to here.
    pub to: u64,
    pub at: Timestamp,
    pub changed: Vec<Changed>,
    /// Ended instances that are not remembered any more.
    pub forgotten: Vec<u64>,
}

/// An instance as it is after a commit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub number: u64,
    /// If this is its first.
    pub begun: Option<Begun>,
    /// The state, as postcard.
    pub state: Vec<u8>,
    pub status: InstanceState,
    pub due: Option<Due>,
    /// What happened.
    pub notes: Vec<Note>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Begun {
    pub plan: u32,
    pub key: String,
}

impl StepRecord {
    pub fn record(&self) -> Record {
        Record::new(RecordKind::SagaStep, postcard::to_stdvec(self).expect("it has no map with keys unknown"))
    }
}

/// An instance in memory: about 300 bytes with what leads to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub plan: u32,
    pub status: InstanceState,
    pub opened: Timestamp,
    pub updated: Timestamp,
    pub due: Option<Due>,
    pub key: Box<str>,
    /// Postcard.
    pub state: Box<[u8]>,
    /// The number of notes that were not kept between the first and the last.
    pub skipped: u32,
    /// Each with its time, postcard one after the other.
    pub notes: Box<[u8]>,
}

/// A declaration as the log has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FoldedPlan {
    pub name: PlanName,
    pub version: u32,
    #[serde(with = "shared")]
    pub declaration: Arc<Declaration>,
    pub at: Timestamp,
    pub from: u64,
    /// Instances that are remembered.
    #[serde(skip)]
    pub instances: u64,
    #[serde(skip)]
    pub open: u64,
}

/// As what it holds.
mod shared {
    use super::{Arc, Declaration, Deserialize, Serialize};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(declaration: &Arc<Declaration>, serializer: S) -> Result<S::Ok, S::Error> {
        Declaration::serialize(declaration, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Declaration>, D::Error> {
        Declaration::deserialize(deserializer).map(Arc::new)
    }
}

/// The sagas of a log.
#[derive(Clone, Default)]
pub(crate) struct FoldedSagas {
    /// By the number of the plan.
    pub plans: BTreeMap<u32, FoldedPlan>,
    /// The plan of each name that new instances begin with.
    pub newest: BTreeMap<PlanName, u32>,
    pub last_plan: u32,
    /// The number of the newest instance.
    pub last: u64,
    pub to: u64,
    pub instances: Sharded<u64, Arc<Instance>>,
    keys: Sharded<u128, u64>,
    /// Those that have ended, in that order; one that was opened again is passed over.
    pub ended: VecDeque<u64>,
    pub open: u64,
}

/// What an instance is found by.
pub(crate) fn key_hash(name: &PlanName, key: &str) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[name.kind as u8]);
    hasher.update(name.name.as_bytes());
    hasher.update(&[0]);
    hasher.update(key.as_bytes());
    u128::from_le_bytes(hasher.finalize().as_bytes()[..16].try_into().expect("it has 32 bytes"))
}

impl FoldedSagas {
    /// Takes in the record of a declaration. Nothing if it cannot be read.
    pub fn apply(&mut self, body: &[u8]) -> Option<()> {
        self.take(serde_json::from_slice(body).ok()?);
        Some(())
    }

    /// Takes in the record of a commit of the stage. Nothing if it cannot be read.
    pub fn apply_step(&mut self, body: &[u8]) -> Option<()> {
        self.take_step(&postcard::from_bytes(body).ok()?);
        Some(())
    }

    pub fn take(&mut self, SagaRecord { name, change }: SagaRecord) {
        match change {
            Change::Declared { plan, declaration, at, from, dropped } => {
                let before = self.newest.get(&name).and_then(|plan| self.plans.get(plan));
                let version = before.map_or(1, |before| before.version + 1);
                dropped.iter().for_each(|plan| _ = self.plans.remove(plan));
                if self.plans.is_empty() {
                    // Nobody has looked at what came before.
                    self.to = self.to.max(from);
                }
                let declaration = Arc::from(declaration);
                let folded = FoldedPlan { name: name.clone(), version, declaration, at, from, instances: 0, open: 0 };
                self.plans.insert(plan, folded);
                self.newest.insert(name, plan);
                self.last_plan = self.last_plan.max(plan);
            }
            Change::Removed => {
                self.newest.remove(&name);
                let gone: Vec<u32> =
                    self.plans.iter().filter(|(_, plan)| plan.name == name).map(|(number, _)| *number).collect();
                let instances: Vec<u64> = match gone.is_empty() {
                    true => Vec::new(),
                    false => {
                        let of_it = |one: &(u64, &Arc<Instance>)| gone.contains(&one.1.plan);
                        self.instances.iter().filter(of_it).map(|(number, _)| number).collect()
                    }
                };
                instances.into_iter().for_each(|number| self.forget(number));
                gone.iter().for_each(|plan| _ = self.plans.remove(plan));
            }
        }
    }

    pub fn take_step(&mut self, step: &StepRecord) {
        self.to = self.to.max(step.to);
        for changed in &step.changed {
            self.change(changed, step.at);
        }
        step.forgotten.iter().for_each(|number| self.forget(*number));
        while self.ended.front().is_some_and(|number| !self.is_ended(*number)) {
            self.ended.pop_front();
        }
    }

    fn is_ended(&self, number: u64) -> bool {
        self.instances.get(number).is_some_and(|instance| instance.status.is_ended())
    }

    fn change(&mut self, changed: &Changed, at: Timestamp) {
        let Changed { number, begun, state, status, due, notes } = changed;
        let mut instance = match (self.instances.get(*number), begun) {
            (Some(instance), _) => Instance::clone(instance),
            (None, Some(Begun { plan, key })) => Instance {
                plan: *plan,
                status: InstanceState::Running,
                opened: at,
                updated: at,
                due: None,
                key: key.as_str().into(),
                state: Box::default(),
                skipped: 0,
                notes: Box::default(),
            },
            // Nobody knows what it is of.
            (None, None) => return,
        };
        let was_ended = begun.is_none() && instance.status.is_ended();
        let is_new = self.instances.get(*number).is_none();
        let is_open = !is_new && !was_ended;
        let (opens, ends) = (!is_open && !status.is_ended(), is_open && status.is_ended());
        instance.status = *status;
        instance.updated = at;
        instance.due = *due;
        instance.state = state.as_slice().into();
        instance.add_notes(notes, at);
        if let Some(plan) = self.plans.get_mut(&instance.plan) {
            plan.instances += u64::from(is_new);
            plan.open += u64::from(opens);
            plan.open -= u64::from(ends);
        }
        self.open += u64::from(opens);
        self.open -= u64::from(ends);
        if status.is_ended() && !was_ended {
            self.ended.push_back(*number);
        }
        if is_new && let Some(plan) = self.plans.get(&instance.plan) {
            self.keys.insert(key_hash(&plan.name, &instance.key), *number);
        }
        self.last = self.last.max(*number);
        self.instances.insert(*number, Arc::new(instance));
    }

    fn forget(&mut self, number: u64) {
        let Some(instance) = self.instances.remove(number) else { return };
        let is_open = !instance.status.is_ended();
        self.open -= u64::from(is_open);
        let Some(plan) = self.plans.get_mut(&instance.plan) else { return };
        plan.instances -= 1;
        plan.open -= u64::from(is_open);
        let hash = key_hash(&plan.name, &instance.key);
        if self.keys.get(hash) == Some(&number) {
            self.keys.remove(hash);
        }
    }

    /// The newest instance with this key.
    pub fn of_key(&self, hash: u128) -> Option<u64> {
        self.keys.get(hash).copied()
    }

    /// Writes them for a snapshot.
    pub fn write(&self, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let mut all: Vec<_> = self.instances.iter().collect();
        all.sort_unstable_by_key(|(number, _)| *number);
        self.write_each(sink, all.into_iter())
    }

    /// How many bytes that writes.
    pub fn written_bytes(&self) -> Result<u64, Fault> {
        Sink::measure(|sink| self.write_each(sink, self.instances.iter()))
    }

    fn write_each<'a>(
        &self,
        sink: &mut Sink<'_>,
        all: impl Iterator<Item = (u64, &'a Arc<Instance>)>,
    ) -> Result<(), Fault> {
        let out = sink.room()?;
        put(out, u64::from(self.last_plan));
        put(out, self.last);
        put(out, self.to);
        let plans: Vec<(&u32, &FoldedPlan)> = self.plans.iter().collect();
        put_bytes(out, &serde_json::to_vec(&plans).expect("a list is JSON"));
        put(out, self.instances.len() as u64);
        for (number, instance) in all {
            let out = sink.room()?;
            put(out, number);
            put_bytes(out, &postcard::to_stdvec(&**instance).expect("it has no map with keys unknown"));
        }
        put(sink.room()?, self.ended.len() as u64);
        for number in &self.ended {
            put(sink.room()?, *number);
        }
        Ok(())
    }

    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut sagas = Self {
            last_plan: u32::try_from(reader.varint()?).ok()?,
            last: reader.varint()?,
            to: reader.varint()?,
            ..Self::default()
        };
        let plans: Vec<(u32, FoldedPlan)> = serde_json::from_slice(reader.bytes()?).ok()?;
        for (number, plan) in plans {
            let newest = sagas.newest.entry(plan.name.clone()).or_insert(number);
            *newest = number.max(*newest);
            sagas.plans.insert(number, plan);
        }
        for _ in 0..reader.varint()? {
            let number = reader.varint()?;
            let instance: Instance = postcard::from_bytes(reader.bytes()?).ok()?;
            let plan = sagas.plans.get_mut(&instance.plan)?;
            let is_open = u64::from(!instance.status.is_ended());
            plan.instances += 1;
            plan.open += is_open;
            sagas.open += is_open;
            let hash = key_hash(&plan.name, &instance.key);
            // Of several with one key the newest counts.
            if sagas.keys.get(hash).is_none_or(|other| *other < number) {
                sagas.keys.insert(hash, number);
            }
            if sagas.instances.insert(number, Arc::new(instance)).is_some() {
                return None;
            }
        }
        for _ in 0..reader.varint()? {
            sagas.ended.push_back(reader.varint()?);
        }
        reader.rest().is_empty().then_some(sagas)
    }
}

impl Instance {
    /// Whether it is open and asks a person, or nothing has changed since this time.
    pub fn is_stuck_since(&self, time: Timestamp) -> bool {
        !self.status.is_ended() && (self.status == InstanceState::NeedsPerson || self.updated < time)
    }

    fn add_notes(&mut self, new: &[Note], at: Timestamp) {
        if new.is_empty() {
            return;
        }
        let mut notes = std::mem::take(&mut self.notes).into_vec();
        for note in new {
            notes = postcard::to_extend(&(at, note), notes).expect("it has no map with keys unknown");
        }
        self.notes = notes.into();
        // A note takes 7 bytes at least.
        if self.notes.len() < (NOTES_FIRST + NOTES_LAST) * 7 {
            return;
        }
        let all = self.notes();
        // Twice as many are let come together, so that this is not done for each.
        if all.len() > NOTES_FIRST + 2 * NOTES_LAST {
            let (first, rest) = all.split_at(NOTES_FIRST);
            let (between, last) = rest.split_at(rest.len() - NOTES_LAST);
            let operations: Vec<_> = between.iter().filter(|(_, note)| note.is_of_operation()).collect();
            let operations = &operations[operations.len().saturating_sub(NOTES_OPERATIONS)..];
            self.skipped += (between.len() - operations.len()) as u32;
            let kept = first.iter().chain(operations.iter().copied()).chain(last);
            self.notes = kept.flat_map(|one| postcard::to_stdvec(one).expect("as above")).collect();
        }
    }

    /// What happened, with times.
    pub fn notes(&self) -> Vec<(Timestamp, Note)> {
        let (mut rest, mut all) = (&*self.notes, Vec::new());
        while let Ok((note, behind)) = postcard::take_from_bytes(rest) {
            all.push(note);
            rest = behind;
        }
        all
    }

    /// Whether an operation intervened in it.
    pub fn was_acted_on_by(&self, operation: u64) -> bool {
        self.notes().iter().any(|(_, note)| is_by(note, operation))
    }
}

/// Whether it is of what an operation did.
pub(super) fn is_by(note: &Note, operation: u64) -> bool {
    note.is_of_operation() && note.position == operation
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::saga::What;

    #[test]
    fn what_operations_did_stays_known_however_much_happens_after_it() {
        let mut instance = Instance {
            plan: 1,
            status: InstanceState::Running,
            opened: Timestamp(0),
            updated: Timestamp(0),
            due: None,
            key: "k".into(),
            state: Box::default(),
            skipped: 0,
            notes: Box::default(),
        };
        let note = |what, position| Note { what, node: 1, iteration: 0, attempt: 1, position, text: None };
        let mut count = 0;
        for operation in 1..=20 {
            instance.add_notes(&[note(What::Retried, operation)], Timestamp(1));
            let others: Vec<Note> = (0..500).map(|_| note(What::Tried, 0)).collect();
            instance.add_notes(&others, Timestamp(2));
            count += 501;
            let notes = instance.notes();
            assert!(notes.iter().any(|(_, one)| one.is_of_operation() && one.position == operation), "{operation}");
            assert!(notes.len() <= NOTES_FIRST + 2 * NOTES_LAST + NOTES_OPERATIONS);
            assert_eq!(notes.len() + instance.skipped as usize, count, "each is kept or counted");
        }
    }
}
