//! The secrets of a subscription that pushes and of a saga that calls, and how an endpoint is. What a secret is and how long it is good is said in
//! `secrets`; when an endpoint is tried, in `pusher`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_api::secret::{CircuitWord, SecretLine};
use quipu_api::{Code, EndpointAnswer, Problem, RotateAnswer, RotateRequest, SecretsAnswer};
use quipu_domain::Timestamp;
use quipu_domain::delivery::CircuitState;
use serde::Serialize;

use crate::pusher::Standing;
use crate::refusal::{ask, ask_pushers};
use crate::secrets::SecretInfo;
use crate::webhook::Secret;
use crate::{App, answer, body, problem};

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(
        ask_pushers(&app, "", move |pushers, tenant| {
            let secrets = lines(&pushers.secrets(&name)?, tenant.now());
            Ok(SecretsAnswer { name, secrets })
        })
        .await
        .map(|found| json(&found)),
    )
}

pub(crate) async fn rotate(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_rotate(app, name, request).await)
}

async fn run_rotate(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let whole = body::json(&app, request).await?;
    let given = read(&whole.bytes)?;
    let rotated = ask_pushers(&app, "", move |pushers, tenant| {
        let is_given = given.is_some();
        let (_, secret) = pushers.rotate(&name, given)?;
        let secret = (!is_given).then(|| secret.expose().to_string());
        let secrets = lines(&pushers.secrets(&name)?, tenant.now());
        Ok(RotateAnswer { name, secret, secrets })
    });
    Ok(json(&rotated.await?))
}

pub(crate) async fn list_of_saga(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let callers = Arc::clone(&app.home.callers);
    let found = ask(&app, move |tenant| {
        let secrets = lines(&callers.secrets(&name)?, tenant.now());
        Ok(SecretsAnswer { name, secrets })
    });
    problem::answer(found.await.map(|found| json(&found)))
}

pub(crate) async fn rotate_of_saga(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_rotate_of_saga(app, name, request).await)
}

async fn run_rotate_of_saga(app: Arc<App>, name: String, request: Request) -> Result<Response, Problem> {
    let whole = body::json(&app, request).await?;
    let given = read(&whole.bytes)?;
    let callers = Arc::clone(&app.home.callers);
    let rotated = ask(&app, move |tenant| {
        let is_given = given.is_some();
        let secret = callers.rotate(&name, given)?;
        let secret = (!is_given).then(|| secret.expose().to_string());
        let secrets = lines(&callers.secrets(&name)?, tenant.now());
        Ok(RotateAnswer { name, secret, secrets })
    });
    Ok(json(&rotated.await?))
}

/// The secret of a body, if it has one. No part of the body is repeated.
fn read(bytes: &[u8]) -> Result<Option<Secret>, Problem> {
    let expected = "an object with the member secret, a text, or without members";
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::pointer("", format!("expected {expected}, found an array")));
    }
    let request: RotateRequest = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Problem::pointer("", format!("expected {expected}, found something else")),
        _ => Problem::new(Code::MalformedJson, "expected JSON, found something else")
            .with("line", error.line())
            .with("column", error.column()),
    })?;
    let secret = request.secret.map(|text| Secret::parse(text.expose())).transpose();
    secret.map_err(|invalid| Problem::new(Code::InvalidSecret, invalid.to_string()).with("pointer", "/secret"))
}

pub(crate) async fn endpoint(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(
        ask_pushers(&app, "", move |pushers, _| {
            let standing = pushers.standing(&name)?;
            Ok(endpoint_answer(name, standing))
        })
        .await
        .map(|found| json(&found)),
    )
}

/// Whether an endpoint is tried, and when it is tried next, if that is known.
pub(crate) fn circuit(standing: &Standing) -> (CircuitWord, Option<Timestamp>) {
    match standing.circuit {
        CircuitState::Closed => (CircuitWord::Closed, standing.limited_until),
        CircuitState::Open { until } => (CircuitWord::Open, Some(until)),
        CircuitState::Probing => (CircuitWord::Probing, None),
    }
}

fn endpoint_answer(name: String, standing: Standing) -> EndpointAnswer {
    let (circuit, until) = circuit(&standing);
    EndpointAnswer {
        name,
        sentence: standing.sentence(),
        endpoint: standing.endpoint,
        circuit,
        until: until.map(|until| until.to_string()),
        in_hand: standing.in_hand as u64,
    }
}

fn lines(secrets: &[SecretInfo], now: Timestamp) -> Vec<SecretLine> {
    let line = |info: &SecretInfo| SecretLine {
        id: info.id,
        created: info.made.to_string(),
        age_seconds: (now.0.saturating_sub(info.made.0) / 1_000_000).max(0).unsigned_abs(),
        until: info.until.map(|until| until.to_string()),
    };
    secrets.iter().map(line).collect()
}

fn json(found: &impl Serialize) -> Response {
    answer::json(serde_json::to_vec(found).expect("an answer is JSON"))
}
