//! PostgreSQL as an event store: one table with a unique stream and version, every append committed.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rustix::process::{Signal, geteuid};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Config, NoTls, Statement};

use crate::payload::{Event, number_of};
use crate::peer::{Answer, Client, Outcome, Place, Seen, Server, until_ready};
use crate::process::{Process, Running, free_port};

/// Who owns no file. The server refuses to be run by root.
const NOBODY: u32 = 65_534;
const SCHEMA: &str = "
    CREATE TABLE event (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        stream text NOT NULL, version bigint NOT NULL, id text NOT NULL UNIQUE,
        type text NOT NULL, recorded timestamptz NOT NULL DEFAULT now(), data json NOT NULL,
        UNIQUE (stream, version)
    )";
const INSERT: &str =
    "INSERT INTO event (stream, version, id, type, data) VALUES ($1, $2, $3, 'order.placed', $4::text::json)";
const INSERT_MANY: &str = "INSERT INTO event (stream, version, id, type, data)
    SELECT stream, version, id, 'order.placed', data::json
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS new (stream, version, id, data)";

/// A running server.
pub struct Postgres {
    running: Running,
    config: Config,
}

/// The folder of the newest version that is there.
fn programs(place: &Place) -> Result<PathBuf> {
    let roots = [place.peers.join("root/usr/lib/postgresql"), PathBuf::from("/usr/lib/postgresql")];
    let versions = roots.iter().flat_map(|root| std::fs::read_dir(root).into_iter().flatten().flatten());
    let usable = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    usable.max().context("expected PostgreSQL, found none: run bench/install-peers")
}

impl Postgres {
    /// Starts one on a free port, with the table in it.
    pub async fn start(place: Place) -> Result<Self> {
        let (programs, port, data) = (programs(&place)?, free_port()?.to_string(), place.folder.join("data"));
        std::fs::create_dir(&data)?;
        std::fs::set_permissions(&place.folder, std::fs::Permissions::from_mode(0o755))?;
        let program = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command.env("LD_LIBRARY_PATH", place.libraries()).current_dir(&data);
            if geteuid().is_root() {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        if geteuid().is_root() {
            chown(&data, Some(NOBODY), Some(NOBODY))?;
        }
        let mut initdb = program("initdb");
        initdb.arg("-D").arg(&data).args(["-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let output = initdb.output()?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        let mut server = program("postgres");
        server.arg("-D").arg(&data).args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-k", ""]);
        // A fast shutdown; killed, it would leave its own processes behind.
        let mut process = Process::start(server, &place.folder, Signal::INT)?;
        let mut config = Config::new();
        config.host("127.0.0.1").port(port.parse()?).user("bench").dbname("postgres");
        let client = until_ready(&mut process, &place.folder, || async { Ok(connect(&config).await?.0) }).await?;
        client.batch_execute(SCHEMA).await?;
        let version: String = client.query_one("SHOW server_version", &[]).await?.get(0);
        let version = version.split(' ').next().unwrap_or_default().to_owned();
        let running = Running { version, data, processes: vec![process] };
        Ok(Self { running, config })
    }
}

/// A connection, and what the server says without being asked.
async fn connect(config: &Config) -> Result<(tokio_postgres::Client, UnboundedReceiver<()>)> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let (notify, notified) = unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
        while let Some(Ok(message)) = messages.next().await {
            if matches!(message, AsyncMessage::Notification(_)) && notify.send(()).is_err() {
                return;
            }
        }
    });
    Ok((client, notified))
}

/// Reads what is new whenever the server says that there is something.
async fn follow(
    client: tokio_postgres::Client,
    mut notified: UnboundedReceiver<()>,
    count: u64,
    mut seen: Seen,
) -> Result<()> {
    let read = client.prepare("SELECT position, data::text FROM event WHERE position > $1 ORDER BY position").await?;
    let (mut left, mut after) = (count, 0_i64);
    while left > 0 {
        notified.recv().await.context("the server has closed")?;
        while notified.try_recv().is_ok() {}
        for row in client.query(&read, &[&after]).await? {
            after = row.get(0);
            seen(number_of(row.get::<_, &str>(1).as_bytes()).context("an event with its number")?, Instant::now());
            left -= 1;
        }
    }
    Ok(())
}

