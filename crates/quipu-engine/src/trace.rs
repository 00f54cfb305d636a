//! The tree of causes and effects around one event, gathered from the log.

use std::collections::{BTreeMap, VecDeque};

use quipu_domain::limits::TRACE_EVENTS_MAX;
use quipu_domain::{Direction, Filter, Trace, TraceNode};
use quipu_store::Fault;

use crate::read::Recorded;
use crate::tenant::Tenant;

/// Causes looked for outside of the correlation. Such a look goes through the memory index event by event.
const CAUSES_MAX: usize = 64;

impl Tenant {
    /// The events that are tied to the one at a position: those of its correlation, its causes up to the first, and
    /// everything that these caused. Nothing if there is no such event.
    pub fn trace(&self, position: u64) -> Result<Option<Trace>, Fault> {
        let Some(start) = self.event_at(position)? else { return Ok(None) };
        let mut found = BTreeMap::new();
        let mut waiting = VecDeque::from([position]);
        if let Some(correlation) = start.event().correlation_id() {
            let filter = Filter { correlation_ids: vec![correlation.to_owned()], ..Filter::default() };
            self.gather(&filter, None, &mut found, &mut waiting)?;
        }
        found.insert(position, node(&start));
        let mut causes = 0;
        while let Some(position) = waiting.pop_front() {
            let Some(event) = found.get(&position).cloned() else { continue };
            let filter = Filter { causation_ids: vec![event.id.clone()], ..Filter::default() };
            self.gather(&filter, Some(&event), &mut found, &mut waiting)?;
            let Some(cause) = event.causation_id.filter(|cause| !found.values().any(|node| node.id == *cause)) else {
                continue;
            };
            causes += 1;
            if causes > CAUSES_MAX {
                break;
            }
            if let Some(cause) = self.cause(&event.source, &cause, position)? {
                waiting.push_back(cause.stamp.position);
                found.insert(cause.stamp.position, node(&cause));
            }
        }
        let is_cut = found.len() >= TRACE_EVENTS_MAX || causes > CAUSES_MAX;
        Ok(Some(Trace::arrange(found.into_values().collect(), is_cut)))
    }

    /// Adds the events that match and are not known yet, up to the limit. With a cause, only those that mean this one
    /// and not another of the same id.
    fn gather(
        &self,
        filter: &Filter,
        cause: Option<&TraceNode>,
        found: &mut BTreeMap<u64, TraceNode>,
        waiting: &mut VecDeque<u64>,
    ) -> Result<(), Fault> {
        let mut from = None;
        while found.len() < TRACE_EVENTS_MAX {
            let page = self.read(filter, Direction::Forward, from, TRACE_EVENTS_MAX - found.len())?;
            for recorded in &page.events {
                let position = recorded.stamp.position;
                if let Some(cause) = cause.filter(|_| !found.contains_key(&position)) {
                    let meant = self.cause(recorded.event().source(), &cause.id, position)?;
                    if meant.is_none_or(|meant| meant.stamp.position != cause.position) {
                        continue;
                    }
                }
                if found.insert(position, node(recorded)).is_none() {
                    waiting.push_back(position);
                }
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// The event that an event names as its cause: of the same source, or else the newest before it with that id.
    fn cause(&self, source: &str, id: &str, before: u64) -> Result<Option<Recorded>, Fault> {
        let own = self.event_by_id(source, id)?;
        if own.is_some() {
            return Ok(own);
        }
        for position in self.index.ids(id)? {
            let found = if position < before { self.event_at(position)? } else { None };
            if let Some(found) = found.filter(|found| found.event().id() == id) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn node(recorded: &Recorded) -> TraceNode {
    let event = recorded.event();
    TraceNode {
        position: recorded.stamp.position,
        id: event.id().to_owned(),
        source: event.source().to_owned(),
        kind: event.kind().to_owned(),
        subject: event.subject().map(str::to_owned),
        time: event.time_text().map(str::to_owned),
        causation_id: event.causation_id().map(str::to_owned),
    }
}
