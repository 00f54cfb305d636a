//! `quipu operation watch`: asks again until the operation ends. Progress goes to standard error, the end to standard
//! output.

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use quipu_api::OperationAnswer;
use quipu_api::operation::OperationWord;
use quipu_api::replay::{ReplayBody, ReplayOutcomeWord};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, escape};
use super::Id;

/// Short enough for a person who watches, seldom enough for the server.
const PAUSE: Duration = Duration::from_millis(200);
/// A file that keeps standard error gets a line this often.
const SAID_AGAIN: Duration = Duration::from_secs(10);

/// The operation when it has ended.
pub fn watch(id: u64, client: &Client) -> Result<OperationAnswer, Failure> {
    let is_terminal = io::stderr().is_terminal();
    let mut said: Option<Instant> = None;
    loop {
        let operation: OperationAnswer = client.parsed(&Id { id }.path(""), &Query::new())?;
        match operation.state {
            OperationWord::Running => {}
            OperationWord::Previewed => {
                let why = format!("operation {id} is only previewed, and does not begin before it is confirmed");
                return Err(Failure::failed(why));
            }
            OperationWord::Finished | OperationWord::Cancelled => {
                if is_terminal && said.is_some() {
                    eprintln!("\r\u{1b}[K{}", progress(&operation));
                } else {
                    eprintln!("{}", progress(&operation));
                }
                return Ok(operation);
            }
        }
        if is_terminal {
            eprint!("\r\u{1b}[K{}", progress(&operation));
            said = Some(Instant::now());
        } else if said.is_none_or(|said| said.elapsed() >= SAID_AGAIN) {
            eprintln!("{}", progress(&operation));
            said = Some(Instant::now());
        }
        thread::sleep(PAUSE);
    }
}

/// How far it is, on one line.
pub fn progress(operation: &OperationAnswer) -> String {
    let OperationAnswer { id, done, total, refused, .. } = operation;
    let left = operation.remaining_seconds.map_or(String::new(), |seconds| format!(", {seconds}s left"));
    let stuck = |problem: &Option<String>| {
        problem.as_ref().map_or(String::new(), |problem| format!(", stuck: {}", escape(problem)))
    };
    let what = match &operation.replay {
        None => format!("{refused} refused{}", stuck(&operation.problem)),
        Some(replay) => {
            let rate = replay.per_second.map_or(String::new(), |rate| format!(", {rate}/s"));
            let problem = stuck(&replay.problem);
            format!("{} waiting, {} dead letters{rate}{problem}", replay.waiting, replay.dead_lettered)
        }
    };
    format!("operation {id} is {}: {done} of {total} done, {what}{left}", word(operation.state))
}

/// A word of the wire.
pub fn word(state: OperationWord) -> &'static str {
    match state {
        OperationWord::Previewed => "previewed",
        OperationWord::Running => "running",
        OperationWord::Finished => "finished",
        OperationWord::Cancelled => "cancelled",
    }
}

/// What is printed of an operation that has ended, and what the command ends with: a script must notice when not
/// everything was done.
pub fn ended(operation: &OperationAnswer, out: &mut Out) -> Outcome {
    let is_whole = operation.state == OperationWord::Finished && operation.refused == 0;
    let verdict_of = |replay: &ReplayBody| replay.verdict.as_ref().map(|verdict| verdict.outcome);
    let is_well = match &operation.replay {
        None => is_whole,
        Some(replay) => verdict_of(replay) == Some(ReplayOutcomeWord::Acknowledged),
    };
    let exit = if is_well { Exit::Ok } else { Exit::Failed };
    match out.format {
        Format::Table => {
            if let Some(said) = verdict(operation) {
                out.line(&said)?;
                return Ok(exit);
            }
            let OperationAnswer { id, done, total, refused, .. } = operation;
            let said = format!("operation {id} is {}: {done} of {total}, {refused} refused", word(operation.state));
            out.line(&said)?;
            if *refused > 0 {
                out.flush()?;
                eprintln!("quipu operation items {id} says why");
            }
        }
        Format::Json | Format::Ndjson => out.document(operation)?,
    }
    Ok(exit)
}

/// What a replay came to, as sentences.
fn verdict(operation: &OperationAnswer) -> Option<String> {
    let (id, replay) = (operation.id, operation.replay.as_ref()?);
    let verdict = replay.verdict.as_ref()?;
    let word = match verdict.outcome {
        ReplayOutcomeWord::Acknowledged => "acknowledged",
        ReplayOutcomeWord::DeadLettered => "dead letters",
        ReplayOutcomeWord::Incomplete => "incomplete",
    };
    let ReplayBody { handed, acknowledged, dead_lettered, forgotten, .. } = replay;
    let reason = verdict.reason.as_ref().map_or(String::new(), |reason| format!(": {}", escape(reason)));
    Some(format!(
        "replay {id}, {word}{reason}\n{handed} delivered, {acknowledged} acknowledged, {dead_lettered} dead letters, {forgotten} forgotten, \
         {} withdrawn, of {}\nlog before {}\nlog after  {}",
        verdict.withdrawn, operation.total, verdict.from_head, verdict.until_head
    ))
}
