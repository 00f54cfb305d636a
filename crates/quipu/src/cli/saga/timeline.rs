//! `quipu saga timeline`: what made an instance what it is.

use quipu_api::saga::{TimelineAnswer, TimelineLine};

use super::super::client::{Client, Query};
use super::super::count::counted;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::instance::Numbered;

const HEADER: [&str; 7] = ["TIME", "WHAT", "STEP", "ATTEMPT", "POSITION", "EVENT", "MORE"];

pub fn run(which: Numbered, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&which.path("/timeline"), &Query::new())?;
    let timeline: TimelineAnswer = client.parse(&text)?;
    match out.format {
        Format::Json => out.json(&text)?,
        Format::Ndjson => timeline.entries.iter().try_for_each(|entry| out.document(entry))?,
        Format::Table => {
            out.table(&HEADER, &timeline.entries.iter().map(row).collect::<Vec<_>>())?;
            out.flush()?;
            if timeline.skipped > 0 {
                eprintln!("{} between the first and the last were not kept", counted(timeline.skipped, "entry"));
            }
        }
    }
    Ok(Exit::Ok)
}

fn row(entry: &TimelineLine) -> Vec<String> {
    let event = entry.sent.as_ref().or(entry.event.as_ref());
    let until = entry.until_time.as_ref().map(|time| format!("until {time}"));
    let operation = entry.operation.map(|number| format!("operation {number}"));
    let more: Vec<String> = [until, operation, entry.text.clone()].into_iter().flatten().collect();
    let step = if entry.iteration > 0 { format!("{}#{}", entry.step, entry.iteration) } else { entry.step.clone() };
    vec![
        entry.time.clone(),
        entry.what.clone(),
        step,
        entry.attempt.map(|attempt| attempt.to_string()).unwrap_or_default(),
        event.map(|event| event.position.to_string()).unwrap_or_default(),
        event.map(|event| event.kind.clone()).unwrap_or_default(),
        more.join(", "),
    ]
}
