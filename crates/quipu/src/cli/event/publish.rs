//! `quipu event publish`: from a file, standard input, or flags that describe one event.

use clap::Args;
use quipu::{Event, SystemClock, SystemRandom, Value};
use quipu_api::{MEDIA_EVENT, PublishAnswer, PublishResult};
use quipu_engine::{Clock as _, DELIVER_AT};

use super::super::bulk::{self, Target};
use super::super::client::Client;
use super::super::duration;
use super::super::exit::{Exit, Failure, Outcome};
use super::super::input::Input;
use super::super::output::{Format, Out};
use super::super::timer::waits_for;

#[derive(Debug, Args)]
pub struct Publish {
    /// NDJSON or JSON (one object or an array); - for standard input
    #[arg(required_unless_present = "kind", conflicts_with = "kind")]
    file: Option<String>,
    /// When it is recorded (RFC 3339); until then it waits, and has no position
    #[arg(long, value_name = "TIME", requires = "kind")]
    deliver_at: Option<String>,
    /// The same, so long from now by the clock of this machine; quipu timer set goes by that of the server
    #[arg(long, value_name = "DURATION", requires = "kind", conflicts_with = "deliver_at",
        value_parser = duration::milliseconds)]
    after: Option<u64>,
    #[command(flatten)]
    single: Single,
}

/// One event from flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "One event, without a file")]
pub struct Single {
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
        None => {
            let after = publish.after.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
            let after = after.map(|ms| SystemClock.now().plus_ms(ms).to_string());
            one(&publish.single.event(publish.deliver_at.or(after))?, client, out)
        }
    }
}

fn one(event: &Event, client: &Client, out: &mut Out) -> Outcome {
    let mut body = Vec::new();
    quipu::write_event(&mut body, event, None);
    let answer: PublishAnswer = client.parse(&client.read(client.post("/v1/events", MEDIA_EVENT, &body)?)?)?;
    if out.format != Format::Table {
        out.document(&answer)?;
        return Ok(Exit::Ok);
    }
    let (what, place) = match answer.results.first() {
        Some(PublishResult::Recorded(place)) => ("recorded", place),
        Some(PublishResult::Duplicate(place)) => ("recorded before", place),
        Some(PublishResult::Scheduled(waits)) => {
            out.line(&waits_for(waits))?;
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

impl Single {
    /// The event that the flags describe; with a time, one that waits for it.
    pub fn event(self, deliver_at: Option<String>) -> Result<Event, Failure> {
        let id = self.id.unwrap_or_else(random_id);
        let mut builder = Event::builder(id, self.source.unwrap_or_default(), self.kind.unwrap_or_default());
        if let Some(subject) = self.subject {
            builder = builder.subject(subject);
        }
        if let Some(time) = self.time {
            builder = builder.time(time);
        }
        if let Some(data) = self.data {
            let parsed = serde_json::from_str::<serde::de::IgnoredAny>(&data);
            parsed.map_err(|error| Failure::usage(format!("--data: expected JSON, found {error}")))?;
            builder = builder.data_content_type("application/json").json(data);
        }
        for tag in self.tag {
            builder = builder.tag(tag);
        }
        for attribute in self.attribute {
            let Some((name, value)) = attribute.split_once('=') else {
                return Err(Failure::usage(format!("--attribute: expected NAME=VALUE, found {attribute}")));
            };
            builder = builder.attribute(name.to_owned(), Value::Text(value.to_owned().into()));
        }
        if let Some(time) = deliver_at {
            builder = builder.attribute(DELIVER_AT, Value::Text(time.into()));
        }
        builder.build().map_err(|reason| Failure::failed(reason.to_string()))
    }
}

/// 128 random bits, which do not collide.
fn random_id() -> String {
    use quipu_engine::Random as _;
    let mut bytes = [0; 16];
    SystemRandom.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}
