//! Outcomes of deliveries as events, for subscriptions that ask for it (`reportsoutcomes`): `quipu.delivery.acknowledged`,
//! `.failed`, `.deadlettered` and `.expired`. They are in the commit that makes the outcome durable, so neither is there
//! without the other. Outcomes of deliveries of such events are not reported, or there would be no end.

use quipu_domain::delivery::DeliveryId;
use quipu_domain::{Event, Timestamp};
use quipu_store::{Fault, Record, RecordKind, body};

use super::running::Running;
use crate::tenant::Tenant;

/// What the types of these events begin with.
const TYPE_PREFIX: &str = "quipu.delivery.";
/// Most outcomes of a subscription that wait to be written: reached only while the log takes nothing. Further ones are
/// not reported.
const WAITING_MAX: usize = 100_000;

/// What became of an attempt or a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeWord {
    Acknowledged,
    Failed,
    DeadLettered,
    Expired,
}

/// An outcome that is to be reported.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub id: DeliveryId,
    pub word: OutcomeWord,
    /// Which attempt; 0 if there was none.
    pub attempt: u32,
    pub error: Option<String>,
    pub time: Timestamp,
}

impl OutcomeWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Failed => "failed",
            Self::DeadLettered => "deadlettered",
            Self::Expired => "expired",
        }
    }
}

/// Outcomes that wait; none are kept for a subscription that does not ask for them.
#[derive(Default)]
pub(crate) struct Outcomes {
    is_on: bool,
    waiting: Vec<Outcome>,
}

impl Outcomes {
    pub fn of(is_on: bool) -> Self {
        Self { is_on, waiting: Vec::new() }
    }

    /// Begins or ends reporting. What waits is reported all the same.
    pub fn set(&mut self, is_on: bool) {
        self.is_on = is_on;
    }

    pub fn note(&mut self, outcome: impl FnOnce() -> Outcome) {
        if self.is_on && self.waiting.len() < WAITING_MAX {
            self.waiting.push(outcome());
        }
    }

    /// Keeps what could not be written, before what came since.
    pub fn put_back(&mut self, mut outcomes: Vec<Outcome>) {
        outcomes.append(&mut self.waiting);
        self.waiting = outcomes;
    }

    pub fn take(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.waiting)
    }
}

impl Tenant {
    /// The outcomes as records of events.
    pub(super) fn report(&self, running: &Running, outcomes: &[Outcome]) -> Result<Vec<Record>, Fault> {
        let records = outcomes.iter().filter_map(|outcome| match self.event_at(outcome.id.position) {
            Ok(recorded) => {
                let recorded = recorded?;
                let event = recorded.event();
                (!event.kind().starts_with(TYPE_PREFIX))
                    .then(|| Ok(self.outcome_record(&running.name, outcome, &event)))
            }
            Err(Fault::Damaged { .. }) => None,
            Err(fault) => Some(Err(fault)),
        });
        records.collect()
    }

    fn outcome_record(&self, name: &str, outcome: &Outcome, event: &Event<'_>) -> Record {
        let DeliveryId { position, dead_letter, replay } = outcome.id;
        let data = serde_json::json!({
            "subscription": name,
            "position": position,
            "redrivenfrom": (dead_letter > 0).then_some(dead_letter),
            "replay": (replay > 0).then_some(replay),
            "attempt": outcome.attempt,
            "error": outcome.error,
            "event": { "id": event.id(), "source": event.source(), "type": event.kind(), "subject": event.subject() },
        });
        // The same delivery may fail twice within a moment.
        let id =
            format!("{}-{:016x}", outcome.id.idempotency_key(name, self.log_name, false), self.subscriptions.token());
        let kind = format!("{TYPE_PREFIX}{}", outcome.word.as_str());
        let built = Event::builder(id, "/quipu/deliveries", kind)
            .subject(format!("subscription/{name}"))
            .time(outcome.time.to_string())
            .json(data.to_string())
            // Nobody else may use this type.
            .build_trusted();
        let mut bytes = Vec::with_capacity(512);
        body::encode(&mut bytes, &built);
        Record::new(RecordKind::Event, bytes)
    }
}
