//! Dead letters: looking at them never changes them; redriving and discarding are decided here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::Timestamp;
use quipu_domain::delivery::Reason;
use quipu_store::{Fault, RecordKind};
use serde_json::value::RawValue;

use super::records::{DeadLetter, DeadLetterLine, DeadLetterState, Decided, DecidedBy};
use super::refusal::{NotDone, SubscriptionRefusal};
use super::running::Inner;
use crate::tenant::Tenant;

/// Which dead letters are meant; every part that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Whose deliveries.
    pub subscription: Option<String>,
    /// Events of this type.
    pub kind: Option<String>,
    /// Failures of this kind.
    pub fingerprint: Option<String>,
    /// Also those that were redriven or discarded.
    pub with_decided: bool,
}

/// Dead letters that have everything in common that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// Whose deliveries.
    pub subscription: String,
    /// The events' type.
    pub kind: String,
    /// The last error, its numbers taken out.
    pub fingerprint: String,
    /// How many.
    pub count: u64,
    /// The oldest one's number and time, and the newest one's.
    pub oldest: (u64, Timestamp),
    /// See `oldest`.
    pub newest: (u64, Timestamp),
}

impl DeadLetterFilter {
    /// Whether a dead letter is meant.
    pub fn matches(&self, line: &DeadLetterLine) -> bool {
        let fits = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        fits(&self.subscription, &line.subscription)
            && fits(&self.kind, &line.kind)
            && fits(&self.fingerprint, &line.fingerprint)
            && (self.with_decided || line.state == DeadLetterState::Open)
    }
}

impl Tenant {
    /// Dead letters that match, by number, from `from` on, at most `limit`.
    pub fn dead_letters(&self, filter: &DeadLetterFilter, from: u64, limit: usize) -> Vec<Arc<DeadLetterLine>> {
        let letters = self.subscriptions.dead_letters.read();
        letters.range(from..).filter(|line| filter.matches(line)).take(limit).cloned().collect()
    }

