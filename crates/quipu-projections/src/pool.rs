//! The threads that keep read models, shared by all tenants: whoever has something to do waits in one queue, and does a little of
//! it when its turn comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Somebody who has something to do now and then.
pub(crate) trait Job: Send + Sync {
    /// Does a little of it.
    fn turn(self: Arc<Self>);
}

/// Threads, and who waits for them. They end when it is dropped.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Arc<dyn Job>>,
    /// Those that wait until then.
    later: Vec<(Instant, Arc<dyn Job>)>,
    is_closed: bool,
}

impl Pool {
    /// A pool of so many threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new() });
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("quipu-projections".into()).spawn(move || shared.run())
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    pub(crate) fn put(&self, job: Arc<dyn Job>) {
        let mut queue = self.shared.queue.lock();
        if !queue.is_closed {
            queue.jobs.push_back(job);
            self.shared.wake.notify_one();
        }
    }

    pub(crate) fn put_later(&self, job: Arc<dyn Job>, after: Duration) {
        let mut queue = self.shared.queue.lock();
        if !queue.is_closed {
            queue.later.push((Instant::now() + after, job));
            self.shared.wake.notify_one();
        }
    }
}

impl Pool {
    /// Waits for who has a turn, and gives nobody another.
    pub(crate) fn close(&self) {
        let waiting = std::mem::replace(&mut *self.shared.queue.lock(), Queue { is_closed: true, ..Queue::default() });
        // They hold nothing open any more.
        drop(waiting);
        self.shared.wake.notify_all();
        let this = std::thread::current().id();
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != this) {
            // A job that panicked has said so.
            drop(thread.join());
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        while let Some(job) = self.next() {
            // The others of the thread go on; the panic has been said.
            _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| job.turn()));
        }
    }

    fn next(&self) -> Option<Arc<dyn Job>> {
        let mut queue = self.queue.lock();
        loop {
            if queue.is_closed {
                return None;
            }
            let now = Instant::now();
            let due = queue.later.iter().position(|(at, _)| *at <= now);
            if let Some(job) = due.map(|due| queue.later.swap_remove(due).1).or_else(|| queue.jobs.pop_front()) {
                return Some(job);
            }
            match queue.later.iter().map(|(at, _)| *at).min() {
                Some(at) => _ = self.wake.wait_until(&mut queue, at),
                None => self.wake.wait(&mut queue),
            }
        }
    }
}
