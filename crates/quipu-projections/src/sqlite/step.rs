//! What an event does to a read model: the SQL of a declaration, or code.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::Event;
use quipu_domain::projection::{Bound, Chooser, Projection, Statement, Subject};
use quipu_domain::schema::SchemaVersion;
use quipu_engine::{FollowedCommit, Recorded, Tenant};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, Error, ToSql};

use super::guard::{Guard, Mode, said};
use super::watch::Watch;
use super::{NotTaken, is_of_store};
use crate::status::FailedEvent;

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

/// What takes events in.
pub(super) enum Step {
    Declared(Box<Declared>),
    Code(Arc<dyn Project>),
}

/// The SQL of a declaration, ready to be asked for events.
pub(super) struct Declared {
    version: SchemaVersion,
    chooser: Chooser,
    /// By reaction, what the database takes, and the statement it was made of.
    statements: Vec<Vec<(String, Statement)>>,
    reads_data: bool,
    chosen: Vec<usize>,
}

/// Why one event was not taken in.
enum Failure {
    Store(Error),
    /// The statement, if one failed, and why.
    Event(Option<String>, String),
}

impl Step {
    pub fn of(source: &Source) -> Result<Self, Error> {
        let declaration = match source {
            Source::Code(code) => return Ok(Self::Code(Arc::clone(code))),
            Source::Declared(declaration) => declaration,
        };
        let chooser = declaration.chooser().map_err(|invalid| Error::InvalidPath(invalid.to_string().into()))?;
        let sql = |statement: &Statement| (statement.with_placeholders('?'), statement.clone());
        let of = |reaction: &quipu_domain::projection::Reaction| reaction.statements().iter().map(sql).collect();
        let statements: Vec<Vec<_>> = declaration.on.0.iter().map(|(_, reaction)| of(reaction)).collect();
        let reads_data = statements.iter().flatten().any(|(_, statement)| statement.reads_data());
        let version = declaration.schema_version;
        Ok(Self::Declared(Box::new(Declared { version, chooser, statements, reads_data, chosen: Vec::new() })))
    }

    /// Takes events in, in a transaction that the caller ends either way. The position of the last one.
    pub fn take(
        &mut self,
        conn: &Connection,
        guard: &Guard,
        tenant: &Tenant,
        commits: &[FollowedCommit],
        skipped: &BTreeMap<u64, String>,
        mut watch: Option<&mut Watch>,
    ) -> Result<Option<u64>, NotTaken> {
        guard.enter(Mode::Statements);
        // Looked up once, and not for each event.
        let mut prepared: Vec<Vec<CachedStatement<'_>>> = match self {
            Self::Code(_) => Vec::new(),
            Self::Declared(declared) => {
                let prepare = |(sql, _): &(String, Statement)| conn.prepare_cached(sql);
                let of = declared.statements.iter().map(|of| of.iter().map(prepare).collect());
                of.collect::<Result<_, _>>()?
            }
        };
        let mut last = None;
        for (commit, followed) in commits.iter().enumerate() {
            for recorded in &followed.events {
                let position = recorded.stamp.position;
                last = Some(position);
                if skipped.contains_key(&position) {
                    continue;
                }
                guard.count_anew();
                let taken = match self {
                    Self::Declared(declared) => declared.take(&mut prepared, tenant, recorded),
                    Self::Code(code) => take_in_code(code.as_ref(), conn, tenant, recorded),
                };
                let (statement, error) = match taken {
                    Ok(has_changed) => {
                        if let Some(watch) = watch.as_deref_mut().filter(|_| has_changed) {
                            guard.count_anew();
                            watch.look(conn, position, recorded.event().kind())?;
                        }
                        continue;
                    }
                    Err(Failure::Store(error)) => return Err(error.into()),
                    Err(Failure::Event(statement, _)) if guard.was_enough() => {
                        (statement, "it takes more steps than an event may".to_owned())
                    }
                    Err(Failure::Event(statement, error)) => (statement, error),
                };
                let event = recorded.event();
                let (source, id, kind) = (event.source().to_owned(), event.id().to_owned(), event.kind().to_owned());
                let event = Box::new(FailedEvent { position, source, id, kind, statement, error });
                return Err(NotTaken::Event { commit, event });
            }
        }
        Ok(last)
    }
}

impl Declared {
    /// Whether it did something for the event.
    fn take(
        &mut self,
        prepared: &mut [Vec<CachedStatement<'_>>],
        tenant: &Tenant,
        recorded: &Recorded,
    ) -> Result<bool, Failure> {
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
        let subject = Subject::new(&event, stamp, self.reads_data);
        for reaction in &self.chosen {
            for ((_, statement), sql) in self.statements[*reaction].iter().zip(&mut prepared[*reaction]) {
                execute(sql, statement, &subject).map_err(|error| failure(error, Some(statement.text())))?;
            }
        }
        Ok(true)
    }
}

fn take_in_code(code: &dyn Project, conn: &Connection, tenant: &Tenant, recorded: &Recorded) -> Result<bool, Failure> {
    let read = read(tenant, recorded, &recorded.event(), code.schema_version())?;
    let apply = || code.apply(conn, read.as_ref().unwrap_or(recorded));
    // The thread is shared with others, and what was changed is undone.
    let applied = std::panic::catch_unwind(std::panic::AssertUnwindSafe(apply));
    let applied = applied.unwrap_or_else(|_| Err("it panicked".into()));
    applied.map(|()| true).map_err(|error| match error.downcast::<Error>() {
        Ok(error) => failure(*error, None),
        Err(error) => Failure::Event(None, error.to_string()),
    })
}

/// The event in the version that is asked for, with its data; nothing if that is as it was recorded.
fn read(
    tenant: &Tenant,
    recorded: &Recorded,
    event: &Event<'_>,
    version: SchemaVersion,
) -> Result<Option<Recorded>, Failure> {
    tenant.read_as(recorded, event, version).map_err(|error| Failure::Event(None, error.to_string()))
}

fn failure(error: Error, statement: Option<&str>) -> Failure {
    if is_of_store(&error) {
        return Failure::Store(error);
    }
    Failure::Event(statement.map(str::to_owned), said(&error))
}

fn execute(sql: &mut CachedStatement<'_>, statement: &Statement, subject: &Subject<'_>) -> Result<(), Error> {
    for (number, parameter) in statement.parameters().iter().enumerate() {
        sql.raw_bind_parameter(number + 1, Binding(parameter.of(subject)))?;
    }
    sql.raw_execute().map(drop)
}

struct Binding<'a>(Bound<'a>);

impl ToSql for Binding<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        Ok(match &self.0 {
            Bound::Null => ToSqlOutput::Owned(Value::Null),
            Bound::Integer(number) => ToSqlOutput::Owned(Value::Integer(*number)),
            Bound::Real(number) => ToSqlOutput::Owned(Value::Real(*number)),
            Bound::Boolean(value) => ToSqlOutput::Owned(Value::Integer(i64::from(*value))),
            Bound::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Bound::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
