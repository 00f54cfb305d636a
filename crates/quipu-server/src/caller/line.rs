//! The calls of one endpoint: they go as its gate has room and as many as may be on their way, those first whose time is over first. One that
//! has waited for nearly all of its time is not begun any more.
//! It sleeps until there is another, the gate changes, or the time of one is over.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Shared;
use super::attempt::{attempt, tell};
use super::turn::Waiting;
use crate::gate::{Room, Seat};
use crate::places::Place;
use crate::webhook::Invoked;

/// Longest sleep until a time of the tenant's clock: one that was set is noticed after this.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// How long a line without calls is kept.
const IDLE: Duration = Duration::from_secs(60);

pub(super) struct Line {
    shared: Arc<Shared>,
    origin: String,
    seat: Seat,
    arrivals: mpsc::UnboundedReceiver<Waiting>,
    queue: BTreeMap<(Instant, u64), Waiting>,
    next: u64,
    /// Each ends with its call if it could not go after all.
    tasks: JoinSet<Option<Waiting>>,
}

/// A place that is waited for.
type Taking = Pin<Box<dyn Future<Output = Place> + Send>>;

impl Line {
    pub fn new(shared: Arc<Shared>, origin: String, arrivals: mpsc::UnboundedReceiver<Waiting>) -> Self {
        let seat = shared.outward.gates.seat(&origin, None);
        Self { shared, origin, seat, arrivals, queue: BTreeMap::new(), next: 0, tasks: JoinSet::new() }
    }

    pub async fn run(mut self) {
        let mut gate = self.seat.gate().changes();
        let (mut taking, mut is_last): (Option<Taking>, bool) = (None, false);
        while !self.shared.is_stopping() {
            while let Ok(waiting) = self.arrivals.try_recv() {
                self.put(waiting);
            }
            self.give_up();
            let room = self.room();
            if matches!(room, Some(Room::Now(1..))) {
                let (shared, origin) = (Arc::clone(&self.shared), self.origin.clone());
                taking.get_or_insert_with(|| Box::pin(async move { shared.outward.in_hand.take(&origin).await }));
            } else {
                taking = None;
            }
            let sleep = self.sleep(room);
            tokio::select! {
                Some(place) = async { Some(taking.as_mut()?.await) }, if taking.is_some() => {
                    taking = None;
                    self.begin(place);
                }
                arrived = self.arrivals.recv(), if !is_last => match arrived {
                    Some(waiting) => self.put(waiting),
                    // The server stops, or it was idle.
                    None => is_last = true,
                },
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(Some(waiting)) = ended {
                        self.put(waiting);
                    }
                }
                Ok(()) = gate.changed(), if room.is_some() => {}
                () = tokio::time::sleep(sleep) => {
                    if self.is_idle() {
                        // Whatever comes from now on begins another line.
                        self.arrivals.close();
                    }
                }
            }
            if is_last && self.is_idle() {
                return;
            }
        }
        // Each is over when its endpoint has answered or its time is; what waits is called after a restart.
        while self.tasks.join_next().await.is_some() {}
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.tasks.is_empty()
    }

    fn put(&mut self, waiting: Waiting) {
        self.next += 1;
        self.queue.insert((waiting.begin_by(), self.next), waiting);
    }

    /// Whether one may go now; nothing if there is none.
    fn room(&self) -> Option<Room> {
        (!self.queue.is_empty()).then(|| self.seat.gate().room(self.shared.tenant.now()))
    }

    fn begin(&mut self, place: Place) {
        let Some((_, waiting)) = self.queue.pop_first() else { return };
        let (shared, gate) = (Arc::clone(&self.shared), Arc::clone(self.seat.gate()));
        self.tasks.spawn(async move { attempt(&shared, &gate, waiting, place).await });
    }

    /// Tells of those that have waited long enough.
    fn give_up(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.queue.first_entry()
            && first.key().0 <= now
        {
            let waiting = first.remove();
            let (shared, origin) = (Arc::clone(&self.shared), self.origin.clone());
            let timeout_ms = waiting.call().timeout_ms;
            self.tasks.spawn(async move {
                let text = format!(
                    "{origin} was not called in time, of {timeout_ms} ms hardly any are left: it is left alone, or too much is on its way"
                );
                tell(&shared, &waiting, Invoked::unsure(text)).await;
                None
            });
        }
    }

    /// How long nothing happens by itself.
    fn sleep(&self, room: Option<Room>) -> Duration {
        let Some(((begin_by, _), _)) = self.queue.first_key_value() else { return IDLE };
        let left = begin_by.saturating_duration_since(Instant::now());
        let until = match room {
            Some(Room::At(time)) => {
                let us = time.0.saturating_sub(self.shared.tenant.now().0).max(0).unsigned_abs();
                Duration::from_micros(us).clamp(Duration::from_millis(1), SLEEP_MAX)
            }
            _ => left,
        };
        until.min(left)
    }
}
