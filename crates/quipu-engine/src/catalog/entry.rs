//! A line of the catalog: what is declared and what was observed of one type, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use quipu_domain::{Pattern, Takes, Timestamp, base_type, type_version};
use serde_json::Value;

use quipu_store::Fault;

use crate::schemas::{Kind, Upcaster, VERSION_UNSAID};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

use super::observed::{Observed, SOURCES_MAX, Seen};
use super::records::Declaration;

/// Most consumers of a type that are shown: all that may be declared, or else so many subscriptions.
const CONSUMERS_MAX: usize = 64;

/// Which types are shown. Whatever is said narrows it.
#[derive(Clone, Debug, Default)]
pub struct CatalogAsked {
    /// What their names begin with.
    pub prefix: String,
    /// The name after which they come.
    pub after: Option<String>,
    /// What was found of them.
    pub finding: Option<Finding>,
    /// Most of them.
    pub limit: Option<usize>,
}

impl CatalogAsked {
    fn is_of(&self, kind: &str) -> bool {
        kind.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| kind > after)
    }
}

/// The types that were asked for, and how far the log was looked at.
#[derive(Clone, Debug)]
pub struct CatalogInfo {
    /// By their names.
    pub types: Vec<CatalogType>,
    /// Whether more come after them.
    pub has_more: bool,
    /// Events up to this position were counted.
    pub position: u64,
    /// Events of types beyond those that are told apart.
    pub others: u64,
}

/// An event type.
#[derive(Clone, Debug, Default)]
pub struct CatalogType {
    /// Its name, without a version.
    pub kind: String,
    /// Its versions, registered or seen, oldest first.
    pub versions: Vec<CatalogVersion>,
    /// Whether something is declared of it.
    pub is_declared: bool,
    /// Who answers for it: as declared, or as its newest schema says that does.
    pub owner: Option<String>,
    /// What people should know of it.
    pub description: Option<String>,
    /// The address of the channel that it goes over elsewhere.
    pub channel: Option<String>,
    /// Data of the newest version that has any.
    pub examples: Vec<Value>,
    /// Who publishes it, by their names.
    pub publishers: Vec<Publisher>,
    /// Events of sources beyond those that are told apart.
    pub other_sources: u64,
    /// Who reads it, by their names: those that are declared, and of the others the first.
    pub consumers: Vec<Consumer>,
    /// How many more read it.
    pub other_consumers: u64,
    /// How many events there are.
    pub events: u64,
    /// How many of them were recorded in the last 60 minutes.
    pub last_hour: u64,
    /// How many of them were recorded in the last 24 hours.
    pub last_day: u64,
    /// The position of the first, and when it was recorded.
    pub first: Option<(u64, Timestamp)>,
    /// The same of the last.
    pub last: Option<(u64, Timestamp)>,
    /// Events that were recorded although they break their schema.
    pub marked: u64,
    /// Events that were refused since the tenant was opened.
    pub refused: u64,
    /// Where what is declared and what was observed differ.
    pub findings: Vec<Finding>,
}

/// A version of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogVersion {
    /// Its number.
    pub version: u32,
    /// Whether it has a schema.
    pub is_registered: bool,
    /// Why nobody should begin with it any more.
    pub deprecated: Option<String>,
    /// What makes its data of that of the version before.
    pub upcaster: Option<Upcaster>,
    /// How many events it has.
    pub events: u64,
}

/// A source of events of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publisher {
    /// Its name: the `source` of events.
    pub name: String,
    /// Whether it was declared.
    pub is_declared: bool,
    /// How many events it published.
    pub events: u64,
}

/// Somebody who reads events of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// Whether it was declared.
    pub is_declared: bool,
    /// Which events the subscription of that name takes, or what has a name such as `projections/orders`, `sagas/fulfilment`,
    /// `rules/welcome` or `expectations/shipped`; nothing if there is none that can take any.
    pub takes: Option<Takes>,
}

