//! A million small events: how much memory the server holds with them, how many bytes its folder takes on disk for each, and how fast
//! all are read again from the first on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::peer::Server;
use crate::process::{disk_bytes, memory_bytes};
use crate::workload::{Figure, SMALL, Size, load};

/// For what a server still writes after its last answer.
const SETTLE: Duration = Duration::from_secs(1);

pub async fn run(server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
    let count = size.million;
    let begun = Instant::now();
    load(server, 0, count, SMALL).await?;
    let loaded = count as f64 / begun.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLE).await;
    let disk = disk_bytes(&server.running().data) as f64 / count as f64;
    let memory = memory_bytes(&server.running().ids()) as f64 / 1e6;
    let mut figures = vec![
        Figure::new("million/memory", memory),
        Figure::new("million/disk", disk),
        Figure::new("million/load", loaded),
    ];
    let begun = Instant::now();
    if let Some(bytes) = server.replay(count).await? {
        ensure!(bytes == count * SMALL as u64, "expected {count} events of {SMALL} bytes, found {bytes} bytes");
        figures.push(Figure::new("million/replay", count as f64 / begun.elapsed().as_secs_f64()));
    }
    Ok(figures)
}
