//! `quipu deadletter groups`: how many deliveries failed in the same way.

use clap::Args;
use quipu_api::DeadLetterGroupsAnswer;
use quipu_api::deadletter::DeadLetterGroupBody;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::FilterFlags;

#[derive(Debug, Args)]
pub struct Groups {
    #[command(flatten)]
    filter: FilterFlags,
    /// At most so many groups [default: 100]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

pub fn run(groups: &Groups, client: &Client, out: &mut Out) -> Outcome {
    let mut query = groups.filter.query();
    query.extend(groups.limit.map(|limit| ("limit", limit.to_string())));
    let answer: DeadLetterGroupsAnswer = client.parsed("/v1/deadletters/groups", &query)?;
    match out.format {
        Format::Json => out.document(&answer)?,
        Format::Ndjson => answer.groups.iter().try_for_each(|group| out.document(group))?,
        Format::Table => {
            out.table(&HEADER, &answer.groups.iter().map(row).collect::<Vec<_>>())?;
        }
    }
    out.flush()?;
    if answer.cut {
        eprintln!("{} groups, and there are more: the same command with a larger --limit", answer.groups.len());
    }
    Ok(Exit::Ok)
}

/// The number and the time of the oldest, then of the newest.
const HEADER: [&str; 8] = ["COUNT", "SUBSCRIPTION", "TYPE", "OLDEST", "SINCE", "NEWEST", "LAST", "FINGERPRINT"];

fn row(group: &DeadLetterGroupBody) -> Vec<String> {
    vec![
        group.count.to_string(),
        group.subscription.clone(),
        group.kind.clone(),
        group.oldest.id.to_string(),
        group.oldest.time.clone(),
        group.newest.id.to_string(),
        group.newest.time.clone(),
        group.fingerprint.clone(),
    ]
}