/// Something that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// It is published, and nobody reads it.
    Unconsumed,
    /// Somebody asks for it, and it was never published.
    Unpublished,
    /// It was seen, and neither declared nor is there a schema for it.
    Undeclared,
    /// It is declared or has a schema, and was never seen.
    Unseen,
}

impl Finding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unconsumed, Self::Unpublished, Self::Undeclared, Self::Unseen];

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unconsumed => "unconsumed",
            Self::Unpublished => "unpublished",
            Self::Undeclared => "undeclared",
            Self::Unseen => "unseen",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A subscription, a projection, a saga, a rule or an expectation as far as the catalog is concerned.
struct Reader {
    name: String,
    /// Nothing takes everything.
    pattern: Option<Pattern>,
}

/// A type that is put together.
#[derive(Default)]
struct Line {
    of: CatalogType,
    /// Its schemas, which are looked through once it is known that the type comes on the page.
    schemas: Option<Arc<Kind>>,
    versions: BTreeMap<u32, CatalogVersion>,
    publishers: BTreeMap<String, Publisher>,
    /// How many of them are not declared.
    told_apart: usize,
    consumers: BTreeMap<String, Consumer>,
    /// Whether somebody asks for this type, and not for events of any.
    is_asked_for: bool,
    /// The types with their versions as events have them, or as somebody asks for them.
    names: BTreeSet<String>,
}

/// The types that were asked for, by their names.
struct Lines<'a> {
    asked: &'a CatalogAsked,
    types: BTreeMap<String, Line>,
}

impl Lines<'_> {
    /// The line of a type, if it was asked for.
    fn of(&mut self, kind: &str) -> Option<&mut Line> {
        if !self.asked.is_of(kind) {
            return None;
        }
        let of = || CatalogType { kind: kind.to_owned(), ..CatalogType::default() };
        Some(self.types.entry(kind.to_owned()).or_insert_with(|| Line { of: of(), ..Line::default() }))
    }
}

