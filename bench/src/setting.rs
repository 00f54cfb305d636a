//! The systems, each in its settings, and what their answers mean: the rows of the tables. How a system is driven is in `peer`;
//! what the figures were is not known here.

use crate::workload::Workload;

/// What an acknowledged append means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    /// It is on disk.
    Synced,
    /// It is in the server's memory or the system's cache: a power cut loses it.
    Unsynced,
}

/// What a row is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Quipu, by whichever route.
    Own,
    /// Another system, which may be ahead.
    Peer,
    /// What the machine does without any system: nobody's lead.
    Reference,
}

/// A system in one of its settings: a row of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// By which it is named on the command line and in the results.
    pub name: &'static str,
    /// By which people name it.
    pub title: &'static str,
    /// Whether it is a peer.
    pub role: Role,
    /// What an answer to an append means.
    pub acknowledged: Acknowledged,
    /// The setting in the words of the system.
    pub means: &'static str,
    /// What an acknowledgement of a delivery means, and when it is on disk; empty if the system has none.
    pub delivered: &'static str,
}

/// Why a setting has no figures of its own at a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// They would be those of another setting: which, and why.
    SameAs(&'static str),
    /// It cannot do that.
    Unable(&'static str),
}

use Acknowledged::{Synced, Unsynced};
use Role::{Own, Peer, Reference};

/// The one that all others are compared with.
pub const QUIPU: &str = "quipu";

/// The file that this process appends to itself.
pub const DISK: &str = "disk";

/// All of them, in the order in which they take turns.
pub const SETTINGS: [Setting; 11] = [
    Setting {
        name: QUIPU,
        title: "Quipu",
        role: Own,
        acknowledged: Synced,
        means: "as it comes; it has no setting in which an answer to an append means less than on disk. Single appends over \
                WebSocket, batches and conditions over HTTP",
        delivered: "answered when the server has taken it in memory; on disk within 100 ms, in one commit for all. A crash \
                    repeats what was acknowledged in that time. It has no setting in which it is on disk before the answer",
    },
    Setting {
        name: "quipu-http",
        title: "Quipu, HTTP",
        role: Own,
        acknowledged: Synced,
        means: "the same, with single appends as one HTTP request each",
        delivered: "",
    },
    Setting {
        name: "jetstream-synced",
        title: "JetStream, synced",
        role: Peer,
        acknowledged: Synced,
        means: "`sync_interval: always`, file storage, one replica",
        delivered: "has no answer: the client asks until none is pending. In memory then; the consumer's state is written a \
                    moment later",
    },
    Setting {
        name: "jetstream",
        title: "JetStream, default",
        role: Peer,
        acknowledged: Unsynced,
        means: "as it comes: file storage, synced every two minutes",
        delivered: "as synced, but when the state that was written is on disk is left to the system",
    },
    Setting {
        name: "rabbitmq-quorum",
        title: "RabbitMQ, quorum",
        role: Peer,
        acknowledged: Synced,
        means: "a quorum queue of one node, publisher confirms",
        delivered: "has no answer: the client closes and asks until the queue knows of no consumer and holds nothing. On disk \
                    then, as an entry of the queue's log",
    },
    Setting {
        name: "rabbitmq",
        title: "RabbitMQ, classic",
        role: Peer,
        acknowledged: Unsynced,
        means: "the default type of queue, durable, messages as the client makes them by default (transient), publisher confirms",
        delivered: "as quorum, but in memory; nothing of a transient message has to be on disk",
    },
    Setting {
        name: "redis-synced",
        title: "Redis, synced",
        role: Peer,
        acknowledged: Synced,
        means: "a stream, `appendonly yes`, `appendfsync always`",
        delivered: "on disk before it is answered: each XACK, of up to 1,000 entries, waits for a sync",
    },
    Setting {
        name: "redis",
        title: "Redis, default",
        role: Peer,
        acknowledged: Unsynced,
        means: "a stream, as it comes: no append-only file, a snapshot now and then",
        delivered: "answered when it is in memory; on disk with the next snapshot, if there is one",
    },
    Setting {
        name: "postgresql",
        title: "PostgreSQL",
        role: Peer,
        acknowledged: Synced,
        means: "as it comes, which is its most durable on one node: every append a transaction that is committed, into a table \
                with a unique stream and version, a unique id and the JSON. A connection works at one append after the other, also with \
                64 on their way",
        delivered: "",
    },
    Setting {
        name: "umadb",
        title: "UmaDB",
        role: Peer,
        acknowledged: Synced,
        means: "as it comes; it has no other durability. One tag an event, its stream",
        delivered: "",
    },
    Setting {
        name: DISK,
        title: "Bare disk",
        role: Reference,
        acknowledged: Synced,
        means: "no system: the same JSON is appended to a growing file, with one `fdatasync` for as many events as there are \
                clients or appends in flight, times 100 of batches. No envelope, no index, no connection; a system that \
                reserves room in its file first may still be faster",
        delivered: "",
    },
];

impl Setting {
    /// Why it has no figures of its own at this workload, if so.
    pub fn lacks(&self, workload: Workload) -> Option<Lack> {
        use Lack::{SameAs, Unable};
        use Workload::{Append, Batch, Conditional, Consume, Million};
        Some(match (self.name, workload) {
            ("quipu-http", Append) => return None,
            ("quipu-http", _) => SameAs("as Quipu: only single appends go another way"),
            ("rabbitmq" | "rabbitmq-quorum", Conditional) => Unable("has none: publishing knows no condition"),
            ("postgresql", Consume) => Unable("has none: a table has no consumers that acknowledge"),
            ("umadb", Consume) => Unable("has none: it has subscriptions, and no acknowledgement of an event"),
            // The others store in another way by default: Redis without its append-only file, RabbitMQ in another type of queue.
            ("jetstream-synced", Million) => SameAs(
                "as JetStream: the same files and the same index, synced at other times, and a million syncs to lay in",
            ),
            (DISK, Append | Batch) => return None,
            (DISK, _) => Unable("is a file: it is asked for appends only"),
            _ => return None,
        })
    }
}
