//! `quipu store stats`.

use std::path::PathBuf;

use clap::Args;
use quipu_api::StatsAnswer;

use super::super::Global;
use super::super::client::Query;
use super::super::config::Settings;
use super::super::event::client;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::folder::{TENANT_DEFAULT, open_existing};
use super::super::output::Out;

#[derive(Debug, Args)]
pub struct Stats {
    /// A data folder that no server uses; without it the server is asked
    folder: Option<PathBuf>,
    /// A tenant of the folder
    #[arg(long, default_value = TENANT_DEFAULT, requires = "folder")]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

pub fn run(stats: &Stats, global: &Global, out: &mut Out) -> Outcome {
    let answer: StatsAnswer = match &stats.folder {
        None => {
            stats.settings.refuse()?;
            client(global)?.parsed("/v1/stats", &Query::new())?
        }
        Some(folder) => {
            let quipu = open_existing(folder, &stats.tenant, &stats.settings)?;
            let answer = quipu_server::stats_answer(&quipu.stats()?, quipu.position());
            quipu.close()?;
            answer
        }
    };
    let answer = serde_json::to_string(&answer).map_err(|error| Failure::failed(error.to_string()))?;
    out.object(&answer)?;
    Ok(Exit::Ok)
}
