//! The way in: what a request of the dialect is in ours, before it is let in, and its answer as the dialect writes it.

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quipu_api::Operation;

use super::page::is_true;
use super::refusal;
use super::subject::Subject;
use super::wire::{MEDIA, MEDIA_V1};
use crate::admission::{self, Gate};
use crate::audited::Meant;
use crate::{authorization, body, media, problem, read};

/// A delete that keeps what is deleted, as ours and as the registry's.
pub(super) const DEPRECATE: &str = "schema.deprecate";
/// One that does not.
pub(super) const REMOVE: &str = "schema.remove";

/// Lets a request in as the operation of ours that it is, and writes its answer.
pub(super) async fn enter(
    State((host, operation)): State<Gate>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let media_type = match media::accepted(request.headers(), &MEDIA) {
        Ok(media_type) => media_type,
        Err(not_acceptable) => {
            body::linger(request.into_body());
            return refusal::answer(problem::respond(&not_acceptable));
        }
    };
    let is_permanent = is_true(read::query(&request), "permanent");
    let operation = match operation.name == DEPRECATE && is_permanent {
        true => quipu_api::operation(REMOVE).expect("a test holds the routes to the catalogue"),
        false => operation,
    };
    if let Some(meant) = params.ok().and_then(|params| meant(operation, &params)) {
        request.extensions_mut().insert(meant);
    }
    show_password_as_bearer(request.headers_mut());
    let mut response = admission::admit(State((host, operation)), request, next).await;
    if response.status().is_success() {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        return response;
    }
    refusal::answer(response)
}

/// What our path of the operation would be, which the trail names acts by.
fn meant(operation: &Operation, params: &RawPathParams) -> Option<Meant> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let param = |wanted: &str| params.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value);
    let kind = param("subject").map(|name| encoded(&Subject::kind_of(name))).unwrap_or_default();
    // A delete of a subject is one of all its versions.
    let version = param("version").map_or_else(|| "*".to_owned(), encoded);
    let path = operation.path.replace("{type}", &kind).replace("{version}", &version);
    Uri::try_from(path).ok().map(Meant)
}

/// Clients of registries show a key or a token as a password (RFC 7617), whatever the name beside it is.
fn show_password_as_bearer(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    // Two headers are refused as they are.
    let (Some(only), None) = (values.next(), values.next()) else { return };
    let Some(password) = authorization::basic(only) else { return };
    if let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {password}")) {
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
}

/// What is said beside the scheme Bearer to whoever has shown no credential that is valid.
pub(super) const CHALLENGE: &str = "Basic realm=\"quipu\", charset=\"UTF-8\"";

/// The media type of what is refused, whatever was asked for.
pub(super) const MEDIA_REFUSED: &str = MEDIA_V1;
