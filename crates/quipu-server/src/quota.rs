//! What a tenant uses of what all share: events and bytes a second, and requests that are under way. All dialects come through
//! here. What a quota is, the engine says; one that is changed holds at the next look.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::Request;
use quipu_api::{Code, Problem};
use quipu_domain::delivery::{RateLimit, TokenBucket};
use quipu_domain::{Quotas, Timestamp};
use tokio::sync::Semaphore;

use crate::home::Home;
use crate::{App, Host, body};

/// How long a refusal is held back at least and at most. Whoever floods repeats at once, and each answer costs about as much as
/// an event: held back, a hundred connections get a thousand refusals a second.
const HELD: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Refusals that are held back at the same time; others are answered at once.
const HELD_MAX: usize = 4_096;

/// What a tenant uses.
pub(crate) struct Meter {
    begun: Instant,
    events: Mutex<TokenBucket>,
    bytes: Mutex<TokenBucket>,
    /// Apart from events: whoever is flooded must be able to do something about it.
    acts: Mutex<TokenBucket>,
    connections: AtomicU64,
}

/// A request that is under way.
pub(crate) struct Entered(Arc<Home>);

/// Refusals that are held back.
pub(crate) struct HeldBack(Semaphore);

/// More than a quota.
struct Over {
    quota: &'static str,
    limit: u64,
    unit: &'static str,
    wait: Duration,
}

impl Meter {
    pub fn new() -> Self {
        let (events, bytes, acts) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { begun: Instant::now(), events, bytes, acts, connections: AtomicU64::new(0) }
    }

    /// Requests that are under way.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts an event of so many bytes. It may be the one too many: then the next has to wait until it is paid for, so that what
    /// can only be taken as a whole is taken, and the rate holds in the long run all the same.
    fn count(&self, quotas: Quotas, bytes: usize) {
        if let Some(rate) = quotas.events_per_second {
            self.take(&self.events, rate.get(), 1);
        }
        if let Some(rate) = quotas.bytes_per_second {
            self.take(&self.bytes, rate.get(), bytes);
        }
    }

    /// What there is too much of, if there is.
    fn over(&self, quotas: Quotas) -> Option<Over> {
        let events = quotas.events_per_second.map(|rate| (&self.events, "eventspersecond", "events a second", rate));
        let bytes = quotas.bytes_per_second.map(|rate| (&self.bytes, "bytespersecond", "bytes a second", rate));
        [events, bytes].into_iter().flatten().find_map(|(bucket, quota, unit, rate)| {
            let wait = self.wait(bucket, rate.get())?;
            Some(Over { quota, limit: rate.get(), unit, wait })
        })
    }

    /// Counts an act, which takes about what an event does, or says that there are too many.
    fn act(&self, quotas: Quotas) -> Result<(), Over> {
        let Some(rate) = quotas.events_per_second else { return Ok(()) };
        if let Some(wait) = self.wait(&self.acts, rate.get()) {
            return Err(Over { quota: "eventspersecond", limit: rate.get(), unit: "acts a second", wait });
        }
        self.take(&self.acts, rate.get(), 1);
        Ok(())
    }

    fn take(&self, bucket: &Mutex<TokenBucket>, rate: u64, count: usize) {
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.available(limit(rate), self.now());
        bucket.take(count);
    }

    /// How long until there is some left, if there is none.
    fn wait(&self, bucket: &Mutex<TokenBucket>, rate: u64) -> Option<Duration> {
        let (mut bucket, now) = (bucket.lock().unwrap_or_else(PoisonError::into_inner), self.now());
        if bucket.available(limit(rate), now) > 0 {
            return None;
        }
        let until = bucket.next(limit(rate)).unwrap_or(now);
        Some(Duration::from_micros(until.0.saturating_sub(now.0).max(0).unsigned_abs()))
    }

