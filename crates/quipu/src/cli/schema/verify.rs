//! `quipu schema verify`: the whole log, some 100,000 events a request.

use clap::Args;
use quipu_api::schema::{NotUpcastAnswer, VerifiedAnswer};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, escape};
use super::super::progress::Progress;
use super::Named;

/// Events that are named.
const NAMED_MAX: usize = 10;

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    which: Named,
    /// The version to read them as; the newest without it
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
}

pub fn run(verify: &Verify, client: &Client, out: &mut Out) -> Outcome {
    let ask = |after: u64| -> Result<VerifiedAnswer, Failure> {
        let mut query: Query = vec![("after", after.to_string())];
        query.extend(verify.version.map(|version| ("version", version.to_string())));
        client.parsed(&verify.which.path("/verification"), &query)
    };
    let mut progress = Progress::of_events(None);
    let mut sum = ask(0)?;
    while sum.to < sum.position {
        progress.at(0, sum.events);
        let behind = ask(sum.to)?;
        sum = add(sum, behind);
    }
    progress.finish();
    let exit = if sum.failed == 0 { Exit::Ok } else { Exit::Failed };
    if out.format != Format::Table {
        out.document(&sum)?;
        return Ok(exit);
    }
    let VerifiedAnswer { kind, version, events, earlier, failed, first, .. } = &sum;
    out.line(&format!(
        "{kind}.v{version}: of {events} events, {earlier} of earlier versions, {failed} cannot be read as it"
    ))?;
    for NotUpcastAnswer { position, reason, detail, .. } in first {
        out.line(&format!("  position {position}: {}", escape(detail.as_deref().unwrap_or(reason))))?;
    }
    Ok(exit)
}

/// What was found up to some position, and behind it.
fn add(before: VerifiedAnswer, mut behind: VerifiedAnswer) -> VerifiedAnswer {
    let mut first = before.first;
    first.append(&mut behind.first);
    first.truncate(NAMED_MAX);
    VerifiedAnswer {
        events: before.events + behind.events,
        earlier: before.earlier + behind.earlier,
        failed: before.failed + behind.failed,
        first,
        ..behind
    }
}
