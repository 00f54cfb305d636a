//! The export of a tenant: all events that it has when it is asked for, as lines, read at the client's pace.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::Path;
use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use quipu_api::{MEDIA_LINES, POSITION_HEADER, Problem};
use quipu_domain::Filter;
use quipu_engine::{Follower, Recorded, Tenant};

use crate::delivery::{EVENT_BYTES_UNSEEN, limit};
use crate::{App, answer, problem};

pub(crate) async fn export(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(begin(app, name).await)
}

async fn begin(app: Arc<App>, name: String) -> Result<Response, Problem> {
    let tenant = app.host.tell(move |engine| engine.existing_tenant(&name)).await?;
    // What comes later is in the next one.
    let last = tenant.position();
    let follower = Box::new(tenant.follow(Filter::default(), 0));
    let export = Export { app, tenant, follower, waiting: VecDeque::new(), last, event_bytes: EVENT_BYTES_UNSEEN };
    // An end that is none leaves the body without its last chunk, so that nobody takes it for the whole.
    let lines = stream::try_unfold(export, |export| async {
        export.next().await.map_err(|problem| io::Error::other(problem.detail))
    });
    let mut response = answer::typed(MEDIA_LINES, Body::from_stream(lines));
    response.headers_mut().insert(POSITION_HEADER, HeaderValue::from(last));
    Ok(response)
}

/// Lines that are written at once end with the one that reaches so many bytes.
const LINES_BYTES: usize = 256 << 10;

/// An export that is under way.
struct Export {
    app: Arc<App>,
    tenant: Arc<Tenant>,
    follower: Box<Follower>,
    /// Those that were read and are not written: of their payloads few are in memory at once.
    waiting: VecDeque<Recorded>,
    /// The position of its last event.
    last: u64,
    /// What an event takes, from those that were read last.
    event_bytes: usize,
}

impl Export {
    /// Some lines, and what is left.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        let ending = Arc::clone(&self.app);
        while !self.waiting.is_empty() || self.follower.position() < self.last {
            self.app.demand_good()?;
            let limit = limit(self.event_bytes);
            let work = problem::blocking(move || {
                if self.waiting.is_empty() {
                    let events = self.follower.next(limit)?;
                    let bytes: usize = events.iter().map(Recorded::bytes).sum();
                    self.event_bytes = bytes.checked_div(events.len()).unwrap_or(self.event_bytes);
                    self.waiting = events.into_iter().filter(|event| event.stamp.position <= self.last).collect();
                }
                let mut out = Vec::new();
                while out.len() < LINES_BYTES
                    && let Some(event) = self.waiting.pop_front()
                {
                    // As it was sent: what is exported is read where there are no payloads yet.
                    self.tenant.resolve(event)?.write_json(&mut out);
                    out.push(b'\n');
                }
                Ok((out, self))
            });
            let out;
            tokio::select! {
                worked = work => (out, self) = worked?,
                () = ending.ending() => return Err(problem::no_answer()),
            }
            if !out.is_empty() {
                return Ok(Some((out.into(), self)));
            }
        }
        Ok(None)
    }
}
