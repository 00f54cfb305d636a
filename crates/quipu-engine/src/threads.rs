//! The threads that drive tenants. A job is one stage of one tenant; which thread takes it does not matter, since a
//! tenant's flags see to it that each stage has one thread at a time. The files of different tenants sync at the same
//! time on different threads.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use quipu_domain::Timestamp;

use crate::options::Clock;
use crate::subscriptions::CHECKPOINT_MS;
use crate::tenant::Tenant;

/// How often the housekeeper looks for tenants that have come to rest.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// How many payloads the housekeeper looks at each time, to find what a crash left: some milliseconds of looking up, and 100,000
/// of them in 40 s.
const PAYLOADS_SEARCHED: usize = 256;

/// Deliveries become due together that are due within so short a time.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// One stage of one tenant.
pub(crate) enum Job {
    Decide(Arc<Tenant>),
    Flush(Arc<Tenant>),
    Route(Arc<Tenant>),
    Step(Arc<Tenant>),
    StepOn(Arc<Tenant>),
    Tick(Arc<Tenant>),
    Maintain(Arc<Tenant>),
}

/// A queue of jobs and the threads that do them.
pub(crate) struct Threads {
    queue: Mutex<Queue>,
    is_work: Condvar,
    is_stopped: Condvar,
    pub deliveries: Alarm,
    pub timers: Alarm,
    handles: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Writing index runs takes long: it never takes the last thread from those who wait for an answer.
    maintenance: VecDeque<Arc<Tenant>>,
    maintaining: usize,
    waiting: usize,
    is_stopped: bool,
}

/// What wakes a thread that waits until something is due.
#[derive(Default)]
pub(crate) struct Alarm {
    state: Mutex<Alarmed>,
    /// `looks_at` is earlier now.
    is_due: Condvar,
}

#[derive(Default)]
struct Alarmed {
    is_stopped: bool,
    /// When the thread looks next: what is due later is found then. While it is looking it is the earliest that was said to be due
    /// since it began, if something was.
    looks_at: Option<Timestamp>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// After so long at least.
    For(Duration),
    Stopped,
}

impl Alarm {
    /// Says that something is due at that time.
    pub fn due_at(&self, due: Timestamp) {
        let mut state = self.state.lock();
        if state.looks_at.is_none_or(|at| due < at) {
            state.looks_at = Some(due);
            self.is_due.notify_one();
        }
    }

    /// Waits until something is due, or was said to be since the last wait; at most so long. A clock that stands still or
    /// is set back makes nobody wait longer than it said at first.
    fn wait_until_due(&self, wait: Duration, clock: &dyn Clock) -> Waited {
        let micros = |wait: Duration| i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
        let mut state = self.state.lock();
        let end = Timestamp(clock.now().0.saturating_add(micros(wait)));
        let mut waited = Duration::ZERO;
        while !state.is_stopped {
            let next = state.looks_at.map_or(end, |at| at.min(end));
            state.looks_at = Some(next);
            let left_us = next.0.saturating_sub(clock.now().0).clamp(0, micros(wait));
            let left = Duration::from_micros(left_us.unsigned_abs());
            if left.is_zero() {
                break;
            }
            if self.is_due.wait_for(&mut state, left).timed_out() {
                waited = left;
                break;
            }
        }
        state.looks_at = None;
        if state.is_stopped { Waited::Stopped } else { Waited::For(waited) }
    }

    fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.is_due.notify_all();
    }
}

impl Threads {
    fn none() -> Self {
        Self {
            queue: Mutex::default(),
            is_work: Condvar::new(),
            is_stopped: Condvar::new(),
            deliveries: Alarm::default(),
            timers: Alarm::default(),
            handles: Mutex::default(),
        }
    }

