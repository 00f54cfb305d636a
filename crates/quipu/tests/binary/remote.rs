//! A worker for a subscription of a server: the same handlers as in process, and it goes on by itself when the server was
//! killed. Real servers, real kills.

mod kill;
mod stop;

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use quipu::{Delivery, Error, Failed, Quipu, Remote, Stopper};
use serde_json::{Value, json};

use crate::process::{DEADLINE, Server, User};
use crate::tls::{Authority, settings};
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

/// A worker that is at work on an order until it is told to go on.
struct AtWork {
    goes_on: tokio::sync::watch::Sender<bool>,
    /// Each try that failed.
    tries: Receiver<()>,
    stop: Stopper,
    running: JoinHandle<Result<(), Error>>,
}

impl AtWork {
    fn start(server: &Server) -> Self {
        let (began, begins) = channel();
        let (goes_on, waits) = tokio::sync::watch::channel(false);
        let (tried, tries) = channel();
        let worker = worker(server).on_trouble(move |_| _ = tried.send(())).on("order.placed", move |_, _: Order| {
            let (began, mut waits) = (began.clone(), waits.clone());
            async move {
                _ = began.send(());
                _ = waits.wait_for(|goes_on| *goes_on).await;
                Ok(())
            }
        });
        let stop = worker.stopper();
        let running = std::thread::spawn(move || block_on(worker.run()));
        begins.recv_timeout(DEADLINE).unwrap();
        Self { goes_on, tries, stop, running }
    }

    /// Waits until so many tries failed.
    fn has_tried(&self, count: usize) {
        (0..count).for_each(|_| self.tries.recv_timeout(DEADLINE).unwrap());
    }

    fn end(self) {
        self.stop.stop();
        self.running.join().unwrap().unwrap();
    }
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
fn a_deadline_that_becomes_short_while_a_worker_waits_is_kept() {
    let user = User::new();
    let server = server(&user, &json!({"ackdeadlinems": 600_000}));
    publish(&server, 0..1, 1);
    let attempts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&attempts);
    let worker = worker(&server).on("order.placed", move |delivery, order: Order| {
        noted.lock().unwrap().push((order.total, delivery.attempt()));
        async move {
            // The first until the worker knows the long deadline, the other until the short one is over twice.
            tokio::time::sleep(Duration::from_millis(if order.total == 3 { 5_000 } else { 500 })).await;
            Ok(())
        }
    });
    let stop = worker.stopper();
    let running = std::thread::spawn(move || block_on(worker.run()));
    let acknowledged = |count| get(&server, "/v1/subscriptions/billing")["counts"]["acknowledged"] == count;
    until("the first order", || acknowledged(1));
    let short = json!({"start": "beginning", "ackdeadlinems": 2_400});
    let put = ureq::put(format!("{}/v1/subscriptions/billing", server.url)).header("content-type", "application/json");
    put.send(short.to_string()).unwrap();
    publish(&server, 3..4, 1);
    until("the long order", || acknowledged(2));
    stop.stop();
    running.join().unwrap().unwrap();
    assert_eq!(*attempts.lock().unwrap(), [(0, 1), (3, 1)]);
}

#[test]
fn a_worker_ends_when_its_subscription_does_not_exist() {
    let user = User::new();
    let server = server(&user, &json!({}));
    for name in ["nothing", "../billing", ""] {
        let worker = Remote::new(&server.url).unwrap().worker(name);
        let ended = block_on(worker.on("order.placed", |_, _: Order| async { Ok(()) }).run()).unwrap_err();
        assert!(matches!(ended, Error::Subscription(_)), "{name}");
    }
}

/// What a handler was given: its label, the type and subject of the event, and its data.
type Given = Arc<Mutex<Vec<(String, String, Value)>>>;

fn giving(worker: quipu::Worker, given: &Given) -> quipu::Worker {
    let note = |label: &'static str| {
        let given = Arc::clone(given);
        move |delivery: Delivery, data: Value| -> Noted {
            let noted = delivery.event().map(|event| {
                assert_eq!((event.data_schema(), event.attribute("zone")), (None, Some("north")));
                format!("{} {} {}", event.kind(), event.subject().unwrap_or_default(), delivery.stamp().position)
            });
            given.lock().unwrap().push((label.to_owned(), noted.unwrap(), data));
            Box::pin(std::future::ready(Ok(())))
        }
    };
    let worker = worker.on("order.placed", note("placed"));
    worker.on_pattern(r#"{"data":{"sum":[9]}}"#, note("nine")).unwrap().on("order.cancelled", note("cancelled"))
}

