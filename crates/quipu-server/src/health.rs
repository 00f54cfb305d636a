//! Health: whether the process serves, and whether it can append.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::Response;
use quipu_api::{Code, Problem};

use crate::{Host, Phase, answer, problem};

pub(crate) async fn live() -> Response {
    answer::json(br#"{"status":"live"}"#.to_vec())
}

pub(crate) async fn ready(State(host): State<Arc<Host>>) -> Response {
    if let Some(fault) = host.stand_in.refuses_appends().or_else(|| host.homes.unwell()) {
        // Anybody asks, as often as he likes: the log hears of it once.
        let problem = match host.is_unwell.swap(true, Ordering::Relaxed) {
            true => problem::of_fault(&fault),
            false => problem::fault(&fault),
        };
        // A fault names folders, and so tenants: not for strangers.
        return problem::respond(&match host.lets_anybody_in {
            true => problem,
            false => Problem::new(
                problem.code().unwrap_or(Code::Internal),
                "no appends are taken; the log of the server says why",
            ),
        });
    }
    host.is_unwell.store(false, Ordering::Relaxed);
    if *host.phases.borrow() != Phase::Serving {
        return problem::respond(&Problem::new(Code::Unavailable, "the server is shutting down"));
    }
    answer::json(br#"{"status":"ready"}"#.to_vec())
}
