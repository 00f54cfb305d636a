//! Appends on a condition, with contention: 16 clients and four streams. Each client goes from stream to stream and appends at
//! the tail that it knows; whoever is refused learns the tail in the system's way and tries again at once. What was appended counts.

use std::sync::Arc;

use anyhow::Result;
use tokio::task::JoinSet;

use crate::payload::Events;
use crate::peer::{Outcome, Server};
use crate::workload::window::Window;
use crate::workload::{Figure, LARGE, SMALL, Size, clients};

const CLIENTS: usize = 16;
const STREAMS: usize = 4;

pub async fn run(server: &dyn Server, size: Size) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (part, bytes) in [SMALL, LARGE].into_iter().enumerate() {
        let clients = clients(server, CLIENTS).await?;
        let window = Window::open(size);
        let mut tasks = JoinSet::new();
        for (i, client) in clients.into_iter().enumerate() {
            let (window, mut events) = (Arc::clone(&window), Events::new(part * CLIENTS + i, bytes));
            tasks.spawn(async move {
                let (mut at, mut tails) = (i % STREAMS, [0; STREAMS]);
                while window.is_open() {
                    let event = events.make_for((part * STREAMS + at) as u64, 0);
                    match client.append_at(event, tails[at]).await? {
                        Outcome::Appended(tail) => {
                            tails[at] = tail;
                            at = (at + 1) % STREAMS;
                            window.count(1);
                        }
                        Outcome::Conflict(tail) => {
                            tails[at] = tail;
                            window.count_refused();
                        }
                    }
                }
                Ok(())
            });
        }
        figures.push(window.close(format!("conditional/{bytes}"), server, tasks).await?);
    }
    Ok(figures)
}