    /// Starts `count` threads, one that does the housekeeping for the tenants that `tenants` lists, one that lets their deliveries
    /// become due, and one that does their timers.
    pub fn start(
        count: usize,
        clock: Arc<dyn Clock>,
        tenants: impl Fn() -> Vec<Arc<Tenant>> + Clone + Send + 'static,
    ) -> Arc<Self> {
        let threads = Arc::new(Self::none());
        let mut handles = Vec::with_capacity(count + 3);
        for i in 0..count.max(2) {
            let threads = Arc::clone(&threads);
            handles.push(spawn(format!("quipu-engine-{i}"), move || threads.work()));
        }
        let (weak, listed) = (Arc::downgrade(&threads), tenants.clone());
        handles.push(spawn("quipu-housekeeper".into(), move || keep_house(&weak, &listed)));
        let (weak, wall, listed) = (Arc::downgrade(&threads), Arc::clone(&clock), tenants.clone());
        handles.push(spawn("quipu-timers".into(), move || keep_timers(&weak, wall.as_ref(), &listed)));
        let weak = Arc::downgrade(&threads);
        handles.push(spawn("quipu-deliveries".into(), move || keep_deliveries(&weak, clock.as_ref(), &tenants)));
        *threads.handles.lock() = handles;
        threads
    }

    /// Puts a job into the queue.
    pub fn push(&self, job: Job) {
        let mut queue = self.queue.lock();
        match job {
            Job::Maintain(tenant) => queue.maintenance.push_back(tenant),
            job => queue.jobs.push_back(job),
        }
        if queue.waiting > 0 {
            self.is_work.notify_one();
        }
    }

    fn work(self: &Arc<Self>) {
        loop {
            let mut queue = self.queue.lock();
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.maintaining == 0
                    && let Some(tenant) = queue.maintenance.pop_front()
                {
                    queue.maintaining = 1;
                    break Job::Maintain(tenant);
                }
                if queue.is_stopped {
                    return;
                }
                queue.waiting += 1;
                self.is_work.wait(&mut queue);
                queue.waiting -= 1;
            };
            drop(queue);
            match job {
                Job::Decide(tenant) => tenant.decide_while_waiting(self),
                Job::Flush(tenant) => tenant.flush_while_written(self, usize::MAX),
                Job::Route(tenant) => tenant.route_while_new(),
                Job::Step(tenant) => tenant.step_while_new(),
                Job::StepOn(tenant) => tenant.step_on_while_new(),
                Job::Tick(tenant) => tenant.tick_while_due(),
                Job::Maintain(tenant) => {
                    self.maintain(&tenant);
                    self.queue.lock().maintaining = 0;
                }
            }
        }
    }

    fn maintain(&self, tenant: &Arc<Tenant>) {
        // A disk that refuses is tried again when the next memtable is full, by the loop itself, or by the housekeeper.
        while matches!(tenant.maintain(), Ok(true)) {}
        tenant.maintaining.store(false, Ordering::Release);
    }

    /// Ends the threads after the jobs that are there.
    pub fn stop(&self) {
        self.queue.lock().is_stopped = true;
        self.is_work.notify_all();
        self.is_stopped.notify_all();
        self.deliveries.stop();
        self.timers.stop();
        for handle in std::mem::take(&mut *self.handles.lock()) {
            if handle.thread().id() != std::thread::current().id() && handle.join().is_err() {
                // The thread has printed its panic; the others still have to be waited for.
                continue;
            }
        }
    }
}

/// A panic in the loop is a bug that leaves memory in a state nobody knows, and callers without an answer. The log on
/// disk is right: ending the process at once and opening it again is the only safe way on.
pub(crate) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name).spawn(work).expect("the system has threads left at start")
}

