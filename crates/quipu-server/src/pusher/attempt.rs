//! One attempt: a delivery that was taken is sent, and the engine is told what became of it. What cannot be sent after all
//! goes back without having been an attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quipu_domain::Timestamp;
use quipu_domain::delivery::{Failure, Reason};
use quipu_engine::{Answer as Said, Handed};

use super::command::{self, Asked};
use super::gone::HeldBack;
use super::plan::Plan;
use super::shared::{Shared, blocking};
use crate::gate::Verdict;
use crate::webhook::{Answer, Call, Transformed};

/// How much longer than its endpoint has to answer a delivery is ours at least, milliseconds: for the way to the engine
/// on a busy machine.
const MARGIN_MS: i64 = 5_000;

/// Sends a delivery, unless it is known by then that an endpoint is gone. Something if its own is: that is known as soon as it
/// has answered, before the engine is told.
pub(super) async fn attempt(
    shared: &Shared,
    plan: &Plan,
    handed: &Handed,
    is_known: &Arc<AtomicBool>,
) -> Option<HeldBack> {
    let now = shared.tenant.now();
    let timeout_ms = i64::try_from(plan.timeout.as_millis()).unwrap_or(i64::MAX);
    let needed_ms = timeout_ms.saturating_add(MARGIN_MS);
    let needs_time = handed.deadline < now.plus_ms(needed_ms);
    if needs_time && !say(shared, plan, handed, Said::Extend { ms: needed_ms.unsigned_abs() }).await {
        return None;
    }
    if plan.answers && command::is_answer(plan, handed) {
        say(shared, plan, handed, Said::Ack).await;
        return None;
    }
    // Asked last, so that a probe is always one that is sent.
    let secrets = shared.secrets.valid(&plan.name);
    let is_over = plan.is_over() || is_known.load(Ordering::Acquire);
    let entry = match is_over || shared.is_stopping() || secrets.is_empty() {
        true => None,
        false => plan.gate().enter(now),
    };
    let Some(entry) = entry else {
        say(shared, plan, handed, Said::Release).await;
        return None;
    };
    let event = match handed.event() {
        Ok(event) => event,
        Err(invalid) => {
            drop(entry);
            let error = format!("expected an edited copy that is an event: {invalid}");
            let said = Said::GiveUp { failure: Failure::new(error), reason: Reason::TransformationFailed };
            say(shared, plan, handed, said).await;
            return None;
        }
    };
    let call = Call {
        endpoint: &plan.endpoint,
        subscription: &plan.name,
        idempotency_key: &handed.idempotency_key(&plan.name),
        attempt: handed.attempt,
        replay: Some(handed.id.replay).filter(|replay| *replay > 0),
        secrets: &secrets,
        now,
        timeout: plan.timeout,
        mode: plan.mode,
        event: &event,
        stamp: Some(&handed.recorded.stamp),
        transformed: handed
            .transformed
            .as_ref()
            .map(|made| Transformed { content_type: made.format.content_type(), body: &made.body }),
    };
    let (answer, refused) = match plan.answers {
        false => (shared.webhooks().send(call).await, None),
        true => match Asked::of(shared, plan, handed).await {
            Ok(asked) => asked.send(shared, call).await,
            Err(failure) => {
                // Nothing was sent: it says nothing about the endpoint.
                drop(entry);
                say(shared, plan, handed, Said::Nack { failure, delay_ms: None }).await;
                return None;
            }
        },
    };
    let answered = shared.tenant.now();
    let held_back = matches!(answer, Answer::Gone { .. }).then(|| HeldBack::new(is_known));
    entry.settle(verdict(&answer), answered);
    let said = refused.unwrap_or_else(|| said(answer, answered));
    say(shared, plan, handed, said).await;
    held_back
}

/// Tells the engine. Whether it counts.
async fn say(shared: &Shared, plan: &Plan, handed: &Handed, said: Said) -> bool {
    let (tenant, name, id, token) = (Arc::clone(&shared.tenant), Arc::clone(&plan.name), handed.id, handed.token);
    let answered = blocking(move || tenant.answer(&name, vec![(id, token, said)])).await;
    match answered.map(|mut results| results.pop()) {
        // Otherwise it was sought away or given another try meanwhile: nobody waits for the answer.
        Ok(result) => matches!(result, Some(Ok(()))),
        Err(error) => {
            tracing::debug!(subscription = %plan.name, position = id.position, %error, "an answer was not taken");
            false
        }
    }
}

/// What the answer says about the endpoint.
fn verdict(answer: &Answer) -> Verdict {
    match answer {
        Answer::Delivered { .. } | Answer::Gone { .. } => Verdict::Works,
        Answer::Failed { failure, retry_after, .. } => Verdict::of_status(failure.status, *retry_after),
    }
}

/// What becomes of the delivery.
fn said(answer: Answer, now: Timestamp) -> Said {
    match answer {
        Answer::Delivered { .. } => Said::Ack,
        Answer::Gone { failure, .. } => Said::GiveUp { failure, reason: Reason::EndpointGone },
        Answer::Failed { failure, retry_after, .. } => {
            let delay_ms = retry_after.map(|until| (until.0.saturating_sub(now.0) / 1_000).max(0).unsigned_abs());
            Said::Nack { failure, delay_ms }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn failed(status: Option<u16>) -> Answer {
        let failure = Failure { status, ..Failure::new("x") };
        Answer::Failed { failure, duration: Duration::ZERO, retry_after: None }
    }

    #[test]
    fn only_what_says_that_the_endpoint_is_down_or_busy_counts_against_it() {
        for status in [Some(408), Some(429), Some(500), Some(503), Some(599), None] {
            assert!(matches!(verdict(&failed(status)), Verdict::Fails(None)), "{status:?}");
        }
        for status in [301, 400, 401, 403, 404, 413, 422] {
            assert!(matches!(verdict(&failed(Some(status))), Verdict::Works), "{status}");
        }
    }

    #[test]
    fn an_endpoint_that_says_when_is_called_again_then() {
        let failure = Failure::new("x");
        let answer = |retry_after| Answer::Failed { failure: failure.clone(), duration: Duration::ZERO, retry_after };
        for (retry_after, expected) in [(None, None), (Some(7_000_000), Some(6_000)), (Some(0), Some(0))] {
            let Said::Nack { delay_ms, .. } = said(answer(retry_after.map(Timestamp)), Timestamp(1_000_000)) else {
                panic!("it failed");
            };
            assert_eq!(delay_ms, expected);
        }
    }
}
