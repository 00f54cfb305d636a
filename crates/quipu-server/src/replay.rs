//! Replays: previewed here, and then operations like others. What they do is the engine's.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::operation::WorkBody;
use quipu_api::replay::{
    ReplayBody, ReplayFailureBody, ReplayOutcomeWord, ReplayPreviewAnswer, ReplayRequest, ReplayVerdictBody,
    ReplayWork, ShadowBody, TypeCountBody,
};
use quipu_api::{OperationAnswer, Problem};
use quipu_domain::Permission;
use quipu_engine::{
    NewReplay, PREVIEW_MS, Replay, ReplayFailure, ReplayInfo, ReplayOutcome, ReplayReport, ReplayVerdict, Shadow, Work,
};

use crate::refusal::scan;
use crate::subscription::{json, read_body};
use crate::{App, operation, problem};

pub(crate) async fn preview(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_preview(app, request).await)
}

async fn run_preview(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = read_body(&app, request, ReplayRequest::from_json).await?;
    if let Some(shadow) = &asked.shadow {
        demand_shadow(&app, &asked.to, shadow)?;
    }
    let rate = asked.rate_per_second.map(operation::rate);
    let asked = NewReplay {
        to: asked.to,
        shadow: asked.shadow.map(|ShadowBody { of }| Shadow { of }),
        from: asked.from,
        until: asked.until,
        pattern: asked.pattern,
        is_strict: asked.strict,
        speed: asked.speed,
        webhooks: asked.webhooks,
    };
    // Dropped with this when the client has left: nobody counts on for him.
    let here = Arc::new(());
    let is_here = Arc::downgrade(&here);
    let (answer, confirm_before, report) = scan(&app, move |tenant| {
        let (info, report) = tenant.preview_replay(&asked, rate, &|| is_here.strong_count() > 0)?;
        Ok((operation::answer(&info), info.time.plus_ms(PREVIEW_MS).to_string(), report))
    })
    .await?;
    drop(here);
    let told = serde_json::to_value(&answer).expect("a wire type is JSON");
    app.tell_of(format!("operations/{}", answer.id), told);
    let mut response = json(&previewed(answer, confirm_before, report));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Who makes a subscription like another sees how that is defined.
fn demand_shadow(app: &App, name: &str, shadow: &ShadowBody) -> Result<(), Problem> {
    app.demand_for(Permission::Manage, name)?;
    shadow.of.as_deref().map_or(Ok(()), |of| app.demand_for(Permission::Manage, of))
}

/// What confirming an operation asks for beyond the permission to: as much as previewing a replay did.
pub(crate) fn demand_for_confirming(app: &App, work: &Work) -> Result<(), Problem> {
    let Work::Replay(replay) = work else { return Ok(()) };
    app.demand(Permission::Replay)?;
    if replay.shadow.is_some() { app.demand_for(Permission::Manage, &replay.to) } else { Ok(()) }
}

fn previewed(operation: OperationAnswer, confirm_before: String, report: ReplayReport) -> ReplayPreviewAnswer {
    let failure = |ReplayFailure { position, kind, detail }| ReplayFailureBody { position, kind, detail };
    ReplayPreviewAnswer {
        operation,
        confirm_before,
        types: report.types.of.into_iter().map(|(kind, events)| TypeCountBody { kind, events }).collect(),
        other_types: report.types.others,
        failing: report.failing,
        failures: report.failures.into_iter().map(failure).collect(),
        calls_endpoint: report.calls_endpoint,
    }
}

pub(crate) fn work(replay: &Replay) -> WorkBody {
    WorkBody::Replay(ReplayWork {
        to: replay.to.clone(),
        shadow: replay.shadow.is_some(),
        from: replay.from,
        until: replay.until,
        pattern: replay.pattern.clone().and_then(|text| serde_json::from_str(&text).ok()),
        strict: replay.is_strict,
        speed: replay.speed,
        webhooks: replay.webhooks,
    })
}

pub(crate) fn body(info: &ReplayInfo) -> ReplayBody {
    let counts = &info.counts;
    ReplayBody {
        position: counts.looked_to,
        handed: counts.handed,
        waiting: counts.waiting(),
        acknowledged: counts.acknowledged,
        dead_lettered: counts.dead_lettered,
        forgotten: counts.forgotten,
        per_second: info.per_second,
        problem: info.problem.clone(),
        verdict: info.verdict.as_ref().map(verdict),
    }
}

fn verdict(verdict: &ReplayVerdict) -> ReplayVerdictBody {
    ReplayVerdictBody {
        outcome: match verdict.outcome {
            ReplayOutcome::Acknowledged => ReplayOutcomeWord::Acknowledged,
            ReplayOutcome::DeadLettered => ReplayOutcomeWord::DeadLettered,
            ReplayOutcome::Incomplete => ReplayOutcomeWord::Incomplete,
        },
        reason: verdict.reason.clone(),
        withdrawn: verdict.withdrawn,
        from_head: verdict.from.to_string(),
        until_head: verdict.to.to_string(),
    }
}
