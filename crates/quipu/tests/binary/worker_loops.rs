//! The worker loops of the README. The one in Rust stands here as it stands there; those in Python and TypeScript are
//! taken from it and run as they are, against the built binary: they work events off in order, say what fails, and
//! go on when the server was away. What is TypeScript is checked by its compiler as well.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use quipu::{Event, Quipu, Subscription};
use serde_json::{Value, json};

use crate::process::{DEADLINE, Server, User, lines};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md"));
/// Events that can be processed, and streams that they belong to in turn.
const ORDERS: usize = 30;
const STREAMS: usize = 3;

#[derive(serde::Deserialize)]
struct Order {
    total: u64,
}

async fn work(quipu: &Quipu) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let orders: Subscription = serde_json::from_str(r#"{"pattern": {"type": ["order.placed"]}}"#)?;
    quipu.create_subscription("billing", orders)?;
    let worker = quipu.worker("billing").on("order.placed", |delivery, order: Order| async move {
        println!("charge {} once for {}", order.total, delivery.idempotency_key());
        Ok(())
    });
    Ok(worker.run().await?)
}

/// The one example in this language that has these words.
fn example(language: &str, words: &str) -> String {
    let blocks =
        README.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    let mut blocks = blocks.filter(|block| block.contains(words));
    let block = blocks.next().unwrap_or_else(|| panic!("expected a worker in {language}, found none"));
    assert!(blocks.next().is_none(), "expected one worker in {language}, found more");
    block.to_owned()
}

/// Waits until it holds.
pub fn until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "expected {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn no_worker_of_the_readme_has_more_than_fifteen_lines() {
    for (language, words) in [("rust", "async fn work"), ("python", "pull"), ("typescript", "pull")] {
        let count = example(language, words).lines().filter(|line| !line.is_empty()).count();
        assert!((1..=15).contains(&count), "expected at most 15 lines in {language}, found {count}");
    }
}

