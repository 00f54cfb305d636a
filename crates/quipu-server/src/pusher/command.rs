//! Commands over HTTP: an event is sent with the version that its stream has, and what the endpoint answers goes to that stream if
//! it still has it. The answer's events are the command's effects, whatever they say of themselves: their ids, their source, their
//! stream and their cause are made from the delivery, so that a second answer to the same command changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quipu_domain::delivery::Failure;
use quipu_domain::{Condition, Event, InvalidEvent, Refusal, StreamExpectation, parse_batch, parse_event_text};
use quipu_engine::{Answer as Said, Append, Fault, Handed, NotAppended, Prepared, Tenant};
use serde_json::value::RawValue;

use super::plan::Plan;
use super::shared::Shared;
use crate::admission::SUBSCRIPTIONS;
use crate::webhook::{Answer, Call};

/// Most events of an answer: what a command leads to, and not a bulk load past the quota of events.
const EVENTS_MAX: usize = 100;
/// How long until a command is delivered again whose stream has moved on meanwhile, milliseconds: whoever was faster has written.
const CONFLICT_DELAY_MS: u64 = 10;

/// Why an answer was not appended.
enum NotTaken {
    /// Its events are none, or not allowed.
    Invalid(String),
    /// The stream has moved on since the command was sent.
    Overtaken(String),
    /// The world failed.
    Failed(String),
}

/// Whether an event is what the endpoint has answered itself. It is no command, or it would answer itself for ever.
pub(super) fn is_answer(plan: &Plan, handed: &Handed) -> bool {
    handed.recorded.event().source() == source(plan)
}

fn source(plan: &Plan) -> String {
    format!("{SUBSCRIPTIONS}{}", plan.name)
}

/// A command on its way, and the version that its stream has as it goes.
pub(super) struct Asked {
    command: Command,
    version: Option<u64>,
}

impl Asked {
    /// Looks where the command's stream is.
    ///
    /// # Errors
    /// It cannot be seen: the command is not sent now.
    pub async fn of(shared: &Shared, plan: &Plan, handed: &Handed) -> Result<Self, Failure> {
        let command = Command::of(handed, plan);
        let (tenant, stream) = (Arc::clone(&shared.tenant), command.stream.clone());
        let look = move || stream.map(|stream| tenant.stream(&stream).map(|stream| stream.version)).transpose();
        match on_a_thread(look).await {
            Some(Ok(version)) => Ok(Self { command, version }),
            Some(Err(fault)) => Err(Failure::new(format!("where the command's stream is cannot be read: {fault}"))),
            None => Err(Failure::new("the server ends")),
        }
    }

    /// Sends the command and appends what is answered. What came of the call, and what is to be said of the delivery if its answer
    /// was not taken.
    pub async fn send(self, shared: &Shared, call: Call<'_>) -> (Answer, Option<Said>) {
        let (answer, body) = shared.webhooks().ask(call, self.version).await;
        let Answer::Delivered { status, .. } = answer else { return (answer, None) };
        let begun = String::from_utf8_lossy(&body[..body.len().min(512)]).into_owned();
        let (error, delay_ms) = match self.append(&shared.tenant, body).await {
            Ok(()) => return (answer, None),
            Err(NotTaken::Overtaken(error)) => (format!("the answer was overtaken: {error}"), Some(CONFLICT_DELAY_MS)),
            Err(NotTaken::Invalid(error) | NotTaken::Failed(error)) => {
                (format!("the answer was not appended: {error}"), None)
            }
        };
        let failure = Failure { status: Some(status), body: Some(begun), ..Failure::new(error) }.cut();
        (answer, Some(Said::Nack { failure, delay_ms }))
    }

    async fn append(self, tenant: &Arc<Tenant>, body: Bytes) -> Result<(), NotTaken> {
        let tenant = Arc::clone(tenant);
        let appended = on_a_thread(move || self.command.append(&tenant, self.version, &body)).await;
        appended.unwrap_or_else(|| Err(NotTaken::Failed("the server ends".into())))
    }
}

/// What the events of an answer are made from.
struct Command {
    key: String,
    source: String,
    id: String,
    stream: Option<String>,
    correlation_id: String,
}

