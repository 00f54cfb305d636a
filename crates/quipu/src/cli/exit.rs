//! How a command ends: the exit codes, in one table, and the failure that carries one with its message.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use quipu::{Error, Fault};

/// What the process ends with. Scripts rely on the numbers: they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Damaged = 5,
    Locked = 6,
    Incompatible = 7,
}

impl Exit {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::NotFound,
        Self::Unreachable,
        Self::Damaged,
        Self::Locked,
        Self::Incompatible,
    ];

    fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done; also when the reader of standard output went away",
            Self::Failed => {
                "refused, or failed: at least one event was refused, a condition did not hold, a pattern did not match, a schema was not taken, a projection is not what the log says, a replay left a dead letter or did not come to its end, a changed saga would have made something else of history, the disk is full"
            }
            Self::Usage => "wrong usage: an unknown flag, a missing argument, an invalid configuration",
            Self::NotFound => {
                "there is no such event, position, stream, schema, subscription, dead letter, operation, context or file"
            }
            Self::Unreachable => "no server answers at the URL",
            Self::Damaged => "the store is damaged: bytes are not what was written",
            Self::Locked => "another process uses the data folder",
            Self::Incompatible => "a schema that was checked is not compatible with the versions before it",
        }
    }

    /// The table, as the help shows it.
    pub fn table() -> String {
        let mut text = "Exit codes:\n".to_owned();
        for exit in Self::ALL {
            let _ = writeln!(text, "  {}  {}", exit as u8, exit.meaning());
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// What to say on standard error, and what to end with.
    Said { exit: Exit, message: String },
    /// Whoever read standard output has enough, which is no error: `quipu event list | head`.
    BrokenPipe,
}

/// What a command ends in.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Said { exit, message: message.into() }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A file of the user that cannot be read or written.
    pub fn file(action: &str, path: impl std::fmt::Display, error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
        Self::new(exit, format!("cannot {action} {path}: {error}"))
    }
}

/// Standard output is the only place to which commands write with `?`.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::failed(format!("cannot write to standard output: {error}")),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let exit = match &fault {
            Fault::Damaged { .. } | Fault::UnknownFormat { .. } => Exit::Damaged,
            Fault::Locked { .. } => Exit::Locked,
            _ => Exit::Failed,
        };
        Self::new(exit, fault.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Fault(fault) => fault.into(),
            other => Self::failed(other.to_string()),
        }
    }
}
