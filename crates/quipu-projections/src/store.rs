//! Where read models are: the one place that knows that there is more than one kind of database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use quipu_domain::projection::{Projection, ReadModelStore};
use quipu_engine::{FollowedCommit, Head, Since, Tenant};

use crate::compare::{RowKey, Tables};
use crate::query::{Rows, SqlQuery, TableQuery};
use crate::refusal::{NotDone, ReadModelRefusal};
use crate::sqlite;
use crate::status::FailedEvent;
use crate::step::Source;

#[cfg(feature = "postgres")]
use crate::postgres;

/// A database that fails, and what it says.
#[derive(Clone, Debug)]
pub(crate) struct Broken {
    pub said: String,
    /// It is no read model any more, and can only be made anew.
    pub is_ruined: bool,
}

impl Broken {
    pub fn saying(said: impl Into<String>) -> Self {
        Self { said: said.into(), is_ruined: false }
    }
}

/// Why commits were not taken in. None of them was then.
#[derive(Debug)]
pub(crate) enum NotTaken {
    /// An event cannot be; all of the commits before are whole.
    Event {
        /// The commit it is in, among those that were given.
        commit: usize,
        event: Box<FailedEvent>,
    },
    /// The database failed.
    Store(Broken),
}

impl From<Broken> for NotTaken {
    fn from(broken: Broken) -> Self {
        Self::Store(broken)
    }
}

/// Where the read model of a release is.
#[derive(Clone)]
pub(crate) enum Place {
    /// A file of SQLite.
    File(PathBuf),
    /// A schema of PostgreSQL.
    #[cfg(feature = "postgres")]
    Schema(postgres::Schema),
}

/// Which read model is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// What is there, if there is one.
    #[default]
    There,
    /// One with nothing in it.
    Anew,
}

/// The read model of a release, as whoever changes it has it.
pub(crate) enum Model {
    Sqlite(Box<sqlite::Model>),
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Model>),
}

/// The read model of a release, as somebody asks it.
pub(crate) enum Reader {
    Sqlite(sqlite::Reader),
    #[cfg(feature = "postgres")]
    Postgres(postgres::Reader),
}

/// Looks whether a declaration can be one, and changes nothing. A database elsewhere has to answer for that.
pub(crate) fn check(declaration: &Projection, elsewhere: &Elsewhere) -> Result<(), ReadModelRefusal> {
    match &declaration.store {
        ReadModelStore::Sqlite => sqlite::Model::check(declaration),
        #[cfg(feature = "postgres")]
        ReadModelStore::Postgres(url) => postgres::check(declaration, &elsewhere.projection(url, &declaration.name)),
        #[cfg(not(feature = "postgres"))]
        ReadModelStore::Postgres(_) => Err(elsewhere.refusal()),
    }
}

/// What is needed to reach databases elsewhere.
#[cfg(feature = "postgres")]
pub(crate) use postgres::Elsewhere;

/// What is needed to reach databases elsewhere: this build cannot.
#[cfg(not(feature = "postgres"))]
pub(crate) struct Elsewhere;

#[cfg(not(feature = "postgres"))]
impl Elsewhere {
    fn refusal(&self) -> ReadModelRefusal {
        ReadModelRefusal::Store { error: "expected sqlite, since this build knows no PostgreSQL".to_owned() }
    }
}

impl Place {
    /// Opens what is there, or makes it. What was made of another declaration, or is wanted anew, is made anew.
    pub fn open(&self, source: &Source, bytes_max: Option<u64>, wanted: Wanted) -> Result<Model, Broken> {
        #[cfg(not(feature = "postgres"))]
        if let Source::Declared(declaration) = source
            && declaration.store != ReadModelStore::Sqlite
        {
            return Err(Broken::saying("it is in PostgreSQL, which this build does not know"));
        }
        Ok(match self {
            Self::File(path) => {
                if wanted == Wanted::Anew {
                    sqlite::remove(path);
                }
                Model::Sqlite(Box::new(sqlite::Model::open(path, source, bytes_max)?))
            }
            #[cfg(feature = "postgres")]
            Self::Schema(schema) => Model::Postgres(Box::new(postgres::Model::open(schema, source, wanted)?)),
        })
    }

