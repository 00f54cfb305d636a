//! `quipu schema upcast`: the upcaster of a version, by a jq expression.

use clap::Args;
use quipu_api::schema::{SchemaAnswer, SetUpcaster, UpcasterSetAnswer};

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Numbered;

#[derive(Debug, Args)]
pub struct Upcast {
    #[command(flatten)]
    which: Numbered,
    /// A jq expression: `.` is the data of the version before
    #[arg(long, required_unless_present = "remove", conflicts_with = "remove")]
    jq: Option<String>,
    /// Nothing turns the data of the version before any more
    #[arg(long)]
    remove: bool,
}

pub fn run(upcast: &Upcast, client: &Client, out: &mut Out) -> Outcome {
    let body = SetUpcaster { jq: upcast.jq.clone() };
    let text = client.put(&upcast.which.path("/upcaster"), &body)?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let UpcasterSetAnswer { schema: SchemaAnswer { kind, version, .. }, compatibility } = client.parse(&text)?;
    match compatibility.upcaster {
        Some(found) => out.line(&format!(
            "{kind}.v{version} is made of earlier versions: {} stored events and {} examples fit",
            found.events, found.examples
        ))?,
        None => out.line(&format!("{kind}.v{version} has no upcaster"))?,
    }
    Ok(Exit::Ok)
}
