//! Publishing: one event or a batch, in any content mode. Each event stands for itself: what one lacks does not
//! keep the others from being recorded.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::{Code, Problem};
use quipu_domain::{Event, Incoming, InvalidEvent, parse_batch, parse_event};
use quipu_engine::{Fault, Prepared, Published};
use tokio::sync::oneshot;

use crate::answer::Outcome;
use crate::body::Whole;
use crate::media::{self, Mode};
use crate::memory::Held;
use crate::{App, answer, binary, body, ndjson, problem};

/// Bodies above this are parsed off the threads that serve sockets: at some 300 MB/s a larger one would hold up every
/// other connection of its thread for more than 3 ms.
const INLINE_BYTES_MAX: usize = 1 << 20;
/// Most events that a batch hands to the engine at once, so that no request fills the mailbox by itself.
const BATCH_EVENTS: usize = 4_096;

/// An event that is ready for the engine, or why it is not.
pub(crate) type Entry = Result<Prepared, Box<Problem>>;
type Reply = Result<Vec<Published>, Fault>;

pub(crate) async fn publish(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run(app, request).await)
}

async fn run(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (parts, request_body) = request.into_parts();
    let headers = &parts.headers;
    let mode = match media::mode(headers) {
        Ok(Mode::Lines) => return Ok(ndjson::load(app, headers, request_body).await),
        Ok(mode) => mode,
        Err(problem) => {
            body::linger(request_body);
            return Err(problem);
        }
    };
    if let Err(over) = app.demand_rate() {
        // Before the body is read: what is refused is to cost little.
        body::linger(request_body);
        app.host.hold_back(&over).await;
        return Err(over);
    }
    let whole = body::whole(&app, headers, request_body).await?;
    let bytes = whole.bytes.len();
    let is_batch = match mode {
        Mode::Batched | Mode::Lines => true,
        Mode::Json => is_array(&whole.bytes),
        Mode::Binary | Mode::Structured => false,
    };
    if is_batch {
        let (entries, _held) = parse(&app, whole, App::prepare_array).await?;
        return batch(&app, entries, bytes).await;
    }
    let (prepared, _held) = match mode {
        Mode::Binary => {
            let headers = parts.headers;
            parse(&app, whole, move |app, body| app.prepare_event(&binary::read(&headers, body)?, None, body.len()))
                .await?
        }
        _ => parse(&app, whole, App::prepare).await?,
    };
    one(&app, prepared, bytes).await
}

/// Parses a body here if it is small, else on a thread where it holds up nobody. Gives back its share of the memory, to
/// be kept until what was parsed is recorded.
pub(crate) async fn parse<T: Send + 'static>(
    app: &Arc<App>,
    whole: Whole,
    work: impl FnOnce(&App, &[u8]) -> Result<T, Problem> + Send + 'static,
) -> Result<(T, Held), Problem> {
    if is_quick(whole.bytes.len()) {
        return Ok((work(app, &whole.bytes)?, whole.held));
    }
    let app = Arc::clone(app);
    problem::blocking(move || Ok(work(&app, &whole.bytes).map(|parsed| (parsed, whole.held)))).await?
}

/// Whether a body of so many bytes is dealt with on the threads that serve sockets.
pub(crate) fn is_quick(bytes: usize) -> bool {
    bytes <= INLINE_BYTES_MAX
}

