//! Subjects and their versions: listing, reading and deleting them. To delete is to deprecate: nobody is to begin with the version
//! any more, and events that have it are read as before. For good only what nothing uses is deleted.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_engine::{SchemaEntry, SchemaInfo, Tenant};
use serde_json::json as value;

use super::page::{Page, Shown, is_true};
use super::refusal::{Number, Refused, ask, found, scan};
use super::schemas::named;
use super::subject::{Subject, VersionAsked, deleted, is_deleted};
use super::wire::{SchemaFound, json};
use crate::{App, answer, read as reading};

pub(super) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    let query = reading::query(&request).to_owned();
    let listed = ask(&app, move |tenant| {
        let mut names: Vec<_> = named(tenant.schema_entries(None), &query).into_iter().map(|(name, _)| name).collect();
        names.dedup();
        Ok(json(&Page::of(&query).take(names)))
    });
    found(listed.await)
}

pub(super) async fn versions(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let query = reading::query(&request).to_owned();
    let listed = ask(&app, move |tenant| {
        let entries = Subject::parse(&name)?.some_entries(tenant, Shown::of(&query))?;
        Ok(json(&Page::of(&query).take(entries.iter().map(|entry| entry.version))))
    });
    found(listed.await)
}

pub(super) async fn version(
    Extension(app): Extension<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    let write = |tenant: &Tenant, subject: Subject, found| Ok(json(&SchemaFound::named(tenant, subject.name, found)?));
    found(read(app, name, version, request, write).await)
}

pub(super) async fn text(
    Extension(app): Extension<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    let write = |_: &Tenant, _, found: SchemaInfo| Ok(answer::json(found.text.into_bytes()));
    found(read(app, name, version, request, write).await)
}

/// Finds a version, and writes of it what is asked for.
async fn read(
    app: Arc<App>,
    name: String,
    version: String,
    request: Request,
    write: fn(&Tenant, Subject, SchemaInfo) -> Result<Response, Refused>,
) -> Result<Response, Refused> {
    let shown = Shown::of(reading::query(&request));
    ask(&app, move |tenant| {
        let (subject, version) = (Subject::parse(&name)?, VersionAsked::parse(&version)?);
        let entry = subject.version(tenant, version, shown)?;
        write(tenant, subject, tenant.schema(&entry.kind, entry.version)?)
    })
    .await
}

pub(super) async fn referenced_by(
    Extension(app): Extension<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    let page = Page::of(reading::query(&request));
    let asked = ask(&app, move |tenant| {
        let (subject, version) = (Subject::parse(&name)?, VersionAsked::parse(&version)?);
        let entry = subject.version(tenant, version, Shown::All)?;
        let mut ids: Vec<_> = users(tenant, &entry, Shown::Live).map(|user| user.id).collect();
        ids.sort_unstable();
        ids.dedup();
        Ok(json(&page.take(ids)))
    });
    found(asked.await)
}

/// The versions that refer to one.
fn users(tenant: &Tenant, used: &SchemaEntry, shown: Shown) -> impl Iterator<Item = SchemaEntry> {
    let name = format!("{}.v{}", used.kind, used.version);
    let all = tenant.schema_entries(None).into_iter();
    all.filter(move |entry| entry.uses.contains(&name) && shown.shows(is_deleted(entry.deprecated.as_deref())))
}

