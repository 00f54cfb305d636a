//! From publishing to delivery at a fixed rate, measured from when an event should have been sent: a publisher that falls
//! behind makes the figure worse, not better. The consumer acknowledges what it gets.

use std::sync::{Arc, Mutex};
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
/// For everybody to get ready.
const HEAD_START: Duration = Duration::from_millis(100);

pub async fn run(server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
    server.prepare_consumer().await?;
    let count = size.rate * size.latency.as_secs();
    let rate = size.rate;
    let histogram = Arc::new(Mutex::new(Histogram::<u64>::new_with_bounds(1, 60_000_000, 3)?));
    let start = Instant::now() + HEAD_START;
    let due = move |number: u64| start + Duration::from_nanos(number * 1_000_000_000 / rate);
    let noted = Arc::clone(&histogram);
    let seen = Box::new(move |number, now: Instant| {
        let micros = now.saturating_duration_since(due(number)).as_micros() as u64;
        if let Ok(mut histogram) = noted.lock() {
            histogram.saturating_record(micros.max(1));
        }
    });
    let consumer = tokio::spawn(server.follow(count, seen).await?);
    let publisher = server.pipe().await?.context("a connection with many appends on their way")?;
    let runtime = Handle::current();
    let paced = tokio::task::spawn_blocking(move || publish(&runtime, &publisher, count, due));
    let mut published = paced.await?;
    while let Some(ended) = published.join_next().await {
        ended??;
    }
    consumer.await??;
    let histogram = histogram.lock().ok().context("a histogram")?.clone();
    anyhow::ensure!(histogram.len() == count, "expected {count} deliveries, found {}", histogram.len());
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
