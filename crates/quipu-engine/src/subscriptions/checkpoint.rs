//! Writing down what consumers did: dead letters, and how far every subscription is, in one commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::MutexGuard;
use quipu_domain::Timestamp;
use quipu_domain::delivery::{DeliveryId, GivenUp, Phase};
use quipu_store::{Fault, Record};

use super::letters::Letters;
use super::outcome::OutcomeWord;
use super::records::{DeadLetter, DeadLetterLine, DeadLetterState, Decided, DecidedBy, progress_record};
use super::running::{Inner, Running};
use super::{CHECKPOINT_MS, Unsent};
use crate::tenant::Tenant;

/// How often the places of subscriptions are written that looked on and found nothing, milliseconds: what a crash makes
/// them look at once more.
const PLACES_MS: i64 = 10_000;
/// A place is not written before it has moved by as many events: looking at fewer again is one read, and a record takes
/// about 40 bytes in a log that keeps it.
const PLACE_EVENTS_MIN: u64 = 1_000;
/// How often dead letters are looked for that were kept long enough, milliseconds.
const RETENTION_MS: i64 = 10_000;
/// Dead letters that go into one record when they have become too old.
const EXPIRED_MAX: usize = 1_000;

/// Which subscriptions have their place written though nothing of their deliveries changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// None.
    Kept,
    /// Those that moved by as much as counts.
    Moved,
    /// Those that moved at all.
    All,
}

impl Places {
    /// By how many events a place must have moved.
    fn events_min(self) -> u64 {
        match self {
            Self::Kept => u64::MAX,
            Self::Moved => PLACE_EVENTS_MIN,
            Self::All => 1,
        }
    }
}

impl Tenant {
    /// Lets become due what is due now, routes what is new, and has operations do their next portion. What fails keeps none of the
    /// others.
    ///
    /// # Errors
    /// The log cannot be read, or an operation failed at something; it is tried again.
    pub fn deliver(self: &Arc<Self>) -> Result<(), Fault> {
        self.subscriptions.all().iter().for_each(|running| self.tick(running));
        let routed = self.route();
        let worked = self.run_operations(self.world.clock.now());
        routed.and(worked)
    }

    /// Does what is due now, and says after how long something is due again. Progress is written when its time has come by
    /// the clock, or if `is_time`.
    pub(crate) fn keep_deliveries(self: &Arc<Self>, is_time: bool) -> Duration {
        // What cannot be read or written now is tried again the next time; whoever pulls is told.
        _ = self.deliver();
        let now = self.world.clock.now();
        let due = &self.subscriptions.checkpoint_due;
        let wait = match due.wait_us(now, CHECKPOINT_MS as i64).filter(|_| !is_time) {
            Some(wait_us) => Duration::from_micros(wait_us as u64),
            None => {
                due.next_at(now.plus_ms(CHECKPOINT_MS as i64));
                _ = self.checkpoint_deliveries();
                _ = self.note_key_uses();
                _ = self.keep_audit();
                Duration::from_millis(CHECKPOINT_MS)
            }
        };
        self.until_next_delivery().map_or(wait, |next| next.min(wait))
    }

    /// When [`Tenant::deliver`] has something to do next, besides new events.
    pub fn next_delivery(&self) -> Option<Timestamp> {
        let now = self.world.clock.now();
        let due = |running: &Arc<Running>| running.inner.lock().next_due(&running.compiled(), now);
        self.subscriptions.all().iter().filter_map(due).min()
    }

    /// How long that is from now.
    pub(crate) fn until_next_delivery(&self) -> Option<Duration> {
        let now = self.world.clock.now();
        let due = [self.next_operation(now), self.next_delivery()].into_iter().flatten().min()?;
        Some(Duration::from_micros(due.0.saturating_sub(now.0).max(0) as u64))
    }

    /// Writes down what changed in deliveries since the last time. Whether there was anything.
    ///
    /// # Errors
    /// The log took nothing; what was to be written is kept for the next time.
    pub fn checkpoint_deliveries(self: &Arc<Self>) -> Result<bool, Fault> {
        self.write_progress(&mut self.hold_progress())
    }

