//! `quipu schedule apply` and `quipu schedule next`: a declaration from a file, and ticks to come.

use clap::Args;
use quipu_api::Problem;
use quipu_api::request::ScheduleRequest;
use quipu_api::schedule::{AppliedScheduleAnswer, ScheduleBody, TICKS_TOLD_MAX, read_schedule};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::whole;
use super::super::output::{Format, Out};
use super::{asking, path, sentence};

#[derive(Debug, Args)]
pub struct Apply {
    /// A declaration, YAML or JSON; - for standard input
    file: String,
    /// Say whether it can be applied and when its ticks are, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Next {
    /// Its name
    #[arg(value_name = "NAME", required_unless_present = "file", conflicts_with = "file")]
    name: Option<String>,
    /// A declaration that need not be applied, YAML or JSON; - for standard input
    #[arg(long)]
    file: Option<String>,
    /// How many, at most 100
    #[arg(long, default_value = "5", value_parser = clap::value_parser!(u16).range(1..=TICKS_TOLD_MAX as i64))]
    count: u16,
}

pub fn run(apply: &Apply, client: &Client, out: &mut Out) -> Outcome {
    let (name, text) = put(&apply.file, apply.dry_run, None, client)?;
    let applied: AppliedScheduleAnswer = client.parse(&text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => {
            let version = applied.version;
            out.line(&match applied.outcome.as_str() {
                "valid" => format!("schedule {name} can be applied as version {version}"),
                "known" => format!("schedule {name} is declared already, as version {version}"),
                _ => format!("schedule {name} is declared as version {version}"),
            })?;
            lines(&applied.next_ticks, out)?;
        }
    }
    Ok(Exit::Ok)
}

/// The name of the declaration, and what was answered.
fn put(file: &str, is_dry_run: bool, ticks: Option<usize>, client: &Client) -> Result<(String, String), Failure> {
    let usage = |problem: Problem| Failure::usage(format!("{file}: {}", problem.detail));
    let schedule = read_schedule(&whole(file)?).map_err(usage)?;
    let text = client.put(&asking(&schedule.name, ScheduleRequest { ticks, is_dry_run }), &schedule)?;
    Ok((schedule.name, text))
}

pub fn next(next: &Next, client: &Client, out: &mut Out) -> Outcome {
    let ticks = Some(usize::from(next.count));
    if let Some(file) = &next.file {
        let (_, text) = put(file, true, ticks, client)?;
        return told(&client.parse::<AppliedScheduleAnswer>(&text)?.next_ticks, out);
    }
    let name = next.name.as_deref().unwrap_or_default();
    let query: Query = vec![("ticks", next.count.to_string())];
    let one: ScheduleBody = client.parsed(&path(name), &query)?;
    if one.next_ticks.is_empty() && out.format == Format::Table {
        out.line(&sentence(&one))?;
    }
    told(&one.next_ticks, out)
}

fn told(ticks: &[String], out: &mut Out) -> Outcome {
    match out.format {
        Format::Json => out.document(&ticks)?,
        Format::Ndjson => ticks.iter().try_for_each(|tick| out.document(tick))?,
        Format::Table => lines(ticks, out)?,
    }
    Ok(Exit::Ok)
}

fn lines(ticks: &[String], out: &mut Out) -> Result<(), Failure> {
    ticks.iter().try_for_each(|tick| out.line(tick)).map_err(Into::into)
}
