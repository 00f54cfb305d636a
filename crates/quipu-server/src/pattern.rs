//! The test of a pattern against an event. Nothing is recorded and nothing is read from the log.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::{PatternTestAnswer, PatternTestRequest, Problem};
use quipu_domain::{InvalidEvent, Pattern};

use crate::{App, answer, body, problem};

pub(crate) async fn test(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run(app, request).await)
}

async fn run(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let whole = body::json(&app, request).await?;
    // However small the body: what a test costs is the product of pattern and event, and it is nobody's hot path.
    let work = move || Ok(explain(&whole.bytes, app.host.server.event_json_bytes_max()));
    let explained = problem::blocking(work).await??;
    Ok(answer::json(serde_json::to_vec(&explained).expect("an explanation is JSON")))
}

fn explain(bytes: &[u8], event_bytes_max: usize) -> Result<PatternTestAnswer, Problem> {
    let PatternTestRequest { pattern, event } = body::object(bytes, "an object with pattern and event")?;
    let about_event = |invalid: InvalidEvent| Problem::from(invalid).with("pointer", "/event");
    let pattern =
        Pattern::parse(pattern.get()).map_err(|invalid| Problem::from(invalid).with("pointer", "/pattern"))?;
    let event = event.get();
    if event.len() > event_bytes_max {
        return Err(about_event(InvalidEvent::TooLarge { limit: event_bytes_max, actual: event.len() }));
    }
    Ok(pattern.explain(event.as_bytes()).map_err(about_event)?.into())
}