#[test]
fn the_rust_worker_of_the_readme_is_this_one_and_works_events_off() {
    let example = example("rust", "async fn work");
    assert!(include_str!("worker_loops.rs").contains(&example), "the README has another worker than this file");

    let folder = tempfile::tempdir().unwrap();
    let quipu = Quipu::open(folder.path()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = quipu.clone();
    let worker = runtime.spawn(async move { work(&handle).await });
    until("a subscription", || !quipu.subscriptions().is_empty());
    for (id, kind, data) in [
        ("1", "order.placed", r#"{"total":90}"#),
        ("2", "stock.moved", r#"{"sku":"a"}"#),
        ("3", "order.placed", r#"{"total":"much"}"#),
        ("4", "order.placed", r#"{"total":91}"#),
    ] {
        quipu.publish(&Event::builder(id, "/shop", kind).json(data).build().unwrap()).unwrap();
    }
    until("two orders processed, one given up, and nothing else taken", || {
        let billing = &quipu.subscriptions()[0];
        (billing.counts.acknowledged, billing.dead_letters, billing.counts.handed_out) == (2, 1, 3)
    });
    assert!(!worker.is_finished(), "it waits for more");
    runtime.shutdown_background();
}

/// A worker of the README, killed when it is dropped.
struct Worker {
    child: Child,
    said: Receiver<String>,
}

impl Worker {
    fn start(user: &User, server: &Server, program: &str, file: &str, code: &str) -> Self {
        let mut command = Command::new(program);
        command.arg(user.write(file, code)).env("QUIPU_URL", &server.url).env("PYTHONDONTWRITEBYTECODE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("expected {program} to run it: {error}"));
        let said = lines(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// What it charges next, and for which key.
    fn charges(&self) -> (usize, String) {
        let line = self.said.recv_timeout(DEADLINE).expect("a charge in time");
        let words: Vec<&str> = line.split(' ').collect();
        let ["charge", total, "once", "for", key] = words[..] else { panic!("expected a charge, found {line:?}") };
        (total.parse().unwrap(), key.to_owned())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn post(server: &Server, path: &str, kind: &str, body: &Value) {
    let request = ureq::post(format!("{}{path}", server.url)).header("content-type", kind);
    request.send(body.to_string()).unwrap_or_else(|error| panic!("{path}: {error}"));
}

pub fn get(server: &Server, path: &str) -> Value {
    let text = ureq::get(format!("{}{path}", server.url)).call().unwrap().body_mut().read_to_string().unwrap();
    serde_json::from_str(&text).unwrap()
}

fn publish(server: &Server, orders: &[Value]) {
    let event = |(number, data): (usize, &Value)| {
        let total = data["total"].as_u64().unwrap_or(number as u64);
        let mut event =
            json!({"specversion": "1.0", "id": total.to_string(), "source": "/shop", "type": "order.placed"});
        event["subject"] = json!(format!("order/{}", number % STREAMS));
        if !data.is_null() {
            event["data"] = data.clone();
        }
        event
    };
    let events: Vec<Value> = orders.iter().enumerate().map(event).collect();
    post(server, "/v1/events", "application/cloudevents-batch+json", &json!(events));
}

fn works_off(language: &str, program: &str, file: &str, error: &str) {
    let user = User::new();
    let server = user.serve(&[]);
    let retry = json!({"maxattempts": 2, "backoff": {"delaysms": [10]}});
    post(&server, "/v1/subscriptions", "application/json", &json!({"name": "billing", "retry": retry}));
    let worker = Worker::start(&user, &server, program, file, &example(language, "pull"));

    // The last has no data, which no worker expects.
    let orders = (0..ORDERS).map(|total| json!({"total": total})).chain([Value::Null]);
    publish(&server, &orders.collect::<Vec<_>>());
    let charges: Vec<(usize, String)> = (0..ORDERS).map(|_| worker.charges()).collect();
    for stream in 0..STREAMS {
        let of_stream = charges.iter().map(|(total, _)| *total).filter(|total| total % STREAMS == stream);
        assert!(of_stream.is_sorted_by(|a, b| a < b), "{charges:?}");
    }
    let mut keys: Vec<&String> = charges.iter().map(|(_, key)| key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), ORDERS, "{charges:?}");
    until("all processed but one, which is a dead letter", || {
        let billing = get(&server, "/v1/subscriptions/billing");
        (&billing["counts"]["acknowledged"], &billing["deadletters"]) == (&json!(ORDERS), &json!(1))
    });
    let letter = get(&server, "/v1/deadletters/1").to_string();
    assert!(letter.contains(error), "expected {error}, found {letter}");

    let address = server.address().to_owned();
    assert_eq!(server.stop().0, 0);
    let server = user.serve_on(&address, &[]);
    publish(&server, &[json!({"total": 1_000})]);
    assert_eq!(worker.charges().0, 1_000, "it goes on where it was");
}

#[test]
fn the_python_worker_of_the_readme_works_events_off_in_order_and_says_what_fails() {
    works_off("python", "python3", "worker.py", "KeyError");
}

/// The one thing of Node.js that it uses and the compiler's own libraries do not know.
const NODE: &str = "declare const process: { env: Record<string, string | undefined> };";
const TSCONFIG: &str = r#"{"compilerOptions": {"noEmit": true, "strict": true, "target": "es2022", "module": "node16",
    "lib": ["es2022", "dom"], "types": []}, "files": ["node.d.ts", "worker.mts"]}"#;

/// What the compiler of TypeScript finds wrong with a worker.
fn mistakes(code: &str) -> String {
    let user = User::new();
    user.write("node.d.ts", NODE);
    user.write("worker.mts", code);
    let config = user.write("tsconfig.json", TSCONFIG);
    let output = Command::new("tsc").args(["--project", &config]).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("expected tsc to check it: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.success(), said.is_empty(), "{output:?}");
    said
}

#[test]
fn the_compiler_finds_nothing_wrong_with_the_typescript_worker_of_the_readme() {
    let worker = example("typescript", "pull");
    assert_eq!(mistakes(&worker), "");
    // It would find something.
    let misnamed = worker.replacen("token,", "tokens,", 1);
    assert!(mistakes(&misnamed).contains("Cannot find name 'token'"));
    let mistyped = worker.replacen("await post(\"pull\",", "await post(1,", 1);
    assert!(mistakes(&mistyped).contains("not assignable to parameter of type 'string'"));
}

/// It has no types, so that every node runs it, also those that cannot strip them.
#[test]
fn the_typescript_worker_of_the_readme_works_events_off_in_order_and_says_what_fails() {
    works_off("typescript", "node", "worker.mjs", "TypeError");
}
