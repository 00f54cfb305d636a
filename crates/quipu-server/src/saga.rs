//! Sagas, rules and expectations: declaring them, looking at their instances, and intervening.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::request::{ApplyRequest, InstancesRequest, Start};
use quipu_api::saga::{
    ActRequest, AppliedSaga, DECLARATION_BYTES_MAX, DeclaredSaga, DeclaredSagas, FINDINGS_MAX, FailureBody,
    FindingLevel, InstanceAnswer, InstancesPage, RemovedSaga, SagaFinding, SagaKind, TimelineAnswer, TimelineEvent,
    TimelineLine, WaitingBody, read_expectation, read_rule, read_saga,
};
use quipu_api::{Code, MEDIA_TEXT, Problem};
use quipu_domain::saga::{Finding, Level, Span, What};
use quipu_domain::{Access, Permission, Timestamp};
use quipu_engine::{
    DeclarationKind, Fault, InstanceFilter, InstanceInfo, InstanceState, Intervention, PlanInfo, PlanName, Recorded,
    SagaDeclaration, SagaRefusal, SentEvent, Tenant, TimelineEntry,
};
use serde_json::json as value;
use serde_json::value::RawValue;

use crate::caller::Callers;
use crate::read::query;
use crate::refusal::{ask, clip};
use crate::subscription::{json, read_body};
use crate::{App, answer, audited, body, problem, publish};

/// Bytes of events in a timeline behind which only their places are told.
const TIMELINE_BYTES: usize = 4 << 20;

/// A refusal as the public sees it.
pub(crate) fn refused(refusal: &SagaRefusal) -> Problem {
    let of = |code| Problem::new(code, refusal.to_string());
    match refusal {
        SagaRefusal::NotFound { name } => {
            let detail =
                format!("expected a declared {}, found none with the name {}", name.kind.as_str(), clip(&name.name));
            Problem::new(Code::SagaNotFound, detail).with("name", clip(&name.name))
        }
        SagaRefusal::Invalid { findings } => of(Code::InvalidSaga).with("findings", value!(findings_of(findings))),
        SagaRefusal::TooMany { limit } => of(Code::TooManySagas).with("limit", *limit),
        SagaRefusal::InUse { name, open } => of(Code::SagaInUse).with("name", clip(&name.name)).with("open", *open),
        SagaRefusal::NoInstance { number } => of(Code::InstanceNotFound).with("number", *number),
        SagaRefusal::NotPossible(_) => of(Code::SagaState),
        SagaRefusal::NoStep { step } => {
            let detail = format!("expected the name of a step of the saga, found {}", clip(step));
            Problem::pointer("/from", detail)
        }
        SagaRefusal::InvalidReason { limit } => Problem::pointer("/reason", refusal.to_string()).with("limit", *limit),
    }
}

fn findings_of(findings: &[Finding]) -> Vec<SagaFinding> {
    let finding = |finding: &Finding| SagaFinding {
        level: match finding.level {
            Level::Warned => FindingLevel::Warned,
            Level::Refused => FindingLevel::Refused,
        },
        path: finding.path.clone(),
        sentence: finding.sentence.clone(),
    };
    // What keeps it from being applied comes first.
    let (refused, warned): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.level == Level::Refused);
    refused.into_iter().chain(warned).take(FINDINGS_MAX).map(finding).collect()
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>) -> Response {
    problem::answer(run_list(app, DeclarationKind::Saga).await)
}

pub(crate) async fn list_rules(Extension(app): Extension<Arc<App>>) -> Response {
    problem::answer(run_list(app, DeclarationKind::Rule).await)
}

pub(crate) async fn list_expectations(Extension(app): Extension<Arc<App>>) -> Response {
    problem::answer(run_list(app, DeclarationKind::Expectation).await)
}

async fn run_list(app: Arc<App>, kind: DeclarationKind) -> Result<Response, Problem> {
    ask(&app, move |tenant| {
        let all = tenant.sagas()?.into_iter().filter(|info| info.name.kind == kind);
        Ok(json(&DeclaredSagas { declared: all.map(|info| declared(info, false)).collect() }))
    })
    .await
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_get(app, PlanName::saga(name)).await)
}

pub(crate) async fn get_rule(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_get(app, PlanName::rule(name)).await)
}

pub(crate) async fn get_expectation(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_get(app, PlanName::expectation(name)).await)
}

