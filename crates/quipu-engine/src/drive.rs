//! Who runs the stages of a tenant: a thread of the engine, or a caller that waits for its own append. Each stage has one
//! thread at a time, which the flags `deciding`, `flushing`, `routing` and `maintaining` see to.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use quipu_domain::Timestamp;

use crate::subscriptions::CHECKPOINT_MS;
use crate::tenant::Tenant;
use crate::threads::{AbortOnPanic, Job, Threads};

impl Tenant {
    fn threads(&self) -> Option<Arc<Threads>> {
        self.threads.as_ref().and_then(Weak::upgrade)
    }

    pub(crate) fn has_threads(&self) -> bool {
        self.threads.is_some()
    }

    /// Has a thread of the engine decide, unless one is at it.
    pub(crate) fn drive_elsewhere(self: &Arc<Self>) {
        let Some(threads) = self.threads() else { return };
        if !self.deciding.swap(true, Ordering::AcqRel) {
            threads.push(Job::Decide(Arc::clone(self)));
        }
    }

    /// Decides and flushes on this thread, unless another is at it.
    pub(crate) fn drive_here(self: &Arc<Self>) {
        let Some(threads) = self.threads() else {
            // Without threads nobody else drives: the caller does both stages.
            self.decide();
            self.flush();
            return;
        };
        if !self.deciding.swap(true, Ordering::AcqRel) {
            self.decide_while_waiting(&threads);
        }
    }

    /// Runs the decide stage until nothing waits, starting the flush stage as batches are written. The caller has
    /// set `deciding`.
    pub(crate) fn decide_while_waiting(self: &Arc<Self>, threads: &Threads) {
        let _bug = AbortOnPanic;
        loop {
            self.decide();
            self.deciding.store(false, Ordering::SeqCst);
            // Whoever enqueued before the line above saw `deciding` and left; whoever does after it comes himself.
            let is_more = !self.mailbox.lock().is_empty() && !self.deciding.swap(true, Ordering::AcqRel);
            if !self.flushing.swap(true, Ordering::AcqRel) {
                match is_more {
                    true => threads.push(Job::Flush(Arc::clone(self))),
                    false => self.flush_while_written(threads, 1),
                }
            }
            if !is_more {
                return;
            }
        }
    }

    /// Runs the flush stage until nothing is written, at most `rounds` times on this thread. The caller has set
    /// `flushing`.
    pub(crate) fn flush_while_written(self: &Arc<Self>, threads: &Threads, rounds: usize) {
        let _bug = AbortOnPanic;
        for round in 1.. {
            self.flush();
            self.flushing.store(false, Ordering::SeqCst);
            if self.written.lock().is_empty() || self.flushing.swap(true, Ordering::AcqRel) {
                break;
            }
            if round == rounds {
                // A caller that waits for its own append must not be kept by those of others.
                threads.push(Job::Flush(Arc::clone(self)));
                break;
            }
        }
        if self.has_unrouted() && !self.routing.swap(true, Ordering::AcqRel) {
            threads.push(Job::Route(Arc::clone(self)));
        }
        if self.has_unstepped() {
            self.drive_sagas();
        }
        if self.index.sealing() > 0 && !self.maintaining.swap(true, Ordering::AcqRel) {
            threads.push(Job::Maintain(Arc::clone(self)));
        }
    }

    /// Routes until nothing is new. The caller has set `routing`.
    pub(crate) fn route_while_new(&self) {
        let _bug = AbortOnPanic;
        loop {
            // What cannot be read is tried again when something else is due; whoever pulls is told.
            let outcome = self.route();
            self.routing.store(false, Ordering::SeqCst);
            if outcome.is_err() || !self.has_unrouted() || self.routing.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Has the thread for deliveries look again, if something is due before it would.
    pub(crate) fn due_at(&self, due: Option<Timestamp>, now: Timestamp) {
        if let Some(due) = due
            && due < now.plus_ms(CHECKPOINT_MS as i64)
            && let Some(threads) = self.threads()
        {
            threads.deliveries.due_at(due);
        }
    }

    /// Has a thread of the engine do a round of sagas, unless one is on its way.
    pub(crate) fn drive_sagas(self: &Arc<Self>) {
        if let Some(threads) = self.threads()
            && !self.has_round()
        {
            threads.push(Job::Step(Arc::clone(self)));
        }
    }

    /// Does rounds of sagas until the loop is given something, or there is more to read.
    pub(crate) fn step_while_new(self: &Arc<Self>) {
        let _bug = AbortOnPanic;
        self.step_sagas();
    }

    /// Has a thread of the engine go on with rounds of sagas, after what waits for a thread already. Whether there is one. It stays on
    /// its way meanwhile, so that it waits once.
    pub(crate) fn step_on_elsewhere(self: &Arc<Self>) -> bool {
        self.threads().is_some_and(|threads| {
            threads.push(Job::StepOn(Arc::clone(self)));
            true
        })
    }

    /// Goes on with them.
    pub(crate) fn step_on_while_new(self: &Arc<Self>) {
        let _bug = AbortOnPanic;
        self.step_on();
    }

    /// Has a thread of the engine see to the ticks of schedules that have come.
    pub(crate) fn drive_schedules(self: &Arc<Self>) {
        if let Some(threads) = self.threads() {
            threads.push(Job::Tick(Arc::clone(self)));
        }
    }

    /// Sees to ticks until the loop is given something.
    pub(crate) fn tick_while_due(self: &Arc<Self>) {
        let _bug = AbortOnPanic;
        self.tick_schedules();
    }

    /// Has the thread for timers look again, if one is due before it would.
    pub(crate) fn wake_timers(&self) {
        let next = [self.timers.next(), self.next_of_sagas(), self.schedules.next()].into_iter().flatten().min();
        if let (Some(next), Some(threads)) = (next, self.threads()) {
            threads.timers.due_at(next);
        }
    }

    /// Tries again what keeps appends from being taken: no append will come to do it.
    pub(crate) fn maintain_if_stuck(self: &Arc<Self>) {
        if self.stuck.lock().is_some()
            && let Some(threads) = self.threads()
            && !self.maintaining.swap(true, Ordering::AcqRel)
        {
            threads.push(Job::Maintain(Arc::clone(self)));
        }
    }
}
