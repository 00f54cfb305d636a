//! `quipu schedule …`: events that are published again and again. Declarations come from files, so that they live in a repository.

mod apply;
mod list;

use clap::{Args, Subcommand};
use quipu_api::request::ScheduleRequest;
use quipu_api::schedule::{RemovedSchedule, ScheduleBody, ScheduleWord};

use super::Global;
use super::client::{Client, Query, encode};
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::{Format, Out};
use super::paging::Paged;

#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Declare a schedule, or change it
    Apply(apply::Apply),
    /// List schedules, each with its next tick
    List(Paged),
    /// Show a schedule, its last tick and why it stands still, if it does
    Show(Named),
    /// Print ticks to come: of a schedule, or of a file without declaring it
    Next(apply::Next),
    /// Publish nothing until it is resumed
    Pause(Named),
    /// Let it go on with its first tick after now
    Resume(Named),
    /// Remove a schedule; what it has published stays
    Remove(Named),
}

/// Which schedule.
#[derive(Debug, Args)]
pub struct Named {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

/// The route of one.
fn path(name: &str) -> String {
    format!("/v1/schedules/{}", encode(name))
}

/// The same, and what is asked.
fn asking(name: &str, asked: ScheduleRequest) -> String {
    let path = format!("{}?{}", path(name), asked.to_query());
    path.trim_end_matches('?').to_owned()
}

pub fn run(command: ScheduleCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        ScheduleCommand::Apply(apply) => apply::run(&apply, &client, out),
        ScheduleCommand::List(list) => list::run(list, &client, out),
        ScheduleCommand::Show(which) => show(&which.name, &client, out),
        ScheduleCommand::Next(next) => apply::next(&next, &client, out),
        ScheduleCommand::Pause(which) => act(&which.name, "pause", &client, out),
        ScheduleCommand::Resume(which) => act(&which.name, "resume", &client, out),
        ScheduleCommand::Remove(which) => remove(&which.name, &client, out),
    }
}

fn show(name: &str, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&path(name), &Query::new())?;
    client.parse::<ScheduleBody>(&text)?;
    out.object(&text)?;
    Ok(Exit::Ok)
}

fn act(name: &str, word: &str, client: &Client, out: &mut Out) -> Outcome {
    let text = client.act(&format!("{}/{word}", path(name)))?;
    let now: ScheduleBody = client.parse(&text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&sentence(&now))?,
    }
    Ok(Exit::Ok)
}

fn sentence(now: &ScheduleBody) -> String {
    let name = &now.name;
    match (now.state, now.next_ticks.first()) {
        (ScheduleWord::Paused, _) => format!("schedule {name} is paused"),
        (_, Some(next)) => format!("schedule {name} ticks next at {next}"),
        (state, None) => format!("schedule {name} is {}", state.as_str()),
    }
}

fn remove(name: &str, client: &Client, out: &mut Out) -> Outcome {
    let text = client.delete(&path(name))?;
    let RemovedSchedule { removed } = client.parse(&text)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("schedule {removed} was removed"))?,
    }
    Ok(Exit::Ok)
}
