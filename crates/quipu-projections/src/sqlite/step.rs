//! What events do to a read model in SQLite.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::projection::{Bound, Statement, Subject};
use quipu_engine::{FollowedCommit, Recorded, Tenant};
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, Error, ToSql};

use super::guard::{Guard, Mode, said};
use super::is_of_store;
use super::watch::Watch;
use crate::status::FailedEvent;
use crate::step::{Project, Reacting, Source, Unreadable, read};
use crate::store::NotTaken;

/// What takes events in.
pub(super) enum Step {
    Declared(Box<Declared>),
    Code(Arc<dyn Project>),
}

/// The SQL of a declaration, ready to be asked for events.
pub(super) struct Declared {
    reacting: Reacting,
    /// By reaction, what the database takes, and the statement it was made of.
    statements: Vec<Vec<(String, Statement)>>,
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
        let reacting = Reacting::of(declaration).map_err(|invalid| Error::InvalidPath(invalid.to_string().into()))?;
        let sql = |statement: &Statement| (statement.with_placeholders('?'), statement.clone());
        let of = |reaction: &quipu_domain::projection::Reaction| reaction.statements().iter().map(sql).collect();
        let statements = declaration.on.0.iter().map(|(_, reaction)| of(reaction)).collect();
        Ok(Self::Declared(Box::new(Declared { reacting, statements })))
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
        let Self { reacting, statements } = self;
        reacting.take(tenant, recorded, |chosen, subject| {
            for reaction in chosen {
                for ((_, statement), sql) in statements[*reaction].iter().zip(&mut prepared[*reaction]) {
                    execute(sql, statement, subject).map_err(|error| failure(error, Some(statement.text())))?;
                }
            }
            Ok(())
        })
    }
}

impl From<Unreadable> for Failure {
    fn from(unreadable: Unreadable) -> Self {
        Self::Event(None, unreadable.0)
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
            Bound::Text(text) | Bound::Json(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Bound::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
