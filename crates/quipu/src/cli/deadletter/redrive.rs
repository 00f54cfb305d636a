//! `quipu deadletter redrive`: one dead letter once more, to its own subscription, to another one, or an edited copy; or
//! with `--all` many.

use clap::Args;
use quipu_api::deadletter::{DecidedAnswer, RedriveRequest};
use quipu_api::operation::{RedriveWork, WorkBody};

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::input::one_event;
use super::super::output::{Format, Out};
use super::super::subscription::name;
use super::bulk::Bulk;

#[derive(Debug, Args)]
pub struct Redrive {
    /// Its number
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<u64>,
    /// Another subscription to deliver it to
    #[arg(long, value_name = "NAME", value_parser = name, conflicts_with = "event")]
    to: Option<String>,
    /// An edited copy of the event to deliver in its place, JSON; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    event: Option<String>,
    #[command(flatten)]
    bulk: Bulk,
}

pub fn run(redrive: Redrive, client: &Client, out: &mut Out) -> Outcome {
    let Some(id) = redrive.bulk.one(redrive.id)? else {
        let work = WorkBody::Redrive(RedriveWork { to: redrive.to });
        return redrive.bulk.run("redrive", work, client, out);
    };
    let event = redrive.event.as_deref().map(one_event).transpose()?;
    let text = client.send(&id.path("/redrive"), &RedriveRequest { to: redrive.to, event })?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let DecidedAnswer { dead_letter: letter, copy } = client.parse(&text)?;
    let to = letter.redriven_to.as_deref().unwrap_or(&letter.subscription);
    out.line(&match copy {
        Some(copy) => format!("{copy}, the edited copy of dead letter {}, is delivered to {to}", letter.id),
        None => format!("dead letter {} is delivered to {to} once more", letter.id),
    })?;
    Ok(Exit::Ok)
}
