//! The catalog of a tenant: every event type, who publishes it and who reads it. What was declared is records in the log and
//! registered schemas; what was observed is the events themselves and the subscriptions that there are. Both are shown, and where
//! they differ that is a finding.

mod entry;
mod import;
mod observed;
mod records;
mod refusal;

use std::sync::Arc;

use parking_lot::Mutex;
use quipu_domain::limits::SOURCE_BYTES_MAX;

use crate::schemas::is_type_name;
use crate::subscriptions::NotDone;
use crate::tenant::Tenant;
pub use entry::{CatalogAsked, CatalogInfo, CatalogType, CatalogVersion, Consumer, Finding, Publisher};
pub use import::{ImportOutcome, ImportedPart, ImportedType, ImportedVersion};
use observed::Observed;
pub use records::Declaration;
pub(crate) use records::{DeclarationRecord, FoldedCatalog};
pub use refusal::CatalogRefusal;

/// Most types of which something is declared.
const DECLARATIONS_MAX: usize = 10_000;
/// Most bytes of all declarations: they are in memory and stand in each snapshot.
const DECLARATION_BYTES_MAX: usize = 8 << 20;
/// Most publishers and most consumers of one type.
const NAMES_MAX: usize = 64;
/// Longest owner and longest name of a consumer, bytes.
const NAME_BYTES_MAX: usize = 256;
/// Longest description and longest address of a channel, bytes.
const TEXT_BYTES_MAX: usize = 4_096;

/// The catalog of a tenant in memory.
pub(crate) struct Catalog {
    declared: Mutex<FoldedCatalog>,
    /// Nothing until somebody asks.
    observed: Mutex<Option<Observed>>,
}

impl Catalog {
    pub fn new(folded: &FoldedCatalog) -> Self {
        Self { declared: Mutex::new(folded.clone()), observed: Mutex::new(None) }
    }
}

impl Tenant {
    /// Says what a type is, who publishes it and who reads it, in the place of what was said before.
    ///
    /// # Errors
    /// [`CatalogRefusal`].
    pub fn declare(self: &Arc<Self>, kind: &str, declaration: Declaration) -> Result<(), NotDone> {
        check(kind, &declaration)?;
        let mut declared = self.catalog.declared.lock();
        Room::of(&declared).take(declared.types.get(kind), &declaration)?;
        self.change_declared(&mut declared, kind, Some(declaration))
    }

    /// Takes back what was declared of a type.
    ///
    /// # Errors
    /// [`CatalogRefusal::NotFound`].
    pub fn withdraw(self: &Arc<Self>, kind: &str) -> Result<(), NotDone> {
        let mut declared = self.catalog.declared.lock();
        if !declared.types.contains_key(kind) {
            return Err(CatalogRefusal::NotFound { kind: kind.chars().take(300).collect() }.into());
        }
        self.change_declared(&mut declared, kind, None)
    }

    /// What is declared of a type.
    pub fn declaration(&self, kind: &str) -> Option<Declaration> {
        self.catalog.declared.lock().types.get(kind).cloned()
    }

    fn change_declared(
        self: &Arc<Self>,
        declared: &mut FoldedCatalog,
        kind: &str,
        declaration: Option<Declaration>,
    ) -> Result<(), NotDone> {
        let record = DeclarationRecord { kind: kind.to_owned(), declaration };
        self.write_records_wait(vec![record.record()])?;
        declared.take(record);
        Ok(())
    }
}

/// How much is declared.
struct Room {
    types: usize,
    bytes: usize,
}

impl Room {
    fn of(declared: &FoldedCatalog) -> Self {
        Self { types: declared.types.len(), bytes: declared.types.values().map(Declaration::bytes).sum() }
    }

    /// Puts a declaration in the place of another.
    fn take(&mut self, before: Option<&Declaration>, after: &Declaration) -> Result<(), CatalogRefusal> {
        let types = self.types + usize::from(before.is_none());
        let bytes = self.bytes - before.map_or(0, Declaration::bytes) + after.bytes();
        if types > DECLARATIONS_MAX {
            return Err(CatalogRefusal::TooMany { what: "types", limit: DECLARATIONS_MAX });
        }
        if bytes > DECLARATION_BYTES_MAX {
            return Err(CatalogRefusal::TooMany { what: "bytes", limit: DECLARATION_BYTES_MAX });
        }
        *self = Self { types, bytes };
        Ok(())
    }
}

fn check(kind: &str, declaration: &Declaration) -> Result<(), CatalogRefusal> {
    let Declaration { publishers, consumers, owner, description, channel } = declaration;
    if !is_type_name(kind) {
        return Err(CatalogRefusal::InvalidType { name: kind.chars().take(64).collect() });
    }
    for (member, names, limit) in
        [("publishers", publishers, SOURCE_BYTES_MAX), ("consumers", consumers, NAME_BYTES_MAX)]
    {
        if names.len() > NAMES_MAX {
            return Err(CatalogRefusal::TooManyNames { member, limit: NAMES_MAX });
        }
        names.iter().try_for_each(|name| check_text(member, name, limit))?;
    }
    let texts = [
        ("owner", owner, NAME_BYTES_MAX),
        ("description", description, TEXT_BYTES_MAX),
        ("channel", channel, TEXT_BYTES_MAX),
    ];
    texts.into_iter().try_for_each(|(member, text, limit)| match text {
        // People write several lines.
        Some(text) if member == "description" => check_text(member, &text.replace(['\n', '\t', '\r'], " "), limit),
        Some(text) => check_text(member, text, limit),
        None => Ok(()),
    })
}

fn check_text(member: &'static str, text: &str, limit: usize) -> Result<(), CatalogRefusal> {
    if text.is_empty() || text.contains(quipu_domain::is_forbidden_char) {
        return Err(CatalogRefusal::InvalidName { member });
    }
    match text.len() > limit {
        true => Err(CatalogRefusal::TooLong { member, limit }),
        false => Ok(()),
    }
}
