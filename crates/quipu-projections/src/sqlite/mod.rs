//! Read models in SQLite: a file each, which any tool that reads SQLite may open.

mod guard;
mod read;
mod step;
mod table;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quipu_domain::projection::Projection;
use quipu_engine::{FollowedCommit, Head, Since, Tenant};
use rusqlite::{Connection, Error, ErrorCode, OptionalExtension, params};

use self::guard::{Guard, Mode, not_deterministic, said};
pub(crate) use self::read::Reader;
use self::step::Step;
use self::watch::Watch;
use crate::compare::RowKey;
use crate::refusal::ReadModelRefusal;
use crate::step::Source;
use crate::store::{Broken, NotTaken};
use crate::table::{OWN_TABLE, check_names};

/// Most bytes of a read model where the tenant has no quota of storage.
const BYTES_MAX: u64 = 64 << 30;
/// Prepared statements that a connection keeps.
const STATEMENTS_KEPT: usize = 600;
/// How long a writer waits for somebody's tool that has the file locked, milliseconds.
const BUSY_MS: u64 = 2_000;
const PAGE_BYTES: u64 = 4_096;

/// The read model of one release, as whoever changes it has it.
pub(crate) struct Model {
    conn: Connection,
    guard: Guard,
    step: Step,
    /// Rows that are looked at after each event.
    watch: Option<Watch>,
    /// The place in the log that it is behind.
    pub head: Head,
    /// The position of the last event before that.
    pub position: u64,
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self { said: error.to_string(), is_ruined: is_ruined(&error) }
    }
}

impl From<Error> for NotTaken {
    fn from(error: Error) -> Self {
        Self::Store(error.into())
    }
}

/// Whether what a database says is its own fault and not that of what it was told.
fn is_of_store(error: &Error) -> bool {
    let code = match error {
        Error::SqliteFailure(error, _) => error.code,
        _ => return false,
    };
    matches!(
        code,
        ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::OutOfMemory
    )
}

