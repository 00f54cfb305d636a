//! `quipu deadletter …`: one file a verb. Looking at dead letters changes nothing.

mod bulk;
mod discard;
mod groups;
mod list;
mod redrive;
mod show;

use clap::{Args, Subcommand};

use super::Global;
use super::client::Query;
use super::event::client;
use super::exit::Outcome;
use super::output::Out;

#[derive(Debug, Subcommand)]
pub enum DeadLetterCommand {
    /// List dead letters, the oldest first
    List(list::List),
    /// Count open dead letters by subscription, type and kind of failure, the largest group first
    Groups(groups::Groups),
    /// Show a dead letter: its event, every attempt, and why there was no further one
    Show(Id),
    /// Deliver a dead letter once more, or with --all many
    Redrive(Box<redrive::Redrive>),
    /// Decide that a dead letter, or with --all many, need not be delivered
    Discard(Box<discard::Discard>),
}

/// Which dead letter.
#[derive(Clone, Copy, Debug, Args)]
pub struct Id {
    /// Its number
    id: u64,
}

impl Id {
    /// Its route; `tail` is "" or begins with a slash.
    fn path(self, tail: &str) -> String {
        format!("/v1/deadletters/{}{tail}", self.id)
    }
}

/// Which dead letters: all that match every flag.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Which dead letters")]
pub struct FilterFlags {
    /// Whose deliveries
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Events of exactly this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Failures of this kind, as groups and list name it
    #[arg(long, value_name = "TEXT")]
    fingerprint: Option<String>,
}

impl FilterFlags {
    /// Whether there is any.
    fn is_given(&self) -> bool {
        !self.query().is_empty()
    }

    /// The query parameters of `GET /v1/deadletters` and `GET /v1/deadletters/groups`.
    fn query(&self) -> Query {
        let pairs = [("subscription", &self.subscription), ("type", &self.kind), ("fingerprint", &self.fingerprint)];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

pub fn run(command: DeadLetterCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        DeadLetterCommand::List(list) => list::run(list, &client, out),
        DeadLetterCommand::Groups(groups) => groups::run(&groups, &client, out),
        DeadLetterCommand::Show(id) => show::run(id, &client, out),
        DeadLetterCommand::Redrive(redrive) => redrive::run(*redrive, &client, out),
        DeadLetterCommand::Discard(discard) => discard::run(*discard, &client, out),
    }
}
