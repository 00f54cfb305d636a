//! `quipu subscription …`: one file a verb. What a definition may say is a rule of the server; here only the form of a
//! flag's value is checked.

mod ack;
mod create;
pub mod definition;
mod delete;
mod explain;
mod hold;
mod list;
mod pull;
mod seek;
mod show;
pub mod start;

use clap::{Args, Subcommand};
use quipu_domain::is_subscription_name;

use super::Global;
use super::event::client;
use super::exit::Outcome;
use super::output::Out;
use super::secret::{self, SecretCommand};

#[derive(Debug, Subcommand)]
pub enum SubscriptionCommand {
    /// Make a subscription; the same again changes nothing
    Create(Box<create::Create>),
    /// List subscriptions and how many of their deliveries wait for what
    List,
    /// Show a subscription: its definition, where it is, and what happened since it was made
    Show(Named),
    /// Say in one sentence why a subscription is not moving, and how far it is behind
    Explain(Named),
    /// Hold deliveries back
    Pause(Named),
    /// Go on where it was paused
    Resume(Named),
    /// Go on elsewhere; says first how many events come again, and asks
    Seek(seek::Seek),
    /// Delete a subscription and where it is; asks first
    Delete(delete::Delete),
    /// Fetch deliveries, one a line of JSON
    Pull(pull::Pull),
    /// Answer deliveries: acknowledge them, or say that they failed or take longer
    Ack(ack::Ack),
    /// See or replace what webhooks of a subscription are signed with
    #[command(subcommand)]
    Secret(SecretCommand),
}

/// Which subscription.
#[derive(Clone, Debug, Args)]
pub struct Named {
    /// The name of the subscription
    #[arg(value_parser = name)]
    name: String,
}

impl Named {
    /// Its route; `tail` is "" or begins with a slash.
    fn path(&self, tail: &str) -> String {
        format!("/v1/subscriptions/{}{tail}", self.name)
    }
}

/// A name that may be one: it stands in paths as it is.
pub fn name(text: &str) -> Result<String, String> {
    if is_subscription_name(text) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 128 letters, digits, -, _ and ., a letter or digit first".to_owned())
}

pub fn run(command: SubscriptionCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        SubscriptionCommand::Create(create) => create::run(*create, &client, out),
        SubscriptionCommand::List => list::run(&client, out),
        SubscriptionCommand::Show(which) => show::run(&which, &client, out),
        SubscriptionCommand::Explain(which) => explain::run(&which, &client, out),
        SubscriptionCommand::Pause(which) => hold::pause(&which, &client, out),
        SubscriptionCommand::Resume(which) => hold::resume(&which, &client, out),
        SubscriptionCommand::Seek(seek) => seek::run(&seek, &client, out),
        SubscriptionCommand::Delete(delete) => delete::run(&delete, &client, out),
        SubscriptionCommand::Pull(pull) => pull::run(&pull, &client, out),
        SubscriptionCommand::Ack(ack) => ack::run(ack, &client, out),
        SubscriptionCommand::Secret(command) => secret::run(command, "/v1/subscriptions", &client, out),
    }
}
