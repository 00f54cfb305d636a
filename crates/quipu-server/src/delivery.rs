//! Deliveries to a client that stays connected: a follower of the log, read at the client's pace. Between two reads
//! a client costs a position and a filter, however far it is behind.

use std::collections::VecDeque;
use std::sync::Arc;

use quipu_api::{Problem, TailRequest};
use quipu_domain::DataForm;
use quipu_domain::schema::SchemaVersion;
use quipu_engine::{Fault, Follower, NotDone, Recorded};
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
    payloads: Payloads,
}

/// Events that were read, and whose data is kept beside the log and wanted: of that one at a time is in memory.
#[derive(Default)]
struct Payloads {
    is_wanted: bool,
    waiting: VecDeque<Recorded>,
    resolving: Option<JoinHandle<Result<Recorded, Fault>>>,
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
        let payloads = Payloads { is_wanted: request.view.data == DataForm::Resolved, ..Payloads::default() };
        let (app, version, event_bytes) = (Arc::clone(app), request.view.version, EVENT_BYTES_UNSEEN);
        Ok((Self { app, positions, state, position: after, event_bytes, version, payloads }, after))
    }

    /// Everything that matches up to this position was returned by [`Deliveries::next`].
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next events that match, at least one; waits for them. May be given up and called again.
    pub(crate) async fn next(&mut self) -> Result<Vec<Recorded>, Problem> {
        loop {
            if let Some(events) = self.next_waiting().await? {
                return Ok(events);
            }
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
            if self.payloads.is_wanted && events.iter().any(Recorded::has_payload) {
                self.payloads.waiting = events.into();
                continue;
            }
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

    /// Of the events that were read and not returned: those before the next that has a payload, or that one with its data.
    async fn next_waiting(&mut self) -> Result<Option<Vec<Recorded>>, Problem> {
        let waiting = &mut self.payloads.waiting;
        let mut events = Vec::new();
        if self.payloads.resolving.is_none() {
            let count = waiting.iter().take_while(|recorded| !recorded.has_payload()).count();
            events.extend(waiting.drain(..count));
            match waiting.pop_front_if(|_| count == 0) {
                Some(next) => {
                    let tenant = Arc::clone(&self.app.tenant);
                    self.payloads.resolving = Some(tokio::task::spawn_blocking(move || tenant.resolve(next)));
                }
                None if count == 0 => return Ok(None),
                None => {}
            }
        }
        if let Some(task) = &mut self.payloads.resolving {
            let resolved = task.await;
            self.payloads.resolving = None;
            self.app.demand_good()?;
            let resolved = resolved.map_err(|_| problem::no_answer())?;
            events.push(resolved.map_err(|fault| problem::fault(&fault))?);
        }
        self.position = match (&self.state, events.last()) {
            (State::Here(follower), _) if self.payloads.waiting.is_empty() => follower.position(),
            (_, Some(last)) => last.stamp.position,
            (_, None) => self.position,
        };
        Ok(Some(events))
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
