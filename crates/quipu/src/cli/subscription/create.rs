//! `quipu subscription create`: from flags, a file, or a file of which flags change something.

use clap::Args;
use quipu_api::subscription::read_definition;
use quipu_api::{CreateSubscription, MEDIA_JSON, SubscriptionAnswer};
use quipu_domain::Subscription;

use super::super::client::{Client, document, explain};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out};
use super::Named;
use super::definition::{DefinitionFlags, read};

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    which: Named,
    /// The definition as JSON, - for standard input; flags change what it says
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    flags: DefinitionFlags,
}

pub fn run(create: Create, client: &Client, out: &mut Out) -> Outcome {
    let mut definition = match &create.file {
        Some(path) => from_file(path)?,
        None => Subscription::default(),
    };
    create.flags.apply(&mut definition)?;
    let body = CreateSubscription { name: create.which.name, definition };
    let answer = client.post("/v1/subscriptions", MEDIA_JSON, &document(&body)?)?;
    let is_new = answer.status() == 201;
    let text = client.read(answer)?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let made: SubscriptionAnswer = client.parse(&text)?;
    let what = if is_new { "was made" } else { "was there with this definition" };
    let held_back = if made.definition.paused { "; it is paused" } else { "" };
    out.line(&format!("{} {what}; it goes on after position {}{held_back}", made.name, made.position))?;
    Ok(Exit::Ok)
}

/// Read as the server reads it, so that a mistake is named by its place.
fn from_file(path: &str) -> Result<Subscription, Failure> {
    read_definition(read(path)?.as_bytes()).map_err(|problem| {
        let problem = serde_json::to_value(problem).unwrap_or_default();
        Failure::failed(format!("{path}: {}", explain(&problem)))
    })
}
