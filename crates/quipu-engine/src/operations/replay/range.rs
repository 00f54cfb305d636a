//! Which events of its range a replay delivers. The preview that counts them and the replay that delivers them ask here.

use quipu_domain::delivery::Key;
use quipu_domain::{Direction, Filter, InvalidSubscription, Pattern, StartAt};
use quipu_store::Fault;

use super::{Replay, ReplayRefusal};
use crate::audit::Head;
use crate::operations::OperationRefusal;
use crate::payloads::looks;
use crate::read::{Page, Recorded};
use crate::schemas::Registry;
use crate::subscriptions::{Compiled, NotDone, SubscriptionRefusal};
use crate::tenant::Tenant;

/// What is asked of each event: what the replay is about, and what its subscription wants.
pub(crate) struct Wanted<'a> {
    pub pattern: Option<&'a Pattern>,
    pub compiled: &'a Compiled,
}

impl Wanted<'_> {
    fn looks_at_data(&self) -> bool {
        self.compiled.looks_at_data || self.pattern.is_some_and(Pattern::looks_at_data)
    }

    /// What asking of one event counts for, in events that are looked at.
    pub fn looks(&self, recorded: &Recorded) -> usize {
        1 + looks(recorded, self.looks_at_data()) + self.compiled.upcast_looks()
    }
}

impl Tenant {
    /// The events of a page of the range, from a position on; `next` says where the rest begins.
    pub(super) fn page_of(&self, replay: &Replay, from: u64, limit: usize) -> Result<Page, Fault> {
        self.read_to(&Filter::default(), Direction::Forward, Some(from), limit, replay.until)
    }

    /// Whether an event is delivered; if so, the key that it has for the subscription, if it has one.
    pub(super) fn wants(
        &self,
        wanted: &Wanted<'_>,
        registry: &Registry,
        recorded: &Recorded,
    ) -> Result<Option<Option<Key>>, Fault> {
        let (event, stamp) = (self.seen(recorded, wanted.looks_at_data())?, &recorded.stamp);
        let is_wanted = wanted.pattern.is_none_or(|pattern| pattern.matches_event(&event, Some(stamp)))
            && wanted.compiled.matches(registry, &event, stamp);
        Ok(is_wanted.then(|| wanted.compiled.key.of(&event, &self.hasher)))
    }

    /// The first and the last position of a range.
    pub(crate) fn range(&self, from: &StartAt, until: &StartAt) -> Result<(u64, u64), NotDone> {
        let place = |member: &str, place: &StartAt| self.before(place, member).map_err(of_replay);
        let from = place("/from", from)? + 1;
        let until = match until {
            // That event is the last one, not the first that is left out.
            StartAt::Position(_) => (place("/until", until)? + 1).min(self.position()),
            until => place("/until", until)?,
        };
        if from > until {
            return Err(OperationRefusal::Replay(ReplayRefusal::EmptyRange { from, until }).into());
        }
        Ok((from, until))
    }

    /// The log before the commit that a position is in, and after it.
    pub(super) fn heads_around(&self, position: u64) -> Result<(Head, Head), Fault> {
        let missing = |detail: String| Fault::Damaged { path: self.log.name(), offset: 0, detail };
        let record = self.index.locator(position)?;
        let record = record.ok_or_else(|| missing(format!("expected an event at position {position}, found none")))?;
        let commits = self.log.scan(self.log.commit_of(record)?, 1)?.commits;
        let (_, commit) = commits
            .first()
            .ok_or_else(|| missing(format!("expected the commit of position {position}, found the end of the log")))?;
        let before = Head { commit: commit.number - 1, chain: commit.chain_before };
        Ok((before, Head { commit: commit.number, chain: commit.chain_after() }))
    }
}

/// A place that makes no sense is one of a replay, not of a subscription.
fn of_replay(reason: NotDone) -> NotDone {
    match reason {
        NotDone::Refused(SubscriptionRefusal::Invalid(InvalidSubscription { pointer, detail })) => {
            OperationRefusal::Replay(ReplayRefusal::InvalidPlace { pointer: pointer.into_owned(), detail }).into()
        }
        other => other,
    }
}
