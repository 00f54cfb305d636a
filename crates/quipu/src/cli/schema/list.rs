//! `quipu schema list`: a line for each type. A dash stands for a rule that the type has not of its own.

use clap::Args;
use quipu_api::schema::{SchemaLine, SchemaTypeAnswer, SchemasPage};
use quipu_domain::schema::SchemaRules;

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::super::paging::{limit, pages};
use super::rules::words;

const HEADER: [&str; 8] = ["TYPE", "VERSIONS", "COMPATIBILITY", "ENFORCEMENT", "UNKNOWN", "REFUSED", "MARKED", "OWNER"];

#[derive(Debug, Args)]
pub struct List {
    /// At most so many types [default: 20 in a table, 100 in JSON, all in NDJSON]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Go on where an earlier page ended
    #[arg(long)]
    cursor: Option<String>,
}

pub fn run(list: List, client: &Client, out: &mut Out) -> Outcome {
    let most = limit(list.limit, out.format);
    let (mut types, mut rules) = (Vec::new(), SchemaRules::default());
    let next = pages(client, "/v1/schemas", &Query::new(), list.cursor, most, |page: SchemasPage| {
        rules = page.rules;
        let count = page.types.len();
        match out.format {
            Format::Ndjson => page.types.iter().try_for_each(|kind| out.document(kind))?,
            Format::Json | Format::Table => types.extend(page.types),
        }
        Ok((count, page.cursor))
    })?;
    match out.format {
        Format::Ndjson => {}
        Format::Json => out.document(&SchemasPage { rules, types, cursor: next })?,
        Format::Table => {
            out.table(&HEADER, &types.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if let Some(cursor) = next {
                eprintln!("there is more: --cursor {cursor}");
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(kind: &SchemaTypeAnswer) -> Vec<String> {
    let version = |version: &SchemaLine| match version.deprecated {
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
