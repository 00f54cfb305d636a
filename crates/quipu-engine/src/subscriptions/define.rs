//! Making, changing and deleting subscriptions.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use parking_lot::MutexGuard;
use quipu_domain::delivery::{Deliveries, Saved, Summary};
use quipu_domain::{InvalidSubscription, Subscription, is_subscription_name};
use quipu_store::{Fault, Record};

use super::Unsent;
use super::checkpoint::Places;
use super::records::{Defined, definition_text};
use super::refusal::{NotDone, SubscriptionRefusal};
use super::running::{Compiled, Counts, Running, Watcher};
use crate::tenant::Tenant;

/// A subscription and where it is.
#[derive(Clone, Debug)]
pub struct SubscriptionInfo {
    /// Its name.
    pub name: String,
    /// Its definition.
    pub definition: Arc<Subscription>,
    /// Every event up to here was looked at.
    pub scan: u64,
    /// Its unfinished deliveries.
    pub summary: Summary,
    /// What happened since it was made.
    pub counts: Counts,
    /// Dead letters that nobody decided about.
    pub dead_letters: u64,
}

/// Ends a watch when it is dropped.
pub struct WatchGuard {
    running: Weak<Running>,
    id: u64,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some(running) = self.running.upgrade() {
            running.watchers.lock().retain(|(id, _)| *id != self.id);
        }
    }
}

impl Tenant {
    pub(super) fn running(&self, name: &str) -> Result<Arc<Running>, SubscriptionRefusal> {
        let running = self.subscriptions.running.read().get(name).cloned();
        running.ok_or_else(|| SubscriptionRefusal::NotFound { name: name.to_owned() })
    }

    /// Makes a subscription. The same definition again, paused or not, changes nothing and is no mistake. Whether it is
    /// new.
    ///
    /// # Errors
    /// [`SubscriptionRefusal`]: the name or the definition makes no sense, the name is taken, or there are too many.
    pub fn create_subscription(self: &Arc<Self>, name: &str, definition: Subscription) -> Result<bool, NotDone> {
        if !is_subscription_name(name) {
            return Err(SubscriptionRefusal::InvalidName { name: name.chars().take(200).collect() }.into());
        }
        let compiled = Compiled::new(name, definition)?;
        let mut changing = self.subscriptions.changing.lock();
        if let Ok(existing) = self.running(name) {
            // One that somebody paused is the same still: its consumers make it again whenever they start.
            let existing = existing.compiled();
            let is_same = unpaused(&existing.definition) == unpaused(&compiled.definition);
            return if is_same && existing.refused.is_none() {
                Ok(false)
            } else {
                Err(SubscriptionRefusal::Exists { name: name.into() }.into())
            };
        }
        let quota = self.quotas().subscriptions.and_then(|quota| usize::try_from(quota.get()).ok());
        let limit = self.options.subscriptions_max.min(quota.unwrap_or(usize::MAX));
        if self.subscriptions.running.read().len() >= limit {
            return Err(SubscriptionRefusal::TooMany { limit }.into());
        }
        let scan = self.before(&compiled.definition.start, "/start")?;
        let defined =
            Defined { name: name.into(), definition: Some(definition_text(&compiled.definition)), scan: Some(scan) };
        self.write_records(&mut changing, vec![defined.record()])?;
        let running = Running::new(name, compiled, &Saved::after(scan), Counts::default());
        self.subscriptions.define(&running);
        self.subscriptions.running.write().insert(name.into(), running);
        drop(changing);
        self.tell_definition(name);
        Ok(true)
    }

    /// Changes a subscription; where it is stays. What was handed out by the old definition can still be answered. Why it is
    /// paused is not for the new one to say: that stays as long as the pause does.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`], or the definition makes no sense. The key cannot change while deliveries
    /// are unfinished: they keep the one they were taken up with, and events of the new one would overtake them.
    pub fn update_subscription(self: &Arc<Self>, name: &str, definition: Subscription) -> Result<(), NotDone> {
        let changing = self.subscriptions.changing.lock();
        let before = self.running(name)?.compiled();
        // That it was not accepted any more is over.
        let paused_reason = before.definition.paused_reason.clone().filter(|_| before.refused.is_none());
        self.change(changing, name, Compiled::new(name, Subscription { paused_reason, ..definition })?)
    }

