//! Effects in a handler's own database happen once: when its process is killed before or after its commit, and when
//! several workers have the same delivery at once. Real files, a real server, real kills.

mod postgres;
mod sqlite;

use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quipu::{Backoff, Delivery, Event, Failed, Quipu, RetryPolicy, StartAt, Subscription};
use rustix::process::{Signal, getpid, kill_process};
use tempfile::TempDir;

use crate::cluster::block_on;

/// Set for the worker processes that a test starts, which are the same test once more.
const FOLDER: &str = "QUIPU_TEST_WORKER_FOLDER";
const DIES: &str = "QUIPU_TEST_WORKER_DIES";

/// What a worker process works off.
const ORDERS: i64 = 3;

#[derive(serde::Deserialize)]
struct Order {
    total: i64,
}

/// A store with so many orders of one key. Made once more, it stays as it is.
fn store_with_orders(folder: &Path, count: i64) -> Quipu {
    let quipu = Quipu::open(folder.join("store")).unwrap();
    let retry = RetryPolicy { backoff: Backoff::Delays { delays_ms: vec![5] }, ..RetryPolicy::default() };
    let definition =
        Subscription { start: StartAt::Beginning, retry, ack_deadline_ms: 2_000, ..Subscription::default() };
    quipu.create_subscription("billing", definition).unwrap();
    for total in 1..=count {
        let event = Event::builder(total.to_string(), "/shop", "order.placed").subject("order/1");
        quipu.publish(&event.json(format!(r#"{{"total":{total}}}"#)).build().unwrap()).unwrap();
    }
    quipu
}

/// Deliveries as a worker has them, and the folder of their store.
fn deliveries(count: i64) -> (TempDir, Vec<Delivery>) {
    let folder = TempDir::new().unwrap();
    let quipu = store_with_orders(folder.path(), count);
    let mut deliveries = Vec::new();
    while (deliveries.len() as i64) < count {
        let pulled = quipu.pull("billing", 1_000, Duration::from_secs(30)).unwrap();
        pulled.iter().for_each(|delivery| quipu.answer(delivery, quipu::Answer::Ack).unwrap());
        deliveries.extend(pulled);
    }
    (folder, deliveries)
}

/// The life of a worker process: it works off the orders until it dies, or all are processed.
#[derive(Clone)]
struct Life {
    folder: PathBuf,
    dies: String,
}

impl Life {
    /// What this process was started for, if it is a worker.
    fn of_this_process() -> Option<Self> {
        Some(Self { folder: std::env::var_os(FOLDER)?.into(), dies: std::env::var(DIES).ok()? })
    }

    /// Dies, without a destructor or a last write, if this is the moment for it.
    fn reach(&self, moment: &str) {
        if self.dies == moment {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    }

    fn run<F>(&self, effect: impl Fn(Self, Delivery, Order) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), Failed>> + Send + 'static,
    {
        // The test itself never has it open: what another of its threads starts could inherit the lock for a moment.
        let quipu = store_with_orders(&self.folder, ORDERS);
        let (life, effect) = (self.clone(), Arc::new(effect));
        let worker = quipu.worker("billing").on("order.placed", move |delivery, order: Order| {
            let (life, effect) = (life.clone(), Arc::clone(&effect));
            async move {
                let mut handled =
                    std::fs::File::options().append(true).create(true).open(life.folder.join("handled"))?;
                writeln!(handled, "{}", order.total)?;
                effect(life, delivery, order).await
            }
        });
        let stopper = worker.stopper();
        std::thread::spawn(move || {
            while quipu.subscriptions()[0].counts.acknowledged < ORDERS as u64 {
                std::thread::sleep(Duration::from_millis(5));
            }
            stopper.stop();
        });
        block_on(worker.run()).unwrap();
    }
}

/// Runs a test once more as a worker, for each of these deaths and then until all is processed. What its handler was
/// called with, in order.
fn lives_of_a_worker(test: &str, folder: &Path) -> Vec<String> {
    for (dies, signal) in [("before-commit", Some(9)), ("after-commit", Some(9)), ("never", None)] {
        let mut worker = Command::new(std::env::current_exe().unwrap());
        worker.args([test, "--exact", "--nocapture"]).env(FOLDER, folder).env(DIES, dies);
        let output = worker.stdin(Stdio::null()).output().unwrap();
        let ended = output.status.signal();
        assert!(ended == signal && (ended.is_some() || output.status.success()), "{dies}: {output:?}");
    }
    std::fs::read_to_string(folder.join("handled")).unwrap().lines().map(str::to_owned).collect()
}
