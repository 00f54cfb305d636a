//! A worker runs handlers for each delivery, in order per key, and answers for them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quipu::{Backoff, DeadLetterFilter, Event, Failed, Quipu, RetryPolicy, StartAt, Subscription};
use tempfile::TempDir;

#[derive(serde::Deserialize)]
struct Order {
    total: u64,
}

fn store() -> (TempDir, Quipu) {
    let folder = TempDir::new().unwrap();
    let quipu = Quipu::open(folder.path()).unwrap();
    let backoff = Backoff::Delays { delays_ms: vec![5] };
    let retry = RetryPolicy { max_attempts: 3, backoff, ..RetryPolicy::default() };
    let definition = Subscription { start: StartAt::Beginning, retry, ack_deadline_ms: 300, ..Subscription::default() };
    quipu.create_subscription("billing", definition).unwrap();
    (folder, quipu)
}

fn publish(quipu: &Quipu, kind: &str, id: u64, subject: &str, data: &str) {
    let event = Event::builder(id.to_string(), "/shop", kind.to_owned())
        .subject(subject.to_owned())
        .json(data.to_owned())
        .build()
        .unwrap();
    quipu.publish(&event).unwrap();
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[test]
fn each_event_goes_to_the_first_handler_that_fits_and_in_order_per_key() {
    let (_folder, quipu) = store();
    for i in 0..200 {
        let kind = ["order.placed", "order.placed.v2", "order.cancelled"][i as usize % 3];
        publish(&quipu, kind, i, &format!("order/{}", i % 7), r#"{"total":1}"#);
    }
    let seen: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
    let note = |label: &'static str, seen: &Arc<Mutex<Vec<(String, u64)>>>| {
        let seen = Arc::clone(seen);
        move |delivery: quipu::Delivery, order: Order| {
            let seen = Arc::clone(&seen);
            async move {
                assert_eq!(order.total, 1);
                let event = delivery.event()?;
                // Others overtake this one, but not those of its key.
                tokio::time::sleep(Duration::from_micros(event.id().parse::<u64>()? % 5 * 300)).await;
                let subject = event.subject().unwrap_or_default().to_owned();
                seen.lock().unwrap().push((format!("{label} {subject}"), delivery.stamp().position));
                Ok(())
            }
        }
    };
    let worker = quipu
        .worker("billing")
        .on("order.placed", note("placed", &seen))
        .on_pattern(r#"{"type":[{"prefix":"order."}]}"#, note("other", &seen))
        .unwrap();
    worker.stopper().stop_when_idle();
    block_on(worker.run()).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().all(|(label, position)| label.starts_with("other") == ((position - 1) % 3 == 2)));
    for key in 0..7 {
        let of_key = seen.iter().filter(|(label, _)| label.ends_with(&format!("order/{key}")));
        assert!(of_key.map(|(_, position)| position).is_sorted(), "key {key} is out of order");
    }
}

#[test]
fn a_last_handler_for_every_event_leaves_none_without() {
    let (_folder, quipu) = store();
    publish(&quipu, "order.placed", 1, "a", r#"{"total":1}"#);
    publish(&quipu, "stock.moved", 2, "a", r#"{"sku":"x"}"#);
    quipu.publish(&Event::builder("3", "/shop", "shop.closed").build().unwrap()).unwrap();
    let rest = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&rest);
    let every = move |_, _: serde_json::Value| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    };
    let worker = quipu.worker("billing").on("order.placed", |_, _: Order| async { Ok(()) });
    let worker = worker.on_pattern(r#"{"type": [{"exists": true}]}"#, every).unwrap();
    worker.stopper().stop_when_idle();
    block_on(worker.run()).unwrap();
    let given_up = quipu.dead_letters(&DeadLetterFilter::default(), 0, 10).len();
    assert_eq!((rest.load(Ordering::Relaxed), given_up), (2, 0));
}

#[test]
fn what_fails_is_tried_again_and_what_can_never_succeed_becomes_a_dead_letter() {
    let (_folder, quipu) = store();
    publish(&quipu, "order.placed", 1, "a", r#"{"total":1}"#);
    publish(&quipu, "order.placed", 2, "a", r#"{"total":2}"#);
    publish(&quipu, "order.placed", 3, "b", r#"{"total":"much"}"#);
    publish(&quipu, "order.placed", 4, "c", r#"{"total":4}"#);
    publish(&quipu, "order.unknown", 5, "d", "{}");
    let attempts = Arc::new(AtomicU32::new(0));
    let processed: Arc<Mutex<Vec<u64>>> = Arc::default();
    let (tries, done) = (Arc::clone(&attempts), Arc::clone(&processed));
    let worker = quipu.worker("billing").on("order.placed", move |delivery, order: Order| {
        let (tries, done) = (Arc::clone(&tries), Arc::clone(&done));
        async move {
            if order.total == 1 && tries.fetch_add(1, Ordering::Relaxed) < 1 {
                return Err(Failed::Retry("the bank sleeps".into()));
            }
            assert!(order.total != 4, "a bug of the handler");
            assert!(!delivery.is_redriven());
            done.lock().unwrap().push(order.total);
            Ok(())
        }
    });
    let stop = worker.stopper();
    let watch = quipu.clone();
    std::thread::spawn(move || {
        while watch.dead_letters(&DeadLetterFilter::default(), 0, 10).len() < 3 {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.stop();
    });
    block_on(worker.run()).unwrap();
    assert_eq!(*processed.lock().unwrap(), [1, 2], "the second of the key waited for the first");
    let mut errors: Vec<String> = (1..=3)
        .map(|id| {
            let letter = quipu.dead_letter(id).unwrap();
            format!("{} {} {}", letter.position, letter.attempts, letter.history.last().unwrap().failure.error)
        })
        .collect();
    errors.sort();
    assert!(errors[0].starts_with("3 1 the data of order.placed does not fit"), "{errors:?}");
    assert_eq!(errors[1..], ["4 3 the handler panicked", "5 1 expected a handler for order.unknown, found none"]);
}

#[test]
fn a_handler_may_take_longer_than_the_deadline() {
    let (_folder, quipu) = store();
    publish(&quipu, "order.placed", 1, "a", r#"{"total":1}"#);
    let runs = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&runs);
    let worker = quipu.worker("billing").on("order.placed", move |_, _: Order| {
        let counter = Arc::clone(&counter);
        async move {
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            Ok(())
        }
    });
    worker.stopper().stop_when_idle();
    block_on(worker.run()).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert!(quipu.pull("billing", 1, Duration::from_millis(400)).unwrap().is_empty(), "it was acknowledged in time");
}

#[test]
fn a_worker_waits_for_events_and_ends_when_its_subscription_does_not_exist() {
    let (_folder, quipu) = store();
    let nothing = quipu.worker("nothing").on("a", |_, _: Order| async { Ok(()) });
    assert!(matches!(block_on(nothing.run()), Err(quipu::Error::Subscription(_))));
    let worker = quipu.worker("billing");
    let (stop, events) = (worker.stopper(), quipu.clone());
    let worker = worker.on("order.placed", move |_, _: Order| {
        let stop = stop.clone();
        async move {
            stop.stop();
            Ok(())
        }
    });
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        publish(&events, "order.placed", 1, "a", r#"{"total":1}"#);
    });
    block_on(worker.run()).unwrap();
}

#[test]
fn what_a_dropped_worker_had_taken_and_not_begun_is_handed_out_at_once_and_untried() {
    let (_folder, quipu) = store();
    let definition = Subscription { ack_deadline_ms: 60_000, ..quipu.subscriptions()[0].definition.as_ref().clone() };
    quipu.update_subscription("billing", definition).unwrap();
    (1..=4).for_each(|i| publish(&quipu, "order.placed", i, &format!("order/{i}"), r#"{"total":1}"#));
    block_on(async {
        let (began, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let worker = quipu.worker("billing").concurrency(1).on("order.placed", move |_, _: Order| {
            _ = began.send(());
            std::future::pending()
        });
        tokio::select! {
            ended = worker.run() => panic!("expected it to work, found {ended:?}"),
            _ = begins.recv() => {}
        }
    });
    let mut pulled = Vec::new();
    while pulled.len() < 3 {
        let deliveries = quipu.pull("billing", 10, Duration::from_secs(30)).unwrap();
        assert!(!deliveries.is_empty(), "expected what went back, found only {pulled:?}");
        pulled.extend(deliveries.iter().map(|delivery| (delivery.stamp().position, delivery.attempt())));
    }
    pulled.sort_unstable();
    assert_eq!(pulled, [(2, 1), (3, 1), (4, 1)]);
}
