//! `quipu tenant export`: all events of a tenant, as they come from the server.

use std::io::{BufRead as _, BufReader, Write};
use std::path::PathBuf;

use clap::Args;
use quipu_api::{MEDIA_LINES, POSITION_HEADER};

use super::super::client::{Client, Get, Query};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::output::Out;
use super::super::progress::Progress;
use super::super::store::Partial;
use super::Named;

#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    which: Named,
    /// Write to this file, which must not exist, instead of standard output; it is there once it is whole
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub fn run(export: &Export, client: &Client, out: &mut Out) -> Outcome {
    let events = match &export.to {
        None => write(export, client, out)?,
        Some(path) => Partial::write(path, |file| write(export, client, file))?,
    };
    eprintln!("{events} events exported");
    Ok(Exit::Ok)
}

fn write(export: &Export, client: &Client, to: &mut dyn Write) -> Result<u64, Failure> {
    let path = export.which.path("/export");
    let answer = client.get(&Get { path: &path, query: &Query::new(), headers: &[("accept", MEDIA_LINES)] })?;
    let all = answer.headers().get(POSITION_HEADER).and_then(|value| value.to_str().ok());
    let all: u64 = all.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Failure::failed(format!("expected the header {POSITION_HEADER} from {}, found none", client.url))
    })?;
    let mut progress = match export.to {
        Some(_) => Progress::of_events(Some(all)),
        None => Progress::beside_output(Some(all)),
    };
    let mut reader = BufReader::with_capacity(64 * 1024, answer.into_body().into_reader());
    let (mut line, mut events, mut bytes) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(|error| client.broken_off(&error))? == 0 {
            break;
        }
        to.write_all(&line)?;
        events += 1;
        bytes += line.len() as u64;
        if events % 1_000 == 0 {
            progress.at(bytes, events);
        }
    }
    progress.finish();
    to.flush()?;
    match events == all {
        true => Ok(events),
        false => Err(Failure::failed(format!("expected {all} events, found {events}: the export is not whole"))),
    }
}
