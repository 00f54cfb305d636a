//! What an event does to a read model: the SQL of a declaration, or code. Which database it is in is not known here.

use std::sync::Arc;

use quipu_domain::Event;
use quipu_domain::projection::{Chooser, InvalidProjection, Projection, Subject};
use quipu_domain::schema::SchemaVersion;
use quipu_engine::{Recorded, Tenant};
use rusqlite::Connection;

/// A projection in code, in the place of SQL in a file.
///
/// ```
/// use quipu_engine::Recorded;
/// use quipu_projections::Project;
/// use quipu_projections::rusqlite::Connection;
///
/// struct PerType;
///
/// impl Project for PerType {
///     fn version(&self) -> u32 {
///         1
///     }
///
///     fn tables(&self) -> &str {
///         "create table per_type (type text primary key, events integer)"
///     }
///
///     fn apply(&self, tables: &Connection, event: &Recorded) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///         let sql = "insert into per_type values (?, 1) on conflict do update set events = events + 1";
///         tables.prepare_cached(sql)?.execute([event.event().kind()])?;
///         Ok(())
///     }
/// }
/// ```
pub trait Project: Send + Sync + 'static {
    /// Raised whenever the tables, or what is done, change: the read model is then built again.
    fn version(&self) -> u32;

    /// The SQL that makes its tables.
    fn tables(&self) -> &str;

    /// In which version of its schema it reads events.
    fn schema_version(&self) -> SchemaVersion {
        SchemaVersion::Newest
    }

    /// Changes the tables for an event, in the transaction that keeps the place in the log too: it ends that neither way, and has no
    /// effects elsewhere, since events come again when the read model is built again.
    ///
    /// # Errors
    /// The event cannot be taken in: the projection stops there.
    fn apply(&self, tables: &Connection, event: &Recorded) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// What a read model is made of.
#[derive(Clone)]
pub(crate) enum Source {
    Declared(Arc<Projection>),
    Code(Arc<dyn Project>),
}

impl Source {
    pub fn tables(&self) -> &str {
        match self {
            Self::Declared(declaration) => &declaration.tables,
            Self::Code(code) => code.tables(),
        }
    }

    /// Tells it from all others of its name.
    pub fn digest(&self) -> String {
        let bytes = match self {
            Self::Declared(declaration) => serde_json::to_vec(declaration.as_ref()).expect("it is plain data"),
            Self::Code(code) => format!("code {} {}", code.version(), code.tables()).into_bytes(),
        };
        blake3::hash(&bytes).to_hex().to_string()
    }
}

/// Says which reactions of a declaration an event sets off, and what their parameters are taken from.
pub(crate) struct Reacting {
    version: SchemaVersion,
    chooser: Chooser,
    reads_data: bool,
    chosen: Vec<usize>,
}

impl Reacting {
    pub fn of(declaration: &Projection) -> Result<Self, InvalidProjection> {
        let statements = || declaration.on.0.iter().flat_map(|(_, reaction)| reaction.statements());
        let reads_data = statements().any(|statement| statement.reads_data());
        let (version, chooser) = (declaration.schema_version, declaration.chooser()?);
        Ok(Self { version, chooser, reads_data, chosen: Vec::new() })
    }

    /// Does what is to be done for an event: `react` is given the numbers of the reactions, in their order. Whether there were any.
    ///
    /// # Errors
    /// The event cannot be read, or what `react` says.
    pub fn take<E: From<Unreadable>>(
        &mut self,
        tenant: &Tenant,
        recorded: &Recorded,
        react: impl FnOnce(&[usize], &Subject<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let event = recorded.event();
        if !self.chooser.may_take(event.kind()) {
            return Ok(false);
        }
        let read = read(tenant, recorded, &event, self.version)?;
        let (event, stamp) = match &read {
            None => (event, &recorded.stamp),
            Some(read) => (read.event(), &read.stamp),
        };
        self.chooser.choose(&event, stamp, &mut self.chosen);
        if self.chosen.is_empty() {
            return Ok(false);
        }
        react(&self.chosen, &Subject::new(&event, stamp, self.reads_data))?;
        Ok(true)
    }
}

/// An event that cannot be read as it is asked for, and why.
pub(crate) struct Unreadable(pub String);

/// The event in the version that is asked for, with its data; nothing if that is as it was recorded.
pub(crate) fn read(
    tenant: &Tenant,
    recorded: &Recorded,
    event: &Event<'_>,
    version: SchemaVersion,
) -> Result<Option<Recorded>, Unreadable> {
    tenant.read_as(recorded, event, version).map_err(|error| Unreadable(error.to_string()))
}
