//! How the store is: its numbers, and the checkpoints of outside sources.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::request::checkpoint_source;
use quipu_api::{CheckpointAnswer, Problem, StatsAnswer};
use quipu_engine::Stats;

use crate::{App, answer, problem, read};

pub(crate) async fn stats(Extension(app): Extension<Arc<App>>) -> Response {
    problem::answer(run_stats(app).await)
}

async fn run_stats(app: Arc<App>) -> Result<Response, Problem> {
    let position = app.tenant.position();
    let stats = problem::blocking(move || app.tenant.stats()).await?;
    let answer = stats_answer(&stats, position);
    Ok(answer::json(serde_json::to_vec(&answer).expect("numbers are JSON")))
}

/// The numbers of a tenant as they go over the wire, and as the command line shows those of a folder.
pub fn stats_answer(stats: &Stats, position: u64) -> StatsAnswer {
    StatsAnswer {
        events: stats.events,
        commits: stats.commits,
        streams: stats.streams,
        position,
        segments: stats.segments,
        log_bytes: stats.log_bytes,
        index_bytes: stats.index_bytes,
        snapshot_bytes: stats.snapshot_bytes,
        payloads: stats.payloads,
        payload_bytes: stats.payload_bytes,
        oldest: stats.oldest.map(|time| time.to_string()),
        newest: stats.newest.map(|time| time.to_string()),
    }
}

pub(crate) async fn checkpoint(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(checkpoint_source(read::query(&request)).map(|source| {
        let number = app.tenant.checkpoint(&source);
        answer::json(serde_json::to_vec(&CheckpointAnswer { source, number }).expect("a checkpoint is JSON"))
    }))
}
