//! Writing down what is done and refused. An administrative act goes through here between its gate and its handler: it begins in
//! the trail before the handler runs and ends there before the answer goes out. What else is refused is noted where it is
//! refused.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::extract::Request;
use axum::http::{HeaderValue, Uri};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use quipu_api::catalogue::Method;
use quipu_api::{Code, Operation, Problem};
use quipu_engine::{Act, Actor, Ended, Tenant};
use serde_json::Value;

use crate::admission::{Caller, Peer};
use crate::{App, body, problem};

/// What a request in another dialect would ask for in ours, so that the trail says so.
#[derive(Clone)]
pub(crate) struct Meant(pub Uri);

/// What a request is, for the trail.
pub(crate) struct Asked {
    operation: &'static Operation,
    address: Option<IpAddr>,
    /// What the subject and the correlation are read from, once something is written down: most requests leave nothing.
    uri: Uri,
    own_correlation: Option<HeaderValue>,
    trace: Option<HeaderValue>,
    /// Its act stands in the trail: its refusal will, too.
    is_begun: AtomicBool,
    is_refusal_noted: AtomicBool,
    told: OnceLock<Told>,
}

/// What a handler says of an act, beyond what the request says.
struct Told {
    subject: Option<String>,
    details: Value,
}

/// A refusal that an answer carries.
#[derive(Clone)]
pub(crate) struct Said {
    pub code: Code,
    pub detail: String,
}

impl Asked {
    pub fn of(operation: &'static Operation, request: &Request) -> Self {
        let meant = request.extensions().get::<Meant>().map(|Meant(uri)| uri);
        Self {
            operation,
            address: request.extensions().get::<Peer>().map(|Peer(address)| address.ip().to_canonical()),
            uri: meant.unwrap_or(request.uri()).clone(),
            own_correlation: request.headers().get("ce-correlationid").cloned(),
            trace: request.headers().get("traceparent").cloned(),
            is_begun: AtomicBool::new(false),
            is_refusal_noted: AtomicBool::new(false),
            told: OnceLock::new(),
        }
    }

    /// Takes note in a tenant's trail that this was refused, without waiting.
    pub fn note_refusal(&self, tenant: &Tenant, actor: Actor, problem: &Problem) {
        if !self.is_begun.load(Ordering::Relaxed) {
            let ended = Ended::refused(Some(&problem.code), problem.detail.clone());
            tenant.note_refusal(self.act(tenant, actor), ended);
            self.is_refusal_noted.store(true, Ordering::Relaxed);
        }
    }

    fn act(&self, tenant: &Tenant, actor: Actor) -> Act {
        Act {
            address: self.address.map(|address| address.to_string()),
            correlation: correlation(self.own_correlation.as_ref(), self.trace.as_ref()),
            ..tenant.act(self.operation.name, actor, subject(self.operation, self.uri.path()))
        }
    }
}

/// Serves a request that was let in.
pub(crate) async fn serve(app: Arc<App>, request: Request, next: Next) -> Response {
    if app.asked.operation.is_audited() {
        return act(app, request, next).await;
    }
    let response = next.run(request).await;
    write_refusals(&app).await;
    response
}

/// Writes down what of a request was refused, before its answer goes out: who was refused may ask for the trail next.
pub(crate) async fn write_refusals(app: &App) {
    if app.asked.is_refusal_noted.load(Ordering::Relaxed) {
        let tenant = Arc::clone(&app.tenant);
        // It is tried again by itself; what is refused is refused whether or not that stands anywhere.
        _ = problem::blocking(move || tenant.write_refusals()).await;
    }
}

/// An act is done and written down whether or not its client waits for the answer, and the server ends after it.
async fn act(app: Arc<App>, request: Request, next: Next) -> Response {
    let running = Arc::clone(&app.host.acts).read_owned().await;
    let done = tokio::spawn(async move {
        let response = run(app, request, next).await;
        drop(running);
        response
    });
    done.await.unwrap_or_else(|_| problem::respond(&problem::no_answer()))
}

async fn run(app: Arc<App>, request: Request, next: Next) -> Response {
    let mut act = app.asked.act(&app.tenant, app.caller.actor());
    // What only reads begins with its end: before it nothing has happened.
    let is_reading = app.asked.operation.method == Method::Get;
    if !is_reading {
        let (tenant, act) = (Arc::clone(&app.tenant), act.clone());
        if let Err(problem) = app.home.blocking(move || tenant.begin_act(&act)).await {
            body::linger(request.into_body());
            return problem::respond(&problem);
        }
    }
    app.asked.is_begun.store(true, Ordering::Relaxed);
    // A handler that fails in a way that nobody thought of has ended as well.
    let handled = tokio::spawn(async move { next.run(request).await }).await;
    let response = handled.unwrap_or_else(|_| {
        problem::respond(&Problem::new(Code::Internal, "the operation failed; the log of the server says why"))
    });
    if let Some(Told { subject, details }) = app.asked.told.get() {
        act.details = details.clone();
        if let Some(subject) = subject {
            act.subject.clone_from(subject);
        }
    }
    let (tenant, ended) = (Arc::clone(&app.tenant), ended(&response));
    let written = app.home.blocking(move || tenant.end_act(&act, &ended)).await;
    app.asked.is_begun.store(false, Ordering::Relaxed);
    match written {
        // Who reads without that it stands there learns nothing; what was done cannot be taken back, and stands there as begun.
        Err(problem) if is_reading => problem::respond(&problem),
        _ => response,
    }
}

