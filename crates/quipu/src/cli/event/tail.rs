//! `quipu event tail`: follows events by server-sent events. A connection that breaks is made anew from the last id,
//! so the output has no gap and no repeat.

use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use clap::Args;
use quipu_api::MEDIA_SSE;
use serde_json::Value;

use super::super::client::{Client, Get};
use super::super::exit::{Exit, Failure, Outcome};
use super::super::filter::FilterFlags;
use super::super::output::{Format, Out};
use super::super::sse;
use super::list::row;

/// First pause before connecting again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);

#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    filter: FilterFlags,
    /// Where to begin: start, end, or the position of the first event
    #[arg(long, default_value = "end")]
    from: String,
    /// End after so many events
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// What has been followed so far.
struct Followed {
    last_id: Option<String>,
    events: u64,
}

pub fn run(tail: &Tail, client: &Client, out: &mut Out) -> Outcome {
    let mut query = tail.filter.query();
    query.push(("from", tail.from.clone()));
    let mut followed = Followed { last_id: None, events: 0 };
    let mut pause = PAUSE;
    let mut was_connected = false;
    loop {
        let mut headers = vec![("accept", MEDIA_SSE)];
        if let Some(id) = &followed.last_id {
            headers.push(("last-event-id", id));
        }
        let connected = client.get(&Get { path: "/v1/tail", query: &query, headers: &headers });
        let failure = match connected {
            Ok(answer) => {
                if was_connected {
                    eprintln!("connected again to {}", client.url);
                }
                (was_connected, pause) = (true, PAUSE);
                let mut reader = BufReader::new(answer.into_body().into_reader());
                match follow(&mut reader, &mut followed, tail.limit, out)? {
                    Ended::Limit => return Ok(Exit::Ok),
                    Ended::Connection => format!("the connection to {} ended", client.url),
                }
            }
            // The server went away for a while: that is what connecting again is for. At the first attempt, or if it
            // refuses, waiting would help nobody.
            Err(Failure::Said { exit: Exit::Unreachable, message }) if was_connected => message,
            Err(failure) => return Err(failure),
        };
        eprintln!("{failure}; trying again in {} ms", pause.as_millis());
        thread::sleep(pause);
        pause = PAUSE_MAX.min(pause * 2);
    }
}

enum Ended {
    Limit,
    Connection,
}

/// Prints messages until the connection ends. Only standard output can fail here: what fails on the connection is
/// its end.
fn follow(
    reader: &mut impl BufRead,
    followed: &mut Followed,
    limit: Option<u64>,
    out: &mut Out,
) -> Result<Ended, Failure> {
    while let Ok(Some(data)) = sse::next(reader, &mut followed.last_id) {
        print(&data, out)?;
        // Each event is shown when it is there, not when a buffer is full.
        out.flush()?;
        followed.events += 1;
        if limit.is_some_and(|limit| followed.events >= limit) {
            return Ok(Ended::Limit);
        }
    }
    Ok(Ended::Connection)
}

/// A tail has no end, so `json` is one document a line as well.
fn print(data: &str, out: &mut Out) -> Result<(), Failure> {
    match (out.format, serde_json::from_str::<Value>(data)) {
        (Format::Table, Ok(event)) => {
            let [position, time, kind, subject, version, id] = <[String; 6]>::try_from(row(&event)).unwrap_or_default();
            let stream = if version.is_empty() { subject } else { format!("{subject} v{version}") };
            let line = format!("{position:>8}  {time}  {kind:32}  {stream:28}  {id}");
            out.line(&super::super::output::escape(line.trim_end()))?;
        }
        _ => out.line(data)?,
    }
    Ok(())
}
