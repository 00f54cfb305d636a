//! Quipu side by side with its peers: the same payloads, the same concurrency, on one machine, in turn.
//!
//! `quipu-bench run` measures and writes the raw results, `quipu-bench report` makes the tables and the chart of them.
//! `scripts/bench` does both, and installs the peers before.

mod chart;
mod disk;
mod payload;
mod peer;
mod process;
mod report;
mod results;
mod row;
mod run;
mod setting;
mod statistics;
mod workload;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Quipu side by side with its peers, on one machine and by the same clients")]
struct Arguments {
    #[command(subcommand)]
    command: Operation,
}

#[derive(Subcommand)]
enum Operation {
    /// Measures, and writes the raw results to a file
    Run(run::Options),
    /// Makes the tables and the chart of raw results
    Report(report::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Operation::Run(options) => run::run(&options),
        Operation::Report(options) => report::report(&options),
    }
}
