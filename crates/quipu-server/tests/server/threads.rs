//! What takes long is done on other threads than those that serve sockets. Here the sockets have one thread, and every
//! thread beside it that the runtime starts is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quipu_server::Server;
use tokio::runtime::Builder;

use crate::host::{Host, event, within};
use crate::tail::Tail;

/// The threads beside that of the sockets: how many were started, and how many have ended.
#[derive(Clone, Default)]
struct Threads {
    started: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Threads {
    /// Runs a test on one thread. The others end as soon as they have nothing to do.
    fn counted<F: Future<Output = ()>>(test: impl FnOnce(Self) -> F) {
        let threads = Self::default();
        let count = |number: &Arc<AtomicUsize>| {
            let number = Arc::clone(number);
            move || _ = number.fetch_add(1, Ordering::SeqCst)
        };
        let mut builder = Builder::new_current_thread();
        builder.enable_all().thread_keep_alive(Duration::ZERO);
        builder.on_thread_start(count(&threads.started)).on_thread_stop(count(&threads.ended));
        builder.build().unwrap().block_on(test(threads));
    }

    /// Whether one is started for some work. Those before have to end first, or one of them might do it.
    async fn are_needed<T>(&self, work: impl Future<Output = T>) -> (bool, T) {
        let ended = async {
            while self.ended.load(Ordering::SeqCst) < self.started.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        };
        within(ended).await;
        let before = self.started.load(Ordering::SeqCst);
        let done = work.await;
        (self.started.load(Ordering::SeqCst) > before, done)
    }
}

fn append(id: &str, data: usize, conditions: &str) -> String {
    let data = "x".repeat(data);
    let event = format!(r#"{{"specversion":"1.0","id":"{id}","source":"/test","type":"t","data":"{data}"}}"#);
    format!(r#"{{"events":[{event}],"conditions":[{conditions}]}}"#)
}

#[test]
fn a_large_or_dense_append_is_read_and_checked_beside_the_sockets() {
    Threads::counted(|threads| async move {
        let host = Host::start_with(Server { event_bytes_max: 4 << 20, ..Server::default() }).await;
        let mut client = host.client().await;
        let dense = r#"{"after":0,"query":{"items":[{"types":["none"],"tags":["k:v"]}]}}"#;
        let near = r#"{"after":3000,"query":{"items":[{"types":["none"],"tags":["k:v"]}]}}"#;
        let lines: String = (1..=3_000).map(|n| event(&n.to_string(), "t", "s") + "\n").collect();
        client.post("/v1/events", "application/x-ndjson", &lines).await;
        for (name, body, expected) in [
            ("small", append("a", 10, ""), false),
            ("near", append("b", 10, near), false),
            ("dense", append("c", 10, dense), true),
            ("large", append("d", 1_100_000, ""), true),
        ] {
            let (are_needed, answer) = threads.are_needed(client.post("/v1/append", "application/json", &body)).await;
            assert_eq!((answer.status, are_needed), (200, expected), "{name}: {answer:?}");
        }
    });
}

#[test]
fn a_pattern_is_tested_beside_the_sockets() {
    Threads::counted(|threads| async move {
        let host = Host::start_with(Server { event_bytes_max: 1 << 20, ..Server::default() }).await;
        let mut client = host.client().await;
        let body = |bytes: usize| format!(r#"{{"pattern":{{"a":["b"]}},"event":{{"a":"{}"}}}}"#, "x".repeat(bytes));
        for (bytes, status) in [(1, 200), (2 << 20, 200), (3 << 20, 413)] {
            let body = body(bytes);
            let test = client.post("/v1/patterns/test", "application/json", &body);
            let (are_needed, answer) = threads.are_needed(test).await;
            assert_eq!((answer.status, are_needed), (status, true), "{bytes}: {answer:?}");
        }
    });
}

#[test]
fn a_large_event_is_read_beside_the_sockets() {
    Threads::counted(|threads| async move {
        let host = Host::start_with(Server { event_bytes_max: 4 << 20, ..Server::default() }).await;
        let mut client = host.client().await;
        for (bytes, expected) in [(1_000, false), (1_100_000, true)] {
            let data = "x".repeat(bytes);
            let event =
                format!(r#"{{"specversion":"1.0","id":"{bytes}","source":"/test","type":"t","data":"{data}"}}"#);
            let (are_needed, answer) = threads.are_needed(client.publish(&event)).await;
            assert_eq!((answer.status, are_needed), (200, expected), "{bytes}");
        }
    });
}

#[test]
fn a_follower_of_large_events_reads_beside_the_sockets() {
    Threads::counted(|threads| async move {
        let host = Host::start().await;
        for n in 1..=20 {
            let data = "x".repeat(50_000);
            let event = format!(r#"{{"specversion":"1.0","id":"{n}","source":"/test","type":"t","data":"{data}"}}"#);
            assert_eq!(host.client().await.publish(&event).await.status, 200);
        }
        let follow = async {
            let mut tail = Tail::open(&host, "/v1/tail?from=start", "").await;
            for n in 1..=20 {
                assert_eq!(tail.message().await.0, n);
            }
        };
        assert!(threads.are_needed(follow).await.0, "a million bytes are more than one read at once");
    });
}
