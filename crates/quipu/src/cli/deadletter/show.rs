//! `quipu deadletter show`: what was given up and why, the event, and every attempt.

use quipu_api::DeadLetterAnswer;
use quipu_api::deadletter::AttemptBody;

use super::super::client::{Client, Query};
use super::super::duration;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::members::Members;
use super::super::output::{Format, Out, shown};
use super::Id;

const HEADER: [&str; 6] = ["ATTEMPT", "TIME", "DURATION", "STATUS", "ERROR", "BODY"];

pub fn run(id: Id, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&id.path(""), &Query::new())?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => table(&text, client, out)?,
    }
    Ok(Exit::Ok)
}

fn table(text: &str, client: &Client, out: &mut Out) -> Result<(), Failure> {
    let letter: DeadLetterAnswer = client.parse(text)?;
    let Members(members) = client.parse(text)?;
    let of_table = members.into_iter().filter(|(name, _)| name != "history");
    let pairs = of_table.map(|(name, value)| Ok((name, shown(value)?))).collect::<std::io::Result<Vec<_>>>()?;
    out.pairs(&pairs)?;
    out.line("")?;
    out.table(&HEADER, &letter.history.iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

fn row(attempt: &AttemptBody) -> Vec<String> {
    vec![
        attempt.number.to_string(),
        attempt.time.clone(),
        duration::show(attempt.duration_ms),
        attempt.status.map(|status| status.to_string()).unwrap_or_default(),
        attempt.error.clone(),
        attempt.body.clone().unwrap_or_default(),
    ]
}
