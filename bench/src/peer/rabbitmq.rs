//! RabbitMQ: one queue, a quorum queue or what is declared by default, and publisher confirms.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};

use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, ConnectionProperties, Consumer, PublisherConfirm};
use rustix::process::Signal;

use crate::payload::{Event, number_of};
use crate::peer::{Answer, Client, Outcome, Place, Seen, Server, until_ready};
use crate::process::{Process, Running, free_port};

const QUEUE: &str = "events";
/// Deliveries that the consumer has at once. A quorum queue allows 2,000 of one consumer on its way by default.
const PREFETCH: u16 = 2_000;

/// A running server, with the name server that it needs.
pub struct RabbitMq {
    running: Running,
    uri: String,
}

/// The folder of the scripts, which has the version in its name, and the version.
fn scripts(place: &Place) -> Result<(PathBuf, String)> {
    let folder = place.program("usr/lib/rabbitmq/lib")?;
    let entries = std::fs::read_dir(&folder)?.flatten().map(|entry| entry.path());
    let found = entries.filter(|path| path.join("sbin/rabbitmq-server").exists()).max();
    let found =
        found.with_context(|| format!("expected rabbitmq_server-VERSION in {}, found none", folder.display()))?;
    let version = found.to_string_lossy().rsplit('-').next().unwrap_or_default().to_owned();
    Ok((found.join("sbin"), version))
}

impl RabbitMq {
    /// Starts one on a free port, with the queue in it.
    pub async fn start(place: Place, is_quorum: bool) -> Result<Self> {
        let (scripts, version) = scripts(&place)?;
        let erlang = place.program("usr/lib/erlang/bin/erl")?;
        let erlang = erlang.parent().context("a folder")?;
        let names_port = free_port()?.to_string();
        let mut names = Command::new(place.program("usr/bin/epmd")?);
        names.args(["-address", "127.0.0.1", "-port", &names_port]);
        let names_folder = place.folder.join("names");
        std::fs::create_dir(&names_folder)?;
        let names = Process::start(names, &names_folder, Signal::TERM)?;

        let (folder, port) = (&place.folder, free_port()?);
        let data = folder.join("data");
        std::fs::create_dir(&data)?;
        std::fs::write(folder.join("rabbitmq.conf"), format!("listeners.tcp.1 = 127.0.0.1:{port}\n"))?;
        std::fs::write(folder.join("plugins"), "[].\n")?;
        let path = format!("{}:{}", erlang.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new(scripts.join("rabbitmq-server"));
        command.env("PATH", path).env("HOME", folder).env("LD_LIBRARY_PATH", place.libraries()).current_dir(folder);
        command.env("ERL_EPMD_PORT", &names_port).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("RABBITMQ_NODENAME", format!("bench{port}@localhost"));
        command.env("RABBITMQ_DIST_PORT", free_port()?.to_string());
        command.env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}");
        command.env("RABBITMQ_CONF_ENV_FILE", "/dev/null").env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"));
        command.env("RABBITMQ_MNESIA_BASE", &data).env("RABBITMQ_LOG_BASE", folder.join("log"));
        let mut process = Process::start(command, folder, Signal::TERM)?;
        let uri = format!("amqp://guest:guest@127.0.0.1:{port}/%2f");
        let (_connection, channel) = until_ready(&mut process, folder, || connect(&uri)).await?;
        let mut arguments = FieldTable::default();
        if is_quorum {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        }
        channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
        let running = Running { version, data, processes: vec![process, names] };
        Ok(Self { running, uri })
    }
}

