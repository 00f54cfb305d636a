//! Single events: from clients that each wait for an answer before they send the next, and from one client with 64 in flight.

use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::payload::Events;
use crate::peer::{Client, Server};
use crate::workload::window::Window;
use crate::workload::{Figure, IN_FLIGHT, LARGE, SMALL, Size, clients};

const CLIENTS: [usize; 3] = [1, 16, 64];

pub async fn run(server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    // No event has the number of another.
    let mut first = 0;
    for bytes in [SMALL, LARGE] {
        for count in CLIENTS {
            let clients = clients(server, count).await?;
            figures.push(cell(format!("append/{bytes}/{count}"), server, clients, &mut first, bytes, size).await?);
        }
        if let Some(pipe) = server.pipe().await? {
            let clients = vec![pipe; IN_FLIGHT];
            figures.push(cell(format!("append/{bytes}/in-flight"), server, clients, &mut first, bytes, size).await?);
        }
    }
    Ok(figures)
}

/// Each of these appends one event after the other.
async fn cell(
    row: String,
    server: &dyn Server,
    clients: Vec<Arc<dyn Client>>,
    first: &mut usize,
    bytes: usize,
    size: Size,
) -> Result<Figure> {
    let window = Window::open(size);
    let mut tasks = JoinSet::new();
    for client in clients {
        let (window, mut events) = (Arc::clone(&window), Events::new(*first, bytes));
        *first += 1;
        tasks.spawn(async move {
            while window.is_open() {
                client.append(events.make()).await?;
                window.count(1);
            }
            Ok(())
        });
    }
    window.close(row, server, tasks).await
}