async fn run_get(app: Arc<App>, name: PlanName) -> Result<Response, Problem> {
    ask(&app, move |tenant| Ok(json(&declared(tenant.saga(&name)?, true)))).await
}

pub(crate) async fn remove(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_remove(app, PlanName::saga(name)).await)
}

pub(crate) async fn remove_rule(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_remove(app, PlanName::rule(name)).await)
}

pub(crate) async fn remove_expectation(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    problem::answer(run_remove(app, PlanName::expectation(name)).await)
}

async fn run_remove(app: Arc<App>, name: PlanName) -> Result<Response, Problem> {
    let callers = Arc::clone(&app.home.callers);
    ask(&app, move |tenant| {
        tenant.remove_saga(&name)?;
        if name.kind == DeclarationKind::Saga {
            callers.forget(&name.name);
        }
        Ok(json(&RemovedSaga { removed: name.name }))
    })
    .await
}

pub(crate) async fn diagram(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let drawn = ask(&app, move |tenant| Ok(tenant.plan_of(&PlanName::saga(name))?.mermaid())).await;
    problem::answer(drawn.map(|chart| answer::typed(MEDIA_TEXT, chart)))
}

pub(crate) async fn apply(Extension(app): Extension<Arc<App>>, Path(name): Path<String>, request: Request) -> Response {
    let read = |bytes: &[u8]| read_saga(bytes).map(SagaDeclaration::from);
    problem::answer(run_apply(app, PlanName::saga(name), request, read).await)
}

pub(crate) async fn apply_rule(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let read = |bytes: &[u8]| read_rule(bytes).map(SagaDeclaration::from);
    problem::answer(run_apply(app, PlanName::rule(name), request, read).await)
}

pub(crate) async fn apply_expectation(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let read = |bytes: &[u8]| read_expectation(bytes).map(SagaDeclaration::from);
    problem::answer(run_apply(app, PlanName::expectation(name), request, read).await)
}

async fn run_apply(
    app: Arc<App>,
    name: PlanName,
    request: Request,
    read: impl FnOnce(&[u8]) -> Result<SagaDeclaration, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    let ApplyRequest { is_dry_run, is_strict } = ApplyRequest::from_query(query(&request))?;
    let whole = body::document(&app, request, DECLARATION_BYTES_MAX).await?;
    let (declaration, _held) = publish::parse(&app, whole, |_, bytes| read(bytes)).await?;
    let found = declaration.name();
    if found != name {
        let detail = format!("expected the name of the path, found {:?}", clip(&found.name));
        let path = match name.kind {
            DeclarationKind::Saga => "/saga",
            DeclarationKind::Rule => "/rule",
            DeclarationKind::Expectation => "/expect",
        };
        let finding = SagaFinding { level: FindingLevel::Refused, path: path.into(), sentence: detail.clone() };
        return Err(Problem::new(Code::InvalidSaga, detail).with("findings", value!([finding])));
    }
    let told = told(content(&declaration));
    let applied = ask(&app, move |tenant| tenant.apply_saga(declaration, is_strict, is_dry_run)).await;
    // What is refused may be so for a secret in it: the trail has its name and why, and nothing of its text.
    let told = if applied.is_ok() { told } else { serde_json::Value::Null };
    app.tell(value!({ "declaration": told, "dryrun": is_dry_run, "strict": is_strict }));
    let applied = applied?;
    let outcome = match (is_dry_run, applied.is_new) {
        (true, _) => "valid",
        (false, true) => "new",
        (false, false) => "known",
    };
    let findings = findings_of(&applied.findings);
    let mut response = json(&AppliedSaga { version: applied.version, outcome: outcome.to_owned(), findings });
    if applied.is_new {
        *response.status_mut() = StatusCode::CREATED;
    }
    Ok(response)
}

/// A declaration as it was written.
fn content(declaration: &SagaDeclaration) -> serde_json::Value {
    match declaration {
        SagaDeclaration::Saga(saga) => value!(saga),
        SagaDeclaration::Rule(rule) => value!(rule),
        SagaDeclaration::Expectation(expectation) => value!(expectation),
        SagaDeclaration::Written(written) => value!(written),
    }
}

/// A declaration for the audit trail: of URLs only what is before the path, since the others may hold a secret.
fn told(mut declaration: serde_json::Value) -> serde_json::Value {
    fn cut(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(items) => items.iter_mut().for_each(cut),
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    match value {
                        serde_json::Value::String(url) if name == "http" || name == "url" => audited::without_path(url),
                        value => cut(value),
                    }
                }
            }
            _ => {}
        }
    }
    cut(&mut declaration);
    declaration
}

