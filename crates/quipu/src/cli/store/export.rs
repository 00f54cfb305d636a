//! `quipu store export`: all events as JSON lines, with position, stream version and recorded time. What is exported is
//! to be imported, so there is no other form, and data that is kept beside the log stands in its event.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quipu::{Filter, Quipu};
use quipu_api::StatsAnswer;

use super::super::Global;
use super::super::client::Query;
use super::super::config::Settings;
use super::super::event::{client, lines};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::folder::{TENANT_DEFAULT, open_existing};
use super::super::output::Out;
use super::super::progress::Progress;
use super::partial::Partial;

#[derive(Debug, Args)]
pub struct Export {
    /// A data folder that no server uses; without it the server is asked
    folder: Option<PathBuf>,
    /// A tenant of the folder
    #[arg(long, default_value = TENANT_DEFAULT, requires = "folder")]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
    /// Write to this file, which must not exist, instead of standard output; it is there once it is whole
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub fn run(export: &Export, global: &Global, out: &mut Out) -> Outcome {
    let written = match &export.to {
        None => write(export, global, out)?,
        Some(path) => Partial::write(path, |file| write(export, global, file))?,
    };
    eprintln!("{written} events exported");
    Ok(Exit::Ok)
}

fn write(export: &Export, global: &Global, to: &mut dyn Write) -> Result<u64, Failure> {
    match &export.folder {
        Some(folder) => of_folder(open_existing(folder, &export.tenant, &export.settings)?, export, to),
        None => {
            export.settings.refuse()?;
            let client = client(global)?;
            let stats: StatsAnswer = client.parsed("/v1/stats", &Query::new())?;
            let query = vec![("data", "resolved".to_owned())];
            lines(&client, &query, None, None, &mut progress(export, stats.events), to)
        }
    }
}

fn progress(export: &Export, events: u64) -> Progress {
    match export.to {
        Some(_) => Progress::of_events(Some(events)),
        None => Progress::beside_output(Some(events)),
    }
}

fn of_folder(quipu: Quipu, export: &Export, to: &mut dyn Write) -> Result<u64, Failure> {
    let mut progress = progress(export, quipu.stats()?.events);
    let (mut events, mut bytes) = (0, 0);
    let mut line = Vec::new();
    for recorded in quipu.events(Filter::default()) {
        line.clear();
        quipu.resolve(recorded?)?.write_json(&mut line);
        line.push(b'\n');
        to.write_all(&line)?;
        events += 1;
        bytes += line.len() as u64;
        if events % 1_000 == 0 {
            progress.at(bytes, events);
        }
    }
    progress.finish();
    quipu.close()?;
    Ok(events)
}
