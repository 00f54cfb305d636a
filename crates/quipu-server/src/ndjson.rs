//! Bulk loads: one event a line, of any length. The body is read while earlier lines are being written and answered;
//! at no time is more in memory than a few chunks and the results that the client has not read yet.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use futures_util::stream;
use quipu_api::{Code, MEDIA_JSON, MEDIA_LINES, Problem};
use quipu_engine::Published;
use tokio::sync::{Semaphore, mpsc};

use crate::answer::{Outcome, Sums};
use crate::memory::Held;
use crate::patience::Patience;
use crate::publish::{Entry, Waiting};
use crate::{App, BULK_KIB_MAX, answer, body, media, problem};

/// A chunk is handed to the engine when it has this many lines, or nothing else is under way.
const CHUNK_LINES: usize = 1_024;
/// Likewise, bytes.
const CHUNK_BYTES: usize = 512 << 10;
/// Chunks of one load that are under way at once: one that is written, one that waits, one that is being parsed.
const CHUNKS_IN_FLIGHT: usize = 3;
/// Bytes of results that a client need not have read before its body is read no further (some 64,000 events that were
/// recorded): a client that sends everything before it reads anything gets by with this much, or with
/// `Prefer: return=minimal`.
const RESULT_BYTES_BUFFERED: usize = 5 << 20;
/// Refusals that the minimal answer lists.
const REFUSALS_LISTED: usize = 100;

pub(crate) async fn load(app: Arc<App>, headers: &HeaderMap, request_body: Body) -> Response {
    if media::prefers_minimal(headers) {
        let mut load = Load::new(app, request_body, Sink::Minimal(Vec::new()));
        let error = load.run().await;
        return load.minimal(error);
    }
    let permits = Arc::new(Semaphore::new(RESULT_BYTES_BUFFERED));
    let (sender, receiver) = mpsc::unbounded_channel();
    let results = Results { receiver, permits: Arc::clone(&permits) };
    tokio::spawn(async move {
        let mut load = Load::new(app, request_body, Sink::Lines { sender, permits });
        let error = load.run().await;
        load.last_line(error).await;
    });
    let lines = stream::unfold(results, |mut results| async {
        let (bytes, count) = results.receiver.recv().await?;
        results.permits.add_permits(count);
        Some((Ok::<_, std::convert::Infallible>(bytes), results))
    });
    answer::typed(MEDIA_LINES, Body::from_stream(lines))
}

/// The end of the channel at which the client reads.
struct Results {
    receiver: mpsc::UnboundedReceiver<(Bytes, usize)>,
    permits: Arc<Semaphore>,
}

impl Drop for Results {
    /// The client is gone: nobody waits for it any more.
    fn drop(&mut self) {
        self.permits.close();
    }
}

/// Where results go.
enum Sink {
    Lines { sender: mpsc::UnboundedSender<(Bytes, usize)>, permits: Arc<Semaphore> },
    Minimal(Vec<(u64, Outcome)>),
}

struct Chunk {
    lines: Vec<u64>,
    waiting: Waiting,
}

struct Load {
    app: Arc<App>,
    body: Body,
    /// For the line that has begun; a load may last as long as it likes.
    patience: Patience,
    /// What was read and not split yet, behind a chunk that is full.
    rest: Bytes,
    lines: Lines,
    /// What was read and not handed on yet: line numbers, entries, bytes with those of the line that has begun.
    numbers: Vec<u64>,
    entries: Vec<Entry>,
    bytes: usize,
    /// Their share of the memory of all requests, until the engine's share for bulk loads is theirs.
    held: Held,
    in_flight: VecDeque<Chunk>,
    sums: Sums,
    sink: Sink,
}

impl Load {
    fn new(app: Arc<App>, body: Body, sink: Sink) -> Self {
        let lines = Lines { carry: Vec::new(), limit: app.event_json_bytes_max(), number: 0, is_skipping: false };
        let (numbers, entries, in_flight) = (Vec::new(), Vec::new(), VecDeque::new());
        let (held, sums) = (Held::default(), Sums::default());
        let (patience, rest) = (Patience::new(app.host.server.body_timeout), Bytes::new());
        Self { app, body, patience, rest, lines, numbers, entries, bytes: 0, held, in_flight, sums, sink }
    }

