//! Projections: declaring, watching, asking and comparing them.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::projection::{
    AppliedAnswer, ComparisonAnswer, DECLARATION_BYTES_MAX, DifferenceBody, DigestAnswer, DroppedAnswer, FailedBody,
    ProjectionAnswer, ProjectionsAnswer, ReleaseBody, ReleaseState, RemovedAnswer, RowsAnswer, SkippedBody, SqlRequest,
    SwitchedAnswer, TableComparisonBody, TableDigestBody, WAIT_MS_DEFAULT, read_projection,
};
use quipu_api::request::{RowsRequest, dry_run};
use quipu_api::{Code, Problem};
use quipu_engine::WantedRelease;
use quipu_projections::{
    Difference, NotDone, Order, Phase, ProjectionStatus, Projections, ReadModelRefusal, ReleaseStatus, Rows, SqlQuery,
    TableComparison, TableDigest, TableQuery, Test,
};
use serde_json::json as value;
use tokio::time::Instant;

use crate::read::query;
use crate::refusal::not_done;
use crate::subscription::{json, read_body};
use crate::{App, body, problem, publish};

/// A refusal of a read model as the public sees it.
fn refused(reason: &NotDone) -> Problem {
    let refusal = match reason {
        NotDone::Engine(reason) => return not_done(reason),
        NotDone::Failed { place, error } => {
            tracing::error!(place, error, "a read model failed");
            // Where its file is, is nobody's business out there.
            return Problem::new(Code::ReadModelFailed, format!("the read model failed: {error}"));
        }
        NotDone::Refused(refusal) => refusal,
    };
    let of = |code| Problem::new(code, refusal.to_string());
    match refusal {
        ReadModelRefusal::Tables { .. }
        | ReadModelRefusal::ReservedTable { .. }
        | ReadModelRefusal::Declared { .. } => of(Code::InvalidProjection).with("pointer", "/tables"),
        ReadModelRefusal::Store { .. } => of(Code::InvalidProjection).with("pointer", "/store"),
        ReadModelRefusal::Statement { kind, .. } => {
            let kind = kind.replace('~', "~0").replace('/', "~1");
            of(Code::InvalidProjection).with("pointer", format!("/on/{kind}"))
        }
        ReadModelRefusal::NoTable { tables, .. } => of(Code::TableNotFound).with("tables", value!(tables)),
        ReadModelRefusal::NoColumn { columns, .. } => of(Code::InvalidQuery).with("columns", value!(columns)),
        ReadModelRefusal::InvalidQuestion { .. } | ReadModelRefusal::Sql { .. } => of(Code::InvalidQuery),
        ReadModelRefusal::TooLong { limit_ms } => of(Code::QueryTooLong).with("limit", *limit_ms),
        ReadModelRefusal::NotYet { wanted, position, stopped } => {
            behind(of(Code::ReadModelBehind).with("wanted", *wanted), *position, stopped.as_deref())
        }
        ReadModelRefusal::NotBuilt { release, position, end, stopped } => {
            let of = of(Code::ReadModelBehind).with("release", *release).with("wanted", *end);
            behind(of, *position, stopped.as_deref())
        }
    }
}

fn behind(problem: Problem, position: u64, stopped: Option<&str>) -> Problem {
    let problem = problem.with("position", position);
    match stopped {
        Some(stopped) => problem.with("stopped", stopped),
        None => problem,
    }
}

/// Asks the projections of the tenant on a thread that may wait for the disk.
pub(crate) async fn ask<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Projections) -> Result<T, NotDone> + Send + 'static,
) -> Result<T, Problem> {
    let projections = Arc::clone(&app.home.projections);
    app.home.blocking(move || Ok(work(&projections))).await?.map_err(|reason| refused(&reason))
}

/// As [`ask`], what looks at all of a read model: few do at once in a tenant.
pub(crate) async fn scan<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Projections) -> Result<T, NotDone> + Send + 'static,
) -> Result<T, Problem> {
    let projections = Arc::clone(&app.home.projections);
    app.home.scanning(move || Ok(work(&projections))).await?.map_err(|reason| refused(&reason))
}

