//! The same operations as futures. Appends are begun on the caller's thread and answered by the engine's; reads,
//! which may touch the disk, run on a few threads of their own.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};

use quipu_domain::schema::SchemaVersion;
use quipu_domain::{Direction, Event, Filter, StreamState, Timestamp, Trace};
use quipu_engine::{Appended, Page, Published, Recorded, Stats, StreamInfo, TimerInfo, TimerName, TimerPage};
use quipu_store::Fault;

use crate::quipu::only;
use crate::schedules::{AppliedSchedule, Schedule, ScheduleInfo, SchedulePage};
use crate::signal::{Signal, Waited};
use crate::{Append, Error, Pending, Quipu, Start, Timer, pending};

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

    /// As [`Quipu::set_timer`].
    pub fn set_timer(&self, timer: Timer) -> Pending<Published> {
        let append = match self.quipu.prepare_append(Append::default().timer(timer)) {
            Ok(append) => append,
            Err(error) => return Pending::ready(Err(error)),
        };
        let (promise, pending) = pending::pending();
        let only = |appended: Appended| only(appended.timers.into_iter().flatten().collect());
        self.quipu.tenant.append(append, move |answer| promise.keep(answer.map_err(Error::from).and_then(only)));
        pending
    }

    /// As [`Quipu::cancel_timer`].
    pub fn cancel_timer(&self, timer: TimerName) -> Pending<Option<u64>> {
        self.reading(move |quipu| quipu.cancel_timer(timer))
    }

    /// As [`Quipu::timer`].
    pub fn timer(&self, timer: TimerName) -> Pending<Option<TimerInfo>> {
        self.reading(move |quipu| quipu.timer(&timer))
    }

    /// As [`Quipu::timers`].
    pub fn timers(&self, behind: Option<(Timestamp, u64)>, limit: usize) -> Pending<TimerPage> {
        self.reading(move |quipu| quipu.timers(behind, limit))
    }

    /// As [`Quipu::apply_schedule`].
    pub fn apply_schedule(&self, schedule: Schedule, ticks: usize) -> Pending<AppliedSchedule> {
        self.reading(move |quipu| quipu.apply_schedule(schedule, ticks))
    }

    /// As [`Quipu::remove_schedule`].
    pub fn remove_schedule(&self, name: impl Into<String>) -> Pending<()> {
        let name = name.into();
        self.reading(move |quipu| quipu.remove_schedule(&name))
    }

    /// As [`Quipu::pause_schedule`].
    pub fn pause_schedule(&self, name: impl Into<String>) -> Pending<bool> {
        let name = name.into();
        self.reading(move |quipu| quipu.pause_schedule(&name))
    }

    /// As [`Quipu::resume_schedule`].
    pub fn resume_schedule(&self, name: impl Into<String>) -> Pending<bool> {
        let name = name.into();
        self.reading(move |quipu| quipu.resume_schedule(&name))
    }

    /// As [`Quipu::schedule`].
    pub fn schedule(&self, name: impl Into<String>, ticks: usize) -> Pending<Option<ScheduleInfo>> {
        let name = name.into();
        self.reading(move |quipu| quipu.schedule(&name, ticks))
    }

    /// As [`Quipu::schedules`].
    pub fn schedules(&self, after: Option<String>, limit: usize) -> Pending<SchedulePage> {
        self.reading(move |quipu| quipu.schedules(after.as_deref(), limit))
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
        self.reading(move |quipu| quipu.stream(&subject))
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
            version: SchemaVersion::Stored,
            reading: None,
        }
    }

    /// As [`Quipu::close`].
    pub fn close(&self) -> Pending<()> {
        self.reading(Quipu::close)
    }

    fn reading<T: Send + 'static>(&self, read: impl FnOnce(&Quipu) -> Result<T, Error> + Send + 'static) -> Pending<T> {
        let quipu = self.quipu.clone();
        self.quipu.readers().run(move || read(&quipu))
    }
}

/// Events that match a filter, as they are recorded. Made by [`AsyncQuipu::follow`].
pub struct AsyncFollower {
    quipu: Quipu,
    follower: Arc<Mutex<quipu_engine::Follower>>,
    version: SchemaVersion,
    position: u64,
    /// A read that is under way, kept here so that dropping the future of `next` loses no event.
    reading: Option<Pending<(Vec<Recorded>, u64)>>,
}

impl AsyncFollower {
    /// As [`Follower::in_version`](crate::Follower::in_version).
    #[must_use]
    pub fn in_version(self, version: SchemaVersion) -> Self {
        Self { version, ..self }
    }