/// Whether a file is no read model any more, and can only be made anew.
fn is_ruined(error: &Error) -> bool {
    matches!(
        error,
        Error::SqliteFailure(error, _) if matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn in_tables(error: Error) -> ReadModelRefusal {
    ReadModelRefusal::Tables { error: said(&error) }
}

impl Model {
    /// Looks whether a declaration can be one: its tables are made in memory, and its statements prepared and tried there.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn check(declaration: &Projection) -> Result<(), ReadModelRefusal> {
        let (conn, guard) = Self::check_tables(&declaration.tables)?;
        // As events are taken in.
        conn.execute_batch("begin").map_err(in_tables)?;
        for (kind, reaction) in &declaration.on.0 {
            for statement in reaction.statements() {
                guard.enter(Mode::Statements);
                let refused = |error: String| ReadModelRefusal::Statement {
                    kind: kind.clone(),
                    statement: statement.text().to_owned(),
                    error,
                };
                let mut prepared =
                    conn.prepare(&statement.with_placeholders('?')).map_err(|error| refused(said(&error)))?;
                if !guard.has_changes() || prepared.column_count() > 0 {
                    return Err(refused("it changes no rows, or gives some".into()));
                }
                // With nothing bound most fail for a reason of their own; what never comes out alike is found all the same.
                if let Err(error) = prepared.raw_execute()
                    && let Some(error) = not_deterministic(&error)
                {
                    return Err(refused(error));
                }
            }
        }
        Ok(())
    }

    /// Makes the tables of a script in memory.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_script(tables: &str) -> Result<(), ReadModelRefusal> {
        Self::check_tables(tables).map(drop)
    }

    fn check_tables(tables: &str) -> Result<(Connection, Guard), ReadModelRefusal> {
        let mut conn = Connection::open_in_memory().map_err(in_tables)?;
        let guard = Guard::put(&mut conn).map_err(in_tables)?;
        guard.enter(Mode::Tables);
        conn.execute_batch(tables).map_err(in_tables)?;
        guard.enter(Mode::Own);
        // What is held back until the end of a batch would depend on where that ends.
        let script = tables.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
        if script.contains("initially deferred") {
            let error = "a key that is held back (initially deferred); let keys be checked at once".to_owned();
            return Err(ReadModelRefusal::Tables { error });
        }
        let tables = table::names(&conn).map_err(in_tables)?;
        check_names(&tables)?;
        Ok((conn, guard))
    }

    /// Opens the read model of a release, or makes it. One that was made of another declaration is made anew.
    ///
    /// # Errors
    /// The database fails.
    pub fn open(path: &Path, source: &Source, bytes_max: Option<u64>) -> Result<Self, Error> {
        let digest = source.digest();
        let opened = Self::open_file(path, source, bytes_max).and_then(|mut model| {
            let known = model.read_place()?;
            Ok((known == Some(digest.clone())).then_some(model))
        });
        match opened {
            Ok(Some(model)) => return Ok(model),
            Ok(None) => {}
            Err(error) if is_ruined(&error) => {}
            Err(error) => return Err(error),
        }
        remove(path);
        let mut model = Self::open_file(path, source, bytes_max)?;
        model.make(source.tables(), &digest)?;
        Ok(model)
    }

    fn open_file(path: &Path, source: &Source, bytes_max: Option<u64>) -> Result<Self, Error> {
        let mut conn = Connection::open(path)?;
        conn.busy_timeout(std::time::Duration::from_millis(BUSY_MS))?;
        conn.pragma_update(None, "journal_mode", "wal")?;
        // Consistent after a power cut, and maybe a little behind, which costs nothing: the place in the log is in it too.
        conn.pragma_update(None, "synchronous", "normal")?;
        conn.pragma_update(None, "cache_size", -8_192)?;
        conn.pragma_update(None, "wal_autocheckpoint", 4_096)?;
        conn.pragma_update(None, "foreign_keys", true)?;
        let pages = (bytes_max.unwrap_or(BYTES_MAX).min(BYTES_MAX) / PAGE_BYTES).max(64) as i64;
        conn.pragma_update(None, "max_page_count", pages)?;
        conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
        let guard = Guard::put(&mut conn)?;
        let step = Step::of(source)?;
        Ok(Self { conn, guard, step, watch: None, head: Head::START, position: 0 })
    }

    /// Looks at some rows from now on.
    pub fn watch(&mut self, rows: Vec<RowKey>) -> Result<(), Error> {
        let mut watch = Watch::new(rows.into_iter());
        watch.begin(&self.conn)?;
        self.watch = Some(watch);
        Ok(())
    }

    /// The last event that changed each of the rows that are looked at.
    pub fn watched(&mut self) -> Vec<Option<Since>> {
        self.watch.take().map(Watch::end).unwrap_or_default()
    }

    /// Reads how far it is; the digest of what it was made of, if it was.
    fn read_place(&mut self) -> Result<Option<String>, Error> {
        let is_there = "select count(*) from sqlite_master where name = ?";
        if self.conn.query_row(is_there, [OWN_TABLE], |row| row.get::<_, i64>(0))? == 0 {
            return Ok(None);
        }
        let sql = format!("select declaration, head, position from {OWN_TABLE}");
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
        let Some((declaration, head, position)) = self.conn.query_row(&sql, [], read).optional()? else {
            return Ok(None);
        };
        let Some(head) = Head::parse(&head) else { return Ok(None) };
        (self.head, self.position) = (head, position as u64);
        Ok(Some(declaration))
    }

    /// Makes its tables: all of them and the place, or nothing.
    fn make(&mut self, tables: &str, digest: &str) -> Result<(), Error> {
        self.conn.execute_batch("begin immediate")?;
        self.guard.enter(Mode::Tables);
        let made = self.conn.execute_batch(tables);
        self.guard.enter(Mode::Own);
        made.and_then(|()| {
            self.conn.execute_batch(&format!(
                "create table {OWN_TABLE} (declaration text not null, head text not null, position integer not null)"
            ))?;
            let sql = format!("insert into {OWN_TABLE} values (?, ?, 0)");
            self.conn.execute(&sql, params![digest, Head::START.to_string()])?;
            self.conn.execute_batch("commit")
        })
        .inspect_err(|_| drop(self.conn.execute_batch("rollback")))
    }

    /// Takes commits in, all or nothing.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn take(
        &mut self,
        tenant: &Tenant,
        commits: &[FollowedCommit],
        skipped: &BTreeMap<u64, String>,
    ) -> Result<(), NotTaken> {
        self.conn.execute_batch("begin immediate")?;
        let taken = self.step.take(&self.conn, &self.guard, tenant, commits, skipped, self.watch.as_mut());
        self.guard.enter(Mode::Own);
        let position = match taken {
            Ok(position) => position.unwrap_or(self.position),
            Err(not_taken) => {
                // What is to be undone may be undone already.
                drop(self.conn.execute_batch("rollback"));
                return Err(not_taken);
            }
        };
        let head = commits.last().map_or(self.head, |commit| commit.head);
        let sql = format!("update {OWN_TABLE} set head = ?, position = ?");
        let written = self.conn.prepare_cached(&sql).and_then(|mut update| {
            update.execute(params![head.to_string(), position as i64])?;
            self.conn.execute_batch("commit")
        });
        if let Err(error) = written {
            drop(self.conn.execute_batch("rollback"));
            return Err(error.into());
        }
        (self.head, self.position) = (head, position);
        Ok(())
    }
}

/// The files that SQLite has for a database.
fn files(path: &Path) -> [PathBuf; 3] {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    [path.to_owned(), beside("-wal"), beside("-shm")]
}

/// Removes a read model, which nobody has open.
pub(crate) fn remove(path: &Path) {
    for file in files(path) {
        // What is not there need not be removed; what cannot be is found when it is opened.
        drop(fs::remove_file(file));
    }
}

/// The bytes of a read model.
pub(crate) fn bytes(path: &Path) -> u64 {
    files(path).iter().filter_map(|file| fs::metadata(file).ok()).map(|file| file.len()).sum()
}