fn is_array(json: &[u8]) -> bool {
    json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// A single event that is refused is answered with its problem and status.
async fn one(app: &Arc<App>, prepared: Prepared, bytes: usize) -> Result<Response, Problem> {
    let outcome = match prepared.has_payload() {
        // Gathered with others it would be written on a thread that serves sockets.
        true => {
            let mut waiting = app.hand_over(vec![Ok(prepared)], (), false).await?;
            let reply = waiting.wait().await?;
            waiting.finish(Ok(reply)).pop().unwrap_or_else(|| problem::no_answer().into())
        }
        false => Outcome::from(app.home.gather.publish(prepared, bytes).await?),
    };
    match outcome {
        Outcome::Refused(problem) => Err(*problem),
        outcome => Ok(answer::json(answer::published(&[outcome]))),
    }
}

async fn batch(app: &Arc<App>, entries: Vec<Entry>, bytes: usize) -> Result<Response, Problem> {
    let mut outcomes = Vec::with_capacity(entries.len());
    let mut entries = entries.into_iter();
    loop {
        let some: Vec<Entry> = entries.by_ref().take(BATCH_EVENTS).collect();
        if some.is_empty() {
            break;
        }
        // The engine looks for repeats before it takes them, which for many may be long too.
        let mut waiting = app.hand_over(some, (), is_quick(bytes)).await?;
        let reply = waiting.wait().await;
        if let Err(fault) = &reply {
            if outcomes.is_empty() {
                return Err(fault.clone());
            }
            outcomes.extend(waiting.finish(Err(fault.clone())));
            // What failed once is not tried with the rest: order within a stream would be lost.
            outcomes
                .extend(entries.map(|entry| Outcome::Refused(entry.err().unwrap_or_else(|| Box::new(fault.clone())))));
            break;
        }
        outcomes.extend(waiting.finish(reply));
    }
    Ok(answer::json(answer::published(&outcomes)))
}

impl App {
    /// Largest JSON text of an event that may be sent: as `Server::event_json_bytes_max`, of what may be kept beside the log too.
    pub(crate) fn event_json_bytes_max(&self) -> usize {
        self.tenant.sent_bytes_max().saturating_mul(2).saturating_add(64 << 10)
    }

    /// Reads, checks and encodes the JSON of one event.
    pub(crate) fn prepare(&self, json: &[u8]) -> Result<Prepared, Problem> {
        match parse_event(json) {
            Ok(Incoming { event, stream_version }) => self.prepare_event(&event, stream_version, json.len()),
            Err(invalid) => {
                self.count_event(json.len());
                Err(invalid.into())
            }
        }
    }

    /// Checks and encodes an event that is to be published: every way into the log comes through here.
    pub(crate) fn prepare_event(
        &self,
        event: &Event<'_>,
        stream_version: Option<u64>,
        bytes: usize,
    ) -> Result<Prepared, Problem> {
        self.count_event(bytes);
        self.demand_publish(event)?;
        Ok(self.tenant.prepare(event, stream_version)?)
    }

    fn prepare_array(&self, json: &[u8]) -> Result<Vec<Entry>, Problem> {
        let texts = parse_batch(json).map_err(|invalid| match invalid {
            InvalidEvent::TooMany { limit, .. } => {
                let detail = format!("expected at most {limit} events in one body, found more");
                Problem::new(Code::BodyTooLarge, detail).with("limit", limit)
            }
            InvalidEvent::NotAnObject { .. } => {
                Problem::new(Code::InvalidEvent, "expected a JSON array of events, found another value")
                    .with("expected", "a JSON array of events")
            }
            other => other.into(),
        })?;
        // Each for itself: of a batch that is more than the tenant may send, the rest is refused.
        let prepare = |text: &[u8]| self.demand_rate().and_then(|()| self.prepare(text));
        Ok(texts.into_iter().map(|text| prepare(text.get().as_bytes()).map_err(Box::new)).collect())
    }

    /// As [`App::send`], on a thread where it holds up nobody if it may take long: where it is not quick, or a payload is written.
    pub(crate) async fn hand_over(
        self: &Arc<Self>,
        entries: Vec<Entry>,
        guard: impl Send + 'static,
        is_quick: bool,
    ) -> Result<Waiting, Problem> {
        let has_payload = entries.iter().flatten().any(Prepared::has_payload);
        if is_quick && !has_payload {
            return Ok(self.send(entries, guard));
        }
        let app = Arc::clone(self);
        problem::blocking(move || Ok(app.send(entries, guard))).await
    }

    /// Hands events to the engine, in order; `guard` is dropped as soon as the engine is done with them.
    fn send(&self, entries: Vec<Entry>, guard: impl Send + 'static) -> Waiting {
        let mut refused = Vec::with_capacity(entries.len());
        let mut prepared = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Ok(event) => {
                    prepared.push(event);
                    refused.push(None);
                }
                Err(problem) => refused.push(Some(problem)),
            }
        }
        if prepared.is_empty() {
            return Waiting { refused, reply: None };
        }
        let (sender, reply) = oneshot::channel();
        self.tenant.publish(prepared, move |published| {
            drop(guard);
            // The receiver is gone if the client is; the events are recorded all the same.
            let _ = sender.send(published);
        });
        Waiting { refused, reply: Some(reply) }
    }
}

/// Events that were handed to the engine.
pub(crate) struct Waiting {
    /// For each event why it was refused before it came to the engine, or nothing.
    refused: Vec<Option<Box<Problem>>>,
    reply: Option<oneshot::Receiver<Reply>>,
}

impl Waiting {
    /// Events that never came to the engine.
    pub(crate) fn refused(count: usize, problem: &Problem) -> Self {
        Self { refused: vec![Some(Box::new(problem.clone())); count], reply: None }
    }

    /// How many events these are.
    pub(crate) fn len(&self) -> usize {
        self.refused.len()
    }

    /// Waits for the engine. May be given up and called again.
    pub(crate) async fn wait(&mut self) -> Result<Vec<Published>, Problem> {
        match &mut self.reply {
            None => Ok(Vec::new()),
            Some(reply) => match reply.await {
                Ok(published) => published.map_err(|fault| problem::fault(&fault)),
                Err(_) => Err(problem::no_answer()),
            },
        }
    }

    /// What the engine replied, if it has.
    pub(crate) fn ready(&mut self) -> Option<Result<Vec<Published>, Problem>> {
        match &mut self.reply {
            None => Some(Ok(Vec::new())),
            Some(reply) => match reply.try_recv() {
                Ok(published) => Some(published.map_err(|fault| problem::fault(&fault))),
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Err(problem::no_answer())),
            },
        }
    }

    /// What became of each event, in order.
    pub(crate) fn finish(self, reply: Result<Vec<Published>, Problem>) -> Vec<Outcome> {
        let (published, fault) = match reply {
            Ok(published) => (published, problem::no_answer()),
            Err(fault) => (Vec::new(), fault),
        };
        let mut published = published.into_iter();
        let outcome = |refused: Option<Box<Problem>>| match refused {
            Some(problem) => Outcome::Refused(problem),
            None => published.next().map_or_else(|| fault.clone().into(), Outcome::from),
        };
        self.refused.into_iter().map(outcome).collect()
    }
}
