//! `quipu store export`: all events as JSON lines, with position, stream version and recorded time.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use quipu::{Filter, Quipu};

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
        Some(path) => {
            let mut file = Partial::begin(path)?;
            let written = write(export, global, &mut file);
            // An error of the file says more than what the writing made of it.
            file.check()?;
            let written = written?;
            file.finish()?;
            written
        }
    };
    eprintln!("{written} events exported");
    Ok(Exit::Ok)
}

fn write(export: &Export, global: &Global, to: &mut dyn Write) -> Result<u64, Failure> {
    match &export.folder {
        Some(folder) => of_folder(open_existing(folder, &export.tenant, &export.settings)?, to),
        None => {
            export.settings.refuse()?;
            lines(&client(global)?, "/v1/events", &Query::new(), None, None, to)
        }
    }
}

fn of_folder(quipu: Quipu, to: &mut dyn Write) -> Result<u64, Failure> {
    let mut progress = Progress::new(None);
    let (mut events, mut bytes) = (0, 0);
    let mut line = Vec::new();
    for recorded in quipu.events(Filter::default()) {
        line.clear();
        recorded?.write_json(&mut line);
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
