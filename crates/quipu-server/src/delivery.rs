//! Deliveries to a client that stays connected: a follower of the log, read at the client's pace. Between two reads
//! a client costs a position and a filter, however far it is behind.

use std::sync::Arc;

use quipu_api::{Problem, TailRequest};
use quipu_engine::{Fault, Follower, Recorded, Tenant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{App, problem};

/// A follower this close to the end of the log reads what was just written, from memory: not worth a thread.
const INLINE_EVENTS: u64 = 512;
/// Most events at once.
const EVENTS_MAX: usize = 256;
/// Bytes of events at once that a client should cost.
const PAGE_BYTES: usize = 256 << 10;

/// Matching events as they are recorded.
pub(crate) struct Deliveries {
    tenant: Arc<Tenant>,
    positions: watch::Receiver<u64>,
    state: State,
    /// Events to ask for at once, from the size of those before.
    limit: usize,
}

/// A follower that has read, and what.
type Read = (Box<Follower>, Result<Vec<Recorded>, Fault>);

/// Where the follower is. A read that goes on in another thread keeps it.
enum State {
    Here(Box<Follower>),
    Reading(JoinHandle<Read>),
    Lost,
}

impl Deliveries {
    /// Begins to follow; says after which position.
    pub(crate) fn begin(app: &App, request: TailRequest) -> (Self, u64) {
        let positions = app.positions.subscribe();
        let after = request.from.follow_after(app.tenant.position());
        let state = State::Here(Box::new(app.tenant.follow(request.filter, after)));
        (Self { tenant: Arc::clone(&app.tenant), positions, state, limit: EVENTS_MAX / 4 }, after)
    }

    /// The next events that match, at least one; waits for them. May be given up and called again.
    pub(crate) async fn next(&mut self) -> Result<Vec<Recorded>, Problem> {
        loop {
            let read = match &mut self.state {
                State::Lost => return Err(problem::no_answer()),
                State::Reading(task) => {
                    let Ok((follower, read)) = task.await else {
                        self.state = State::Lost;
                        continue;
                    };
                    self.state = State::Here(follower);
                    read
                }
                State::Here(follower) => {
                    // Marked as seen before the log is looked at: a commit in between wakes us again.
                    let newest = (*self.positions.borrow_and_update()).max(self.tenant.position());
                    let behind = newest.saturating_sub(follower.position());
                    if behind == 0 {
                        self.positions.changed().await.map_err(|_| problem::no_answer())?;
                        continue;
                    }
                    if behind > INLINE_EVENTS {
                        self.read_elsewhere();
                        continue;
                    }
                    follower.next(self.limit)
                }
            };
            let events = read.map_err(|fault| problem::fault(&fault))?;
            if !events.is_empty() {
                return Ok(events);
            }
            // A stretch without a match: others want this thread too.
            tokio::task::yield_now().await;
        }
    }

    fn read_elsewhere(&mut self) {
        if let State::Here(mut follower) = std::mem::replace(&mut self.state, State::Lost) {
            let limit = self.limit;
            self.state = State::Reading(tokio::task::spawn_blocking(move || {
                let read = follower.next(limit);
                (follower, read)
            }));
        }
    }

    /// Learns how large the events are, so that a page of them stays near [`PAGE_BYTES`].
    pub(crate) fn learn(&mut self, bytes: usize, events: usize) {
        self.limit = (PAGE_BYTES / (bytes / events.max(1)).max(1)).clamp(1, EVENTS_MAX);
    }
}
