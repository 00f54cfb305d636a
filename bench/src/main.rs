//! Quipu side by side with its peers: the same payloads, the same concurrency, on one machine, in turn.
//!
//! `quipu-bench run` measures and writes the raw results, `quipu-bench report` makes the tables and the chart of them.
//! `scripts/bench` does both, and installs the peers before.

mod payload;
mod peer;
mod process;
mod results;
mod run;
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
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Operation::Run(options) => run::run(&options),
    }
}
