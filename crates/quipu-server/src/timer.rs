//! Timers: events that are published later. Who may publish an event may set a timer for it and cancel that; to who may not it is as
//! if the timer were absent. Keys are of the tenant, as sources and ids of events are, so that one is taken can be learned.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::request::{PageRequest, timer_key};
use quipu_api::timer::{
    CancelBody, CancelledTimerAnswer, RecordedBefore, TimerAnswer, TimerBody, When, cursor_behind, invalid,
};
use quipu_api::{Code, Problem, SetTimerRequest, TimersPage};
use quipu_domain::{Access, Incoming, Permission, Refusal, parse_event, write_event};
use quipu_engine::{
    Append, Fault, FireAt, InvalidTimer, NotAppended, Place, Prepared, Published, Tenant, TimerInfo, TimerName,
};
use serde_json::value::RawValue;

use crate::admission::may_publish;
use crate::answer::Outcome;
use crate::deadletter::number;
use crate::read::query;
use crate::subscription::json;
use crate::{App, body, problem, publish};

pub(crate) async fn set(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_set(app, request).await)
}

async fn run_set(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let request = app.demand_rate_of(request).await?;
    let whole = body::json(&app, request).await?;
    let read = |app: &App, bytes: &[u8]| {
        let asked = SetTimerRequest::from_json(bytes)?;
        Ok((prepare(app, &asked)?, Named::of(app, &[asked], &[])))
    };
    let ((prepared, named), held) = publish::parse(&app, whole, read).await?;
    let tenant = Arc::clone(&app.tenant);
    let work = move || {
        let _held = held;
        let append = Append { timers: vec![prepared], ..Append::default() };
        let append = match named {
            Some(named) => named.found(&tenant, append)?,
            None => append,
        };
        match tenant.append_wait(append) {
            Ok(appended) => Ok(Ok(appended)),
            Err(NotAppended::Refused(refusal)) => Ok(Err(refusal)),
            Err(NotAppended::Fault(fault)) => Err(fault),
        }
    };
    match app.home.blocking(work).await? {
        Ok(appended) => match appended.timers.first() {
            Some(Some(published)) => Ok(answered(published)),
            _ => Err(problem::no_answer()),
        },
        Err(refusal) => Err(without_others(&app, alone(refusal))),
    }
}

/// A refusal of the one timer that was set: which one of the engine's message it was says nothing to the client.
fn alone(refusal: Refusal) -> Problem {
    match Outcome::from(Published::Refused(refusal)) {
        Outcome::Refused(problem) => *problem,
        _ => problem::no_answer(),
    }
}