    /// For one question, which may take only so long.
    pub fn reader(&self) -> Result<Reader, NotDone> {
        Ok(match self {
            Self::File(path) => Reader::Sqlite(sqlite::Reader::open(path)?),
            #[cfg(feature = "postgres")]
            Self::Schema(schema) => Reader::Postgres(postgres::Reader::open(schema)?),
        })
    }

    /// For what looks at all rows, as they are now.
    pub fn reader_of_now(&self) -> Result<Reader, NotDone> {
        Ok(match self {
            Self::File(path) => Reader::Sqlite(sqlite::Reader::open_now(path)?),
            #[cfg(feature = "postgres")]
            Self::Schema(schema) => Reader::Postgres(postgres::Reader::open_now(schema)?),
        })
    }

    /// Removes a read model that nobody has open. What is not there need not be removed.
    pub fn remove(&self) {
        match self {
            Self::File(path) => sqlite::remove(path),
            #[cfg(feature = "postgres")]
            Self::Schema(schema) => postgres::remove(schema),
        }
    }

    /// Whether it is known without asking that there is one.
    pub fn is_there(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            #[cfg(feature = "postgres")]
            Self::Schema(_) => true,
        }
    }

    /// Whether it is asked over a network, and may let others wait.
    pub fn is_elsewhere(&self) -> bool {
        !matches!(self, Self::File(_))
    }

    /// The bytes of it, as far as they are known without asking.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::File(path) => sqlite::bytes(path),
            #[cfg(feature = "postgres")]
            Self::Schema(schema) => schema.bytes(),
        }
    }

    /// That its database failed.
    pub fn failed(&self, broken: &Broken) -> NotDone {
        NotDone::Failed { place: self.to_string(), error: broken.said.clone() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            #[cfg(feature = "postgres")]
            Self::Schema(schema) => schema.fmt(f),
        }
    }
}

impl Model {
    /// The place in the log that it is behind.
    pub fn head(&self) -> Head {
        match self {
            Self::Sqlite(model) => model.head,
            #[cfg(feature = "postgres")]
            Self::Postgres(model) => model.head,
        }
    }

    /// The position of the last event before that.
    pub fn position(&self) -> u64 {
        match self {
            Self::Sqlite(model) => model.position,
            #[cfg(feature = "postgres")]
            Self::Postgres(model) => model.position,
        }
    }

    /// Takes commits in, all or nothing.
    pub fn take(
        &mut self,
        tenant: &Tenant,
        commits: &[FollowedCommit],
        skipped: &BTreeMap<u64, String>,
    ) -> Result<(), NotTaken> {
        match self {
            Self::Sqlite(model) => model.take(tenant, commits, skipped),
            #[cfg(feature = "postgres")]
            Self::Postgres(model) => model.take(tenant, commits, skipped),
        }
    }

    /// Lets everybody see that it answers questions, where that is seen by others than us.
    pub fn show(&mut self) -> Result<(), Broken> {
        match self {
            Self::Sqlite(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Self::Postgres(model) => model.show(),
        }
    }

    /// Looks at some rows from now on.
    pub fn watch(&mut self, rows: Vec<RowKey>) -> Result<(), Broken> {
        match self {
            Self::Sqlite(model) => Ok(model.watch(rows)?),
            #[cfg(feature = "postgres")]
            Self::Postgres(model) => model.watch(rows),
        }
    }

    /// The last event that changed each of the rows that are looked at.
    pub fn watched(&mut self) -> Vec<Option<Since>> {
        match self {
            Self::Sqlite(model) => model.watched(),
            #[cfg(feature = "postgres")]
            Self::Postgres(model) => model.watched(),
        }
    }
}

impl Reader {
    /// Rows of a table.
    pub fn rows(&self, table: &str, query: &TableQuery) -> Result<Rows, NotDone> {
        match self {
            Self::Sqlite(reader) => reader.rows(table, query),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader.rows(table, query),
        }
    }

    /// What SQL gives.
    pub fn sql(&self, query: &SqlQuery) -> Result<Rows, NotDone> {
        match self {
            Self::Sqlite(reader) => reader.sql(query),
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader.sql(query),
        }
    }

    /// All of its tables.
    pub fn tables(&self) -> &dyn Tables {
        match self {
            Self::Sqlite(reader) => reader,
            #[cfg(feature = "postgres")]
            Self::Postgres(reader) => reader,
        }
    }
}
