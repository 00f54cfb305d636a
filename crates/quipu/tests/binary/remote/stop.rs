//! A stop is prompt, whatever the server does, and what no handler has seen goes back as if it had never been handed out.

use std::time::Instant;

use super::*;

/// Half of what a poll waits, and far less than a deadline.
const PROMPT: Duration = Duration::from_secs(5);

fn pull(server: &Server, max: u32) -> Vec<Value> {
    let url = format!("{}/v1/subscriptions/billing/pull", server.url);
    let request = ureq::post(url).header("content-type", "application/json");
    let text = request.send(json!({"max": max}).to_string()).unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["deliveries"].as_array().unwrap().clone()
}

/// What comes of these many deliveries: their positions and attempts.
fn pulled(server: &Server, count: usize) -> Vec<(u64, u64)> {
    let found = Mutex::new(Vec::new());
    until("deliveries that went back", || {
        let mut found = found.lock().unwrap();
        let number = |delivery: &Value, name| delivery["delivery"][name].as_u64().unwrap();
        found.extend(pull(server, 1).iter().map(|it| (number(it, "position"), number(it, "attempt"))));
        found.len() >= count
    });
    let mut found = found.into_inner().unwrap();
    found.sort_unstable();
    found
}

#[test]
fn a_stop_waits_for_no_poll_and_what_the_poll_still_brings_goes_back_untried() {
    let user = User::new();
    let server = server(&user, &json!({"ackdeadlinems": 15_000}));
    publish(&server, 0..1, 1);
    let worker = worker(&server).on("order.placed", |_, _: Order| async { Ok(()) });
    let stop = worker.stopper();
    let running = std::thread::spawn(move || block_on(worker.run()));
    until("it has worked and waits", || get(&server, "/v1/subscriptions/billing")["counts"]["acknowledged"] == 1);
    let begun = Instant::now();
    stop.stop();
    running.join().unwrap().unwrap();
    assert!(begun.elapsed() < PROMPT, "it waited for {:?}", begun.elapsed());
    publish(&server, 3..4, 1);
    assert_eq!(pulled(&server, 1), [(2, 1)]);
}

#[test]
fn a_stop_does_not_wait_for_a_server_that_is_away() {
    let user = User::new();
    let server = server(&user, &json!({}));
    publish(&server, 0..1, 1);
    let worker = AtWork::start(&server);
    drop(server);
    worker.goes_on.send(true).unwrap();
    // Both the poll and the answer are tried again by then, the latter for 30 seconds.
    worker.has_tried(6);
    let begun = Instant::now();
    worker.end();
    assert!(begun.elapsed() < PROMPT, "it waited for {:?}", begun.elapsed());
}

#[test]
fn what_a_dropped_worker_had_taken_and_not_begun_goes_back_untried() {
    let user = User::new();
    let server = server(&user, &json!({"pattern": {"type": ["order.placed"]}, "ackdeadlinems": 15_000}));
    // Positions 1, 4, 7 and 10 are placed orders, each in a stream of its own.
    publish(&server, 0..12, 12);
    block_on(async {
        let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let worker = worker(&server).concurrency(1).on("order.placed", move |_, _: Order| {
            _ = began.send(());
            std::future::pending()
        });
        tokio::select! {
            ended = worker.run() => panic!("expected it to work, found {ended:?}"),
            _ = begins.recv() => {}
        }
    });
    assert_eq!(pulled(&server, 3), [(4, 1), (7, 1), (10, 1)]);
}