    /// A time that never goes back.
    fn now(&self) -> Timestamp {
        Timestamp(i64::try_from(self.begun.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

/// A second's worth at once.
fn limit(rate: u64) -> RateLimit {
    RateLimit { per_second: rate as f64, burst: u32::try_from(rate).unwrap_or(u32::MAX) }
}

impl Over {
    fn problem(&self) -> Problem {
        let detail = format!("expected at most {} {}, found more", self.limit, self.unit);
        let seconds = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        let problem = Problem::new(Code::QuotaExceeded, detail);
        problem.with("quota", self.quota).with("limit", self.limit).with("retryafter", seconds.max(1))
    }
}

impl Home {
    /// Lets a request in, if there are not as many as there may be.
    pub fn enter(self: &Arc<Self>) -> Result<Entered, Problem> {
        let limit = self.tenant.quotas().connections.map_or(u64::MAX, std::num::NonZeroU64::get);
        let (entered, before) = self.count_entry();
        if before < limit {
            return Ok(entered);
        }
        let wait = Duration::from_secs(1);
        Err(Over { quota: "connections", limit, unit: "requests at the same time", wait }.problem())
    }

    /// Lets whoever administers in, however many requests there are: he may be about to revoke the key that makes all others.
    pub fn enter_to_administer(self: &Arc<Self>) -> Entered {
        self.count_entry().0
    }

    /// Counts an act of anybody else.
    pub fn count_act(&self) -> Result<(), Problem> {
        self.meter.act(self.tenant.quotas()).map_err(|over| over.problem())
    }

    fn count_entry(self: &Arc<Self>) -> (Entered, u64) {
        let before = self.meter.connections.fetch_add(1, Ordering::Relaxed);
        (Entered(Arc::clone(self)), before)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.meter.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl App {
    /// Counts an event that was sent, whatever becomes of it.
    pub(crate) fn count_event(&self, bytes: usize) {
        self.home.meter.count(self.tenant.quotas(), bytes);
    }

    /// That the tenant may send more events now.
    pub(crate) fn demand_rate(&self) -> Result<(), Problem> {
        self.home.meter.over(self.tenant.quotas()).map_or(Ok(()), |over| Err(over.problem()))
    }

    /// The same, of a request whose body is not read yet: what is refused is to cost little.
    pub(crate) async fn demand_rate_of(&self, request: Request) -> Result<Request, Problem> {
        let Err(over) = self.demand_rate() else { return Ok(request) };
        body::linger(request.into_body());
        self.host.hold_back(&over).await;
        Err(over)
    }

    /// Waits until the tenant may send more events, or until nothing is served any more.
    pub(crate) async fn pace(&self) {
        while let Some(over) = self.home.meter.over(self.tenant.quotas()) {
            tokio::select! {
                // A quota that was raised meanwhile is not waited out.
                () = tokio::time::sleep(over.wait.min(HELD.1)) => {}
                () = self.ending() => return,
            }
        }
    }
}

impl HeldBack {
    pub fn new() -> Self {
        Self(Semaphore::new(HELD_MAX))
    }
}

impl Host {
    /// Holds a refusal back that is about a quota, so that whoever floods is slowed down and not kept busy.
    pub(crate) async fn hold_back(&self, refused: &Problem) {
        if refused.code() != Some(Code::QuotaExceeded) {
            return;
        }
        let Ok(_one) = self.held_back.0.try_acquire() else { return };
        let seconds = refused.members.get("retryafter").and_then(serde_json::Value::as_u64).unwrap_or(0);
        tokio::time::sleep(Duration::from_secs(seconds).clamp(HELD.0, HELD.1)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quotas(text: &str) -> Quotas {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn what_is_not_limited_is_never_too_much() {
        let meter = Meter::new();
        (0..10_000).for_each(|_| meter.count(Quotas::default(), 1 << 20));
        assert!(meter.over(Quotas::default()).is_none());
    }

    #[test]
    fn a_second_goes_at_once_and_what_was_too_much_is_waited_for() {
        let (meter, quotas) = (Meter::new(), quotas(r#"{"eventspersecond":10}"#));
        for _ in 0..10 {
            assert!(meter.over(quotas).is_none());
            meter.count(quotas, 1);
        }
        let over = meter.over(quotas).unwrap();
        assert!(over.quota == "eventspersecond" && over.wait <= Duration::from_millis(100), "{:?}", over.wait);
        // An append of a hundred is one request.
        (0..100).for_each(|_| meter.count(quotas, 1));
        let wait = meter.over(quotas).unwrap().wait;
        assert!(wait > Duration::from_secs(9) && wait <= Duration::from_secs(11), "{wait:?}");
    }

    #[test]
    fn bytes_are_counted_beside_events() {
        let (meter, quotas) = (Meter::new(), quotas(r#"{"eventspersecond":1000,"bytespersecond":1000}"#));
        meter.count(quotas, 3_000);
        let over = meter.over(quotas).unwrap();
        assert_eq!((over.quota, over.limit), ("bytespersecond", 1_000));
        let problem = over.problem();
        assert_eq!(
            problem.members["retryafter"], 3,
            "a second's worth was free, and one more is waited for: {problem:?}"
        );
        // Acts are counted by themselves; more are let through while this goes on.
        let refused = (0..1_000_000).find(|_| meter.act(quotas).is_err());
        assert!(refused.is_some_and(|act| act >= 1_000), "{refused:?}");
        assert!(meter.act(Quotas::default()).is_ok());
        // Whoever is given more does not wait for less.
        assert!(meter.over(Quotas { bytes_per_second: None, ..quotas }).is_none());
    }
}
