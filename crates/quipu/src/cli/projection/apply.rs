//! `quipu projection apply` and `check`: a declaration from a file.

use clap::Args;
use quipu_api::projection::{AppliedAnswer, read_projection};

use super::super::client::{Client, encode};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::whole;
use super::super::output::{Format, Out};

#[derive(Debug, Args)]
pub struct Apply {
    /// A declaration, YAML or JSON; - for standard input
    file: String,
}

#[derive(Debug, Args)]
pub struct Check {
    /// A declaration, YAML or JSON; - for standard input
    file: String,
}

pub fn run(apply: &Apply, client: &Client, out: &mut Out) -> Outcome {
    let (name, text) = put(&apply.file, "", client)?;
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
    let (name, text) = put(&check.file, "?dryrun=true", client)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{name} can be applied"))?,
    }
    Ok(Exit::Ok)
}

/// Sends a file; its name, and the answer.
fn put(file: &str, query: &str, client: &Client) -> Result<(String, String), Failure> {
    let document = whole(file)?;
    // Its name is in it, and the route is made of it.
    let declaration =
        read_projection(&document).map_err(|problem| Failure::usage(format!("{file}: {}", problem.detail)))?;
    let path = format!("/v1/projections/{}{query}", encode(&declaration.name));
    let text = client.put(&path, &declaration)?;
    Ok((declaration.name, text))
}
