//! `quipu saga cancel`, `pause`, `resume`, `retry`, `skip` and `resolve`: what people do to an instance, or with `--all` to many.

use clap::Args;
use quipu_api::intervention::{ActWord, InterventionWork};
use quipu_api::saga::ActRequest;

use super::super::client::Client;
use super::super::exit::Outcome;
use super::super::output::Out;
use super::bulk::Bulk;
use super::instance::{Numbered, show};

#[derive(Debug, Args)]
pub struct Act {
    /// The number of the instance
    #[arg(value_name = "NUMBER", required_unless_present = "all", conflicts_with = "all")]
    number: Option<u64>,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    bulk: Bulk,
}

#[derive(Debug, Args)]
pub struct Retry {
    #[command(flatten)]
    act: Act,
    /// Go on again from this step of the saga
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
}

#[derive(Debug, Args)]
pub struct Decide {
    /// The number of the instance
    #[arg(value_name = "NUMBER", required_unless_present = "all", conflicts_with = "all")]
    number: Option<u64>,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    bulk: Bulk,
}

pub fn run(act: ActWord, Act { number, reason, bulk }: Act, client: &Client, out: &mut Out) -> Outcome {
    send(number, bulk, InterventionWork { act, from: None, reason }, client, out)
}

pub fn retry(Retry { act: Act { number, reason, bulk }, from }: Retry, client: &Client, out: &mut Out) -> Outcome {
    send(number, bulk, InterventionWork { act: ActWord::Retry, from, reason }, client, out)
}

pub fn decide(act: ActWord, Decide { number, reason, bulk }: Decide, client: &Client, out: &mut Out) -> Outcome {
    send(number, bulk, InterventionWork { act, from: None, reason: Some(reason) }, client, out)
}

fn send(number: Option<u64>, bulk: Bulk, work: InterventionWork, client: &Client, out: &mut Out) -> Outcome {
    let Some(number) = bulk.one(number)? else { return bulk.run(work, client, out) };
    let InterventionWork { act, from, reason } = work;
    let path = Numbered { number }.path(&format!("/{}", act.as_str()));
    show(&client.send(&path, &ActRequest { reason, from })?, client, out)
}
