//! The WebSocket: publishing with many events in flight, and deliveries, on one connection.
//!
//! One task a connection does it all. Frames that have arrived are handed to the engine together, several such
//! groups are under way at once, and answers that are ready go out with one flush. A client that does not read holds
//! up its own connection and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use quipu_api::frame::{AnswerFrame, AnsweredFrame, Command, ControlFrame, Credits, ServerFrame, Stopped, Subscribed};
use quipu_api::{Code, Problem, SUBPROTOCOL, TailRequest, filter_from_json};
use quipu_domain::{Incoming, InvalidEvent, Permission, parse_event_text};
use quipu_engine::{Published, Recorded};
use serde_json::value::RawValue;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::admission::Peer;
use crate::consume::{self, Batch};
use crate::consuming::{Consuming, about};
use crate::delivery::Deliveries;
use crate::frames::Frames;
use crate::handshake::{self, Handshake};
use crate::publish::{Entry, Waiting};
use crate::socket::Wire;
use crate::{App, Phase, answer, body, problem, reached};

/// Most frames that are handed to the engine together: few, so that the next ones are parsed while these are written.
/// With 64 events in flight 32 make 115,000 events/s where 256 make 84,000, all 64 going round as one.
const GROUP_FRAMES: usize = 32;
/// What is read at once. The buffer is cleared before each read and kept while the connection is idle; what the
/// library proposes, 128 KiB, costs 4 % of the time and more memory than all else of a connection.
const READ_BYTES: usize = 8 << 10;
/// Events of one connection that may be unanswered before its frames are read no further.
const IN_FLIGHT_MAX: usize = 4_096;
/// How long a client that has closed is told what became of its events, and again how long the closing of our side may
/// take. What is in flight is on disk within milliseconds; clients wait for our side for some seconds.
const CLOSING_TIME: Duration = Duration::from_secs(2);

pub(crate) async fn connect(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(open(app, request))
}

fn open(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let wire = request.extensions_mut().remove::<Arc<Wire>>().ok_or("no header Upgrade");
    let shaken = wire.and_then(|wire| Ok((wire, Handshake::read(&mut request)?)));
    let (wire, Handshake { upgrade, accept_key }) = shaken.map_err(|found| {
        Problem::new(Code::InvalidRequest, format!("expected a WebSocket handshake (RFC 6455), found {found}"))
    })?;
    if !handshake::offers_subprotocol(request.headers()) {
        let detail = format!("expected the subprotocol {SUBPROTOCOL} in Sec-WebSocket-Protocol, found another or none");
        return Err(Problem::new(Code::InvalidRequest, detail));
    }
    // The connection gives its permit, and its place among those of its address, back when it is upgraded; the WebSocket needs
    // its own.
    let member = request.extensions().get::<Peer>().map(|Peer(peer)| app.host.crowd.enter(peer.ip()));
    let permit = Arc::clone(&app.host.connections).try_acquire_owned().ok();
    let (Some(member), Some(permit)) = (member.flatten(), permit) else {
        return Err(Problem::new(Code::TooManyConnections, "expected fewer connections than the limit, found as many"));
    };
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => serve(app, wire, upgraded).await,
            Err(error) => tracing::debug!(%error, "a connection ended before it became a WebSocket"),
        }
        drop((permit, member));
    });
    Ok(handshake::answer(&accept_key))
}

async fn serve(app: Arc<App>, wire: Arc<Wire>, upgraded: Upgraded) {
    let mut phases = app.host.phases.clone();
    let limit = app.event_json_bytes_max();
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .max_message_size(Some(limit))
        .max_frame_size(Some(limit));
    wire.hand_to_frames();
    let frames = Frames::new(TokioIo::new(upgraded), wire, app.host.server.body_timeout);
    let socket = WebSocketStream::from_raw_socket(frames, Role::Server, Some(config)).await;
    let consuming = Consuming::new(&app);
    let mut session = Session { app, socket, groups: VecDeque::new(), in_flight: 0, deliveries: None, consuming };
    tokio::select! {
        _ = session.run() => {}
        () = reached(&mut phases, Phase::Ending) => {}
    }
}

