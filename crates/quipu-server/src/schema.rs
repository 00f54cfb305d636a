//! Schemas: registering and comparing them, what they are held to, and proposing one.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::Problem;
use quipu_api::request::{DiffRequest, PageRequest, VerifyRequest, bundled, cursor_after, schema_version};
use quipu_api::schema::{
    BreakAnswer, CompatibilityAnswer, CounterExampleAnswer, DeprecateSchema, InferredAnswer, NotUpcastAnswer,
    NotUpcastExample, RegisterSchema, RegisteredAnswer, RemovedSchemaAnswer, SchemaAnswer, SchemaDiffAnswer,
    SchemaLine, SchemaTypeAnswer, SchemasPage, SetUpcaster, StoredAnswer, StoredViolation, UpcastAnswer,
    UpcasterAnswer, UpcasterSetAnswer, VerifiedAnswer, rules_from_json,
};
use quipu_domain::schema::compatibility::Answer;
use quipu_domain::schema::{SchemaRules, SchemaVersion};
use quipu_engine::{
    CheckedSchema, CheckedUpcaster, NewSchema, NotUpcast, SchemaInfo, SchemaSummary, SchemasInfo, Stored, TypeInfo,
    Upcaster, VerifiedSchema,
};
use serde_json::json as value;
use serde_json::value::RawValue;

use crate::read::query;
use crate::refusal::{ask, scan};
use crate::subscription::{json, read_body};
use crate::{App, problem};

pub(crate) async fn register(
    Extension(app): Extension<Arc<App>>,
    Path(kind): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_register(app, kind, request).await)
}

async fn run_register(app: Arc<App>, kind: String, request: Request) -> Result<Response, Problem> {
    let new = new_schema(read_body(&app, request, RegisterSchema::from_json).await?);
    let registered = scan(&app, move |tenant| tenant.register_schema(&kind, new)).await?;
    app.tell(value!({ "version": registered.schema.version, "id": registered.schema.id }));
    let (known, compatibility) = (registered.is_known, compatibility_answer(&registered.checked));
    let mut response = json(&RegisteredAnswer { schema: schema_answer(registered.schema), known, compatibility });
    if !known {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

pub(crate) async fn check(Extension(app): Extension<Arc<App>>, Path(kind): Path<String>, request: Request) -> Response {
    problem::answer(run_check(app, kind, request).await)
}

async fn run_check(app: Arc<App>, kind: String, request: Request) -> Result<Response, Problem> {
    let new = new_schema(read_body(&app, request, RegisterSchema::from_json).await?);
    let checked = scan(&app, move |tenant| tenant.check_schema(&kind, &new)).await?;
    Ok(json(&compatibility_answer(&checked)))
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, PageRequest::from_query(query(&request))).await)
}

async fn run_list(app: Arc<App>, asked: Result<PageRequest, Problem>) -> Result<Response, Problem> {
    let asked = asked?;
    let (after, limit) = (asked.after_name()?, asked.limit());
    let listed = ask(&app, move |tenant| {
        let SchemasInfo { types, has_more } = tenant.schemas(after.as_deref(), limit);
        let cursor = types.last().filter(|_| has_more).map(|last| cursor_after(&last.kind));
        let types = types.into_iter().map(type_answer).collect();
        Ok(json(&SchemasPage { rules: tenant.schema_rules(), types, cursor }))
    });
    listed.await
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, Path(kind): Path<String>) -> Response {
    problem::answer(ask(&app, move |tenant| Ok(json(&type_answer(tenant.schema_type(&kind)?)))).await)
}

