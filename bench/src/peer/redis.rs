//! Redis Streams: one stream, and one stream a subject for conditional appends, whose identifiers are then the versions.

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use redis::aio::MultiplexedConnection;
use redis::{Value, cmd, pipe};
use rustix::process::Signal;

use crate::payload::{Event, number_of};
use crate::peer::{Answer, Client, Outcome, Place, Seen, Server, until_ready};
use crate::process::{Process, Running, free_port};

const STREAM: &str = "events";
const GROUP: &str = "bench";
/// Entries that are read at once.
const PAGE: usize = 1_000;

/// A running server.
pub struct Redis {
    running: Running,
    client: redis::Client,
}

impl Redis {
    /// Starts one on a free port.
    pub async fn start(place: Place, is_synced: bool) -> Result<Self> {
        let program = place.program("usr/bin/redis-server")?;
        let (port, data) = (free_port()?, place.folder.join("data"));
        std::fs::create_dir(&data)?;
        let mut command = Command::new(&program);
        command.env("LD_LIBRARY_PATH", place.libraries()).current_dir(&data);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(&data);
        if is_synced {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        let mut process = Process::start(command, &place.folder, Signal::TERM)?;
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
        let mut first = until_ready(&mut process, &place.folder, || async {
            let mut connection = client.get_multiplexed_async_connection().await?;
            cmd("PING").query_async::<()>(&mut connection).await?;
            Ok(connection)
        })
        .await?;
        let info: String = cmd("INFO").arg("server").query_async(&mut first).await?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or("unknown").to_owned();
        let running = Running { version, data, processes: vec![process] };
        Ok(Self { running, client })
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        let settings = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        Ok(self.client.get_multiplexed_async_connection_with_config(&settings).await?)
    }
}

/// What XRANGE and XREADGROUP give of an entry: its identifier, and names and values.
type Entry = (String, Vec<Vec<u8>>);

type Page = Option<Vec<(String, Vec<Entry>)>>;

/// A consumer of a group, that acknowledges each page of entries by one command and asks for the next with it.
async fn consume(mut connection: MultiplexedConnection, count: u64, mut seen: Option<Seen>) -> Result<()> {
    let mut ask = cmd("XREADGROUP");
    ask.arg("GROUP").arg(GROUP).arg("one").arg("COUNT").arg(PAGE).arg("BLOCK").arg(1_000);
    ask.arg("STREAMS").arg(STREAM).arg(">");
    let mut page: Page = ask.query_async(&mut connection).await?;
    let mut left = count;
    loop {
        let now = Instant::now();
        let entries = page.into_iter().flatten().flat_map(|(_, entries)| entries);
        let mut acknowledge = cmd("XACK");
        acknowledge.arg(STREAM).arg(GROUP);
        let mut taken = 0;
        for (id, values) in entries {
            if let Some(seen) = &mut seen {
                seen(values.last().and_then(|data| number_of(data)).context("an event with its number")?, now);
            }
            acknowledge.arg(id);
            taken += 1;
        }
        left -= taken;
        let done: u64;
        (done, page) = match (taken, left) {
            (0, _) => (0, ask.query_async(&mut connection).await?),
            (_, 0) => (acknowledge.query_async(&mut connection).await?, None),
            _ => pipe().add_command(acknowledge).add_command(ask.clone()).query_async(&mut connection).await?,
        };
        ensure!(done == taken, "expected {taken} acknowledgements to be taken, found {done}");
        if left == 0 {
            return Ok(());
        }
    }
}

impl Server for Redis {
    fn running(&self) -> &Running {
        &self.running
    }

    fn client(&self) -> Answer<'_, Arc<dyn Client>> {
        Box::pin(async move { Ok(Arc::new(Connection(self.connect().await?)) as Arc<dyn Client>) })
    }

    fn prepare_consumer(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut connection = self.connect().await?;
            let mut create = cmd("XGROUP");
            create.arg("CREATE").arg(STREAM).arg(GROUP).arg("0").arg("MKSTREAM");
            Ok(create.query_async(&mut connection).await?)
        })
    }

    fn consume(&self, count: u64) -> Answer<'_, ()> {
        Box::pin(async move { consume(self.connect().await?, count, None).await })
    }

    fn follow(&self, count: u64, seen: Seen) -> Answer<'_, Answer<'static, ()>> {
        Box::pin(async move {
            let connection = self.connect().await?;
            Ok(Box::pin(consume(connection, count, Some(seen))) as Answer<'static, ()>)
        })
    }

    fn replay(&self, count: u64) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let mut connection = self.connect().await?;
            let (mut read, mut bytes, mut after) = (0, 0, String::from("-"));
            while read < count {
                let mut ask = cmd("XRANGE");
                ask.arg(STREAM).arg(&after).arg("+").arg("COUNT").arg(PAGE);
                let page: Vec<Entry> = ask.query_async(&mut connection).await?;
                after = format!("({}", page.last().context("as many events as there should be")?.0);
                read += page.len() as u64;
                bytes += page.iter().map(|(_, values)| values.last().map_or(0, Vec::len) as u64).sum::<u64>();
            }
            Ok(Some(bytes))
        })
    }
}

/// Commands of many tasks go over one connection without waiting for each other.
struct Connection(MultiplexedConnection);

fn add(event: &Event) -> redis::Cmd {
    let mut add = cmd("XADD");
    add.arg(STREAM).arg("*").arg("data").arg(&event.data[..]);
    add
}

impl Client for Connection {
    fn append(&self, event: Event) -> Answer<'_, ()> {
        let mut connection = self.0.clone();
        Box::pin(async move { Ok(add(&event).query_async(&mut connection).await?) })
    }

    /// A transaction, sent at once.
    fn batch(&self, events: Vec<Event>) -> Answer<'_, ()> {
        let mut connection = self.0.clone();
        Box::pin(async move {
            let mut all = pipe();
            all.atomic();
            for event in &events {
                all.add_command(add(event)).ignore();
            }
            Ok(all.query_async(&mut connection).await?)
        })
    }

    /// The identifier is the version; one that is not above the last is refused.
    fn append_at(&self, event: Event, tail: u64) -> Answer<'_, Outcome> {
        let mut connection = self.0.clone();
        Box::pin(async move {
            let stream = format!("order:{}", event.stream);
            let mut add = cmd("XADD");
            add.arg(&stream).arg(format!("{}-0", tail + 1)).arg("data").arg(&event.data[..]);
            match add.query_async::<Value>(&mut connection).await {
                Ok(_) => Ok(Outcome::Appended(tail + 1)),
                Err(error) if error.to_string().contains("equal or smaller") => {
                    let mut last = cmd("XREVRANGE");
                    last.arg(&stream).arg("+").arg("-").arg("COUNT").arg(1);
                    let found: Vec<Entry> = last.query_async(&mut connection).await?;
                    let (id, _) = found.first().context("the entry that was faster")?;
                    Ok(Outcome::Conflict(id.split('-').next().unwrap_or_default().parse()?))
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
