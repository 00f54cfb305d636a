//! Quipu: `quipu serve` as it comes. Single appends go over a WebSocket or over HTTP, everything else over what the reference
//! names for it. The connections are in the two files beside; nothing of the product's own code is used.

mod http;
mod socket;

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Mutex;

use crate::payload::{Event, number_of};
use crate::peer::{Answer, Client, Outcome, Place, Seen, Server, until_ready};
use crate::process::{Process, Running, free_port};

use http::Http;
use socket::{Publisher, Socket};

const SUBSCRIPTION: &str = "bench";
/// Deliveries that a consumer has at once, all together.
const CREDITS: u32 = 1_024;

/// What single appends go over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appends {
    /// One connection for all that is in flight.
    WebSocket,
    /// One request an event.
    Http,
}

/// A running server.
pub struct Quipu {
    running: Running,
    address: String,
    appends: Appends,
}

impl Quipu {
    /// Starts one on a free port.
    pub async fn start(place: Place, appends: Appends) -> Result<Self> {
        let said = Command::new(&place.quipu).arg("--version").output().context("quipu --version")?;
        let version = String::from_utf8_lossy(&said.stdout).trim().trim_start_matches("quipu ").to_owned();
        let address = format!("127.0.0.1:{}", free_port()?);
        let data = place.folder.join("data");
        let mut command = Command::new(&place.quipu);
        command.arg("serve").arg("--data").arg(&data).args(["--listen", &address]).current_dir(&place.folder);
        let mut process = Process::start(command, &place.folder, Signal::INT)?;
        until_ready(&mut process, &place.folder, || async {
            Http::connect(&address).await?.get("/health/ready").await.map(drop)
        })
        .await?;
        let running = Running { version, data, processes: vec![process] };
        Ok(Self { running, address, appends })
    }
}

/// One event as it is sent: its envelope around the JSON.
fn write_event(out: &mut String, event: &Event) {
    use std::fmt::Write as _;
    let data = std::str::from_utf8(&event.data).unwrap_or_default();
    let Event { stream, number, .. } = event;
    let _ = write!(
        out,
        "{{\"specversion\":\"1.0\",\"id\":\"{number:016x}\",\"source\":\"/bench\",\"type\":\"order.placed\",\
         \"subject\":\"order/{stream}\",\"data\":{data}}}"
    );
}

/// An event as it is delivered.
#[derive(Deserialize)]
pub struct Delivered<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

/// A frame of deliveries.
#[derive(Deserialize)]
struct Deliveries<'a> {
    #[serde(borrow)]
    deliveries: Page<'a>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    deliveries: Vec<Item<'a>>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    event: Delivered<'a>,
    delivery: Handle<'a>,
}

#[derive(Deserialize)]
struct Handle<'a> {
    position: u64,
    token: &'a str,
}

/// A durable consumer on one socket, that acknowledges each frame of deliveries by one frame of answers.
async fn consume(mut socket: Socket, count: u64, mut seen: Option<Seen>) -> Result<()> {
    use std::fmt::Write as _;
    let (mut acknowledged, mut text) = (0, String::new());
    while acknowledged < count {
        let frame = socket.next().await?;
        if frame.starts_with("{\"deliveries\"") {
            let frame: Deliveries<'_> = serde_json::from_str(&frame)?;
            let now = Instant::now();
            text.clear();
            let _ = write!(text, "{{\"answer\":{{\"subscription\":\"{SUBSCRIPTION}\",\"answers\":[");
            for (i, item) in frame.deliveries.deliveries.iter().enumerate() {
                if let Some(seen) = &mut seen {
                    seen(number_of(item.event.data.get().as_bytes()).context("an event with its number")?, now);
                }
                let Handle { position, token } = item.delivery;
                let comma = if i == 0 { "" } else { "," };
                let _ = write!(text, "{comma}{{\"position\":{position},\"token\":\"{token}\",\"outcome\":\"ack\"}}");
            }
            let _ = write!(text, "],\"credits\":{}}}}}", frame.deliveries.deliveries.len());
            socket.send(text.clone()).await?;
        } else if frame.starts_with("{\"answered\"") {
            let frame: Answered = serde_json::from_str(&frame)?;
            ensure!(
                frame.answered.refused == 0,
                "expected acknowledgements to be taken, found {} refused",
                frame.answered.refused
            );
            acknowledged += frame.answered.done;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Answered {
    answered: Sums,
}

#[derive(Deserialize)]
struct Sums {
    done: u64,
    refused: u64,
}

impl Server for Quipu {
    fn running(&self) -> &Running {
        &self.running
    }

    fn client(&self) -> Answer<'_, Arc<dyn Client>> {
        Box::pin(async move {
            let single = match self.appends {
                Appends::WebSocket => Single::OneByOne(Box::new(Mutex::new(Socket::connect(&self.address).await?))),
                Appends::Http => Single::Http,
            };
            self.connect(single).await
        })
    }

    fn pipe(&self) -> Answer<'_, Option<Arc<dyn Client>>> {
        Box::pin(async {
            match self.appends {
                Appends::WebSocket => {
                    self.connect(Single::Pipe(Publisher::connect(&self.address).await?)).await.map(Some)
                }
                Appends::Http => Ok(None),
            }
        })
    }

    fn prepare_consumer(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let http = Http::connect(&self.address).await?;
            let body = format!("{{\"name\":\"{SUBSCRIPTION}\",\"start\":\"beginning\",\"maxinflight\":10000}}");
            let (status, answer) = http.post("/v1/subscriptions", "application/json", body).await?;
            ensure!(status == 201, "expected a subscription, found {status}: {}", String::from_utf8_lossy(&answer));
            Ok(())
        })
    }

    fn consume(&self, count: u64) -> Answer<'_, ()> {
        Box::pin(async move { consume(self.consumer().await?, count, None).await })
    }

    fn follow(&self, count: u64, seen: Seen) -> Answer<'_, Answer<'static, ()>> {
        Box::pin(async move {
            let socket = self.consumer().await?;
            Ok(Box::pin(consume(socket, count, Some(seen))) as Answer<'static, ()>)
        })
    }

    fn replay(&self, count: u64) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let mut socket = Socket::connect(&self.address).await?;
            socket.send("{\"subscribe\":{\"from\":\"start\"}}".to_owned()).await?;
            let (mut left, mut bytes) = (count, 0);
            while left > 0 {
                let frame = socket.next().await?;
                if frame.starts_with("{\"specversion\"") {
                    bytes += serde_json::from_str::<Delivered<'_>>(&frame)?.data.get().len() as u64;
                    left -= 1;
                }
            }
            Ok(Some(bytes))
        })
    }
}