    /// Reads to the end of the body, or to what stops the load.
    async fn run(&mut self) -> Option<Problem> {
        let mut error = None;
        let mut has_ended = false;
        loop {
            // A line that is longer than a chunk is read to its end.
            let has_lines = !self.entries.is_empty();
            let is_full = has_lines && (self.entries.len() >= CHUNK_LINES || self.bytes >= CHUNK_BYTES);
            let is_due = is_full || has_ended || self.in_flight.is_empty();
            if has_lines && is_due && self.in_flight.len() < CHUNKS_IN_FLIGHT {
                self.send().await;
                continue;
            }
            if !self.rest.is_empty() && !is_full {
                self.split();
                continue;
            }
            if has_ended && self.in_flight.is_empty() {
                return error;
            }
            tokio::select! {
                biased;
                reply = first(&mut self.in_flight), if !self.in_flight.is_empty() => {
                    let fault = reply.as_ref().err().cloned();
                    if !self.settle(reply).await {
                        return None;
                    }
                    // After a fault nothing more is tried: what came behind it must not overtake it.
                    if fault.is_some() && error.is_none() {
                        (error, has_ended) = (fault, true);
                        self.entries.clear();
                        self.numbers.clear();
                        self.rest.clear();
                    }
                }
                piece = body::piece(&mut self.body, &mut self.patience), if !has_ended && !is_full => match piece {
                    Ok(Some(piece)) => match self.admit(piece.len()).await {
                        Ok(()) => self.take(piece),
                        Err(problem) => (error, has_ended) = (Some(problem), true),
                    },
                    Ok(None) => {
                        has_ended = true;
                        self.take_last();
                    }
                    Err(problem) => (error, has_ended) = (Some(problem), true),
                },
            }
        }
    }

    /// Takes a piece of somebody who is still let in.
    async fn admit(&mut self, piece: usize) -> Result<(), Problem> {
        // Slowed down by not being read: nothing of a load is refused that the tenant may send later.
        self.app.pace().await;
        self.app.demand_good()?;
        self.cover(piece).await
    }

    /// Makes room for a piece beside what is there.
    async fn cover(&mut self, piece: usize) -> Result<(), Problem> {
        self.app.host.memory.cover(&mut self.held, self.bytes + piece).await
    }

    fn take(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.rest = piece;
        self.split();
    }

    /// Reads lines until the chunk is full or nothing is left.
    fn split(&mut self) {
        let Self { app, rest, lines, numbers, entries, .. } = self;
        let begun = lines.number;
        let room = CHUNK_LINES - entries.len();
        let used = lines.split(rest, room, |number, line| {
            numbers.push(number);
            entries.push(line.and_then(|line| app.prepare(line)).map_err(Box::new));
        });
        rest.advance(used);
        if lines.number > begun {
            self.patience.renew();
        }
        // A line that is too long is not kept.
        if self.entries.is_empty() {
            self.bytes = self.lines.carry.len() + self.rest.len();
        }
    }

    fn take_last(&mut self) {
        let Self { app, lines, numbers, entries, .. } = self;
        lines.end(|number, line| {
            numbers.push(number);
            entries.push(line.and_then(|line| app.prepare(line)).map_err(Box::new));
        });
    }

    async fn send(&mut self) {
        let kib = u32::try_from((self.bytes >> 10) + 1).unwrap_or(u32::MAX).min(BULK_KIB_MAX as u32);
        // Held until the engine is done, not until this load has looked: loads that wait for each other would
        // otherwise never get on.
        let permit = Arc::clone(&self.app.host.bulk).acquire_many_owned(kib).await.ok();
        let count = self.entries.len();
        let handed_over = self.app.hand_over(std::mem::take(&mut self.entries), permit, true).await;
        let waiting = handed_over.unwrap_or_else(|problem| Waiting::refused(count, &problem));
        self.in_flight.push_back(Chunk { lines: std::mem::take(&mut self.numbers), waiting });
        // What is behind the chunk is still here.
        self.bytes = self.lines.carry.len() + self.rest.len();
        self.held.shrink(self.bytes);
    }

