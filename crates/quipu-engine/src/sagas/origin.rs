//! What an event of a saga, a rule or an expectation has from the event that started it, so that a process is found as one.

use quipu_domain::saga::{Attempt, Key, Kind};
use quipu_domain::{Event, EventBuilder, Value};

use super::ready::Ready;
use crate::tenant::Tenant;

/// The attributes that it has from the event that started.
const INHERITED: [&str; 3] = ["userid", "organizationid", "tenantid"];

/// Whose event it is.
pub(super) struct Origin<'a> {
    pub ready: &'a Ready,
    pub key: &'a str,
    /// The event that started it.
    pub start: &'a Event<'a>,
    /// The `id` of the event that led to it.
    pub causation: Option<String>,
}

impl Origin<'_> {
    /// Whoever answers with the same correlation id is heard: that of a saga within a saga is its own.
    pub fn correlation(&self) -> &str {
        let is_rule = self.ready.plan.kind() == Kind::Rule;
        match self.ready.plan.key() {
            Key::Correlation if !is_rule => self.key,
            _ => self.start.correlation_id().unwrap_or(if is_rule { self.start.id() } else { self.key }),
        }
    }

    pub fn mark(&self, mut event: EventBuilder<'static>) -> EventBuilder<'static> {
        event = event.correlation_id(self.correlation().to_owned());
        if let Some(causation) = &self.causation {
            event = event.causation_id(causation.clone());
        }
        for name in INHERITED {
            if let Some(value) = self.start.attribute(name) {
                event = event.attribute(name, Value::Text(value.to_owned().into()));
            }
        }
        event
    }

    /// What only events of instances have.
    pub fn mark_of(
        &self,
        event: EventBuilder<'static>,
        tenant: &Tenant,
        number: u64,
        attempt: Attempt,
    ) -> EventBuilder<'static> {
        let saga = format!("{}/{number}", self.ready.name.name);
        let event = self.mark(event).attribute("sagaid", Value::Text(saga.into()));
        event.attribute("idempotencykey", Value::Text(tenant.idempotency_key(number, attempt).into()))
    }
}

impl Tenant {
    /// What all attempts of a step of an instance have in common, or all that undo it.
    pub(super) fn idempotency_key(&self, number: u64, attempt: Attempt) -> String {
        format!("{}{}", self.instance_id(number), attempt.key())
    }
}