    fn change(
        self: &Arc<Self>,
        mut changing: MutexGuard<'_, Unsent>,
        name: &str,
        compiled: Compiled,
    ) -> Result<(), NotDone> {
        let running = self.running(name)?;
        {
            let mut inner = running.inner.lock();
            let Summary { ready, in_flight, waiting, parked, .. } = inner.deliveries.summary();
            let unfinished = ready + in_flight + waiting + parked;
            let is_unfinished = unfinished > 0 || inner.deliveries.has_waiting();
            if running.compiled().key != compiled.key && is_unfinished {
                let detail = format!(
                    "expected the same key and ordering while {unfinished} deliveries are unfinished: \
                     let consumers finish them, or seek"
                );
                return Err(SubscriptionRefusal::Invalid(InvalidSubscription { pointer: "/key".into(), detail }).into());
            }
            inner.replays.allow(&compiled)?;
            if running.compiled().definition.shadow != compiled.definition.shadow {
                let detail = "expected shadow as it is: what a shadow was not given while it was one has no place to go on at; \
                              make another subscription";
                return Err(SubscriptionRefusal::Invalid(InvalidSubscription {
                    pointer: "/shadow".into(),
                    detail: detail.into(),
                })
                .into());
            }
            inner.is_changing = true;
        }
        let definition = Some(definition_text(&compiled.definition));
        let defined = Defined { name: name.into(), definition, scan: None };
        let written = self.write_records(&mut changing, vec![defined.record()]);
        if written.is_ok() {
            let mut inner = running.inner.lock();
            inner.outcomes.set(compiled.definition.reports_outcomes);
            // What the router found was found by the old pattern, and so was what waits.
            inner.detach();
            let before = running.compiled();
            let is_read_alike = before.definition.schema_version == compiled.definition.schema_version;
            if before.pattern != compiled.pattern || !is_read_alike {
                inner.deliveries.match_anew();
                inner.matched_to = inner.deliveries.scan();
            }
            *running.compiled.write() = Arc::new(compiled);
            drop(inner);
            self.subscriptions.define(&running);
        }
        // Not before the router knows the new pattern: fed by the old one it would pass over events.
        running.inner.lock().is_changing = false;
        if let Err(fault) = written {
            running.wake();
            return Err(fault.into());
        }
        drop(changing);
        running.wake();
        self.tell_definition(name);
        Ok(())
    }

    /// Holds deliveries back, or goes on. What is in flight can be answered meanwhile. What is so already is not changed.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`]; to go on, why the definition is not accepted any more, if it is not.
    pub fn pause_subscription(self: &Arc<Self>, name: &str, paused: bool) -> Result<(), NotDone> {
        // Before the look, so that no change in between is taken back.
        let changing = self.subscriptions.changing.lock();
        let compiled = self.running(name)?.compiled();
        let definition = compiled.definition.as_ref().clone();
        if definition.paused == paused {
            return Ok(());
        }
        // It was paused because of that.
        compiled.is_accepted()?;
        let definition = Subscription { paused, paused_reason: None, ..definition };
        self.change(changing, name, Compiled::new(name, definition)?)
    }

    /// Holds deliveries back without having been asked to, and keeps why, if the definition is still one that the reason
    /// is about; that cannot change before the pause is in force. Whether it is. One that is paused already keeps its
    /// reason.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`].
    pub fn pause_subscription_because(
        self: &Arc<Self>,
        name: &str,
        reason: &str,
        is_about: impl FnOnce(&Subscription) -> bool,
    ) -> Result<bool, NotDone> {
        // As above.
        let changing = self.subscriptions.changing.lock();
        let definition = self.definition(name)?;
        if !is_about(&definition) {
            return Ok(false);
        }
        if !definition.paused {
            let reason = Some(reason.into());
            let definition = Subscription { paused: true, paused_reason: reason, ..definition.as_ref().clone() };
            self.change(changing, name, Compiled::new(name, definition)?)?;
        }
        Ok(true)
    }

