//! Deliveries to a client that stays connected: a follower of the log, read at the client's pace. Between two reads
//! a client costs a position and a filter, however far it is behind.

use std::sync::Arc;

use quipu_api::{Problem, TailRequest};
use quipu_domain::schema::SchemaVersion;
use quipu_engine::{Follower, NotDone, Recorded};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::refusal::not_done;
use crate::{App, problem};

/// A follower this close to the end of the log reads what was just written, from memory: not worth a thread, unless the
/// events are large.
const INLINE_EVENTS: u64 = 512;
/// What the size of an event is taken for before one was seen: few are read on the thread that serves sockets then.
pub(crate) const EVENT_BYTES_UNSEEN: usize = 16 << 10;
/// Most events at once.
const EVENTS_MAX: usize = 256;
/// Bytes of events at once that a client should cost.
const PAGE_BYTES: usize = 256 << 10;

/// Matching events as they are recorded.
pub(crate) struct Deliveries {
    app: Arc<App>,
    positions: watch::Receiver<u64>,
    state: State,
    /// Everything that matches up to here was returned, while a read goes on in another thread too.
    position: u64,
    /// What an event takes, from those that were read last.
    event_bytes: usize,
    /// In which version of their schema events are wanted.
    version: SchemaVersion,
}

/// A follower that has read, and what.
type Read = (Box<Follower>, Result<Vec<Recorded>, NotDone>);

/// Where the follower is. A read that goes on in another thread keeps it.
enum State {
    Here(Box<Follower>),
    Reading(JoinHandle<Read>),
    Lost,
}

impl Deliveries {
    /// Begins to follow; says after which position.
    pub(crate) fn begin(app: &Arc<App>, request: TailRequest) -> Result<(Self, u64), Problem> {
        let positions = app.home.positions.subscribe();
        let after = request.from.follow_after(app.tenant.position())?;
        let state = State::Here(Box::new(app.tenant.follow(app.visible(request.filter), after)));
        let (app, version, event_bytes) = (Arc::clone(app), request.version, EVENT_BYTES_UNSEEN);
        Ok((Self { app, positions, state, position: after, event_bytes, version }, after))
    }

    /// Everything that matches up to this position was returned by [`Deliveries::next`].
    pub(crate) fn position(&self) -> u64 {
        self.position
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
                    let newest = (*self.positions.borrow_and_update()).max(self.app.tenant.position());
                    let behind = newest.saturating_sub(follower.position());
                    if behind == 0 {
                        self.positions.changed().await.map_err(|_| problem::no_answer())?;
                        continue;
                    }
                    let limit = limit(self.event_bytes);
                    // An upcaster may compute for long.
                    if !self.version.is_stored() || !is_inline(behind, self.event_bytes) {
                        self.read_elsewhere(limit);
                        continue;
                    }
                    follower.next(limit).map_err(NotDone::from)
                }
            };
            self.app.demand_good()?;
            let events = read.map_err(|error| not_done(&error))?;
            if let State::Here(follower) = &self.state {
                self.position = follower.position();
            }
            if !events.is_empty() {
                self.event_bytes = events.iter().map(Recorded::bytes).sum::<usize>() / events.len();
                return Ok(events);
            }
            // A stretch without a match: others want this thread too.
            tokio::task::yield_now().await;
        }
    }

    fn read_elsewhere(&mut self, limit: usize) {
        if let State::Here(mut follower) = std::mem::replace(&mut self.state, State::Lost) {
            let version = self.version;
            self.state = State::Reading(tokio::task::spawn_blocking(move || {
                let read = follower.next_in(limit, version);
                (follower, read)
            }));
        }
    }
}

/// Events to ask for at once, so that a page of them stays near [`PAGE_BYTES`].
pub(crate) fn limit(event_bytes: usize) -> usize {
    (PAGE_BYTES / event_bytes.max(1)).clamp(1, EVENTS_MAX)
}

/// Whether to read on the thread that serves sockets: everything behind the follower may have to be looked at, though
/// the filter takes little of it.
fn is_inline(behind: u64, event_bytes: usize) -> bool {
    let bytes = behind.saturating_mul(u64::try_from(event_bytes).unwrap_or(u64::MAX));
    behind <= INLINE_EVENTS && bytes <= PAGE_BYTES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_small_events_are_read_inline_and_others_elsewhere() {
        for (behind, event_bytes, expected) in [
            (1, 256, true),
            (INLINE_EVENTS, 256, true),
            (INLINE_EVENTS + 1, 256, false),
            (INLINE_EVENTS, 1_024, false),
            (1, PAGE_BYTES, true),
            (2, PAGE_BYTES, false),
            (1, usize::MAX, false),
            (16, EVENT_BYTES_UNSEEN, true),
            (17, EVENT_BYTES_UNSEEN, false),
        ] {
            assert_eq!(is_inline(behind, event_bytes), expected, "{behind} events of {event_bytes} bytes");
        }
    }

    #[test]
    fn a_page_has_fewer_events_if_they_are_large() {
        assert_eq!([0, 256, 4_096, PAGE_BYTES, 1 << 30].map(limit), [256, 256, 64, 1, 1]);
    }
}
