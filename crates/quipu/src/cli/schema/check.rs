//! `quipu schema check`: for a person before registering, and for CI. Registers nothing.

use clap::Args;
use quipu_api::schema::{BreakAnswer, CompatibilityAnswer, CounterExampleAnswer, StoredAnswer};

use super::super::client::Client;
use super::super::count::counted;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::{Format, Out, escape};
use super::proposal::Proposal;
use super::sarif;

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    proposal: Proposal,
    /// Print what breaks as SARIF 2.1.0, whatever --output says
    #[arg(long)]
    sarif: bool,
}

pub fn run(check: Check, client: &Client, out: &mut Out) -> Outcome {
    let Check { proposal, sarif } = check;
    let read = proposal.read()?;
    let text = client.send(&proposal.which.path("/check"), &read.body)?;
    let answer: CompatibilityAnswer = client.parse(&text)?;
    if sarif {
        let file = Some(proposal.file.as_str()).filter(|file| *file != "-");
        out.document(&sarif::log(&answer, &proposal.which.kind, file, &read.text))?;
    } else if out.format == Format::Table {
        show(&answer, out)?;
    } else {
        out.json(&text)?;
    }
    Ok(if answer.compatible { Exit::Ok } else { Exit::Incompatible })
}

fn show(answer: &CompatibilityAnswer, out: &mut Out) -> Result<(), Failure> {
    out.line(&format!("{} ({})", if answer.compatible { "compatible" } else { "not compatible" }, answer.level))?;
    for found in &answer.breaks {
        let told = format!("{}, version {}, {}", found.direction, found.version, wrong(found));
        out.line(&escape(&told))?;
        if let Some(example) = counter_example(answer, found) {
            out.line(&escape(&format!("  counter-example: {}", example.data)))?;
        }
    }
    for reason in &answer.reasons {
        out.line(&escape(&format!("the rules cannot tell: {reason}")))?;
    }
    if let Some(told) = &answer.stored {
        out.line(&stored(told))?;
        for event in &told.first {
            out.line(&escape(&format!("  {}  {}", event.link, event.violation)))?;
        }
    }
    Ok(())
}

/// Data that shows a break: of the field itself if there is any, or else of the version.
pub fn counter_example<'a>(answer: &'a CompatibilityAnswer, found: &BreakAnswer) -> Option<&'a CounterExampleAnswer> {
    let of_version = || {
        let all = answer.counter_examples.iter();
        all.filter(|example| example.direction == found.direction && example.version == found.version)
    };
    of_version().find(|example| example.pointer == found.pointer).or_else(|| of_version().next())
}

/// What is wrong with a field, which the detail may name in its own way.
pub fn wrong(found: &BreakAnswer) -> String {
    let field = if found.pointer.is_empty() { "the root" } else { &found.pointer };
    let named = found.pointer.trim_start_matches('/').replace('/', ".");
    let detail = found.detail.strip_prefix(&format!("{named}: ")).unwrap_or(&found.detail);
    format!("{field}: {detail}")
}

/// What stored events say, in a few words.
pub fn stored(told: &StoredAnswer) -> String {
    let break_ = if told.breaking == 1 { "breaks" } else { "break" };
    format!("{} of {} {break_} it", told.breaking, counted(told.events, "stored event"))
}
