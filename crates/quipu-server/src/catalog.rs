//! The catalog: which event types there are, what is declared of them, and both as documents of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_api::asyncapi::{self, ExportedSchema, ExportedType, Imported, InvalidAsyncApi};
use quipu_api::catalog::{
    CatalogLine, CatalogPage, CatalogVersionLine, ConsumerLine, DeclarationBody, ImportAnswer, ImportedItem,
    PublisherLine, SeenAt, SkippedItem, WithdrawnAnswer,
};
use quipu_api::request::{CatalogRequest, catalog_prefix, dry_run};
use quipu_api::{Code, MEDIA_JSON, MEDIA_TEXT, MEDIA_YAML, Problem};
use quipu_domain::Timestamp;
use quipu_engine::{
    CatalogAsked, CatalogInfo, CatalogType, Declaration, Finding, ImportOutcome, ImportedPart, ImportedType,
    ImportedVersion, NewSchema, NotDone, SchemaInfo, Tenant, Upcaster,
};
use serde::Serialize;
use serde_json::json as value;

use crate::read::query;
use crate::refusal::{ask, scan};
use crate::schema::upcaster_answer;
use crate::subscription::{json, read_body};
use crate::{App, answer, body, media, problem, publish};

/// Most types of an export: a type has up to 128 names beside it.
const EXPORTED_MAX: usize = 10_000;

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let request = CatalogRequest::from_query(query(&request))?;
    let finding = request.finding.as_deref();
    let asked = CatalogAsked {
        after: request.after()?,
        limit: Some(request.limit()),
        finding: Finding::ALL.into_iter().find(|known| Some(known.as_str()) == finding),
        prefix: request.prefix.clone(),
    };
    // Whoever asks first may have the whole log read.
    let page = scan(&app, move |tenant| {
        let CatalogInfo { types, has_more, position, others } = tenant.catalog(&asked)?;
        let last = types.last().filter(|_| has_more);
        let cursor = last.map(|last| request.cursor_after(&last.kind));
        let types = types.into_iter().map(line).collect();
        Ok(bytes(&CatalogPage { types, cursor, position, other_events: others }))
    });
    Ok(answer::json(page.await?))
}

/// An answer, written where it holds up nobody: a catalog may be long.
fn bytes(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("a wire type is JSON")
}

/// All types of an export, if they are no more than may be.
fn all(tenant: &Tenant, prefix: String) -> Result<Result<Vec<CatalogType>, Problem>, NotDone> {
    let asked = CatalogAsked { prefix, limit: Some(EXPORTED_MAX), ..CatalogAsked::default() };
    let CatalogInfo { types, has_more, .. } = tenant.catalog(&asked)?;
    if !has_more {
        return Ok(Ok(types));
    }
    let detail = format!(
        "expected at most {EXPORTED_MAX} types in an export, found more: export it in parts, each with a prefix of types"
    );
    Ok(Err(Problem::new(Code::InvalidParameter, detail).with("parameter", "prefix")))
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
    let media_type = media::accepted(request.headers(), &[MEDIA_JSON, MEDIA_YAML])?;
    let prefix = catalog_prefix(query(&request))?;
    let document = scan(&app, move |tenant| {
        let types = all(tenant, prefix)?;
        let document = types.map(|types| {
            let types: Vec<_> = types.into_iter().map(|of| exported(tenant, of)).collect();
            asyncapi::export(&types)
        });
        // Written where it holds up nobody.
        Ok(document.map(|document| match media_type {
            MEDIA_YAML => asyncapi::yaml(&document).into_bytes(),
            _ => bytes(&document),
        }))
    });
    Ok(answer::typed(media_type, document.await??))
}

