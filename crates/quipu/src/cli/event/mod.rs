//! `quipu event …`: one file a verb.

mod get;
mod list;
mod publish;
mod tail;
mod trace;

pub use list::{Direction, lines, page, rows};
pub use publish::Single;

use clap::{Args, Subcommand};

use super::Global;
use super::client::{Client, Query};
use super::context;
use super::exit::{Failure, Outcome};
use super::output::Out;

#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// Publish events from a file, standard input or flags; each stands for itself
    Publish(Box<publish::Publish>),
    /// List events, by any mix of filters
    List(Box<list::List>),
    /// Show one event
    Get(get::Get),
    /// Show the causes and effects of an event as a tree
    Trace(Which),
    /// Follow events as they are recorded
    Tail(Box<tail::Tail>),
}

/// Which event: by position, or by source and id.
#[derive(Debug, Args)]
pub struct Which {
    /// Its position
    #[arg(required_unless_present = "source", conflicts_with_all = ["source", "id"])]
    position: Option<u64>,
    /// Its source
    #[arg(long, requires = "id")]
    source: Option<String>,
    /// Its id
    #[arg(long, requires = "source")]
    id: Option<String>,
}

/// How data that is kept beside the log is shown.
#[derive(Clone, Copy, Debug, Args)]
pub struct Resolve {
    /// Show the data of events that keep it beside the log, not the reference to it
    #[arg(long)]
    resolve: bool,
}

impl Resolve {
    /// The parameter that asks for it.
    pub fn pair(self) -> Option<(&'static str, String)> {
        self.resolve.then(|| ("data", "resolved".to_owned()))
    }
}

impl Which {
    /// The path and query that name the event; `tail` is "" or "/trace".
    fn route(self, tail: &str) -> (String, Query) {
        match (self.position, self.source, self.id) {
            (Some(position), ..) => (format!("/v1/positions/{position}{tail}"), Query::new()),
            (None, source, id) => {
                let query = vec![("source", source.unwrap_or_default()), ("id", id.unwrap_or_default())];
                (format!("/v1/event{tail}"), query)
            }
        }
    }
}

pub fn run(command: EventCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = match &command {
        EventCommand::Tail(_) => {
            Client::of_talker(context::url(global)?, context::key(global)?, &context::tls(global)?, tail::SILENCE_MAX)
        }
        _ => client(global)?,
    };
    match command {
        EventCommand::Publish(publish) => publish::run(*publish, &client, out),
        EventCommand::List(list) => list::run(&list, &client, out),
        EventCommand::Get(get) => get::run(get, &client, out),
        EventCommand::Trace(which) => trace::run(which, &client, out),
        EventCommand::Tail(tail) => tail::run(&tail, &client, out),
    }
}

pub fn client(global: &Global) -> Result<Client, Failure> {
    Ok(Client::new(context::url(global)?, context::key(global)?, &context::tls(global)?))
}
