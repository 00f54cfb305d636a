//! The catalog: which event types there are, what is declared of them, and both as documents of others.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_api::asyncapi::{ExportedSchema, ExportedType, Imported, ImportedSchema, InvalidAsyncApi};
use quipu_api::catalog::{
    CatalogLine, CatalogPage, CatalogVersionLine, ConsumerLine, DeclarationBody, ImportAnswer, ImportedItem,
    PublisherLine, SeenAt, SkippedItem, WithdrawnAnswer,
};
use quipu_api::request::{CatalogRequest, catalog_prefix, dry_run};
use quipu_api::{Code, MEDIA_TEXT, Problem};
use quipu_domain::Timestamp;
use quipu_engine::{
    CatalogInfo, CatalogType, Declaration, Finding, Incompatible, NewSchema, NotDone, SchemaInfo, SchemaRefusal, Tenant,
};
use serde_json::{Value, json as value};

use crate::read::query;
use crate::refusal::ask;
use crate::subscription::{json, read_body};
use crate::{App, answer, body, problem, publish};

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = CatalogRequest::from_query(query(&request))?;
    let after = asked.after()?;
    // Whoever asks first may have the whole log read.
    let _one = app.home.scans.acquire().await;
    let CatalogInfo { types, position, others } = ask(&app, |tenant| tenant.catalog()).await?;
    let finding = asked.finding.as_deref();
    let is_asked = |line: &CatalogType| {
        line.kind.starts_with(&asked.prefix)
            && after.as_ref().is_none_or(|after| line.kind > *after)
            && finding.is_none_or(|finding| line.findings.iter().any(|found| found.as_str() == finding))
    };
    let mut types = types.into_iter().filter(is_asked);
    let page: Vec<CatalogLine> = types.by_ref().take(asked.limit()).map(line).collect();
    let cursor = types.next().and_then(|_| page.last()).map(|last| CatalogRequest::cursor_after(&last.kind));
    Ok(json(&CatalogPage { types: page, cursor, position, other_events: others }))
}

pub(crate) async fn declare(
    Extension(app): Extension<Arc<App>>,
    Path(kind): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_declare(app, kind, request).await)
}

async fn run_declare(app: Arc<App>, kind: String, request: Request) -> Result<Response, Problem> {
    let body = read_body(&app, request, DeclarationBody::from_json).await?;
    app.tell(value!(body));
    let declaration = declaration(body.clone());
    ask(&app, move |tenant| tenant.declare(&kind, declaration)).await?;
    Ok(json(&body))
}

pub(crate) async fn withdraw(Extension(app): Extension<Arc<App>>, Path(kind): Path<String>) -> Response {
    let withdrawn = kind.clone();
    let done = ask(&app, move |tenant| tenant.withdraw(&kind)).await;
    problem::answer(done.map(|()| json(&WithdrawnAnswer { withdrawn })))
}

pub(crate) async fn asyncapi(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_asyncapi(app, request).await)
}

async fn run_asyncapi(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let prefix = catalog_prefix(query(&request))?;
    let _one = app.home.scans.acquire().await;
    let document = ask(&app, move |tenant| {
        let types = tenant.catalog()?.types.into_iter().filter(|of| of.kind.starts_with(&prefix));
        let exported: Vec<ExportedType> = types.map(|of| exported(tenant, of)).collect();
        Ok(quipu_api::asyncapi::export(&exported))
    });
    Ok(json(&document.await?))
}

fn exported(tenant: &Tenant, of: CatalogType) -> ExportedType {
    let registered = of.versions.iter().filter(|version| version.is_registered);
    let schemas = registered.filter_map(|version| {
        // One that was removed a moment ago is not there any more.
        let info = tenant.schema(&of.kind, version.version).ok()?;
        let bundled = tenant.bundled_schema(&of.kind, version.version).ok()?;
        let (owner, description, examples, deprecated) = (info.owner, info.description, info.examples, info.deprecated);
        Some(ExportedSchema { version: version.version, bundled, owner, description, examples, deprecated })
    });
    let schemas = schemas.collect();
    ExportedType { line: line(of), schemas }
}

pub(crate) async fn mermaid(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_mermaid(app, request).await)
}

async fn run_mermaid(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let prefix = catalog_prefix(query(&request))?;
    let _one = app.home.scans.acquire().await;
    let types = ask(&app, |tenant| tenant.catalog()).await?.types;
    let lines: Vec<CatalogLine> = types.into_iter().filter(|of| of.kind.starts_with(&prefix)).map(line).collect();
    Ok(answer::typed(MEDIA_TEXT, quipu_api::mermaid::flowchart(&lines)))
}

pub(crate) async fn import(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_import(app, request).await)
}

async fn run_import(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let is_dry = dry_run(query(&request))?;
    let whole = body::document(&app, request).await?;
    let read = |bytes: &[u8]| {
        let invalid = |invalid: InvalidAsyncApi| {
            Problem::new(Code::InvalidAsyncApi, invalid.detail).with("pointer", invalid.pointer)
        };
        quipu_api::asyncapi::read(bytes).and_then(|document| quipu_api::asyncapi::import(&document)).map_err(invalid)
    };
    let (imported, _held) = publish::parse(&app, whole, move |_, bytes| read(bytes)).await?;
    app.tell(value!({ "dryrun": is_dry, "types": imported.types.len() }));
    let _one = app.home.scans.acquire().await;
    let answer = ask(&app, move |tenant| take(tenant, imported, is_dry)).await?;
    Ok(json(&answer))
}

