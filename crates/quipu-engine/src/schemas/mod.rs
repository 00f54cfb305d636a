//! The schemas of a tenant: what the data of its types looks like, version by version. Records in the tenant's log: a registration is a
//! commit like any other. What every event is checked against is in memory.
//!
//! A version that is registered never changes. One that no event has and no schema refers to can be removed.

mod lookup;
mod plan;
mod records;
mod refusal;
mod registry;
mod stored;
mod upcast;
mod verify;

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use quipu_domain::limits::TYPE_BYTES_MAX;
use quipu_domain::schema::compatibility::{self, Answer, Budget, Direction, Level, Verdict};
use quipu_domain::schema::{Change, Document, Limits, SchemaRules, diff};
use quipu_domain::{Timestamp, base_type, type_version};
use quipu_store::{Fault, Record};
use serde_json::Value;

use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
pub use lookup::{SchemaEntry, SchemaReference};
use plan::Looked;
pub(crate) use plan::SchemaPlan;
pub(crate) use records::FoldedSchemas;
use records::{FoldedSchema, SchemaRecord};
pub use refusal::{Incompatible, SchemaRefusal};
pub use registry::VERSION_UNSAID;
use registry::Version;
pub(crate) use registry::{Kind, Registry, has_mark};
pub use stored::Stored;
use upcast::{FoldedUpcaster, Step};
pub use upcast::{NotUpcast, UpcastFunction, UpcastReason, Upcaster};
pub use verify::{CheckedUpcaster, VerifiedSchema};

/// Most versions of one type.
pub const VERSIONS_MAX: usize = 1_000;
/// Most types with schemas or rules of their own.
pub const TYPES_MAX: usize = 10_000;
/// Most bytes of all schemas of a tenant: they are in memory and stand in each snapshot. 161 types of GitHub take some 2 MiB.
pub const SCHEMA_BYTES_MAX: usize = 32 << 20;
/// Most upcasters of a tenant: compiled expressions stay in memory.
pub const UPCASTERS_MAX: usize = 1_000;
/// After so many bytes of what is said of types a page ends. No type is cut: one alone may have some 8 MiB.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// Largest version: thousands of them are thousands of changes, and a number that cannot be counted on from is a mistake.
const VERSION_MAX: u32 = 1_000_000;
/// Most names that a text may have for other schemas, and the longest one, bytes.
const REFERENCES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 512;
/// Most examples of a version, and their deepest nesting: as deep as a schema may be.
const EXAMPLES_MAX: usize = 100;
const EXAMPLE_DEPTH_MAX: usize = 64;
/// Longest owner and longest description, bytes.
const OWNER_BYTES_MAX: usize = 256;
const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// Longest reason why nobody should begin with a version any more, bytes.
pub const REASON_BYTES_MAX: usize = 4_096;
/// The attribute of an event that breaks its schema and was recorded all the same: where it does so first, a JSON Pointer.
pub const SCHEMA_MARK: &str = "schemaviolation";
/// What nobody has said is this: a new version reads what is stored.
const LEVEL_DEFAULT: Level = Level::Backward;

/// What a schema is to be.
#[derive(Clone, Debug, Default)]
pub struct NewSchema {
    /// The version; the next one if it is not said.
    pub version: Option<u32>,
    /// JSON Schema.
    pub text: String,
    /// What the text calls other schemas, and the types with versions that those are.
    pub references: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What people should know of it.
    pub description: Option<String>,
    /// Data that it accepts.
    pub examples: Vec<Value>,
    /// What makes its data of that of the version before.
    pub upcaster: Option<Upcaster>,
}

/// A version of a schema, as everybody may see it.
#[derive(Clone, Debug)]
pub struct SchemaInfo {
    /// The type, without a version.
    pub kind: String,
    /// The version.
    pub version: u32,
    /// Its number among all schemas of the tenant; the same text has the same.
    pub id: u32,
    /// JSON Schema, as it was registered.
    pub text: String,
    /// What the text calls other schemas, and which those are.
    pub references: BTreeMap<String, String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What people should know of it.
    pub description: Option<String>,
    /// Data that it accepts.
    pub examples: Vec<Value>,
    /// Why nobody should begin with it any more.
    pub deprecated: Option<String>,
    /// What makes its data of that of the version before.
    pub upcaster: Option<Upcaster>,
    /// When it was registered.
    pub made: Timestamp,
}