/// Writes the mark of tenants that were active at the last look and are not any more, and removes payloads that a crash left.
fn keep_house(threads: &Weak<Threads>, tenants: &dyn Fn() -> Vec<Arc<Tenant>>) {
    let mut resting: Vec<Weak<Tenant>> = Vec::new();
    loop {
        let Some(threads) = threads.upgrade() else { return };
        {
            let mut queue = threads.queue.lock();
            if !queue.is_stopped {
                threads.is_stopped.wait_for(&mut queue, HOUSEKEEPING);
            }
            if queue.is_stopped {
                return;
            }
        }
        drop(threads);
        for tenant in resting.drain(..).filter_map(|tenant| tenant.upgrade()) {
            if !tenant.is_active.load(Ordering::Relaxed) {
                tenant.idle();
            }
        }
        let mut searched = PAYLOADS_SEARCHED;
        for tenant in tenants() {
            tenant.maintain_if_stuck();
            // What cannot be looked at stays until after the next opening.
            searched = tenant.search_payloads(searched).unwrap_or(searched);
            if tenant.is_active.swap(false, Ordering::Relaxed) {
                resting.push(Arc::downgrade(&tenant));
            }
        }
    }
}

/// Lets retries and deadlines of deliveries become due, and writes down what consumers did.
fn keep_deliveries(threads: &Weak<Threads>, clock: &dyn Clock, tenants: &dyn Fn() -> Vec<Arc<Tenant>>) {
    let longest = Duration::from_millis(CHECKPOINT_MS);
    // What was waited since progress was written: a clock that stands still must not put it off.
    let mut waited = longest;
    loop {
        let is_time = waited >= longest;
        if is_time {
            waited = Duration::ZERO;
        }
        let wait = tenants().iter().map(|tenant| tenant.keep_deliveries(is_time)).min().unwrap_or(longest);
        let wait = wait.clamp(SHORTEST_WAIT, longest);
        let Some(threads) = threads.upgrade() else { return };
        match threads.deliveries.wait_until_due(wait, clock) {
            Waited::Stopped => return,
            Waited::For(wait) => waited += wait,
        }
    }
}

/// Lets timers fire, and has others see to sagas and schedules. It looks every so often in any case, since a clock may jump.
fn keep_timers(threads: &Weak<Threads>, clock: &dyn Clock, tenants: &dyn Fn() -> Vec<Arc<Tenant>>) {
    let longest = Duration::from_millis(CHECKPOINT_MS);
    loop {
        let next = |tenant: &Arc<Tenant>| {
            let due = [tenant.fire_timers(), tenant.sagas_due(), tenant.schedules_due()];
            due.into_iter().flatten().min()
        };
        let next = tenants().iter().filter_map(next).min();
        let Some(threads) = threads.upgrade() else { return };
        next.into_iter().for_each(|next| threads.timers.due_at(next));
        if threads.timers.wait_until_due(longest, clock) == Waited::Stopped {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that stands still.
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp(0)
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);
    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_becomes_due_while_nobody_waits_is_not_missed() {
        let alarm = Alarm::default();
        alarm.due_at(Timestamp(0));
        assert_eq!(alarm.wait_until_due(MINUTE, &Still), Waited::For(Duration::ZERO));
        assert_eq!(alarm.wait_until_due(MS, &Still), Waited::For(MS), "it is said once");
    }

    #[test]
    fn what_is_due_later_is_waited_for_however_often_it_is_said() {
        let alarm = Alarm::default();
        alarm.due_at(Timestamp(99_000));
        alarm.due_at(Timestamp(1_000));
        alarm.due_at(Timestamp(99_000));
        assert_eq!(alarm.wait_until_due(MINUTE, &Still), Waited::For(MS), "not at once, and not later");
        alarm.due_at(Timestamp(99_000));
        assert_eq!(alarm.wait_until_due(MS, &Still), Waited::For(MS), "it is looked at before");
    }

    #[test]
    fn whoever_waits_is_told_at_once() {
        let alarm = Alarm::default();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| alarm.wait_until_due(MINUTE, &Still));
            alarm.due_at(Timestamp(1_000));
            assert_eq!(waits.join().unwrap(), Waited::For(MS));
            alarm.state.lock().is_stopped = true;
            assert_eq!(alarm.wait_until_due(MINUTE, &Still), Waited::Stopped);
        });
    }
}
