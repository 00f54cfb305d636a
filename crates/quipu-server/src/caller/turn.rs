//! Whose turn it is: of the calls of one run of a step the first goes, and each of the others when the one before it is over.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quipu_engine::SagaCall;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

/// A call of which less than one in so many parts of its time is left is not begun, and one that had waited for more than that is no
/// measure of its endpoint if it runs out of time: a backlog would make one that works look dead, for webhooks too.
const PARTS: u32 = 10;

/// The instance, the step, and which run of it.
type Run = (u64, u16, u16);

/// Runs that have a call whose turn it is, each with those behind it.
#[derive(Clone)]
pub(super) struct Turns(Arc<Inner>);

struct Inner {
    behind: Mutex<HashMap<Run, VecDeque<Known>>>,
    turn: mpsc::UnboundedSender<Waiting>,
}

/// A call, and its place among those that may be known.
type Known = (SagaCall, OwnedSemaphorePermit);

/// A call whose turn it is. Dropped, the next of its run has its turn.
pub(super) struct Waiting {
    known: Known,
    /// When whoever waits for it has waited long enough.
    pub deadline: Instant,
    turns: Turns,
}

impl Turns {
    /// None yet, and where calls come out whose turn it is.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Waiting>) {
        let (turn, arrivals) = mpsc::unbounded_channel();
        (Self(Arc::new(Inner { behind: Mutex::default(), turn })), arrivals)
    }

    /// Has a call wait for its turn.
    pub fn wait(&self, call: SagaCall, permit: OwnedSemaphorePermit) {
        let run = run_of(&call);
        {
            let mut behind = self.behind();
            if let Some(others) = behind.get_mut(&run) {
                return others.push_back((call, permit));
            }
            behind.insert(run, VecDeque::new());
        }
        self.begin((call, permit));
    }

    fn begin(&self, known: Known) {
        let deadline = Instant::now() + timeout_of(&known.0);
        // Nobody takes it any more when the server stops.
        let _ = self.0.turn.send(Waiting { known, deadline, turns: self.clone() });
    }

    fn behind(&self) -> MutexGuard<'_, HashMap<Run, VecDeque<Known>>> {
        self.0.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    pub fn call(&self) -> &SagaCall {
        &self.known.0
    }

    /// It is not called from then on.
    pub fn begin_by(&self) -> Instant {
        self.deadline - timeout_of(self.call()) / PARTS
    }

    /// Whether an endpoint that did not answer in so much time may be taken for one that does not work.
    pub fn is_fair(&self, given: Duration) -> bool {
        let whole = timeout_of(self.call());
        given >= whole - whole / PARTS
    }
}

fn timeout_of(call: &SagaCall) -> Duration {
    Duration::from_millis(call.timeout_ms)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let run = run_of(self.call());
        let next = {
            let mut behind = self.turns.behind();
            let next = behind.get_mut(&run).and_then(VecDeque::pop_front);
            if next.is_none() {
                behind.remove(&run);
            }
            next
        };
        next.into_iter().for_each(|next| self.turns.begin(next));
    }
}

fn run_of(call: &SagaCall) -> Run {
    (call.number, call.attempt.node, call.attempt.iteration)
}

#[cfg(test)]
mod tests {
    use quipu_domain::saga::{Attempt, Purpose};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_call_that_waited_is_begun_while_some_of_its_time_is_left_and_judges_nobody_by_the_rest() {
        let (turns, mut arrivals) = Turns::new();
        let attempt = Attempt { node: 1, iteration: 0, number: 1, purpose: Purpose::Command };
        let call = SagaCall { number: 7, attempt, url: "https://a.example".into(), timeout_ms: 10_000 };
        turns.wait(call, Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap());
        let waiting = arrivals.try_recv().unwrap();
        assert_eq!(waiting.deadline - waiting.begin_by(), Duration::from_secs(1));
        for (given_ms, is_fair) in [(10_000, true), (9_990, true), (9_000, true), (8_999, false), (1, false)] {
            assert_eq!(waiting.is_fair(Duration::from_millis(given_ms)), is_fair, "{given_ms} ms");
        }
    }

    #[tokio::test]
    async fn what_undoes_a_step_waits_for_the_call_that_did_it_and_other_steps_do_not() {
        let (turns, mut arrivals) = Turns::new();
        let permits = Arc::new(Semaphore::new(4));
        let wait = |node, purpose| {
            let attempt = Attempt { node, iteration: 0, number: 1, purpose };
            let call = SagaCall { number: 7, attempt, url: "https://a.example".into(), timeout_ms: 1_000 };
            turns.wait(call, Arc::clone(&permits).try_acquire_owned().unwrap());
        };
        wait(1, Purpose::Command);
        wait(1, Purpose::Compensation);
        wait(2, Purpose::Command);
        let names = |waiting: &Waiting| waiting.call().attempt.to_string();
        let first = arrivals.try_recv().unwrap();
        assert_eq!(names(&first), "1.0/1");
        assert_eq!(names(&arrivals.try_recv().unwrap()), "2.0/1");
        assert!(arrivals.try_recv().is_err());
        drop(first);
        let undoing = arrivals.try_recv().unwrap();
        assert_eq!(names(&undoing), "1.0/c/1");
        drop(undoing);
        assert!(arrivals.try_recv().is_err() && turns.behind().is_empty());
        assert_eq!(permits.available_permits(), 4, "nothing is kept of what is over");
    }
}