pub(crate) async fn version(
    Extension(app): Extension<Arc<App>>,
    Path((kind, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    problem::answer(run_version(app, kind, &version, bundled(query(&request))).await)
}

async fn run_version(
    app: Arc<App>,
    kind: String,
    version: &str,
    bundled: Result<bool, Problem>,
) -> Result<Response, Problem> {
    let (version, is_bundled) = (schema_version("version", version)?, bundled?);
    let found = ask(&app, move |tenant| {
        let mut info = tenant.schema(&kind, version)?;
        if is_bundled {
            info.text = tenant.bundled_schema(&kind, version)?.to_string();
        }
        Ok(info)
    });
    Ok(json(&schema_answer(found.await?)))
}

pub(crate) async fn diff(Extension(app): Extension<Arc<App>>, Path(kind): Path<String>, request: Request) -> Response {
    problem::answer(run_diff(app, kind, DiffRequest::from_query(query(&request))).await)
}

async fn run_diff(app: Arc<App>, kind: String, asked: Result<DiffRequest, Problem>) -> Result<Response, Problem> {
    let DiffRequest { from, to } = asked?;
    let asked = kind.clone();
    let (from, to, changes) = ask(&app, move |tenant| tenant.diff_schemas(&asked, from, to)).await?;
    Ok(json(&SchemaDiffAnswer { kind, from, to, changes }))
}

pub(crate) async fn deprecate(
    Extension(app): Extension<Arc<App>>,
    Path((kind, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    problem::answer(run_deprecate(app, kind, &version, request).await)
}

async fn run_deprecate(app: Arc<App>, kind: String, version: &str, request: Request) -> Result<Response, Problem> {
    let version = schema_version("version", version)?;
    let DeprecateSchema { reason } = read_body(&app, request, DeprecateSchema::from_json).await?;
    app.tell(value!({ "reason": reason }));
    let info = ask(&app, move |tenant| tenant.deprecate_schema(&kind, version, reason)).await?;
    Ok(json(&schema_answer(info)))
}

pub(crate) async fn remove(
    Extension(app): Extension<Arc<App>>,
    Path((kind, version)): Path<(String, String)>,
) -> Response {
    problem::answer(run_remove(app, kind, &version).await)
}

async fn run_remove(app: Arc<App>, kind: String, version: &str) -> Result<Response, Problem> {
    let version = schema_version("version", version)?;
    let removed = format!("{kind}.v{version}");
    scan(&app, move |tenant| tenant.remove_schema(&kind, version)).await?;
    Ok(json(&RemovedSchemaAnswer { removed }))
}

pub(crate) async fn rules(Extension(app): Extension<Arc<App>>, Path(kind): Path<String>, request: Request) -> Response {
    problem::answer(run_rules(app, Some(kind), request).await)
}

pub(crate) async fn defaults(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_rules(app, None, request).await)
}

pub(crate) async fn default_rules(Extension(app): Extension<Arc<App>>) -> Response {
    json(&app.tenant.schema_rules())
}

async fn run_rules(app: Arc<App>, kind: Option<String>, request: Request) -> Result<Response, Problem> {
    let rules: SchemaRules = read_body(&app, request, rules_from_json).await?;
    app.tell(value!(rules));
    ask(&app, move |tenant| tenant.set_schema_rules(kind.as_deref(), rules)).await?;
    Ok(json(&rules))
}

pub(crate) async fn infer(Extension(app): Extension<Arc<App>>, Path(kind): Path<String>) -> Response {
    let asked = kind.clone();
    let inferred = scan(&app, move |tenant| tenant.infer_schema(&asked)).await;
    problem::answer(inferred.map(|(events, schema)| json(&InferredAnswer { kind, events, schema })))
}

pub(crate) async fn upcast(
    Extension(app): Extension<Arc<App>>,
    Path((kind, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    problem::answer(run_upcast(app, kind, &version, request).await)
}

async fn run_upcast(app: Arc<App>, kind: String, version: &str, request: Request) -> Result<Response, Problem> {
    let version = schema_version("version", version)?;
    let SetUpcaster { jq } = read_body(&app, request, SetUpcaster::from_json).await?;
    app.tell(value!({ "jq": jq }));
    let set = scan(&app, move |tenant| tenant.set_upcaster(&kind, version, jq.map(Upcaster::Jq))).await?;
    let (schema, checked) = set;
    Ok(json(&UpcasterSetAnswer { schema: schema_answer(schema), compatibility: compatibility_answer(&checked) }))
}

pub(crate) async fn verify(
    Extension(app): Extension<Arc<App>>,
    Path(kind): Path<String>,
    request: Request,
) -> Response {
    problem::answer(run_verify(app, kind, VerifyRequest::from_query(query(&request))).await)
}

async fn run_verify(app: Arc<App>, kind: String, asked: Result<VerifyRequest, Problem>) -> Result<Response, Problem> {
    let VerifyRequest { version, after } = asked?;
    let wanted = version.map_or(SchemaVersion::Newest, SchemaVersion::At);
    let asked = kind.clone();
    let (verified, position) = scan(&app, move |tenant| {
        let verified = tenant.verify_schema(&asked, wanted, after)?;
        Ok((verified, tenant.position()))
    })
    .await?;
    let VerifiedSchema { version, events, earlier, failed, first, to, .. } = verified;
    let first = first.iter().map(|found| not_upcast(found, Some(found.1.to_string()))).collect();
    Ok(json(&VerifiedAnswer { kind, version, events, earlier, failed, first, to, position }))
}

fn new_schema(asked: RegisterSchema) -> NewSchema {
    let RegisterSchema { schema, version, references, owner, description, examples, upcaster } = asked;
    let upcaster = upcaster.map(|upcaster| Upcaster::Jq(upcaster.jq));
    NewSchema { version, text: schema.get().to_owned(), references, owner, description, examples, upcaster }
}

pub(crate) fn upcaster_answer(upcaster: Upcaster) -> UpcasterAnswer {
    match upcaster {
        Upcaster::Jq(text) => UpcasterAnswer::Jq(text),
        Upcaster::Function(name) => UpcasterAnswer::Function(name),
    }
}

fn schema_answer(info: SchemaInfo) -> SchemaAnswer {
    let SchemaInfo { kind, version, id, text, references, owner, description, examples, deprecated, upcaster, made } =
        info;
    let upcaster = upcaster.map(upcaster_answer);
    let schema = RawValue::from_string(text).expect("what is registered is JSON");
    let made = made.to_string();
    SchemaAnswer { kind, version, id, schema, references, owner, description, examples, deprecated, upcaster, made }
}

fn line(of: SchemaSummary) -> SchemaLine {
    let SchemaSummary { version, id, owner, description, deprecated, upcaster, made } = of;
    let (upcaster, made) = (upcaster.map(upcaster_answer), made.to_string());
    SchemaLine { version, id, owner, description, deprecated, upcaster, made }
}

fn type_answer(info: TypeInfo) -> SchemaTypeAnswer {
    let TypeInfo { kind, rules, versions, refused, marked } = info;
    let versions = versions.into_iter().map(line).collect();
    SchemaTypeAnswer { kind, rules, versions, refused, marked }
}

/// How a schema goes with others, as it goes over the wire.
pub(crate) fn compatibility_answer(checked: &CheckedSchema) -> CompatibilityAnswer {
    let CheckedSchema { level, verdict, stored, upcaster } = checked;
    let breaks = verdict.breaks.iter().map(|found| BreakAnswer {
        direction: found.direction.to_string(),
        version: found.version,
        pointer: found.pointer.clone(),
        detail: found.what.clone(),
    });
    let examples = verdict.counter_examples.iter().map(|found| CounterExampleAnswer {
        direction: found.direction.to_string(),
        version: found.version,
        data: found.payload.clone(),
        pointer: found.pointer.clone(),
    });
    let word = match verdict.answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown => "unknown",
    };
    CompatibilityAnswer {
        compatible: checked.is_compatible(),
        level: level.to_string(),
        verdict: word.to_owned(),
        breaks: breaks.collect(),
        counter_examples: examples.collect(),
        reasons: verdict.reasons.clone(),
        stored: stored.as_ref().map(stored_answer),
        upcaster: upcaster.as_ref().map(upcast_answer),
    }
}

/// What an upcaster makes of what there is, as it goes over the wire.
pub(crate) fn upcast_answer(checked: &CheckedUpcaster) -> UpcastAnswer {
    let CheckedUpcaster { events, failed, first, examples, examples_failed, failed_examples } = checked;
    let failed_examples = failed_examples.iter().map(|(of, index, failure)| NotUpcastExample {
        of: *of,
        index: *index,
        version: failure.version,
        reason: failure.reason.as_str().to_owned(),
        detail: failure.to_string(),
    });
    UpcastAnswer {
        events: *events,
        failed: *failed,
        // An expression may say in its error what it has read.
        first: first.iter().map(|found| not_upcast(found, None)).collect(),
        examples: *examples,
        examples_failed: *examples_failed,
        failed_examples: failed_examples.collect(),
    }
}

fn not_upcast((position, failure): &(u64, NotUpcast), detail: Option<String>) -> NotUpcastAnswer {
    let (version, reason) = (failure.version, failure.reason.as_str().to_owned());
    NotUpcastAnswer { link: format!("/v1/positions/{position}"), position: *position, version, reason, detail }
}

fn stored_answer(stored: &Stored) -> StoredAnswer {
    let first = stored.first.iter().map(|(position, violation)| StoredViolation {
        link: format!("/v1/positions/{position}"),
        position: *position,
        violation: violation.clone(),
    });
    StoredAnswer { events: stored.events, breaking: stored.breaking, first: first.collect() }
}
