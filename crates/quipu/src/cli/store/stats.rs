//! `quipu store stats`.

use std::path::PathBuf;

use clap::Args;
use quipu_api::StatsAnswer;

use super::super::Global;
use super::super::client::Query;
use super::super::event::client;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::folder::{TENANT_DEFAULT, open_existing};
use super::super::output::{Format, Out};

#[derive(Debug, Args)]
pub struct Stats {
    /// A data folder that no server uses; without it the server is asked
    folder: Option<PathBuf>,
    /// A tenant of the folder
    #[arg(long, default_value = TENANT_DEFAULT, requires = "folder")]
    tenant: String,
}

pub fn run(stats: &Stats, global: &Global, out: &mut Out) -> Outcome {
    let answer: StatsAnswer = match &stats.folder {
        None => client(global)?.parsed("/v1/stats", &Query::new())?,
        Some(folder) => {
            let quipu = open_existing(folder, &stats.tenant)?;
            let answer = of_folder(&quipu.stats()?, quipu.position());
            quipu.close()?;
            answer
        }
    };
    let answer = serde_json::to_string(&answer).map_err(|error| Failure::failed(error.to_string()))?;
    match out.format {
        Format::Table => out.members(&answer)?,
        Format::Json | Format::Ndjson => out.json(&answer)?,
    }
    Ok(Exit::Ok)
}

/// As the server would say it.
fn of_folder(stats: &quipu::Stats, position: u64) -> StatsAnswer {
    StatsAnswer {
        events: stats.events,
        commits: stats.commits,
        streams: stats.streams,
        position,
        segments: stats.segments,
        log_bytes: stats.log_bytes,
        index_bytes: stats.index_bytes,
        snapshot_bytes: stats.snapshot_bytes,
        oldest: stats.oldest.map(|time| time.to_string()),
        newest: stats.newest.map(|time| time.to_string()),
    }
}
