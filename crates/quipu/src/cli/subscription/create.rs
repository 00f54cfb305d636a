//! `quipu subscription create`: from flags, a file, or a file of which flags change something.

use clap::Args;
use quipu_api::subscription::read_definition;
use quipu_api::{CreateSubscription, MEDIA_JSON, SubscriptionAnswer};
use quipu_domain::Subscription;
use serde_json::Value;

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
    let body = with_secret(CreateSubscription { name: create.which.name, definition })?;
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
    if let Some(secret) = made.secret {
        out.line(&format!("its webhooks are signed with {secret}, which is not shown again"))?;
    }
    Ok(Exit::Ok)
}

/// The body with the secret of its endpoint, which no definition shows by itself.
fn with_secret(body: CreateSubscription) -> Result<Value, Failure> {
    let secret = body.definition.push.as_ref().and_then(|push| push.secret.clone());
    let failed = |error| Failure::failed(format!("cannot write the request: {error}"));
    let mut body = serde_json::to_value(body).map_err(failed)?;
    if let Some(secret) = secret {
        body["push"]["secret"] = secret.expose().into();
    }
    Ok(body)
}

/// Read as the server reads it, so that a mistake is named by its place.
fn from_file(path: &str) -> Result<Subscription, Failure> {
    read_definition(read(path)?.as_bytes()).map_err(|problem| {
        let problem = serde_json::to_value(problem.hushed()).unwrap_or_default();
        Failure::failed(format!("{path}: {}", explain(&problem)))
    })
}
