//! The export of a tenant: all events that it has when it is asked for, as lines, read at the client's pace.

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
use quipu_engine::{Follower, Recorded};

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
    let export = Export { app, follower, last, event_bytes: EVENT_BYTES_UNSEEN };
    // An end that is none leaves the body without its last chunk, so that nobody takes it for the whole.
    let lines = stream::try_unfold(export, |export| async {
        export.next().await.map_err(|problem| io::Error::other(problem.detail))
    });
    let mut response = answer::typed(MEDIA_LINES, Body::from_stream(lines));
    response.headers_mut().insert(POSITION_HEADER, HeaderValue::from(last));
    Ok(response)
}

/// An export that is under way.
struct Export {
    app: Arc<App>,
    follower: Box<Follower>,
    /// The position of its last event.
    last: u64,
    /// What an event takes, from those that were read last.
    event_bytes: usize,
}

impl Export {
    /// Some lines, and what is left.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Problem> {
        while self.follower.position() < self.last {
            self.app.demand_good()?;
            let (mut follower, limit) = (self.follower, limit(self.event_bytes));
            let read = problem::blocking(move || {
                let events = follower.next(limit)?;
                Ok((follower, events))
            });
            let events;
            tokio::select! {
                read = read => (self.follower, events) = read?,
                () = self.app.ending() => return Err(problem::no_answer()),
            }
            let events: Vec<&Recorded> = events.iter().filter(|event| event.stamp.position <= self.last).collect();
            if !events.is_empty() {
                self.event_bytes = events.iter().map(|event| event.bytes()).sum::<usize>() / events.len();
                let mut out = Vec::with_capacity(512 * events.len());
                for event in events {
                    event.write_json(&mut out);
                    out.push(b'\n');
                }
                return Ok(Some((out.into(), self)));
            }
        }
        Ok(None)
    }
}