/// Frames that were handed to the engine together, and what is needed to answer them.
struct Group {
    waiting: Waiting,
    /// For each frame the beginning of its answer, `{"ack":{"id":…,"source":…,`, one behind the other; an empty one
    /// for a frame that could not be read.
    heads: Vec<u8>,
    ends: Vec<usize>,
}

struct Session {
    app: Arc<App>,
    socket: WebSocketStream<Frames<TokioIo<Upgraded>>>,
    groups: VecDeque<Group>,
    in_flight: usize,
    deliveries: Option<Deliveries>,
    consuming: Consuming,
}

/// The connection does not work any more.
struct Gone;

/// What a client's frames leave.
#[derive(PartialEq, Eq)]
enum Side {
    /// There may be more of them.
    Open,
    /// It sends no more and waits for our side to close.
    Closed,
    /// There is nobody to say anything to.
    Ended,
}

impl From<Error> for Gone {
    fn from(_: Error) -> Self {
        Self
    }
}

/// What a session wakes up for.
enum Woken {
    Frame(Option<Result<Message, Error>>),
    Reply(Result<Vec<Published>, Problem>),
    Events(Result<Vec<Recorded>, Problem>),
    Pushed(Result<(Arc<str>, Batch), Problem>),
    Heartbeat,
    Ending,
}

impl Session {
    async fn run(&mut self) -> Result<(), Gone> {
        let app = Arc::clone(&self.app);
        let mut heartbeat = tokio::time::interval(self.app.host.server.heartbeat);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        heartbeat.reset();
        loop {
            let woken = tokio::select! {
                reply = first(&mut self.groups) => Woken::Reply(reply),
                frame = self.socket.next(), if self.in_flight < IN_FLIGHT_MAX => Woken::Frame(frame),
                events = next(&mut self.deliveries) => Woken::Events(events),
                pushed = self.consuming.next() => Woken::Pushed(pushed),
                _ = heartbeat.tick() => Woken::Heartbeat,
                () = app.ending() => Woken::Ending,
            };
            match woken {
                Woken::Reply(reply) => self.settle(reply).await?,
                Woken::Frame(frame) => match self.gather(frame).await? {
                    Side::Open => {}
                    Side::Closed => return self.part().await,
                    Side::Ended => return Ok(()),
                },
                Woken::Events(Ok(events)) => self.deliver(&events).await?,
                Woken::Events(Err(problem)) => {
                    self.deliveries = None;
                    self.say(&ServerFrame::Error(problem)).await?;
                }
                Woken::Pushed(Ok((name, batch))) => self.push(&name, batch).await?,
                Woken::Pushed(Err(problem)) => self.say(&ServerFrame::Error(problem)).await?,
                Woken::Heartbeat => match self.app.demand_good() {
                    Ok(()) => self.socket.send(Message::Ping(Bytes::new())).await?,
                    Err(problem) => return self.turn_out(problem).await,
                },
                Woken::Ending => match self.app.demand_good() {
                    Ok(()) => return self.leave().await,
                    Err(problem) => return self.turn_out(problem).await,
                },
            }
        }
    }

    /// Says why the client is not let in any more, and closes.
    async fn turn_out(&mut self, problem: Problem) -> Result<(), Gone> {
        self.say(&ServerFrame::Error(problem)).await?;
        self.close(CloseCode::Policy, "the credential is not valid any more").await
    }