pub(super) async fn delete_version(
    Extension(app): Extension<Arc<App>>,
    Path((name, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    found(run_delete_version(app, name, version, is_permanent(&request)).await)
}

async fn run_delete_version(
    app: Arc<App>,
    name: String,
    version: String,
    is_permanent: bool,
) -> Result<Response, Refused> {
    let deleted = scan(&app, move |tenant| {
        let (subject, asked) = (Subject::parse(&name)?, VersionAsked::parse(&version)?);
        // The latest is the latest of those that are not deleted.
        let shown = if asked == VersionAsked::Latest { Shown::Live } else { Shown::All };
        let entry = subject.version(tenant, asked, shown)?;
        let (number, was_deleted) = (entry.version, is_deleted(entry.deprecated.as_deref()));
        let whose = subject.clipped();
        match (is_permanent, was_deleted) {
            (true, false) => {
                let detail = format!(
                    "expected a version of {whose} that was deleted, found that version {number} was not: delete it without permanent=true first"
                );
                return Err(Refused::new(Number::VersionNotDeleted, detail));
            }
            (false, true) => {
                let detail = format!(
                    "expected a version of {whose} that is not deleted, found that version {number} is: permanent=true deletes it for good"
                );
                return Err(Refused::new(Number::VersionDeleted, detail));
            }
            (true, true) => remove(tenant, &[entry])?,
            (false, false) => deprecate(tenant, &[entry])?,
        }
        Ok(number)
    });
    Ok(json(&deleted.await?))
}

pub(super) async fn delete(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    found(run_delete(app, name, is_permanent(&request)).await)
}

async fn run_delete(app: Arc<App>, name: String, is_permanent: bool) -> Result<Response, Refused> {
    let deleted = scan(&app, move |tenant| {
        let subject = Subject::parse(&name)?;
        let all = subject.some_entries(tenant, Shown::All)?;
        let live = subject.entries(tenant, Shown::Live);
        let whose = subject.clipped();
        let versions = |entries: &[SchemaEntry]| entries.iter().map(|entry| entry.version).collect::<Vec<_>>();
        match (is_permanent, live.is_empty()) {
            (true, false) => {
                let detail = format!(
                    "expected a subject that was deleted, found that {whose} was not: delete it without permanent=true first"
                );
                Err(Refused::new(Number::SubjectNotDeleted, detail))
            }
            (false, true) => {
                let detail = format!(
                    "expected a subject that is not deleted, found that {whose} is: permanent=true deletes it for good"
                );
                Err(Refused::new(Number::SubjectDeleted, detail))
            }
            (true, true) => {
                remove(tenant, &all)?;
                Ok(versions(&all))
            }
            (false, false) => {
                deprecate(tenant, &live)?;
                Ok(versions(&live))
            }
        }
    });
    let deleted = deleted.await?;
    app.tell(value!({ "versions": deleted }));
    Ok(json(&deleted))
}

/// Deletes versions of a type, which are kept.
fn deprecate(tenant: &Arc<Tenant>, entries: &[SchemaEntry]) -> Result<(), Refused> {
    demand_unused(tenant, entries, Shown::Live)?;
    let reason = |entry: &SchemaEntry| (entry.version, Some(deleted(entry.deprecated.as_deref())));
    Ok(tenant.deprecate_schemas(&entries[0].kind, &entries.iter().map(reason).collect::<Vec<_>>())?)
}

/// Deletes versions of a type for good, if no event has them either.
fn remove(tenant: &Arc<Tenant>, entries: &[SchemaEntry]) -> Result<(), Refused> {
    demand_unused(tenant, entries, Shown::All)?;
    Ok(tenant.remove_schemas(&entries[0].kind, &numbers(entries))?)
}

fn numbers(entries: &[SchemaEntry]) -> Vec<u32> {
    entries.iter().map(|entry| entry.version).collect()
}

/// That no version refers to these but one of them.
fn demand_unused(tenant: &Tenant, entries: &[SchemaEntry], by: Shown) -> Result<(), Refused> {
    let goes_too = |user: &SchemaEntry| entries.iter().any(|one| one.kind == user.kind && one.version == user.version);
    for entry in entries {
        if let Some(user) = users(tenant, entry, by).find(|user| !goes_too(user)) {
            let detail = format!(
                "expected a version that no schema refers to, found that {}.v{} refers to {}.v{}",
                user.kind, user.version, entry.kind, entry.version
            );
            return Err(Refused::new(Number::Referenced, detail));
        }
    }
    Ok(())
}

fn is_permanent(request: &Request) -> bool {
    is_true(reading::query(request), "permanent")
}
