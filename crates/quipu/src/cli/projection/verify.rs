//! `quipu projection verify` and `verdicts`: whether a read model is what the log says.

use clap::Args;
use quipu_api::verification::{
    ProgressBody, VerdictBody, VerdictOutcome, VerdictRowBody, VerdictTableBody, VerdictsAnswer, VerificationLine,
};
use serde_json::{Map, Value};

use super::super::client::{Client, Query, document, encode, refused};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, escape, text};
use super::super::progress::Progress;
use super::Named;

const TABLES: [&str; 5] = ["TABLE", "EQUAL", "ROWS", "REBUILT ROWS", "DIFFERING"];
const VERDICTS: [&str; 7] = ["NUMBER", "OUTCOME", "ASKED", "BY", "RELEASE", "POSITION", "AGAINST"];

#[derive(Debug, Args)]
pub struct Verify {
    #[command(flatten)]
    which: Named,
    /// Hold it against this baseline; against the live read model without it
    #[arg(long, value_name = "BASELINE")]
    baseline: Option<String>,
}

impl Verify {
    /// Against the live read model.
    pub fn of(name: String) -> Self {
        Self { which: Named::of(name), baseline: None }
    }
}

pub fn run(verify: &Verify, client: &Client, out: &mut Out) -> Outcome {
    let query = verify.baseline.as_ref().map(|name| format!("?baseline={}", encode(name))).unwrap_or_default();
    let answer = client.post(&verify.which.path(&format!("/verify{query}")), "application/json", &[])?;
    let mut progress = Progress::of_events(None);
    let mut is_tracing = false;
    for line in client.lines(answer) {
        let line: VerificationLine = client.parse(&line?)?;
        if let Some(ProgressBody { position, end, tracing, .. }) = line.progress {
            if tracing && !is_tracing {
                progress.finish();
                progress = Progress::of_events(None);
                progress.say("some rows differ: reading the log once more for the events that made them");
                is_tracing = true;
            }
            progress.at_events(position, end);
        }
        if let Some(problem) = line.error {
            progress.finish();
            return Err(refused(&problem));
        }
        if let Some(verdict) = line.verdict {
            progress.finish();
            return tell(&verdict, out);
        }
    }
    progress.finish();
    Err(Failure::new(Exit::Unreachable, "the answer broke off before the verdict"))
}

fn tell(verdict: &VerdictBody, out: &mut Out) -> Outcome {
    let exit = match verdict.outcome {
        VerdictOutcome::Equal => Exit::Ok,
        VerdictOutcome::Differs | VerdictOutcome::Stopped => Exit::Failed,
        VerdictOutcome::Tampered => Exit::Damaged,
    };
    match out.format {
        Format::Json => out.json(&String::from_utf8_lossy(&document(verdict)?))?,
        Format::Ndjson => out.document(verdict)?,
        Format::Table => {
            if !verdict.tables.is_empty() {
                out.table(&TABLES, &verdict.tables.iter().map(table).collect::<Vec<_>>())?;
            }
            verdict.rows.iter().try_for_each(|row| out.line(&line(row)))?;
            out.flush()?;
            eprintln!("{}", sentence(verdict));
        }
    }
    Ok(exit)
}

fn sentence(verdict: &VerdictBody) -> String {
    let VerdictBody { number, projection, position, .. } = verdict;
    let against = match &verdict.baseline {
        Some(name) => format!("the baseline {name}"),
        None => "the live read model".to_owned(),
    };
    let problem = escape(verdict.problem.as_deref().unwrap_or_default());
    match verdict.outcome {
        VerdictOutcome::Equal => format!("verdict {number}: {projection} is equal to {against} at position {position}"),
        VerdictOutcome::Differs => {
            format!("verdict {number}: {projection} differs from {against} at position {position}")
        }
        VerdictOutcome::Tampered => {
            format!(
                "verdict {number}: the log is what was written up to position {position}, and no further: {problem}"
            )
        }
        VerdictOutcome::Stopped => format!("verdict {number}: {projection} cannot be rebuilt: {problem}"),
    }
}

fn table(table: &VerdictTableBody) -> Vec<String> {
    let rows = |of: &Option<quipu_api::projection::TableDigestBody>| {
        of.as_ref().map_or("-".to_owned(), |of| of.rows.to_string())
    };
    let differing = table.differing.map_or("-".to_owned(), |differing| differing.to_string());
    vec![table.table.clone(), table.equal.to_string(), rows(&table.kept), rows(&table.rebuilt), differing]
}

fn line(row: &VerdictRowBody) -> String {
    let pairs = |row: &Map<String, Value>| {
        row.iter().map(|(column, value)| format!("{column}={}", text(value))).collect::<Vec<_>>().join(" ")
    };
    let VerdictRowBody { table, key, kept, rebuilt, since } = row;
    let key = pairs(key);
    let since = match since {
        Some(since) => format!("since position {}, {}", since.position, escape(&since.kind)),
        None => "no event changed it".to_owned(),
    };
    match (kept, rebuilt) {
        (Some(kept), Some(rebuilt)) => format!("{table} {key}: {}, rebuilt {}; {since}", pairs(kept), pairs(rebuilt)),
        (Some(_), None) => format!("{table} {key}: not there when rebuilt; {since}"),
        (None, _) => format!("{table} {key}: only there when rebuilt; {since}"),
    }
}

pub fn verdicts(which: &Named, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&which.path("/verdicts"), &Query::new())?;
    let answer: VerdictsAnswer = client.parse(&text)?;
    match out.format {
        Format::Json => out.json(&text)?,
        Format::Ndjson => answer.verdicts.iter().try_for_each(|verdict| out.document(verdict))?,
        Format::Table => out.table(&VERDICTS, &answer.verdicts.iter().map(verdict_row).collect::<Vec<_>>())?,
    }
    Ok(Exit::Ok)
}

fn verdict_row(verdict: &VerdictBody) -> Vec<String> {
    let outcome = match verdict.outcome {
        VerdictOutcome::Equal => "equal",
        VerdictOutcome::Differs => "differs",
        VerdictOutcome::Tampered => "tampered",
        VerdictOutcome::Stopped => "stopped",
    };
    vec![
        verdict.number.to_string(),
        outcome.to_owned(),
        verdict.asked.clone(),
        verdict.by.clone(),
        verdict.release.to_string(),
        verdict.position.to_string(),
        verdict.baseline.clone().unwrap_or_else(|| "live".to_owned()),
    ]
}
