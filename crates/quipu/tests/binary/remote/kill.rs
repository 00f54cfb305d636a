//! The server is killed and started again: nothing is lost, nothing overtakes within its key, and nobody helps the worker.

use std::collections::HashSet;

use super::*;

/// Large enough that each kill meets deliveries at work, taken, and not handed out.
const ORDERS: u64 = 900;
const STREAMS: u64 = 10;

#[test]
fn a_worker_goes_on_by_itself_when_its_server_is_killed_in_the_middle() {
    let user = User::new();
    let mut server = server(&user, &json!({"ackdeadlinems": 2_000}));
    publish(&server, 0..ORDERS, STREAMS);
    let (seen, troubles) = (Seen::default(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&troubles);
    let worker = worker(&server).concurrency(4).on_trouble(move |error| told.lock().unwrap().push(error.to_string()));
    let (handler, failed) = (note("", &seen), Mutex::new(HashSet::new()));
    let handler = move |delivery, order: Order| -> Noted {
        // What is behind it in its key waits for it.
        if order.total.is_multiple_of(13) && failed.lock().unwrap().insert(order.total) {
            return Box::pin(std::future::ready(Err(Failed::Retry("the first time".into()))));
        }
        handler(delivery, order)
    };
    let worker = worker.on_pattern(r#"{"type":[{"prefix":"order."}]}"#, handler).unwrap();
    let stop = worker.stopper();
    let running = std::thread::spawn(move || block_on(worker.run()));

    let address = server.address().to_owned();
    for kill in 1..=3 {
        until("it is in the middle", || seen.lock().unwrap().len() >= kill * 200);
        let known = troubles.lock().unwrap().len();
        drop(server);
        until("it says that the server is away", || troubles.lock().unwrap().len() > known);
        server = user.serve_on(&address, &[]);
    }
    publish(&server, ORDERS..ORDERS + STREAMS, STREAMS);
    until("the newest of each stream", || {
        let seen = seen.lock().unwrap();
        (ORDERS..ORDERS + STREAMS).all(|newest| seen.iter().any(|(_, order)| *order == newest))
    });
    stop.stop();
    running.join().unwrap().unwrap();
    assert_at_least_once_in_order(&seen, ORDERS + STREAMS, STREAMS);
    let billing = get(&server, "/v1/subscriptions/billing");
    assert_eq!(billing["deadletters"], 0, "nothing was given up: {billing}");
    let troubles = troubles.lock().unwrap();
    assert!(troubles.iter().all(|error| error.starts_with(&server.url)), "{troubles:?}");
}

#[test]
fn what_was_handled_while_the_server_was_away_is_finished_once_it_is_back() {
    let user = User::new();
    let mut server = server(&user, &json!({}));
    publish(&server, 0..1, 1);
    let address = server.address().to_owned();
    let worker = AtWork::start(&server);
    // A clean stop: it knows the attempt still when it is back, or hands it out once more.
    assert_eq!(server.stop().0, 0);
    worker.goes_on.send(true).unwrap();
    worker.has_tried(3);
    server = user.serve_on(&address, &[]);
    until("it is finished", || get(&server, "/v1/subscriptions/billing")["position"] == 1);
    worker.end();
}
