//! `quipu pattern …`: what can be asked about patterns without a server.

mod cases;
mod test;

use clap::Subcommand;

use super::exit::Outcome;
use super::output::Out;

#[derive(Debug, Subcommand)]
pub enum PatternCommand {
    /// Test a pattern against an event, or many cases from a file; needs no server
    Test(test::Test),
}

pub fn run(command: PatternCommand, out: &mut Out) -> Outcome {
    match command {
        PatternCommand::Test(test) => test::run(&test, out),
    }
}
