//! `quipu saga cancel`, `pause`, `resume`, `retry`, `skip` and `resolve`: what people do to an instance.

use clap::Args;
use quipu_api::saga::ActRequest;

use super::super::client::Client;
use super::super::exit::Outcome;
use super::super::output::Out;
use super::instance::{Numbered, show};

#[derive(Debug, Args)]
pub struct Act {
    #[command(flatten)]
    which: Numbered,
    /// Why; it is recorded
    #[arg(long)]
    reason: Option<String>,
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
    #[command(flatten)]
    which: Numbered,
    /// Why; it is recorded
    #[arg(long)]
    reason: String,
}

pub fn run(word: &str, Act { which, reason }: Act, client: &Client, out: &mut Out) -> Outcome {
    send(word, which, &ActRequest { reason, from: None }, client, out)
}

pub fn retry(Retry { act: Act { which, reason }, from }: Retry, client: &Client, out: &mut Out) -> Outcome {
    send("retry", which, &ActRequest { reason, from }, client, out)
}

pub fn decide(word: &str, Decide { which, reason }: Decide, client: &Client, out: &mut Out) -> Outcome {
    send(word, which, &ActRequest { reason: Some(reason), from: None }, client, out)
}

fn send(word: &str, which: Numbered, body: &ActRequest, client: &Client, out: &mut Out) -> Outcome {
    show(&client.send(&which.path(&format!("/{word}")), body)?, client, out)
}