fn answered(published: &Published) -> Response {
    let answer = answer_of(published);
    let mut response = json(&answer);
    if matches!(answer, TimerAnswer::Waits(waits) if !waits.duplicate) {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

/// What became of a timer that was set.
pub(crate) fn answer_of(published: &Published) -> TimerAnswer {
    match published {
        Published::Scheduled(waits) => TimerAnswer::Waits(quipu_api::Scheduled {
            timer: waits.timer,
            due: waits.due.to_string(),
            duplicate: waits.is_duplicate,
        }),
        Published::Recorded(place) | Published::Duplicate(place) => {
            let Place { position, stream_version } = *place;
            TimerAnswer::Recorded(RecordedBefore {
                place: quipu_api::Place { position, stream_version },
                duplicate: true,
            })
        }
        Published::Refused(refusal) => unreachable!("an append is refused as a whole: {refusal}"),
    }
}

/// Reads, checks and encodes an event that is published later. Places in problems are those in the timer.
pub(crate) fn prepare(app: &App, timer: &SetTimerRequest) -> Result<Prepared, Problem> {
    let text = timer.event.get().as_bytes();
    app.count_event(text.len());
    let when = timer.when()?;
    let of_event = |problem: Problem| problem.with("pointer", "/event");
    let Incoming { event, stream_version } = parse_event(text).map_err(|invalid| of_event(invalid.into()))?;
    if stream_version.is_some() {
        let detail = "expected no stream version, found one: nobody knows the version of a later time";
        return Err(invalid("/event/streamversion", detail));
    }
    app.demand_publish(&event).map_err(of_event)?;
    let fires = match when {
        When::At(at) => FireAt::Time(at),
        When::AfterMs(ms) => FireAt::AfterMs(ms),
    };
    // Who may not cancel all timers replaces one by its number.
    let replaces = timer.replace && app.access().has_whole(Permission::Publish);
    app.tenant.prepare_timer(&event, fires, timer.key.clone(), replaces).map_err(|refusal| match refusal {
        InvalidTimer::Event(event) => of_event(event.into()),
        InvalidTimer::TooFar { .. } | InvalidTimer::Expired { .. } => invalid(when.pointer(), refusal.to_string()),
        InvalidTimer::Delayed => invalid("/event/deliverat", refusal.to_string()),
        InvalidTimer::Key { .. } => invalid("/key", refusal.to_string()),
    })
}

/// A problem of a timer of an append, whose events come before the timers.
pub(crate) fn of_append(problem: Problem, index: usize, events: usize) -> Problem {
    let own = problem.members.get("pointer").and_then(|pointer| pointer.as_str()).unwrap_or_default();
    let pointer = format!("/timers/{index}{own}");
    problem.with("pointer", pointer).with("index", events + index)
}

/// The timer that is meant.
pub(crate) fn name(body: &CancelBody) -> TimerName {
    match (&body.timer, &body.key) {
        (Some(timer), _) => TimerName::Number(*timer),
        (None, key) => TimerName::Key(key.clone().unwrap_or_default()),
    }
}

/// The timers that are named by an append of somebody who may not publish all events: whether he may know them is looked up before,
/// and the loop is told their numbers, which no other timer ever has.
#[derive(Clone)]
pub(crate) struct Named {
    access: Access,
    cancels: usize,
    /// Which of the timers are to take the place of another, and its key.
    replaced: Vec<(usize, String)>,
}

impl Named {
    /// Nothing if there is nothing to look up.
    pub fn of(app: &App, timers: &[SetTimerRequest], cancels: &[CancelBody]) -> Option<Self> {
        let access = app.access();
        if access.has_whole(Permission::Publish) {
            return None;
        }
        let replacing = timers.iter().enumerate().filter(|(_, timer)| timer.replace);
        let replaced: Vec<_> = replacing.filter_map(|(index, timer)| Some((index, timer.key.clone()?))).collect();
        let is_some = !replaced.is_empty() || !cancels.is_empty();
        is_some.then(|| Self { access: access.clone(), cancels: cancels.len(), replaced })
    }

    /// How many the client has named to be cancelled.
    pub fn cancels(&self) -> usize {
        self.cancels
    }

    /// The append with the numbers of those that may be cancelled in place of names.
    pub fn found(&self, tenant: &Arc<Tenant>, mut append: Append) -> Result<Append, Fault> {
        for name in &mut append.cancels {
            // There is no timer 0.
            *name = TimerName::Number(own(tenant, &self.access, name)?.map_or(0, |found| found.timer));
        }
        for (index, key) in &self.replaced {
            let Some(found) = own(tenant, &self.access, &TimerName::Key(key.clone()))? else { continue };
            let (before, event) = (found.event(), append.timers[*index].event());
            // The same event again is no second timer.
            if (before.source(), before.id()) != (event.source(), event.id()) {
                append.cancels.push(TimerName::Number(found.timer));
            }
        }
        Ok(append)
    }
}

/// A timer that waits, if its event is one that may be published.
fn own(tenant: &Arc<Tenant>, access: &Access, name: &TimerName) -> Result<Option<TimerInfo>, Fault> {
    Ok(tenant.timer(name)?.filter(|found| may_publish(access, &found.event())))
}

/// A refusal without the number of a timer, to somebody who may not know all of them.
pub(crate) fn without_others(app: &App, problem: Problem) -> Problem {
    if problem.code() != Some(Code::TimerExists) || app.access().has_whole(Permission::Publish) {
        return problem;
    }
    let key = problem.members.get("key").cloned().unwrap_or_default();
    let found = key.as_str().unwrap_or_default();
    let detail =
        format!("expected a key that no timer has, found {found}: cancel the timer that has it, or replace it");
    Problem::new(Code::TimerExists, detail).with("key", key)
}

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = PageRequest::from_query(query(&request))?;
    let (behind, limit) = (asked.behind_timer()?, asked.limit());
    let (tenant, access) = (Arc::clone(&app.tenant), app.access().clone());
    let work = move || {
        let page = tenant.timers(behind, limit)?;
        let timers = page.timers.iter().map(|timer| shown(timer, &access)).collect();
        let cursor = page.next.map(|(due, timer)| cursor_behind(due, timer));
        Ok(json(&TimersPage { timers, total: page.total, cursor }))
    };
    app.home.blocking(work).await
}

/// A timer with its event, if that may be read. Of one whose data is kept beside the log, what depends on that is not known.
fn shown(timer: &TimerInfo, access: &Access) -> TimerBody {
    let event = timer.event();
    let is_visible = access.has(Permission::Read) && access.visible().is_none_or(|visible| visible.shows(&event, None));
    let text = is_visible.then(|| {
        let mut text = Vec::with_capacity(512);
        write_event(&mut text, &event, None);
        let text = String::from_utf8(text).expect("JSON is text");
        RawValue::from_string(text).expect("an event is JSON")
    });
    TimerBody {
        timer: timer.timer,
        key: timer.key().map(str::to_owned),
        due: timer.due.to_string(),
        set: timer.set.to_string(),
        kind: event.kind().to_owned(),
        event: text,
    }
}

pub(crate) async fn show(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_show(app, request).await)
}