/// Registers and declares what a document has; or only says what would become of it.
fn take(tenant: &Arc<Tenant>, imported: Imported, is_dry: bool) -> Result<ImportAnswer, NotDone> {
    let mut items = Vec::new();
    for (kind, of) in imported.types {
        for (version, schema) in of.schemas {
            let taken = take_schema(tenant, &kind, version, schema, is_dry);
            items.push(item(&kind, Some(version), taken)?);
        }
        let before = tenant.declaration(&kind);
        let mut after = before.clone().unwrap_or_default();
        let DeclarationBody { publishers, consumers, owner, description, channel } = of.declaration;
        after.publishers.extend(publishers);
        after.consumers.extend(consumers);
        after.owner = owner.or(after.owner);
        after.description = description.or(after.description);
        after.channel = channel.or(after.channel);
        let is_known = before.as_ref() == Some(&after);
        let declared = match is_known || is_dry {
            true => Ok(is_known),
            false => tenant.declare(&kind, after).map(|()| false),
        };
        items.push(item(&kind, None, declared)?);
    }
    let skipped = imported.skipped.into_iter();
    let skipped = skipped.map(|skipped| SkippedItem { pointer: skipped.pointer, reason: skipped.reason }).collect();
    Ok(ImportAnswer { dry_run: is_dry, items, skipped })
}

/// Whether the schema was there.
fn take_schema(
    tenant: &Arc<Tenant>,
    kind: &str,
    version: u32,
    schema: ImportedSchema,
    is_dry: bool,
) -> Result<bool, NotDone> {
    let ImportedSchema { schema, owner, description, examples, deprecated } = schema;
    let (text, references) = (schema.to_string(), Default::default());
    let new = NewSchema { version: Some(version), text, references, owner, description, examples, upcaster: None };
    if is_dry {
        let known = tenant.schema(kind, version).ok();
        let is_same = |known: SchemaInfo| serde_json::from_str::<Value>(&known.text).is_ok_and(|known| known == schema);
        let name = format!("{kind}.v{version}");
        if let Some(known) = known {
            return is_same(known).then_some(true).ok_or(SchemaRefusal::Exists { name }.into());
        }
        let checked = tenant.check_schema(kind, &new)?;
        return match checked.is_compatible() {
            true => Ok(false),
            false => Err(SchemaRefusal::Incompatible(Box::new(Incompatible { name, checked })).into()),
        };
    }
    let registered = tenant.register_schema(kind, new)?;
    if deprecated.is_some() && !registered.is_known {
        tenant.deprecate_schema(kind, registered.schema.version, deprecated)?;
    }
    Ok(registered.is_known)
}

/// What became of it. That the world failed is no outcome of one of them.
fn item(kind: &str, version: Option<u32>, taken: Result<bool, NotDone>) -> Result<ImportedItem, NotDone> {
    let (outcome, reason) = match taken {
        Ok(false) => ("new", None),
        Ok(true) => ("known", None),
        Err(NotDone::Failed(fault)) => return Err(fault.into()),
        Err(refused) => ("refused", Some(refused.to_string())),
    };
    Ok(ImportedItem { kind: kind.to_owned(), version, outcome: outcome.to_owned(), reason })
}

fn declaration(body: DeclarationBody) -> Declaration {
    let DeclarationBody { publishers, consumers, owner, description, channel } = body;
    Declaration { publishers, consumers, owner, description, channel }
}

/// A type as it goes over the wire.
fn line(of: CatalogType) -> CatalogLine {
    let seen = |(position, time): (u64, Timestamp)| SeenAt { position, recorded_time: time.to_string() };
    let versions = of.versions.into_iter().map(|version| CatalogVersionLine {
        version: version.version,
        registered: version.is_registered,
        deprecated: version.deprecated,
        events: version.events,
    });
    let publishers = of.publishers.into_iter().map(|publisher| PublisherLine {
        name: publisher.name,
        declared: publisher.is_declared,
        events: publisher.events,
    });
    let consumers = of.consumers.into_iter().map(|consumer| ConsumerLine {
        name: consumer.name,
        declared: consumer.is_declared,
        takes: consumer.takes.map(|takes| takes.as_str().to_owned()),
    });
    CatalogLine {
        kind: of.kind,
        findings: of.findings.into_iter().map(|finding: Finding| finding.to_string()).collect(),
        declared: of.is_declared,
        owner: of.owner,
        description: of.description,
        channel: of.channel,
        versions: versions.collect(),
        examples: of.examples,
        publishers: publishers.collect(),
        more_sources: of.other_sources > 0,
        consumers: consumers.collect(),
        events: of.events,
        last_hour: of.last_hour,
        last_day: of.last_day,
        first: of.first.map(seen),
        last: of.last.map(seen),
        marked: of.marked,
        refused: of.refused,
    }
}
