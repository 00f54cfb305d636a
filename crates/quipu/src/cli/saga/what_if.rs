//! `quipu saga what-if`: which instances would have ended otherwise if the saga had been another.

use clap::Args;
use quipu_api::saga::read_saga;
use quipu_api::what_if::{WhatIfAnswer, WhatIfBody, WhatIfRequest};
use quipu_domain::StartAt;
use quipu_domain::saga::InstanceState;

use super::super::client::Client;
use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::whole;
use super::super::output::{Format, Out, escape};
use super::super::subscription::start::start_at;

const HEADER: [&str; 7] = ["VERDICT", "NUMBER", "KEY", "WAS", "WOULD BE", "STEP", "WHY"];

#[derive(Debug, Args)]
pub struct WhatIf {
    /// The changed saga, YAML or JSON; - for standard input
    file: String,
    /// Which events, FROM..UNTIL: each beginning, now, a position or a time
    #[arg(long, value_name = "RANGE", value_parser = range, default_value = "beginning..now")]
    over: Range,
}

/// The first event and the last.
#[derive(Clone, Debug)]
struct Range {
    from: StartAt,
    until: StartAt,
}

fn range(text: &str) -> Result<Range, String> {
    let expected = || "expected FROM..UNTIL, such as 1..500 or 2026-01-01T00:00:00Z..now".to_owned();
    let (from, until) = text.split_once("..").ok_or_else(expected)?;
    Ok(Range { from: start_at(from)?, until: start_at(until)? })
}

pub fn run(what_if: WhatIf, client: &Client, out: &mut Out) -> Outcome {
    let WhatIf { file, over: Range { from, until } } = what_if;
    let saga = read_saga(&whole(&file)?).map_err(|problem| Failure::usage(format!("{file}: {}", problem.detail)))?;
    let declaration = serde_json::value::to_raw_value(&saga)
        .map_err(|error| Failure::failed(format!("cannot write the request: {error}")))?;
    let text = client.send("/v1/saga-what-if", &WhatIfRequest { declaration, from, until })?;
    let answer: WhatIfAnswer = client.parse(&text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => show(&answer, out)?,
    }
    Ok(if answer.is_same() { Exit::Ok } else { Exit::Failed })
}

fn show(answer: &WhatIfAnswer, out: &mut Out) -> Result<(), Failure> {
    if !answer.differences.is_empty() {
        out.table(&HEADER, &answer.differences.iter().map(row).collect::<Vec<_>>())?;
    }
    let WhatIfAnswer { from, until, until_time, same, open, .. } = answer;
    out.line(&format!("positions {from} to {until}, time up to {until_time}"))?;
    out.line(&format!("{} would be the same, {open} open in both", counted(*same, "instance")))?;
    for (count, what) in [
        (answer.otherwise, "would end otherwise or do something else"),
        (answer.only_new, "would be there, and were not"),
        (answer.only_old, "were there, and would not be"),
        (answer.unknown, "nobody knows of: it depends on what never happened, or is not remembered"),
        (answer.intervened, "differ, and somebody intervened"),
        (answer.before, "began before the range: nothing is said about them"),
        (answer.left_out, "were too many or took too much: nothing is said about them"),
    ] {
        if count > 0 {
            out.line(&format!("{count} {what}"))?;
        }
    }
    Ok(())
}

fn row(one: &WhatIfBody) -> Vec<String> {
    let word = |word: Option<InstanceState>| word.map_or(String::new(), |word| word.as_str().to_owned());
    vec![
        one.verdict.as_str().to_owned(),
        one.number.map(|number| number.to_string()).unwrap_or_default(),
        escape(&one.key),
        word(one.was),
        word(one.would_be),
        one.step.clone().unwrap_or_default(),
        one.why.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_two_ends() {
        let found = range("3..2026-01-01T00:00:00Z").unwrap();
        assert_eq!(found.from, StartAt::Position(3));
        assert_eq!(found.until, StartAt::Time("2026-01-01T00:00:00Z".into()));
        assert_eq!(range("beginning..now").unwrap().until, StartAt::Now);
        for wrong in ["", "3", "3..", "..3", "a..b"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
