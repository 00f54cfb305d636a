//! A worker for a subscription of a server: the same handlers as in process, and it goes on by itself when the server was
//! killed. Real servers, real kills.

mod kill;
mod stop;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quipu::{Delivery, Error, Failed, Quipu, Remote};
use serde_json::{Value, json};

use crate::process::{Server, User};
use crate::worker_loops::{get, post, until};

#[derive(serde::Deserialize)]
struct Order {
    total: u64,
}

/// A server with a subscription `billing`.
fn server(user: &User, definition: &Value) -> Server {
    let server = user.serve(&[]);
    let mut billing = json!({"name": "billing", "start": "beginning", "retry": {"backoff": {"delaysms": [5]}}});
    billing.as_object_mut().unwrap().extend(definition.as_object().unwrap().clone());
    post(&server, "/v1/subscriptions", "application/json", &billing);
    server
}

/// Orders with these numbers, in one of so many streams each.
fn publish(server: &Server, numbers: std::ops::Range<u64>, streams: u64) {
    let kinds = ["order.placed", "order.placed.v2", "order.cancelled"];
    let event = |number: u64| {
        json!({"specversion": "1.0", "id": number.to_string(), "source": "/shop", "type": kinds[number as usize % 3],
            "subject": format!("order/{}", number % streams), "data": {"total": number}})
    };
    let events: Vec<Value> = numbers.map(event).collect();
    post(server, "/v1/events", "application/cloudevents-batch+json", &json!(events));
}

fn worker(server: &Server) -> quipu::Worker {
    Remote::new(&server.url).unwrap().worker("billing")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// What handlers were called with, in order.
type Seen = Arc<Mutex<Vec<(String, u64)>>>;

/// A handler that notes its label and the order, and takes a while, so that other keys overtake it.
fn note(label: &'static str, seen: &Seen) -> impl Fn(Delivery, Order) -> Noted + Send + Sync + 'static {
    let seen = Arc::clone(seen);
    move |delivery: Delivery, order: Order| {
        let seen = Arc::clone(&seen);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_micros(order.total % 5 * 300)).await;
            let event = delivery.event()?;
            assert_eq!(event.id(), order.total.to_string());
            seen.lock().unwrap().push((format!("{label} {}", event.subject().unwrap_or_default()), order.total));
            Ok(())
        })
    }
}

type Noted = std::pin::Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>>;

/// Every order was handled, and no one of a key before one that comes before it.
fn assert_at_least_once_in_order(seen: &Seen, orders: u64, streams: u64) {
    let seen = seen.lock().unwrap();
    for stream in 0..streams {
        let mut next = stream;
        for (_, order) in seen.iter().filter(|(_, order)| order % streams == stream) {
            assert!(*order <= next, "{order} was handled before {next}: {seen:?}");
            next += if *order == next { streams } else { 0 };
        }
        assert!(next >= orders, "{next} was not handled: {seen:?}");
    }
}

#[test]
fn each_event_of_a_server_goes_to_the_first_handler_that_fits_and_in_order_per_key() {
    let user = User::new();
    let server = server(&user, &json!({}));
    publish(&server, 0..200, 7);
    let seen = Seen::default();
    let worker = worker(&server).on("order.placed", note("placed", &seen));
    let worker = worker.on_pattern(r#"{"type":[{"prefix":"order."}]}"#, note("other", &seen)).unwrap();
    worker.stopper().stop_when_idle();
    block_on(worker.run()).unwrap();
    assert_at_least_once_in_order(&seen, 200, 7);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 200, "nothing failed, so nothing came twice");
    assert!(seen.iter().all(|(label, order)| label.starts_with("other") == (order % 3 == 2)), "{seen:?}");
    assert_eq!(get(&server, "/v1/subscriptions/billing")["counts"]["acknowledged"], 200, "every answer was given");
}

