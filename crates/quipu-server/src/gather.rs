//! Single events of many connections, handed to the engine together. An event a message would cost a change of
//! threads, a commit and a wake-up each: with 64 connections that is more than parsing, deciding and writing it.
//!
//! Nobody waits for company: while the engine is at one group, the next comes together by itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use quipu_api::Problem;
use quipu_engine::{Fault, Prepared, Published, Tenant};
use tokio::sync::{mpsc, oneshot};

use crate::problem;

/// Most events in a group, and bytes of them: what the engine takes in one turn without making the first wait long.
const GROUP_EVENTS: usize = 1_024;
const GROUP_BYTES: usize = 1 << 20;
/// Groups at the engine at once: one that is decided while another syncs.
const GROUPS_IN_FLIGHT: usize = 2;
/// Bytes that may wait here. More is refused as overload, as the engine's own mailbox does it.
const WAITING_BYTES_MAX: usize = 64 << 20;

type Reply = Result<Vec<Published>, Fault>;

/// The way to the engine for single events.
pub(crate) struct Gather {
    entrance: mpsc::UnboundedSender<Single>,
    waiting: Arc<AtomicUsize>,
}

struct Single {
    event: Prepared,
    bytes: usize,
    answer: oneshot::Sender<Result<Published, Fault>>,
}

/// Events that are at the engine, and who waits for them.
struct Group {
    answers: Vec<oneshot::Sender<Result<Published, Fault>>>,
    bytes: usize,
    reply: oneshot::Receiver<Reply>,
}

impl Gather {
    /// Starts the task that gathers; it ends when this is dropped and everything is answered.
    pub(crate) fn start(tenant: Arc<Tenant>) -> Self {
        let (entrance, singles) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        // It must not keep the tenant open for the moment that it takes to notice that it is not needed any more.
        tokio::spawn(run(Arc::downgrade(&tenant), singles, Arc::clone(&waiting)));
        Self { entrance, waiting }
    }

    /// Publishes one event; `bytes` is what it costs to keep it until then. A fault that the engine meets in a group
    /// is the answer to all of it: what was recorded of it is found by repeating.
    pub(crate) async fn publish(&self, event: Prepared, bytes: usize) -> Result<Published, Problem> {
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting > 0 && waiting + bytes > WAITING_BYTES_MAX {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            return Err(problem::fault(&Fault::Overloaded { waiting, limit: WAITING_BYTES_MAX }));
        }
        let (answer, answered) = oneshot::channel();
        if self.entrance.send(Single { event, bytes, answer }).is_err() {
            return Err(problem::no_answer());
        }
        match answered.await {
            Ok(published) => published.map_err(|fault| problem::fault(&fault)),
            Err(_) => Err(problem::no_answer()),
        }
    }
}

async fn run(tenant: Weak<Tenant>, mut singles: mpsc::UnboundedReceiver<Single>, waiting: Arc<AtomicUsize>) {
    let mut groups: VecDeque<Group> = VecDeque::new();
    let mut is_open = true;
    while is_open || !groups.is_empty() {
        tokio::select! {
            biased;
            reply = first(&mut groups) => {
                let Some(group) = groups.pop_front() else { continue };
                waiting.fetch_sub(group.bytes, Ordering::Relaxed);
                group.answer(reply);
            }
            single = singles.recv(), if is_open && groups.len() < GROUPS_IN_FLIGHT => match single {
                Some(single) => {
                    // Other connections that this thread has to look after may have an event too.
                    tokio::task::yield_now().await;
                    let Some(tenant) = tenant.upgrade() else { return };
                    groups.push_back(send(&tenant, single, &mut singles));
                }
                None => is_open = false,
            },
        }
    }
}

/// Hands an event and those that wait behind it to the engine.
fn send(tenant: &Arc<Tenant>, first: Single, singles: &mut mpsc::UnboundedReceiver<Single>) -> Group {
    let (mut events, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut next = Some(first);
    while let Some(single) = next {
        events.push(single.event);
        answers.push(single.answer);
        bytes += single.bytes;
        next = if events.len() < GROUP_EVENTS && bytes < GROUP_BYTES { singles.try_recv().ok() } else { None };
    }
    let (sender, reply) = oneshot::channel();
    tenant.publish(events, move |published| {
        // The receiver is gone if the server is.
        let _ = sender.send(published);
    });
    Group { answers, bytes, reply }
}

async fn first(groups: &mut VecDeque<Group>) -> Option<Reply> {
    match groups.front_mut() {
        Some(group) => (&mut group.reply).await.ok(),
        None => std::future::pending().await,
    }
}

impl Group {
    /// Tells everybody. Without a reply the engine is gone: those who wait find that out by themselves. So do those
    /// whose client is gone: nobody has to hear them.
    fn answer(self, reply: Option<Reply>) {
        match reply {
            Some(Ok(published)) => {
                self.answers.into_iter().zip(published).for_each(|(answer, published)| _ = answer.send(Ok(published)));
            }
            Some(Err(fault)) => self.answers.into_iter().for_each(|answer| _ = answer.send(Err(fault.clone()))),
            None => {}
        }
    }
}
