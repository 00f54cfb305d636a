//! Operations on many dead letters: previewed, confirmed, cancelled and tracked. What they do is the engine's. Replays and acts on
//! instances are previewed elsewhere.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::deadletter::DiscardRequest;
use quipu_api::operation::{ItemBody, ItemWord, ItemsRequest, OperationWord, RedriveWork, SelectBody, WorkBody};
use quipu_api::{ItemsAnswer, OperationAnswer, OperationsAnswer, PreviewAnswer, PreviewRequest, Problem};
use quipu_domain::Permission;
use quipu_domain::delivery::RateLimit;
use quipu_domain::limits::PAGE_EVENTS_DEFAULT;
use quipu_engine::{
    DeadLetterFilter, Item, ItemOutcome, NotDone, OperationInfo, OperationState, PREVIEW_MS, Selection, Tenant, Work,
};

use crate::deadletter::{body_of, id};
use crate::read::query;
use crate::refusal::ask;
use crate::subscription::{json, read_body};
use crate::{App, intervention, problem, replay};

pub(crate) async fn preview(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_preview(app, request).await)
}

async fn run_preview(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = read_body(&app, request, PreviewRequest::from_json).await?;
    let rate = asked.rate_per_second.map(rate);
    let (work, selection) = (work(asked.work)?, selection(asked.select));
    let answer = ask(&app, move |tenant| {
        let (info, sample) = tenant.preview_operation(work, &selection, rate)?;
        let confirm_before = info.time.plus_ms(PREVIEW_MS).to_string();
        let sample = sample.iter().map(|line| body_of(line)).collect();
        Ok(PreviewAnswer { operation: answer(&info), confirm_before, sample })
    })
    .await?;
    let told = serde_json::to_value(&answer.operation).expect("a wire type is JSON");
    app.tell_of(format!("operations/{}", answer.operation.id), told);
    let mut response = json(&answer);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// A tenth of a second's worth may go at once: the engine comes by every few milliseconds, and a burst of one would hold
/// it to one item each time.
pub(crate) fn rate(per_second: f64) -> RateLimit {
    // A number that is no rate becomes a burst all the same, and the engine refuses the rate.
    RateLimit { per_second, burst: ((per_second / 10.0).ceil() as u32).max(1) }
}

fn work(work: WorkBody) -> Result<Work, Problem> {
    match work {
        WorkBody::Redrive(RedriveWork { to }) => Ok(Work::Redrive { to }),
        WorkBody::Discard(DiscardRequest { reason }) => Ok(Work::Discard { reason }),
        WorkBody::Replay(_) => Err(Problem::pointer("/work", "expected redrive or discard, found replay")),
        WorkBody::Saga(_) => Err(Problem::pointer("/work", "expected redrive or discard, found saga")),
    }
}

fn selection(select: SelectBody) -> Selection {
    let SelectBody { ids, subscription, kind, fingerprint } = select;
    match ids {
        Some(ids) => Selection::Ids(ids),
        None => Selection::Matching(DeadLetterFilter { subscription, kind, fingerprint, with_decided: false }),
    }
}

pub(crate) async fn confirm(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_confirm(app, request).await)
}

async fn run_confirm(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    if let Some(work) = demand_work(&app, id(&request)?).await? {
        replay::demand_for_confirming(&app, &work)?;
    }
    step(app, request, Tenant::confirm_operation).await
}

pub(crate) async fn cancel(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_step(app, request, Tenant::cancel_operation).await)
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_step(app, request, |tenant, id| Ok(tenant.operation(id)?)).await)
}

/// What an operation does, if the caller may know of it: the catalogue asks for one of two permissions.
async fn demand_work(app: &App, id: u64) -> Result<Option<Work>, Problem> {
    let work = ask(app, move |tenant| Ok(tenant.operation(id).ok().map(|info| info.work))).await?;
    if let Some(work) = &work {
        app.demand_whole(permission_for(work))?;
    }
    Ok(work)
}

fn permission_for(work: &Work) -> Permission {
    match work {
        Work::Redrive { .. } | Work::Discard { .. } | Work::Replay(_) => Permission::Redrive,
        Work::Saga { .. } => Permission::Intervene,
    }
}

async fn run_step(
    app: Arc<App>,
    request: Request,
    done: impl FnOnce(&Arc<Tenant>, u64) -> Result<OperationInfo, NotDone> + Send + 'static,
) -> Result<Response, Problem> {
    demand_work(&app, id(&request)?).await?;
    step(app, request, done).await
}

/// The operation in the path, after something was done with it.
async fn step(
    app: Arc<App>,
    request: Request,
    step: impl FnOnce(&Arc<Tenant>, u64) -> Result<OperationInfo, NotDone> + Send + 'static,
) -> Result<Response, Problem> {
    let id = id(&request)?;
    ask(&app, move |tenant| Ok(json(&answer(&step(tenant, id)?)))).await
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>) -> Response {
    let access = app.access().clone();
    let all = ask(&app, move |tenant| {
        let all = tenant.operations();
        let seen = all.iter().filter(|info| access.has_whole(permission_for(&info.work)));
        Ok(json(&OperationsAnswer { operations: seen.map(answer).collect() }))
    });
    problem::answer(all.await)
}

pub(crate) async fn items(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_items(app, request).await)
}

async fn run_items(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id = id(&request)?;
    demand_work(&app, id).await?;
    let ItemsRequest { from, limit } = ItemsRequest::from_query(query(&request))?;
    ask(&app, move |tenant| {
        let limit = limit.unwrap_or(PAGE_EVENTS_DEFAULT);
        let total = tenant.operation(id)?.total;
        // Past the end there is nothing, however far.
        let items = tenant.operation_items(id, from.min(total) as usize, limit)?;
        let end = from.saturating_add(items.len() as u64);
        // A replay has a total, and no items.
        let next = (end < total && !items.is_empty()).then_some(end);
        Ok(json(&ItemsAnswer { items: items.into_iter().map(item).collect(), next }))
    })
    .await
}

fn item(item: Item) -> ItemBody {
    let (outcome, error) = match item.outcome {
        ItemOutcome::Waiting => (ItemWord::Waiting, None),
        ItemOutcome::Done => (ItemWord::Done, None),
        ItemOutcome::Refused { reason } => (ItemWord::Refused, reason),
    };
    ItemBody { id: item.id, outcome, error }
}

pub(crate) fn answer(info: &OperationInfo) -> OperationAnswer {
    OperationAnswer {
        id: info.id,
        state: word(info.state),
        work: match &info.work {
            Work::Redrive { to } => WorkBody::Redrive(RedriveWork { to: to.clone() }),
            Work::Discard { reason } => WorkBody::Discard(DiscardRequest { reason: reason.clone() }),
            Work::Replay(work) => replay::work(work),
            Work::Saga { act, reason } => intervention::work(act, reason),
        },
        rate_per_second: info.rate.map(|rate| rate.per_second),
        total: info.total,
        done: info.done,
        refused: info.refused,
        time: info.time.to_string(),
        ended: info.ended.map(|time| time.to_string()),
        remaining_seconds: info.remaining_ms.map(|ms| ms.div_ceil(1_000)),
        problem: info.problem.clone(),
        replay: info.replay.as_ref().map(replay::body),
    }
}

fn word(state: OperationState) -> OperationWord {
    match state {
        OperationState::Previewed => OperationWord::Previewed,
        OperationState::Running => OperationWord::Running,
        OperationState::Finished => OperationWord::Finished,
        OperationState::Cancelled => OperationWord::Cancelled,
    }
}
