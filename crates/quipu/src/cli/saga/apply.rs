//! `quipu saga apply`, `quipu rule apply` and `quipu expect apply`: a declaration from a file, and what was found in it.

use clap::Args;
use quipu_api::Problem;
use quipu_api::request::ApplyRequest;
use quipu_api::saga::{AppliedSaga, FindingLevel, SagaFinding, read_expectation, read_rule, read_saga};
use serde_json::Value;

use super::super::client::{Client, refused};
use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::whole;
use super::super::output::{Format, Out, escape};
use super::Kind;

#[derive(Debug, Args)]
pub struct Apply {
    /// A declaration, YAML or JSON; - for standard input
    file: String,
    /// Say what was found, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Refuse what is only warned of, too
    #[arg(long)]
    strict: bool,
}

pub fn run(apply: &Apply, kind: Kind, client: &Client, out: &mut Out) -> Outcome {
    let (name, declaration) = read(&apply.file, kind)?;
    let asked = ApplyRequest { is_dry_run: apply.dry_run, is_strict: apply.strict };
    let path = format!("{}?{}", kind.path(&name), asked.to_query());
    let (status, text) = client.placed(path.trim_end_matches('?'), &declaration)?;
    if status >= 400 {
        return refuse(&client.parse(&text)?, out);
    }
    let applied: AppliedSaga = client.parse(&text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => {
            applied.findings.iter().try_for_each(|finding| out.line(&line(finding)))?;
            let (word, version) = (kind.word(), applied.version);
            let warned = match applied.findings.len() {
                0 => String::new(),
                count => format!(", with {}", counted(count as u64, "warning")),
            };
            out.line(&match applied.outcome.as_str() {
                "valid" => format!("{word} {name} can be applied as version {version}{warned}"),
                "known" => format!("{word} {name} is version {version} as it was declared: nothing was changed"),
                _ => format!("{word} {name} is version {version}{warned}: what begins from now on goes by it"),
            })?;
        }
    }
    Ok(Exit::Ok)
}

/// Its name, since the route is made of it, and what is sent.
fn read(file: &str, kind: Kind) -> Result<(String, Value), Failure> {
    let document = whole(file)?;
    let usage = |problem: Problem| Failure::usage(format!("{file}: {}", problem.detail));
    let (name, declaration) = match kind {
        Kind::Saga => read_saga(&document).map(|saga| (saga.saga.clone(), serde_json::to_value(saga))),
        Kind::Rule => read_rule(&document).map(|rule| (rule.rule.clone(), serde_json::to_value(rule))),
        Kind::Expectation => read_expectation(&document).map(|one| (one.expect.clone(), serde_json::to_value(one))),
    }
    .map_err(usage)?;
    let declaration = declaration.map_err(|error| Failure::failed(format!("cannot write the request: {error}")))?;
    Ok((name, declaration))
}

/// What was found stands on standard output: it is what was asked for.
fn refuse(problem: &Value, out: &mut Out) -> Outcome {
    let findings: Option<Vec<SagaFinding>> = serde_json::from_value(problem["findings"].clone()).ok();
    let Some(findings) = findings else { return Err(refused(problem)) };
    match out.format {
        Format::Json | Format::Ndjson => out.document(problem)?,
        Format::Table => findings.iter().try_for_each(|finding| out.line(&line(finding)))?,
    }
    Err(Failure::failed(format!("it was not applied: {} [invalid-saga]", counted(findings.len() as u64, "finding"))))
}

fn line(SagaFinding { level, path, sentence }: &SagaFinding) -> String {
    let level = match level {
        FindingLevel::Warned => "warning",
        FindingLevel::Refused => "refused",
    };
    escape(&format!("{level}: {path}: {sentence}"))
}
