//! Which instances an event concerns, and what it is to them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quipu_domain::saga::{Attempt, Key, Role};
use quipu_domain::{Data, Event};
use quipu_store::Fault;

use super::ready::{Plans, Ready};
use super::records::key_hash;
use super::stage::Stage;
use crate::read::Recorded;
use crate::subscriptions::scalar_at;
use crate::tenant::Tenant;

/// What an event is to a plan, for one key.
pub(super) struct Hit {
    /// Which of the events that were looked at.
    pub event: usize,
    pub ready: Arc<Ready>,
    /// The instance whose event caused it, if one did: it may be one of another plan.
    pub caused_by: Option<u64>,
    /// Empty if it has none.
    pub key: String,
    pub hash: u128,
    pub roles: Vec<Role>,
}

/// Longest key of an instance, bytes: as a subject.
const KEY_BYTES_MAX: usize = 512;

impl Tenant {
    /// What events are to the plans.
    pub(super) fn hits(&self, plans: &Plans, stage: &mut Stage, events: &[Recorded]) -> Result<Vec<Hit>, Fault> {
        let mut hits = Vec::new();
        for (at, recorded) in events.iter().enumerate() {
            let event = self.seen(recorded, plans.looks_at_data)?;
            let Stage { patterns, scratch, .. } = stage;
            let mut entries: Vec<_> = patterns.matches_event(&event, Some(&recorded.stamp), scratch).copied().collect();
            entries.sort_unstable();
            let begin = hits.len();
            let caused_by = self.instance_of(&event);
            for (plan, listen) in entries {
                let Some(ready) = plans.all.get(&plan) else { continue };
                if recorded.stamp.position <= ready.from {
                    continue;
                }
                let listen = &ready.plan.listens()[usize::from(listen)];
                let key = key_of(&event, &listen.key, listen.role).unwrap_or_default();
                if key.is_empty() && (caused_by.is_none() || listen.role == Role::Start) {
                    if listen.role == Role::Start {
                        ready.keyless.fetch_max(recorded.stamp.position, Ordering::Relaxed);
                    }
                    continue;
                }
                // All that it is to one instance is told at once.
                let of_it = |hit: &&mut Hit| hit.ready.number == plan && hit.key == key;
                match hits[begin..].iter_mut().find(of_it) {
                    Some(hit) => hit.roles.push(listen.role),
                    None => {
                        let hash = key_hash(&ready.name, &key);
                        let (ready, roles) = (Arc::clone(ready), vec![listen.role]);
                        hits.push(Hit { event: at, ready, caused_by, key, hash, roles });
                    }
                }
            }
        }
        Ok(hits)
    }

    /// What the ids of an instance's events begin with.
    pub(super) fn instance_id(&self, number: u64) -> String {
        format!("{:016x}/{number}/", self.log_name)
    }

    /// The instance whose event caused this one.
    fn instance_of(&self, event: &Event<'_>) -> Option<u64> {
        let log = format!("{:016x}/", self.log_name);
        event.causation_id()?.strip_prefix(&log)?.split_once('/')?.0.parse().ok()
    }

    /// The attempt of an instance whose event caused this one.
    pub(super) fn cause_of(&self, event: &Event<'_>, number: u64) -> Option<Attempt> {
        event.causation_id()?.strip_prefix(&self.instance_id(number))?.parse().ok()
    }
}

impl Ready {
    /// The key of the instance that an event begins where there is none.
    pub(super) fn key_of_start(&self, tenant: &Tenant, recorded: &Recorded) -> Result<Option<String>, Fault> {
        let event = tenant.seen(recorded, self.looks_at_data)?;
        let starts = self.plan.listens().iter().filter(|listen| listen.role == Role::Start);
        let mut matching = starts.filter(|listen| listen.pattern.matches_event(&event, Some(&recorded.stamp)));
        Ok(matching.find_map(|listen| key_of(&event, &listen.key, listen.role)))
    }
}

/// The key of an instance in an event. What has none concerns nobody.
fn key_of(event: &Event<'_>, key: &Key, role: Role) -> Option<String> {
    let found = match key {
        Key::Correlation => {
            let id = || (role == Role::Start).then(|| event.id());
            event.correlation_id().or_else(id).map(str::to_owned)
        }
        Key::Attribute(name) => match &**name {
            "id" => Some(event.id().to_owned()),
            "source" => Some(event.source().to_owned()),
            "type" => Some(event.kind().to_owned()),
            "subject" => event.subject().map(str::to_owned),
            name => event.attributes().iter().find(|(other, _)| other == name).map(|(_, value)| value.to_string()),
        },
        Key::Data(path) => match event.data() {
            Data::Json(text) => scalar_at(text, path),
            _ => None,
        },
    };
    found.filter(|key| !key.is_empty() && key.len() <= KEY_BYTES_MAX)
}
