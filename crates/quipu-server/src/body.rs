//! Bodies of requests: read within a limit, without ever waiting for long on a client that pauses.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use quipu_api::{Code, Problem};

/// How long a body that was refused is still read and thrown away: a client that is busy sending does not see an
/// answer on a connection that was closed under it.
const LINGER: Duration = Duration::from_secs(2);

/// Limits of a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub bytes_max: usize,
    pub timeout: Duration,
}

/// The whole body. One that came in one piece is not copied.
pub(crate) async fn whole(headers: &HeaderMap, mut body: Body, limits: Limits) -> Result<Bytes, Problem> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limits.bytes_max) {
        linger(body);
        return Err(too_large(limits.bytes_max));
    }
    let Some(first) = piece(&mut body, limits.timeout).await? else { return Ok(Bytes::new()) };
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(announced.unwrap_or(2 * first.len()).min(1 << 20));
    let mut next = Some(first);
    while let Some(piece_read) = next {
        if all.len() + piece_read.len() > limits.bytes_max {
            linger(body);
            return Err(too_large(limits.bytes_max));
        }
        all.extend_from_slice(&piece_read);
        next = piece(&mut body, limits.timeout).await?;
    }
    Ok(all.freeze())
}

/// The next piece of a body; nothing at its end.
pub(crate) async fn piece(body: &mut Body, timeout: Duration) -> Result<Option<Bytes>, Problem> {
    loop {
        let Ok(frame) = tokio::time::timeout(timeout, body.frame()).await else {
            let detail = format!("expected the rest of the body within {} s, found nothing", timeout.as_secs());
            return Err(Problem::new(Code::RequestTimeout, detail));
        };
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

/// Throws the rest of a body away, for a while.
pub(crate) fn linger(mut body: Body) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER, async move { while let Some(Ok(_)) = body.frame().await {} }));
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("expected a body of at most {limit} bytes, found more"))
        .with("limit", limit)
}
