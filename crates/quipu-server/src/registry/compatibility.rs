//! Whether a schema could be registered under a subject, or would go with one version of it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_engine::CheckedSchema;
use serde::Serialize;

use super::page::{Shown, is_true};
use super::refusal::{Number, Refused, found, scan};
use super::subject::{Subject, VersionAsked};
use super::wire::{SCHEMA_EXPECTED, SchemaBody, json, read};
use crate::{App, read as reading};

/// Most breaks that a refusal names: it is one message.
const BREAKS_MAX: usize = 16;

/// Whether it is compatible, and why not if somebody wants to know.
#[derive(Serialize)]
struct Compatible {
    is_compatible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<String>>,
}

pub(super) async fn with_all(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    found(run(app, name, None, request).await)
}

pub(super) async fn with_one(
    Extension(app): Extension<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    found(run(app, name, Some(version), request).await)
}

async fn run(app: Arc<App>, name: String, version: Option<String>, request: Request) -> Result<Response, Refused> {
    let subject = Subject::parse(&name)?;
    let version = version.as_deref().map(VersionAsked::parse).transpose()?;
    let is_verbose = is_true(reading::query(&request), "verbose");
    let body: SchemaBody = read(&app, request, SCHEMA_EXPECTED).await?;
    let checked = scan(&app, move |tenant| {
        let asked = body.schema(tenant)?;
        let with = match version {
            None => None,
            // Whatever goes with a subject that has no version yet.
            Some(VersionAsked::Latest) => subject.entries(tenant, Shown::Live).pop(),
            Some(number) => Some(subject.version(tenant, number, Shown::Live).map_err(as_version)?),
        };
        match with {
            Some(with) => Ok(tenant.check_schema_with(&with.kind, with.version, &asked)?),
            None => Ok(tenant.check_schema(&subject.kind, &asked)?),
        }
    });
    let checked = checked.await?;
    let messages = is_verbose.then(|| messages(&checked));
    Ok(json(&Compatible { is_compatible: checked.is_compatible(), messages }))
}

/// A version of a subject that has none is not found as a version.
fn as_version(refused: Refused) -> Refused {
    match refused.number() {
        Number::SubjectNotFound => refused.numbered(Number::VersionNotFound),
        _ => refused,
    }
}

/// What stands against a schema: each field that breaks, in which direction, and data that shows it; why something is not known;
/// and what stored events say.
pub(super) fn messages(checked: &CheckedSchema) -> Vec<String> {
    let verdict = &checked.verdict;
    let broken = verdict.breaks.iter().enumerate().take(BREAKS_MAX).map(|(index, found)| {
        let (direction, version) = (found.direction, found.version);
        let place = if found.pointer.is_empty() { "the data" } else { &found.pointer };
        let example = verdict.counter_examples.get(index).map(|example| format!(", as in {}", example.payload));
        format!(
            "not {direction} compatible with version {version} at {place}: {}{}",
            found.what,
            example.unwrap_or_default()
        )
    });
    let left_out = verdict.breaks.len().saturating_sub(BREAKS_MAX);
    let more = (left_out > 0).then(|| format!("and {left_out} more"));
    let stored = checked.stored.as_ref().filter(|stored| stored.breaking > 0).map(|stored| {
        let first = stored.first.first().map(|(position, _)| format!(", the first at position {position}"));
        format!("{} of {} stored events break it{}", stored.breaking, stored.events, first.unwrap_or_default())
    });
    broken.chain(more).chain(verdict.reasons.iter().cloned()).chain(stored).collect()
}