/// Waits until the live release is as far as was asked for, without a thread.
async fn wait(app: &App, name: &str, wanted: Option<u64>, wait_ms: u64) -> Result<(), Problem> {
    let Some(wanted) = wanted else { return Ok(()) };
    let until = Instant::now() + Duration::from_millis(wait_ms);
    // Subscribed before the first look: what comes in between wakes us.
    let mut moved = app.home.projected.subscribe();
    loop {
        moved.mark_unchanged();
        let (position, stopped) = app.home.projections.position(name).map_err(|reason| refused(&reason))?;
        if position >= wanted {
            return Ok(());
        }
        let late = || refused(&ReadModelRefusal::NotYet { wanted, position, stopped }.into());
        tokio::select! {
            moved = moved.changed() => if moved.is_err() { return Err(late()) },
            () = tokio::time::sleep_until(until) => return Err(late()),
            () = app.ending() => return Err(late()),
        }
    }
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>) -> Response {
    let all = ask(&app, |projections| {
        let projections = projections.list().into_iter().map(|status| body_of(status, false)).collect();
        Ok(json(&ProjectionsAnswer { projections }))
    });
    problem::answer(all.await)
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(ask(&app, move |projections| Ok(json(&body_of(projections.status(&name)?, true)))).await)
}

pub(crate) async fn apply(Extension(app): Extension<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    problem::answer(run_apply(app, name, request).await)
}

async fn run_apply(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let is_dry_run = dry_run(query(&request))?;
    let whole = body::document(&app, request, DECLARATION_BYTES_MAX).await?;
    let (declaration, _held) = publish::parse(&app, whole, |_, bytes| read_projection(bytes)).await?;
    if declaration.name != name {
        let detail =
            format!("expected the name of the path, found {:?}", declaration.name.chars().take(64).collect::<String>());
        return Err(Problem::new(Code::InvalidProjection, detail).with("pointer", "/projection"));
    }
    app.tell(value!({ "declaration": declaration, "dryrun": is_dry_run }));
    if is_dry_run {
        ask(&app, move |projections| projections.check(&declaration)).await?;
        return Ok(json(&AppliedAnswer { release: None, live: false, outcome: "valid".into() }));
    }
    let released = ask(&app, move |projections| projections.apply(declaration)).await?;
    let outcome = if released.is_known { "known" } else { "new" }.to_owned();
    let mut response = json(&AppliedAnswer { release: Some(released.release), live: released.is_live, outcome });
    if !released.is_known {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

pub(crate) async fn remove(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let removed = ask(&app, move |projections| {
        projections.remove(&name)?;
        Ok(json(&RemovedAnswer { removed: name }))
    });
    problem::answer(removed.await)
}

pub(crate) async fn rows(
    Extension(app): Extension<Arc<App>>,
    Path((name, table)): Path<(String, String)>,
    request: Request,
) -> Response {
    problem::answer(run_rows(app, name, table, request).await)
}

async fn run_rows(app: Arc<App>, name: String, table: String, request: Request) -> Result<Response, Problem> {
    let request = RowsRequest::from_query(query(&request))?;
    let filters = request.filters.iter().map(|text| Test::parse(text)).collect::<Result<_, _>>();
    let filters = filters.map_err(|refusal| refused(&refusal.into()))?;
    wait(&app, &name, request.at_least, request.wait_ms()).await?;
    let order = request.order.iter().map(|text| Order::parse(text)).collect();
    let asked = TableQuery { filters, order, limit: request.limit(), cursor: request.cursor };
    ask(&app, move |projections| projections.rows(&name, &table, &asked).map(rows_of)).await
}

fn rows_of(Rows { columns, rows, next, is_cut, position }: Rows) -> Response {
    json(&RowsAnswer { columns, rows, cursor: next, more: is_cut, position })
}

pub(crate) async fn sql(Extension(app): Extension<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    problem::answer(run_sql(app, name, request).await)
}

async fn run_sql(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let SqlRequest { sql, parameters, limit, at_least, wait_ms } =
        read_body(&app, request, SqlRequest::from_json).await?;
    wait(&app, &name, at_least, wait_ms.unwrap_or(WAIT_MS_DEFAULT)).await?;
    let asked = SqlQuery { sql, parameters, limit: limit.unwrap_or(quipu_api::projection::ROWS_DEFAULT) };
    // Who joins large tables takes memory, and a place on the disk where it sorts: few do at once.
    scan(&app, move |projections| projections.sql(&name, &asked).map(rows_of)).await
}

pub(crate) async fn skip(Extension(app): Extension<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    problem::answer(run_skip(app, name, request).await)
}

async fn run_skip(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let body = read_body(&app, request, SkippedBody::from_json).await?;
    app.tell(value!(body));
    ask(&app, move |projections| {
        projections.skip(&name, body.position, &body.reason)?;
        Ok(json(&body_of(projections.status(&name)?, true)))
    })
    .await
}

pub(crate) async fn resume(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let resumed = ask(&app, move |projections| {
        projections.resume(&name)?;
        Ok(json(&body_of(projections.status(&name)?, true)))
    });
    problem::answer(resumed.await)
}

pub(crate) async fn switch(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_switch(app, name, WantedRelease::Next).await)
}

pub(crate) async fn revert(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_switch(app, name, WantedRelease::Previous).await)
}

