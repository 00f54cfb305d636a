//! A stretch of time in which what is done counts: clients that append as fast as they can, and what the server and this
//! process spent meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::peer::Server;
use crate::process::processor_seconds;
use crate::workload::{Figure, Size};

/// The stretch, and what was done in it.
#[derive(Debug)]
pub struct Window {
    from: Instant,
    until: Instant,
    done: AtomicU64,
    refused: AtomicU64,
}

impl Window {
    /// Begins after the warm-up.
    pub fn open(size: Size) -> Arc<Self> {
        let from = Instant::now() + size.warm_up;
        Arc::new(Self { from, until: from + size.window, done: AtomicU64::new(0), refused: AtomicU64::new(0) })
    }

    /// Whether there is still something to do.
    pub fn is_open(&self) -> bool {
        Instant::now() < self.until
    }

    /// So many events are acknowledged.
    pub fn count(&self, events: u64) {
        self.add(&self.done, events);
    }

    /// An append was refused.
    pub fn count_refused(&self) {
        self.add(&self.refused, 1);
    }

    fn add(&self, counter: &AtomicU64, count: u64) {
        let now = Instant::now();
        if now >= self.from && now < self.until {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Waits until it is over and all clients are done; events a second, and microseconds of processor time an event.
    pub async fn close(&self, row: String, server: &dyn Server, mut clients: JoinSet<Result<()>>) -> Result<Figure> {
        let servers = server.running().ids();
        let own = [std::process::id()];
        // The servers descend from this process.
        let spent = || (processor_seconds(&servers), processor_seconds(&own));
        tokio::time::sleep_until(self.from.into()).await;
        let before = spent();
        tokio::time::sleep_until(self.until.into()).await;
        let after = spent();
        while let Some(ended) = clients.join_next().await {
            ended??;
        }
        let done = self.done.load(Ordering::Relaxed) as f64;
        let (server, all) = (after.0 - before.0, after.1 - before.1);
        let micros = |seconds: f64| 1e6 * seconds / done.max(1.0);
        let figure = Figure::new(row, done / (self.until - self.from).as_secs_f64())
            .beside("server_cpu_us", micros(server))
            .beside("client_cpu_us", micros(all - server));
        let refused = self.refused.load(Ordering::Relaxed) as f64;
        Ok(if refused > 0.0 { figure.beside("refused_for_each", refused / done.max(1.0)) } else { figure })
    }
}