    /// Takes a frame and those that have arrived behind it.
    async fn gather(&mut self, first: Option<Result<Message, Error>>) -> Result<Side, Gone> {
        let mut group = Draft::default();
        let mut next = Some(first);
        let mut side = Side::Open;
        let mut broken = None;
        while let Some(frame) = next.take() {
            match frame {
                None => side = Side::Ended,
                Some(Ok(Message::Close(_))) => side = Side::Closed,
                Some(Err(error)) => {
                    side = Side::Ended;
                    broken = Some(error);
                }
                Some(Ok(Message::Text(text))) => self.take(&text, &mut group).await?,
                Some(Ok(Message::Binary(_))) => group.unreadable(Problem::new(
                    Code::InvalidRequest,
                    "expected a text frame with JSON, found a binary frame",
                )),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            }
            if side == Side::Open && group.ends.len() < GROUP_FRAMES {
                next = self.socket.next().now_or_never();
            }
        }
        // What came before the end is recorded, though nobody may be there to hear it.
        let over = group.over.take();
        self.send(group).await;
        self.socket.get_mut().taken();
        if let Some(over) = over {
            self.app.host.hold_back(&over).await;
        }
        if let Some(error) = broken {
            self.give_up(&error).await?;
        }
        Ok(side)
    }

    /// One text frame: an event, or a control object. An event is tried first, since nearly every frame is one.
    async fn take(&mut self, text: &str, group: &mut Draft) -> Result<(), Gone> {
        match parse_event_text(text) {
            Ok(Incoming { event, stream_version }) => {
                let may_send = self.app.demand_rate();
                group.over = group.over.take().or_else(|| may_send.clone().err());
                let prepared = may_send.and_then(|()| self.app.prepare_event(&event, stream_version, text.len()));
                group.event(event.id(), event.source(), prepared.map_err(Box::new));
            }
            Err(InvalidEvent::MissingAttribute { .. } | InvalidEvent::InvalidAttribute { .. }) if is_control(text) => {
                return self.control(text).await;
            }
            Err(invalid) => {
                self.app.count_event(text.len());
                group.unreadable(invalid.into());
            }
        }
        Ok(())
    }

    async fn control(&mut self, text: &str) -> Result<(), Gone> {
        let answer = match self.obey(text).await {
            Ok(frame) => frame,
            Err(problem) => ServerFrame::Error(problem),
        };
        self.say(&answer).await
    }

    async fn obey(&mut self, text: &str) -> Result<ServerFrame, Problem> {
        let control: ControlFrame = serde_json::from_str(text).map_err(|error| {
            Problem::new(Code::InvalidRequest, format!("expected {}, found {error}", ControlFrame::NAMES.join(", ")))
        })?;
        self.app.demand_good()?;
        match control.command()? {
            Command::Subscribe(parameters) => {
                self.app.demand(Permission::Read)?;
                let request = TailRequest::from_pairs(filter_from_json(&parameters)?)?;
                let (deliveries, after) = Deliveries::begin(&self.app, request)?;
                self.deliveries = Some(deliveries);
                Ok(ServerFrame::Subscribed(Subscribed { after }))
            }
            Command::Unsubscribe => {
                self.app.demand(Permission::Read)?;
                self.deliveries = None;
                Ok(ServerFrame::Unsubscribed(Subscribed { after: self.app.tenant.position() }))
            }
            Command::Consume(credits) => {
                self.app.demand_for(Permission::Consume, &credits.subscription)?;
                self.consuming.begin(credits).map(ServerFrame::Consuming)
            }
            Command::Credit(credits) => self.consuming.credit(credits).map(ServerFrame::Consuming),
            Command::Answer(frame) => self.answer(frame).await.map(ServerFrame::Answered),
            Command::Stop(subscription) => {
                self.consuming.stop(&subscription)?;
                Ok(ServerFrame::Stopped(Stopped { subscription }))
            }
        }
    }

    async fn answer(&mut self, frame: AnswerFrame) -> Result<AnsweredFrame, Problem> {
        let AnswerFrame { subscription, answers, credits } = frame;
        self.app.demand_for(Permission::Consume, &subscription)?;
        if let Some(credits) = credits {
            self.consuming.credit(Credits { subscription: subscription.clone(), credits })?;
        }
        let answered = consume::take_answers(&self.app, subscription.clone(), answers).await;
        let answered = answered.map_err(|problem| about(problem, &subscription))?;
        Ok(AnsweredFrame { subscription, answered })
    }

