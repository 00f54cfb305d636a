//! Durable subscriptions that a WebSocket consumes: one task each waits for credits and for deliveries. One batch for the
//! whole connection is on its way at a time, so a client that does not read costs that much and no more.

use std::sync::Arc;

use quipu_api::delivery::{CONSUMED_MAX, CREDITS_MAX};
use quipu_api::frame::Credits;
use quipu_api::{Code, Problem};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

use crate::App;
use crate::consume::Batch;
use crate::refusal::refused;

/// Most deliveries of a frame.
const BATCH_DELIVERIES: usize = 256;
/// Bytes of events of a frame, but for a single larger one.
const BATCH_BYTES: usize = 256 << 10;

/// What a connection consumes.
pub(crate) struct Consuming {
    app: Arc<App>,
    consumers: Vec<Consumer>,
    /// Names a consumer: what one that was stopped had under way is not taken for that of its successor.
    next_number: u64,
    sender: mpsc::Sender<Pushed>,
    receiver: mpsc::Receiver<Pushed>,
}

struct Consumer {
    name: Arc<str>,
    number: u64,
    credits: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Deliveries on their way to the client, or why there are no more.
struct Pushed {
    number: u64,
    batch: Result<Batch, Problem>,
}

impl Consuming {
    pub(crate) fn new(app: &Arc<App>) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        Self { app: Arc::clone(app), consumers: Vec::new(), next_number: 0, sender, receiver }
    }

    /// Begins to consume a subscription.
    pub(crate) fn begin(&mut self, asked: Credits) -> Result<Credits, Problem> {
        let Credits { subscription, credits } = asked;
        if self.find(&subscription).is_some() {
            let detail = format!("expected a subscription that is not consumed here, found that {subscription} is");
            return Err(about(Problem::pointer("/consume/subscription", detail), &subscription));
        }
        if self.consumers.len() >= CONSUMED_MAX {
            let detail = format!("expected at most {CONSUMED_MAX} subscriptions on a connection, found more");
            return Err(about(Problem::pointer("/consume", detail), &subscription));
        }
        let found = self.app.tenant.definition(&subscription);
        found.map_err(|refusal| about(refused(&refusal), &subscription))?;
        let (name, number): (Arc<str>, u64) = (subscription.as_str().into(), self.next_number);
        self.next_number += 1;
        let (sender, _) = watch::channel(credits);
        let push = Push {
            app: Arc::clone(&self.app),
            name: Arc::clone(&name),
            number,
            credits: sender.clone(),
            out: self.sender.clone(),
        };
        let task = tokio::spawn(async move { push.run().await });
        self.consumers.push(Consumer { name, number, credits: sender, task });
        Ok(Credits { subscription, credits })
    }

    /// Adds credits. With what the subscription has now.
    pub(crate) fn credit(&mut self, asked: Credits) -> Result<Credits, Problem> {
        let Credits { subscription, credits } = asked;
        let Some(consumer) = self.find(&subscription) else { return Err(not_consumed(&subscription)) };
        let mut sum = 0;
        consumer.credits.send_if_modified(|had| {
            sum = had.saturating_add(credits);
            let fits = sum <= CREDITS_MAX;
            if fits {
                *had = sum;
            }
            fits
        });
        if sum > CREDITS_MAX {
            let detail = format!("expected at most {CREDITS_MAX} credits at once, found {sum}");
            return Err(about(Problem::new(Code::InvalidRequest, detail), &subscription));
        }
        Ok(Credits { subscription, credits: sum })
    }

    /// Ends one.
    pub(crate) fn stop(&mut self, name: &str) -> Result<(), Problem> {
        let before = self.consumers.len();
        self.consumers.retain(|consumer| &*consumer.name != name);
        if self.consumers.len() == before { Err(not_consumed(name)) } else { Ok(()) }
    }

    /// The next deliveries and whose they are, or why there are none any more. May be given up and called again.
    pub(crate) async fn next(&mut self) -> Result<(Arc<str>, Batch), Problem> {
        loop {
            let Some(Pushed { number, batch }) = self.receiver.recv().await else {
                return std::future::pending().await;
            };
            // What was under way when it was stopped is given back.
            let Some(at) = self.consumers.iter().position(|consumer| consumer.number == number) else { continue };
            let name = Arc::clone(&self.consumers[at].name);
            return match batch {
                Ok(batch) => Ok((name, batch)),
                Err(problem) => {
                    self.consumers.remove(at);
                    Err(about(problem, &name))
                }
            };
        }
    }

    fn find(&self, name: &str) -> Option<&Consumer> {
        self.consumers.iter().find(|consumer| &*consumer.name == name)
    }
}

/// Says which subscription it is about: a client has several.
pub(crate) fn about(problem: Problem, name: &str) -> Problem {
    problem.with("subscription", name.chars().take(128).collect::<String>())
}

fn not_consumed(name: &str) -> Problem {
    let detail = format!(
        "expected a subscription that is consumed here, found {:?}",
        name.chars().take(128).collect::<String>()
    );
    about(Problem::new(Code::InvalidRequest, detail), name)
}

/// The task of one consumer.
struct Push {
    app: Arc<App>,
    name: Arc<str>,
    number: u64,
    credits: watch::Sender<u32>,
    out: mpsc::Sender<Pushed>,
}

impl Push {
    async fn run(&self) {
        let mut credits = self.credits.subscribe();
        let (wake, mut watch) = (Arc::new(Notify::new()), None);
        let mut fitting = BATCH_DELIVERIES;
        loop {
            if *self.credits.borrow() == 0 {
                // Without credits nobody asks, and the engine is not to think so.
                watch = None;
            }
            if credits.wait_for(|credits| *credits > 0).await.is_err() {
                return;
            }
            if watch.is_none() {
                let woken = Arc::clone(&wake);
                // Of one that was deleted pulling tells.
                watch = self.app.tenant.on_available(&self.name, move || woken.notify_one()).ok();
            }
            // Nothing is handed out while the client has not taken what came before.
            let Ok(permit) = self.out.reserve().await else { return };
            let limit = (*self.credits.borrow() as usize).min(fitting);
            let batch = Batch::pull(&self.app, &self.name, limit, BATCH_BYTES).await;
            let number = self.number;
            match batch {
                Ok(batch) if batch.is_empty() => {
                    drop(permit);
                    wake.notified().await;
                }
                Ok(batch) => {
                    let taken = batch.len() as u32;
                    // What is handed out and does not fit is taken back, for nothing. Those that come may be smaller.
                    fitting = (batch.fitting(BATCH_BYTES) + 8).min(BATCH_DELIVERIES);
                    self.credits.send_modify(|credits| *credits = credits.saturating_sub(taken));
                    permit.send(Pushed { number, batch: Ok(batch) });
                }
                Err(problem) => return permit.send(Pushed { number, batch: Err(problem) }),
            }
        }
    }
}
