//! Dead letters: looking at them, which changes nothing, and deciding about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::deadletter::{
    AttemptBody, DeadLetterAt, DeadLetterBody, DeadLetterGroupBody, DeadLetterReason, DeadLetterWord, DecidedAnswer,
    DiscardRequest, RedriveRequest,
};
use quipu_api::request::Start;
use quipu_api::{Code, DeadLetterAnswer, DeadLetterGroupsAnswer, DeadLettersPage, DeadLettersRequest, Problem};
use quipu_domain::delivery::{Attempt, Reason};
use quipu_domain::limits::PAGE_EVENTS_DEFAULT;
use quipu_domain::{Access, Incoming, InvalidEvent, Permission, parse_event, write_event};
use quipu_engine::{
    DeadLetter, DeadLetterFilter, DeadLetterGroup, DeadLetterLine, DeadLetterState, NotDone, Recorded,
    SubscriptionRefusal, Tenant,
};
use serde_json::value::{RawValue, to_raw_value};

use crate::read::query;
use crate::refusal::ask;
use crate::subscription::{json, read_body};
use crate::{App, problem};

/// What the server adds to an event when it is read. Who edits what was read may leave it there.
const ADDED: [&str; 3] = ["position", "streamversion", "recordedtime"];
/// Dead letters looked at in one go, for a state that few have.
const CHUNK: usize = 1_000;

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = DeadLettersRequest::from_query(query(&request))?;
    let start = asked.start()?;
    let access = app.access().clone();
    ask(&app, move |tenant| Ok(json(&page(tenant, asked, start, &access)))).await
}

/// A page of dead letters. Nothing is read from the log for it.
fn page(tenant: &Tenant, asked: DeadLettersRequest, start: Start, access: &Access) -> DeadLettersPage {
    let word = match asked.state.as_deref() {
        None | Some("open") => Some(DeadLetterWord::Open),
        Some("redriven") => Some(DeadLetterWord::Redriven),
        Some("discarded") => Some(DeadLetterWord::Discarded),
        Some(_) => None,
    };
    let with_decided = word != Some(DeadLetterWord::Open);
    let filter = filter(asked, with_decided);
    let (mut dead_letters, mut from) = (Vec::new(), start.from.unwrap_or(0));
    loop {
        let lines = tenant.dead_letters(&filter, from, CHUNK);
        for line in &lines {
            let body = seen(body_of(line), access);
            let is_asked = word.is_none_or(|word| word == body.state);
            if !is_asked || !access.has_for(Permission::Redrive, &body.subscription) {
                continue;
            }
            if dead_letters.len() == start.limit {
                return DeadLettersPage { dead_letters, cursor: Some(start.cursor(body.id)) };
            }
            dead_letters.push(body);
        }
        match lines.last().filter(|_| lines.len() == CHUNK) {
            Some(last) => from = last.id + 1,
            None => return DeadLettersPage { dead_letters, cursor: None },
        }
    }
}

fn filter(asked: DeadLettersRequest, with_decided: bool) -> DeadLetterFilter {
    let DeadLettersRequest { subscription, kind, fingerprint, .. } = asked;
    DeadLetterFilter { subscription, kind, fingerprint, with_decided }
}

pub(crate) async fn groups(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_groups(app, request).await)
}

async fn run_groups(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = DeadLettersRequest::from_query(query(&request))?;
    for (name, is_there) in [("state", asked.state.is_some()), ("cursor", asked.cursor.is_some())] {
        if is_there {
            let detail = format!("expected subscription, type, fingerprint or limit, found {name}");
            return Err(Problem::new(Code::InvalidParameter, detail).with("parameter", name));
        }
    }
    ask(&app, move |tenant| {
        let limit = asked.limit.unwrap_or(PAGE_EVENTS_DEFAULT);
        let groups = tenant.dead_letter_groups(&filter(asked, false));
        let cut = groups.len() > limit;
        let groups = groups.into_iter().take(limit).map(group).collect();
        Ok(json(&DeadLetterGroupsAnswer { groups, cut }))
    })
    .await
}