    async fn push(&mut self, name: &str, mut batch: Batch) -> Result<(), Gone> {
        let begin = format!("{{\"deliveries\":{{\"subscription\":\"{name}\",\"deliveries\":[");
        let text = Utf8Bytes::try_from(batch.text(begin.as_bytes(), b"]}}"));
        self.socket.send(Message::Text(text.expect("JSON that was written here is UTF-8"))).await?;
        batch.sent();
        Ok(())
    }

    async fn send(&mut self, draft: Draft) {
        if draft.ends.is_empty() {
            return;
        }
        self.in_flight += draft.ends.len();
        let count = draft.entries.len();
        let handed_over = self.app.hand_over(draft.entries, (), true).await;
        let waiting = handed_over.unwrap_or_else(|problem| Waiting::refused(count, &problem));
        self.groups.push_back(Group { waiting, heads: draft.heads, ends: draft.ends });
    }

    /// Answers the first group, and those behind it that are ready too.
    async fn settle(&mut self, reply: Result<Vec<Published>, Problem>) -> Result<(), Gone> {
        let mut reply = Some(reply);
        while let Some(ready) = reply.take() {
            let Some(group) = self.groups.pop_front() else { break };
            self.in_flight -= group.waiting.len();
            for text in group.answers(ready) {
                self.socket.feed(Message::Text(text)).await?;
            }
            reply = self.groups.front_mut().and_then(|group| group.waiting.ready());
        }
        Ok(self.socket.flush().await?)
    }

    async fn deliver(&mut self, events: &[Recorded]) -> Result<(), Gone> {
        let mut out = Vec::with_capacity(512 * events.len());
        let mut ends = Vec::with_capacity(events.len());
        for event in events {
            event.write_json(&mut out);
            ends.push(out.len());
        }
        for text in slices(out, &ends) {
            self.socket.feed(Message::Text(text)).await?;
        }
        Ok(self.socket.flush().await?)
    }

    async fn say(&mut self, frame: &ServerFrame) -> Result<(), Gone> {
        let text = serde_json::to_string(frame).expect("a frame is JSON");
        Ok(self.socket.send(Message::Text(text.into())).await?)
    }

    /// The client broke the protocol or sent too much at once: says so, if it still listens.
    async fn give_up(&mut self, error: &Error) -> Result<(), Gone> {
        let problem = |code| Problem::new(code, format!("expected a WebSocket message, found: {error}"));
        let (problem, close) = match error {
            Error::Io(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                (self.app.host.memory.spent(), CloseCode::Again)
            }
            Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
                (body::too_slow(self.socket.get_ref().patience(), "a message"), CloseCode::Policy)
            }
            Error::Capacity(_) => (problem(Code::EventTooLarge), CloseCode::Size),
            _ => (problem(Code::InvalidRequest), CloseCode::Protocol),
        };
        self.say(&ServerFrame::Error(problem)).await?;
        self.close(close, "").await
    }

    /// The server goes down: answers what is in flight, then closes.
    async fn leave(&mut self) -> Result<(), Gone> {
        while !self.groups.is_empty() {
            let reply = first(&mut self.groups).await;
            self.settle(reply).await?;
        }
        self.close(CloseCode::Away, "the server is shutting down").await
    }

    /// The client has closed: answers what is in flight if that comes soon, and closes too (RFC 6455, section 5.5.1). The
    /// library has the answering Close frame ready and takes no message any more, so these are written beside it.
    async fn part(&mut self) -> Result<(), Gone> {
        // In time or not: what is left to say is the Close frame, unless a frame before it is cut.
        let _ = timeout(CLOSING_TIME, self.answer_beside()).await;
        if self.socket.get_ref().is_written() {
            let _ = timeout(CLOSING_TIME, self.socket.flush()).await;
        }
        Ok(())
    }

    async fn answer_beside(&mut self) -> io::Result<()> {
        while self.socket.get_ref().is_written()
            && let Some(mut group) = self.groups.pop_front()
        {
            let reply = group.waiting.wait().await;
            let mut frames = Vec::new();
            for text in group.answers(reply) {
                let frame = Frame::message(text, OpCode::Data(Data::Text), true);
                frame.format(&mut frames).expect("a Vec takes it");
            }
            self.socket.get_mut().write_all(&frames).await?;
        }
        Ok(())
    }

    async fn close(&mut self, code: CloseCode, reason: &'static str) -> Result<(), Gone> {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        Ok(self.socket.send(Message::Close(Some(frame))).await?)
    }
}