    /// As [`Tenant::checkpoint_deliveries`], with the place of every subscription, so that none looks at an event once more
    /// after a restart: for a clean stop.
    ///
    /// # Errors
    /// As [`Tenant::checkpoint_deliveries`], or the log cannot be read.
    pub fn settle_deliveries(self: &Arc<Self>) -> Result<(), Fault> {
        let routed = self.route();
        self.write_progress_and(&mut self.hold_progress(), Places::All)?;
        routed
    }

    /// Nobody else writes progress down until this is dropped.
    pub(crate) fn hold_progress(&self) -> MutexGuard<'_, Unsent> {
        self.subscriptions.changing.lock()
    }

    /// As [`Tenant::checkpoint_deliveries`].
    pub(crate) fn write_progress(self: &Arc<Self>, unsent: &mut Unsent) -> Result<bool, Fault> {
        self.write_progress_and(unsent, self.places_due())
    }

    fn places_due(&self) -> Places {
        let (now, due) = (self.world.clock.now(), &self.subscriptions.places_due);
        if due.wait_us(now, PLACES_MS).is_some() {
            return Places::Kept;
        }
        due.next_at(now.plus_ms(PLACES_MS));
        Places::Moved
    }

    fn write_progress_and(self: &Arc<Self>, unsent: &mut Unsent, places: Places) -> Result<bool, Fault> {
        let subscriptions = &self.subscriptions;
        let was_unsent = !unsent.0.is_empty();
        // While the log refuses nothing more is taken: what changes stays in deliveries, where it takes no more room.
        self.write_unsent(unsent)?;
        // Looked at first and written last: what an operation has done is in the log before it says so.
        let looked_at = self.operations.lock().looked_at();
        let mut outcome = Ok(());
        for running in subscriptions.all() {
            match self.progress_of(&running, places) {
                Ok(records) => unsent.push(records),
                Err(fault) => outcome = Err(fault),
            }
        }
        unsent.push(std::mem::take(&mut *subscriptions.drafts.lock()));
        if outcome.is_ok() {
            unsent.push(self.operations.lock().take_records(&looked_at, self.world.clock.now()));
        }
        let expired = self.too_old();
        if !expired.is_empty() {
            let (outcome, by) = (DeadLetterState::Expired, DecidedBy::Somebody);
            unsent.push(vec![Decided { ids: expired, outcome, by }.record()]);
        }
        let is_something = was_unsent || !unsent.0.is_empty();
        self.write_unsent(unsent)?;
        if outcome.is_ok() {
            let ended = self.operations.lock().records_written();
            ended.iter().for_each(|(id, to)| self.end_replay(*id, to));
        }
        outcome.map(|()| is_something)
    }

    /// Takes what changed of one subscription: its dead letters and its progress belong together.
    pub(super) fn progress_of(&self, running: &Running, places: Places) -> Result<Vec<Record>, Fault> {
        let mut inner = running.inner.lock();
        self.bury(running, &mut inner)?;
        let mut records = Vec::new();
        if places != Places::Kept {
            inner.pass_routed(self.subscriptions.routed_to.load(Ordering::Acquire));
        }
        let is_due = inner.deliveries.is_dirty() || inner.deliveries.unsaved_scan() >= places.events_min();
        if (is_due || inner.replays.is_dirty() || !inner.drafts.is_empty()) && !inner.is_deleted {
            records.append(&mut inner.drafts);
            records.extend(inner.replays.take_records());
            let progress = inner.deliveries.take_progress();
            records.push(progress_record(&running.name, &progress, &inner.counts));
        }
        let outcomes = inner.outcomes.take();
        drop(inner);
        match self.report(running, &outcomes) {
            Ok(events) => records.extend(events),
            // What was taken is written all the same; outcomes are told when their events can be read.
            Err(_) => running.inner.lock().outcomes.put_back(outcomes),
        }
        Ok(records)
    }

    /// Makes the dead letters of what was given up: all or none, so that they are numbered as they are written and whoever
    /// follows the numbers misses none.
    pub(super) fn bury(&self, running: &Running, inner: &mut Inner) -> Result<(), Fault> {
        let letters = inner.given_up.iter().map(|(id, given_up)| self.dead_letter_of(running, inner, *id, given_up));
        let letters = letters.collect::<Result<Vec<_>, _>>()?;
        for (mut letter, (id, given_up)) in letters.into_iter().zip(std::mem::take(&mut inner.given_up)) {
            letter.id = self.subscriptions.last_dead_letter.fetch_add(1, Ordering::Relaxed) + 1;
            if letter.parks_key {
                inner.deliveries.park(id, letter.id);
            }
            inner.counts.dead_lettered += 1;
            inner.replays.finished(id, |counts| counts.dead_lettered += 1);
            let error = given_up.history.last().map(|attempt| attempt.failure.error.as_str());
            inner.note(OutcomeWord::DeadLettered, id, given_up.attempts, error, letter.time);
            inner.drafts.push(letter.record());
        }
        Ok(())
    }

    /// The dead letter without its number.
    fn dead_letter_of(
        &self,
        running: &Running,
        inner: &Inner,
        id: DeliveryId,
        given_up: &GivenUp,
    ) -> Result<DeadLetter, Fault> {
        let recorded = match self.event_at(id.position) {
            // The rest of the story is told all the same.
            Err(Fault::Damaged { .. }) => None,
            recorded => recorded?,
        };
        let event = recorded.as_ref().map(|recorded| recorded.event());
        // The policy may have changed since, or a seek was made: what counts is whether the delivery parks its key.
        let phase = inner.deliveries.get(id).map(|delivery| delivery.phase);
        let parks_key = phase == Some(Phase::Parked { dead_letter: 0 });
        // What was edited stays so when it fails again.
        let edited = given_up.redriven_from.map(|from| self.edited_letter(&running.name, from)).transpose()?.flatten();
        let (copy_of, edited) = edited.map_or((None, None), |letter| (letter.copy_of, letter.event));
        Ok(DeadLetter {
            id: 0,
            subscription: running.name.to_string(),
            position: id.position,
            kind: event.as_ref().map_or_else(String::new, |event| event.kind().to_owned()),
            subject: event.as_ref().and_then(|event| event.subject()).map(str::to_owned),
            reason: given_up.reason,
            attempts: given_up.attempts,
            history: given_up.history.clone(),
            time: self.world.clock.now(),
            redriven_from: given_up.redriven_from,
            replay: Some(id.replay).filter(|replay| *replay > 0),
            parks_key,
            copy_of,
            event: edited,
        })
    }

    /// Dead letters that were kept as long as their subscription says, and of those that were decided about the oldest, if
    /// there are more than may be. Those of a deleted one are kept as long as by default.
    fn too_old(&self) -> Vec<u64> {
        let (now, due) = (self.world.clock.now(), &self.subscriptions.retention_due);
        if due.wait_us(now, RETENTION_MS).is_some() {
            return Vec::new();
        }
        let running = self.subscriptions.running.read();
        let letters = self.subscriptions.dead_letters.read();
        let mut expired = Vec::new();
        for name in letters.subscriptions() {
            let left = EXPIRED_MAX - expired.len();
            expired.extend(self.expired_of(&letters, name, running.get(name), now).take(left));
        }
        // What is being decided is let go of in memory before that is durable: it stays until it is, or a crash between the two
        // would leave a key that waits for a dead letter that is gone. Whoever calls has `changing`, so none is done meanwhile.
        let claimed = self.subscriptions.claimed.lock();
        let count = expired.len();
        expired.retain(|id| !claimed.contains(id));
        // There may be more than were taken: they go the next time.
        due.next_at(if count == EXPIRED_MAX { now } else { now.plus_ms(RETENTION_MS) });
        expired
    }

    /// Those of one subscription. Only what is old is looked at, or all while there are more than may be.
    fn expired_of<'a>(
        &self,
        letters: &'a Letters,
        name: &'a str,
        running: Option<&'a Arc<Running>>,
        now: Timestamp,
    ) -> impl Iterator<Item = u64> + 'a {
        let default = quipu_domain::DeadLetterPolicy::default().retention_ms;
        let compiled = running.map(|running| running.compiled());
        // What it says of retention is not known while it is not accepted.
        let is_refused = compiled.as_ref().is_some_and(|compiled| compiled.refused.is_some());
        let kept_ms = compiled.map_or(default, |compiled| compiled.definition.dead_letter.retention_ms);
        let is_old = move |letter: &DeadLetterLine| !is_refused && letter.time.plus_ms(kept_ms as i64) <= now;
        let mut surplus = letters.count(name).decided.saturating_sub(self.options.dead_letters_max);
        // The edited event of a copy is in its dead letter: it stays until it is delivered.
        let is_needed = move |letter: &DeadLetterLine| {
            let id = DeliveryId { dead_letter: letter.id, ..DeliveryId::routed(letter.position) };
            let running = running.filter(|_| letter.copy_of.is_some());
            running.is_some_and(|running| running.inner.lock().deliveries.get(id).is_some())
        };
        // It did once: the subscription may be gone since, or was moved.
        let parks_key = move |letter: &DeadLetterLine| {
            let running = running.filter(|_| letter.parks_key);
            running.is_some_and(|running| running.inner.lock().deliveries.is_parked_by(letter.parked(), letter.id))
        };
        letters
            .oldest(name)
            .map_while(move |letter| {
                if surplus == 0 && !is_old(letter) {
                    return None;
                }
                let (is_open, is_needed) = (letter.state == DeadLetterState::Open, is_needed(letter));
                let is_surplus = surplus > 0 && !is_open && !is_needed;
                surplus -= u64::from(is_surplus);
                let is_kept = is_needed || (is_open && is_old(letter) && parks_key(letter));
                Some((is_surplus || (is_old(letter) && !is_kept)).then_some(letter.id))
            })
            .flatten()
    }
}

