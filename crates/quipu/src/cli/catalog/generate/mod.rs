//! `quipu catalog generate`: types of a language from registered schemas, and where handlers of events begin.

mod model;
mod names;
mod rust;
mod typescript;

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use quipu_api::catalog::CatalogPage;
use quipu_api::schema::SchemaAnswer;
use serde_json::Value;

use super::super::client::{Client, Query, encode};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Out, escape};
use super::super::paging::pages;

#[derive(Debug, Args)]
pub struct Generate {
    /// The language
    #[arg(long, value_enum)]
    language: Language,
    /// The types, without versions [default: all that have schemas]
    #[arg(value_name = "TYPE")]
    kinds: Vec<String>,
    /// The folder to write events.rs or events.ts into [default: standard output]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Language {
    /// Structs with serde
    Rust,
    /// Interfaces
    Typescript,
}

/// A version of a schema.
pub struct Registered {
    /// The type as events have it: without a version, or `.vN` from 2 on.
    pub name: String,
    /// With all that it refers to inside of it.
    pub schema: Value,
    pub description: Option<String>,
}

pub fn run(generate: Generate, client: &Client, out: &mut Out) -> Outcome {
    let registered = registered(&generate.kinds, client)?;
    let model = model::Model::of(&registered);
    let (file, text) = match generate.language {
        Language::Rust => ("events.rs", rust::write(&model)),
        Language::Typescript => ("events.ts", typescript::write(&model)),
    };
    match generate.out {
        None => out.line(text.trim_end())?,
        Some(folder) => {
            let path = folder.join(file);
            let failed = |error| Failure::file("write", path.display(), &error);
            fs::create_dir_all(&folder).map_err(failed)?;
            fs::write(&path, text).map_err(failed)?;
            eprintln!("{} was written", path.display());
        }
    }
    Ok(Exit::Ok)
}

fn registered(kinds: &[String], client: &Client) -> Result<Vec<Registered>, Failure> {
    let mut versions = Vec::new();
    pages(client, "/v1/catalog", &Query::new(), None, u64::MAX, |page: CatalogPage| {
        let count = page.types.len();
        for line in page.types {
            let is_asked = kinds.is_empty() || kinds.contains(&line.kind);
            let registered = line.versions.iter().filter(|version| is_asked && version.registered);
            versions.extend(registered.map(|version| (line.kind.clone(), version.version)));
        }
        Ok((count, page.cursor))
    })?;
    if let Some(kind) = kinds.iter().find(|kind| !versions.iter().any(|(known, _)| known == *kind)) {
        return Err(Failure::new(
            Exit::NotFound,
            format!("expected a type with a schema, found none for {}", escape(kind)),
        ));
    }
    let bundled: Query = vec![("bundled", "true".to_owned())];
    let read = |(kind, version): (String, u32)| {
        let text = client.json(&format!("/v1/schemas/{}/versions/{version}", encode(&kind)), &bundled)?;
        let answer: SchemaAnswer = client.parse(&text)?;
        let name = if version == 1 { kind } else { format!("{kind}.v{version}") };
        Ok(Registered { name, schema: client.parse(answer.schema.get())?, description: answer.description })
    };
    versions.into_iter().map(read).collect()
}
