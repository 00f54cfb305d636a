//! What consumers do over HTTP: fetching deliveries, with a long poll, and answering them. What was handed out and does
//! not go out to a client is given back, so that the next one has it at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use quipu_api::delivery::{AnswerBody, AnswerOutcome, AnswerResult};
use quipu_api::{AnswersAnswer, AnswersRequest, MEDIA_JSON, Problem, PullRequest};
use quipu_domain::delivery::{DeliveryId, Failure, NotInFlight, Reason};
use quipu_domain::write_event;
use quipu_engine::transform::Format;
use quipu_engine::{Answer, Handed, SubscriptionRefusal, Tenant, Transformed};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::refusal::{ask, refused};
use crate::subscription::{json, name, read_body};
use crate::{App, answer as write, problem};

/// Bytes of events after which the answer to a pull ends: a thousand events of a megabyte are no answer.
const ANSWER_BYTES: usize = 4 << 20;
/// What the names in an event's JSON and its handle take, roughly.
const ENVELOPE_BYTES: usize = 512;

pub(crate) async fn pull(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_pull(app, request).await)
}

async fn run_pull(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name: Arc<str> = name(&request).into();
    let PullRequest { max, wait_ms } = read_body(&app, request, PullRequest::from_json).await?;
    let wake = Arc::new(Notify::new());
    let woken = Arc::clone(&wake);
    // Watched before the first look: what comes in between wakes us.
    let watch = app.tenant.on_available(&name, move || woken.notify_one()).map_err(|refusal| refused(&refusal))?;
    let until = Instant::now() + Duration::from_millis(wait_ms);
    let batch = loop {
        let batch = Batch::pull(&app, &name, max as usize, ANSWER_BYTES).await?;
        if !batch.is_empty() {
            break batch;
        }
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep_until(until) => break batch,
            () = app.ending() => break batch,
        }
    };
    drop(watch);
    app.demand_good()?;
    Ok(batch.respond())
}

/// Deliveries that were handed out, as they are written; given back if they do not go out.
pub(crate) struct Batch {
    tenant: Arc<Tenant>,
    name: Arc<str>,
    handed: Vec<(DeliveryId, u64)>,
    /// The deliveries, with commas between them.
    json: Vec<u8>,
}

impl Batch {
    /// What can be handed out now, without waiting for more.
    pub(crate) async fn pull(app: &App, name: &Arc<str>, limit: usize, bytes: usize) -> Result<Self, Problem> {
        app.demand_good()?;
        let name = Arc::clone(name);
        // It owns what was handed out wherever it is dropped, also if nobody waits for this any more.
        ask(app, move |tenant| Ok(Self::new(tenant, &name, &tenant.pull_within(&name, limit, bytes)?))).await
    }

    fn new(tenant: &Arc<Tenant>, name: &Arc<str>, handed: &[Handed]) -> Self {
        let ids = handed.iter().map(|handed| (handed.id, handed.token)).collect();
        // In one piece: growing would copy large ones several times.
        let room = handed.iter().map(|one| one.recorded.bytes() + ENVELOPE_BYTES).sum();
        let json = Vec::with_capacity(room);
        let mut batch = Self { tenant: Arc::clone(tenant), name: Arc::clone(name), handed: ids, json };
        for (index, handed) in handed.iter().enumerate() {
            if index > 0 {
                batch.json.push(b',');
            }
            write_delivery(&mut batch.json, name, handed);
        }
        batch
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handed.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.handed.len()
    }

    /// How many of its kind fit into so many bytes.
    pub(crate) fn fitting(&self, bytes: usize) -> usize {
        bytes * self.len() / self.json.len().max(1)
    }

    /// The deliveries between a beginning and an end.
    pub(crate) fn text(&mut self, begin: &[u8], end: &[u8]) -> Bytes {
        let json = std::mem::take(&mut self.json);
        [begin, &json, end].concat().into()
    }

    /// It is on its way to the client: its deliveries are the client's.
    pub(crate) fn sent(mut self) {
        self.handed.clear();
    }