fn group(group: DeadLetterGroup) -> DeadLetterGroupBody {
    let at = |(id, time): (u64, quipu_domain::Timestamp)| DeadLetterAt { id, time: time.to_string() };
    DeadLetterGroupBody {
        subscription: group.subscription,
        kind: group.kind,
        fingerprint: group.fingerprint,
        count: group.count,
        oldest: at(group.oldest),
        newest: at(group.newest),
    }
}

pub(crate) async fn get(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_get(app, request).await)
}

async fn run_get(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id = id(&request)?;
    let access = app.access().clone();
    ask(&app, move |tenant| {
        let (letter, line) = own(tenant, id, &access)?;
        let recorded = match tenant.event_at(letter.position) {
            // The rest of the story is told all the same.
            Err(quipu_engine::Fault::Damaged { .. }) => None,
            recorded => recorded.map_err(NotDone::Failed)?,
        };
        let history = letter.history.iter().map(attempt).collect();
        let event = event_of(&letter, recorded.as_ref());
        Ok(json(&DeadLetterAnswer {
            dead_letter: seen(body_of(&line), &access),
            event,
            history,
            replay: letter.replay,
        }))
    })
    .await
}

/// A dead letter of a subscription whose dead letters one may see; that of another is as if it were absent.
fn own(tenant: &Tenant, id: u64, access: &Access) -> Result<(DeadLetter, Arc<DeadLetterLine>), NotDone> {
    let found = tenant.dead_letter(id)?;
    match access.has_for(Permission::Redrive, &found.1.subscription) {
        true => Ok(found),
        false => Err(SubscriptionRefusal::DeadLetterNotFound { id }.into()),
    }
}

/// Without the name of a subscription that one may not ask about.
fn seen(body: DeadLetterBody, access: &Access) -> DeadLetterBody {
    let redriven_to = body.redriven_to.filter(|to| access.has_for(Permission::Redrive, to));
    DeadLetterBody { redriven_to, ..body }
}

fn event_of(letter: &DeadLetter, recorded: Option<&Recorded>) -> Option<Box<RawValue>> {
    let recorded = recorded?;
    let mut out = Vec::with_capacity(512);
    match letter.event.as_ref().and_then(|text| parse_event(text.get().as_bytes()).ok()) {
        Some(edited) => write_event(&mut out, &edited.event, Some(&recorded.stamp)),
        None => recorded.write_json(&mut out),
    }
    let text = String::from_utf8(out).ok()?;
    RawValue::from_string(text).ok()
}

fn attempt(attempt: &Attempt) -> AttemptBody {
    AttemptBody {
        number: attempt.number,
        time: attempt.time.to_string(),
        duration_ms: attempt.duration_ms,
        error: attempt.failure.error.clone(),
        status: attempt.failure.status,
        body: attempt.failure.body.clone(),
    }
}

pub(crate) async fn redrive(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_redrive(app, request).await)
}

async fn run_redrive(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id = id(&request)?;
    let RedriveRequest { to, event } = read_body(&app, request, RedriveRequest::from_json).await?;
    if let Some(to) = &to {
        app.demand_for(Permission::Redrive, to)?;
    }
    if event.is_some() {
        app.demand(Permission::Edit)?;
    }
    app.tell(serde_json::json!({ "to": to, "edited": event.is_some() }));
    let event = event.map(|event| edited(&app, &event)).transpose()?;
    let access = app.access().clone();
    let subscription = ask(&app, move |tenant| Ok(own(tenant, id, &access)?.1.subscription.clone())).await?;
    if event.is_some() {
        app.demand_for(Permission::Edit, &subscription)?;
    }
    ask(&app, move |tenant| {
        let copy = match event {
            Some(event) => Some(tenant.redrive_edited(id, event)?),
            None => {
                tenant.redrive(id, to.as_deref())?;
                None
            }
        };
        decided(tenant, id, copy)
    })
    .await
}