    /// Dead letters that match, grouped by subscription, type and kind of failure; the largest group first.
    pub fn dead_letter_groups(&self, filter: &DeadLetterFilter) -> Vec<DeadLetterGroup> {
        let mut groups: BTreeMap<(&str, &str, &str), DeadLetterGroup> = BTreeMap::new();
        let letters = self.subscriptions.dead_letters.read();
        for line in letters.iter().filter(|line| filter.matches(line)) {
            let key = (line.subscription.as_str(), line.kind.as_str(), line.fingerprint.as_str());
            let group = groups.entry(key).or_insert_with(|| DeadLetterGroup {
                subscription: line.subscription.clone(),
                kind: line.kind.clone(),
                fingerprint: line.fingerprint.clone(),
                count: 0,
                oldest: (line.id, line.time),
                newest: (line.id, line.time),
            });
            group.count += 1;
            group.newest = (line.id, line.time);
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        groups.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.oldest.cmp(&b.oldest)));
        groups
    }

    pub(crate) fn dead_letter_line(&self, id: u64) -> Result<Arc<DeadLetterLine>, SubscriptionRefusal> {
        let line = self.subscriptions.dead_letters.read().get(id).cloned();
        line.ok_or(SubscriptionRefusal::DeadLetterNotFound { id })
    }

    /// A dead letter with all its attempts, and what became of it.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::DeadLetterNotFound`]; [`Fault`].
    pub fn dead_letter(&self, id: u64) -> Result<(DeadLetter, Arc<DeadLetterLine>), NotDone> {
        let line = self.dead_letter_line(id)?;
        Ok((self.read_dead_letter(&line)?, line))
    }

    fn read_dead_letter(&self, line: &DeadLetterLine) -> Result<DeadLetter, Fault> {
        let record = self.log.fetch(line.locator, RecordKind::DeadLetter)?;
        serde_json::from_slice(&record.body).map_err(|_| Fault::Damaged {
            path: self.log.name(),
            offset: 0,
            detail: format!("dead letter {} has a checksum that fits and cannot be decoded", line.id),
        })
    }

    /// The edited event of a dead letter that is an edited copy made for this subscription.
    pub(super) fn edited_copy(&self, subscription: &str, id: u64) -> Result<Option<Box<RawValue>>, Fault> {
        Ok(self.edited_letter(subscription, id)?.and_then(|letter| letter.event))
    }

    /// A dead letter, if it is of an edited copy made for this subscription.
    pub(super) fn edited_letter(&self, subscription: &str, id: u64) -> Result<Option<DeadLetter>, Fault> {
        if let Some(letter) = self.subscriptions.copies.lock().get(&id) {
            return Ok((letter.subscription == subscription).then(|| letter.clone()));
        }
        match self.dead_letter_line(id) {
            Ok(line) if line.copy_of.is_some() && line.subscription == subscription => {
                self.read_dead_letter(&line).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Delivers the event of a dead letter once more: to its own subscription, or to another. One that parks its key goes
    /// on in the order of the key; others come out of order.
    ///
    /// # Errors
    /// [`SubscriptionRefusal`]: there is no such dead letter or subscription, or it was decided about before.
    pub fn redrive(self: &Arc<Self>, id: u64, to: Option<&str>) -> Result<(), NotDone> {
        self.begin_redrive(id, to, DecidedBy::Somebody)?;
        self.decided()
    }

    /// As [`Tenant::redrive`]; durable with the next commit of progress.
    ///
    /// The key of one that parks it and is redriven elsewhere goes on when the decision is durable, not before: another
    /// subscription's progress may be in another commit, and after a crash between them the key has to be held by what
    /// nobody has decided about. If it is not let go before the crash, opening does it.
    pub(crate) fn begin_redrive(&self, id: u64, to: Option<&str>, by: DecidedBy) -> Result<(), NotDone> {
        let line = self.dead_letter_line(id)?;
        let to = to.unwrap_or(&line.subscription);
        let running = self.running(to)?;
        let line = self.claim(id)?;
        let time = self.world.clock.now();
        let outcome = DeadLetterState::Redriven { to: to.to_owned(), time };
        let parked = line.parked();
        {
            let mut inner = running.inner.lock();
            self.refuse_if_deleted(&inner, to, id)?;
            let is_own = to == line.subscription;
            if !(is_own && line.parks_key && inner.deliveries.unpark(parked, id)) {
                inner.deliveries.redrive(line.position, id);
            }
            inner.drafts.push(Decided { ids: vec![id], outcome, by }.record());
        }
        running.wake();
        Ok(())
    }

    /// Delivers an edited copy of a dead letter's event to its own subscription. The original stays as it was recorded;
    /// the copy is a dead letter of its own that refers to it. The copy's number.
    ///
    /// # Errors
    /// As [`Tenant::redrive`].
    pub fn redrive_edited(self: &Arc<Self>, id: u64, event: Box<RawValue>) -> Result<u64, NotDone> {
        let line = self.dead_letter_line(id)?;
        let running = self.running(&line.subscription)?;
        let original = self.read_dead_letter(&line)?;
        let line = self.claim(id)?;
        let time = self.world.clock.now();
        let copy = self.subscriptions.last_dead_letter.fetch_add(1, Ordering::Relaxed) + 1;
        let letter = DeadLetter {
            id: copy,
            time,
            copy_of: Some(id),
            replay: None,
            event: Some(event),
            history: Vec::new(),
            attempts: 0,
            parks_key: false,
            reason: Reason::GivenUpByConsumer,
            ..original
        };
        let outcome = DeadLetterState::Redriven { to: line.subscription.clone(), time };
        {
            let mut inner = running.inner.lock();
            self.refuse_if_deleted(&inner, &line.subscription, id)?;
            self.subscriptions.copies.lock().insert(copy, letter.clone());
            inner.deliveries.redrive(line.position, copy);
            inner
                .drafts
                .extend([letter.record(), Decided { ids: vec![id, copy], outcome, by: DecidedBy::Somebody }.record()]);
            inner.deliveries.drop_parked(line.parked(), id);
        }
        self.decided()?;
        running.wake();
        Ok(copy)
    }

    /// Decides that a dead letter need not be delivered. A key that it parks goes on.
    ///
    /// # Errors
    /// As [`Tenant::redrive`].
    pub fn discard(self: &Arc<Self>, id: u64, reason: &str) -> Result<(), NotDone> {
        self.begin_discard(id, reason, DecidedBy::Somebody)?;
        self.decided()
    }

    /// As [`Tenant::discard`]; durable with the next commit of progress.
    pub(crate) fn begin_discard(&self, id: u64, reason: &str, by: DecidedBy) -> Result<(), NotDone> {
        let line = self.claim(id)?;
        let outcome = DeadLetterState::Discarded { reason: reason.to_owned(), time: self.world.clock.now() };
        let decided = Decided { ids: vec![id], outcome, by }.record();
        let running = self.running(&line.subscription).ok();
        let inner = running.as_ref().map(|running| running.inner.lock()).filter(|inner| !inner.is_deleted);
        match inner {
            Some(mut inner) => {
                // Together: a key must not stay parked by what was decided.
                inner.drafts.push(decided);
                inner.deliveries.drop_parked(line.parked(), id);
            }
            // Its subscription was deleted.
            None => self.subscriptions.drafts.lock().push(decided),
        }
        running.iter().for_each(|running| running.wake());
        Ok(())
    }

    /// Nobody would write down what is decided with a subscription that was deleted since it was looked up: the dead letter
    /// is let go of again.
    fn refuse_if_deleted(&self, inner: &Inner, to: &str, id: u64) -> Result<(), SubscriptionRefusal> {
        if inner.is_deleted {
            self.subscriptions.claimed.lock().remove(&id);
            return Err(SubscriptionRefusal::NotFound { name: to.to_owned() });
        }
        Ok(())
    }

    /// Takes a dead letter for a decision: nobody else decides about it from now on.
    fn claim(&self, id: u64) -> Result<Arc<DeadLetterLine>, SubscriptionRefusal> {
        let mut claimed = self.subscriptions.claimed.lock();
        let line = self.dead_letter_line(id)?;
        if line.state != DeadLetterState::Open || !claimed.insert(id) {
            return Err(SubscriptionRefusal::DeadLetterDecided { id });
        }
        Ok(line)
    }

    /// Makes decisions durable before they are answered.
    fn decided(self: &Arc<Self>) -> Result<(), NotDone> {
        self.checkpoint_deliveries()?;
        Ok(())
    }
}
