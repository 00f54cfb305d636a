//! `quipu timer …`: one file a verb. Events that are published later.

mod cancel;
mod list;
mod set;

pub use set::waits_for;

use clap::{Args, Subcommand};
use quipu_api::timer::TimerBody;

use super::Global;
use super::client::{Client, Query};
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::Out;
use super::paging::Paged;

#[derive(Debug, Subcommand)]
pub enum TimerCommand {
    /// Publish an event at a time or after a while
    Set(Box<set::Set>),
    /// List timers that wait, those first that fire first
    List(Paged),
    /// Show a timer and its event
    Show(Number),
    /// Cancel a timer, by its number or its key
    Cancel(cancel::Cancel),
}

/// Which timer.
#[derive(Clone, Copy, Debug, Args)]
pub struct Number {
    /// Its number
    number: u64,
}

pub fn run(command: TimerCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        TimerCommand::Set(set) => set::run(*set, &client, out),
        TimerCommand::List(list) => list::run(list, &client, out),
        TimerCommand::Show(number) => show(number, &client, out),
        TimerCommand::Cancel(cancel) => cancel::run(&cancel, &client, out),
    }
}

fn show(Number { number }: Number, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(&format!("/v1/timers/{number}"), &Query::new())?;
    client.parse::<TimerBody>(&text)?;
    out.object(&text)?;
    Ok(Exit::Ok)
}
