//! Verifications of projections and their baselines.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use quipu_api::projection::{RemovedAnswer, TableDigestBody};
use quipu_api::request::baseline_asked;
use quipu_api::verification::{
    BaselineBody, BaselineRequest, BaselinesAnswer, ProgressBody, SinceBody, VerdictBody, VerdictOutcome,
    VerdictRowBody, VerdictTableBody, VerdictsAnswer, VerificationLine,
};
use quipu_api::{Code, MEDIA_LINES, Problem};
use quipu_engine::{Baseline, RowVerdict, Since, TableState, TableVerdict, Verdict};
use quipu_projections::VerifyProgress;
use serde_json::json as value;
use tokio::sync::mpsc;

use crate::projection::{ask, scan};
use crate::read::query;
use crate::subscription::{json, read_body};
use crate::{App, answer, problem};

/// Lines that a client need not have read: what comes beyond them is not said, but for the last one.
const LINES_MAX: usize = 4;
/// How often a line says how far it is.
const TOLD: Duration = Duration::from_millis(500);

pub(crate) async fn verify(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_verify(app, name, baseline_asked(query(&request))).await)
}

async fn run_verify(
    app: Arc<App>,
    name: String,
    baseline: Result<Option<String>, Problem>,
) -> Result<Response, Problem> {
    let baseline = baseline?;
    // What is not there is refused as such; what comes later stands in the last line.
    let (asked, against) = (name.clone(), baseline.clone());
    ask(&app, move |projections| {
        let all = projections.baselines(&asked)?;
        match against.filter(|name| all.iter().all(|baseline| baseline.name != *name)) {
            Some(name) => Err(quipu_engine::ProjectionRefusal::NoBaseline { name }.into()),
            None => Ok(()),
        }
    })
    .await?;
    app.tell(value!({ "baseline": baseline }));
    let (sender, receiver) = mpsc::channel(LINES_MAX);
    tokio::spawn(run(app, name, baseline, sender));
    let lines = stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(line), receiver))
    });
    Ok(answer::typed(MEDIA_LINES, Body::from_stream(lines)))
}

async fn run(app: Arc<App>, name: String, baseline: Option<String>, sender: mpsc::Sender<Bytes>) {
    let (by, told, projection) = (app.caller.actor().id, sender.clone(), name.clone());
    let mut last = Instant::now();
    let mut tell = move |progress: VerifyProgress| {
        if last.elapsed() >= TOLD {
            last = Instant::now();
            // A line that finds no room is one of many.
            _ = told.try_send(line(Some(progress_of(progress)), None, None));
        }
        !told.is_closed()
    };
    let work = scan(&app, move |projections| projections.verify(&name, &by, baseline.as_deref(), &mut tell));
    let found = tokio::select! {
        found = work => found,
        // Who is gone while others are verified need not wait for a turn.
        () = sender.closed() => return,
    };
    let last = match found {
        Ok(Some(verdict)) => line(None, Some(verdict_of(&projection, verdict)), None),
        Ok(None) => line(None, None, Some(Problem::new(Code::Unavailable, "the verification was cancelled"))),
        Err(problem) => line(None, None, Some(problem)),
    };
    _ = sender.send(last).await;
}

fn line(progress: Option<ProgressBody>, verdict: Option<VerdictBody>, error: Option<Problem>) -> Bytes {
    let error = error.map(|problem| value!(problem));
    let mut line = serde_json::to_vec(&VerificationLine { progress, verdict, error }).expect("a wire type is JSON");
    line.push(b'\n');
    line.into()
}

pub(crate) async fn verdicts(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let verdicts = ask(&app, move |projections| {
        let all = projections.verdicts(&name)?.into_iter();
        Ok(json(&VerdictsAnswer { verdicts: all.map(|verdict| verdict_of(&name, verdict)).collect() }))
    });
    problem::answer(verdicts.await)
}

pub(crate) async fn create(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_create(app, name, request).await)
}

async fn run_create(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let body = read_body(&app, request, BaselineRequest::from_json).await?;
    app.tell(value!(body));
    let by = app.caller.actor().id;
    let baseline = scan(&app, move |projections| projections.create_baseline(&name, &body.name, &by)).await?;
    let mut response = json(&baseline_of(baseline));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let listed = ask(&app, move |projections| {
        let baselines = projections.baselines(&name)?.into_iter().map(baseline_of).collect();
        Ok(json(&BaselinesAnswer { baselines }))
    });
    problem::answer(listed.await)
}

pub(crate) async fn remove(
    Extension(app): Extension<Arc<App>>,
    Path((name, baseline)): Path<(String, String)>,
) -> Response {
    let removed = ask(&app, move |projections| {
        projections.remove_baseline(&name, &baseline)?;
        Ok(json(&RemovedAnswer { removed: baseline }))
    });
    problem::answer(removed.await)
}

fn progress_of(VerifyProgress { position, end, rate, is_tracing }: VerifyProgress) -> ProgressBody {
    let left = end.saturating_sub(position) as f64;
    let eta_seconds = (left / rate.max(1.0)).ceil() as u64;
    ProgressBody { position, end, rate: rate as u64, eta_seconds, tracing: is_tracing }
}

fn verdict_of(projection: &str, verdict: Verdict) -> VerdictBody {
    use quipu_engine::VerdictOutcome as Found;
    let table = |TableVerdict { table, kept, rebuilt, differing }: TableVerdict| VerdictTableBody {
        table,
        equal: kept.is_some() && kept == rebuilt,
        kept: kept.map(digest_of),
        rebuilt: rebuilt.map(digest_of),
        differing,
    };
    let since = |Since { position, kind }: Since| SinceBody { position, kind };
    let row = |RowVerdict { table, key, kept, rebuilt, since: last }: RowVerdict| VerdictRowBody {
        table,
        key,
        kept,
        rebuilt,
        since: last.map(since),
    };
    VerdictBody {
        number: verdict.number,
        projection: projection.to_owned(),
        outcome: match verdict.outcome {
            Found::Equal => VerdictOutcome::Equal,
            Found::Differs => VerdictOutcome::Differs,
            Found::Tampered => VerdictOutcome::Tampered,
            Found::Stopped => VerdictOutcome::Stopped,
        },
        asked: verdict.asked.to_string(),
        found: verdict.found.to_string(),
        by: verdict.by,
        release: verdict.release,
        declaration: verdict.declaration,
        baseline: verdict.baseline,
        from: verdict.from.to_string(),
        to: verdict.to.to_string(),
        position: verdict.position,
        problem: verdict.problem,
        tables: verdict.tables.into_iter().map(table).collect(),
        rows: verdict.rows.into_iter().map(row).collect(),
    }
}

fn baseline_of(baseline: Baseline) -> BaselineBody {
    BaselineBody {
        name: baseline.name,
        time: baseline.at.to_string(),
        by: baseline.by,
        release: baseline.release,
        declaration: baseline.declaration,
        head: baseline.head.to_string(),
        position: baseline.position,
        tables: baseline.tables.into_iter().map(digest_of).collect(),
    }
}

fn digest_of(TableState { table, rows, digest }: TableState) -> TableDigestBody {
    TableDigestBody { table, rows, digest }
}
