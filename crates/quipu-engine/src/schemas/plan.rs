//! Registrations of several schemas as one change: each is held to what was there and to those before it, and all that may be are
//! written in one commit.

use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::schema::Document;
use quipu_store::{Fault, Record};

use super::records::{FoldedSchema, FoldedSchemas, SchemaRecord, Shared};
use super::registry::{Registry, Version};
use super::upcast::Step;
use super::{
    CheckedSchema, DESCRIPTION_BYTES_MAX, Incompatible, NewSchema, SchemaRefusal, check_kind, check_limits, check_text,
    check_upcasters, id_of, next_version, parse, same, used,
};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// What a schema comes to that somebody wants to register.
pub(super) enum Looked {
    /// This version is the same.
    Known(u32, Arc<Version>),
    New(Box<Next>),
}

/// A version that was held to those before it, and may be registered if they go together.
pub(super) struct Next {
    pub version: u32,
    pub checked: CheckedSchema,
    document: Document,
    step: Option<Step>,
}

impl Next {
    /// The records that register it.
    ///
    /// # Errors
    /// It does not go with what is there, or that is as much as may be.
    pub fn records(
        self,
        folded: &FoldedSchemas,
        registry: &Registry,
        kind: &str,
        new: NewSchema,
        made: Timestamp,
    ) -> Result<Vec<SchemaRecord>, SchemaRefusal> {
        let Self { version, checked, document, step } = self;
        let name = format!("{kind}.v{version}");
        if let Some(checked) = checked.upcaster.clone().filter(|_| !checked.is_upcast()) {
            return Err(SchemaRefusal::UpcasterFails { name, checked: Box::new(checked) });
        }
        if !checked.is_compatible() {
            return Err(SchemaRefusal::Incompatible(Box::new(Incompatible { name, checked })));
        }
        let schema = FoldedSchema {
            id: id_of(folded, &new),
            text: new.text,
            uses: document.references().keys().filter_map(|name| used(&new.references, name)).collect(),
            references: new.references,
            weight: document.bundled().to_string().len() as u64,
            owner: new.owner,
            description: new.description,
            examples: new.examples,
            deprecated: None,
            made,
        };
        check_limits(registry, kind, &schema)?;
        let schema = Shared::new(schema);
        let mut records = vec![SchemaRecord::Registered { kind: kind.to_owned(), version, schema }];
        if let Some(step) = step {
            check_upcasters(folded)?;
            records.push(SchemaRecord::Upcaster { kind: kind.to_owned(), version, upcaster: Some(step.folded) });
        }
        Ok(records)
    }
}

/// Registrations that nobody else sees before they are written.
pub(crate) struct SchemaPlan {
    /// Of the schemas that it began with.
    revision: u64,
    /// As they would be after it.
    registry: Arc<Registry>,
    folded: FoldedSchemas,
    records: Vec<SchemaRecord>,
}

impl SchemaPlan {
    /// What it writes.
    pub fn records(&self) -> Vec<Record> {
        self.records.iter().map(SchemaRecord::record).collect()
    }

    fn take(&mut self, records: Vec<SchemaRecord>) {
        let mut touched = self.folded.touched_by(&records);
        records.iter().for_each(|record| touched.take(record.clone()));
        self.registry = Arc::new(self.registry.after(&records, &touched));
        self.folded.put_back(&records, touched);
        self.records.extend(records);
    }
}

impl Tenant {
    /// Holds a schema to a registry. It may read the whole log.
    pub(super) fn look(self: &Arc<Self>, registry: &Registry, kind: &str, new: &NewSchema) -> Result<Looked, NotDone> {
        check_kind(kind)?;
        let document = parse(registry, new)?;
        if let Some((version, known)) = same(registry, kind, new, &document) {
            let upcaster = known.upcaster.as_ref().map(|step| &step.folded.upcaster);
            if new.upcaster.is_some() && new.upcaster.as_ref() != upcaster {
                return Err(SchemaRefusal::OtherUpcaster { name: format!("{kind}.v{version}") }.into());
            }
            return Ok(Looked::Known(version, known));
        }
        let version = next_version(registry, kind, new.version)?;
        let step = new.upcaster.clone().map(|upcaster| self.step(kind, version, upcaster)).transpose()?;
        let checked = self.compared(registry, kind, .., &document, step.as_ref().map(|step| (version, step)))?;
        Ok(Looked::New(Box::new(Next { version, checked, document, step })))
    }

    /// A plan that changes nothing yet.
    pub(crate) fn plan_schemas(&self) -> SchemaPlan {
        let folded = self.schemas.folded.lock();
        let registry = self.schemas.current();
        SchemaPlan { revision: registry.revision, registry, folded: folded.clone(), records: Vec::new() }
    }

    /// Plans to register a schema, and to deprecate it at once if there is a reason. Says whether it was there; then it stays as it is.
    ///
    /// # Errors
    /// [`SchemaRefusal`]: the plan is as before.
    pub(crate) fn plan_schema(
        self: &Arc<Self>,
        plan: &mut SchemaPlan,
        kind: &str,
        new: NewSchema,
        deprecated: Option<String>,
    ) -> Result<bool, NotDone> {
        let next = match self.look(&plan.registry, kind, &new)? {
            Looked::Known(..) => return Ok(true),
            Looked::New(next) => next,
        };
        check_text("a reason", deprecated.as_deref(), DESCRIPTION_BYTES_MAX)?;
        let version = next.version;
        let mut records = next.records(&plan.folded, &plan.registry, kind, new, self.now())?;
        let deprecation = |reason| SchemaRecord::Deprecated { kind: kind.to_owned(), version, reason: Some(reason) };
        records.extend(deprecated.map(deprecation));
        plan.take(records);
        Ok(false)
    }

    /// Writes a plan and what else comes with it in one commit. Whether it did: a plan is out of date once anybody else changed
    /// schemas.
    ///
    /// # Errors
    /// As of any write: nobody knows whether it is on disk, and nothing more is written until a restart finds out.
    pub(crate) fn write_plan(self: &Arc<Self>, plan: SchemaPlan, records: Vec<Record>) -> Result<bool, Fault> {
        let mut folded = self.schemas.folded.lock();
        if self.schemas.current().revision != plan.revision {
            return Ok(false);
        }
        match plan.records.is_empty() {
            true => self.write_records_wait(records)?,
            false => {
                let touched = plan.folded.touched_by(&plan.records);
                self.write_schemas(&mut folded, &plan.records, touched, plan.registry, records)?;
            }
        }
        Ok(true)
    }
}
