//! The tree of causes and effects around an event.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::{EventKey, Problem, TraceAnswer};

use crate::{App, answer, problem, read};

pub(crate) async fn by_id(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_by_id(app, request).await)
}

async fn run_by_id(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let key = EventKey::from_query(read::query(&request))?;
    let position = read::find(&app, key).await?.stamp.position;
    around(&app, position).await
}

pub(crate) async fn at_position(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_at_position(app, request).await)
}

async fn run_at_position(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    around(&app, read::position(&request)?).await
}

async fn around(app: &App, position: u64) -> Result<Response, Problem> {
    let tenant = Arc::clone(&app.tenant);
    let trace = problem::blocking(move || tenant.trace(position)).await?;
    let trace = TraceAnswer::from(trace.ok_or_else(|| read::nothing_at(app, position))?);
    Ok(answer::json(serde_json::to_vec(&trace).expect("a trace is JSON")))
}
