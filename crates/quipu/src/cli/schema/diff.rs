//! `quipu schema diff`: what a version changed. Whether it may is asked with `check`.

use clap::Args;
use quipu_api::schema::SchemaDiffAnswer;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out, escape};
use super::Named;

#[derive(Debug, Args)]
pub struct Diff {
    #[command(flatten)]
    which: Named,
    /// The version before [default: the one before --to]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    from: Option<u32>,
    /// The version after [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    to: Option<u32>,
}

pub fn run(diff: &Diff, client: &Client, out: &mut Out) -> Outcome {
    let pairs = [("from", diff.from), ("to", diff.to)];
    let query = pairs.into_iter().filter_map(|(name, version)| Some((name, version?.to_string()))).collect();
    let text = client.json(&diff.which.path("/diff"), &query)?;
    let answer: SchemaDiffAnswer = client.parse(&text)?;
    match out.format {
        Format::Json => out.json(&text)?,
        Format::Ndjson => answer.changes.iter().try_for_each(|change| out.document(change))?,
        Format::Table => {
            answer.changes.iter().try_for_each(|change| out.line(&escape(&change.to_string())))?;
            out.flush()?;
            if answer.changes.is_empty() {
                eprintln!("{}: versions {} and {} say the same", answer.kind, answer.from, answer.to);
            }
        }
    }
    Ok(Exit::Ok)
}
