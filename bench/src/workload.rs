//! What the systems are asked to do: one file a workload, all of them against the same interface. Each ends with the figures
//! of one cell; which systems take turns at it, and how often, is not known here.

mod append;
mod batch;
mod conditional;
mod consume;
mod latency;
mod million;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::payload::Events;
use crate::peer::{Client, Server};

/// Bytes of the JSON.
pub const SMALL: usize = 256;
/// Bytes of the larger one.
pub const LARGE: usize = 4_096;
/// Events of a batch.
pub const BATCH: usize = 100;
/// Appends on their way of the client that does not wait for each.
pub const IN_FLIGHT: usize = 64;
/// Clients that lay events into a server when that is not what is measured.
const LOADERS: usize = 8;

/// The workloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Single events.
    Append,
    /// Batches of 100.
    Batch,
    /// Appends on a condition, with contention.
    Conditional,
    /// A backlog that is consumed and acknowledged.
    Consume,
    /// From publishing to delivery at a fixed rate.
    Latency,
    /// A million events: replay, memory and bytes on disk.
    Million,
}

/// All of them, in the order in which they are run.
pub const WORKLOADS: [Workload; 6] =
    [Workload::Append, Workload::Batch, Workload::Conditional, Workload::Consume, Workload::Latency, Workload::Million];

/// How much of everything.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Size {
    /// What counts of a cell in which appends are counted.
    pub window: Duration,
    /// Before that, for what is slow at first.
    pub warm_up: Duration,
    /// Small events that are consumed and acknowledged; of large ones a fifth.
    pub backlog: u64,
    /// Events a second when latency is measured.
    pub rate: u64,
    /// For so long.
    pub latency: Duration,
    /// Events of the last workload.
    pub million: u64,
}

impl Size {
    /// For figures.
    pub const FULL: Self = Self {
        window: Duration::from_secs(2),
        warm_up: Duration::from_millis(300),
        backlog: 100_000,
        rate: 1_000,
        latency: Duration::from_secs(8),
        million: 1_000_000,
    };

    /// To see that it works; its figures mean nothing.
    pub const QUICK: Self = Self {
        window: Duration::from_millis(400),
        warm_up: Duration::from_millis(100),
        backlog: 5_000,
        rate: 1_000,
        latency: Duration::from_secs(1),
        million: 20_000,
    };
}

/// A value of one row of the tables.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// Which row.
    pub row: String,
    /// In the row's unit.
    pub value: f64,
    /// What helps to explain it.
    pub beside: BTreeMap<String, f64>,
}

impl Figure {
    /// A value with nothing beside it.
    pub fn new(row: impl Into<String>, value: f64) -> Self {
        Self { row: row.into(), value, beside: BTreeMap::new() }
    }

    fn beside(mut self, name: &str, value: f64) -> Self {
        self.beside.insert(name.to_owned(), value);
        self
    }
}

impl Workload {
    /// Runs it against a fresh server.
    pub async fn run(self, server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
        match self {
            Self::Append => append::run(server, size).await,
            Self::Batch => batch::run(server, size).await,
            Self::Conditional => conditional::run(server, size).await,
            Self::Consume => consume::run(server, size).await,
            Self::Latency => latency::run(server, size).await,
            Self::Million => million::run(server, size).await,
        }
    }
}

/// So many clients, each with a connection of its own.
async fn clients(server: &dyn Server, count: usize) -> Result<Vec<Arc<dyn Client>>> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(server.client().await?);
    }
    Ok(clients)
}

/// Lays so many events into a server, in batches over several connections. The numbers of clients begin at `first`.
async fn load(server: &dyn Server, first: usize, count: u64, bytes: usize) -> Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for (i, client) in clients(server, LOADERS).await?.into_iter().enumerate() {
        let mut left = count / LOADERS as u64 + u64::from((i as u64) < count % LOADERS as u64);
        tasks.spawn(async move {
            let mut events = Events::new(first + i, bytes);
            while left > 0 {
                let next = left.min(BATCH as u64);
                client.batch(events.batch(next as usize)).await?;
                left -= next;
            }
            Ok::<(), anyhow::Error>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