    /// Hands on the results of the first chunk; `false` if nobody reads them any more.
    async fn settle(&mut self, reply: Result<Vec<Published>, Problem>) -> bool {
        let Some(Chunk { lines, waiting }) = self.in_flight.pop_front() else { return true };
        let outcomes = waiting.finish(reply);
        outcomes.iter().for_each(|outcome| self.sums.add(outcome));
        match &mut self.sink {
            Sink::Minimal(refusals) => {
                let room = REFUSALS_LISTED - refusals.len();
                let all = lines.into_iter().zip(outcomes);
                refusals.extend(all.filter(|(_, outcome)| matches!(outcome, Outcome::Refused(_))).take(room));
                true
            }
            Sink::Lines { sender, permits } => {
                let mut out = Vec::with_capacity(64 * outcomes.len());
                for (line, outcome) in lines.iter().zip(&outcomes) {
                    write_line(&mut out, *line, outcome);
                    out.push(b'\n');
                }
                let count = out.len().min(RESULT_BYTES_BUFFERED);
                let Ok(permit) = permits.acquire_many(count as u32).await else { return false };
                permit.forget();
                sender.send((out.into(), count)).is_ok()
            }
        }
    }

    /// The sums, at the end of the answer.
    async fn last_line(self, error: Option<Problem>) {
        if error.is_some() {
            body::linger(self.body);
        }
        let Sink::Lines { sender, .. } = self.sink else { return };
        let mut out = vec![b'{'];
        self.sums.write(&mut out);
        write_error(&mut out, error.as_ref());
        out.extend_from_slice(b"}\n");
        let _ = sender.send((out.into(), 0));
    }

    /// The sums and the first refusals, as the whole answer.
    fn minimal(self, error: Option<Problem>) -> Response {
        let Sink::Minimal(refusals) = self.sink else { return answer::json(Vec::new()) };
        let refused = error.as_ref().map(problem::respond);
        if error.is_some() {
            body::linger(self.body);
        }
        let mut out = vec![b'{'];
        self.sums.write(&mut out);
        for (index, (line, outcome)) in refusals.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"refusals\":[".as_slice() } else { b"," });
            write_line(&mut out, *line, outcome);
        }
        if !refusals.is_empty() {
            out.push(b']');
        }
        write_error(&mut out, error.as_ref());
        out.push(b'}');
        let mut response = answer::typed(MEDIA_JSON, out);
        // The body says more than the problem alone; the rest of the answer is the problem's.
        if let Some(refused) = refused {
            *response.status_mut() = refused.status();
            response.headers_mut().extend(refused.headers().get(RETRY_AFTER).map(|wait| (RETRY_AFTER, wait.clone())));
        }
        response.headers_mut().insert("preference-applied", HeaderValue::from_static("return=minimal"));
        response
    }
}

async fn first(in_flight: &mut VecDeque<Chunk>) -> Result<Vec<Published>, Problem> {
    match in_flight.front_mut() {
        Some(chunk) => chunk.waiting.wait().await,
        None => std::future::pending().await,
    }
}

fn write_line(out: &mut Vec<u8>, line: u64, outcome: &Outcome) {
    out.extend_from_slice(b"{\"line\":");
    answer::number(out, line);
    out.push(b',');
    answer::result(out, outcome);
    out.push(b'}');
}

fn write_error(out: &mut Vec<u8>, error: Option<&Problem>) {
    if let Some(error) = error {
        out.extend_from_slice(b",\"error\":");
        serde_json::to_writer(out, error).expect("a problem is JSON and a Vec takes it");
    }
}

/// Splits pieces of a body into lines; keeps at most one unfinished line, and of one that is too long nothing.
struct Lines {
    carry: Vec<u8>,
    limit: usize,
    /// The number of the last line that began.
    number: u64,
    is_skipping: bool,
}

