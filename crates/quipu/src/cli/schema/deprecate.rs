//! `quipu schema deprecate`: events of the version are taken as before.

use clap::Args;
use quipu_api::schema::SchemaAnswer;
use serde_json::json;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out, escape};
use super::Numbered;

#[derive(Debug, Args)]
pub struct Deprecate {
    #[command(flatten)]
    which: Numbered,
    /// Why, and what to begin with instead
    #[arg(long, required_unless_present = "undo", conflicts_with = "undo")]
    reason: Option<String>,
    /// Take it back
    #[arg(long)]
    undo: bool,
}

pub fn run(deprecate: &Deprecate, client: &Client, out: &mut Out) -> Outcome {
    let body = match &deprecate.reason {
        Some(reason) => json!({ "reason": reason }),
        None => json!({}),
    };
    let text = client.send(&deprecate.which.path("/deprecate"), &body)?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let SchemaAnswer { kind, version, deprecated, .. } = client.parse(&text)?;
    match deprecated {
        Some(reason) => out.line(&format!("{kind}.v{version} is deprecated: {}", escape(&reason)))?,
        None => out.line(&format!("{kind}.v{version} is not deprecated"))?,
    }
    Ok(Exit::Ok)
}
