//! `quipu projection apply` and `check`: a declaration from a file, and beside it the password of its database.

use std::path::PathBuf;

use clap::Args;
use quipu_api::projection::{AppliedAnswer, SentProjection, read_projection};
use quipu_domain::projection::{Password, Projection, ReadModelStore};
use zeroize::Zeroizing;

use super::super::client::{Client, encode};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::whole;
use super::super::output::{Format, Out};

#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    declared: Declared,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    declared: Declared,
}

#[derive(Debug, Args)]
struct Declared {
    /// A declaration, YAML or JSON; - for standard input
    file: String,
    /// A file with the password of its PostgreSQL database; the server keeps it for that database, so it is given once
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

pub fn run(apply: &Apply, client: &Client, out: &mut Out) -> Outcome {
    let (name, text) = put(&apply.declared, "", client)?;
    let AppliedAnswer { release, live, outcome } = client.parse(&text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => {
            let release = release.unwrap_or_default();
            out.line(&match (outcome.as_str(), live) {
                ("known", true) => format!("release {release} of {name} answers as it was declared: nothing was changed"),
                (_, true) => format!("release {release} of {name} answers, and takes events in"),
                ("known", false) => format!("release {release} of {name} is being built as it was declared: nothing was changed"),
                (_, false) => format!(
                    "release {release} of {name} is being built; see it with `quipu projection diff {name}`, then `quipu projection switch {name}`"
                ),
            })?;
        }
    }
    Ok(Exit::Ok)
}

pub fn check(check: &Check, client: &Client, out: &mut Out) -> Outcome {
    let (name, text) = put(&check.declared, "?dryrun=true", client)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{name} can be applied"))?,
    }
    Ok(Exit::Ok)
}

/// Sends a file; its name, and the answer.
fn put(Declared { file, password_file }: &Declared, query: &str, client: &Client) -> Result<(String, String), Failure> {
    let document = whole(file)?;
    // Its name is in it, and the route is made of it.
    let mut declaration =
        read_projection(&document).map_err(|problem| Failure::usage(format!("{file}: {}", problem.detail)))?;
    if let Some(path) = password_file {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| Failure::file("read", path.display(), &error))?;
        give_password(&mut declaration, text.trim_end_matches(['\r', '\n']))?;
    }
    let path = format!("/v1/projections/{}{query}", encode(&declaration.name));
    let text = client.put(&path, &SentProjection::from(&declaration))?;
    Ok((declaration.name, text))
}

fn give_password(declaration: &mut Projection, text: &str) -> Result<(), Failure> {
    let usage = |reason: String| Failure::usage(format!("--password-file: {reason}"));
    match &mut declaration.store {
        ReadModelStore::Postgres(url) => {
            url.password = Some(Password::new(text).map_err(|invalid| usage(invalid.to_string()))?);
            Ok(())
        }
        ReadModelStore::Sqlite => {
            Err(usage("expected a declaration with a store postgres://…, found sqlite".to_owned()))
        }
    }
}