/// A channel with confirms, on a connection of its own, which has to be kept as long as the channel.
async fn connect(uri: &str) -> Result<(lapin::Connection, Channel)> {
    let connection = lapin::Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// A consumer that the queue knows of.
struct Listening {
    connection: lapin::Connection,
    channel: Channel,
    deliveries: Consumer,
}

async fn listen(uri: &str) -> Result<Listening> {
    let (connection, channel) = connect(uri).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let deliveries = channel.basic_consume(QUEUE.into(), "bench".into(), options, FieldTable::default()).await?;
    Ok(Listening { connection, channel, deliveries })
}

/// Acknowledges what it has with one frame for all that has come; done when the queue has taken all.
async fn consume(listening: Listening, count: u64, mut seen: Option<Seen>) -> Result<()> {
    let Listening { connection, channel, mut deliveries } = listening;
    let mut unanswered = 0;
    let mut left = count;
    let mut last = 0;
    while left > 0 {
        let ready = std::future::poll_fn(|context| std::task::Poll::Ready(deliveries.poll_next_unpin(context))).await;
        let next = match ready {
            std::task::Poll::Ready(next) => next,
            std::task::Poll::Pending => {
                acknowledge(&channel, last, &mut unanswered).await?;
                deliveries.next().await
            }
        };
        let delivery = next.context("the server has closed")??;
        if let Some(seen) = &mut seen {
            seen(number_of(&delivery.data).context("an event with its number")?, Instant::now());
        }
        last = delivery.delivery_tag;
        left -= 1;
        unanswered += 1;
        if unanswered == u64::from(PREFETCH) / 8 {
            acknowledge(&channel, last, &mut unanswered).await?;
        }
    }
    acknowledge(&channel, last, &mut unanswered).await?;
    channel.close(200, "done".into()).await?;
    let channel = connection.create_channel().await?;
    all_taken(&channel).await
}

/// Waits until the queue has taken every acknowledgement of the consumers that were.
///
/// The count of messages that a declaration answers leaves out those that are delivered and not acknowledged, and overtakes
/// acknowledgements on their way. A queue learns of the end of a channel behind all that came over it, and in one step forgets
/// its consumers and counts again what they had not acknowledged: with no consumer, the count is of all that there is.
async fn all_taken(channel: &Channel) -> Result<()> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    loop {
        let queue = channel.queue_declare(QUEUE.into(), options, FieldTable::default()).await?;
        if queue.consumer_count() == 0 {
            let left = queue.message_count();
            ensure!(left == 0, "expected all acknowledgements to be taken, found {left} messages that came back");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn acknowledge(channel: &Channel, last: u64, unanswered: &mut u64) -> Result<()> {
    if std::mem::take(unanswered) > 0 {
        channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
    }
    Ok(())
}

impl Server for RabbitMq {
    fn running(&self) -> &Running {
        &self.running
    }

    fn client(&self) -> Answer<'_, Arc<dyn Client>> {
        Box::pin(async move {
            let (_connection, channel) = connect(&self.uri).await?;
            Ok(Arc::new(Connection { channel, _connection }) as Arc<dyn Client>)
        })
    }

    fn prepare_consumer(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    fn consume(&self, count: u64) -> Answer<'_, ()> {
        Box::pin(async move { consume(listen(&self.uri).await?, count, None).await })
    }

    fn follow(&self, count: u64, seen: Seen) -> Answer<'_, Answer<'static, ()>> {
        Box::pin(async move {
            let listening = listen(&self.uri).await?;
            Ok(Box::pin(consume(listening, count, Some(seen))) as Answer<'static, ()>)
        })
    }

    fn replay(&self, _: u64) -> Answer<'_, Option<u64>> {
        Box::pin(async { Ok(None) })
    }
}

struct Connection {
    channel: Channel,
    _connection: lapin::Connection,
}

impl Connection {
    async fn publish(&self, event: &Event) -> Result<PublisherConfirm> {
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        Ok(self.channel.basic_publish("".into(), QUEUE.into(), options, &event.data, properties).await?)
    }
}

fn check(confirmation: &Confirmation) -> Result<()> {
    ensure!(confirmation.is_ack(), "expected a confirmation, found {confirmation:?}");
    Ok(())
}

impl Client for Connection {
    fn append(&self, event: Event) -> Answer<'_, ()> {
        Box::pin(async move { check(&self.publish(&event).await?.await?) })
    }

    /// There is no batch: all are published, then all confirmations are awaited.
    fn batch(&self, events: Vec<Event>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut confirms = Vec::with_capacity(events.len());
            for event in &events {
                confirms.push(self.publish(event).await?);
            }
            for confirm in confirms {
                check(&confirm.await?)?;
            }
            Ok(())
        })
    }

    fn append_at(&self, _: Event, _: u64) -> Answer<'_, Outcome> {
        Box::pin(async { anyhow::bail!("publishing knows no condition") })
    }
}
