//! `quipu baseline …`: what read models were at some places, to hold verifications against.

use clap::{Args, Subcommand};
use quipu_api::projection::RemovedAnswer;
use quipu_api::verification::{BaselineBody, BaselineRequest, BaselinesAnswer};

use super::Global;
use super::client::{Query, encode};
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::{Format, Out};

const HEADER: [&str; 6] = ["NAME", "TIME", "BY", "RELEASE", "POSITION", "TABLES"];

#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// Record under a name what a projection is now
    Create(Named),
    /// List the baselines of a projection
    List(Of),
    /// Forget a baseline
    Remove(Named),
}

#[derive(Debug, Args)]
pub struct Of {
    /// The projection
    projection: String,
}

#[derive(Debug, Args)]
pub struct Named {
    #[command(flatten)]
    of: Of,
    /// The baseline: letters, digits, -, _ and .
    name: String,
}

impl Of {
    /// The route of its baselines; `tail` is "" or begins with a slash.
    fn path(&self, tail: &str) -> String {
        format!("/v1/projections/{}/baselines{tail}", encode(&self.projection))
    }
}

pub fn run(command: BaselineCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        BaselineCommand::Create(Named { of, name }) => {
            let text = client.send(&of.path(""), &BaselineRequest { name })?;
            let made: BaselineBody = client.parse(&text)?;
            match out.format {
                Format::Json | Format::Ndjson => out.json(&text)?,
                Format::Table => out.line(&format!(
                    "{} is {} at position {}; hold it against that with `quipu projection verify {} --baseline {}`",
                    made.name, of.projection, made.position, of.projection, made.name
                ))?,
            }
        }
        BaselineCommand::List(of) => {
            let text = client.json(&of.path(""), &Query::new())?;
            let answer: BaselinesAnswer = client.parse(&text)?;
            match out.format {
                Format::Json => out.json(&text)?,
                Format::Ndjson => answer.baselines.iter().try_for_each(|baseline| out.document(baseline))?,
                Format::Table => out.table(&HEADER, &answer.baselines.iter().map(row).collect::<Vec<_>>())?,
            }
        }
        BaselineCommand::Remove(Named { of, name }) => {
            let text = client.delete(&of.path(&format!("/{}", encode(&name))))?;
            let RemovedAnswer { removed } = client.parse(&text)?;
            match out.format {
                Format::Json | Format::Ndjson => out.json(&text)?,
                Format::Table => out.line(&format!("{removed} was removed"))?,
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(baseline: &BaselineBody) -> Vec<String> {
    vec![
        baseline.name.clone(),
        baseline.time.clone(),
        baseline.by.clone(),
        baseline.release.to_string(),
        baseline.position.to_string(),
        baseline.tables.len().to_string(),
    ]
}
