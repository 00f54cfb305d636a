//! `quipu pattern test --cases`: lines that say of a pattern and an event whether they match; those that are wrong are
//! named. A line that cannot be read differs, too: nobody should take a file for tested that is not.

use quipu_api::{PatternTestAnswer, Problem};
use quipu_domain::Explanation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::exit::{Exit, Outcome};
use super::super::input::{Input, Item};
use super::super::output::{Format, Out, escape};
use super::test::explain;

/// One line. Other members are for whoever keeps the file.
#[derive(Deserialize)]
struct Case<'a> {
    #[serde(borrow)]
    pattern: &'a RawValue,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(rename = "match")]
    is_match: bool,
}

/// A line that says something else than the matcher.
#[derive(Serialize)]
struct Difference {
    line: u64,
    /// What the line says, if it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<bool>,
    #[serde(flatten)]
    found: Answer,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Tested(PatternTestAnswer),
    Refused { error: Problem },
}

/// What came of a file.
#[derive(Serialize)]
struct Summary {
    cases: u64,
    differ: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<Difference>>,
}

pub fn run(file: &str, out: &mut Out) -> Outcome {
    let mut input = Input::open(file)?;
    let mut summary = Summary { cases: 0, differ: 0, differences: (out.format == Format::Json).then(Vec::new) };
    while let Some(item) = input.next()? {
        summary.cases += 1;
        let Some((difference, said)) = differs(&item) else { continue };
        summary.differ += 1;
        match (out.format, &mut summary.differences) {
            (Format::Ndjson, _) => out.document(&difference)?,
            (Format::Json, Some(differences)) => differences.push(difference),
            _ => out.line(&escape(&format!("line {}: {said}", difference.line)))?,
        }
    }
    match out.format {
        Format::Table => out.line(&format!("{} cases, {} differ", summary.cases, summary.differ))?,
        Format::Json | Format::Ndjson => out.document(&summary)?,
    }
    Ok(if summary.differ == 0 { Exit::Ok } else { Exit::Failed })
}

/// What is wrong with a line, for programs and for people; nothing if it is right.
fn differs(item: &Item) -> Option<(Difference, String)> {
    let line = item.number;
    let case: Case<'_> = match serde_json::from_slice(&item.json) {
        Ok(case) => case,
        Err(error) => {
            let detail = format!("expected an object with pattern, event and match, found {error}");
            let error = Problem::pointer("", &detail);
            return Some((Difference { line, expected: None, found: Answer::Refused { error } }, detail));
        }
    };
    let wanted = if case.is_match { "a match" } else { "no match" };
    let (found, said) = match explain(case.pattern.get(), case.event.get().as_bytes()) {
        Ok(explanation) if (explanation == Explanation::Match) == case.is_match => return None,
        Ok(Explanation::Match) => (Answer::Tested(Explanation::Match.into()), "a match".to_owned()),
        Ok(mismatch) => {
            let said = mismatch.to_string();
            (Answer::Tested(mismatch.into()), format!("none: {said}"))
        }
        Err(error) => {
            let said = format!("{} [{}]", error.detail, error.code);
            (Answer::Refused { error }, said)
        }
    };
    let said = format!("expected {wanted}, found {said}");
    Some((Difference { line, expected: Some(case.is_match), found }, said))
}
