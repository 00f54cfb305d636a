//! The tail as server-sent events (WHATWG HTML, "Server-sent events"): one message an event, its position as the id.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use quipu_api::{MEDIA_SSE, Problem, TailFrom, TailRequest};

use crate::delivery::Deliveries;
use crate::{App, answer, media, problem, read};

pub(crate) async fn tail(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run(app, &request))
}

fn run(app: Arc<App>, request: &Request) -> Result<Response, Problem> {
    media::accepted(request.headers(), &[MEDIA_SSE])?;
    let mut asked = TailRequest::from_query(read::query(request))?;
    if let Some(last) = request.headers().get("last-event-id") {
        asked.from = TailFrom::after("Last-Event-ID", last.to_str().unwrap_or("other bytes than ASCII"))?;
    }
    let (deliveries, after) = Deliveries::begin(&app, asked)?;
    // Who is cut off before the first event comes back to where it began, not to a later end.
    let first = stream::iter([Ok(mark(after))]);
    let messages = stream::unfold((app, Some(deliveries)), |(app, deliveries)| async {
        let mut deliveries = deliveries?;
        match next(&app, &mut deliveries).await? {
            Ok(bytes) => Some((Ok::<_, Infallible>(bytes), (app, Some(deliveries)))),
            Err(problem) => Some((Ok(last(&problem)), (app, None))),
        }
    });
    Ok(answer::typed(MEDIA_SSE, Body::from_stream(first.chain(messages))))
}

/// What goes out next, or why nothing does any more; nothing at the end.
async fn next(app: &App, deliveries: &mut Deliveries) -> Option<Result<Bytes, Problem>> {
    tokio::select! {
        events = deliveries.next() => {
            let events = match events {
                Ok(events) => events,
                Err(problem) => return Some(Err(problem)),
            };
            let mut out = Vec::with_capacity(512 * events.len());
            for event in &events {
                out.extend_from_slice(b"id: ");
                answer::number(&mut out, event.stamp.position);
                out.extend_from_slice(b"\ndata: ");
                event.write_json(&mut out);
                out.extend_from_slice(b"\n\n");
            }
            Some(Ok(out.into()))
        }
        // Ended, and not only silent, for whoever is not let in any more.
        () = tokio::time::sleep(app.host.server.heartbeat) => {
            app.demand_good().ok().map(|()| Ok(mark(deliveries.position())))
        }
        () = app.ending() => None,
    }
}

/// A message without data: it sets the client's last id and is not shown (WHATWG HTML, 9.2.6: dispatching an event sets
/// the last id first, and ends there if there is no data).
fn mark(position: u64) -> Bytes {
    Bytes::from(format!("id: {position}\n\n"))
}

/// Why the tail ends: a message `error`, without an id. A client that comes back with its last id meets the same, or goes on.
fn last(problem: &Problem) -> Bytes {
    let problem = serde_json::to_string(problem).expect("a problem is JSON");
    Bytes::from(format!("event: error\ndata: {problem}\n\n"))
}
