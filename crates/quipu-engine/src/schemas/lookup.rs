//! Schemas by what they are and by what they use, for dialects whose clients know a text or a number rather than a type with a
//! version.

use std::sync::Arc;

use quipu_domain::schema::SchemaRules;
use quipu_domain::schema::compatibility::Level;
use quipu_domain::{base_type, type_version};

use super::registry::{Registry, VERSION_UNSAID, Version, referred};
use super::{CheckedSchema, NewSchema, SchemaInfo, check_kind, info, level, not_found, parse, same};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// What a version is, without its text: there may be many.
#[derive(Clone, Debug)]
pub struct SchemaEntry {
    /// The type, without a version.
    pub kind: String,
    /// The version.
    pub version: u32,
    /// Its number among all schemas of the tenant.
    pub id: u32,
    /// Why nobody should begin with it any more.
    pub deprecated: Option<String>,
    /// The types with versions that it refers to, one for each name that it has for them.
    pub uses: Vec<String>,
}

/// What a schema calls another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaReference {
    /// The name in its text.
    pub name: String,
    /// The type of the other, without a version.
    pub kind: String,
    /// The version of the other.
    pub version: u32,
}

impl Tenant {
    /// All versions of a type, or of all types, by type and version.
    pub fn schema_entries(&self, kind: Option<&str>) -> Vec<SchemaEntry> {
        let registry = self.schemas.current();
        match kind {
            Some(kind) => entries(&registry, kind, |_| true).collect(),
            None => all(&registry, |_| true),
        }
    }

    /// One version of a type, or the newest, of those that are wanted by what is said against them.
    pub fn schema_entry(
        &self,
        kind: &str,
        version: Option<u32>,
        is_wanted: impl Fn(Option<&str>) -> bool,
    ) -> Option<SchemaEntry> {
        let registry = self.schemas.current();
        let versions = &registry.types.get(kind)?.versions;
        let is_wanted = |found: &Version| is_wanted(found.folded.deprecated.as_deref());
        let found = match version {
            Some(version) => versions.get_key_value(&version).filter(|(_, found)| is_wanted(found)),
            None => versions.iter().rev().find(|(_, found)| is_wanted(found)),
        };
        found.map(|(version, found)| entry(kind, *version, found))
    }

    /// The versions with a number, by type and version. Clients ask for it with each kind of data that they read.
    pub fn schema_entries_with_id(&self, id: u32) -> Vec<SchemaEntry> {
        all(&self.schemas.current(), |version| version.folded.id == id)
    }

    /// The version of a type that is this schema, however it is spaced.
    ///
    /// # Errors
    /// It is none: [`SchemaRefusal::Invalid`](super::SchemaRefusal::Invalid).
    pub fn find_schema(&self, kind: &str, asked: &NewSchema) -> Result<Option<SchemaInfo>, NotDone> {
        check_kind(kind)?;
        let registry = self.schemas.current();
        let document = parse(&registry, asked)?;
        Ok(same(&registry, kind, asked, &document).map(|(version, known)| info(kind, version, &known)))
    }

    /// What a version calls the schemas that it refers to: the names that it was registered with, and those that say of themselves
    /// what they are.
    ///
    /// # Errors
    /// [`SchemaRefusal::NotFound`](super::SchemaRefusal::NotFound).
    pub fn schema_references(&self, kind: &str, version: u32) -> Result<Vec<SchemaReference>, NotDone> {
        let registry = self.schemas.current();
        let found = registry.types.get(kind).and_then(|of| of.versions.get(&version));
        let found = found.ok_or_else(|| not_found(&format!("{kind}.v{version}")))?;
        let references = &found.folded.references;
        let document = registry.document(found);
        let own = document.iter().flat_map(|document| document.references().keys());
        let own = own.filter(|name| !references.contains_key(*name));
        let reference = |name: &String| {
            let whose = referred(references, name)?;
            let version = type_version(whose).unwrap_or(VERSION_UNSAID);
            Some(SchemaReference { name: name.clone(), kind: base_type(whose).to_owned(), version })
        };
        Ok(references.keys().chain(own).filter_map(reference).collect())
    }

    /// How a schema would go with one version of a type, whatever other versions there are.
    ///
    /// # Errors
    /// [`SchemaRefusal`](super::SchemaRefusal).
    pub fn check_schema_with(
        self: &Arc<Self>,
        kind: &str,
        version: u32,
        asked: &NewSchema,
    ) -> Result<CheckedSchema, NotDone> {
        check_kind(kind)?;
        self.schema(kind, version)?;
        let registry = self.schemas.current();
        let document = parse(&registry, asked)?;
        self.compared(&registry, kind, version..=version, &document, None)
    }

    /// The rules of a type; what it does not say the tenant's do.
    pub fn schema_type_rules(&self, kind: &str) -> SchemaRules {
        self.schemas.current().types.get(kind).map(|of| of.rules).unwrap_or_default()
    }

    /// What new versions of a type are held to, or those of types without rules of their own.
    pub fn schema_level(&self, kind: Option<&str>) -> Level {
        // No type has an empty name.
        level(&self.schemas.current(), kind.unwrap_or_default())
    }
}

fn all(registry: &Registry, is_wanted: impl Fn(&Version) -> bool + Copy) -> Vec<SchemaEntry> {
    let mut all: Vec<_> = registry.types.keys().flat_map(|kind| entries(registry, kind, is_wanted)).collect();
    all.sort_unstable_by(|a, b| (&a.kind, a.version).cmp(&(&b.kind, b.version)));
    all
}

fn entries<'r>(
    registry: &'r Registry,
    kind: &'r str,
    is_wanted: impl Fn(&Version) -> bool + 'r,
) -> impl Iterator<Item = SchemaEntry> + 'r {
    let versions = registry.types.get(kind).into_iter().flat_map(|of| &of.versions);
    versions.filter(move |(_, found)| is_wanted(found)).map(|(version, found)| entry(kind, *version, found))
}

fn entry(kind: &str, version: u32, found: &Version) -> SchemaEntry {
    SchemaEntry {
        kind: kind.to_owned(),
        version,
        id: found.folded.id,
        deprecated: found.folded.deprecated.clone(),
        uses: found.folded.uses.clone(),
    }
}
