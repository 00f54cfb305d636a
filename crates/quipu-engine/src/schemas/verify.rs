//! What upcasters make of what is stored, and of the examples of the versions before.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::Arc;

use quipu_domain::schema::{SchemaVersion, Validator};
use quipu_domain::{Data, Event, type_version};
use quipu_store::Fault;

use super::not_found;
use super::registry::{Registry, VERSION_UNSAID, violations};
use super::stored::{NAMED_MAX, STRETCH};
use super::upcast::{Chain, NotUpcast, Step, UpcastReason};
use crate::read::Recorded;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// Events that one call looks at: about a second, so that whoever asks sees how far it is.
const VERIFIED_MAX: u64 = 100_000;
/// Most threads that look at events at once.
const THREADS_MAX: usize = 4;

/// What came of holding an upcaster against what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckedUpcaster {
    /// Stored events of earlier versions.
    pub events: u64,
    /// How many of them it cannot turn into data that fits the schema.
    pub failed: u64,
    /// The first of those, by their positions.
    pub first: Vec<(u64, NotUpcast)>,
    /// Examples of earlier versions.
    pub examples: u64,
    /// How many of those it cannot turn.
    pub examples_failed: u64,
    /// The first of them: of which version, which of them.
    pub failed_examples: Vec<(u32, usize, NotUpcast)>,
}

impl CheckedUpcaster {
    /// Whether it turns everything.
    pub fn is_fine(&self) -> bool {
        self.failed == 0 && self.examples_failed == 0
    }
}

/// What reading stored events in a version came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSchema {
    /// The version.
    pub version: u32,
    /// How many events of the type were looked at.
    pub events: u64,
    /// How many of those are of an earlier version.
    pub earlier: u64,
    /// How many cannot be read as that version, or do not fit its schema.
    pub failed: u64,
    /// The first of those, by their positions.
    pub first: Vec<(u64, NotUpcast)>,
    /// Everything up to this position was looked at: all there is, if it is that of the log.
    pub to: u64,
}

impl Tenant {
    /// An event in the version that a reader wants.
    ///
    /// # Errors
    /// An upcaster failed on it.
    pub fn upcast(&self, recorded: Recorded, wanted: SchemaVersion) -> Result<Recorded, NotDone> {
        if wanted.is_stored() {
            return Ok(recorded);
        }
        let read = self.read_as(&recorded, &recorded.event(), wanted)?;
        Ok(read.unwrap_or(recorded))
    }

    /// An event, which has been decoded, in the version that is asked for, with its data; nothing if that is as it was recorded.
    ///
    /// # Errors
    /// As [`Tenant::upcast`].
    pub fn read_as(
        &self,
        recorded: &Recorded,
        event: &Event<'_>,
        wanted: SchemaVersion,
    ) -> Result<Option<Recorded>, NotDone> {
        if event.payload().is_some() {
            // What upcasters turn is the data.
            let resolved = self.resolve(recorded.clone())?;
            let read = self.read_as(&resolved, &resolved.event(), wanted)?;
            return Ok(Some(read.unwrap_or(resolved)));
        }
        if wanted.is_stored() {
            return Ok(None);
        }
        let upcast = self.schemas.current().upcast(event, wanted);
        let upcast = upcast.map_err(|failure| {
            let (position, kind) = (recorded.stamp.position, event.kind().to_owned());
            super::SchemaRefusal::NotUpcast { position, kind, failure }
        })?;
        Ok(upcast.map(|event| recorded.with_event(&event)))
    }

