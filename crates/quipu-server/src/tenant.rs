//! Tenants, for operators: what they are, and what is done to them.

mod act;
mod export;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::Problem;
use quipu_api::request::confirmed;
use quipu_api::tenant::{
    CreateTenant, CreatedTenantAnswer, DeletedTenantAnswer, SuspendTenant, TenantAnswer, TenantUsage, TenantsAnswer,
    quotas_from_json,
};
use quipu_engine::{TenantInfo, TenantState};

pub(crate) use export::export;

use crate::key::key_answer;
use crate::subscription::{json, read_body};
use crate::{App, problem, read};

pub(crate) async fn create(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_create(app, request).await)
}

async fn run_create(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let CreateTenant { name, quotas } = read_body(&app, request, CreateTenant::from_json).await?;
    let (info, key, secret) = Arc::clone(&app.host).create_tenant(name, quotas).await?;
    let text = Some(secret.token(&info.name, &key.id).to_string());
    let key = quipu_api::key::KeyAnswer { key: text, ..key_answer(key) };
    let told = serde_json::json!({ "quotas": info.quotas, "key": key.id });
    app.tell_of(format!("tenants/{}", info.name), told);
    let mut response = json(&CreatedTenantAnswer { tenant: tenant_answer(info), key });
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>) -> Response {
    let all = app.host.tell(|engine| Ok(engine.tenants()?)).await;
    problem::answer(all.map(|all| json(&TenantsAnswer { tenants: all.into_iter().map(tenant_answer).collect() })))
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_get(app, name).await)
}

async fn run_get(app: Arc<App>, name: String) -> Result<Response, Problem> {
    let (info, used) =
        app.host.tell(move |engine| Ok((engine.tenant_info(&name)?, engine.tenant_usage(&name)?))).await?;
    let connections = app.host.homes.get(&info.name).map_or(0, |home| home.meter.connections());
    let usage = used.map(|used| TenantUsage {
        position: used.position,
        storage_bytes: used.storage_bytes,
        subscriptions: used.subscriptions,
        keys: used.keys,
        connections,
    });
    Ok(json(&TenantAnswer { usage, ..tenant_answer(info) }))
}

pub(crate) async fn suspend(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_suspend(app, name, request).await)
}

async fn run_suspend(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let SuspendTenant { reason } = read_body(&app, request, SuspendTenant::from_json).await?;
    app.tell(serde_json::json!({ "reason": reason }));
    let info = Arc::clone(&app.host).suspend_tenant(name, reason).await?;
    Ok(json(&tenant_answer(info)))
}

pub(crate) async fn resume(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let resumed = Arc::clone(&app.host).resume_tenant(name).await;
    problem::answer(resumed.map(|info| json(&tenant_answer(info))))
}

pub(crate) async fn limit(Extension(app): Extension<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    problem::answer(run_limit(app, name, request).await)
}

async fn run_limit(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let quotas = read_body(&app, request, quotas_from_json).await?;
    app.tell(serde_json::json!({ "quotas": quotas }));
    let info = Arc::clone(&app.host).limit_tenant(name, quotas).await?;
    Ok(json(&tenant_answer(info)))
}

pub(crate) async fn delete(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_delete(app, name, request).await)
}

async fn run_delete(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    confirmed(read::query(&request), &name)?;
    drop(request);
    let deleted = Arc::clone(&app.host).delete_tenant(name).await?;
    Ok(json(&DeletedTenantAnswer { deleted }))
}

/// A tenant as it goes over the wire.
fn tenant_answer(info: TenantInfo) -> TenantAnswer {
    let TenantInfo { name, state, since, made, quotas } = info;
    let word = state.as_str().to_owned();
    let reason = match state {
        TenantState::Suspended { reason } => Some(reason),
        _ => None,
    };
    TenantAnswer { name, state: word, reason, since: since.to_string(), made: made.to_string(), quotas, usage: None }
}
