//! `quipu event publish`: from a file, standard input, or flags that describe one event.

use clap::Args;
use quipu::{Event, SystemRandom, Value};
use quipu_api::{MEDIA_EVENT, PublishAnswer, PublishResult, Scheduled};

use super::super::bulk::{self, Target};
use super::super::client::Client;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::Input;
use super::super::output::{Format, Out};

#[derive(Debug, Args)]
pub struct Publish {
    /// NDJSON or JSON (one object or an array); - for standard input
    #[arg(required_unless_present = "kind", conflicts_with = "kind")]
    file: Option<String>,
    #[command(flatten)]
    single: Single,
}

/// One event from flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "One event, without a file")]
struct Single {
    /// What happened, such as order.placed
    #[arg(long = "type", value_name = "TYPE", requires = "source")]
    kind: Option<String>,
    /// Who says so, such as /shop
    #[arg(long, requires = "kind")]
    source: Option<String>,
    /// Its id; random if not given, and then a repeat is a second event
    #[arg(long, requires = "kind")]
    id: Option<String>,
    /// The stream it belongs to, such as order/17
    #[arg(long, requires = "kind")]
    subject: Option<String>,
    /// Its data, JSON
    #[arg(long, value_name = "JSON", requires = "kind")]
    data: Option<String>,
    /// A tag; may be given several times
    #[arg(long, value_name = "KEY:VALUE", requires = "kind")]
    tag: Vec<String>,
    /// When it happened (RFC 3339)
    #[arg(long, requires = "kind")]
    time: Option<String>,
    /// Another attribute, such as correlationid=c1; may be given several times
    #[arg(long, value_name = "NAME=VALUE", requires = "kind")]
    attribute: Vec<String>,
}

pub fn run(publish: Publish, client: &Client, out: &mut Out) -> Outcome {
    match publish.file {
        Some(file) => bulk::load(Input::open(&file)?, &Target::Server(client), Some, out),
        None => one(publish.single, client, out),
    }
}

fn one(single: Single, client: &Client, out: &mut Out) -> Outcome {
    let event = event(single)?;
    let mut body = Vec::new();
    quipu::write_event(&mut body, &event, None);
    let answer: PublishAnswer = client.parse(&client.read(client.post("/v1/events", MEDIA_EVENT, &body)?)?)?;
    if out.format != Format::Table {
        out.document(&answer)?;
        return Ok(Exit::Ok);
    }
    let (what, place) = match answer.results.first() {
        Some(PublishResult::Recorded(place)) => ("recorded", place),
        Some(PublishResult::Duplicate(place)) => ("recorded before", place),
        Some(PublishResult::Scheduled(Scheduled { timer, due, duplicate })) => {
            let again = if *duplicate { ", as before" } else { "" };
            out.line(&format!("timer {timer} publishes it at {due}{again}"))?;
            return Ok(Exit::Ok);
        }
        other => return Err(Failure::failed(format!("{}: expected one result, found {other:?}", client.url))),
    };
    let stream = match (event.subject(), place.stream_version) {
        (Some(subject), Some(version)) => format!(", version {version} of {subject}"),
        _ => String::new(),
    };
    out.line(&format!("{what} at position {}{stream}", place.position))?;
    Ok(Exit::Ok)
}

fn event(single: Single) -> Result<Event, Failure> {
    let id = single.id.unwrap_or_else(random_id);
    let mut builder = Event::builder(id, single.source.unwrap_or_default(), single.kind.unwrap_or_default());
    if let Some(subject) = single.subject {
        builder = builder.subject(subject);
    }
    if let Some(time) = single.time {
        builder = builder.time(time);
    }
    if let Some(data) = single.data {
        let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&data);
        parsed.map_err(|error| Failure::usage(format!("--data: expected JSON, found {error}")))?;
        builder = builder.data_content_type("application/json").json(data);
    }
    for tag in single.tag {
        builder = builder.tag(tag);
    }
    for attribute in single.attribute {
        let Some((name, value)) = attribute.split_once('=') else {
            return Err(Failure::usage(format!("--attribute: expected NAME=VALUE, found {attribute}")));
        };
        builder = builder.attribute(name.to_owned(), Value::Text(value.to_owned().into()));
    }
    builder.build().map_err(|reason| Failure::failed(reason.to_string()))
}

/// 128 random bits, which do not collide.
fn random_id() -> String {
    use quipu_engine::Random as _;
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
