//! Health: whether the process serves, and whether it can append.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use quipu_api::{Code, Problem};

use crate::{App, Phase, answer, problem};

pub(crate) async fn live() -> Response {
    answer::json(br#"{"status":"live"}"#.to_vec())
}

pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    if let Some(fault) = app.tenant.refuses_appends() {
        return problem::respond(&problem::fault(&fault));
    }
    if *app.phases.borrow() != Phase::Serving {
        return problem::respond(&Problem::new(Code::Unavailable, "the server is shutting down"));
    }
    answer::json(br#"{"status":"ready"}"#.to_vec())
}