/// A version without its text and its examples: there may be many.
#[derive(Clone, Debug)]
pub struct SchemaSummary {
    /// The version.
    pub version: u32,
    /// Its number among all schemas of the tenant; the same text has the same.
    pub id: u32,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What people should know of it.
    pub description: Option<String>,
    /// Why nobody should begin with it any more.
    pub deprecated: Option<String>,
    /// What makes its data of that of the version before.
    pub upcaster: Option<Upcaster>,
    /// When it was registered.
    pub made: Timestamp,
}

/// A page of the types that have schemas or rules of their own.
#[derive(Clone, Debug)]
pub struct SchemasInfo {
    /// By their names.
    pub types: Vec<TypeInfo>,
    /// Whether more come after them.
    pub has_more: bool,
}

/// A type with its schemas.
#[derive(Clone, Debug)]
pub struct TypeInfo {
    /// Its name, without a version.
    pub kind: String,
    /// Its own rules.
    pub rules: SchemaRules,
    /// Its versions, oldest first.
    pub versions: Vec<SchemaSummary>,
    /// Events that were refused since the tenant was opened.
    pub refused: u64,
    /// Events that were recorded with a mark since then.
    pub marked: u64,
}

impl SchemaSummary {
    /// What it takes on a page, about.
    fn bytes(&self) -> usize {
        let expression = self.upcaster.as_ref().map_or(0, |upcaster| match upcaster {
            Upcaster::Jq(text) | Upcaster::Function(text) => text.len(),
        });
        let texts = [&self.owner, &self.description, &self.deprecated];
        128 + expression + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// What came of a registration.
#[derive(Clone, Debug)]
pub struct Registered {
    /// What is registered.
    pub schema: SchemaInfo,
    /// Whether it was so before.
    pub is_known: bool,
    /// How it goes with the versions before it.
    pub checked: CheckedSchema,
}

/// How a schema goes with the versions before it, and with what is stored.
#[derive(Clone, Debug)]
pub struct CheckedSchema {
    /// What it was held to.
    pub level: Level,
    /// What the rules say.
    pub verdict: Verdict,
    /// What stored events say, where that was asked.
    pub stored: Option<Stored>,
    /// What its upcaster makes of examples and stored events. With one, nobody asks the rules whether it reads what was written.
    pub upcaster: Option<CheckedUpcaster>,
}

impl CheckedSchema {
    /// Whether it may be registered. Where the rules do not know whether it reads what was written, what is stored decides.
    pub fn is_compatible(&self) -> bool {
        self.is_upcast() && self.goes_with_others()
    }

    /// Whether its upcaster, if it has one, turns everything.
    pub fn is_upcast(&self) -> bool {
        self.upcaster.as_ref().is_none_or(CheckedUpcaster::is_fine)
    }

    fn goes_with_others(&self) -> bool {
        match self.verdict.answer {
            Answer::Yes => true,
            Answer::No => false,
            // What is stored was written by the old version: it says nothing of what the new one will write.
            Answer::Unknown => {
                self.level.directions() == [Direction::Backward]
                    && self.stored.as_ref().is_some_and(|stored| stored.breaking == 0)
            }
        }
    }
}

/// The schemas of a tenant in memory.
pub(crate) struct Schemas {
    current: RwLock<Arc<Registry>>,
    folded: Mutex<FoldedSchemas>,
}

impl Schemas {
    pub fn new(folded: &FoldedSchemas) -> Self {
        let registry = Arc::new(Registry::new(folded));
        Self { current: RwLock::new(registry), folded: Mutex::new(folded.clone()) }
    }

    pub fn current(&self) -> Arc<Registry> {
        Arc::clone(&self.current.read())
    }
}

impl Tenant {
    /// Registers a version of a schema. The same again is answered with what is there.
    ///
    /// # Errors
    /// [`SchemaRefusal`].
    pub fn register_schema(self: &Arc<Self>, kind: &str, new: NewSchema) -> Result<Registered, NotDone> {
        loop {
            // Comparing may read the whole log, so nobody waits for it.
            let registry = self.schemas.current();
            let next = match self.look(&registry, kind, &new)? {
                Looked::Known(version, known) => {
                    let (level, verdict) = (level(&registry, kind), Verdict::default());
                    let checked = CheckedSchema { level, verdict, stored: None, upcaster: None };
                    return Ok(Registered { schema: info(kind, version, &known), is_known: true, checked });
                }
                Looked::New(next) => next,
            };
            let mut folded = self.schemas.folded.lock();
            if self.schemas.current().revision != registry.revision {
                continue;
            }
            let (version, checked) = (next.version, next.checked.clone());
            let records = next.records(&folded, &registry, kind, new, self.now())?;
            self.change_schemas(&mut folded, &records)?;
            return Ok(Registered { schema: self.schema(kind, version)?, is_known: false, checked });
        }
    }

    /// How a schema would go with what is there, without registering it.
    ///
    /// # Errors
    /// [`SchemaRefusal`].
    pub fn check_schema(self: &Arc<Self>, kind: &str, new: &NewSchema) -> Result<CheckedSchema, NotDone> {
        check_kind(kind)?;
        let registry = self.schemas.current();
        let document = parse(&registry, new)?;
        let version = registry.types.get(kind).map_or(0, |of| of.last) + 1;
        let version = new.version.unwrap_or(version);
        let step = new.upcaster.clone().map(|upcaster| self.step(kind, version, upcaster)).transpose()?;
        self.compared(&registry, kind, .., &document, step.as_ref().map(|step| (version, step)))
    }

    /// Says what makes the data of a version of that of the one before, or that nothing does any more. It is held against the
    /// examples and the stored events of earlier versions; without one, the version has to read what they wrote.
    ///
    /// # Errors
    /// [`SchemaRefusal::UpcasterFails`] and [`SchemaRefusal::Incompatible`], besides others.
    pub fn set_upcaster(
        self: &Arc<Self>,
        kind: &str,
        version: u32,
        upcaster: Option<Upcaster>,
    ) -> Result<(SchemaInfo, CheckedSchema), NotDone> {
        let name = format!("{kind}.v{version}");
        loop {
            let registry = self.schemas.current();
            let known = registry.types.get(kind).and_then(|of| of.versions.get(&version));
            let document = known.and_then(|known| registry.document(known)).ok_or_else(|| not_found(&name))?;
            let step = upcaster.clone().map(|upcaster| self.step(kind, version, upcaster)).transpose()?;
            let step = step.as_ref().map(|step| (version, step));
            let mut checked = self.compared(&registry, kind, ..version, &document, step)?;
            if step.is_none() && registry.upcasts_behind(kind, version) {
                // What later ones are given then is what this one was given.
                checked.upcaster = Some(self.check_upcaster(&registry, kind, version, None)?);
            }
            let mut folded = self.schemas.folded.lock();
            if self.schemas.current().revision != registry.revision {
                continue;
            }
            match &checked.upcaster {
                Some(found) if !found.is_fine() => {
                    return Err(SchemaRefusal::UpcasterFails { name, checked: Box::new(found.clone()) }.into());
                }
                // With one, what was so before does not become worse.
                _ if step.is_none() && !checked.is_compatible() => {
                    return Err(SchemaRefusal::Incompatible(Box::new(Incompatible { name, checked })).into());
                }
                _ => {}
            }
            if known.is_some_and(|known| known.upcaster.is_none()) {
                check_upcasters(&folded)?;
            }
            let upcaster = step.map(|(_, step)| step.folded.clone());
            self.change_schemas(&mut folded, &[SchemaRecord::Upcaster { kind: kind.to_owned(), version, upcaster }])?;
            return Ok((self.schema(kind, version)?, checked));
        }
    }

    /// Gives the name that upcasters of this tenant have for a function. Events that need it cannot be read in later versions
    /// before.
    pub fn attach_upcaster(&self, name: &str, function: UpcastFunction) {
        let _one = self.schemas.folded.lock();
        let mut registry = self.schemas.current().same();
        registry.attach(name, function);
        *self.schemas.current.write() = Arc::new(registry);
    }

    /// An upcaster that is to lead into a version.
    fn step(&self, kind: &str, version: u32, upcaster: Upcaster) -> Result<Step, SchemaRefusal> {
        if version <= VERSION_UNSAID {
            return Err(SchemaRefusal::NothingToUpcast { name: format!("{kind}.v{version}") });
        }
        if let Upcaster::Function(name) = &upcaster {
            check_text("the name of a function", Some(name), NAME_BYTES_MAX)?;
        }
        Step::checked(FoldedUpcaster { upcaster, made: self.now() }).map_err(SchemaRefusal::InvalidUpcaster)
    }

    /// Types that have schemas or rules of their own, by their names: those after one, at most so many. Fewer where what is said of
    /// them is long.
    pub fn schemas(&self, after: Option<&str>, limit: usize) -> SchemasInfo {
        let registry = self.schemas.current();
        let is_after = |name: &&Arc<str>| after.is_none_or(|after| &***name > after);
        let mut names: Vec<_> = registry.types.keys().filter(is_after).collect();
        names.sort_unstable();
        let (mut types, mut bytes) = (Vec::new(), 0);
        for name in &names {
            if types.len() >= limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
            let of: Option<TypeInfo> = type_info(&registry, name);
            bytes += of.iter().flat_map(|of| &of.versions).map(SchemaSummary::bytes).sum::<usize>();
            types.extend(of);
        }
        SchemasInfo { has_more: types.len() < names.len(), types }
    }

    /// One of them.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`].
    pub fn schema_type(&self, kind: &str) -> Result<TypeInfo, NotDone> {
        type_info(&self.schemas.current(), kind).ok_or_else(|| not_found(kind))
    }

    /// One version of a schema.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`].
    pub fn schema(&self, kind: &str, version: u32) -> Result<SchemaInfo, NotDone> {
        let name = format!("{kind}.v{version}");
        let registry = self.schemas.current();
        let found = registry.types.get(kind).and_then(|of| of.versions.get(&version));
        found.map(|found| info(kind, version, found)).ok_or_else(|| not_found(&name))
    }

    /// A schema in one text, with those that it refers to inside of it.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`].
    pub fn bundled_schema(&self, kind: &str, version: u32) -> Result<Value, NotDone> {
        let registry = self.schemas.current();
        let name = format!("{kind}.v{version}");
        let found = registry.types.get(kind).and_then(|of| of.versions.get(&version));
        let document = found.and_then(|found| registry.document(found));
        document.map(|document| document.bundled().clone()).ok_or_else(|| not_found(&name))
    }

    /// What a version changed: without any said, the newest against the one before it. With the two that were compared.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`].
    pub fn diff_schemas(
        &self,
        kind: &str,
        from: Option<u32>,
        to: Option<u32>,
    ) -> Result<(u32, u32, Vec<Change>), NotDone> {
        let registry = self.schemas.current();
        let versions = &registry.types.get(kind).ok_or_else(|| not_found(kind))?.versions;
        let newest = versions.keys().next_back().copied();
        let to = to.or(newest).ok_or_else(|| not_found(kind))?;
        let before = versions.range(..to).next_back().map(|(number, _)| *number);
        let from = from.or(before).ok_or_else(|| not_found(&format!("{kind} before version {to}")))?;
        let of = |number: u32| {
            let version = versions.get(&number).ok_or_else(|| not_found(&format!("{kind}.v{number}")))?;
            registry.document(version).ok_or_else(|| not_found(&format!("{kind}.v{number}")))
        };
        Ok((from, to, diff(of(from)?.bundled(), of(to)?.bundled())))
    }

    /// Says that nobody should begin with a version any more, and why; or takes that back.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`].
    pub fn deprecate_schema(
        self: &Arc<Self>,
        kind: &str,
        version: u32,
        reason: Option<String>,
    ) -> Result<SchemaInfo, NotDone> {
        self.deprecate_schemas(kind, &[(version, reason)])?;
        self.schema(kind, version)
    }

    /// The same of several versions, each for a reason of its own, all or none.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`].
    pub fn deprecate_schemas(self: &Arc<Self>, kind: &str, versions: &[(u32, Option<String>)]) -> Result<(), NotDone> {
        let check = |(_, reason): &(u32, Option<String>)| check_text("a reason", reason.as_deref(), REASON_BYTES_MAX);
        versions.iter().try_for_each(check)?;
        let mut folded = self.schemas.folded.lock();
        versions.iter().try_for_each(|(version, _)| self.schema(kind, *version).map(drop))?;
        let deprecated = |(version, reason): &(u32, Option<String>)| {
            let (kind, reason) = (kind.to_owned(), reason.clone());
            SchemaRecord::Deprecated { kind, version: *version, reason }
        };
        Ok(self.change_schemas(&mut folded, &versions.iter().map(deprecated).collect::<Vec<_>>())?)
    }

    /// Removes a version that no event has and no schema refers to.
    ///
    /// # Errors
    /// [`SchemaRefusal::InUse`].
    pub fn remove_schema(self: &Arc<Self>, kind: &str, version: u32) -> Result<(), NotDone> {
        self.remove_schemas(kind, &[version])
    }

    /// Removes several, all or none.
    ///
    /// # Errors
    /// [`SchemaRefusal::InUse`].
    pub fn remove_schemas(self: &Arc<Self>, kind: &str, versions: &[u32]) -> Result<(), NotDone> {
        let mut folded = self.schemas.folded.lock();
        let looked_to = self.position();
        for version in versions {
            self.schema(kind, *version)?;
            let name = format!("{kind}.v{version}");
            let all = folded.types.iter().flat_map(|(other, of)| of.versions.iter().map(move |(v, s)| (other, v, s)));
            let goes_too = |other: &str, number: &u32| other == kind && versions.contains(number);
            let mut others = all.filter(|(other, number, _)| !goes_too(other, number));
            if let Some((other, number, _)) = others.find(|(_, _, schema)| schema.uses.contains(&name)) {
                return Err(SchemaRefusal::InUse { name, by: format!("the schema {other}.v{number}") }.into());
            }
            self.demand_unused(kind, *version, 0)?;
        }
        // The upcaster of one that goes may be what makes of the version before what the next one reads.
        if let Some(of) = folded.types.get(kind) {
            let first = versions.iter().min().copied().unwrap_or(u32::MAX);
            let left = of.versions.keys().filter(|number| **number > first && !versions.contains(number));
            let by =
                |number: &u32| versions.iter().any(|version| of.upcasters.contains_key(version) && version < number);
            if let Some(number) = left.into_iter().find(|number| of.upcasters.contains_key(number) || by(number)) {
                let (name, by) = (format!("{kind}.v{first}"), format!("the upcaster into {kind}.v{number}"));
                return Err(SchemaRefusal::InUse { name, by }.into());
            }
        }
        // Events that were on their way meanwhile: no more of these versions are taken, and all that were are looked at.
        let mut leaving = self.schemas.current().same();
        leaving.leaving = Some((kind.to_owned(), versions.to_vec()));
        *self.schemas.current.write() = Arc::new(leaving);
        let all_are_decided = self.write_records_wait(Vec::new()).map_err(NotDone::from);
        let mut unused = versions.iter().map(|version| self.demand_unused(kind, *version, looked_to));
        if let Err(used) = all_are_decided.and_then(|()| unused.try_for_each(|unused| unused)) {
            let as_before = self.schemas.current().same();
            *self.schemas.current.write() = Arc::new(as_before);
            return Err(used);
        }
        let removed = |version: &u32| SchemaRecord::Removed { kind: kind.to_owned(), version: *version };
        Ok(self.change_schemas(&mut folded, &versions.iter().map(removed).collect::<Vec<_>>())?)
    }

    /// That no event behind a position is of a version.
    fn demand_unused(self: &Arc<Self>, kind: &str, version: u32, after: u64) -> Result<(), NotDone> {
        let Some(position) = self.first_of(kind, version, after)? else { return Ok(()) };
        let (name, by) = (format!("{kind}.v{version}"), format!("the event at position {position}"));
        Err(SchemaRefusal::InUse { name, by }.into())
    }

    /// The rules of a type, or of the tenant.
    ///
    /// # Errors
    /// [`SchemaRefusal::InvalidType`].
    pub fn set_schema_rules(self: &Arc<Self>, kind: Option<&str>, rules: SchemaRules) -> Result<(), NotDone> {
        self.change_schema_rules(kind, |_| rules).map(drop)
    }

    /// What new versions of a type, or of the types of the tenant, are held to; the other rules stay. Gives what was said before.
    ///
    /// # Errors
    /// [`SchemaRefusal::InvalidType`].
    pub fn set_schema_level(
        self: &Arc<Self>,
        kind: Option<&str>,
        level: Option<Level>,
    ) -> Result<Option<Level>, NotDone> {
        let before = self.change_schema_rules(kind, |rules| SchemaRules { compatibility: level, ..rules })?;
        Ok(before.compatibility)
    }

    /// Gives the rules before the change.
    fn change_schema_rules(
        self: &Arc<Self>,
        kind: Option<&str>,
        change: impl FnOnce(SchemaRules) -> SchemaRules,
    ) -> Result<SchemaRules, NotDone> {
        kind.map_or(Ok(()), check_kind)?;
        let mut folded = self.schemas.folded.lock();
        let known = kind.map(|kind| folded.types.get(kind));
        if known.is_some_and(|of| of.is_none()) && folded.types.len() >= TYPES_MAX {
            return Err(SchemaRefusal::TooMany { what: "types", limit: TYPES_MAX }.into());
        }
        let before = known.map_or(folded.rules, |of| of.map(|of| of.rules).unwrap_or_default());
        let record = SchemaRecord::Rules { kind: kind.map(str::to_owned), rules: change(before) };
        self.change_schemas(&mut folded, &[record])?;
        Ok(before)
    }

    /// The rules of the tenant, for types that have none of their own.
    pub fn schema_rules(&self) -> SchemaRules {
        self.schemas.current().rules
    }

    /// Holds changes for true and writes them down in one commit.
    fn change_schemas(self: &Arc<Self>, folded: &mut FoldedSchemas, records: &[SchemaRecord]) -> Result<(), Fault> {
        let mut touched = folded.touched_by(records);
        records.iter().for_each(|record| touched.take(record.clone()));
        let registry = Arc::new(self.schemas.current().after(records, &touched));
        self.write_schemas(folded, records, touched, registry, records.iter().map(SchemaRecord::record).collect())
    }

    /// Holds what is to be for true, and writes the records that make it so in one commit. In this order: an event that is decided after the
    /// record was checked by the new rules, since the loop looks again at those that were checked by older ones.
    fn write_schemas(
        self: &Arc<Self>,
        folded: &mut FoldedSchemas,
        changes: &[SchemaRecord],
        touched: FoldedSchemas,
        registry: Arc<Registry>,
        records: Vec<Record>,
    ) -> Result<(), Fault> {
        let before = self.schemas.current();
        // Here, and not on the thread of the first event that needs it.
        SchemaRecord::kinds(changes).into_iter().for_each(|kind| registry.compile(kind));
        *self.schemas.current.write() = registry;
        let written = self.write_records_wait(records);
        match &written {
            Ok(()) => folded.put_back(changes, touched),
            // Nobody knows whether it is on disk, but nothing more is written until a restart finds out.
            Err(_) => {
                let mut as_before = before.same();
                as_before.revision += 1;
                *self.schemas.current.write() = Arc::new(as_before);
            }
        }
        written
    }

    /// Compares a schema with those versions of its type, and with stored events where that cannot tell. With an upcaster it is
    /// that which has to make of what was written what the schema reads.
    fn compared(
        self: &Arc<Self>,
        registry: &Registry,
        kind: &str,
        versions: impl RangeBounds<u32>,
        new: &Document,
        step: Option<(u32, &Step)>,
    ) -> Result<CheckedSchema, NotDone> {
        let level = level(registry, kind);
        let held_to = if step.is_some() { level.without_backward() } else { level };
        let of = registry.types.get(kind);
        let documents: Vec<_> = of
            .into_iter()
            .flat_map(|of| of.versions.range((versions.start_bound().cloned(), versions.end_bound().cloned())))
            .filter_map(|(number, version)| Some((*number, registry.document(version)?)))
            .collect();
        let old: Vec<_> = documents.iter().map(|(number, document)| (*number, document.bundled())).collect();
        // What was written before the last upcaster is read as that one makes it.
        let to = old.last().map_or(0, |(number, _)| *number);
        let upcast_to = of.and_then(|of| of.upcast_to(to));
        let read = old.partition_point(|(number, _)| upcast_to.is_some_and(|upcast_to| *number < upcast_to));
        let forward = level.without_backward();
        let verdict = match read {
            0 => compatibility::compare(held_to, &old, new.bundled(), Budget::default()),
            _ if held_to == forward => compatibility::compare(forward, &old, new.bundled(), Budget::default()),
            _ => compatibility::compare(held_to, &old[read..], new.bundled(), Budget::default())
                .and(compatibility::compare(forward, &old[..read], new.bundled(), Budget::default())),
        };
        let validator = new.validator();
        let stored = match verdict.answer {
            Answer::Yes => None,
            _ => Some(self.check_stored(registry, kind, to, &validator)?),
        };
        let upcaster =
            step.map(|(version, step)| self.check_upcaster(registry, kind, version, Some((step, &validator))));
        Ok(CheckedSchema { level, verdict, stored, upcaster: upcaster.transpose()? })
    }
}

/// The version that is registered next: the one after the last that ever was, or a larger one that was asked for.
fn next_version(registry: &Registry, kind: &str, given: Option<u32>) -> Result<u32, SchemaRefusal> {
    let of = registry.types.get(kind);
    let last = of.map_or(0, |of| of.last);
    match given.unwrap_or(last + 1) {
        version if version > VERSION_MAX => {
            Err(SchemaRefusal::TooMany { what: "as the number of a version", limit: VERSION_MAX as usize })
        }
        version if version > last => Ok(version),
        version if of.is_some_and(|of| of.versions.contains_key(&version)) => {
            Err(SchemaRefusal::Exists { name: format!("{kind}.v{version}") })
        }
        given => Err(SchemaRefusal::WrongVersion { given, next: last + 1 }),
    }
}

/// The type with its version that a name means.
fn used(references: &BTreeMap<String, String>, name: &str) -> Option<String> {
    let kind = registry::referred(references, name)?;
    Some(format!("{}.v{}", base_type(kind), type_version(kind).unwrap_or(VERSION_UNSAID)))
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What is registered already, if it is the same.
fn same(registry: &Registry, kind: &str, new: &NewSchema, document: &Document) -> Option<(u32, Arc<Version>)> {
    let versions = &registry.types.get(kind)?.versions;
    let mut candidates = versions.iter().rev().filter(|(number, _)| new.version.is_none_or(|given| given == **number));
    let is_same = |version: &Version| registry.document(version).is_some_and(|known| *known == *document);
    candidates.find(|(_, version)| is_same(version)).map(|(number, version)| (*number, Arc::clone(version)))
}

fn level(registry: &Registry, kind: &str) -> Level {
    let own = registry.types.get(kind).map(|of| of.rules).unwrap_or_default();
    own.or(registry.rules).compatibility.unwrap_or(LEVEL_DEFAULT)
}

/// The number of a text that is known, or the next one.
fn id_of(folded: &FoldedSchemas, new: &NewSchema) -> u32 {
    let mut all = folded.types.values().flat_map(|of| of.versions.values());
    let same = all.find(|schema| schema.text == new.text && schema.references == new.references);
    same.map_or(folded.last_id + 1, |same| same.id)
}

fn parse(registry: &Registry, new: &NewSchema) -> Result<Document, SchemaRefusal> {
    let mut names = new.references.iter().flat_map(|(name, kind)| [name, kind]);
    if new.references.len() > REFERENCES_MAX {
        return Err(SchemaRefusal::TooMany { what: "references", limit: REFERENCES_MAX });
    }
    if names.any(|name| name.len() > NAME_BYTES_MAX) {
        return Err(SchemaRefusal::TooLong { what: "a reference", limit: NAME_BYTES_MAX });
    }
    if new.examples.iter().any(|example| depth(example) > EXAMPLE_DEPTH_MAX) {
        return Err(SchemaRefusal::TooMany { what: "levels of an example", limit: EXAMPLE_DEPTH_MAX });
    }
    let lookup = |name: &str| registry.lookup(&new.references, name);
    let document = Document::parse_with(&new.text, &Limits::default(), &lookup).map_err(SchemaRefusal::Invalid)?;
    check_text("an owner", new.owner.as_deref(), OWNER_BYTES_MAX)?;
    check_text("a description", new.description.as_deref(), DESCRIPTION_BYTES_MAX)?;
    if new.examples.len() > EXAMPLES_MAX {
        return Err(SchemaRefusal::TooMany { what: "examples", limit: EXAMPLES_MAX });
    }
    document
        .check_examples(&new.examples)
        .map_err(|(index, violations)| SchemaRefusal::InvalidExample { index, violations })?;
    Ok(document)
}

/// Whether it is the name of a type without a version.
pub(crate) fn is_type_name(kind: &str) -> bool {
    (1..=TYPE_BYTES_MAX).contains(&kind.len())
        && !kind.chars().any(|c| quipu_domain::is_forbidden_char(c) || c.is_whitespace())
        && type_version(kind).is_none()
}

fn check_kind(kind: &str) -> Result<(), SchemaRefusal> {
    match is_type_name(kind) {
        true => Ok(()),
        false => Err(SchemaRefusal::InvalidType { name: kind.chars().take(64).collect() }),
    }
}

fn check_text(what: &'static str, text: Option<&str>, limit: usize) -> Result<(), SchemaRefusal> {
    match text.is_some_and(|text| text.len() > limit) {
        true => Err(SchemaRefusal::TooLong { what, limit }),
        false => Ok(()),
    }
}

fn check_limits(registry: &Registry, kind: &str, new: &FoldedSchema) -> Result<(), SchemaRefusal> {
    let of = registry.types.get(kind);
    if of.is_none() && registry.types.len() >= TYPES_MAX {
        return Err(SchemaRefusal::TooMany { what: "types", limit: TYPES_MAX });
    }
    if of.is_some_and(|of| of.versions.len() >= VERSIONS_MAX) {
        return Err(SchemaRefusal::TooMany { what: "versions of a type", limit: VERSIONS_MAX });
    }
    let all = registry.types.values().flat_map(|of| of.versions.values());
    if all.map(|version| version.bytes).sum::<usize>() + new.bytes() > SCHEMA_BYTES_MAX {
        return Err(SchemaRefusal::TooMany { what: "bytes of schemas", limit: SCHEMA_BYTES_MAX });
    }
    Ok(())
}

fn type_info(registry: &Registry, kind: &str) -> Option<TypeInfo> {
    let of = registry.types.get(kind)?;
    let versions = of.versions.iter().map(|(number, version)| summary(*number, version)).collect();
    let [refused, marked] = of.counts.both();
    Some(TypeInfo { kind: kind.to_owned(), rules: of.rules, versions, refused, marked })
}

fn summary(version: u32, of: &Version) -> SchemaSummary {
    let FoldedSchema { id, owner, description, deprecated, made, .. } = &*of.folded;
    let (owner, description, deprecated) = (owner.clone(), description.clone(), deprecated.clone());
    SchemaSummary { version, id: *id, owner, description, deprecated, upcaster: of.upcaster(), made: *made }
}

fn info(kind: &str, number: u32, version: &Version) -> SchemaInfo {
    let FoldedSchema { id, text, references, owner, description, examples, deprecated, made, .. } =
        (*version.folded).clone();
    let upcaster = version.upcaster();
    let (kind, version) = (kind.to_owned(), number);
    SchemaInfo { kind, version, id, text, references, owner, description, examples, deprecated, upcaster, made }
}

fn check_upcasters(folded: &FoldedSchemas) -> Result<(), SchemaRefusal> {
    match folded.types.values().map(|of| of.upcasters.len()).sum::<usize>() < UPCASTERS_MAX {
        true => Ok(()),
        false => Err(SchemaRefusal::TooMany { what: "upcasters", limit: UPCASTERS_MAX }),
    }
}

fn not_found(name: &str) -> NotDone {
    SchemaRefusal::NotFound { name: name.chars().take(300).collect() }.into()
}
