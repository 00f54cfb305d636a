//! The dead letters that readers are shown, and how many each subscription has: counted as they come and go, so that
//! nobody walks through all of them to know. A subscription with too many open ones is held back, which loses nothing:
//! its events wait in the log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeFrom;
use std::sync::Arc;

use quipu_domain::Timestamp;
use quipu_domain::delivery::DeliveryId;

use super::records::{DeadLetterLine, DeadLetterState};
use crate::tenant::Tenant;

/// How many dead letters a subscription has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LetterCount {
    /// Those that nobody decided about.
    pub open: u64,
    /// Those that were redriven or discarded.
    pub decided: u64,
}

/// The durable ones by number, and those of each subscription.
#[derive(Default)]
pub(crate) struct Letters {
    lines: BTreeMap<u64, Arc<DeadLetterLine>>,
    own: HashMap<String, OwnLetters>,
}

/// The dead letters of a subscription.
#[derive(Debug, Default, PartialEq, Eq)]
struct OwnLetters {
    count: LetterCount,
    /// The oldest first. Their numbers alone would not do: the clock may have gone back.
    by_time: BTreeSet<(Timestamp, u64)>,
}

impl LetterCount {
    fn of(&mut self, line: &DeadLetterLine) -> &mut u64 {
        match line.state {
            DeadLetterState::Open => &mut self.open,
            _ => &mut self.decided,
        }
    }
}

impl Letters {
    pub fn new(lines: &BTreeMap<u64, Arc<DeadLetterLine>>) -> Self {
        let mut letters = Self::default();
        lines.values().for_each(|line| _ = letters.put(Arc::clone(line)));
        letters
    }

    pub fn get(&self, id: u64) -> Option<&Arc<DeadLetterLine>> {
        self.lines.get(&id)
    }

    pub fn range(&self, range: RangeFrom<u64>) -> impl Iterator<Item = &Arc<DeadLetterLine>> {
        self.lines.range(range).map(|(_, line)| line)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<DeadLetterLine>> {
        self.lines.values()
    }

    /// How many a subscription has.
    pub fn count(&self, subscription: &str) -> LetterCount {
        self.own.get(subscription).map(|own| own.count).unwrap_or_default()
    }

    /// The subscriptions that have some.
    pub fn subscriptions(&self) -> impl Iterator<Item = &str> {
        self.own.keys().map(String::as_str)
    }

    /// Those of a subscription, the oldest first.
    pub fn oldest(&self, subscription: &str) -> impl Iterator<Item = &Arc<DeadLetterLine>> {
        let by_time = self.own.get(subscription).map(|own| own.by_time.iter());
        by_time.into_iter().flatten().filter_map(|(_, id)| self.lines.get(id))
    }

    /// Shows one as it is now. As it was shown before.
    pub fn put(&mut self, line: Arc<DeadLetterLine>) -> Option<Arc<DeadLetterLine>> {
        let before = self.remove(line.id);
        let own = match self.own.get_mut(&line.subscription) {
            Some(own) => own,
            None => self.own.entry(line.subscription.clone()).or_default(),
        };
        *own.count.of(&line) += 1;
        own.by_time.insert((line.time, line.id));
        self.lines.insert(line.id, line);
        before
    }

    /// Shows one no more. As it was shown before.
    pub fn remove(&mut self, id: u64) -> Option<Arc<DeadLetterLine>> {
        let line = self.lines.remove(&id)?;
        let own = self.own.get_mut(&line.subscription).expect("what is shown is counted");
        *own.count.of(&line) -= 1;
        own.by_time.remove(&(line.time, line.id));
        if own.by_time.is_empty() {
            self.own.remove(&line.subscription);
        }
        Some(line)
    }
}

impl DeadLetterLine {
    /// Whether it holds its key no more: it was discarded or redriven elsewhere. One that was redriven to its own
    /// subscription is delivered in the order of the key.
    pub(crate) fn lets_key_go(&self) -> bool {
        match &self.state {
            DeadLetterState::Open => false,
            DeadLetterState::Redriven { to, .. } => *to != self.subscription,
            DeadLetterState::Discarded { .. } | DeadLetterState::Expired => true,
        }
    }
}

impl Tenant {
    /// How many open dead letters keep a subscription from being delivered to, if it has so many. Those that one before it
    /// left under its name are its own: it is the one that they are redriven to, and deleting it must not make room for more.
    pub(super) fn too_many_dead_letters(&self, subscription: &str) -> Option<u64> {
        let open = self.subscriptions.dead_letters.read().count(subscription).open;
        (open >= self.options.dead_letters_max).then_some(open)
    }