fn declared(info: PlanInfo, is_whole: bool) -> DeclaredSaga {
    DeclaredSaga {
        kind: kind(info.name.kind),
        name: info.name.name,
        version: info.version,
        declared_time: info.at.to_string(),
        open: info.open,
        instances: info.instances,
        behind: info.behind,
        lacks_code: info.lacks_code,
        stuck: info.stuck,
        keyless: info.keyless,
        declaration: is_whole.then(|| content(&info.declaration)),
    }
}

fn kind(kind: DeclarationKind) -> SagaKind {
    match kind {
        DeclarationKind::Saga => SagaKind::Saga,
        DeclarationKind::Rule => SagaKind::Rule,
        DeclarationKind::Expectation => SagaKind::Expectation,
    }
}

pub(crate) async fn instances(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_instances(app, request).await)
}

async fn run_instances(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = InstancesRequest::from_query(query(&request))?;
    let start = asked.start()?;
    let (access, callers) = (app.access().clone(), Arc::clone(&app.home.callers));
    ask(&app, move |tenant| {
        let filter = filter(asked, tenant.now());
        let Start { from, limit, .. } = start;
        let page = tenant.instances(&filter, from, limit)?;
        let instances = page.instances.into_iter().map(|info| instance(info, &access, &callers)).collect();
        let cursor = page.next.map(|next| start.cursor(next));
        Ok(json(&InstancesPage { instances, cursor, total: page.total }))
    })
    .await
}

pub(crate) fn filter(asked: InstancesRequest, now: Timestamp) -> InstanceFilter {
    let InstancesRequest { saga, rule, expectation, states, key, search, older, stuck, .. } = asked;
    let named = [saga.map(PlanName::saga), rule.map(PlanName::rule), expectation.map(PlanName::expectation)];
    let before = |span: Span| now.plus_ms(i64::try_from(span.ms).unwrap_or(i64::MAX).saturating_neg());
    let is_asked = |state: &InstanceState| states.iter().any(|word| word == state.as_str());
    InstanceFilter {
        name: named.into_iter().flatten().next(),
        states: InstanceState::ALL.into_iter().filter(is_asked).collect(),
        key,
        search,
        opened_before: older.map(before),
        stuck_since: stuck.map(before),
        unchanged_since: None,
    }
}

pub(crate) async fn get_instance(Extension(app): Extension<Arc<App>>, Path(number): Path<String>) -> Response {
    problem::answer(run_get_instance(app, number).await)
}

async fn run_get_instance(app: Arc<App>, number: String) -> Result<Response, Problem> {
    let number = numbered(&number)?;
    let (access, callers) = (app.access().clone(), Arc::clone(&app.home.callers));
    ask(&app, move |tenant| Ok(json(&instance(tenant.instance(number)?, &access, &callers)))).await
}

fn numbered(text: &str) -> Result<u64, Problem> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text.parse().ok().filter(|_| is_number);
    parsed.ok_or_else(|| Problem::parameter("number", "a whole number from 1", text))
}

pub(crate) fn instance(mut info: InstanceInfo, access: &Access, callers: &Callers) -> InstanceAnswer {
    for (at, url) in &info.calls {
        if let Some((reason, until)) = callers.held_back(url) {
            let (sentence, time) = &mut info.waiting[*at];
            (*sentence, *time) = (format!("{sentence} ({reason})"), until);
        }
    }
    let variables = info.variables.filter(|_| access.has_whole(Permission::Read));
    let waiting = info
        .waiting
        .into_iter()
        .map(|(sentence, time)| WaitingBody { sentence, time: time.map(|time| time.to_string()) });
    InstanceAnswer {
        number: info.number,
        kind: kind(info.name.kind),
        name: info.name.name,
        version: info.version,
        key: info.key,
        state: info.state,
        opened_time: info.opened.to_string(),
        updated_time: info.updated.to_string(),
        due_time: info.due.map(|due| due.to_string()),
        start: info.start,
        parent: info.parent,
        failure: info.failure.map(|(step, reason)| FailureBody { step, reason: reason.to_owned() }),
        waiting: waiting.collect(),
        acts: info.acts.into_iter().map(str::to_owned).collect(),
        variables: variables.and_then(|text| serde_json::from_str(&text).ok()),
    }
}

pub(crate) async fn timeline(Extension(app): Extension<Arc<App>>, Path(number): Path<String>) -> Response {
    problem::answer(run_timeline(app, number).await)
}