    fn respond(mut self) -> Response {
        let bytes = self.text(b"{\"deliveries\":[", b"]}");
        write::typed(MEDIA_JSON, Body::new(Outgoing { bytes: Some(bytes), batch: Some(self) }))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let handed = std::mem::take(&mut self.handed);
        if handed.is_empty() {
            return;
        }
        let (tenant, name) = (Arc::clone(&self.tenant), Arc::clone(&self.name));
        // Whoever reads the log for the subscription may have it locked. Without a runtime the process ends anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || tenant.give_back(&name, &handed));
        }
    }
}

/// A body that gives its deliveries back if nobody asks for it.
struct Outgoing {
    bytes: Option<Bytes>,
    batch: Option<Batch>,
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if let Some(batch) = self.batch.take() {
            batch.sent();
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

fn write_delivery(out: &mut Vec<u8>, name: &str, handed: &Handed) {
    let Handed { id, token, attempt, deadline, key: line, transformed, .. } = handed;
    match transformed {
        None => {
            out.extend_from_slice(b"{\"event\":");
            write_handed(out, handed);
        }
        Some(Transformed { body, format }) => {
            out.extend_from_slice(b"{\"transformed\":");
            match format {
                Format::Json => out.extend_from_slice(body),
                Format::Text => {
                    let text = serde_json::to_string(&String::from_utf8_lossy(body)).expect("a text is JSON");
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
    out.extend_from_slice(b",\"delivery\":{\"position\":");
    write::number(out, id.position);
    if id.dead_letter > 0 {
        out.extend_from_slice(b",\"deadletter\":");
        write::number(out, id.dead_letter);
    }
    if id.replay > 0 {
        out.extend_from_slice(b",\"replay\":");
        write::number(out, id.replay);
    }
    // Names are plain, see `is_subscription_name`.
    let key = handed.idempotency_key(name);
    let line = line.map(|line| format!("\"key\":\"{line:032x}\",")).unwrap_or_default();
    let rest = format!(
        ",\"token\":\"{token:016x}\",\"attempt\":{attempt},\"deadline\":\"{deadline}\",\
         \"idempotencykey\":\"{key}\",{line}\"redriven\":{}}}",
        id.dead_letter > 0
    );
    out.extend_from_slice(rest.as_bytes());
    if transformed.is_some() {
        out.extend_from_slice(b",\"attributes\":");
        let event = handed.event().unwrap_or_else(|_| handed.recorded.event());
        write_event(out, &event.with_json(None::<&str>), Some(&handed.recorded.stamp));
    }
    out.push(b'}');
}

/// The event, or its edited copy where the event was recorded.
fn write_handed(out: &mut Vec<u8>, handed: &Handed) {
    match handed.event() {
        Ok(event) if handed.edited.is_some() => write_event(out, &event, Some(&handed.recorded.stamp)),
        _ => handed.recorded.write_json(out),
    }
}

pub(crate) async fn answer(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_answer(app, request).await)
}

async fn run_answer(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = name(&request);
    let asked = read_body(&app, request, AnswersRequest::from_json).await?;
    Ok(json(&take_answers(&app, name, asked.answers).await?))
}

/// Hands answers that were checked to the engine.
pub(crate) async fn take_answers(app: &App, name: String, answers: Vec<AnswerBody>) -> Result<AnswersAnswer, Problem> {
    app.demand_good()?;
    let mut unreadable = Vec::with_capacity(answers.len());
    let mut readable = Vec::with_capacity(answers.len());
    for body in answers {
        let token = token(&body.token);
        unreadable.push(token.is_none().then(|| late(body.position)));
        if let Some(token) = token {
            let id = delivery_id(body.position, body.dead_letter, body.replay);
            readable.push((id, token, answer_of(body)));
        }
    }
    let taken = ask(app, move |tenant| tenant.answer(&name, readable)).await?;
    let mut taken = taken.into_iter();
    let mut all = AnswersAnswer::default();
    for refusal in unreadable {
        let outcome = match refusal {
            Some(refusal) => Err(refusal),
            None => taken.next().unwrap_or(Ok(())),
        };
        match outcome {
            Ok(()) => {
                all.done += 1;
                all.results.push(AnswerResult::Done);
            }
            Err(refusal) => {
                all.refused += 1;
                all.results.push(AnswerResult::Refused { error: refused(&refusal) });
            }
        }
    }
    Ok(all)
}

/// The delivery that a body names.
pub(crate) fn delivery_id(position: u64, dead_letter: Option<u64>, replay: Option<u64>) -> DeliveryId {
    DeliveryId { position, dead_letter: dead_letter.unwrap_or(0), replay: replay.unwrap_or(0) }
}

/// A token that is none of ours is that of no attempt.
pub(crate) fn late(position: u64) -> SubscriptionRefusal {
    SubscriptionRefusal::NotInFlight { position, why: NotInFlight::Late }
}

/// A token as it was written: 16 digits in hexadecimal, lower case.
pub(crate) fn token(text: &str) -> Option<u64> {
    let is_ours = text.len() == 16 && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    u64::from_str_radix(text, 16).ok().filter(|_| is_ours)
}

fn answer_of(body: AnswerBody) -> Answer {
    let failure = |error: Option<String>, otherwise: &str| Failure::new(error.unwrap_or_else(|| otherwise.to_owned()));
    match body.outcome {
        AnswerOutcome::Ack => Answer::Ack,
        AnswerOutcome::Nack => {
            Answer::Nack { failure: failure(body.error, "the consumer gave no reason"), delay_ms: body.delay_ms }
        }
        AnswerOutcome::Extend => Answer::Extend { ms: body.ms.unwrap_or_default() },
        AnswerOutcome::Release => Answer::Release,
        AnswerOutcome::GiveUp => Answer::GiveUp {
            failure: failure(body.error, "the consumer gave it up without a reason"),
            reason: Reason::GivenUpByConsumer,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::{Event, StartAt, Subscription, Timestamp};
    use quipu_engine::{Engine, Options, World};
    use quipu_store::DiskStorage;
    use quipu_testkit::{SeededRandom, VirtualClock};

    /// A tenant with one event that a subscription `s` waits to deliver.
    fn tenant(folder: &std::path::Path) -> (Engine, Arc<Tenant>) {
        let storage = Arc::new(DiskStorage::new(folder));
        let clock = Arc::new(VirtualClock::new(Timestamp(0)));
        let world = World { storage, clock, random: Arc::new(SeededRandom::new(1)) };
        let engine = Engine::open(world, Options::default()).unwrap();
        let tenant = engine.tenant("test").unwrap();
        let event = Event::builder("1", "/test", "t").build().unwrap();
        tenant.publish_wait(vec![tenant.prepare(&event, None).unwrap()]).unwrap();
        let definition = Subscription { start: StartAt::Beginning, ..Subscription::default() };
        tenant.create_subscription("s", definition).unwrap();
        (engine, tenant)
    }

    #[tokio::test]
    async fn what_does_not_go_out_is_handed_out_again_as_if_it_never_was() {
        let folder = tempfile::tempdir().unwrap();
        let (_engine, tenant) = tenant(folder.path());
        let name = Arc::from("s");
        let wake = Arc::new(Notify::new());
        let woken = Arc::clone(&wake);
        let _watch = tenant.on_available("s", move || woken.notify_one()).unwrap();
        for gone in 0..3 {
            let handed = tenant.pull("s", 10).unwrap();
            assert_eq!((handed.len(), handed[0].attempt), (1, 1));
            assert!(tenant.pull("s", 10).unwrap().is_empty());
            let batch = Batch::new(&tenant, &name, &handed);
            match gone {
                0 => drop(batch),
                1 => drop(batch.respond()),
                _ => {
                    let body = batch.respond().into_body();
                    let bytes = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
                    assert!(bytes.starts_with(b"{\"deliveries\":[{\"event\":{"));
                    assert!(tenant.pull("s", 10).unwrap().is_empty(), "it went out");
                    return;
                }
            }
            // Given back on another thread, which tells whoever waits.
            while tenant.subscription("s").unwrap().summary.in_flight > 0 {
                wake.notified().await;
            }
        }
    }

    #[test]
    fn a_token_is_sixteen_digits_as_it_was_written() {
        assert_eq!(token("00000000000000ff"), Some(255));
        assert_eq!(token("ffffffffffffffff"), Some(u64::MAX));
        for text in ["", "ff", "+000000000000001", "00000000000000FF", "0000000000000000ff", "00000000000000fg"] {
            assert_eq!(token(text), None, "{text}");
        }
    }
}
