//! Registering a schema under a subject, and looking it up there.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use serde_json::json as value;

use super::compatibility::messages;
use super::page::Shown;
use super::refusal::{Number, Refused, found, scan};
use super::subject::{Subject, is_deleted, restore};
use super::wire::{SCHEMA_EXPECTED, SchemaBody, SchemaFound, json, read};
use crate::{App, read as reading};
use quipu_engine::{NotDone, SchemaRefusal};

pub(super) async fn register(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    found(run_register(app, name, request).await)
}

async fn run_register(app: Arc<App>, name: String, request: Request) -> Result<Response, Refused> {
    let subject = Subject::parse(&name)?;
    let body: SchemaBody = read(&app, request, SCHEMA_EXPECTED).await?;
    let registered = scan(&app, move |tenant| {
        let new = body.schema(tenant)?;
        let registered = tenant.register_schema(&subject.kind, new).map_err(why_not)?;
        restore(tenant, &registered.schema)?;
        let (version, id) = (registered.schema.version, registered.schema.id);
        Ok((version, id, SchemaFound::named(tenant, subject.name, registered.schema)?))
    });
    let (version, id, registered) = registered.await?;
    app.tell(value!({ "version": version, "id": id }));
    Ok(json(&registered))
}

/// A refusal says all that breaks: clients of the dialect show its message and nothing else.
fn why_not(not_done: NotDone) -> Refused {
    let more = match &not_done {
        NotDone::RefusedSchema(SchemaRefusal::Incompatible(incompatible)) => messages(&incompatible.checked),
        _ => Vec::new(),
    };
    let refused = Refused::from(not_done);
    if more.is_empty() { refused } else { refused.saying(&format!("; {}", more.join("; "))) }
}

pub(super) async fn look_up(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    found(run_look_up(app, name, request).await)
}

async fn run_look_up(app: Arc<App>, name: String, request: Request) -> Result<Response, Refused> {
    let subject = Subject::parse(&name)?;
    let shown = match Shown::of(reading::query(&request)) {
        Shown::Live => Shown::Live,
        Shown::All | Shown::Deleted => Shown::All,
    };
    let body: SchemaBody = read(&app, request, SCHEMA_EXPECTED).await?;
    let looked_up = scan(&app, move |tenant| {
        subject.some_entries(tenant, shown)?;
        let asked = body.schema(tenant)?;
        let known = tenant.find_schema(&subject.kind, &asked)?;
        let known = known.filter(|known| shown.shows(is_deleted(known.deprecated.as_deref())));
        let known = known.ok_or_else(|| {
            let detail = format!("expected a schema that is a version of {}, found another", subject.clipped());
            Refused::new(Number::SchemaNotFound, detail)
        })?;
        SchemaFound::named(tenant, subject.name, known)
    });
    Ok(json(&looked_up.await?))
}