async fn run_switch(app: Arc<App>, name: String, to: WantedRelease) -> Result<Response, Problem> {
    let live = ask(&app, move |projections| projections.switch(&name, to)).await?;
    app.tell(value!({ "live": live }));
    Ok(json(&SwitchedAnswer { live }))
}

pub(crate) async fn drop_next(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let dropped = ask(&app, move |projections| projections.drop_release(&name)).await;
    problem::answer(dropped.map(|dropped| json(&DroppedAnswer { dropped })))
}

pub(crate) async fn digest(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let digests = scan(&app, move |projections| projections.digests(&name)).await;
    problem::answer(digests.map(|(position, tables)| {
        json(&DigestAnswer { position, tables: tables.into_iter().map(digest_of).collect() })
    }))
}

pub(crate) async fn compare(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let compared = scan(&app, move |projections| projections.compare(&name)).await;
    problem::answer(compared.map(|compared| {
        json(&ComparisonAnswer {
            equal: compared.is_equal(),
            live: compared.live,
            next: compared.next,
            position: compared.position,
            tables: compared.tables.into_iter().map(comparison_of).collect(),
        })
    }))
}

fn digest_of(TableDigest { table, rows, digest }: TableDigest) -> TableDigestBody {
    TableDigestBody { table, rows, digest }
}

fn comparison_of(table: TableComparison) -> TableComparisonBody {
    let difference = |Difference { key, live, next, .. }: Difference| DifferenceBody { key, live, next };
    TableComparisonBody {
        equal: table.is_equal(),
        table: table.table,
        live: table.live.map(digest_of),
        next: table.next.map(digest_of),
        columns_gone: table.columns_gone,
        columns_new: table.columns_new,
        differing: table.differing,
        differences: table.differences.into_iter().map(difference).collect(),
    }
}

fn body_of(status: ProjectionStatus, is_whole: bool) -> ProjectionAnswer {
    let end = status.end;
    ProjectionAnswer {
        name: status.name,
        live: status.live,
        end,
        releases: status.releases.into_iter().map(|release| release_of(release, end, is_whole)).collect(),
        skipped: status.skipped.into_iter().map(|(position, reason)| SkippedBody { position, reason }).collect(),
    }
}

fn release_of(release: ReleaseStatus, end: u64, is_whole: bool) -> ReleaseBody {
    let (state, failed, error) = match release.phase {
        Phase::Following => (ReleaseState::Following, None, None),
        Phase::Building => (ReleaseState::Building, None, None),
        Phase::Stopped(event) => {
            let failed = FailedBody {
                position: event.position,
                source: event.source,
                id: event.id,
                kind: event.kind,
                statement: event.statement,
                error: event.error,
            };
            (ReleaseState::Stopped, Some(failed), None)
        }
        Phase::Failing { error } => (ReleaseState::Failing, None, Some(error)),
    };
    ReleaseBody {
        release: release.number,
        declared_time: release.at.to_string(),
        state,
        position: release.position,
        behind: end.saturating_sub(release.position),
        rate: release.rate.map(|rate| rate as u64),
        eta_seconds: release.eta_s,
        bytes: release.bytes,
        failed,
        error,
        declaration: release.declaration.filter(|_| is_whole).map(|declaration| declaration.as_ref().clone()),
    }
}
