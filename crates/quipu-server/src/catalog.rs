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
use quipu_api::request::{CatalogRequest, catalog_prefix, cursor_after, dry_run};
use quipu_api::{Code, MEDIA_TEXT, Problem};
use quipu_domain::Timestamp;
use quipu_engine::{
    CatalogAsked, CatalogInfo, CatalogType, Declaration, Finding, Incompatible, NewSchema, NotDone, SchemaInfo,
    SchemaRefusal, Tenant,
};
use serde::Serialize;
use serde_json::{Value, json as value};

use crate::read::query;
use crate::refusal::{ask, scan};
use crate::subscription::{json, read_body};
use crate::{App, answer, body, problem, publish};

/// Most types of an export: a type has up to 128 names beside it.
const EXPORTED_MAX: usize = 10_000;
/// Most bytes of all schemas of an export: they are in memory several times until it is written.
const BUNDLED_BYTES_MAX: usize = 64 << 20;

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
        prefix: request.prefix,
    };
    // Whoever asks first may have the whole log read.
    let page = scan(&app, move |tenant| {
        let CatalogInfo { types, has_more, position, others } = tenant.catalog(&asked)?;
        let last = types.last().filter(|_| has_more);
        let cursor = last.map(|last| cursor_after(&last.kind));
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
    Ok(if has_more { Err(too_much(&format!("{EXPORTED_MAX} types"))) } else { Ok(types) })
}

fn too_much(limit: &str) -> Problem {
    let detail =
        format!("expected at most {limit} in an export, found more: export it in parts, each with a prefix of types");
    Problem::new(Code::InvalidParameter, detail).with("parameter", "prefix")
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
    let document = scan(&app, move |tenant| {
        let types = match all(tenant, prefix)? {
            Ok(types) => types,
            Err(problem) => return Ok(Err(problem)),
        };
        let (mut exported_types, mut bundled) = (Vec::with_capacity(types.len()), 0);
        for of in types {
            match exported(tenant, of, &mut bundled) {
                Some(of) => exported_types.push(of),
                None => return Ok(Err(too_much(&format!("{BUNDLED_BYTES_MAX} bytes of schemas")))),
            }
        }
        Ok(Ok(bytes(&quipu_api::asyncapi::export(&exported_types))))
    });
    Ok(answer::json(document.await??))
}

/// A type with its schemas; nothing if those and the ones before are more than may be. Each has all that it refers to inside of it, so
/// that one which many refer to is there as often.
fn exported(tenant: &Tenant, of: CatalogType, bundled_bytes: &mut usize) -> Option<ExportedType> {
    let mut schemas = Vec::new();
    for version in of.versions.iter().filter(|version| version.is_registered) {
        // One that was removed a moment ago is not there any more.
        let Ok(info) = tenant.schema(&of.kind, version.version) else { continue };
        let Ok(bundled) = tenant.bundled_schema(&of.kind, version.version) else { continue };
        *bundled_bytes += bundled.to_string().len();
        if *bundled_bytes > BUNDLED_BYTES_MAX {
            return None;
        }
        let (owner, description, examples, deprecated) = (info.owner, info.description, info.examples, info.deprecated);
        schemas.push(ExportedSchema { version: version.version, bundled, owner, description, examples, deprecated });
    }
    Some(ExportedType { line: line(of), schemas })
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
    let whole = body::document(&app, request, quipu_api::asyncapi::BYTES_MAX).await?;
    let read = |bytes: &[u8]| {
        let invalid = |invalid: InvalidAsyncApi| {
            Problem::new(Code::InvalidAsyncApi, invalid.detail).with("pointer", invalid.pointer)
        };
        quipu_api::asyncapi::read(bytes).and_then(|document| quipu_api::asyncapi::import(&document)).map_err(invalid)
    };
    let (imported, _held) = publish::parse(&app, whole, move |_, bytes| read(bytes)).await?;
    app.tell(value!({ "dryrun": is_dry, "types": imported.types.len() }));
    let answer = scan(&app, move |tenant| take(tenant, imported, is_dry)).await?;
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