impl Quipu {
    async fn connect(&self, single: Single) -> Result<Arc<dyn Client>> {
        Ok(Arc::new(Connection { http: Http::connect(&self.address).await?, single }))
    }

    async fn consumer(&self) -> Result<Socket> {
        let mut socket = Socket::connect(&self.address).await?;
        socket.send(format!("{{\"consume\":{{\"subscription\":\"{SUBSCRIPTION}\",\"credits\":{CREDITS}}}}}")).await?;
        let first = socket.next().await?;
        ensure!(first.starts_with("{\"consuming\""), "expected to consume, found {first}");
        Ok(socket)
    }
}

/// By which way single events go.
enum Single {
    Http,
    OneByOne(Box<Mutex<Socket>>),
    Pipe(Publisher),
}

struct Connection {
    http: Http,
    single: Single,
}

#[derive(Deserialize)]
struct Refused {
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    actual: u64,
}

impl Client for Connection {
    fn append(&self, event: Event) -> Answer<'_, ()> {
        let mut text = String::with_capacity(event.data.len() + 160);
        write_event(&mut text, &event);
        match &self.single {
            Single::OneByOne(socket) => Box::pin(async move { socket.lock().await.publish(text).await }),
            Single::Pipe(publisher) => Box::pin(publisher.publish(text)),
            Single::Http => Box::pin(async move {
                let (_, answer) = self.http.post("/v1/events", "application/cloudevents+json", text).await?;
                ensure!(answer.starts_with(b"{\"recorded\":1,"), "{}", String::from_utf8_lossy(&answer));
                Ok(())
            }),
        }
    }

    fn batch(&self, events: Vec<Event>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut text = String::with_capacity(events.iter().map(|event| event.data.len() + 160).sum());
            text.push_str("{\"events\":");
            for (i, event) in events.iter().enumerate() {
                text.push(if i == 0 { '[' } else { ',' });
                write_event(&mut text, event);
            }
            text.push_str("]}");
            let (status, answer) = self.http.post("/v1/append", "application/json", text).await?;
            ensure!(status == 200, "{}", String::from_utf8_lossy(&answer));
            Ok(())
        })
    }

    fn append_at(&self, event: Event, tail: u64) -> Answer<'_, Outcome> {
        Box::pin(async move {
            let mut text = String::from("{\"events\":[");
            write_event(&mut text, &event);
            let stream = event.stream;
            text.push_str(&format!("],\"conditions\":[{{\"stream\":\"order/{stream}\",\"version\":{tail}}}]}}"));
            let (status, answer) = self.http.post("/v1/append", "application/json", text).await?;
            if status == 200 {
                return Ok(Outcome::Appended(tail + 1));
            }
            ensure!(status == 409, "{}", String::from_utf8_lossy(&answer));
            let refused: Refused = serde_json::from_slice(&answer)?;
            Ok(Outcome::Conflict(refused.failures.first().context("a failed condition")?.actual))
        })
    }
}
