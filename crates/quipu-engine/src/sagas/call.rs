//! Calls of endpoints: which are to be made, what goes out, and what is recorded of the answers. Who makes them, and when an endpoint
//! is left alone, is not known here.
//!
//! A call is made at least once: it is handed out again after a restart for as long as its step waits for it, under the same key. What
//! an endpoint said to a step that it did is an event, recorded before the step is finished; an answer that is recorded already is taken
//! instead of another call.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use quipu_domain::saga::{Answer, Attempt, CALL_ANSWERED, HttpCall, Purpose, State};
use quipu_domain::{Data, Event, InvalidEvent, Refusal, Value};
use quipu_store::Fault;

use super::mapping::{Asker, Cache, Mapped, data_of};
use super::origin::Origin;
use super::ready::Ready;
use super::stage::Asked;
use crate::append::{Append, NotAppended};
use crate::tenant::Tenant;

/// A call that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaCall {
    /// The instance.
    pub number: u64,
    /// Which attempt of which step.
    pub attempt: Attempt,
    /// Where to.
    pub url: String,
    /// How long it may take, milliseconds.
    pub timeout_ms: u64,
}

/// What goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// The saga.
    pub saga: String,
    /// Where to, and how.
    pub http: HttpCall,
    /// JSON.
    pub body: String,
    /// The same for all attempts.
    pub idempotency_key: String,
    /// Of the instance.
    pub correlation_id: String,
    /// Of the event that started, if it has one.
    pub traceparent: Option<String>,
}

/// Whether a call is still to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallState {
    /// Nobody waits for it any more.
    NotWanted,
    /// What it was answered is recorded.
    Answered,
    /// It cannot be made now, and why: of what was said when it was asked for, something is gone.
    NotPossible(String),
    /// It is.
    Wanted(Box<CallRequest>),
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    /// What it means.
    pub answer: Answer,
    /// The status, if there was one.
    pub status: Option<u16>,
    /// What is told of it in the timeline. Never a part of what was answered.
    pub text: String,
    /// The JSON that was answered, if it was done.
    pub body: Option<String>,
}

/// An instance, as far as its calls are concerned.
struct Caller {
    ready: Arc<Ready>,
    key: Box<str>,
    state: State,
}

/// Whoever makes calls.
pub trait Calls: Send + Sync {
    /// Whether an endpoint may be called, as far as its URL says that.
    ///
    /// # Errors
    /// What was expected, and what was found.
    fn may_call(&self, url: &str) -> Result<(), String>;

    /// There are new calls to make. It must be quick.
    fn wake(&self);
}

/// All who make calls.
#[derive(Default)]
pub(super) struct CallWatchers(parking_lot::Mutex<Vec<(u64, Arc<dyn Calls>)>>);

impl CallWatchers {
    pub fn all(&self) -> Vec<Arc<dyn Calls>> {
        self.0.lock().iter().map(|(_, calls)| Arc::clone(calls)).collect()
    }
}

/// Ends a watch of calls when it is dropped.
pub struct CallsGuard {
    tenant: Weak<Tenant>,
    id: u64,
}

impl Drop for CallsGuard {
    fn drop(&mut self) {
        if let Some(tenant) = self.tenant.upgrade() {
            tenant.sagas.call_watchers.0.lock().retain(|(id, _)| *id != self.id);
        }
    }
}

impl Tenant {
    /// Has somebody make calls until the guard is dropped. Every call that is open is handed out again: whoever took it before makes none
    /// any more, or has forgotten it.
    ///
    /// # Errors
    /// What has happened cannot be made durable.
    pub fn on_calls(self: &Arc<Self>, calls: Arc<dyn Calls>) -> Result<CallsGuard, Fault> {
        let id = self.sagas.next_call_watcher.fetch_add(1, Ordering::Relaxed);
        self.sagas.call_watchers.0.lock().push((id, calls));
        let guard = CallsGuard { tenant: Arc::downgrade(self), id };
        self.sagas.calls.lock().clear();
        let plans = Arc::clone(&self.sagas.plans.read());
        let instances = self.decider.lock().sagas.instances.clone();
        self.until_durable()?;
        for (number, instance) in instances.iter().filter(|(_, instance)| !instance.status.is_ended()) {
            if plans.all.get(&instance.plan).is_some_and(|ready| ready.has_calls)
                && let Ok(state) = postcard::from_bytes::<State>(&instance.state)
            {
                self.sagas.calls.lock().extend(state.calls().map(|attempt| (number, attempt)));
            }
        }
        Ok(guard)
    }

