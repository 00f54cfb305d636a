//! `quipu schema infer`: the proposal alone goes to standard output, in any form, so that it can be piped into `register`.

use quipu_api::schema::InferredAnswer;

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::Out;
use super::Named;

pub fn run(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let answer: InferredAnswer = client.parsed(&which.path("/inferred"), &Query::new())?;
    out.document(&answer.schema)?;
    out.flush()?;
    eprintln!("{}: learned from {}", answer.kind, counted(answer.events, "event"));
    Ok(Exit::Ok)
}
