//! The same operations as futures. Appends are begun on the caller's thread and answered by the engine's; reads,
//! which may touch the disk, run on a few threads of their own.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use quipu_domain::{Direction, Event, Filter, StreamState, Trace};
use quipu_engine::{Appended, Page, Published, Recorded, Stats, StreamInfo};
use quipu_store::Fault;

use crate::quipu::only;
use crate::signal::{Signal, Waited};
use crate::{Append, Error, Pending, Quipu, Start, pending};

/// An open store whose operations return futures. Made by [`Quipu::asynchronous`]; a handle, cheap to clone.
///
/// An append or a publish is begun when the method is called, not when the future is first polled: many can be put
/// in flight, and dropping a future does not take its event back.
#[derive(Clone)]
pub struct AsyncQuipu {
    quipu: Quipu,
}

impl AsyncQuipu {
    pub(crate) fn new(quipu: Quipu) -> Self {
        Self { quipu }
    }

    /// The blocking handle.
    pub fn blocking(&self) -> &Quipu {
        &self.quipu
    }

    /// As [`Quipu::publish`].
    pub fn publish(&self, event: &Event<'_>) -> Pending<Published> {
        let prepared = match self.quipu.prepare(0, event, None) {
            Ok(prepared) => prepared,
            Err(error) => return Pending::ready(Err(error)),
        };
        let (promise, pending) = pending::pending();
        self.quipu.tenant.publish(vec![prepared], move |answer| {
            promise.keep(answer.map_err(Error::from).and_then(only));
        });
        pending
    }

    /// As [`Quipu::publish_each`].
    pub fn publish_each(&self, events: &[Event<'_>]) -> Pending<Vec<Published>> {
        let prepared = match self.quipu.prepare_each(events) {
            Ok(prepared) => prepared,
            Err(error) => return Pending::ready(Err(error)),
        };
        let (promise, pending) = pending::pending();
        self.quipu.tenant.publish(prepared, move |answer| promise.keep(answer.map_err(Error::from)));
        pending
    }

    /// As [`Quipu::append`].
    pub fn append(&self, append: Append) -> Pending<Appended> {
        let append = match self.quipu.prepare_append(append) {
            Ok(append) => append,
            Err(error) => return Pending::ready(Err(error)),
        };
        let (promise, pending) = pending::pending();
        self.quipu.tenant.append(append, move |answer| promise.keep(answer.map_err(Error::from)));
        pending
    }

    /// As [`Quipu::read`].
    pub fn read(&self, filter: &Filter, direction: Direction, from: Option<u64>, limit: usize) -> Pending<Page> {
        let filter = filter.clone();
        self.reading(move |quipu| quipu.read(&filter, direction, from, limit))
    }

    /// As [`Quipu::read_stream`].
    pub fn read_stream(
        &self,
        subject: &str,
        direction: Direction,
        from_version: Option<u64>,
        limit: usize,
    ) -> Pending<Page> {
        let subject = subject.to_owned();
        self.reading(move |quipu| quipu.read_stream(&subject, direction, from_version, limit))
    }

    /// As [`Quipu::stream`].
    pub fn stream(&self, subject: &str) -> Pending<StreamState> {
        let subject = subject.to_owned();
        self.reading(move |quipu| Ok(quipu.stream(&subject)))
    }

    /// As [`Quipu::streams`].
    pub fn streams(&self, prefix: &str, from: u64, limit: usize) -> Pending<(Vec<StreamInfo>, Option<u64>)> {
        let prefix = prefix.to_owned();
        self.reading(move |quipu| quipu.streams(&prefix, from, limit))
    }

    /// As [`Quipu::event_at`].
    pub fn event_at(&self, position: u64) -> Pending<Option<Recorded>> {
        self.reading(move |quipu| quipu.event_at(position))
    }

    /// As [`Quipu::event_by_id`].
    pub fn event_by_id(&self, source: &str, id: &str) -> Pending<Option<Recorded>> {
        let (source, id) = (source.to_owned(), id.to_owned());
        self.reading(move |quipu| quipu.event_by_id(&source, &id))
    }

    /// As [`Quipu::trace`].
    pub fn trace(&self, position: u64) -> Pending<Option<Trace>> {
        self.reading(move |quipu| quipu.trace(position))
    }

    /// As [`Quipu::checkpoint`].
    pub fn checkpoint(&self, source: &str) -> Pending<Option<u64>> {
        let source = source.to_owned();
        self.reading(move |quipu| Ok(quipu.checkpoint(&source)))
    }

    /// As [`Quipu::stats`].
    pub fn stats(&self) -> Pending<Stats> {
        self.reading(Quipu::stats)
    }

    /// As [`Quipu::follow`].
    pub fn follow(&self, filter: Filter, start: Start) -> AsyncFollower {
        let follower = self.quipu.tenant.follow(filter, start.after(&self.quipu.tenant));
        AsyncFollower {
            quipu: self.quipu.clone(),
            position: follower.position(),
            follower: Arc::new(Mutex::new(follower)),
            reading: None,
        }
    }

    /// As [`Quipu::close`].
    pub fn close(&self) -> Pending<()> {
        self.reading(Quipu::close)
    }

    fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Quipu) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let quipu = self.quipu.clone();
        self.quipu.readers().run(move || read(&quipu))
    }
}

/// Events that match a filter, as they are recorded. Made by [`AsyncQuipu::follow`].
pub struct AsyncFollower {
    quipu: Quipu,
    follower: Arc<Mutex<quipu_engine::Follower>>,
    position: u64,
    /// A read that is under way, kept here so that dropping the future of `next` loses no event.
    reading: Option<Pending<(Vec<Recorded>, u64)>>,
}

impl AsyncFollower {
    /// The next matching events in order, at most `limit`; waits for the first. It may be dropped and called again
    /// without losing an event.
    ///
    /// # Errors
    /// The disk failed, or the store was closed.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Recorded>, Error> {
        loop {
            let before = self.position;
            let read = self.reading.get_or_insert_with(|| {
                let follower = self.follower.clone();
                self.quipu.readers().run(move || {
                    let mut follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
                    let events = follower.next(limit)?;
                    Ok((events, follower.position()))
                })
            });
            let outcome = read.await;
            self.reading = None;
            let (events, position) = outcome?;
            self.position = position;
            if !events.is_empty() {
                return Ok(events);
            }
            if position > before {
                continue;
            }
            let signal: &Signal = &self.quipu.signal;
            if poll_fn(|context| signal.poll(position, context)).await == Waited::Closed {
                return Err(Fault::Closed.into());
            }
        }
    }

    /// The position up to which everything that matches was returned.
    pub fn position(&self) -> u64 {
        self.position
    }
}
