//! `quipu schema list`: a line for each type. A dash stands for a rule that the type has not of its own.

use quipu_api::schema::{SchemaTypeAnswer, SchemasAnswer};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::rules::words;

const HEADER: [&str; 8] = ["TYPE", "VERSIONS", "COMPATIBILITY", "ENFORCEMENT", "UNKNOWN", "REFUSED", "MARKED", "OWNER"];

pub fn run(client: &Client, out: &mut Out) -> Outcome {
    let text = client.json("/v1/schemas", &Query::new())?;
    let answer: SchemasAnswer = client.parse(&text)?;
    match out.format {
        Format::Json => out.json(&text)?,
        Format::Ndjson => answer.types.iter().try_for_each(|kind| out.document(kind))?,
        Format::Table => out.table(&HEADER, &answer.types.iter().map(row).collect::<Vec<_>>())?,
    }
    Ok(Exit::Ok)
}

fn row(kind: &SchemaTypeAnswer) -> Vec<String> {
    let version = |version: &quipu_api::schema::SchemaAnswer| match version.deprecated {
        Some(_) => format!("{} (deprecated)", version.version),
        None => version.version.to_string(),
    };
    let versions: Vec<_> = kind.versions.iter().map(version).collect();
    let owner = kind.versions.last().and_then(|newest| newest.owner.clone()).unwrap_or_default();
    let mut row = vec![kind.kind.clone(), versions.join(", ")];
    row.extend(words(kind.rules).map(|word| word.unwrap_or_else(|| "-".to_owned())));
    row.extend([kind.refused.to_string(), kind.marked.to_string(), owner]);
    row
}
