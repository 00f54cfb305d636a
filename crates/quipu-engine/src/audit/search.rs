//! What an auditor asks of a trail: everything about one subject, of one actor, of one correlation, in a range of time.

use quipu_domain::{Direction, Filter, Range, Timestamp, TypeMatch};
use quipu_store::Fault;
use serde_json::Value;

use super::act::{Act, ActOutcome, Actor, Data, SOURCE, actor_tag, correlation, operation_tag, subject};
use crate::read::Recorded;
use crate::tenant::Tenant;

/// What is asked for. Without anything, everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// What it was done to.
    pub subject: Option<String>,
    /// Who did it.
    pub actor: Option<String>,
    /// The name of the operation.
    pub operation: Option<String>,
    /// The correlation id.
    pub correlation: Option<String>,
    /// How it ended.
    pub outcome: Option<ActOutcome>,
    /// When it ended, or began if its end is not known.
    pub time: Range<Timestamp>,
}

/// One act.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// The position in the trail.
    pub position: u64,
    /// When it ended, or began if its end is not known.
    pub time: Timestamp,
    /// What tells it from others.
    pub act: String,
    /// The name of the operation.
    pub operation: String,
    /// Who.
    pub actor: Actor,
    /// From where.
    pub address: Option<String>,
    /// To what.
    pub subject: String,
    /// The correlation id.
    pub correlation: Option<String>,
    /// How it ended.
    pub outcome: ActOutcome,
    /// The code of a refusal.
    pub code: Option<String>,
    /// Why it was refused.
    pub detail: Option<String>,
    /// What was done more precisely.
    pub details: Value,
    /// How often more the same was refused.
    pub count: Option<u64>,
}

/// Some acts in order.
#[derive(Clone, Debug, Default)]
pub struct AuditPage {
    /// The acts, in the direction of reading.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins; nothing at the end. A page may be short, even empty, and have a next one.
    pub next: Option<u64>,
}

impl AuditQuery {
    fn filter(&self) -> Filter {
        let one = |value: Option<String>| value.into_iter().collect();
        let tags = [self.actor.as_deref().map(actor_tag), self.operation.as_deref().map(operation_tag)];
        Filter {
            types: self.outcome.map(|outcome| TypeMatch::Is(outcome.event_type())).into_iter().collect(),
            subjects: one(self.subject.as_deref().map(subject)),
            correlation_ids: one(self.correlation.as_deref().map(correlation)),
            tags: tags.into_iter().flatten().collect(),
            time: self.time,
            ..Filter::default()
        }
    }
}

impl Tenant {
    /// Reads acts from the trail, each once: with its outcome, if that is known.
    ///
    /// # Errors
    /// The trail cannot be opened or read.
    pub fn audited_acts(
        &self,
        query: &AuditQuery,
        direction: Direction,
        from: Option<u64>,
        limit: usize,
    ) -> Result<AuditPage, Fault> {
        self.write_refusals()?;
        let trail = self.trail()?;
        let page = trail.read(&query.filter(), direction, from, limit)?;
        let mut entries = Vec::with_capacity(page.events.len());
        for recorded in &page.events {
            // What else is in the trail was written by a newer version.
            let Some(entry) = entry(recorded) else { continue };
            let is_told_later =
                entry.outcome == ActOutcome::Begun && trail.event_by_id(SOURCE, &Act::end_id(&entry.act))?.is_some();
            if !is_told_later {
                entries.push(entry);
            }
        }
        Ok(AuditPage { entries, next: page.next })
    }
}

fn entry(recorded: &Recorded) -> Option<AuditEntry> {
    let event = recorded.event();
    let outcome = ActOutcome::of(event.kind())?;
    let Data { act, operation, actor, address, code, detail, details, count } = match event.data() {
        quipu_domain::Data::Json(text) => serde_json::from_str(text).ok()?,
        _ => return None,
    };
    Some(AuditEntry {
        position: recorded.stamp.position,
        time: event.time().unwrap_or(recorded.stamp.recorded_time),
        act,
        operation,
        actor,
        address,
        subject: event.subject()?.to_owned(),
        correlation: event.correlation_id().map(str::to_owned),
        outcome,
        code,
        detail,
        details,
        count,
    })
}
