//! What a replay would do, counted exactly. Nothing is locked while the range is read, which may take long; whoever asked may
//! leave meanwhile, and then nothing is counted any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use quipu_domain::delivery::RateLimit;
use quipu_domain::{Pattern, StartAt, Subscription, is_subscription_name};
use quipu_store::Fault;

use super::{
    NewReplay, REPLAY_FAILURES_MAX, REPLAY_TYPES_MAX, Replay, ReplayRefusal, SPEED_MAX, SPEED_MIN, Shadow, Wanted,
};
use crate::operations::{OperationInfo, OperationRefusal, Work};
use crate::read::Recorded;
use crate::schemas::Registry;
use crate::subscriptions::{Compiled, NotDone, SubscriptionRefusal};
use crate::tenant::Tenant;

/// Events read at once.
const CHUNK: usize = 1_000;
/// Longest text of what is wrong with an event, characters.
const DETAIL_CHARS_MAX: usize = 300;

/// What a replay would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Events that it would deliver.
    pub events: u64,
    /// Those of each type.
    pub types: TypeCounts,
    /// Events that are not as their schema wants them now.
    pub failing: u64,
    /// The first of those.
    pub failures: Vec<ReplayFailure>,
    /// Whether an endpoint would be called.
    pub calls_endpoint: bool,
}

/// Events counted by their types.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// Those of each type, by its name: at most [`REPLAY_TYPES_MAX`] types.
    pub of: BTreeMap<String, u64>,
    /// Events of further types.
    pub others: u64,
}

impl TypeCounts {
    /// One more event.
    pub fn add(&mut self, kind: &str) {
        let has_room = self.of.len() < REPLAY_TYPES_MAX;
        match self.of.get_mut(kind) {
            Some(count) => *count += 1,
            None if has_room => _ = self.of.insert(kind.to_owned(), 1),
            None => self.others += 1,
        }
    }
}

/// An event that is not as its schema wants it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayFailure {
    /// Where it is.
    pub position: u64,
    /// Its type.
    pub kind: String,
    /// What is wrong with it.
    pub detail: String,
}