impl Tenant {
    /// Every type that was declared, has a schema, was seen, or is asked for by name, as far as it was asked for here.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn catalog(&self, asked: &CatalogAsked) -> Result<CatalogInfo, NotDone> {
        let (registry, mut readers, now) = (self.schemas.current(), self.readers(), self.now());
        let flow = self.saga_flow();
        readers.extend(flow.listens.into_iter().map(|(name, pattern)| Reader { name, pattern: Some(pattern) }));
        readers.sort_by(|a, b| a.name.cmp(&b.name));
        let mut lines = Lines { asked, types: BTreeMap::new() };
        for (kind, schemas) in &registry.types {
            if let Some(line) = lines.of(kind) {
                line.schemas = Some(Arc::clone(schemas));
            }
        }
        for (kind, declaration) in &self.catalog.declared.lock().types {
            if let Some(line) = lines.of(kind) {
                line.take_declaration(declaration.clone());
            }
        }
        for (source, kind) in flow.sends {
            if let Some(line) = lines.of(base_type(&kind)) {
                let of = || Publisher { name: source.clone(), is_declared: true, events: 0 };
                line.publishers.entry(source.clone()).or_insert_with(of);
                line.names.insert(kind);
            }
        }
        for name in readers.iter().flat_map(|reader| reader.pattern.iter().flat_map(Pattern::named_types)) {
            if let Some(line) = lines.of(base_type(name)) {
                line.names.insert(name.to_owned());
            }
        }
        // Copied, and put together afterwards: meanwhile nobody else could ask.
        let (seen, position, others) = self.with_observed(|observed: &Observed| {
            let types = observed.types.iter().filter(|(name, _)| asked.is_of(base_type(name)));
            let seen: Vec<(String, Seen)> = types.map(|(name, seen)| (name.clone(), seen.clone())).collect();
            (seen, observed.position, observed.others)
        })?;
        for (name, seen) in seen {
            if let Some(line) = lines.of(base_type(&name)) {
                line.take_seen(type_version(&name).unwrap_or(VERSION_UNSAID), seen, now);
                line.names.insert(name);
            }
        }
        // Each is held to all subscriptions, so that only those are which come on the page.
        let limit = asked.limit.unwrap_or(usize::MAX);
        let mut types = Vec::new();
        let mut has_more = false;
        for line in lines.types.into_values() {
            if asked.finding.is_none() && types.len() == limit {
                has_more = true;
                break;
            }
            let line = line.finish(&readers);
            if asked.finding.is_none_or(|finding| line.findings.contains(&finding)) {
                has_more = types.len() == limit;
                if has_more {
                    break;
                }
                types.push(line);
            }
        }
        Ok(CatalogInfo { types, has_more, position, others })
    }

    /// Every type that was declared, has a schema, is that of a schedule or was seen: somebody publishes it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub(crate) fn published_types(&self) -> Result<BTreeSet<String>, Fault> {
        let mut types: BTreeSet<String> = self.schemas.current().types.keys().map(|kind| kind.to_string()).collect();
        types.extend(self.catalog.declared.lock().types.keys().cloned());
        types.extend(self.scheduled_types().into_iter().map(|(_, kind)| kind));
        types.extend(self.with_observed(|observed: &Observed| observed.types.keys().cloned().collect::<Vec<_>>())?);
        Ok(types)
    }

    /// The patterns of those who follow events; none for one who takes all.
    pub(crate) fn followed(&self) -> Vec<Option<Pattern>> {
        self.readers().into_iter().map(|reader| reader.pattern).collect()
    }

    /// Subscriptions and projections, by their names.
    fn readers(&self) -> Vec<Reader> {
        let reader = |running: &Arc<crate::subscriptions::Running>| {
            let compiled = running.compiled();
            // A definition that is not understood takes nothing.
            let is_read = compiled.refused.is_none();
            is_read.then(|| Reader { name: running.name.to_string(), pattern: compiled.pattern.clone() })
        };
        let mut readers: Vec<Reader> = self.subscriptions.all().iter().filter_map(reader).collect();
        // No subscription has a slash in its name.
        readers.extend(self.projections().into_iter().filter_map(|info| {
            let declaration = &info.releases.get(&info.live)?.declaration;
            Some(Reader { name: format!("projections/{}", info.name), pattern: declaration.pattern().ok()? })
        }));
        readers.sort_by(|a, b| a.name.cmp(&b.name));
        readers
    }
}

impl CatalogVersion {
    /// One that nothing is known of.
    fn unknown(version: u32) -> Self {
        Self { version, is_registered: false, deprecated: None, upcaster: None, events: 0 }
    }
}

impl Line {
    /// Takes in what its schemas say: the newest version that says something has the word, behind the declaration.
    fn take_schemas(&mut self, schemas: &Kind) {
        let of = &mut self.of;
        [of.refused, _] = schemas.counts.both();
        let newest_first = || schemas.versions.values().rev().map(|version| &version.folded);
        of.owner = of.owner.take().or_else(|| newest_first().find_map(|schema| schema.owner.clone()));
        of.description = of.description.take().or_else(|| newest_first().find_map(|schema| schema.description.clone()));
        let examples = newest_first().map(|schema| &schema.examples).find(|examples| !examples.is_empty());
        of.examples = examples.cloned().unwrap_or_default();
        // Rules alone are no schema.
        for (number, schema) in &schemas.versions {
            let version = self.versions.entry(*number).or_insert_with(|| CatalogVersion::unknown(*number));
            (version.is_registered, version.deprecated) = (true, schema.folded.deprecated.clone());
            version.upcaster = schema.upcaster();
        }
    }

    fn take_declaration(&mut self, declaration: Declaration) {
        let Declaration { publishers, consumers, owner, description, channel } = declaration;
        let of = &mut self.of;
        of.is_declared = true;
        of.owner = owner;
        of.description = description;
        of.channel = channel;
        for name in publishers {
            self.publishers.insert(name.clone(), Publisher { name, is_declared: true, events: 0 });
        }
        for name in consumers {
            self.is_asked_for = true;
            self.consumers.insert(name.clone(), Consumer { name, is_declared: true, takes: None });
        }
    }

