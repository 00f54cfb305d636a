//! Moving where a subscription is, and saying first what that would mean.

use std::sync::Arc;

use quipu_domain::delivery::{Deliveries, DeliveryId, Key};
use quipu_domain::{Direction, Filter, InvalidSubscription, StartAt, Timestamp};
use quipu_store::Fault;

use super::checkpoint::Places;
use super::pace::Pace;
use super::records::Defined;
use super::refusal::{NotDone, SubscriptionRefusal};
use super::running::Compiled;
use crate::tenant::Tenant;

/// Events read at once.
const CHUNK: usize = 1_000;

/// What a seek would mean. An event whose time is over is counted as any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeekPreview {
    /// Events that match and come again: the subscription was past them, or somebody was handed them and has not finished.
    /// Past it are also those before its start, behind an earlier seek, and those that an earlier pattern did not want.
    pub again: u64,
    /// Events that nobody was handed and that will not come.
    pub skipped: u64,
    /// Unfinished deliveries that somebody was handed, or that are redriven, and that will not come.
    pub forgotten: u64,
}

impl Tenant {
    /// What a seek would mean as things are; nothing while the definition is not accepted any more: which events match is
    /// not known before it is changed. Reads all events between the two places, and from the first on that waits
    /// behind a blocked key and is not remembered.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`]; the place makes no sense; [`Fault`].
    pub fn preview_seek(&self, name: &str, to: &StartAt) -> Result<Option<SeekPreview>, NotDone> {
        let running = self.running(name)?;
        let target = self.before(to, "/to")?;
        let (compiled, backlog) = {
            let inner = running.inner.lock();
            (running.compiled(), inner.deliveries.backlog())
        };
        if compiled.refused.is_some() {
            return Ok(None);
        }
        let (scan, untried) = (backlog.scan, &backlog.untried);
        let mut forgotten = backlog.tried.len() as u64;
        let mut skipped = untried.range(..=target).count() as u64;
        let low = scan.min(target);
        if let Some(first) = backlog.waits_from.values().min() {
            self.each_matching(&compiled, *first, low, |position, key| {
                skipped += u64::from(backlog.waits_unremembered(position, key));
            })?;
        }
        self.each_matching(&compiled, scan + 1, target, |_, _| skipped += 1)?;
        let (mut again, mut first_time) = (0, 0);
        self.each_matching(&compiled, low + 1, scan, |position, key| {
            if untried.contains(&position) {
                first_time += 1;
            } else if !backlog.waits_unremembered(position, key) {
                again += 1;
                // What an earlier pattern found comes only if the one of now wants it too.
                forgotten -= u64::from(backlog.tried.contains(&DeliveryId::routed(position)));
            }
        })?;
        // What was found by an earlier pattern is not found again.
        skipped += untried.range(low.max(target) + 1..).count() as u64 - first_time;
        Ok(Some(SeekPreview { again, skipped, forgotten }))
    }

    /// Goes on with the event at `to`, whatever was done before: unfinished deliveries and parked keys are forgotten, and
    /// answers to what is in flight come too late. So are redriven dead letters that were not delivered yet: they stay
    /// decided about.
    ///
    /// # Errors
    /// As [`Tenant::preview_seek`].
    pub fn seek_subscription(self: &Arc<Self>, name: &str, to: &StartAt) -> Result<(), NotDone> {
        let mut changing = self.subscriptions.changing.lock();
        let running = self.running(name)?;
        let scan = self.before(to, "/to")?;
        self.write_unsent(&mut changing)?;
        // What was given up until now has its dead letter; what is given up meanwhile gets it with the next progress.
        changing.push(self.progress_of(&running, Places::Kept)?);
        let definition = Some(running.compiled().to_store());
        self.write_records(&mut changing, vec![Defined { name: name.into(), definition, scan: Some(scan) }.record()])?;
        {
            let mut inner = running.inner.lock();
            // What was given up counts as a dead letter, once it is buried.
            let unfinished = inner.deliveries.replayed();
            inner.deliveries = Deliveries::after(scan);
            inner.replays.forget(&unfinished);
            inner.matched_to = scan;
            // What was asked for and done before says nothing of what begins here.
            inner.pace = Pace::default();
            // What was routed until now says nothing of what lies behind the new place.
            inner.detach();
        }
        self.subscriptions.define(&running);
        drop(changing);
        running.wake();
        Ok(())
    }

    /// The position before the first event that a start means, which is the member of that name of what is asked.
    pub(crate) fn before(&self, start: &StartAt, member: &str) -> Result<u64, NotDone> {
        let newest = self.position();
        let invalid = |kind: &str, detail: String| {
            let pointer = format!("{member}/{kind}").into();
            NotDone::from(SubscriptionRefusal::Invalid(InvalidSubscription { pointer, detail }))
        };
        Ok(match start {
            StartAt::Beginning => 0,
            StartAt::Now => newest,
            StartAt::Position(position) if *position >= 1 && *position <= newest + 1 => position - 1,
            StartAt::Position(position) => {
                let detail = format!("expected a position of 1 to {}, found {position}", newest + 1);
                return Err(invalid("position", detail));
            }
            StartAt::Time(text) => {
                let invalid = |expected: &str| invalid("time", format!("expected {expected}, found {text}"));
                let time = Timestamp::parse(text).ok_or_else(|| invalid("a time such as 2026-01-01T00:00:00Z"))?;
                let before = self.newest_before(time)?;
                // Events to come would be delivered before their time. A clock that went back hides none that are there.
                if before == newest && time > self.world.clock.now() {
                    return Err(invalid("a time that has come"));
                }
                before
            }
        })
    }

    /// The position of the last event recorded before a time. Recorded times never go back.
    fn newest_before(&self, time: Timestamp) -> Result<u64, Fault> {
        let (mut low, mut high) = (0, self.position());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            match self.event_at(middle)? {
                Some(recorded) if recorded.stamp.recorded_time < time => low = middle,
                _ => high = middle - 1,
            }
        }
        Ok(low)
    }

    /// Calls `found` for each event that matches, with its key. Both ends are included; none if they are the wrong way
    /// round.
    fn each_matching(
        &self,
        compiled: &Compiled,
        from: u64,
        to: u64,
        mut found: impl FnMut(u64, Option<Key>),
    ) -> Result<(), Fault> {
        let registry = self.schemas.current();
        let mut from = Some(from).filter(|from| *from <= to);
        while from.is_some() {
            let page = self.read_to(&Filter::default(), Direction::Forward, from, CHUNK, to)?;
            for recorded in &page.events {
                let event = self.seen(recorded, compiled.looks_at_data)?;
                if compiled.matches(&registry, &event, &recorded.stamp) {
                    found(recorded.stamp.position, compiled.key.of(&event, &self.hasher));
                }
            }
            from = page.next;
        }
        Ok(())
    }
}
