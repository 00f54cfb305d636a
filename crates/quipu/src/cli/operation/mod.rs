//! `quipu operation …`: operations on many dead letters or instances of sagas, how far they are, and what became of each. They are
//! begun by `quipu deadletter redrive --all` and `discard --all`, by acts of `quipu saga` with `--all`, and by `quipu replay`, which
//! delivers events of the log.

mod begin;
mod items;
mod list;
mod watch;

use clap::{Args, Subcommand};
use quipu_api::OperationAnswer;
use quipu_api::operation::WorkBody;

use super::Global;
use super::client::{Client, Query};
use super::count::counted;
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::{Format, Out};

pub use begin::{begin, rate};
pub use watch::{ended, progress, watch};

#[derive(Debug, Subcommand)]
pub enum OperationCommand {
    /// List operations, the newest first
    List,
    /// Show an operation and how far it is
    Show(Id),
    /// Follow an operation until it ends; exit code 1 if something was refused, a replay left a dead letter, or it was cancelled
    Watch(Id),
    /// End an operation; what it has done stays done
    Cancel(Id),
    /// Say what became of each of its dead letters or instances
    Items(items::Items),
}

/// Which operation.
#[derive(Clone, Copy, Debug, Args)]
pub struct Id {
    /// Its number
    id: u64,
}

impl Id {
    /// Its route; `tail` is "" or begins with a slash.
    fn path(self, tail: &str) -> String {
        format!("/v1/operations/{}{tail}", self.id)
    }
}

pub fn run(command: OperationCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        OperationCommand::List => list::run(&client, out),
        OperationCommand::Show(id) => show(id, &client, out),
        OperationCommand::Watch(id) => ended(&watch(id.id, &client)?, out),
        OperationCommand::Cancel(id) => cancel(id, &client, out),
        OperationCommand::Items(items) => items::run(&items, &client, out),
    }
}

fn show(id: Id, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&id.path(""), &Query::new())?;
    out.object(&text)?;
    Ok(Exit::Ok)
}

fn cancel(id: Id, client: &Client, out: &mut Out) -> Outcome {
    let text = client.act(&id.path("/cancel"))?;
    match out.format {
        Format::Table => {
            let OperationAnswer { id, done, total, work, .. } = client.parse(&text)?;
            let total = counted(
                total,
                match work {
                    WorkBody::Redrive(_) | WorkBody::Discard(_) => "dead letter",
                    WorkBody::Replay(_) => "event",
                    WorkBody::Saga(_) => "instance",
                },
            );
            out.line(&format!("operation {id} is cancelled, having looked at {done} of {total}"))?;
        }
        Format::Json | Format::Ndjson => out.json(&text)?,
    }
    Ok(Exit::Ok)
}
