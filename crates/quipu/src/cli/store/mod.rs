//! `quipu store …`: a data folder as a whole. What works offline takes the folder; what a server can do as well takes
//! one only if there is no server.

mod backup;
mod check;
mod export;
mod import;
mod partial;
mod stats;

use clap::Subcommand;

pub use check::chosen;
pub use partial::{Partial, sync_folder_of};

use super::Global;
use super::exit::Outcome;
use super::output::Out;

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Verify every checksum and the hash chain of a data folder
    Check(check::Check),
    /// Count events, streams and bytes, of a server or a data folder
    Stats(stats::Stats),
    /// Write all events as JSON lines, whatever --output says, of a server or a data folder
    Export(export::Export),
    /// Record events from JSON lines, in a server or a data folder; a repeat adds nothing
    Import(import::Import),
    /// Copy a data folder consistently, also while its server runs
    Backup(backup::Backup),
}

pub fn run(command: StoreCommand, global: &Global, out: &mut Out) -> Outcome {
    match command {
        StoreCommand::Check(check) => check::run(&check, out),
        StoreCommand::Stats(stats) => stats::run(&stats, global, out),
        StoreCommand::Export(export) => export::run(&export, global, out),
        StoreCommand::Import(import) => import::run(&import, global, out),
        StoreCommand::Backup(backup) => backup::run(&backup, out),
    }
}
