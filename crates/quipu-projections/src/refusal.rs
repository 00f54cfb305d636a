//! Why something that is asked of a read model is not done.

use std::fmt;

use quipu_domain::projection::InvalidProjection;
use quipu_engine::ProjectionRefusal;

/// Understood, and not allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadModelRefusal {
    /// The script of the tables does not run.
    Tables {
        /// What the database says.
        error: String,
    },
    /// The database that it is to be in cannot be reached, or is not one for it.
    Store {
        /// What was expected, and what was found.
        error: String,
    },
    /// The name of a projection in code is that of a declared one, or the other way round.
    Declared {
        /// The name.
        name: String,
    },
    /// A table has a name that stands for something else.
    ReservedTable {
        /// The name.
        table: String,
    },
    /// A statement does not stand up to the tables.
    Statement {
        /// The type it stands at.
        kind: String,
        /// Its text.
        statement: String,
        /// What the database says.
        error: String,
    },
    /// There is no such table.
    NoTable {
        /// The name.
        table: String,
        /// Those that there are.
        tables: Vec<String>,
    },
    /// There is no such column.
    NoColumn {
        /// The name.
        column: String,
        /// The table.
        table: String,
        /// Those that there are.
        columns: Vec<String>,
    },
    /// A filter, an order or a cursor cannot be read.
    InvalidQuestion {
        /// What was expected, and what was found.
        reason: String,
    },
    /// SQL that somebody asks does not run.
    Sql {
        /// What the database says.
        error: String,
    },
    /// A question takes longer than it may.
    TooLong {
        /// How long it may take, milliseconds.
        limit_ms: u64,
    },
    /// The read model has not come as far as was asked for in the time that was given.
    NotYet {
        /// How far it was asked to be.
        wanted: u64,
        /// How far it is.
        position: u64,
        /// Why it stands still, if it does.
        stopped: Option<String>,
    },
    /// A release is not as far as the log yet, so that nothing can be said of it.
    NotBuilt {
        /// Its number.
        release: u64,
        /// How far it is.
        position: u64,
        /// How far the log is.
        end: u64,
        /// Why it stands still, if it does.
        stopped: Option<String>,
    },
}

/// Something was not done.
#[derive(Clone, Debug)]
pub enum NotDone {
    /// Understood, and not allowed.
    Refused(ReadModelRefusal),
    /// The engine did not do it.
    Engine(quipu_engine::NotDone),
    /// The database of a read model failed.
    Failed {
        /// Its file, or where else it is.
        place: String,
        /// What it says.
        error: String,
    },
}

impl From<ReadModelRefusal> for NotDone {
    fn from(refusal: ReadModelRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<quipu_engine::NotDone> for NotDone {
    fn from(reason: quipu_engine::NotDone) -> Self {
        Self::Engine(reason)
    }
}

impl From<ProjectionRefusal> for NotDone {
    fn from(refusal: ProjectionRefusal) -> Self {
        Self::Engine(refusal.into())
    }
}

impl From<InvalidProjection> for NotDone {
    fn from(invalid: InvalidProjection) -> Self {
        ProjectionRefusal::Invalid(invalid).into()
    }
}

fn stopped(f: &mut fmt::Formatter<'_>, stopped: Option<&String>) -> fmt::Result {
    stopped.map_or(Ok(()), |stopped| write!(f, "; it stands still: {stopped}"))
}

impl fmt::Display for ReadModelRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tables { error } => {
                write!(f, "/tables: expected SQL that makes tables, indexes and views, found: {error}")
            }
            Self::Store { error } => write!(f, "/store: {error}"),
            Self::Declared { name } => {
                write!(
                    f,
                    "expected another name than {name}, which another projection has: one is declared, the other is code"
                )
            }
            Self::ReservedTable { table } => {
                write!(
                    f,
                    "/tables: expected another name than {table}, which stands for something else; rename the table"
                )
            }
            Self::Statement { kind, statement, error } => {
                write!(f, "/on/{kind}: expected a statement that changes the tables, found: {error}, in: {statement}")
            }
            Self::NoTable { table, tables } => {
                write!(f, "expected a table of the projection, one of {}, found {table}", tables.join(", "))
            }
            Self::NoColumn { column, table, columns } => {
                write!(f, "expected a column of {table}, one of {}, found {column}", columns.join(", "))
            }
            Self::InvalidQuestion { reason } => reason.fmt(f),
            Self::Sql { error } => write!(f, "expected one SELECT over the tables of the projection, found: {error}"),
            Self::TooLong { limit_ms } => write!(
                f,
                "expected a question that is answered within {limit_ms} ms, found that it takes longer; ask for less, or add an index"
            ),
            Self::NotYet { wanted, position, stopped: why } => {
                write!(f, "expected the read model to be at position {wanted} by now, found it at {position}")?;
                stopped(f, why.as_ref())
            }
            Self::NotBuilt { release, position, end, stopped: why } => {
                write!(
                    f,
                    "expected release {release} to be built up to position {end}, found it at {position}; try again later"
                )?;
                stopped(f, why.as_ref())
            }
        }
    }
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Engine(reason) => reason.fmt(f),
            Self::Failed { place, error } => write!(f, "the read model {place} failed: {error}"),
        }
    }
}

impl std::error::Error for ReadModelRefusal {}
impl std::error::Error for NotDone {}
