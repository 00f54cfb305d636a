//! A line of the catalog: what is declared and what was observed of one type, put together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use quipu_domain::{Pattern, Takes, Timestamp, base_type, type_version};
use serde_json::Value;

use crate::schemas::{TypeInfo, VERSION_UNSAID};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

use super::observed::{Observed, Seen};
use super::records::Declaration;

/// All types, and how far the log was looked at.
#[derive(Clone, Debug)]
pub struct CatalogInfo {
    /// By their names.
    pub types: Vec<CatalogType>,
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
    /// Who reads it, by their names.
    pub consumers: Vec<Consumer>,
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
    /// Which events the subscription of that name takes; nothing if there is none that can take any.
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

/// A subscription as far as the catalog is concerned.
struct Reader {
    name: String,
    /// Nothing takes everything.
    pattern: Option<Pattern>,
}

/// What is put together, by type; and the types with their versions as events have them, or as somebody asks for them.
#[derive(Default)]
struct Lines(BTreeMap<String, (CatalogType, BTreeSet<String>)>);

impl Lines {
    fn of(&mut self, kind: &str) -> &mut CatalogType {
        &mut self.entry(kind).0
    }

    /// Notes that there are, or are to be, events of this type with its version.
    fn name(&mut self, name: &str) {
        self.entry(base_type(name)).1.insert(name.to_owned());
    }

    fn entry(&mut self, kind: &str) -> &mut (CatalogType, BTreeSet<String>) {
        let line = || CatalogType { kind: kind.to_owned(), ..CatalogType::default() };
        self.0.entry(kind.to_owned()).or_insert_with(|| (line(), BTreeSet::new()))
    }
}

impl Tenant {
    /// Every type that was declared, has a schema, was seen, or is asked for by name.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn catalog(&self) -> Result<CatalogInfo, NotDone> {
        let (schemas, readers, now) = (self.schemas(), self.readers(), self.now());
        let declared = self.catalog.declared.lock().types.clone();
        let mut lines = Lines::default();
        schemas.into_iter().for_each(|schema| lines.of(&schema.kind.clone()).take_schema(schema));
        declared.into_iter().for_each(|(kind, declaration)| lines.of(&kind).take_declaration(declaration));
        for reader in &readers {
            let named = reader.pattern.iter().flat_map(Pattern::named_types);
            named.for_each(|name| lines.name(name));
        }
        let (position, others) = self.with_observed(|observed: &Observed| {
            for (name, seen) in &observed.types {
                lines.name(name);
                lines.of(base_type(name)).take_seen(type_version(name).unwrap_or(VERSION_UNSAID), seen, now);
            }
            (observed.position, observed.others)
        })?;
        let mut types = Vec::with_capacity(lines.0.len());
        for (mut line, mut names) in lines.0.into_values() {
            names.extend(line.expected_names());
            readers.iter().for_each(|reader| line.take_reader(reader, &names));
            line.consumers.sort_by(|a, b| a.name.cmp(&b.name));
            line.publishers.sort_by(|a, b| a.name.cmp(&b.name));
            line.versions.sort_by_key(|version| version.version);
            line.findings = Finding::ALL.into_iter().filter(|finding| line.has(*finding)).collect();
            types.push(line);
        }
        Ok(CatalogInfo { types, position, others })
    }

    fn readers(&self) -> Vec<Reader> {
        let reader = |running: &std::sync::Arc<crate::subscriptions::Running>| {
            let compiled = running.compiled();
            // A definition that is not understood takes nothing.
            let is_read = compiled.refused.is_none();
            is_read.then(|| Reader { name: running.name.to_string(), pattern: compiled.pattern.clone() })
        };
        self.subscriptions.all().iter().filter_map(reader).collect()
    }
}

impl CatalogType {
    fn take_schema(&mut self, schema: TypeInfo) {
        self.refused = schema.refused;
        for version in schema.versions {
            // Rules alone are no schema; the newest version that says something has the word.
            self.owner = version.owner.or(self.owner.take());
            self.description = version.description.or(self.description.take());
            if !version.examples.is_empty() {
                self.examples = version.examples;
            }
            self.versions.push(CatalogVersion {
                version: version.version,
                is_registered: true,
                deprecated: version.deprecated,
                events: 0,
            });
        }
    }

    fn take_declaration(&mut self, declaration: Declaration) {
        let Declaration { publishers, consumers, owner, description, channel } = declaration;
        self.is_declared = true;
        self.owner = owner.or(self.owner.take());
        self.description = description.or(self.description.take());
        self.channel = channel;
        self.publishers.extend(publishers.into_iter().map(|name| Publisher { name, is_declared: true, events: 0 }));
        self.consumers.extend(consumers.into_iter().map(|name| Consumer { name, is_declared: true, takes: None }));
    }

    fn take_seen(&mut self, version: u32, seen: &Seen, now: Timestamp) {
        match self.versions.iter_mut().find(|known| known.version == version) {
            Some(known) => known.events += seen.events,
            None => {
                let events = seen.events;
                self.versions.push(CatalogVersion { version, is_registered: false, deprecated: None, events });
            }
        }
        for (name, events) in &seen.sources {
            match self.publishers.iter_mut().find(|known| known.name == *name) {
                Some(known) => known.events += events,
                None => self.publishers.push(Publisher { name: name.clone(), is_declared: false, events: *events }),
            }
        }
        let [hour, day] = seen.lately(now);
        self.other_sources += seen.other_sources;
        self.events += seen.events;
        self.last_hour += hour;
        self.last_day += day;
        self.marked += seen.marked;
        self.first = Some(self.first.map_or(seen.first, |first| first.min(seen.first)));
        self.last = Some(self.last.map_or(seen.last, |last| last.max(seen.last)));
    }

    /// The types with their versions that events would have: those of version 1 usually go without.
    fn expected_names(&self) -> Vec<String> {
        let unseen = self.versions.iter().filter(|version| version.events == 0);
        let mut names: Vec<String> = unseen
            .map(|version| match version.version {
                VERSION_UNSAID => self.kind.clone(),
                version => format!("{}.v{version}", self.kind),
            })
            .collect();
        if self.versions.is_empty() {
            names.push(self.kind.clone());
        }
        names
    }

    fn take_reader(&mut self, reader: &Reader, names: &BTreeSet<String>) {
        let takes = match &reader.pattern {
            None => Takes::All,
            Some(pattern) => {
                let all: Vec<Takes> = names.iter().map(|name| pattern.takes(name)).collect();
                let most = all.iter().copied().max().unwrap_or(Takes::None);
                // One that takes some versions whole takes some of the events.
                if most == Takes::All && all.contains(&Takes::None) { Takes::Some } else { most }
            }
        };
        if takes == Takes::None {
            return;
        }
        match self.consumers.iter_mut().find(|known| known.name == reader.name) {
            Some(known) => known.takes = Some(takes),
            None => {
                self.consumers.push(Consumer { name: reader.name.clone(), is_declared: false, takes: Some(takes) });
            }
        }
    }

    fn has(&self, finding: Finding) -> bool {
        let is_said = self.is_declared || self.versions.iter().any(|version| version.is_registered);
        // Who takes events of any type does not ask for this one.
        let asks = |consumer: &Consumer| consumer.is_declared || consumer.takes >= Some(Takes::Some);
        match finding {
            Finding::Unconsumed => self.events > 0 && self.consumers.is_empty(),
            Finding::Unpublished => self.events == 0 && self.consumers.iter().any(asks),
            Finding::Undeclared => self.events > 0 && !is_said,
            Finding::Unseen => self.events == 0 && is_said,
        }
    }
}
