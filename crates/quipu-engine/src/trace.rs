//! The tree of causes and effects around one event, gathered from the log.

use std::collections::{BTreeMap, VecDeque};

use quipu_domain::limits::TRACE_EVENTS_MAX;
use quipu_domain::{Direction, Filter, Trace, TraceNode};
use quipu_store::Fault;

use crate::read::Recorded;
use crate::tenant::Tenant;

/// Causes looked for outside of the correlation. Such a look goes through the memory index event by event.
const CAUSES_MAX: usize = 64;
/// Events looked at for one trace: most of what names a cause may mean another event of the same id.
const EXAMINED_MAX: usize = 10 * TRACE_EVENTS_MAX;

/// What is known of a trace in the making.
#[derive(Default)]
struct Gathered {
    found: BTreeMap<u64, TraceNode>,
    /// Whose effects and cause are still to be looked for.
    waiting: VecDeque<u64>,
    examined: usize,
}

impl Gathered {
    fn add(&mut self, recorded: &Recorded) {
        if self.found.insert(recorded.stamp.position, node(recorded)).is_none() {
            self.waiting.push_back(recorded.stamp.position);
        }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= TRACE_EVENTS_MAX || self.examined >= EXAMINED_MAX
    }
}

impl Tenant {
    /// The events that are tied to the one at a position: those of its correlation, its causes up to the first, and
    /// everything that these caused. Nothing if there is no such event.
    pub fn trace(&self, position: u64) -> Result<Option<Trace>, Fault> {
        let Some(start) = self.event_at(position)? else { return Ok(None) };
        let mut gathered = Gathered::default();
        gathered.add(&start);
        if let Some(correlation) = start.event().correlation_id() {
            let filter = Filter { correlation_ids: vec![correlation.to_owned()], ..Filter::default() };
            self.gather(&filter, None, &mut gathered)?;
        }
        let mut causes = 0;
        while let Some(position) = gathered.waiting.pop_front() {
            let Some(event) = gathered.found.get(&position).cloned() else { continue };
            let filter = Filter { causation_ids: vec![event.id.clone()], ..Filter::default() };
            self.gather(&filter, Some(&event), &mut gathered)?;
            let is_known = |cause: &String| gathered.found.values().any(|node| node.id == *cause);
            let Some(cause) = event.causation_id.filter(|cause| !is_known(cause)) else { continue };
            causes += 1;
            if causes > CAUSES_MAX {
                break;
            }
            if let Some(cause) = self.cause(&event.source, &cause, position)? {
                gathered.add(&cause);
            }
        }
        let is_cut = gathered.is_full() || causes > CAUSES_MAX;
        Ok(Some(Trace::arrange(gathered.found.into_values().collect(), is_cut)))
    }

    /// Adds the events that match and are not known yet, up to the limits. With a cause, only those that mean this one
    /// and not another of the same id.
    fn gather(&self, filter: &Filter, cause: Option<&TraceNode>, gathered: &mut Gathered) -> Result<(), Fault> {
        let mut from = None;
        while !gathered.is_full() {
            let page = self.read(filter, Direction::Forward, from, TRACE_EVENTS_MAX - gathered.found.len())?;
            for recorded in &page.events {
                let position = recorded.stamp.position;
                gathered.examined += 1;
                if let Some(cause) = cause.filter(|_| !gathered.found.contains_key(&position)) {
                    let meant = self.cause(recorded.event().source(), &cause.id, position)?;
                    if meant.is_none_or(|meant| meant.stamp.position != cause.position) {
                        continue;
                    }
                }
                gathered.add(recorded);
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
        saga_id: event.attribute("sagaid").map(str::to_owned),
    }
}
