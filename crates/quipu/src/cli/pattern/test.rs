//! `quipu pattern test`: one pattern against one event, or a file of cases.

use clap::Args;
use quipu_api::{PatternTestAnswer, Problem};
use quipu_domain::{Explanation, Pattern};

use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::whole;
use super::super::output::{Format, Out, escape};
use super::cases;

#[derive(Debug, Args)]
pub struct Test {
    /// The pattern: a file, or the JSON itself
    #[arg(long, value_name = "FILE|JSON", requires = "event", required_unless_present = "cases")]
    pattern: Option<String>,
    /// The event, any JSON object: a file, - for standard input, or the JSON itself
    #[arg(long, value_name = "FILE|JSON", requires = "pattern")]
    event: Option<String>,
    /// Lines of {"pattern": …, "event": …, "match": true or false}: says which differ; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pattern", "event"])]
    cases: Option<String>,
}

pub fn run(test: &Test, out: &mut Out) -> Outcome {
    match (&test.pattern, &test.event, &test.cases) {
        (Some(pattern), Some(event), _) => one(pattern, event, out),
        (.., Some(cases)) => cases::run(cases, out),
        _ => Err(Failure::usage("expected --pattern with --event, or --cases")),
    }
}

fn one(pattern: &str, event: &str, out: &mut Out) -> Outcome {
    let (pattern, event) = (text("pattern", pattern)?, text("event", event)?);
    let explanation = explain(&pattern, event.as_bytes())
        .map_err(|problem| Failure::failed(format!("{} [{}]", escape(&problem.detail), problem.code)))?;
    let is_match = explanation == Explanation::Match;
    match out.format {
        Format::Json | Format::Ndjson => out.document(&PatternTestAnswer::from(explanation))?,
        Format::Table => match explanation {
            Explanation::Match => out.line("matches")?,
            Explanation::Mismatch(failures) => {
                out.line("does not match")?;
                failures.iter().try_for_each(|failure| out.line(&escape(&failure.to_string())))?;
            }
        },
    }
    Ok(if is_match { Exit::Ok } else { Exit::Failed })
}

/// What a pattern says to an event, in the words of the API where one of them is none.
pub fn explain(pattern: &str, event: &[u8]) -> Result<Explanation, Problem> {
    Ok(Pattern::parse(pattern)?.explain(event)?)
}

/// An argument that is JSON, or the file that it names.
fn text(what: &str, argument: &str) -> Result<String, Failure> {
    if argument.trim_start().starts_with('{') {
        return Ok(argument.to_owned());
    }
    String::from_utf8(whole(argument)?)
        .map_err(|error| Failure::failed(format!("expected UTF-8 in the {what}, found {error}")))
}
