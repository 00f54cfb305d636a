//! `quipu catalog export`: a document on standard output, as it is.

use clap::{Args, ValueEnum};
use quipu_api::MEDIA_YAML;

use super::super::client::{Client, Get, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::Out;

#[derive(Debug, Args)]
pub struct Export {
    /// What to write
    #[arg(long, value_enum, default_value = "asyncapi")]
    format: Form,
    /// Only types whose names begin so
    #[arg(long)]
    prefix: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    /// An AsyncAPI 3.0 document, JSON
    Asyncapi,
    /// The same, YAML
    AsyncapiYaml,
    /// A flowchart
    Mermaid,
}

pub fn run(export: Export, client: &Client, out: &mut Out) -> Outcome {
    let query: Query = export.prefix.into_iter().map(|prefix| ("prefix", prefix)).collect();
    let text = |path, headers| client.read(client.get(&Get { path, query: &query, headers })?);
    match export.format {
        Form::Asyncapi => out.json(&client.json("/v1/catalog/asyncapi", &query)?)?,
        Form::AsyncapiYaml => out.line(text("/v1/catalog/asyncapi", &[("accept", MEDIA_YAML)])?.trim_end())?,
        Form::Mermaid => out.line(text("/v1/catalog/mermaid", &[])?.trim_end())?,
    }
    Ok(Exit::Ok)
}
