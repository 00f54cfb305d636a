//! One attempt: a call whose turn it is goes out, and the engine is told what became of it. What cannot go after all waits again.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use quipu_domain::saga;
use quipu_engine::{CallAnswer, CallRequest, CallState};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::turn::Waiting;
use super::{Shared, key_of};
use crate::gate::{Gate, Verdict};
use crate::places::Place;
use crate::webhook::{Invocation, Invoked};

/// How long to wait after the log could not be read or written.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// Makes a call, if it is still wanted and its gate lets it go. The call, if it is to wait again. Its place is for as long as it is on
/// its way: telling of it may last until the log can be written, and must not keep webhooks and other calls from going.
pub(super) async fn attempt(shared: &Arc<Shared>, gate: &Arc<Gate>, waiting: Waiting, place: Place) -> Option<Waiting> {
    let (tenant, number, attempt) = (Arc::clone(&shared.tenant), waiting.call().number, waiting.call().attempt);
    let looked = tokio::task::spawn_blocking(move || tenant.saga_call(number, attempt)).await;
    let invoked = match looked {
        Ok(Ok(CallState::Wanted(request))) => match invoke(shared, gate, &waiting, *request).await {
            Some(invoked) => invoked,
            None => return Some(waiting),
        },
        Ok(Ok(CallState::NotWanted)) => return None,
        Ok(Ok(CallState::Answered)) => {
            let text = "its answer is recorded already".to_owned();
            Invoked { answer: saga::Answer::Done, status: None, text, body: None, retry_after: None }
        }
        // What jq said may quote data, which a timeline shows to those who may not read events.
        Ok(Ok(CallState::NotPossible(_))) => {
            Invoked::unsure("it was not called: what its body is made of is gone, or its jq fails now".to_owned())
        }
        Ok(Err(fault)) => {
            tracing::debug!(number, %attempt, %fault, "a call of a saga could not be looked up; trying again");
            drop(place);
            tokio::time::sleep(FAULT_PAUSE).await;
            return Some(waiting);
        }
        // The server ends.
        Err(_) => return None,
    };
    drop(place);
    tell(shared, &waiting, invoked).await;
    None
}

/// What came of it; nothing if it may not go now.
async fn invoke(shared: &Shared, gate: &Arc<Gate>, waiting: &Waiting, request: CallRequest) -> Option<Invoked> {
    let CallRequest { saga, http, body, idempotency_key, correlation_id, traceparent } = request;
    let endpoint = match shared.outward.webhooks().endpoint(&http.url) {
        Ok(endpoint) => endpoint,
        Err(refused) => return Some(Invoked::unsure(refused.to_string())),
    };
    let secrets = if http.sign { shared.secrets.valid(&key_of(&saga)) } else { Vec::new() };
    if http.sign && secrets.is_empty() {
        let text = format!(
            "{endpoint} was not called: {saga} has no secret to sign with, and nothing is sent unsigned; make one"
        );
        return Some(Invoked::unsure(text));
    }
    let (begun, now) = (Instant::now(), shared.tenant.now());
    let timeout = waiting.deadline.saturating_duration_since(begun);
    // Asked last, so that a probe is always one that is sent.
    if waiting.begin_by() <= begun || shared.is_stopping() {
        return None;
    }
    let entry = gate.enter(now)?;
    let saga = format!("{saga}/{}", waiting.call().number);
    let call = Invocation {
        endpoint: &endpoint,
        method: method(http.method),
        headers: &http.headers,
        saga: &saga,
        idempotency_key: &idempotency_key,
        attempt: waiting.call().attempt.number,
        correlation_id: &correlation_id,
        traceparent: traceparent.as_deref(),
        secrets: &secrets,
        now,
        timeout,
        body,
    };
    let invoked = shared.outward.webhooks().invoke(call).await;
    let in_time = begun.elapsed() < timeout;
    if invoked.status.is_some() || in_time || waiting.is_fair(timeout) {
        entry.settle(Verdict::of_status(invoked.status, invoked.retry_after), shared.tenant.now());
    }
    Some(invoked)
}

fn method(method: saga::Method) -> Method {
    match method {
        saga::Method::Post => Method::POST,
        saga::Method::Put => Method::PUT,
        saga::Method::Patch => Method::PATCH,
        saga::Method::Delete => Method::DELETE,
    }
}

/// Tells the engine until that is durable, or the server stops: then the call is made again.
pub(super) async fn tell(shared: &Arc<Shared>, waiting: &Waiting, invoked: Invoked) {
    let Invoked { answer, status, text, body, .. } = invoked;
    let answer = CallAnswer { answer, status, text, body };
    let (number, attempt) = (waiting.call().number, waiting.call().attempt);
    loop {
        let (tenant, answer, (taken, is_taken)) = (Arc::clone(&shared.tenant), answer.clone(), oneshot::channel());
        let told = tokio::task::spawn_blocking(move || {
            tenant.answer_call(number, attempt, answer, move |result| drop(taken.send(result)));
        });
        if told.await.is_err() {
            return;
        }
        match is_taken.await {
            Ok(Err(fault)) if !shared.is_stopping() => {
                tracing::debug!(number, %attempt, %fault, "an answer to a call of a saga was not taken; trying again");
                tokio::time::sleep(FAULT_PAUSE).await;
            }
            _ => return,
        }
    }
}