    /// What tells the upcasters of these types from others: of a function its name. Nothing if there are none.
    pub fn upcasters_digest<'k>(&self, kinds: impl Iterator<Item = &'k str>) -> Option<String> {
        let registry = self.schemas.current();
        let mut upcasters = Vec::new();
        for (name, kind) in kinds.filter_map(|name| registry.types.get_key_value(name)) {
            let versions = kind.versions.iter();
            upcasters.extend(versions.filter_map(|(number, version)| Some((&**name, *number, version.upcaster()?))));
        }
        let written = || serde_json::to_vec(&upcasters).expect("they are texts and numbers");
        (!upcasters.is_empty()).then(|| blake3::hash(&written()).to_hex().to_string())
    }

    /// Reads stored events of a type as a version of it, from the one after a position on, and holds them against its schema. Looks
    /// at a part of the log; the next call goes on behind it.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`](super::SchemaRefusal::NotFound) if there is no schema to read them as.
    pub fn verify_schema(
        self: &Arc<Self>,
        kind: &str,
        wanted: SchemaVersion,
        after: u64,
    ) -> Result<VerifiedSchema, NotDone> {
        let registry = self.schemas.current();
        let (versions, version) = registry.target(kind, 0, wanted).ok_or_else(|| not_found(kind))?;
        let target = versions.versions.get(&version).and_then(|version| registry.validator(version));
        let target = target.ok_or_else(|| not_found(&format!("{kind}.v{version}")))?;
        let mut found = VerifiedSchema { version, events: 0, earlier: 0, failed: 0, first: Vec::new(), to: after };
        let look = |recorded: &Recorded| -> Result<Option<(bool, Option<NotUpcast>)>, Fault> {
            let recorded = self.resolve(recorded.clone())?;
            let event = recorded.event();
            let from = type_version(event.kind()).unwrap_or(VERSION_UNSAID);
            // Later ones stay as they are.
            let chain = || Chain::new(&registry, Some(versions), from, version);
            Ok((from <= version).then(|| (from < version, reads_as(&chain(), event.data(), version, target).err())))
        };
        found.to = self.each_stored(kind, after, VERIFIED_MAX, |events| {
            for (recorded, outcome) in events.iter().zip(on_threads(events, &look)?) {
                let Some((is_earlier, failure)) = outcome else { continue };
                found.events += 1;
                found.earlier += u64::from(is_earlier);
                if let Some(failure) = failure {
                    note(&mut found.failed, &mut found.first, recorded, failure);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    /// Holds an upcaster into a version, or its absence, against the examples of the versions before it and against their stored
    /// events. What it makes has to fit the schema of the version, and what later upcasters make of that theirs.
    pub(super) fn check_upcaster(
        self: &Arc<Self>,
        registry: &Registry,
        kind: &str,
        version: u32,
        upcaster: Option<(&Step, &Validator)>,
    ) -> Result<CheckedUpcaster, Fault> {
        let versions = registry.types.get(kind).map(|of| &**of);
        let to = versions.and_then(|of| of.versions.keys().next_back().copied()).unwrap_or(version).max(version);
        let chain = |from: u32| {
            let chain = Chain::new(registry, versions, from, to);
            match upcaster {
                Some((step, validator)) => chain.with(version, step, Some(validator)),
                None => chain.without(version),
            }
        };
        let mut checked = CheckedUpcaster::default();
        for (from, of) in versions.into_iter().flat_map(|of| of.versions.range(..version)) {
            for (index, example) in of.folded.examples.iter().enumerate() {
                checked.examples += 1;
                if let Err(failure) = chain(*from).run(&Data::Json(example.to_string().into())) {
                    checked.examples_failed += 1;
                    if checked.failed_examples.len() < NAMED_MAX {
                        checked.failed_examples.push((*from, index, failure));
                    }
                }
            }
        }
        let look = |recorded: &Recorded| -> Result<Option<Option<NotUpcast>>, Fault> {
            let from = type_version(recorded.event().kind()).unwrap_or(VERSION_UNSAID);
            if from >= version {
                return Ok(None);
            }
            Ok(Some(chain(from).run(self.resolve(recorded.clone())?.event().data()).err()))
        };
        self.each_stored(kind, 0, u64::MAX, |events| {
            for (recorded, outcome) in events.iter().zip(on_threads(events, &look)?) {
                let Some(failure) = outcome else { continue };
                checked.events += 1;
                if let Some(failure) = failure {
                    note(&mut checked.failed, &mut checked.first, recorded, failure);
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(checked)
    }
}

/// Whether data can be read as the version that a chain leads to, and fits its schema.
fn reads_as(chain: &Chain<'_>, data: &Data<'_>, version: u32, target: &Validator) -> Result<(), NotUpcast> {
    let turned = chain.run(data)?;
    // Its last upcaster was held against that schema already.
    if turned.is_some() && chain.ends_in(version) {
        return Ok(());
    }
    let turned = turned.map(|text| Data::Json(text.into()));
    match violations(target, turned.as_ref().unwrap_or(data), 1).pop() {
        None => Ok(()),
        Some(violation) => Err(NotUpcast { version, reason: UpcastReason::Breaks(Box::new(violation)) }),
    }
}

fn note(failed: &mut u64, first: &mut Vec<(u64, NotUpcast)>, recorded: &Recorded, failure: NotUpcast) {
    *failed += 1;
    if first.len() < NAMED_MAX {
        first.push((recorded.stamp.position, failure));
    }
}

/// Looks at events on all processors: expressions take microseconds each. In the order of the events.
fn on_threads<T: Send>(
    events: &[Recorded],
    look: &(impl Fn(&Recorded) -> Result<T, Fault> + Sync),
) -> Result<Vec<T>, Fault> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
    let all = |events: &[Recorded]| events.iter().map(look).collect::<Vec<_>>();
    if threads == 1 || events.len() < STRETCH / 10 {
        return all(events).into_iter().collect();
    }
    std::thread::scope(|scope| {
        let parts = events.chunks(events.len().div_ceil(threads));
        let running: Vec<_> = parts.map(|part| scope.spawn(move || all(part))).collect();
        let joined =
            |one: std::thread::ScopedJoinHandle<'_, _>| one.join().unwrap_or_else(|panic| resume_unwind(panic));
        running.into_iter().flat_map(joined).collect()
    })
}
