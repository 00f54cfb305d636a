//! Threads on which futures read: reads may touch the disk, which must not hold up an async runtime's threads. They
//! are started by the first read that needs them, so blocking callers pay nothing.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Error, Pending, pending};

type Job = Box<dyn FnOnce() + Send>;

pub(crate) struct Readers {
    jobs: Mutex<Sender<Job>>,
}

impl Readers {
    /// One thread a core, at most 8: a disk answers few more reads at once any faster.
    pub(crate) fn start() -> Self {
        let (jobs, queue) = channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let count = std::thread::available_parallelism().map_or(2, |cores| cores.get().min(8));
        for _ in 0..count {
            let queue = queue.clone();
            std::thread::spawn(move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    // The queue ends when the store is dropped.
                    let Ok(job) = job else { return };
                    job();
                }
            });
        }
        Self { jobs: Mutex::new(jobs) }
    }

    pub(crate) fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let (promise, pending) = pending::pending();
        let job: Job = Box::new(move || promise.keep(read()));
        // A failed send drops the job and with it the promise, which then says that the store is closed.
        let _ = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        pending
    }
}
