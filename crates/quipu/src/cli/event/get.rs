//! `quipu event get`: one event, its attributes one a line or as JSON.

use clap::Args;
use quipu_domain::schema::SchemaVersion;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::filter::schema_version;
use super::super::output::Out;
use super::{Resolve, Which};

#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    which: Which,
    /// In which version of its schema: stored, newest or a number [default: stored]
    #[arg(long, value_name = "VERSION", value_parser = schema_version)]
    schema_version: Option<SchemaVersion>,
    #[command(flatten)]
    resolve: Resolve,
}

pub fn run(get: Get, client: &Client, out: &mut Out) -> Outcome {
    let (path, mut query) = get.which.route("");
    query.extend(get.schema_version.map(|version| ("schemaversion", version.to_string())));
    query.extend(get.resolve.pair());
    let event = client.json(&path, &query)?;
    out.object(&event)?;
    Ok(Exit::Ok)
}