impl Lines {
    /// Gives at most so many lines of a piece, and says how many bytes of it are used up: all, unless there are more.
    fn split(&mut self, piece: &[u8], room: usize, mut line: impl FnMut(u64, Result<&[u8], Problem>)) -> usize {
        let mut rest = piece;
        let mut given = 0;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if given == room {
                return piece.len() - rest.len();
            }
            let (head, tail) = rest.split_at(end);
            rest = &tail[1..];
            self.number += 1;
            if std::mem::take(&mut self.is_skipping) || self.carry.len() + head.len() > self.limit {
                self.carry.clear();
                line(self.number, Err(self.too_long()));
                given += 1;
            } else if self.carry.is_empty() {
                given += emit(self.number, head, &mut line);
            } else {
                self.carry.extend_from_slice(head);
                given += emit(self.number, &self.carry, &mut line);
                self.carry.clear();
            }
        }
        if self.is_skipping || self.carry.len() + rest.len() > self.limit {
            self.is_skipping = true;
            self.carry = Vec::new();
        } else {
            self.carry.extend_from_slice(rest);
        }
        piece.len()
    }

    /// The last line, if it has no line break.
    fn end(&mut self, mut line: impl FnMut(u64, Result<&[u8], Problem>)) {
        self.number += 1;
        if self.is_skipping {
            line(self.number, Err(self.too_long()));
        } else {
            emit(self.number, &self.carry, &mut line);
        }
    }

    fn too_long(&self) -> Problem {
        let detail = format!("expected a line of at most {} bytes, found more", self.limit);
        Problem::new(Code::EventTooLarge, detail).with("limit", self.limit)
    }
}

/// The lines of a body that comes in these pieces, each with its number; of one over the limit nothing. Pieces give at most so
/// many lines at once.
pub fn lines<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    limit: usize,
    room: usize,
) -> Vec<(u64, Result<Vec<u8>, Problem>)> {
    let mut lines = Lines { carry: Vec::new(), limit, number: 0, is_skipping: false };
    let mut found = Vec::new();
    let mut take = |number, line: Result<&[u8], Problem>| found.push((number, line.map(<[u8]>::to_vec)));
    for mut piece in pieces {
        while !piece.is_empty() {
            piece = &piece[lines.split(piece, room, &mut take)..];
        }
    }
    lines.end(&mut take);
    found
}

/// Gives a line unless it is blank, and says how many that is.
fn emit(number: u64, text: &[u8], line: &mut impl FnMut(u64, Result<&[u8], Problem>)) -> usize {
    let text = text.trim_ascii();
    if text.is_empty() {
        return 0;
    }
    line(number, Ok(text));
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&str], limit: usize) -> Vec<(u64, Result<String, String>)> {
        let found = lines(pieces.iter().map(|piece| piece.as_bytes()), limit, usize::MAX);
        let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
        found.into_iter().map(|(number, line)| (number, line.map(text).map_err(|p| p.code))).collect()
    }

    #[test]
    fn lines_do_not_depend_on_the_pieces_that_they_come_in() {
        let text = "a\r\n\n bc \nd";
        let whole = split(&[text], 10);
        assert_eq!(whole, [(1, Ok("a".into())), (3, Ok("bc".into())), (4, Ok("d".into()))]);
        let single: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(split(&single.iter().map(String::as_str).collect::<Vec<_>>(), 10), whole);
    }

    #[test]
    fn a_line_over_the_limit_is_refused_and_skipped() {
        let refused = Err("event-too-large".to_owned());
        let expected = [(1, Ok("a".into())), (2, refused.clone()), (3, Ok("b".into()))];
        assert_eq!(split(&["a\n1234567\nb\n"], 4), expected);
        assert_eq!(split(&["a\n123", "45", "67\nb"], 4), expected);
        assert_eq!(split(&["12345"], 4), [(1, refused)]);
    }

    #[test]
    fn a_piece_gives_no_more_lines_than_there_is_room_for() {
        let mut lines = Lines { carry: Vec::new(), limit: 10, number: 0, is_skipping: false };
        let piece = b"x\n\nx\nx\nrest";
        let mut found = Vec::new();
        let mut used = 0;
        for expected in [&[1, 3][..], &[4]] {
            used += lines.split(&piece[used..], 2, |number, _| found.push(number));
            assert_eq!(std::mem::take(&mut found), expected);
        }
        assert_eq!((used, lines.carry.as_slice()), (piece.len(), &b"rest"[..]));
    }
}