    fn take_seen(&mut self, version: u32, seen: Seen, now: Timestamp) {
        let unknown = || CatalogVersion::unknown(version);
        self.versions.entry(version).or_insert_with(unknown).events += seen.events;
        let of = &mut self.of;
        let [hour, day] = seen.lately(now);
        of.other_sources += seen.other_sources;
        for (name, events) in seen.sources {
            if let Some(known) = self.publishers.get_mut(&name) {
                known.events += events;
            } else if self.told_apart == SOURCES_MAX {
                // Each version may have as many: a type has no more than one of them.
                of.other_sources += events;
            } else {
                self.told_apart += 1;
                self.publishers.insert(name.clone(), Publisher { name, is_declared: false, events });
            }
        }
        of.events += seen.events;
        of.last_hour += hour;
        of.last_day += day;
        of.marked += seen.marked;
        of.first = Some(of.first.map_or(seen.first, |first| first.min(seen.first)));
        of.last = Some(of.last.map_or(seen.last, |last| last.max(seen.last)));
    }

    /// The type with those who read it.
    fn finish(mut self, readers: &[Reader]) -> CatalogType {
        if let Some(schemas) = self.schemas.take() {
            self.take_schemas(&schemas);
        }
        let expected = self.expected_names();
        self.names.extend(expected);
        readers.iter().for_each(|reader| self.take_reader(reader));
        let findings = Finding::ALL.into_iter().filter(|finding| self.has(*finding)).collect();
        CatalogType {
            versions: self.versions.into_values().collect(),
            publishers: self.publishers.into_values().collect(),
            consumers: self.consumers.into_values().collect(),
            findings,
            ..self.of
        }
    }

    /// The types with their versions that events would have: those of version 1 usually go without.
    fn expected_names(&self) -> Vec<String> {
        let kind = &self.of.kind;
        let unseen = self.versions.values().filter(|version| version.events == 0);
        let mut names: Vec<String> = unseen
            .map(|version| match version.version {
                VERSION_UNSAID => kind.clone(),
                version => format!("{kind}.v{version}"),
            })
            .collect();
        if self.versions.is_empty() {
            names.push(kind.clone());
        }
        names
    }

    fn take_reader(&mut self, reader: &Reader) {
        let takes = match &reader.pattern {
            None => Takes::All,
            Some(pattern) => {
                let all: Vec<Takes> = self.names.iter().map(|name| pattern.takes(name)).collect();
                let most = all.iter().copied().max().unwrap_or(Takes::None);
                // One that takes some versions whole takes some of the events.
                if most == Takes::All && all.contains(&Takes::None) { Takes::Some } else { most }
            }
        };
        if takes == Takes::None {
            return;
        }
        // Who takes events of any type does not ask for this one.
        self.is_asked_for |= takes >= Takes::Some;
        if let Some(known) = self.consumers.get_mut(&reader.name) {
            // A saga asks for events in more than one way.
            known.takes = known.takes.max(Some(takes));
        } else if self.consumers.len() >= CONSUMERS_MAX {
            self.of.other_consumers += 1;
        } else {
            let consumer = Consumer { name: reader.name.clone(), is_declared: false, takes: Some(takes) };
            self.consumers.insert(reader.name.clone(), consumer);
        }
    }

    fn has(&self, finding: Finding) -> bool {
        let of = &self.of;
        let is_said = of.is_declared || self.versions.values().any(|version| version.is_registered);
        match finding {
            Finding::Unconsumed => of.events > 0 && self.consumers.is_empty(),
            Finding::Unpublished => of.events == 0 && self.is_asked_for,
            Finding::Undeclared => of.events > 0 && !is_said,
            Finding::Unseen => of.events == 0 && is_said,
        }
    }
}