async fn run_timeline(app: Arc<App>, number: String) -> Result<Response, Problem> {
    let number = numbered(&number)?;
    ask(&Arc::clone(&app), move |tenant| {
        let (entries, skipped) = tenant.timeline(number)?;
        let mut lines = Lines { app: &app, tenant, bytes: 0 };
        let entries = entries.into_iter().map(|entry| lines.line(entry)).collect::<Result<_, Fault>>()?;
        Ok(json(&TimelineAnswer { number, entries, skipped }))
    })
    .await
}

/// The lines of a timeline, as far as whoever asks may see them.
struct Lines<'a> {
    app: &'a App,
    tenant: &'a Arc<Tenant>,
    /// Of events that were shown whole.
    bytes: usize,
}

impl Lines<'_> {
    fn line(&mut self, TimelineEntry { at, note, step, until, sent }: TimelineEntry) -> Result<TimelineLine, Fault> {
        let is_act = note.what.is_act();
        // What a mapping says quotes data.
        let is_of_data = matches!(note.what, What::MappingFailed | What::NotSent);
        let is_shown = !is_of_data || self.app.access().has_whole(Permission::Read);
        let position = Some(note.position).filter(|position| *position > 0);
        let sent = match sent {
            Some(SentEvent { position, .. }) => self.event(position)?,
            None => None,
        };
        let event = match position.filter(|_| !is_act) {
            Some(position) => self.event(position)?,
            None => None,
        };
        Ok(TimelineLine {
            time: at.to_string(),
            what: note.what.as_str().to_owned(),
            step,
            iteration: note.iteration,
            attempt: Some(note.attempt).filter(|attempt| *attempt > 0),
            until_time: until.map(|until| until.to_string()),
            sent,
            event,
            operation: position.filter(|_| is_act),
            text: note.text.filter(|text| is_shown && !text.is_empty()).map(String::from),
        })
    }

    fn event(&mut self, position: u64) -> Result<Option<TimelineEvent>, Fault> {
        let Some(recorded) = self.tenant.event_at(position)? else { return Ok(None) };
        let event = if self.app.access().has(Permission::Read) && self.bytes < TIMELINE_BYTES {
            self.whole(&recorded)?
        } else {
            None
        };
        let (kind, id) = (recorded.event().kind().to_owned(), recorded.event().id().to_owned());
        Ok(Some(TimelineEvent { position, kind, id, event }))
    }

    fn whole(&mut self, recorded: &Recorded) -> Result<Option<Box<RawValue>>, Fault> {
        if !self.app.sees(recorded)? {
            return Ok(None);
        }
        let mut text = Vec::with_capacity(512);
        recorded.write_json(&mut text);
        self.bytes += text.len();
        let text = String::from_utf8(text).ok();
        Ok(text.and_then(|text| RawValue::from_string(text).ok()))
    }
}

macro_rules! acts {
    ($($handler:ident $intervention:expr;)*) => {
        $(pub(crate) async fn $handler(
            Extension(app): Extension<Arc<App>>,
            Path(number): Path<String>,
            request: Request,
        ) -> Response {
            problem::answer(run_act(app, number, $intervention, request).await)
        })*
    };
}

acts! {
    cancel Intervention::Cancel;
    pause Intervention::Pause;
    resume Intervention::Resume;
    retry Intervention::Retry { from: None };
    skip Intervention::Skip;
    resolve Intervention::Resolve;
}

async fn run_act(
    app: Arc<App>,
    number: String,
    intervention: Intervention,
    request: Request,
) -> Result<Response, Problem> {
    let number = numbered(&number)?;
    let ActRequest { reason, from } = read_body(&app, request, ActRequest::from_json).await?;
    let intervention = match (intervention, from.clone()) {
        (Intervention::Retry { .. }, from) => Intervention::Retry { from },
        (other, None) => other,
        (other, Some(_)) => {
            let detail = format!("expected from only to retry, found it to {}", other.as_str());
            return Err(Problem::pointer("/from", detail));
        }
    };
    app.tell(value!({ "reason": reason, "from": from }));
    let (access, callers) = (app.access().clone(), Arc::clone(&app.home.callers));
    ask(&app, move |tenant| {
        tenant.intervene(number, &intervention, reason.as_deref().unwrap_or_default())?;
        Ok(json(&instance(tenant.instance(number)?, &access, &callers)))
    })
    .await
}
