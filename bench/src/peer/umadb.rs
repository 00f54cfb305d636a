//! UmaDB: the server in its PyPI package, and the client of its own.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use tokio::sync::RwLock;
use umadb_client::{AsyncUmaDbClient, UmaDbClient};
use umadb_dcb::{DcbAppendCondition, DcbError, DcbEvent, DcbEventStoreAsync as _, DcbQuery, DcbQueryItem};

use crate::payload::{Event, number_of};
use crate::peer::{Answer, Client, Outcome, Place, Seen, Server, until_ready};
use crate::process::{Process, Running, free_port};

/// A running server.
pub struct Uma {
    running: Running,
    uri: String,
}

impl Uma {
    /// Starts one on a free port.
    pub async fn start(place: Place) -> Result<Self> {
        let library = place.peers.join("umadb");
        let python = || {
            let mut command = Command::new("python3");
            command.env("PYTHONPATH", &library).arg(library.join("bin/umadb"));
            command
        };
        let said = python().arg("--version").output().context("umadb --version")?;
        let version = String::from_utf8_lossy(&said.stdout).trim().rsplit(' ').next().unwrap_or_default().to_owned();
        let address = format!("127.0.0.1:{}", free_port()?);
        let data = place.folder.join("data");
        std::fs::create_dir(&data)?;
        let mut command = python();
        command.args(["--listen", &address, "--db-path"]).arg(data.join("uma.db")).current_dir(&place.folder);
        let mut process = Process::start(command, &place.folder, Signal::TERM)?;
        let uri = format!("http://{address}");
        until_ready(&mut process, &place.folder, || async { Ok(connect(&uri).await?.head().await?) }).await?;
        let running = Running { version, data, processes: vec![process] };
        Ok(Self { running, uri })
    }
}

async fn connect(uri: &str) -> Result<AsyncUmaDbClient> {
    Ok(UmaDbClient::new(uri.to_owned()).connect_async().await?)
}

impl Server for Uma {
    fn running(&self) -> &Running {
        &self.running
    }

    fn client(&self) -> Answer<'_, Arc<dyn Client>> {
        Box::pin(async move {
            let client = RwLock::new(Arc::new(connect(&self.uri).await?));
            Ok(Arc::new(Connection { client, uri: self.uri.clone() }) as Arc<dyn Client>)
        })
    }

    fn prepare_consumer(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn consume(&self, _: u64) -> Answer<'_, ()> {
        Box::pin(async { anyhow::bail!("there are no acknowledgements") })
    }

    fn follow(&self, count: u64, mut seen: Seen) -> Answer<'_, Answer<'static, ()>> {
        Box::pin(async move {
            let client = connect(&self.uri).await?;
            let mut subscription = client.subscribe(None, None).await?;
            Ok(Box::pin(async move {
                // The subscription ends with its client.
                let _client = client;
                let mut left = count;
                while left > 0 {
                    for event in subscription.next_batch().await? {
                        seen(number_of(&event.event.data).context("an event with its number")?, Instant::now());
                        left -= 1;
                    }
                }
                Ok(())
            }) as Answer<'static, ()>)
        })
    }

    fn replay(&self, count: u64) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let client = connect(&self.uri).await?;
            let mut events = client.read(None, None, false, None).await?;
            let (mut read, mut bytes) = (0, 0);
            while read < count {
                let batch = events.next_batch().await?;
                anyhow::ensure!(!batch.is_empty(), "expected {count} events, found {read}");
                read += batch.len() as u64;
                bytes += batch.iter().map(|event| event.event.data.len() as u64).sum::<u64>();
            }
            Ok(Some(bytes))
        })
    }
}

/// Requests of many tasks go over one connection without waiting for each other.
struct Connection {
    client: RwLock<Arc<AsyncUmaDbClient>>,
    uri: String,
}

impl Connection {
    async fn client(&self) -> Arc<AsyncUmaDbClient> {
        Arc::clone(&*self.client.read().await)
    }

    async fn reconnect(&self) -> Result<()> {
        *self.client.write().await = Arc::new(connect(&self.uri).await?);
        Ok(())
    }
}

fn tag(event: &Event) -> String {
    format!("order:{}", event.stream)
}

fn made(event: &Event) -> DcbEvent {
    DcbEvent {
        event_type: "order.placed".to_owned(),
        tags: vec![tag(event)],
        data: event.data.to_vec(),
        uuid: None,
        metadata: Vec::new(),
    }
}

/// A refusal repeats the event that is in the way in the head of the answer. With one of 4 KB that is more than the client's
/// HTTP/2 takes: all that the client says is that the connection has failed, and after some of these it has.
fn is_broken(error: &DcbError) -> bool {
    let said = error.to_string();
    said.contains("http2 error") || said.contains("connection closed")
}

impl Client for Connection {
    fn append(&self, event: Event) -> Answer<'_, ()> {
        self.batch(vec![event])
    }

    fn batch(&self, events: Vec<Event>) -> Answer<'_, ()> {
        Box::pin(async move {
            self.client().await.append(events.iter().map(made).collect(), None, None).await?;
            Ok(())
        })
    }

    fn append_at(&self, event: Event, tail: u64) -> Answer<'_, Outcome> {
        Box::pin(async move {
            let query = DcbQuery { items: vec![DcbQueryItem { types: Vec::new(), tags: vec![tag(&event)] }] };
            let after = (tail > 0).then_some(tail);
            let condition = DcbAppendCondition { fail_if_events_match: query.clone(), after };
            let client = self.client().await;
            match client.append(vec![made(&event)], Some(condition), None).await {
                Ok(position) => return Ok(Outcome::Appended(position)),
                Err(DcbError::IntegrityError(_)) => {}
                Err(error) if is_broken(&error) => self.reconnect().await?,
                Err(error) => return Err(error.into()),
            }
            let mut last = self.client().await.read(Some(query), None, true, Some(1)).await?;
            let found = last.next_batch().await?;
            Ok(Outcome::Conflict(found.first().map_or(0, |event| event.position)))
        })
    }
}
