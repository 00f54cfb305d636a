//! Batches of 100, each answered before the next is sent, from one client and from 16.

use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::payload::Events;
use crate::peer::Server;
use crate::workload::window::Window;
use crate::workload::{BATCH, Figure, LARGE, SMALL, Size, clients};

const CLIENTS: [usize; 2] = [1, 16];

pub async fn run(server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut first = 0;
    for bytes in [SMALL, LARGE] {
        for count in CLIENTS {
            let clients = clients(server, count).await?;
            let window = Window::open(size);
            let mut tasks = JoinSet::new();
            for client in clients {
                let (window, mut events) = (Arc::clone(&window), Events::new(first, bytes));
                first += 1;
                tasks.spawn(async move {
                    while window.is_open() {
                        client.batch(events.batch(BATCH)).await?;
                        window.count(BATCH as u64);
                    }
                    Ok(())
                });
            }
            figures.push(window.close(format!("batch/{bytes}/{count}"), server, tasks).await?);
        }
    }
    Ok(figures)
}