    /// Whether there are calls to take.
    pub fn has_calls(&self) -> bool {
        !self.sagas.calls.lock().is_empty()
    }

    /// Endpoints to call, in the order in which that was decided. Each is handed out once, and again after a restart or a pause; those
    /// of one run of a step are to be made one after the other, each after the answer to the one before it was taken.
    pub fn take_calls(&self, limit: usize) -> Vec<SagaCall> {
        let taken: Vec<(u64, Attempt)> = {
            let mut calls = self.sagas.calls.lock();
            let count = limit.min(calls.len());
            calls.drain(..count).collect()
        };
        let plans = Arc::clone(&self.sagas.plans.read());
        let fold = self.decider.lock();
        let call = |(number, attempt): (u64, Attempt)| {
            let ready = plans.all.get(&fold.sagas.instances.get(number)?.plan)?;
            let call = ready.plan.call(attempt)?;
            Some(SagaCall { number, attempt, url: call.http.url.clone(), timeout_ms: call.timeout_ms })
        };
        taken.into_iter().filter_map(call).collect()
    }

    /// Whether a call is still to be made, and what goes out. It may read the log.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn saga_call(&self, number: u64, attempt: Attempt) -> Result<CallState, Fault> {
        let Some(caller) = self.caller(number) else { return Ok(CallState::NotWanted) };
        let Caller { ready, key, state } = &caller;
        let call = ready.plan.call(attempt).filter(|_| state.calls().any(|other| other == attempt));
        let Some(call) = call else { return Ok(CallState::NotWanted) };
        if keeps_answer(attempt) && self.event_by_id(&ready.source, &self.answer_id(number, attempt))?.is_some() {
            return Ok(CallState::Answered);
        }
        let mut cache = Cache::default();
        let asker = Asker { ready, key, state, attempt: Some(attempt) };
        let body = match self.body(&asker, &mut cache)? {
            Ok(body) => body,
            Err(reason) => return Ok(CallState::NotPossible(reason)),
        };
        let Some(start) = cache.get(self, state.start())? else {
            return Ok(CallState::NotPossible("the event that started it is gone".into()));
        };
        let start = start.event();
        let origin = Origin { ready, key, start: &start, causation: None };
        Ok(CallState::Wanted(Box::new(CallRequest {
            saga: ready.name.name.clone(),
            http: call.http.clone(),
            body,
            idempotency_key: self.idempotency_key(number, attempt),
            correlation_id: origin.correlation().to_owned(),
            traceparent: start.attribute("traceparent").map(str::to_owned),
        })))
    }

    /// What an endpoint answered: `reply` is called, on another thread, once that is durable. Until then, and after a fault, it may be
    /// told again. It may read the log.
    pub fn answer_call(
        self: &Arc<Self>,
        number: u64,
        attempt: Attempt,
        answer: CallAnswer,
        reply: impl FnOnce(Result<(), Fault>) + Send + 'static,
    ) {
        if answer.answer != Answer::Done || !keeps_answer(attempt) {
            return self.take_answer(number, attempt, answer, 0, Box::new(reply));
        }
        let event = match self.answered(number, attempt, &answer) {
            Ok(Some(event)) => event,
            // Nobody remembers the instance.
            Ok(None) => return reply(Ok(())),
            Err(fault) => return reply(Err(fault)),
        };
        let prepared = event.and_then(|event| {
            let recorded = self.event_by_id(event.source(), event.id());
            Ok((recorded, self.prepare_now(&event, None)?))
        });
        let prepared = match prepared {
            Ok((Err(fault), _)) => return reply(Err(fault)),
            Ok((Ok(Some(recorded)), _)) => {
                return self.take_answer(number, attempt, answer, recorded.stamp.position, Box::new(reply));
            }
            Ok((Ok(None), prepared)) => prepared,
            Err(_) => return self.take_answer(number, attempt, unfit(answer), 0, Box::new(reply)),
        };
        let tenant = Arc::clone(self);
        self.append(Append { events: vec![prepared], ..Append::default() }, move |appended| {
            let (answer, position) = match appended {
                Ok(appended) => (answer, appended.events.first().map_or(0, |place| place.position)),
                // Another answer to this very call.
                Err(NotAppended::Refused(Refusal::IdConflict { position, .. })) => (answer, position),
                Err(NotAppended::Refused(_) | NotAppended::Fault(Fault::StorageQuota { .. })) => (unfit(answer), 0),
                Err(NotAppended::Fault(fault)) => return reply(Err(fault)),
            };
            tenant.take_answer(number, attempt, answer, position, Box::new(reply));
        });
    }

    fn take_answer(
        self: &Arc<Self>,
        number: u64,
        attempt: Attempt,
        answer: CallAnswer,
        position: u64,
        reply: Box<dyn FnOnce(Result<(), Fault>) + Send>,
    ) {
        let CallAnswer { answer, text, .. } = answer;
        self.ask_sagas(Asked::Answered { number, attempt, answer, position, text, reply });
    }

    /// The body of a call: what its jq makes, or the data of the event that started.
    pub(super) fn body(&self, asker: &Asker<'_>, cache: &mut Cache) -> Mapped<String> {
        let call = asker.attempt.and_then(|attempt| asker.ready.plan.call(attempt));
        match call.and_then(|call| call.data.as_deref()) {
            Some(text) => asker.apply(self, cache, text),
            None => Ok(match data_of(self, cache, asker.state.start())? {
                Data::Json(text) => Ok(text.to_string()),
                Data::None => Ok("null".to_owned()),
                _ => Err("expected JSON in the event that started it, found other data; say data".to_owned()),
            }),
        }
    }

    fn caller(&self, number: u64) -> Option<Caller> {
        let plans = Arc::clone(&self.sagas.plans.read());
        let instance = self.decider.lock().sagas.instances.get(number).cloned()?;
        let ready = Arc::clone(plans.all.get(&instance.plan)?);
        Some(Caller { ready, key: instance.key.clone(), state: postcard::from_bytes(&instance.state).ok()? })
    }

    fn answer_id(&self, number: u64, attempt: Attempt) -> String {
        format!("{}{attempt}/answer", self.instance_id(number))
    }

    /// The event that keeps an answer; nothing if the instance, or what started it, is gone.
    fn answered(&self, number: u64, attempt: Attempt, answer: &CallAnswer) -> Result<Option<Made>, Fault> {
        let Some(Caller { ready, key, state }) = self.caller(number) else { return Ok(None) };
        let mut cache = Cache::default();
        let causation = cache.get(self, state.last())?.map(|recorded| recorded.event().id().to_owned());
        let Some(start) = cache.get(self, state.start())? else { return Ok(None) };
        let start = start.event();
        let data = answer.body.clone().map_or(Data::None, |body| Data::Json(body.into()));
        let (id, at) = (self.answer_id(number, attempt), self.world.clock.now());
        let mut event = Event::builder(id, ready.source.clone(), CALL_ANSWERED).data(data).time(at.to_string());
        if let Some(subject) = start.subject() {
            event = event.subject(subject.to_owned());
        }
        if let Some(status) = answer.status {
            event = event.attribute("httpstatus", Value::Integer(status.into()));
        }
        let origin = Origin { ready: &ready, key: &key, start: &start, causation };
        Ok(Some(origin.mark_of(event, self, number, attempt).build()))
    }
}

/// An event, or why it is none.
type Made = Result<Event<'static>, InvalidEvent>;

/// Only what a step got is for later steps to look at.
fn keeps_answer(attempt: Attempt) -> bool {
    attempt.purpose == Purpose::Command
}

/// An answer that its schema, a quota or a limit keeps from being recorded. Later steps would miss it, so it counts as none.
fn unfit(answer: CallAnswer) -> CallAnswer {
    let text = format!("{}, and what it answered cannot be recorded: a schema or a limit refuses it", answer.text);
    CallAnswer { answer: Answer::UNSURE, text, ..answer }
}
