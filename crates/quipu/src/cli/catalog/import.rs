//! `quipu catalog import`: a document of JSON or YAML. What was refused does not keep the rest from being taken.

use clap::Args;
use quipu_api::MEDIA_YAML;
use quipu_api::catalog::{ImportAnswer, ImportedItem};

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::input::whole;
use super::super::output::{Format, Out, escape};

const HEADER: [&str; 4] = ["TYPE", "VERSION", "OUTCOME", "REASON"];

#[derive(Debug, Args)]
pub struct Import {
    /// An AsyncAPI document of version 3.0 or 3.1, JSON or YAML; - for standard input
    file: String,
    /// Change nothing, and say what would become of it
    #[arg(long)]
    dry_run: bool,
}

pub fn run(import: &Import, client: &Client, out: &mut Out) -> Outcome {
    let document = whole(&import.file)?;
    let path = format!("/v1/catalog/asyncapi?dryrun={}", import.dry_run);
    // Every document of JSON is one of YAML.
    let text = client.read(client.post(&path, MEDIA_YAML, &document)?)?;
    let answer: ImportAnswer = client.parse(&text)?;
    match out.format {
        Format::Json => out.json(&text)?,
        Format::Ndjson => answer.items.iter().try_for_each(|item| out.document(item))?,
        Format::Table => out.table(&HEADER, &answer.items.iter().map(row).collect::<Vec<_>>())?,
    }
    out.flush()?;
    for skipped in &answer.skipped {
        eprintln!("left out {}: {}", escape(&skipped.pointer), escape(&skipped.reason));
    }
    let is_refused = answer.items.iter().any(|item| item.outcome == "refused");
    Ok(if is_refused { Exit::Failed } else { Exit::Ok })
}

fn row(item: &ImportedItem) -> Vec<String> {
    let version = item.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    vec![item.kind.clone(), version, item.outcome.clone(), item.reason.clone().unwrap_or_default()]
}