    /// Deletes a subscription with all that it knows. Its dead letters stay until they are too old. Answers to its deliveries
    /// are refused from when the deletion is being written.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`]; [`Fault`] if the log cannot be written, or not be read for a dead letter: the
    /// subscription is there still, and can be deleted again.
    pub fn delete_subscription(self: &Arc<Self>, name: &str) -> Result<(), NotDone> {
        let mut changing = self.subscriptions.changing.lock();
        let running = self.running(name)?;
        self.write_unsent(&mut changing)?;
        changing.push(self.progress_of(&running, Places::Kept)?);
        self.write_unsent(&mut changing)?;
        let mut records = self.last_letters_of(&running)?;
        let letters = records.len();
        let (replays, ends) = self.conclude_replays_to(name);
        records.extend(ends);
        records.push(Defined { name: name.into(), definition: None, scan: None }.record());
        let written = self.write_records_wait(records.clone());
        self.replays_concluded(&replays, written.is_ok());
        if let Err(fault) = written {
            // The dead letters are written all the same.
            records.truncate(letters);
            changing.push(records);
            running.inner.lock().is_deleted = false;
            // Whoever asked meanwhile got nothing.
            running.wake();
            return Err(fault.into());
        }
        self.show_dead_letters();
        {
            let mut inner = running.inner.lock();
            inner.deliveries = Deliveries::after(inner.deliveries.scan());
            // Decisions that somebody made meanwhile.
            self.subscriptions.drafts.lock().append(&mut inner.drafts);
        }
        self.subscriptions.forget(&running.name);
        self.subscriptions.running.write().remove(name);
        drop(changing);
        running.wake();
        self.tell_definition(name);
        Ok(())
    }

    /// The dead letters of what was given up and has none yet. From now on nothing more is: no answer is taken.
    fn last_letters_of(&self, running: &Running) -> Result<Vec<Record>, Fault> {
        let mut inner = running.inner.lock();
        let given_up: Vec<_> = inner.given_up.iter().map(|(id, _)| *id).collect();
        // Keys wait for nothing any more: neither the dead letters nor, if the deletion is not made, the deliveries park one.
        let before = std::mem::take(&mut inner.deliveries);
        let buried = self.bury(running, &mut inner);
        inner.deliveries = before;
        buried?;
        given_up.into_iter().for_each(|id| _ = inner.deliveries.drop_parked(id, 0));
        inner.is_deleted = true;
        Ok(std::mem::take(&mut inner.drafts))
    }

    /// Every subscription, by name.
    pub fn subscriptions(&self) -> Vec<SubscriptionInfo> {
        self.subscriptions.all().iter().map(|running| self.info(running)).collect()
    }

    /// How one subscription is defined, without looking at where it is.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`].
    pub fn definition(&self, name: &str) -> Result<Arc<Subscription>, SubscriptionRefusal> {
        Ok(Arc::clone(&self.running(name)?.compiled().definition))
    }

    /// One subscription.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`].
    pub fn subscription(&self, name: &str) -> Result<SubscriptionInfo, SubscriptionRefusal> {
        Ok(self.info(self.running(name)?.as_ref()))
    }

    fn info(&self, running: &Running) -> SubscriptionInfo {
        let dead_letters = self.subscriptions.dead_letters.read().count(&running.name).open;
        let inner = running.inner.lock();
        SubscriptionInfo {
            name: running.name.to_string(),
            definition: Arc::clone(&running.compiled().definition),
            scan: inner.deliveries.scan(),
            summary: inner.deliveries.summary(),
            counts: inner.counts,
            dead_letters,
        }
    }

    /// Calls `woken` whenever there may be something to hand out, until the guard is dropped. It must be quick.
    ///
    /// # Errors
    /// [`SubscriptionRefusal::NotFound`].
    pub fn on_available(
        &self,
        name: &str,
        woken: impl Fn() + Send + Sync + 'static,
    ) -> Result<WatchGuard, SubscriptionRefusal> {
        let running = self.running(name)?;
        let id = self.subscriptions.next_watcher.fetch_add(1, Ordering::Relaxed);
        let watcher: Watcher = Arc::new(woken);
        running.watchers.lock().push((id, watcher));
        Ok(WatchGuard { running: Arc::downgrade(&running), id })
    }

    /// Writes records that change what is known of subscriptions, after those of progress that still wait.
    pub(super) fn write_records(self: &Arc<Self>, unsent: &mut Unsent, records: Vec<Record>) -> Result<(), Fault> {
        self.write_unsent(unsent)?;
        self.write_records_wait(records)
    }

    /// Writes what the log did not take before.
    pub(super) fn write_unsent(self: &Arc<Self>, unsent: &mut Unsent) -> Result<(), Fault> {
        while let Some(records) = unsent.0.front() {
            self.write_records_wait(records.clone())?;
            unsent.0.pop_front();
        }
        self.show_dead_letters();
        Ok(())
    }
}

fn unpaused(definition: &Subscription) -> String {
    let definition = Subscription { paused: false, paused_reason: None, ..definition.clone() };
    serde_json::to_string(&definition).expect("it is plain data")
}

#[cfg(test)]
mod tests;
