//! `quipu store export`: all events as JSON lines, with position, stream version and recorded time.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use quipu::Filter;

use super::super::Global;
use super::super::client::Query;
use super::super::event::{client, lines};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::folder::{TENANT_DEFAULT, open_existing};
use super::super::output::Out;
use super::super::progress::Progress;

#[derive(Debug, Args)]
pub struct Export {
    /// A data folder that no server uses; without it the server is asked
    folder: Option<PathBuf>,
    /// A tenant of the folder
    #[arg(long, default_value = TENANT_DEFAULT, requires = "folder")]
    tenant: String,
    /// Write to this file, which must not exist, instead of standard output
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub fn run(export: &Export, global: &Global, out: &mut Out) -> Outcome {
    let written = match &export.to {
        None => write(export, global, out)?,
        Some(path) => {
            let failed = |error: io::Error| Failure::file("write", path.display(), &error);
            let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
            let mut to = Kept { to: BufWriter::with_capacity(256 * 1024, file), error: None };
            let written = write(export, global, &mut to);
            if let Some(error) = to.error {
                return Err(failed(error));
            }
            let written = written?;
            to.to.flush().and_then(|()| to.to.get_ref().sync_all()).map_err(failed)?;
            written
        }
    };
    eprintln!("{written} events exported");
    Ok(Exit::Ok)
}

fn write(export: &Export, global: &Global, to: &mut dyn Write) -> Result<u64, Failure> {
    match &export.folder {
        Some(folder) => of_folder(folder, &export.tenant, to),
        None => lines(&client(global)?, "/v1/events", &Query::new(), None, None, to),
    }
}

fn of_folder(folder: &Path, tenant: &str, to: &mut dyn Write) -> Result<u64, Failure> {
    let quipu = open_existing(folder, tenant)?;
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

/// Keeps the error of a file apart from one of standard output, for which a broken pipe is no error.
struct Kept<W> {
    to: W,
    error: Option<io::Error>,
}

impl<W: Write> Write for Kept<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.error = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