impl Server for Postgres {
    fn running(&self) -> &Running {
        &self.running
    }

    fn client(&self) -> Answer<'_, Arc<dyn Client>> {
        Box::pin(async move {
            let (client, _) = connect(&self.config).await?;
            let one = client.prepare(INSERT).await?;
            let many = client.prepare(INSERT_MANY).await?;
            let last = client.prepare("SELECT coalesce(max(version), 0) FROM event WHERE stream = $1").await?;
            Ok(Arc::new(Connection { client, one, many, last }) as Arc<dyn Client>)
        })
    }

    /// There is a single publisher when events are followed, so positions appear in order.
    fn prepare_consumer(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let (client, _) = connect(&self.config).await?;
            let notify = "
                CREATE FUNCTION notify() RETURNS trigger LANGUAGE plpgsql AS
                    $$ BEGIN PERFORM pg_notify('event', ''); RETURN NULL; END $$;
                CREATE TRIGGER notify AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION notify()";
            Ok(client.batch_execute(notify).await?)
        })
    }

    fn consume(&self, _: u64) -> Answer<'_, ()> {
        Box::pin(async { anyhow::bail!("a table has no consumers") })
    }

    fn follow(&self, count: u64, seen: Seen) -> Answer<'_, Answer<'static, ()>> {
        Box::pin(async move {
            let (client, notified) = connect(&self.config).await?;
            client.batch_execute("LISTEN event").await?;
            Ok(Box::pin(follow(client, notified, count, seen)) as Answer<'static, ()>)
        })
    }

    fn replay(&self, count: u64) -> Answer<'_, Option<u64>> {
        Box::pin(async move {
            let (client, _) = connect(&self.config).await?;
            let all = "SELECT stream, version, id, type, data::text FROM event ORDER BY position";
            let mut rows = pin!(client.query_raw::<_, &str, _>(all, []).await?);
            let (mut read, mut bytes) = (0, 0);
            while let Some(row) = rows.try_next().await? {
                bytes += row.get::<_, &str>(4).len() as u64;
                read += 1;
            }
            ensure!(read == count, "expected {count} events, found {read}");
            Ok(Some(bytes))
        })
    }
}

/// Queries of many tasks go over one connection without waiting for each other's answers.
struct Connection {
    client: tokio_postgres::Client,
    one: Statement,
    many: Statement,
    last: Statement,
}

fn stream_of(event: &Event) -> String {
    format!("order/{}", event.stream)
}

fn id_of(event: &Event) -> String {
    format!("{:016x}", event.number)
}

impl Connection {
    async fn insert(&self, event: &Event, version: u64) -> Result<(), tokio_postgres::Error> {
        let data = std::str::from_utf8(&event.data).unwrap_or_default();
        self.client.execute(&self.one, &[&stream_of(event), &(version as i64), &id_of(event), &data]).await.map(drop)
    }
}

impl Client for Connection {
    fn append(&self, event: Event) -> Answer<'_, ()> {
        Box::pin(async move { Ok(self.insert(&event, event.version).await?) })
    }

    /// One statement, one transaction.
    fn batch(&self, events: Vec<Event>) -> Answer<'_, ()> {
        Box::pin(async move {
            let streams: Vec<String> = events.iter().map(stream_of).collect();
            let versions: Vec<i64> = events.iter().map(|event| event.version as i64).collect();
            let ids: Vec<String> = events.iter().map(id_of).collect();
            let data: Vec<&str> = events.iter().flat_map(|event| std::str::from_utf8(&event.data)).collect();
            let inserted = self.client.execute(&self.many, &[&streams, &versions, &ids, &data]).await?;
            ensure!(inserted == events.len() as u64, "expected all to be inserted, found {inserted}");
            Ok(())
        })
    }

    fn append_at(&self, event: Event, tail: u64) -> Answer<'_, Outcome> {
        Box::pin(async move {
            match self.insert(&event, tail + 1).await {
                Ok(()) => Ok(Outcome::Appended(tail + 1)),
                Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                    let last: i64 = self.client.query_one(&self.last, &[&stream_of(&event)]).await?.get(0);
                    Ok(Outcome::Conflict(last as u64))
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}
