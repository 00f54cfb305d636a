//! `quipu outbox …`: one file a verb. A password may stand in the URL, in `PGPASSWORD` or in a file; no message repeats it.

mod install;
mod relay;
mod target;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quipu_connect::outbox::{Database, NotRelayed};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use super::Global;
use super::exit::{Exit, Failure, Outcome};
use super::output::Out;

#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// Make the tables of an outbox; what is there stays
    Install(install::Install),
    /// Take events from an outbox to a server or a folder, in order and each once
    Relay(Box<relay::Relay>),
}

/// Which database.
#[derive(Args)]
struct Where {
    /// Such as postgres://shop@localhost/shop [default: DATABASE_URL]
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env = true)]
    database_url: Option<Zeroizing<String>>,
    /// A file with the password, for a URL without one [default: the password itself in PGPASSWORD]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Without the URL, which may hold a password.
impl std::fmt::Debug for Where {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Where").field("password_file", &self.password_file).finish_non_exhaustive()
    }
}

impl Where {
    fn database(&self) -> Result<Database, Failure> {
        let url = self.database_url.as_ref();
        let url = url.ok_or_else(|| Failure::usage("expected a database, found none: --database-url URL"))?;
        let password = match &self.password_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).map(Zeroizing::new);
                Some(text.map_err(|error| Failure::file("read", path.display(), &error))?)
            }
            None => std::env::var("PGPASSWORD").ok().map(Zeroizing::new),
        };
        let password = password.as_ref().map(|text| text.trim_end_matches(['\r', '\n']).as_bytes());
        Database::of(url, password).map_err(|invalid| Failure::usage(format!("--database-url: {invalid}")))
    }
}

pub fn run(command: OutboxCommand, global: &Global, out: &mut Out) -> Outcome {
    match command {
        OutboxCommand::Install(install) => install::run(&install, out),
        OutboxCommand::Relay(relay) => relay::run(&relay, global, out),
    }
}

/// One thread: a relay does one thing after the other.
fn runtime() -> Result<Runtime, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

fn failure(database: &Database, reason: &NotRelayed) -> Failure {
    let exit = match reason {
        NotRelayed::Interrupted(_) => Exit::Unreachable,
        NotRelayed::NotInstalled => Exit::NotFound,
        _ => Exit::Failed,
    };
    Failure::new(exit, format!("{database}: {reason}"))
}
