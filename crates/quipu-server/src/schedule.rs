//! Schedules: declaring them, looking at them, and stopping them for a while.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::request::{PageRequest, ScheduleRequest, cursor_after};
use quipu_api::schedule::{
    AppliedScheduleAnswer, PublishedTick, RefusedTick, RemovedSchedule, SCHEDULE_BYTES_MAX, ScheduleBody, ScheduleWord,
    SchedulesPage, TICKS_TOLD_DEFAULT, invalid, read_schedule,
};
use quipu_api::{Code, Problem};
use quipu_domain::{Access, Permission, Timestamp};
use quipu_engine::{NotDone, ScheduleInfo, ScheduleRefusal, ScheduleState, Tenant};
use serde_json::json as value;

use crate::read::query;
use crate::refusal::{ask, clip};
use crate::subscription::json;
use crate::{App, body, problem, publish};

/// A refusal as the public sees it.
pub(crate) fn refused(refusal: &ScheduleRefusal) -> Problem {
    match refusal {
        ScheduleRefusal::NotFound { name } => {
            let detail = format!("expected a declared schedule, found none with the name {}", clip(name));
            Problem::new(Code::ScheduleNotFound, detail).with("name", clip(name))
        }
        ScheduleRefusal::Invalid(_) | ScheduleRefusal::InvalidJq { .. } => invalid(refusal.to_string()),
        ScheduleRefusal::TooMany { limit } => {
            Problem::new(Code::TooManySchedules, refusal.to_string()).with("limit", *limit)
        }
    }
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = PageRequest::from_query(query(&request))?;
    let (after, limit) = (asked.after_name()?, asked.limit());
    let access = app.access().clone();
    ask(&app, move |tenant| {
        let page = tenant.schedules(after.as_deref(), limit)?;
        let of_list = |info| ScheduleBody { declaration: None, ..shown(info, &access) };
        let cursor = page.next.as_deref().map(cursor_after);
        let schedules = page.schedules.into_iter().map(of_list).collect();
        Ok(json(&SchedulesPage { schedules, total: page.total, cursor }))
    })
    .await
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    problem::answer(run_get(app, name, request).await)
}

async fn run_get(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let ticks = ScheduleRequest::to_show(query(&request))?.ticks();
    let access = app.access().clone();
    ask(&app, move |tenant| Ok(json(&shown(found(tenant, name, ticks)?, &access)))).await
}

fn found(tenant: &Arc<Tenant>, name: String, ticks: usize) -> Result<ScheduleInfo, NotDone> {
    tenant.schedule(&name, ticks)?.ok_or_else(|| ScheduleRefusal::NotFound { name }.into())
}

pub(crate) async fn apply(Extension(app): Extension<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    problem::answer(run_apply(app, name, request).await)
}

async fn run_apply(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let asked = ScheduleRequest::to_apply(query(&request))?;
    let whole = body::document(&app, request, SCHEDULE_BYTES_MAX).await?;
    let (schedule, _held) = publish::parse(&app, whole, |_, bytes| read_schedule(bytes)).await?;
    if schedule.name != name {
        return Err(invalid(format!("/schedule: expected the name of the path, found {:?}", clip(&schedule.name))));
    }
    app.tell(value!({ "declaration": schedule, "dryrun": asked.is_dry_run }));
    let applied = ask(&app, move |tenant| tenant.apply_schedule(schedule, asked.ticks(), asked.is_dry_run)).await?;
    let outcome = match (asked.is_dry_run, applied.is_new) {
        (true, _) => "valid",
        (false, true) => "new",
        (false, false) => "known",
    };
    let answer = AppliedScheduleAnswer {
        version: applied.version,
        outcome: outcome.to_owned(),
        next_ticks: texts(&applied.ticks),
    };
    let mut response = json(&answer);
    if applied.is_new {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

pub(crate) async fn remove(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let removed = ask(&app, move |tenant| {
        tenant.remove_schedule(&name)?;
        Ok(json(&RemovedSchedule { removed: name }))
    });
    problem::answer(removed.await)
}

pub(crate) async fn pause(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_act(app, name, |tenant, name| tenant.pause_schedule(name)).await)
}

pub(crate) async fn resume(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_act(app, name, |tenant, name| tenant.resume_schedule(name)).await)
}

async fn run_act(
    app: Arc<App>,
    name: String,
    act: impl FnOnce(&Arc<Tenant>, &str) -> Result<bool, NotDone> + Send + 'static,
) -> Result<Response, Problem> {
    let access = app.access().clone();
    ask(&app, move |tenant| {
        act(tenant, &name)?;
        Ok(json(&shown(found(tenant, name, TICKS_TOLD_DEFAULT)?, &access)))
    })
    .await
}

fn texts(ticks: &[Timestamp]) -> Vec<String> {
    ticks.iter().map(Timestamp::to_string).collect()
}

fn shown(info: ScheduleInfo, access: &Access) -> ScheduleBody {
    // What a schema or jq says quotes data.
    let is_told = access.has_whole(Permission::Read);
    let error = info
        .error
        .map(|error| RefusedTick { tick: error.tick.to_string(), reason: Some(error.reason).filter(|_| is_told) });
    ScheduleBody {
        name: info.declaration.name.clone(),
        version: info.version,
        declared_time: info.declared.to_string(),
        state: match info.state {
            ScheduleState::Active => ScheduleWord::Active,
            ScheduleState::Failing => ScheduleWord::Failing,
            ScheduleState::Paused => ScheduleWord::Paused,
            ScheduleState::Ended => ScheduleWord::Ended,
        },
        kind: info.declaration.event.kind.clone(),
        next_ticks: texts(&info.ticks),
        newest: info.newest.map(|(tick, position)| PublishedTick { tick: tick.to_string(), position }),
        published: info.published,
        dropped: info.dropped,
        refused: info.refused,
        error,
        stuck: info.stuck,
        declaration: Some(Arc::unwrap_or_clone(info.declaration)),
    }
}
