//! Keys: making, rotating and revoking them, and what a credential may do.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::Problem;
use quipu_api::key::{AccessAnswer, CreateKey, KeyAnswer, KeysAnswer, RevokedAnswer, RotateKey};
use quipu_domain::access::KeySecret;
use quipu_engine::{KeyInfo, NewKey};
use serde_json::json as value;

use crate::admission::Caller;
use crate::refusal::ask;
use crate::subscription::{json, read_body};
use crate::{App, problem};

pub(crate) async fn create(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_create(app, request).await)
}

async fn run_create(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let CreateKey { name, grants, user, certificate, life_ms } = read_body(&app, request, CreateKey::from_json).await?;
    let new = NewKey { name, grants, user, certificate, life_ms };
    let (info, secret) = ask(&app, move |tenant| tenant.create_key(new)).await?;
    let key = key_answer(info.clone());
    app.tell_of(format!("keys/{}", info.id), serde_json::to_value(&key).expect("a wire type is JSON"));
    let mut response = shown(&app, info, &secret);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>) -> Response {
    json(&KeysAnswer { keys: app.tenant.keys().into_iter().map(key_answer).collect() })
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, Path(id): Path<String>) -> Response {
    problem::answer(ask(&app, move |tenant| Ok(json(&key_answer(tenant.key(&id)?)))).await)
}

pub(crate) async fn rotate(Extension(app): Extension<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    problem::answer(run_rotate(app, id, request).await)
}

async fn run_rotate(app: Arc<App>, id: String, request: Request) -> Result<Response, Problem> {
    let RotateKey { keep_ms } = read_body(&app, request, RotateKey::from_json).await?;
    let (info, secret) = ask(&app, move |tenant| tenant.rotate_key(&id, keep_ms)).await?;
    app.tell(value!({ "name": info.name, "keepms": keep_ms }));
    Ok(shown(&app, info, &secret))
}

pub(crate) async fn revoke(Extension(app): Extension<Arc<App>>, Path(id): Path<String>) -> Response {
    let revoked = ask(&app, move |tenant| {
        tenant.revoke_key(&id)?;
        Ok(json(&RevokedAnswer { revoked: id }))
    });
    problem::answer(revoked.await)
}

pub(crate) async fn access(Extension(app): Extension<Arc<App>>) -> Response {
    let (grants, user) = (app.access().grants().to_vec(), app.access().user().map(str::to_owned));
    let answer = AccessAnswer { tenant: app.home.name.clone(), grants, user, ..AccessAnswer::default() };
    json(&match &app.caller {
        Caller::Anybody => answer,
        Caller::Key(shown) => {
            let (id, name) = (shown.key().id().to_owned(), shown.key().name().to_owned());
            AccessAnswer { id: Some(id), name: Some(name), ..answer }
        }
        Caller::Token(verified) => {
            let (issuer, subject) = (verified.issuer().to_owned(), verified.subject().to_owned());
            let expires = Some(verified.until().to_string());
            AccessAnswer { issuer: Some(issuer), subject: Some(subject), expires, ..answer }
        }
    })
}

/// The answer that has the text of the key, this once.
fn shown(app: &App, info: KeyInfo, secret: &KeySecret) -> Response {
    let key = Some(secret.token(&app.home.name, &info.id).to_string());
    json(&KeyAnswer { key, ..key_answer(info) })
}

/// A key as it goes over the wire, and as the command line shows one of a folder.
pub fn key_answer(info: KeyInfo) -> KeyAnswer {
    let KeyInfo { id, name, grants, user, certificate, made, expires, rotating_until, used } = info;
    let (made, expires) = (made.to_string(), expires.map(|time| time.to_string()));
    let (rotating_until, used) = (rotating_until.map(|time| time.to_string()), used.map(|time| time.to_string()));
    KeyAnswer { id, name, grants, user, certificate, made, expires, rotating_until, used, key: None }
}