/// Leaves of a URL what the trail tells: its scheme and its host.
pub(crate) fn without_path(url: &mut String) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    url.truncate(end);
}

fn ended(response: &Response) -> Ended {
    let said = response.extensions().get::<Said>();
    let (code, detail) = (said.map(|said| said.code.slug()), said.map(|said| said.detail.clone()).unwrap_or_default());
    match response.status().as_u16() {
        ..400 => Ended::done(),
        400..500 => Ended::refused(code, detail),
        _ => Ended::failed(code, detail),
    }
}

impl App {
    /// Says for the trail what an act was more precisely. No secret may stand there.
    pub(crate) fn tell(&self, details: Value) {
        _ = self.asked.told.set(Told { subject: None, details });
    }

    /// The same of an act that made something, which the path does not name.
    pub(crate) fn tell_of(&self, subject: String, details: Value) {
        _ = self.asked.told.set(Told { subject: Some(subject), details });
    }

    /// A refusal of the caller, which is noted.
    pub(crate) fn refuse<T>(&self, problem: Problem) -> Result<T, Problem> {
        self.asked.note_refusal(&self.tenant, self.caller.actor(), &problem);
        Err(problem)
    }
}

impl Caller {
    /// Who it is, as the trail says.
    pub(crate) fn actor(&self) -> Actor {
        let name = match self {
            Self::Anybody | Self::Token(_) => None,
            Self::Key(shown) => Some(shown.key().name().to_owned()),
        };
        Actor { id: self.to_string(), name }
    }
}

/// What a path names, up to its last parameter: `keys/5f0c2a91d4e7b836`; without one all of it.
fn subject(operation: &Operation, path: &str) -> String {
    let template = operation.path.strip_prefix("/v1/").unwrap_or(operation.path);
    let path = path.strip_prefix("/v1/").unwrap_or(path);
    let parts = template.split('/');
    let named = parts.clone().enumerate().filter(|(_, part)| part.starts_with('{')).map(|(at, _)| at + 1).last();
    let text = match named {
        // A stream may hold slashes.
        Some(_) if template.ends_with("{subject}") => path.to_owned(),
        named => path.split('/').take(named.unwrap_or(parts.count())).collect::<Vec<_>>().join("/"),
    };
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// The correlation of a request: as an event in binary mode says it, or its trace.
fn correlation(own: Option<&HeaderValue>, trace: Option<&HeaderValue>) -> Option<String> {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let own = text(own).map(|id| percent_decode_str(&id).decode_utf8_lossy().into_owned());
    own.or_else(|| text(trace)?.split('-').nth(1).map(str::to_owned)).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_of_a_request_is_what_its_path_names() {
        for (operation, path, expected) in [
            ("key.create", "/v1/keys", "keys"),
            ("key.revoke", "/v1/keys/5f", "keys/5f"),
            ("subscription.pause", "/v1/subscriptions/a%2Fb/pause", "subscriptions/a/b"),
            ("stream.read", "/v1/streams/order/1", "streams/order/1"),
            ("operation.confirm", "/v1/operations/7/confirm", "operations/7"),
        ] {
            let operation = quipu_api::operation(operation).unwrap();
            assert_eq!(subject(operation, path), expected);
        }
    }

    #[test]
    fn a_request_is_correlated_by_its_own_id_or_by_its_trace() {
        let found = |pairs: &[(&'static str, &str)]| {
            let mut request = Request::new(axum::body::Body::empty());
            let headers = pairs.iter().map(|(name, value)| (*name, HeaderValue::from_str(value).unwrap()));
            headers.for_each(|(name, value)| _ = request.headers_mut().insert(name, value));
            let asked = Asked::of(quipu_api::operation("key.list").unwrap(), &request);
            correlation(asked.own_correlation.as_ref(), asked.trace.as_ref())
        };
        let trace = ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[trace]).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(found(&[trace, ("ce-correlationid", "a%20b")]).as_deref(), Some("a b"));
        assert_eq!(found(&[("traceparent", "x")]), None);
    }
}