async fn run_show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = TimerName::Number(number(&request, "number")?);
    let (tenant, access) = (Arc::clone(&app.tenant), app.access().clone());
    let work = move || {
        let found = tenant.timer(&name)?;
        Ok(found.map(|timer| json(&shown(&timer, &access))).ok_or_else(|| not_found(&name)))
    };
    app.home.blocking(work).await?
}

pub(crate) async fn cancel(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    let name = number(&request, "number").map(TimerName::Number);
    problem::answer(run_cancel(app, name).await)
}

pub(crate) async fn cancel_key(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    let name = timer_key(query(&request)).map(TimerName::Key);
    problem::answer(run_cancel(app, name).await)
}

async fn run_cancel(app: Arc<App>, name: Result<TimerName, Problem>) -> Result<Response, Problem> {
    let name = name?;
    let (tenant, access) = (Arc::clone(&app.tenant), app.access().clone());
    let work = move || {
        let is_whole = access.has_whole(Permission::Publish);
        let meant = if is_whole {
            Some(name.clone())
        } else {
            own(&tenant, &access, &name)?.map(|found| TimerName::Number(found.timer))
        };
        let cancelled = meant.map(|meant| tenant.cancel_timer(meant)).transpose()?.flatten();
        Ok(cancelled.ok_or_else(|| not_found(&name)))
    };
    let timer = app.home.blocking(work).await??;
    Ok(json(&CancelledTimerAnswer { timer }))
}

fn not_found(name: &TimerName) -> Problem {
    let of = |found: String| {
        Problem::new(Code::TimerNotFound, format!("expected a timer that waits, found none with {found}"))
    };
    match name {
        TimerName::Number(number) => of(format!("the number {number}")).with("timer", *number),
        TimerName::Key(key) => {
            let key: String = key.chars().take(128).collect();
            of(format!("the key {key}")).with("key", key)
        }
    }
}