/// A group in the making.
#[derive(Default)]
struct Draft {
    /// The tenant sends more than it may.
    over: Option<Problem>,
    entries: Vec<Entry>,
    heads: Vec<u8>,
    ends: Vec<usize>,
}

impl Draft {
    fn event(&mut self, id: &str, source: &str, entry: Entry) {
        self.heads.extend_from_slice(b"{\"ack\":{\"id\":");
        answer::text(&mut self.heads, id);
        self.heads.extend_from_slice(b",\"source\":");
        answer::text(&mut self.heads, source);
        self.heads.push(b',');
        self.entries.push(entry);
        self.ends.push(self.heads.len());
    }

    fn unreadable(&mut self, problem: Problem) {
        self.entries.push(Err(Box::new(problem)));
        self.ends.push(self.heads.len());
    }
}

impl Group {
    fn answers(self, reply: Result<Vec<Published>, Problem>) -> impl Iterator<Item = Utf8Bytes> {
        let outcomes = self.waiting.finish(reply);
        let mut out = Vec::with_capacity(self.heads.len() + 64 * outcomes.len());
        let mut ends = Vec::with_capacity(outcomes.len());
        let mut begin = 0;
        for (outcome, end) in outcomes.iter().zip(self.ends) {
            match (&self.heads[begin..end], outcome) {
                ([], answer::Outcome::Refused(problem)) => {
                    out.extend_from_slice(b"{\"error\":");
                    serde_json::to_writer(&mut out, problem).expect("a problem is JSON and a Vec takes it");
                    out.push(b'}');
                }
                (head, outcome) => {
                    out.extend_from_slice(head);
                    answer::result(&mut out, outcome);
                    out.extend_from_slice(b"}}");
                }
            }
            ends.push(out.len());
            begin = end;
        }
        slices(out, &ends).into_iter()
    }
}

/// Texts that stand one behind the other, each as a slice of the same bytes.
fn slices(bytes: Vec<u8>, ends: &[usize]) -> Vec<Utf8Bytes> {
    let bytes = Bytes::from(bytes);
    let mut begin = 0;
    let slice = |end: &usize| {
        let text = bytes.slice(begin..*end);
        begin = *end;
        Utf8Bytes::try_from(text).expect("JSON that was written here is UTF-8")
    };
    ends.iter().map(slice).collect()
}

fn is_control(text: &str) -> bool {
    let object = serde_json::from_str::<BTreeMap<String, &RawValue>>(text);
    object.is_ok_and(|object| ControlFrame::NAMES.iter().any(|name| object.contains_key(*name)))
}

async fn first(groups: &mut VecDeque<Group>) -> Result<Vec<Published>, Problem> {
    match groups.front_mut() {
        Some(group) => group.waiting.wait().await,
        None => std::future::pending().await,
    }
}

async fn next(deliveries: &mut Option<Deliveries>) -> Result<Vec<Recorded>, Problem> {
    match deliveries {
        Some(deliveries) => deliveries.next().await,
        None => std::future::pending().await,
    }
}