#[test]
fn a_transforming_subscription_hands_the_same_to_a_handler_in_process_and_of_a_server() {
    let user = User::new();
    let server = user.serve(&[]);
    let text = r#"{"paths":{"id":"$.id"},"template":"order \"<id>\""}"#;
    let transforms = [
        ("jq", json!({"jq": "{sum: .data.total}"})),
        ("event", json!({"jq": "."})),
        ("text", json!({"template": serde_json::from_str::<Value>(text).unwrap()})),
    ];
    let event = |id: &str, kind: &str, total: u64| {
        json!({"specversion": "1.0", "id": id, "source": "/shop", "type": kind, "subject": format!("order/{id}"),
            "zone": "north", "dataschema": "https://shop.example/order.json", "data": {"total": total}})
    };
    let events = [("1", "order.placed.v2", 7), ("2", "order.cancelled", 9), ("3", "order.cancelled", 8)];
    let events = events.map(|(id, kind, total)| event(id, kind, total));
    post(&server, "/v1/events", "application/cloudevents-batch+json", &json!(events));
    for (name, transform) in &transforms {
        for place in ["remote", "local"] {
            let definition = json!({"name": format!("{name}-{place}"), "start": "beginning", "ordering": "strict", "transform": transform});
            post(&server, "/v1/subscriptions", "application/json", &definition);
        }
    }
    let run = |worker: quipu::Worker| {
        let given = Given::default();
        let worker = giving(worker, &given);
        worker.stopper().stop_when_idle();
        block_on(worker.run()).unwrap();
        std::mem::take(&mut *given.lock().unwrap())
    };
    let remote =
        transforms.each_ref().map(|(name, _)| run(Remote::new(&server.url).unwrap().worker(&format!("{name}-remote"))));
    assert_eq!(get(&server, "/v1/deadletters")["deadletters"], json!([]));
    assert_eq!(server.stop().0, 0);
    let quipu = Quipu::open(user.path("quipu-data")).unwrap();
    let local = transforms.each_ref().map(|(name, _)| run(quipu.worker(&format!("{name}-local"))));
    assert_eq!(remote, local);

    let [jq, event, text] = local;
    let given = |label: &str, event: &str, data: Value| (label.to_owned(), event.to_owned(), data);
    assert_eq!(
        jq,
        [
            given("placed", "order.placed.v2 order/1 1", json!({"sum": 7})),
            given("nine", "order.cancelled order/2 2", json!({"sum": 9})),
            given("cancelled", "order.cancelled order/3 3", json!({"sum": 8})),
        ]
    );
    assert_eq!(text[0], given("placed", "order.placed.v2 order/1 1", json!("order \"1\"")));
    assert_eq!(event[0].2["data"], json!({"total": 7}), "a whole event is data as everything else is");
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
    let in_process = quipu.pull("billing", 1, DEADLINE).unwrap();
    let key = in_process[0].idempotency_key();
    assert!(keys.lock().unwrap().iter().all(|remote| *remote == key), "{key} {keys:?}");
    let database = rusqlite::Connection::open(user.path("shop.sqlite")).unwrap();
    let count = |table| database.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get::<_, i64>(0));
    assert_eq!((count("charged"), count("quipu_processed")), (Ok(1), Ok(1)));
}

#[test]
fn a_worker_calls_a_server_over_tls_and_shows_its_certificate() {
    let user = User::new();
    let (ours, clients) = (Authority::new("ours"), Authority::new("of clients"));
    let ca = std::fs::read(ours.file(&user, "ca.pem")).unwrap();
    let mut args = settings(&ours.issue(&user, "own", 2100));
    args.extend(["--set".to_owned(), format!("tls_client_authorities_file={}", clients.file(&user, "clients.pem"))]);
    let server = user.serve(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let [certificate, key] = clients.issue(&user, "machine", 2100);
    let run = |args: &[&str], stdin: &str| {
        let shown =
            ["--ca-file", &user.path("ca.pem"), "--certificate-file", &certificate, "--certificate-key-file", &key];
        user.run_with(&[&["--url", &server.url], &shown[..], args].concat(), stdin).ok()
    };
    run(&["subscription", "create", "billing", "--start", "beginning"], "");
    run(&["event", "publish", "-"], &crate::process::events(20));
    let remote = Remote::new(&server.url).unwrap().with_authorities(&ca).unwrap();
    let [certificate, key] = [&certificate, &key].map(|path| std::fs::read(path).unwrap());
    assert!(remote.clone().with_certificate(&certificate, &ca).is_err());

    // Without it the server is no use, which may pass: the authorities of a server change.
    let (tried, tries) = channel();
    let nobody = remote.worker("billing").on_trouble(move |error| _ = tried.send(error.to_string()));
    let stop = nobody.stopper();
    let running = std::thread::spawn(move || block_on(nobody.run()));
    let said = tries.recv_timeout(DEADLINE).unwrap();
    stop.stop();
    _ = running.join().unwrap();
    assert!(said.contains("CertificateRequired"), "{said}");

    let remote = remote.with_certificate(&certificate, &key).unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let worker = remote.worker("billing").on_trouble(|error| panic!("{error}"));
    let worker = worker.on("order.placed", move |delivery: Delivery, _: Value| {
        noted.lock().unwrap().push(delivery.idempotency_key().to_owned());
        async { Ok(()) }
    });
    worker.stopper().stop_when_idle();
    block_on(worker.run()).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 20);
}
