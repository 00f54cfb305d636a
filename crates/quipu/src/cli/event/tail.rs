//! `quipu event tail`: follows events by server-sent events. A connection that breaks is made anew from the last id,
//! so the output has no gap and no repeat.

use std::io::{self, BufRead, BufReader};
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
use super::Resolve;
use super::list::row;

/// First pause before connecting again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// A server gives a sign of life every 15 seconds. After three of them have not come there is no connection any more,
/// whatever TCP believes: a router between forgot it, or the other machine is gone.
pub const SILENCE_MAX: Duration = Duration::from_secs(45);

#[derive(Debug, Args)]
pub struct Tail {
    #[command(flatten)]
    filter: FilterFlags,
    /// Where to begin: start, end, or the position of the first event
    #[arg(long, default_value = "end")]
    from: String,
    #[command(flatten)]
    resolve: Resolve,
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
    query.extend(tail.resolve.pair());
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
                    Ended::Silence => format!("{} gave no sign of life for too long", client.url),
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
    Silence,
}

/// Prints messages until the connection ends. Only standard output can fail here: what fails on the connection is
/// its end.
fn follow(
    reader: &mut impl BufRead,
    followed: &mut Followed,
    limit: Option<u64>,
    out: &mut Out,
) -> Result<Ended, Failure> {
    loop {
        let data = match sse::next(reader, &mut followed.last_id) {
            Ok(Some(data)) => data,
            Ok(None) => return Ok(Ended::Connection),
            Err(error) if is_silence(&error) => return Ok(Ended::Silence),
            Err(_) => return Ok(Ended::Connection),
        };
        print(&data, out)?;
        // Each event is shown when it is there, not when a buffer is full.
        out.flush()?;
        followed.events += 1;
        if limit.is_some_and(|limit| followed.events >= limit) {
            return Ok(Ended::Limit);
        }
    }
}

fn is_silence(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(inner, Some(ureq::Error::Timeout(_))) || error.kind() == io::ErrorKind::TimedOut
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use clap::Parser as _;
    use quipu::client_tls::ClientTls;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        tail: Tail,
    }

    /// Answers a request with a tail that begins so; its head, and the connection, which stays.
    fn answer(listener: &TcpListener, begin: &str) -> (String, TcpStream) {
        let mut stream = listener.accept().unwrap().0;
        let mut head = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while reader.read_line(&mut head).unwrap() > 2 {}
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        stream.write_all(format!("{answer}{begin}").as_bytes()).unwrap();
        (head, stream)
    }

    #[test]
    fn a_connection_that_has_fallen_silent_is_made_anew_from_the_last_id() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            // Both stay open: only its silence tells that the first is gone.
            let first = answer(&listener, "id: 1\ndata: {}\n\n");
            let second = answer(&listener, "id: 2\ndata: {}\n\n");
            [first, second].map(|(head, _stream)| head.to_ascii_lowercase())
        });
        let Line { tail } = Line::parse_from(["tail", "--limit", "2"]);
        let client = Client::of_talker(url, None, &ClientTls::default(), Duration::from_millis(100));
        assert_eq!(run(&tail, &client, &mut Out::new(Format::Ndjson)).unwrap(), Exit::Ok);
        let [first, second] = server.join().unwrap();
        assert!(!first.contains("last-event-id"), "{first}");
        assert!(second.contains("last-event-id: 1\r\n"), "{second}");
    }
}