    /// Shows readers the dead letters that are durable now, and lets go on what waited for a decision about them. The
    /// caller has `changing`, so that nobody writes others, and holds no delivery.
    pub(super) fn show_dead_letters(&self) {
        let mut fold = self.decider.lock();
        let changed = std::mem::take(&mut fold.subscriptions.changed);
        if changed.is_empty() {
            return;
        }
        let changed: Vec<_> =
            changed.into_iter().map(|id| (id, fold.subscriptions.dead_letters.get(&id).cloned())).collect();
        drop(fold);
        let mut freed: HashMap<String, Vec<(DeliveryId, u64)>> = HashMap::new();
        {
            let (mut claimed, mut copies) = (self.subscriptions.claimed.lock(), self.subscriptions.copies.lock());
            let mut shown = self.subscriptions.dead_letters.write();
            for (id, line) in changed {
                (_, _) = (claimed.remove(&id), copies.remove(&id));
                let now = line.clone();
                let before = match line {
                    Some(line) => shown.put(line),
                    None => shown.remove(id),
                };
                let Some(line) = now.as_ref().or(before.as_ref()) else { continue };
                let was_open = before.as_ref().is_some_and(|before| before.state == DeadLetterState::Open);
                let is_open = now.as_ref().is_some_and(|now| now.state == DeadLetterState::Open);
                if was_open && !is_open {
                    let freed = freed.entry(line.subscription.clone()).or_default();
                    if line.parks_key && now.as_ref().is_none_or(|now| now.lets_key_go()) {
                        freed.push((line.parked(), line.id));
                    }
                }
            }
        }
        for (subscription, parked) in freed {
            // Of one that was deleted nothing waits.
            let Ok(running) = self.running(&subscription) else { continue };
            {
                let mut inner = running.inner.lock();
                parked.into_iter().for_each(|(id, letter)| _ = inner.deliveries.drop_parked(id, letter));
            }
            running.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscriptions::records::DecidedBy;
    use proptest::prelude::*;
    use quipu_domain::delivery::Reason;

    fn line(id: u64, subscription: &str, is_open: bool) -> Arc<DeadLetterLine> {
        let state = match is_open {
            true => DeadLetterState::Open,
            false => DeadLetterState::Discarded { reason: "a test".into(), time: Timestamp(1) },
        };
        Arc::new(DeadLetterLine {
            id,
            subscription: subscription.into(),
            position: id,
            kind: "t".into(),
            reason: Reason::TooOld,
            attempts: 1,
            // Not in the order of their numbers.
            time: Timestamp((id * 7 % 5) as i64),
            fingerprint: String::new(),
            redriven_from: None,
            parks_key: false,
            copy_of: None,
            state,
            decided_by: DecidedBy::Somebody,
            locator: 0,
        })
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_recount(steps in proptest::collection::vec((0u64..12, 0usize..3, 0u8..3), 0..200)) {
            let mut letters = Letters::default();
            let names = ["a", "b", "c"];
            for (id, name, step) in steps {
                match step {
                    0 => _ = letters.remove(id),
                    step => _ = letters.put(line(id, names[name], step == 1)),
                }
                for name in names {
                    let of = |is_open| {
                        let own = letters.iter().filter(|line| line.subscription == name);
                        own.filter(|line| (line.state == DeadLetterState::Open) == is_open).count() as u64
                    };
                    prop_assert_eq!(letters.count(name), LetterCount { open: of(true), decided: of(false) });
                }
            }
            let again = Letters::new(&letters.lines);
            prop_assert_eq!(&again.own, &letters.own);
            for name in names {
                let mut own: Vec<_> = letters.iter().filter(|line| line.subscription == name).collect();
                own.sort_by_key(|line| (line.time, line.id));
                prop_assert_eq!(letters.oldest(name).collect::<Vec<_>>(), own);
            }
        }
    }
}
