//! `quipu deadletter discard`: decides, with a reason, that one need not be delivered, or with `--all` many.

use clap::Args;
use quipu_api::deadletter::{DecidedAnswer, DiscardRequest};
use quipu_api::operation::WorkBody;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::bulk::Bulk;

#[derive(Debug, Args)]
pub struct Discard {
    /// Its number
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<u64>,
    /// Why it need not be delivered
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    bulk: Bulk,
}

pub fn run(discard: Discard, client: &Client, out: &mut Out) -> Outcome {
    let request = DiscardRequest { reason: discard.reason };
    let Some(id) = discard.bulk.one(discard.id)? else {
        return discard.bulk.run("discard", WorkBody::Discard(request), client, out);
    };
    let text = client.send(&id.path("/discard"), &request)?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let letter = client.parse::<DecidedAnswer>(&text)?.dead_letter;
    let key = if letter.parks_key { "; its key goes on" } else { "" };
    out.line(&format!("dead letter {} is discarded{key}", letter.id))?;
    Ok(Exit::Ok)
}
