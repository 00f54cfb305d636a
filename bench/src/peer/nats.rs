//! NATS JetStream: one stream in files, a subject each stream of events.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{Context, PublishErrorKind};
use async_nats::jetstream::{self, stream};
use futures_util::StreamExt as _;
use rustix::process::Signal;

use crate::payload::{Event, number_of};
use crate::peer::{Answer, Client, Outcome, Place, Seen, Server, until_ready};
use crate::process::{Process, Running, free_port};

const STREAM: &str = "EVENTS";
const CONSUMER: &str = "bench";
/// Messages that a consumer asks for at once.
const PAGE: usize = 1_000;

/// A running server.
pub struct JetStream {
    running: Running,
    address: String,
}

impl JetStream {
    /// Starts one on a free port, with the stream in it.
    pub async fn start(place: Place, is_synced: bool) -> Result<Self> {
        let program = place.program("usr/sbin/nats-server")?;
        let (port, data) = (free_port()?, place.folder.join("data"));
        let sync = if is_synced { "sync_interval: always\n" } else { "" };
        let configuration = place.folder.join("nats.conf");
        let text =
            format!("host: 127.0.0.1\nport: {port}\njetstream {{\nstore_dir: \"{}\"\n{sync}}}\n", data.display());
        std::fs::write(&configuration, text)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&configuration).current_dir(&place.folder);
        let mut process = Process::start(command, &place.folder, Signal::TERM)?;
        let address = format!("127.0.0.1:{port}");
        let client =
            until_ready(&mut process, &place.folder, || async { Ok(async_nats::connect(&address).await?) }).await?;
        let version = client.server_info().version.clone();
        let config = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["order.>".to_owned()],
            ..stream::Config::default()
        };
        jetstream::new(client).create_stream(config).await?;
        let running = Running { version, data, processes: vec![process] };
        Ok(Self { running, address })
    }

    async fn connect(&self) -> Result<Context> {
        Ok(jetstream::new(async_nats::connect(&self.address).await?))
    }
}

/// The durable consumer, and its messages.
async fn listen(context: Context) -> Result<(PullConsumer, pull::Stream)> {
    let consumer: PullConsumer = context.get_consumer_from_stream(CONSUMER, STREAM).await?;
    let messages = consumer.stream().max_messages_per_batch(PAGE).messages().await?;
    Ok((consumer, messages))
}

/// Acknowledges each message; done when the server says that none is left.
async fn consume(
    (consumer, mut messages): (PullConsumer, pull::Stream),
    count: u64,
    mut seen: Option<Seen>,
) -> Result<()> {
    for _ in 0..count {
        let message = messages.next().await.context("the server has closed")??;
        if let Some(seen) = &mut seen {
            seen(number_of(&message.payload).context("an event with its number")?, Instant::now());
        }
        message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
    }
    while consumer.get_info().await?.num_ack_pending > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

impl Server for JetStream {
    fn running(&self) -> &Running {
        &self.running
    }

    fn client(&self) -> Answer<'_, Arc<dyn Client>> {
        Box::pin(async move { Ok(Arc::new(Connection(self.connect().await?)) as Arc<dyn Client>) })
    }

    fn prepare_consumer(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let config = pull::Config {
                durable_name: Some(CONSUMER.to_owned()),
                ack_policy: AckPolicy::Explicit,
                max_ack_pending: 10_000,
                ..pull::Config::default()
            };
            self.connect().await?.create_consumer_on_stream(config, STREAM).await?;
            Ok(())
        })
    }

    fn consume(&self, count: u64) -> Answer<'_, ()> {
        Box::pin(async move { consume(listen(self.connect().await?).await?, count, None).await })
    }

    fn follow(&self, count: u64, seen: Seen) -> Answer<'_, Answer<'static, ()>> {
        Box::pin(async move {
            let listening = listen(self.connect().await?).await?;
            Ok(Box::pin(consume(listening, count, Some(seen))) as Answer<'static, ()>)
        })
    }

    fn replay(&self, count: u64) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let stream = self.connect().await?.get_stream(STREAM).await?;
            let config = pull::OrderedConfig::default();
            let mut messages = stream.create_consumer(config).await?.messages().await?;
            let mut bytes = 0;
            for _ in 0..count {
                bytes += messages.next().await.context("the server has closed")??.payload.len() as u64;
            }
            Ok(Some(bytes))
        })
    }
}

struct Connection(Context);

fn subject(event: &Event) -> String {
    format!("order.{}", event.stream)
}

impl Client for Connection {
    fn append(&self, event: Event) -> Answer<'_, ()> {
        Box::pin(async move {
            self.0.publish(subject(&event), event.data).await?.await?;
            Ok(())
        })
    }

    /// All are published, then all acknowledgements awaited: an atomic batch took ten times as long.
    fn batch(&self, events: Vec<Event>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut stored = Vec::with_capacity(events.len());
            for event in events {
                stored.push(self.0.publish(subject(&event), event.data).await?);
            }
            for stored in stored {
                stored.await?;
            }
            Ok(())
        })
    }

    fn append_at(&self, event: Event, tail: u64) -> Answer<'_, Outcome> {
        Box::pin(async move {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", tail.to_string());
            match self.0.publish_with_headers(subject(&event), headers, event.data).await?.await {
                Ok(stored) => Ok(Outcome::Appended(stored.sequence)),
                Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                    // "wrong last sequence: 17": the text is all that says which it is.
                    let said = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    let behind = said.split("sequence: ").nth(1).unwrap_or_default();
                    let digits = behind.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
                    Ok(Outcome::Conflict(digits.parse().with_context(|| said.clone())?))
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