#[test]
fn what_fails_is_tried_again_and_what_can_never_succeed_becomes_a_dead_letter_of_the_server() {
    let user = User::new();
    let server = server(&user, &json!({"retry": {"maxattempts": 3, "backoff": {"delaysms": [5]}}}));
    publish(&server, 0..6, 6);
    let attempts: Arc<Mutex<Vec<(u64, u32)>>> = Arc::default();
    let noted = Arc::clone(&attempts);
    let worker = worker(&server).on("order.placed", move |delivery, order: Order| {
        noted.lock().unwrap().push((order.total, delivery.attempt()));
        async move {
            match (order.total, delivery.attempt()) {
                (0, 1) => Err(Failed::Retry("the bank sleeps".into())),
                (1, 1) => Err(Failed::RetryAfter(0, "busy".into())),
                (3, _) => panic!("a bug of the handler"),
                (4, _) => Err(Failed::GiveUp("no such account".into())),
                _ => Ok(()),
            }
        }
    });
    let stop = worker.stopper();
    let running = std::thread::spawn(move || block_on(worker.run()));
    until("two orders processed and four given up", || {
        let billing = get(&server, "/v1/subscriptions/billing");
        (&billing["counts"]["acknowledged"], &billing["deadletters"]) == (&json!(2), &json!(4))
    });
    stop.stop();
    running.join().unwrap().unwrap();
    let mut attempts = attempts.lock().unwrap().clone();
    attempts.sort_unstable();
    assert_eq!(attempts, [(0, 1), (0, 2), (1, 1), (1, 2), (3, 1), (3, 2), (3, 3), (4, 1)]);
    let letters = get(&server, "/v1/deadletters").to_string();
    for error in ["the handler panicked", "no such account", "expected a handler for order.cancelled, found none"] {
        assert!(letters.contains(error), "expected {error}, found {letters}");
    }
}

#[test]
fn a_handler_may_take_longer_than_the_deadline_of_a_server() {
    let user = User::new();
    let server = server(&user, &json!({"ackdeadlinems": 600}));
    publish(&server, 0..1, 1);
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&attempts);
    let worker = worker(&server).on("order.placed", move |delivery, _: Order| {
        noted.lock().unwrap().push(delivery.attempt());
        async {
            tokio::time::sleep(Duration::from_millis(2_000)).await;
            Ok(())
        }
    });
    worker.stopper().stop_when_idle();
    block_on(worker.run()).unwrap();
    assert_eq!(*attempts.lock().unwrap(), [1]);
    assert_eq!(get(&server, "/v1/subscriptions/billing")["counts"]["acknowledged"], 1, "it was acknowledged in time");
}

#[test]
fn a_worker_ends_when_its_subscription_does_not_exist_or_has_no_events_for_it() {
    let user = User::new();
    let server = server(&user, &json!({"transform": {"jq": ".data"}}));
    publish(&server, 0..1, 1);
    let run = |name: &str| {
        let worker = Remote::new(&server.url).unwrap().worker(name);
        block_on(worker.on("order.placed", |_, _: Order| async { Ok(()) }).run()).unwrap_err()
    };
    for name in ["nothing", "../billing", ""] {
        assert!(matches!(run(name), Error::Subscription(_)), "{name}");
    }
    let transforms = run("billing");
    assert!(matches!(&transforms, Error::Server { reason, .. } if reason.contains("transforms")), "{transforms}");
    assert_eq!(get(&server, "/v1/subscriptions/billing")["counts"]["handedout"], 0, "nothing was taken");
}

#[cfg(feature = "sqlite")]
#[test]
fn an_effect_happens_once_and_its_key_is_the_one_that_the_delivery_has_in_process() {
    use quipu::idempotent::sqlite::first_time;

    let user = User::new();
    let server = server(&user, &json!({}));
    publish(&server, 0..1, 1);
    let keys: Arc<Mutex<Vec<String>>> = Arc::default();
    let worker = {
        let keys = Arc::clone(&keys);
        let path = user.path("shop.sqlite");
        worker(&server).on("order.placed", move |delivery, _: Order| {
            let (keys, path) = (Arc::clone(&keys), path.clone());
            async move {
                let mut database = rusqlite::Connection::open(path)?;
                let transaction = database.transaction()?;
                if first_time(&transaction, &delivery)? {
                    transaction
                        .execute_batch("CREATE TABLE charged (total INTEGER); INSERT INTO charged VALUES (1)")?;
                }
                transaction.commit()?;
                keys.lock().unwrap().push(delivery.idempotency_key());
                Err(Failed::Retry("it fails after its effect".into()))
            }
        })
    };
    let stop = worker.stopper();
    let running = std::thread::spawn(move || block_on(worker.run()));
    until("three attempts", || keys.lock().unwrap().len() >= 3);
    stop.stop();
    running.join().unwrap().unwrap();
    assert_eq!(server.stop().0, 0);

    let quipu = Quipu::open(user.path("quipu-data")).unwrap();
    let in_process = quipu.pull("billing", 1, crate::process::DEADLINE).unwrap();
    let key = in_process[0].idempotency_key();
    assert!(keys.lock().unwrap().iter().all(|remote| *remote == key), "{key} {keys:?}");
    let database = rusqlite::Connection::open(user.path("shop.sqlite")).unwrap();
    let count = |table| database.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get::<_, i64>(0));
    assert_eq!((count("charged"), count("quipu_processed")), (Ok(1), Ok(1)));
}
