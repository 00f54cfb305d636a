//! A backlog that one consumer takes and acknowledges. It counts until the last acknowledgement has reached the server.

use std::time::Instant;

use anyhow::Result;

use crate::peer::Server;
use crate::workload::{Figure, LARGE, LOADERS, SMALL, Size, load};

pub async fn run(server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
    server.prepare_consumer().await?;
    let mut figures = Vec::new();
    for (part, (bytes, count)) in [(SMALL, size.backlog), (LARGE, size.backlog / 5)].into_iter().enumerate() {
        load(server, part * LOADERS, count, bytes).await?;
        let begun = Instant::now();
        server.consume(count).await?;
        figures.push(Figure::new(format!("consume/{bytes}"), count as f64 / begun.elapsed().as_secs_f64()));
    }
    Ok(figures)
}
