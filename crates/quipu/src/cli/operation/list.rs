//! `quipu operation list`: every operation that the server knows, at most 100.

use quipu_api::operation::{RedriveWork, WorkBody};
use quipu_api::replay::ReplayWork;
use quipu_api::{OperationAnswer, OperationsAnswer};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::watch::word;

const HEADER: [&str; 8] = ["ID", "STATE", "WORK", "TOTAL", "DONE", "REFUSED", "TIME", "SECONDS LEFT"];

pub fn run(client: &Client, out: &mut Out) -> Outcome {
    let answer: OperationsAnswer = client.parsed("/v1/operations", &Query::new())?;
    match out.format {
        Format::Json => out.document(&answer)?,
        Format::Ndjson => answer.operations.iter().try_for_each(|operation| out.document(operation))?,
        Format::Table => out.table(&HEADER, &answer.operations.iter().map(row).collect::<Vec<_>>())?,
    }
    Ok(Exit::Ok)
}

fn row(operation: &OperationAnswer) -> Vec<String> {
    let work = match &operation.work {
        WorkBody::Redrive(RedriveWork { to: None }) => "redrive".to_owned(),
        WorkBody::Redrive(RedriveWork { to: Some(to) }) => format!("redrive to {to}"),
        WorkBody::Discard(discard) => format!("discard: {}", discard.reason),
        WorkBody::Replay(ReplayWork { to, from, until, .. }) => format!("replay {from} to {until} to {to}"),
        WorkBody::Saga(saga) => {
            let from = saga.from.as_ref().map_or(String::new(), |step| format!(" from {step}"));
            let reason = saga.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
            format!("{}{from}{reason}", saga.act.as_str())
        }
    };
    vec![
        operation.id.to_string(),
        word(operation.state).to_owned(),
        work,
        operation.total.to_string(),
        operation.done.to_string(),
        operation.refused.to_string(),
        operation.time.clone(),
        operation.remaining_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
    ]
}