impl Command {
    fn of(handed: &Handed, plan: &Plan) -> Self {
        // As it is delivered: an edited copy may be of another stream.
        let event = handed.event().unwrap_or_else(|_| handed.recorded.event());
        Self {
            key: handed.idempotency_key(&plan.name),
            source: source(plan),
            id: event.id().to_owned(),
            stream: event.subject().map(str::to_owned),
            correlation_id: event.correlation_id().unwrap_or(event.id()).to_owned(),
        }
    }

    /// Appends what was answered, unless an answer to this command was appended before.
    fn append(&self, tenant: &Arc<Tenant>, version: Option<u64>, body: &[u8]) -> Result<(), NotTaken> {
        let invalid = |error: InvalidEvent| NotTaken::Invalid(error.to_string());
        let events = self.events(body)?;
        let first = tenant.event_by_id(&self.source, &self.event_id(0));
        if events.is_empty() || first.map_err(|fault: Fault| NotTaken::Failed(fault.to_string()))?.is_some() {
            return Ok(());
        }
        let prepared = events.iter().map(|event| tenant.prepare(event, None)).collect::<Result<Vec<_>, _>>();
        let stream = self.stream.clone().zip(version);
        let expected = stream.map(|(stream, version)| (stream, StreamExpectation::Version(version)));
        let conditions =
            expected.map(|(stream, expected)| Condition::Stream { stream, expected }).into_iter().collect();
        let (timers, events) = prepared.map_err(invalid)?.into_iter().partition(Prepared::is_delayed);
        let append = Append { events, timers, conditions, ..Append::default() };
        match tenant.append_wait(append) {
            Ok(_) => Ok(()),
            Err(NotAppended::Refused(refusal @ Refusal::ConditionsFailed(_))) => {
                Err(NotTaken::Overtaken(refusal.to_string()))
            }
            // Another answer to it was appended just now.
            Err(NotAppended::Refused(
                Refusal::IdConflict { .. } | Refusal::WaitsAlready { .. } | Refusal::PartlyRepeated { .. },
            )) => Ok(()),
            Err(NotAppended::Refused(refusal)) => Err(NotTaken::Invalid(refusal.to_string())),
            Err(NotAppended::Fault(fault)) => Err(NotTaken::Failed(fault.to_string())),
        }
    }

    /// The events of an answer; none of an empty one.
    fn events(&self, body: &[u8]) -> Result<Vec<Event<'static>>, NotTaken> {
        if body.trim_ascii().is_empty() {
            return Ok(Vec::new());
        }
        let texts = parse_batch(body).map_err(|error| NotTaken::Invalid(error.to_string()))?;
        if texts.len() > EVENTS_MAX {
            let found = texts.len();
            return Err(NotTaken::Invalid(format!("expected at most {EVENTS_MAX} events, found {found}")));
        }
        let events = texts.into_iter().enumerate().map(|(index, text)| {
            self.event(index, text).map_err(|reason| NotTaken::Invalid(format!("event {index}: {reason}")))
        });
        events.collect()
    }

    fn event(&self, index: usize, text: &RawValue) -> Result<Event<'static>, String> {
        // Members as they were written: a number in the data stays what it is.
        let mut members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(text.get()).map_err(|error| format!("expected a JSON object, found none: {error}"))?;
        if members.contains_key("tenantid") {
            return Err("expected no tenantid: an answer goes to the tenant of its command".into());
        }
        let own = [
            ("specversion", Some("1.0".to_owned())),
            ("id", Some(self.event_id(index))),
            ("source", Some(self.source.clone())),
            ("subject", self.stream.clone()),
            ("correlationid", Some(self.correlation_id.clone())),
            ("causationid", Some(self.id.clone())),
        ];
        for (name, value) in own {
            members.remove(name);
            if let Some(value) = value {
                let value = serde_json::value::to_raw_value(&value).map_err(|error| error.to_string())?;
                members.insert(name.to_owned(), value);
            }
        }
        let text = serde_json::to_string(&members).map_err(|error| error.to_string())?;
        let incoming = parse_event_text(&text).map_err(|error| error.to_string())?;
        Ok(incoming.event.into_owned())
    }

    fn event_id(&self, index: usize) -> String {
        format!("{}/{}", self.key, index + 1)
    }
}

/// Off the threads that serve sockets: it may read the log, and waits for the disk. Nothing if the server ends.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}
