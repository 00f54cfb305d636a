//! Documents: the OpenAPI description, the pages of the error codes, and the list of routes at `/`.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use quipu_api::{Code, MEDIA_JSON, OPERATIONS, Problem};

use crate::{Host, answer, problem};

const MEDIA_MARKDOWN: &str = "text/markdown; charset=utf-8";
const MEDIA_TEXT: &str = "text/plain; charset=utf-8";

/// The OpenAPI document, as bytes: made once, when the server starts.
pub(crate) fn openapi() -> Bytes {
    serde_json::to_vec_pretty(&quipu_api::openapi()).expect("the document is JSON").into()
}

pub(crate) async fn read_openapi(State(host): State<Arc<Host>>) -> Response {
    answer::typed(MEDIA_JSON, Body::from(host.openapi.clone()))
}

pub(crate) async fn explain(Path(slug): Path<String>) -> Response {
    match Code::from_slug(&slug) {
        Some(code) => answer::typed(MEDIA_MARKDOWN, code.page()),
        None => {
            let slug: String = slug.chars().take(80).collect();
            let detail = format!("expected an error code, found {slug}");
            problem::respond(&Problem::new(Code::RouteNotFound, detail))
        }
    }
}

pub(crate) async fn index() -> Response {
    let mut text = format!("Quipu {}\n\n", env!("CARGO_PKG_VERSION"));
    for operation in OPERATIONS {
        let (method, path, summary) = (operation.method.as_str(), operation.path, operation.summary);
        writeln!(text, "{method:<4} {path:<36} {summary}").expect("a String takes any text");
    }
    answer::typed(MEDIA_TEXT, text)
}