    /// The next matching events in order, at most `limit`; waits for the first. It may be dropped and called again
    /// without losing an event.
    ///
    /// # Errors
    /// The disk failed, or the store was closed.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Recorded>, Error> {
        loop {
            let before = self.position;
            let read = self.reading.get_or_insert_with(|| {
                let (follower, version) = (self.follower.clone(), self.version);
                self.quipu.readers().run(move || {
                    let mut follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
                    let events = follower.next_in(limit, version)?;
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::Thread;

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// What the smallest runtime does.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    fn event(id: usize) -> Event<'static> {
        Event::builder(id.to_string(), "/s", "a.b").subject(format!("s/{}", id % 3)).build().unwrap()
    }

    fn open() -> (tempfile::TempDir, AsyncQuipu) {
        let folder = tempfile::tempdir().unwrap();
        let quipu = Quipu::open(folder.path()).unwrap().asynchronous();
        (folder, quipu)
    }

    #[test]
    fn many_events_are_in_flight_at_once_and_keep_their_order() {
        let (_folder, quipu) = open();
        let flying: Vec<_> = (1..=200).map(|id| quipu.publish(&event(id))).collect();
        for (at, pending) in flying.into_iter().enumerate() {
            let Published::Recorded(place) = block_on(pending).unwrap() else { panic!("expected it to be new") };
            assert_eq!(place.position, at as u64 + 1);
        }
        let page = block_on(quipu.read(&Filter::default(), Direction::Forward, None, 1_000)).unwrap();
        assert_eq!(page.events.len(), 200);
        assert_eq!(block_on(quipu.stream("s/1")).unwrap().version, 67);
        assert_eq!(block_on(quipu.stats()).unwrap().events, 200);
        assert!(block_on(quipu.event_by_id("/s", "7")).unwrap().is_some());
    }

    #[test]
    fn a_refusal_is_an_error() {
        let (_folder, quipu) = open();
        let refused = block_on(quipu.append(Append::of([event(1)]).expect_version("s/1", 4)));
        assert!(matches!(refused, Err(Error::Refused(_))));
        assert!(block_on(quipu.append(Append::of([event(1)]).expect_version("s/1", 0))).is_ok());
    }

    #[test]
    fn schedules_are_declared_seen_and_stopped() {
        let (_folder, quipu) = open();
        let text = r#"{"schedule":"nightly","cron":"@daily","event":{"type":"report.due"}}"#;
        let applied = block_on(quipu.apply_schedule(serde_json::from_str(text).unwrap(), 2)).unwrap();
        assert_eq!((applied.is_new, applied.ticks.len()), (true, 2));
        assert!(block_on(quipu.pause_schedule("nightly")).unwrap());
        assert!(block_on(quipu.resume_schedule("nightly")).unwrap());
        assert_eq!(block_on(quipu.schedule("nightly", 2)).unwrap().unwrap().ticks, applied.ticks);
        assert_eq!(block_on(quipu.schedules(None, 10)).unwrap().total, 1);
        block_on(quipu.remove_schedule("nightly")).unwrap();
        let gone = block_on(quipu.pause_schedule("nightly"));
        assert!(matches!(gone, Err(Error::Schedule(_))), "{gone:?}");
    }

    #[test]
    fn timers_are_set_seen_and_cancelled() {
        let (_folder, quipu) = open();
        let hour = std::time::Duration::from_secs(3_600);
        let set = block_on(quipu.set_timer(Timer::after(hour, event(1)).key("a"))).unwrap();
        assert!(matches!(set, Published::Scheduled(waits) if waits.timer == 1), "{set:?}");
        let taken = block_on(quipu.set_timer(Timer::after(hour, event(2)).key("a")));
        assert!(matches!(taken, Err(Error::Refused(quipu_domain::Refusal::TimerExists { .. }))), "{taken:?}");
        let far = block_on(quipu.set_timer(Timer::after(hour * 24 * 365 * 11, event(2))));
        assert!(matches!(far, Err(Error::InvalidTimer { index: 0, .. })), "{far:?}");
        assert_eq!(block_on(quipu.timers(None, 10)).unwrap().total, 1);
        assert_eq!(block_on(quipu.timer(TimerName::Number(1))).unwrap().unwrap().key(), Some("a"));
        assert_eq!(block_on(quipu.cancel_timer(TimerName::Key("a".into()))).unwrap(), Some(1));
        assert!(block_on(quipu.timer(TimerName::Number(1))).unwrap().is_none());
    }

    #[test]
    fn a_follower_waits_for_what_comes_and_ends_with_the_store() {
        let (_folder, quipu) = open();
        let mut follower = quipu.follow(Filter::default(), Start::Beginning);
        let writer = std::thread::spawn({
            let quipu = quipu.blocking().clone();
            move || {
                for id in 1..=50 {
                    quipu.publish(&event(id)).unwrap();
                }
            }
        });
        let mut positions = Vec::new();
        while positions.len() < 50 {
            // A future that is dropped after its first poll must not take events with it.
            {
                let mut dropped = pin!(follower.next(3));
                if let Poll::Ready(events) = dropped.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    positions.extend(events.unwrap().iter().map(|recorded| recorded.stamp.position));
                    continue;
                }
            }
            positions.extend(block_on(follower.next(3)).unwrap().iter().map(|recorded| recorded.stamp.position));
        }
        writer.join().unwrap();
        assert!(positions.iter().copied().eq(1..=50), "{positions:?}");
        block_on(quipu.close()).unwrap();
        assert!(matches!(block_on(follower.next(3)), Err(Error::Fault(Fault::Closed))));
        assert!(matches!(block_on(quipu.publish(&event(51))), Err(Error::Fault(Fault::Closed))));
    }
}
