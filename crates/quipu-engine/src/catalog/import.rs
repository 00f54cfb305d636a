//! Many types at once: their schemas and what is declared of them, in one commit. What is refused is left out and said; nothing of
//! the rest depends on it but later versions of the same type.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::limits::APPEND_BYTES_MAX;
use quipu_store::Record;

use super::records::{Declaration, DeclarationRecord, FoldedCatalog};
use super::{CatalogRefusal, Room, check};
use crate::schemas::{NewSchema, SchemaPlan};
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;

/// Most bytes that an import writes, since it is one commit: half of the largest.
const IMPORT_BYTES_MAX: usize = APPEND_BYTES_MAX;

/// A type that is to be there.
#[derive(Clone, Debug, Default)]
pub struct ImportedType {
    /// Its versions, oldest first.
    pub versions: Vec<ImportedVersion>,
    /// What is declared of it besides what was before.
    pub declaration: Declaration,
}

/// A version of a schema that is to be there.
#[derive(Clone, Debug)]
pub struct ImportedVersion {
    /// What it is.
    pub schema: NewSchema,
    /// Why nobody should begin with it any more.
    pub deprecated: Option<String>,
}

/// What becomes of a schema or a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedPart {
    /// The type.
    pub kind: String,
    /// The version; nothing for what is declared of the type.
    pub version: Option<u32>,
    /// What becomes of it.
    pub outcome: ImportOutcome,
}

/// What becomes of one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It was not there.
    New,
    /// It was there.
    Known,
    /// It may not be, for this reason.
    Refused(String),
}

impl ImportOutcome {
    /// That the world failed is no outcome of one of them.
    fn of(taken: Result<bool, NotDone>) -> Result<Self, NotDone> {
        match taken {
            Ok(false) => Ok(Self::New),
            Ok(true) => Ok(Self::Known),
            Err(NotDone::Failed(fault)) => Err(fault.into()),
            Err(refused) => Ok(Self::Refused(refused.to_string())),
        }
    }
}

/// An import that nobody else sees before it is written.
struct Import {
    parts: Vec<ImportedPart>,
    schemas: SchemaPlan,
    declarations: Vec<DeclarationRecord>,
    /// Those of both.
    records: Vec<Record>,
}

impl Tenant {
    /// Registers and declares types, in one commit: all that is not refused, or, if it fails, nothing. The same again writes nothing.
    ///
    /// # Errors
    /// [`CatalogRefusal::ImportTooLarge`], or the world failed.
    pub fn import_types(
        self: &Arc<Self>,
        types: &BTreeMap<String, ImportedType>,
    ) -> Result<Vec<ImportedPart>, NotDone> {
        loop {
            let schemas = self.plan_types(types)?;
            let mut declared = self.catalog.declared.lock();
            let import = self.plan_import(types, schemas, &declared)?;
            if import.records.is_empty() {
                return Ok(import.parts);
            }
            if self.write_plan(import.schemas, import.records)? {
                import.declarations.into_iter().for_each(|record| declared.take(record));
                return Ok(import.parts);
            }
            // Somebody else changed schemas meanwhile: what was looked at is out of date.
        }
    }

    /// What [`Tenant::import_types`] would say now, and nothing is changed.
    ///
    /// # Errors
    /// As it.
    pub fn foresee_import(
        self: &Arc<Self>,
        types: &BTreeMap<String, ImportedType>,
    ) -> Result<Vec<ImportedPart>, NotDone> {
        let schemas = self.plan_types(types)?;
        let declared = self.catalog.declared.lock();
        Ok(self.plan_import(types, schemas, &declared)?.parts)
    }

    /// The schemas, each held to those before it. It may read the whole log, so nobody waits for it.
    fn plan_types(
        self: &Arc<Self>,
        types: &BTreeMap<String, ImportedType>,
    ) -> Result<(SchemaPlan, Vec<ImportOutcome>), NotDone> {
        let mut plan = self.plan_schemas();
        let mut outcomes = Vec::new();
        for (kind, of) in types {
            for ImportedVersion { schema, deprecated } in &of.versions {
                let planned = self.plan_schema(&mut plan, kind, schema.clone(), deprecated.clone());
                outcomes.push(ImportOutcome::of(planned)?);
            }
        }
        Ok((plan, outcomes))
    }

    fn plan_import(
        &self,
        types: &BTreeMap<String, ImportedType>,
        (schemas, outcomes): (SchemaPlan, Vec<ImportOutcome>),
        declared: &FoldedCatalog,
    ) -> Result<Import, NotDone> {
        let (mut parts, mut declarations) = (Vec::new(), Vec::new());
        let mut room = Room::of(declared);
        let mut outcomes = outcomes.into_iter();
        for (kind, ImportedType { versions, declaration }) in types {
            for (of, outcome) in versions.iter().zip(&mut outcomes) {
                parts.push(ImportedPart { kind: kind.clone(), version: of.schema.version, outcome });
            }
            let before = declared.types.get(kind);
            let after = before.cloned().unwrap_or_default().and(declaration.clone());
            let is_known = before == Some(&after);
            let fits = check(kind, &after).and_then(|()| if is_known { Ok(()) } else { room.take(before, &after) });
            let outcome = ImportOutcome::of(fits.map(|()| is_known).map_err(NotDone::from))?;
            if outcome == ImportOutcome::New {
                declarations.push(DeclarationRecord { kind: kind.clone(), declaration: Some(after) });
            }
            parts.push(ImportedPart { kind: kind.clone(), version: None, outcome });
        }
        let mut records = schemas.records();
        records.extend(declarations.iter().map(DeclarationRecord::record));
        match records.iter().map(|record| record.body.len()).sum::<usize>() > IMPORT_BYTES_MAX {
            true => Err(CatalogRefusal::ImportTooLarge { limit: IMPORT_BYTES_MAX }.into()),
            false => Ok(Import { parts, schemas, declarations, records }),
        }
    }
}
