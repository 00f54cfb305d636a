//! From publishing to delivery at a fixed rate, measured from when an event should have been sent: a publisher that falls
//! behind makes the figure worse, not better. The consumer acknowledges what it gets.

use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::payload::Events;
use crate::peer::{Client, Server};
use crate::workload::{Figure, SMALL, Size};

const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// For the publisher to get ready.
const HEAD_START: Duration = Duration::from_millis(100);
/// What comes in this time is sent and acknowledged, but not counted: some systems are slow at first.
const WARM_UP: Duration = Duration::from_secs(1);

pub async fn run(server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
    server.prepare_consumer().await?;
    let (rate, uncounted) = (size.rate, size.rate * WARM_UP.as_secs());
    let count = uncounted + rate * size.latency.as_secs();
    let histogram = Arc::new(Mutex::new(Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?));
    // Set when all are connected: how long that takes is not measured here.
    let start = Arc::new(OnceLock::new());
    let due = move |start: Instant, number: u64| start + Duration::from_nanos(number * 1_000_000_000 / rate);
    let (noted, begun) = (Arc::clone(&histogram), Arc::clone(&start));
    let seen = Box::new(move |number, now: Instant| {
        if let (Some(start), Ok(mut histogram), true) = (begun.get(), noted.lock(), number >= uncounted) {
            let micros = now.saturating_duration_since(due(*start, number)).as_micros() as u64;
            histogram.saturating_record(micros.max(1));
        }
    });
    let consumer = tokio::spawn(server.follow(count, seen).await?);
    let publisher = server.pipe().await?.context("a connection with many appends on their way")?;
    let start = *start.get_or_init(|| Instant::now() + HEAD_START);
    let runtime = Handle::current();
    let paced = tokio::task::spawn_blocking(move || publish(&runtime, &publisher, count, |number| due(start, number)));
    let mut published = paced.await?;
    while let Some(ended) = published.join_next().await {
        ended??;
    }
    consumer.await??;
    let histogram = histogram.lock().ok().context("a histogram")?.clone();
    let counted = count - uncounted;
    anyhow::ensure!(histogram.len() == counted, "expected {counted} deliveries, found {}", histogram.len());
    let millis = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    let max = histogram.max() as f64 / 1e3;
    Ok(QUANTILES.map(|(name, q)| Figure::new(format!("latency/{name}"), millis(q)).beside("max_ms", max)).into())
}

/// Sends each when it is due, whatever became of those before.
fn publish(
    runtime: &Handle,
    client: &Arc<dyn Client>,
    count: u64,
    due: impl Fn(u64) -> Instant,
) -> JoinSet<Result<()>> {
    let (mut events, mut sent) = (Events::new(0, SMALL), JoinSet::new());
    for number in 0..count {
        let (event, client) = (events.make(), Arc::clone(client));
        thread::sleep(due(number).saturating_duration_since(Instant::now()));
        sent.spawn_on(async move { client.append(event).await }, runtime);
    }
    sent
}