/// A type with its schemas. Each has all that it refers to inside of it, which is counted in what the schemas of a tenant may take:
/// no export is larger than that.
fn exported(tenant: &Tenant, of: CatalogType) -> ExportedType {
    let mut schemas = Vec::new();
    for version in of.versions.iter().filter(|version| version.is_registered) {
        // One that was removed a moment ago is not there any more.
        let Ok(info) = tenant.schema(&of.kind, version.version) else { continue };
        let Ok(bundled) = tenant.bundled_schema(&of.kind, version.version) else { continue };
        let SchemaInfo { version, owner, description, examples, deprecated, upcaster, .. } = info;
        let upcaster = upcaster.map(upcaster_answer);
        schemas.push(ExportedSchema { version, bundled, owner, description, examples, deprecated, upcaster });
    }
    ExportedType { line: line(of), schemas }
}

pub(crate) async fn mermaid(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_mermaid(app, request).await)
}

async fn run_mermaid(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let prefix = catalog_prefix(query(&request))?;
    let chart = scan(&app, move |tenant| {
        let lines = all(tenant, prefix)?.map(|types| types.into_iter().map(line).collect::<Vec<CatalogLine>>());
        Ok(lines.map(|lines| quipu_api::mermaid::flowchart(&lines)))
    });
    Ok(answer::typed(MEDIA_TEXT, chart.await??))
}

pub(crate) async fn import(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_import(app, request).await)
}

async fn run_import(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let is_dry = dry_run(query(&request))?;
    let whole = body::document(&app, request, asyncapi::BYTES_MAX).await?;
    let read = |bytes: &[u8]| {
        let invalid = |invalid: InvalidAsyncApi| {
            Problem::new(Code::InvalidAsyncApi, invalid.detail).with("pointer", invalid.pointer)
        };
        asyncapi::read(bytes).and_then(|document| asyncapi::import(&document)).map_err(invalid)
    };
    let (imported, _held) = publish::parse(&app, whole, move |_, bytes| read(bytes)).await?;
    app.tell(value!({ "dryrun": is_dry, "types": imported.types.len() }));
    let answer = scan(&app, move |tenant| take(tenant, imported, is_dry)).await?;
    Ok(json(&answer))
}

/// Registers and declares what a document has; or only says what would become of it.
fn take(tenant: &Arc<Tenant>, imported: Imported, is_dry: bool) -> Result<ImportAnswer, NotDone> {
    let types: BTreeMap<String, ImportedType> =
        imported.types.into_iter().map(|(kind, of)| (kind, imported_type(of))).collect();
    let parts = if is_dry { tenant.foresee_import(&types)? } else { tenant.import_types(&types)? };
    let skipped = imported.skipped.into_iter();
    let skipped = skipped.map(|skipped| SkippedItem { pointer: skipped.pointer, reason: skipped.reason }).collect();
    Ok(ImportAnswer { dry_run: is_dry, items: parts.into_iter().map(item).collect(), skipped })
}

fn imported_type(of: asyncapi::ImportedType) -> ImportedType {
    let version = |(version, of): (u32, asyncapi::ImportedSchema)| {
        let asyncapi::ImportedSchema { schema, owner, description, examples, deprecated, upcaster } = of;
        let (version, text, references) = (Some(version), schema.to_string(), BTreeMap::new());
        let upcaster = upcaster.map(Upcaster::Jq);
        let schema = NewSchema { version, text, references, owner, description, examples, upcaster };
        ImportedVersion { schema, deprecated }
    };
    let versions = of.schemas.into_iter().map(version).collect();
    ImportedType { versions, declaration: declaration(of.declaration) }
}

fn item(part: ImportedPart) -> ImportedItem {
    let (outcome, reason) = match part.outcome {
        ImportOutcome::New => ("new", None),
        ImportOutcome::Known => ("known", None),
        ImportOutcome::Refused(reason) => ("refused", Some(reason)),
    };
    ImportedItem { kind: part.kind, version: part.version, outcome: outcome.to_owned(), reason }
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
        upcaster: version.upcaster.map(|upcaster| upcaster.as_str().to_owned()),
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
        more_consumers: of.other_consumers,
        events: of.events,
        last_hour: of.last_hour,
        last_day: of.last_day,
        first: of.first.map(seen),
        last: of.last.map(seen),
        marked: of.marked,
        refused: of.refused,
    }
}
