//! Schemas by their numbers, and what there is at all.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_engine::{SchemaEntry, Tenant};
use serde::Serialize;
use serde_json::{Value, json as value};

use super::page::{Page, SCHEMAS_MAX, Shown, is_true, value as parameter};
use super::refusal::{Number, Refused, ask, found};
use super::subject::{Subject, is_deleted};
use super::wire::{JSON, SchemaFound, json};
use crate::{App, answer, read as reading};

/// The prefix of a subject that means all contexts, of which there is one.
const ALL_CONTEXTS: &str = ":*:";

/// Some clients ask whether somebody is there.
pub(super) async fn root() -> Response {
    json(&value!({}))
}

pub(super) async fn contexts(request: Request) -> Response {
    json(&Page::of(reading::query(&request)).take(["."]))
}

pub(super) async fn types() -> Response {
    json(&[JSON])
}

pub(super) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    let query = reading::query(&request).to_owned();
    let listed = ask(&app, move |tenant| {
        let named = named(tenant.schema_entries(None), &query);
        let mut wanted: Vec<_> = match is_true(&query, "latestOnly") {
            false => named,
            true => {
                let next = named.iter().skip(1).map(|(name, _)| Some(name.clone())).chain([None]).collect::<Vec<_>>();
                named
                    .into_iter()
                    .zip(next)
                    .filter(|((name, _), next)| Some(name) != next.as_ref())
                    .map(|(one, _)| one)
                    .collect()
            }
        };
        wanted = Page::of(&query).at_most(SCHEMAS_MAX).take(wanted);
        let found = wanted
            .into_iter()
            .map(|(name, entry)| SchemaFound::named(tenant, name, tenant.schema(&entry.kind, entry.version)?));
        Ok(json(&found.collect::<Result<Vec<_>, Refused>>()?))
    });
    found(listed.await)
}

/// Versions under each name of their types that begins as is asked, by name.
pub(super) fn named(entries: Vec<SchemaEntry>, query: &str) -> Vec<(String, SchemaEntry)> {
    let shown = Shown::of(query);
    let prefix = parameter(query, "subjectPrefix").unwrap_or_default();
    let prefix = [ALL_CONTEXTS, ":.:"].iter().find_map(|context| prefix.strip_prefix(context)).unwrap_or(&prefix);
    let live = entries.into_iter().filter(|entry| shown.shows(is_deleted(entry.deprecated.as_deref())));
    let named = live.flat_map(|entry| Subject::names(&entry.kind).into_iter().map(move |name| (name, entry.clone())));
    let mut all: Vec<_> = named.filter(|(name, _)| name.starts_with(prefix)).collect();
    all.sort_unstable_by(|a, b| (&a.0, a.1.version).cmp(&(&b.0, b.1.version)));
    all
}

pub(super) async fn by_id(Extension(app): Extension<Arc<App>>, Path(id): Path<String>) -> Response {
    let asked = ask(&app, move |tenant| Ok(json(&of_id(tenant, &id)?)));
    found(asked.await)
}

pub(super) async fn text_by_id(Extension(app): Extension<Arc<App>>, Path(id): Path<String>) -> Response {
    let asked = ask(&app, move |tenant| {
        let entry = entries_of_id(tenant, &id)?.swap_remove(0);
        Ok(answer::json(tenant.schema(&entry.kind, entry.version)?.text.into_bytes()))
    });
    found(asked.await)
}

pub(super) async fn subjects_of_id(app: Extension<Arc<App>>, id: Path<String>, request: Request) -> Response {
    let names = |places: Vec<(String, SchemaEntry)>| {
        let mut names: Vec<_> = places.into_iter().map(|(name, _)| name).collect();
        names.dedup();
        names
    };
    listed(app, id, reading::query(&request).to_owned(), names).await
}

pub(super) async fn versions_of_id(app: Extension<Arc<App>>, id: Path<String>, request: Request) -> Response {
    let version = |(subject, entry): (String, SchemaEntry)| value!({ "subject": subject, "version": entry.version });
    let versions = move |places: Vec<_>| places.into_iter().map(version).collect::<Vec<Value>>();
    listed(app, id, reading::query(&request).to_owned(), versions).await
}

/// A page of what is said of the places where a number is.
async fn listed<T: Serialize>(
    Extension(app): Extension<Arc<App>>,
    Path(id): Path<String>,
    query: String,
    say: impl FnOnce(Vec<(String, SchemaEntry)>) -> Vec<T> + Send + 'static,
) -> Response {
    let asked = ask(&app, move |tenant| Ok(json(&Page::of(&query).take(say(places(tenant, &id, &query)?)))));
    found(asked.await)
}

/// Where a number is, under which names; of one subject if it is named.
fn places(tenant: &Tenant, id: &str, query: &str) -> Result<Vec<(String, SchemaEntry)>, Refused> {
    let only = parameter(query, "subject").filter(|name| !name.is_empty());
    let mut all = named(entries_of_id(tenant, id)?, query);
    all.retain(|(name, _)| only.as_ref().is_none_or(|only| only == name));
    if all.is_empty() { Err(not_found(id)) } else { Ok(all) }
}

/// The schema with a number. The same text has one number, whatever types it is for; a subject beside it tells nothing more.
fn of_id(tenant: &Tenant, id: &str) -> Result<SchemaFound, Refused> {
    let entry = entries_of_id(tenant, id)?.swap_remove(0);
    SchemaFound::of(tenant, tenant.schema(&entry.kind, entry.version)?)
}

/// All versions with a number, deleted ones too: data that was written with it must be read. At least one.
fn entries_of_id(tenant: &Tenant, id: &str) -> Result<Vec<SchemaEntry>, Refused> {
    let number: u32 = id.parse().map_err(|_| not_found(id))?;
    let all = tenant.schema_entries_with_id(number);
    if all.is_empty() { Err(not_found(id)) } else { Ok(all) }
}

fn not_found(id: &str) -> Refused {
    let id: String = id.chars().take(64).collect();
    Refused::new(Number::SchemaNotFound, format!("expected a schema, found none with the id {id}"))
}
