//! Bodies of requests: read within the limit of a body and the memory of all requests, without ever waiting for long on
//! a client that pauses or trickles.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use quipu_api::{Code, Problem};
use serde::Deserialize;
use serde_json::error::Category;

use crate::memory::Held;
use crate::patience::{BYTES_S_MIN, Patience};
use crate::{App, media};

/// How long a body that was refused is still read and thrown away: a client that is busy sending does not see an
/// answer on a connection that was closed under it.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// Fewest bytes that are set aside for a body that comes in several pieces and was not announced.
const FIRST_BYTES: usize = 64 << 10;

/// A body that is in memory.
pub(crate) struct Whole {
    pub bytes: Bytes,
    /// Its share of the memory of all requests: to be kept for as long as the bytes or what was made of them.
    pub held: Held,
}

/// The whole body of a request that says that it is JSON.
pub(crate) async fn json(app: &App, request: Request) -> Result<Whole, Problem> {
    of_media(app, request, media::is_json, usize::MAX).await
}

/// The whole body of a request that says that it is JSON or YAML, and is no longer than this.
pub(crate) async fn document(app: &App, request: Request, bytes_max: usize) -> Result<Whole, Problem> {
    of_media(app, request, media::is_document, bytes_max).await
}

async fn of_media(
    app: &App,
    request: Request,
    is_one: fn(&HeaderMap) -> Result<(), Problem>,
    bytes_max: usize,
) -> Result<Whole, Problem> {
    let (parts, body) = request.into_parts();
    if let Err(problem) = is_one(&parts.headers) {
        linger(body);
        return Err(problem);
    }
    whole_within(app, &parts.headers, body, bytes_max).await
}

/// The whole body. One that came in one piece is not copied.
pub(crate) async fn whole(app: &App, headers: &HeaderMap, body: Body) -> Result<Whole, Problem> {
    whole_within(app, headers, body, usize::MAX).await
}

/// The whole body of a route that takes no longer ones than this, and none that the server does not take.
pub(crate) async fn whole_within(
    app: &App,
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: usize,
) -> Result<Whole, Problem> {
    let mut held = Held::default();
    match read(app, headers, &mut body, &mut held, bytes_max.min(app.host.server.body_bytes_max)).await {
        Ok(bytes) => {
            // It may have taken its time, and who sent it may not be let in any more.
            app.demand_good()?;
            Ok(Whole { bytes, held })
        }
        Err(problem) => {
            // Who paused is not waited for any longer; who sends too much is still sending.
            if problem.code() != Some(Code::RequestTimeout) {
                linger(body);
            }
            Err(problem)
        }
    }
}

async fn read(
    app: &App,
    headers: &HeaderMap,
    body: &mut Body,
    held: &mut Held,
    limit: usize,
) -> Result<Bytes, Problem> {
    let mut patience = Patience::new(app.host.server.body_timeout);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    let Some(first) = piece(body, &mut patience).await? else { return Ok(Bytes::new()) };
    if announced == Some(first.len()) {
        app.host.memory.cover(held, first.len()).await?;
        return Ok(first);
    }
    let mut all = BytesMut::new();
    let mut next = Some(first);
    while let Some(piece_read) = next {
        let length = all.len() + piece_read.len();
        if length > limit {
            return Err(too_large(limit));
        }
        if length > all.capacity() {
            // All that was announced: bodies of which each has a part and waits for the rest would wait for each
            // other. Else doubled, so that a body is copied about once.
            let doubled = (2 * all.capacity()).max(FIRST_BYTES).min(limit);
            let room = announced.unwrap_or(doubled).max(length);
            app.host.memory.cover(held, room).await?;
            all.reserve(room - all.len());
        }
        all.extend_from_slice(&piece_read);
        next = piece(body, &mut patience).await?;
    }
    Ok(all.freeze())
}

/// The next piece of a body; nothing at its end.
pub(crate) async fn piece(body: &mut Body, patience: &mut Patience) -> Result<Option<Bytes>, Problem> {
    loop {
        let begin = Instant::now();
        let Ok(frame) = tokio::time::timeout(patience.left(), body.frame()).await else {
            return Err(too_slow(patience, "the body"));
        };
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        patience.spend(begin.elapsed(), bytes);
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                // Trailers are no data.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                let detail = format!("expected the whole body, found that it ended early: {error}");
                return Err(Problem::new(Code::InvalidRequest, detail));
            }
        }
    }
}

/// A body that is a JSON object of the wire type; `expected` says which in a message.
pub(crate) fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8], expected: &str) -> Result<T, Problem> {
    // serde reads an array as the fields of a struct in their order; nobody means that.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::pointer("", format!("expected {expected}, found an array")));
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Problem::pointer("", format!("expected {expected}: {error}")),
        _ => Problem::new(Code::MalformedJson, format!("expected JSON, found {error}"))
            .with("line", error.line())
            .with("column", error.column()),
    })
}

/// Throws the rest of a body away, for a while.
pub(crate) fn linger(mut body: Body) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER, async move { while let Some(Ok(_)) = body.frame().await {} }));
}

/// Why a client is not waited for any longer.
pub(crate) fn too_slow(patience: &Patience, what: &str) -> Problem {
    let pause = patience.pause_max().as_secs_f64();
    let detail = format!(
        "expected the rest of {what} after a pause of at most {pause} s, and at least {BYTES_S_MIN} bytes/s on the whole, found less"
    );
    Problem::new(Code::RequestTimeout, detail)
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("expected a body of at most {limit} bytes, found more"))
        .with("limit", limit)
}
