//! The rows of the report: what each figure is called, its unit, and whether more or less of it is better.

use crate::workload::Workload;

/// Which of two values is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The larger one.
    More,
    /// The smaller one.
    Less,
}

/// One figure of every system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// As in the results.
    pub name: &'static str,
    /// The workload that it is from.
    pub workload: Workload,
    /// At the head of a column.
    pub title: &'static str,
    /// Of what.
    pub unit: &'static str,
    /// Which is ahead.
    pub better: Better,
}

impl Row {
    /// How far a peer is ahead of Quipu: above 1 it is.
    pub fn lead(&self, peer: f64, quipu: f64) -> f64 {
        match self.better {
            Better::More => peer / quipu,
            Better::Less => quipu / peer,
        }
    }
}

/// All of them, in the order of the report.
pub const ROWS: [Row; 22] = {
    use Better::{Less, More};
    use Workload::{Append, Batch, Conditional, Consume, Latency, Million};
    const fn row(
        workload: Workload,
        name: &'static str,
        title: &'static str,
        unit: &'static str,
        better: Better,
    ) -> Row {
        Row { name, workload, title, unit, better }
    }
    [
        row(Append, "append/256/1", "256 B, 1 client", "/s", More),
        row(Append, "append/256/16", "256 B, 16 clients", "/s", More),
        row(Append, "append/256/64", "256 B, 64 clients", "/s", More),
        row(Append, "append/256/in-flight", "256 B, 1 client, 64 in flight", "/s", More),
        row(Append, "append/4096/1", "4 KB, 1 client", "/s", More),
        row(Append, "append/4096/16", "4 KB, 16 clients", "/s", More),
        row(Append, "append/4096/64", "4 KB, 64 clients", "/s", More),
        row(Append, "append/4096/in-flight", "4 KB, 1 client, 64 in flight", "/s", More),
        row(Batch, "batch/256/1", "256 B, 1 client", "/s", More),
        row(Batch, "batch/256/16", "256 B, 16 clients", "/s", More),
        row(Batch, "batch/4096/1", "4 KB, 1 client", "/s", More),
        row(Batch, "batch/4096/16", "4 KB, 16 clients", "/s", More),
        row(Conditional, "conditional/256", "256 B", "/s", More),
        row(Conditional, "conditional/4096", "4 KB", "/s", More),
        row(Consume, "consume/256", "256 B", "/s", More),
        row(Consume, "consume/4096", "4 KB", "/s", More),
        row(Latency, "latency/p50", "p50", "ms", Less),
        row(Latency, "latency/p99", "p99", "ms", Less),
        row(Latency, "latency/p99.9", "p99.9", "ms", Less),
        row(Million, "million/replay", "replay", "/s", More),
        row(Million, "million/memory", "resident memory", "MB", Less),
        row(Million, "million/disk", "on disk, an event", "B", Less),
    ]
};

/// What the table of a workload is called, and what its figures are.
pub fn about(workload: Workload) -> (&'static str, &'static str) {
    match workload {
        Workload::Append => (
            "Single appends",
            "Acknowledged events a second. A client has a connection of its own and waits for each answer, or has one connection \
             with 64 appends on their way.",
        ),
        Workload::Batch => (
            "Batches of 100",
            "Acknowledged events a second; a client waits for the answer to each batch. Redis: MULTI; \
             PostgreSQL: one statement; UmaDB: one append; Quipu: one append, all or nothing; RabbitMQ and \
             JetStream have no such thing: 100 are published and all confirmations awaited.",
        ),
        Workload::Conditional => (
            "Conditional appends with contention",
            "Events a second that were appended by 16 clients to 4 streams, each only if the stream's tail is still the one that \
             the client knows; a refused client learns the tail in the system's way and tries again. Quipu: the refusal says it; \
             JetStream: the last sequence of a subject, in the refusal; Redis: identifiers that must grow, then a read; PostgreSQL: \
             the unique stream and version, then a read; UmaDB: no event with the stream's tag after a position, then a read (with 4 KB a refusal is more than its client takes, and a client connects anew after each).",
        ),
        Workload::Consume => (
            "Consume and acknowledge",
            "Events a second that one durable consumer takes from a backlog (100,000 of 256 B, 20,000 of 4 KB) and acknowledges, \
             until the server has taken the last acknowledgement. Quipu and Redis acknowledge each event, many in one frame; \
             JetStream each with a message of its own; RabbitMQ all up to one. What \"on disk\" says of a setting above is about appends: \
             acknowledgements are on disk at other times, and the figures are not of equal durability.",
        ),
        Workload::Latency => (
            "Publish to delivery",
            "Milliseconds from when an event should have been sent, at 1,000 a second of 256 B, to its delivery to a durable consumer \
             that acknowledges it (PostgreSQL: LISTEN and NOTIFY, then a read; UmaDB: its subscription; neither acknowledges).",
        ),
        Workload::Million => (
            "A million events",
            "After 1,000,000 events of 256 B, laid in by 8 clients in batches of 100: memory of the server's processes (what they share \
             counted once; files that they map count, files that they read do not; UmaDB's with the Python that starts it), bytes that all files of its data folder take on disk, divided by the events (what is there of an empty one, write-ahead logs and reserved room included; Redis by default writes a snapshot now and then, and 0 means that none was due), and events a second when \
             one reader then reads all of them, in order, from the first on.",
        ),
    }
}