/// An edited event, checked as one that is published would be, and without what the server adds when it is read.
fn edited(app: &App, text: &RawValue) -> Result<Box<RawValue>, Problem> {
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text.get())
        .map_err(|error| Problem::pointer("/event", format!("expected an event, found {error}")))?;
    ADDED.iter().for_each(|name| _ = members.remove(*name));
    let bare = to_raw_value(&members).expect("what was JSON is JSON");
    let checked = || -> Result<(), Problem> {
        let Incoming { event, stream_version } = parse_event(bare.get().as_bytes())?;
        app.demand_own_tenant(&event)?;
        let prepared = app.tenant.prepare(&event, stream_version)?;
        // It is kept as a whole with its dead letter.
        let (limit, actual) = (app.host.server.event_bytes_max, bare.get().len());
        if prepared.has_payload() && actual > limit {
            return Err(InvalidEvent::TooLarge { limit, actual }.into());
        }
        prepared.refused().map_or(Ok(()), |refusal| Err(refusal.into()))
    };
    checked().map_err(|problem| problem.with("pointer", "/event"))?;
    Ok(bare)
}

pub(crate) async fn discard(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_discard(app, request).await)
}

async fn run_discard(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let id = id(&request)?;
    let DiscardRequest { reason } = read_body(&app, request, DiscardRequest::from_json).await?;
    app.tell(serde_json::json!({ "reason": reason }));
    let access = app.access().clone();
    ask(&app, move |tenant| {
        own(tenant, id, &access)?;
        tenant.discard(id, &reason)?;
        decided(tenant, id, None)
    })
    .await
}

fn decided(tenant: &Tenant, id: u64, copy: Option<u64>) -> Result<Response, NotDone> {
    let (_, line) = tenant.dead_letter(id)?;
    Ok(json(&DecidedAnswer { dead_letter: body_of(&line), copy }))
}

/// The number in the path, `/v1/deadletters/{id}…` or `/v1/operations/{id}…`.
pub(crate) fn id(request: &Request) -> Result<u64, Problem> {
    number(request, "id")
}

/// As [`id`], of another name.
pub(crate) fn number(request: &Request, name: &str) -> Result<u64, Problem> {
    let text = request.uri().path().split('/').nth(3).unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(|| Problem::parameter(name, "a whole number from 1", text))
}

pub(crate) fn body_of(line: &DeadLetterLine) -> DeadLetterBody {
    let (state, time, redriven_to, discard_reason) = match &line.state {
        DeadLetterState::Open => (DeadLetterWord::Open, None, None, None),
        DeadLetterState::Redriven { to, time } => (DeadLetterWord::Redriven, Some(*time), Some(to.clone()), None),
        DeadLetterState::Discarded { reason, time } => {
            (DeadLetterWord::Discarded, Some(*time), None, Some(reason.clone()))
        }
        DeadLetterState::Expired => (DeadLetterWord::Expired, None, None, None),
    };
    DeadLetterBody {
        id: line.id,
        subscription: line.subscription.clone(),
        position: line.position,
        kind: line.kind.clone(),
        reason: reason(line.reason),
        attempts: line.attempts,
        time: line.time.to_string(),
        fingerprint: line.fingerprint.clone(),
        parks_key: line.parks_key,
        redriven_from: line.redriven_from,
        copy_of: line.copy_of,
        state,
        decided_time: time.map(|time| time.to_string()),
        redriven_to,
        discard_reason,
    }
}

fn reason(reason: Reason) -> DeadLetterReason {
    match reason {
        Reason::AttemptsExhausted => DeadLetterReason::AttemptsExhausted,
        Reason::TooOld => DeadLetterReason::TooOld,
        Reason::GivenUpByConsumer => DeadLetterReason::GivenUpByConsumer,
        Reason::EndpointGone => DeadLetterReason::EndpointGone,
        Reason::TransformationFailed => DeadLetterReason::TransformationFailed,
        Reason::UpcasterFailed => DeadLetterReason::UpcasterFailed,
    }
}