impl Tenant {
    /// Counts what a replay would deliver, exactly, and finds the events that are not as their schema wants them now. Nothing is done
    /// before it is confirmed. Reads the whole range as long as `is_wanted`.
    ///
    /// # Errors
    /// [`OperationRefusal`], [`SubscriptionRefusal::NotFound`]; [`Fault`].
    pub fn preview_replay(
        self: &Arc<Self>,
        asked: &NewReplay,
        rate: Option<RateLimit>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(OperationInfo, ReplayReport), NotDone> {
        if let Some(problem) = rate.and_then(|rate| rate.problem()) {
            return Err(OperationRefusal::InvalidRate { problem }.into());
        }
        if asked.speed.is_some_and(|speed| rate.is_some() || !(SPEED_MIN..=SPEED_MAX).contains(&speed)) {
            return Err(refused(ReplayRefusal::InvalidSpeed));
        }
        let pattern = asked.pattern.as_ref().map(|pattern| Pattern::parse(pattern.get())).transpose();
        let pattern = pattern.map_err(|invalid| refused(ReplayRefusal::InvalidPattern(invalid)))?;
        let (compiled, shadow) = self.target(asked)?;
        let (from, until) = self.range(&asked.from, &asked.until)?;
        let heads = (self.heads_around(from)?.0, self.heads_around(until)?.1);
        let last = self.event_at(until)?.map(|recorded| recorded.stamp.recorded_time);
        let mut replay = Replay {
            to: asked.to.clone(),
            shadow,
            from,
            until,
            pattern: asked.pattern.as_ref().map(|pattern| pattern.get().to_owned()),
            is_strict: asked.is_strict,
            speed: asked.speed,
            webhooks: asked.webhooks,
            events: 0,
            until_time: last.unwrap_or_else(|| self.now()),
            heads,
        };
        let wanted = Wanted { pattern: pattern.as_ref(), compiled: &compiled };
        let report = self.count(&replay, &wanted, is_wanted)?;
        replay.events = report.events;
        let info = self.hold_preview(Work::Replay(Box::new(replay)), rate, std::iter::empty().collect())?;
        Ok((info, report))
    }

    /// The subscription that it goes to, and the definition of the one that is made for it.
    fn target(&self, asked: &NewReplay) -> Result<(Arc<Compiled>, Option<String>), NotDone> {
        let Some(shadow) = &asked.shadow else {
            let compiled = self.compiled(&asked.to)?;
            check_target(&asked.to, &compiled, asked.webhooks)?;
            return Ok((compiled, None));
        };
        let definition = self.shadow_definition(&asked.to, shadow)?;
        let text = serde_json::to_string(&definition).expect("it is plain data");
        Ok((Arc::new(Compiled::new(&asked.to, definition)?), Some(text)))
    }

    fn shadow_definition(&self, name: &str, shadow: &Shadow) -> Result<Subscription, NotDone> {
        if !is_subscription_name(name) {
            return Err(SubscriptionRefusal::InvalidName { name: name.chars().take(200).collect() }.into());
        }
        if self.definition(name).is_ok() {
            return Err(SubscriptionRefusal::Exists { name: name.to_owned() }.into());
        }
        let Some(of) = &shadow.of else { return Ok(Subscription { shadow: true, ..Subscription::default() }) };
        let missing = |_| refused(ReplayRefusal::NoSuchSubscription { name: of.chars().take(200).collect() });
        let compiled = self.compiled(of).map_err(missing)?;
        if compiled.refused.is_some() {
            return Err(refused(ReplayRefusal::NotAccepted { name: of.clone() }));
        }
        Ok(Subscription {
            shadow: true,
            start: StartAt::Now,
            push: None,
            answers: false,
            paused: false,
            paused_reason: None,
            ..compiled.definition.as_ref().clone()
        })
    }

    fn count(
        &self,
        replay: &Replay,
        wanted: &Wanted<'_>,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<ReplayReport, NotDone> {
        let registry = self.schemas.current();
        let mut report =
            ReplayReport { calls_endpoint: wanted.compiled.definition.push.is_some(), ..ReplayReport::default() };
        let mut from = Some(replay.from);
        while let Some(at) = from {
            if !is_wanted() {
                return Err(refused(ReplayRefusal::Abandoned));
            }
            let page = self.page_of(replay, at, CHUNK)?;
            for recorded in &page.events {
                if self.wants(wanted, &registry, recorded)?.is_none() {
                    continue;
                }
                report.events += 1;
                report.types.add(recorded.event().kind());
                self.hold_to_schema(&registry, recorded, &mut report)?;
            }
            from = page.next;
        }
        Ok(report)
    }

    /// Looks whether an event is as its schema wants it now.
    fn hold_to_schema(&self, registry: &Registry, recorded: &Recorded, report: &mut ReplayReport) -> Result<(), Fault> {
        if !registry.may_complain() {
            return Ok(());
        }
        let event = self.seen(recorded, true)?;
        let Some(detail) = registry.complaint(&event) else { return Ok(()) };
        report.failing += 1;
        if report.failures.len() < REPLAY_FAILURES_MAX {
            let detail = detail.chars().take(DETAIL_CHARS_MAX).collect();
            report.failures.push(ReplayFailure {
                position: recorded.stamp.position,
                kind: event.kind().to_owned(),
                detail,
            });
        }
        Ok(())
    }
}

/// Whether events may be replayed to a subscription.
pub(crate) fn check_target(name: &str, compiled: &Compiled, webhooks: bool) -> Result<(), OperationRefusal> {
    let (definition, name) = (&compiled.definition, name.to_owned());
    let refusal = if compiled.refused.is_some() {
        ReplayRefusal::NotAccepted { name }
    } else if definition.answers {
        ReplayRefusal::Answers { name }
    } else if definition.push.is_some() && !webhooks {
        ReplayRefusal::WebhooksBlocked { name }
    } else {
        return Ok(());
    };
    Err(OperationRefusal::Replay(refusal))
}

pub(super) fn refused(refusal: ReplayRefusal) -> NotDone {
    OperationRefusal::Replay(refusal).into()
}
