//! `quipu subscription delete`: says what goes with it, and asks.

use clap::Args;
use quipu_api::SubscriptionAnswer;
use quipu_api::subscription::DeletedAnswer;

use super::super::client::{Client, Query};
use super::super::confirm::Confirm;
use super::super::count::doing;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Named;

#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    confirm: Confirm,
}

pub fn run(delete: &Delete, client: &Client, out: &mut Out) -> Outcome {
    let path = delete.which.path("");
    let there: SubscriptionAnswer = client.parsed(&path, &Query::new())?;
    let sums = there.deliveries;
    eprintln!(
        "{}: {} with it, {} until 14 days old",
        there.name,
        doing(sums.ready + sums.in_flight + sums.waiting + sums.parked, "unfinished delivery", ["goes", "go"]),
        doing(there.dead_letters, "open dead letter", ["stays", "stay"])
    );
    delete.confirm.ask(&format!("delete {}", there.name))?;
    let text = client.delete(&path)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{} was deleted", client.parse::<DeletedAnswer>(&text)?.deleted))?,
    }
    Ok(Exit::Ok)
}