#[cfg(test)]
mod tests {
    use quipu_domain::{StartAt, Subscription};

    use crate::options::Options;
    use crate::still::{self, publish};
    use crate::subscriptions::Answer;

    #[test]
    fn a_log_that_refuses_makes_nothing_grow_however_often_it_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 256 << 10, ..Options::default() };
        let tenant = still::tenant(folder.path(), options);
        let text = r#"{"start":"beginning","ordering":"none","maxinflight":1000,"reportsoutcomes":true}"#;
        tenant.create_subscription("s", serde_json::from_str::<Subscription>(text).unwrap()).unwrap();
        (0..1_000).for_each(|id| publish(&tenant, "t", &id.to_string()).unwrap());
        let handed = tenant.pull("s", 1_000).unwrap();
        assert_eq!(handed.len(), 1_000);
        tenant.checkpoint_deliveries().unwrap();
        // There is no place for a next segment.
        std::fs::remove_dir_all(folder.path().join("t/log")).unwrap();
        let refused = (1_000..100_000).find_map(|id| publish(&tenant, "t", &id.to_string()).err());
        assert!(refused.is_some());
        for one in handed {
            tenant.answer("s", vec![(one.id, one.token, Answer::Ack)]).unwrap().remove(0).unwrap();
            assert!(tenant.checkpoint_deliveries().is_err());
            assert!(tenant.seek_subscription("s", &StartAt::Beginning).is_err());
            assert!(tenant.delete_subscription("s").is_err());
        }
        let unsent: usize = tenant.hold_progress().0.iter().map(Vec::len).sum();
        assert!(unsent <= 2, "{unsent} records wait");
        assert_eq!(tenant.subscription("s").unwrap().counts.acknowledged, 1_000);
    }
}
