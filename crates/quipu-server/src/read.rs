//! Reading events: by a filter, by source and id, by position. Pages are read and written as JSON off the threads
//! that serve sockets, since reading may touch the disk.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;
use quipu_api::request::{EventRequest, Start, View};
use quipu_api::{CURSOR_HEADER, Code, EventKey, MEDIA_EVENT, MEDIA_JSON, MEDIA_LINES, Problem, ReadRequest};
use quipu_domain::DataForm;
use quipu_engine::{Fault, NotDone, Page, Recorded, Tenant};

use crate::refusal::ask;
use crate::{App, answer, media, problem};

/// Bytes of events after which a page ends, whatever its limit: ten thousand events of a megabyte are no page.
const PAGE_BYTES: usize = 16 << 20;
/// Most events of a page in another version than the stored one: each may take an upcaster tens of milliseconds.
const UPCAST_EVENTS: usize = 1_000;
/// How often an empty stretch of the log is followed by the next within one request: the work of a page is bounded,
/// and a client that asks for a rare event should not need hundreds of requests either.
const STRETCHES: usize = 32;

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let media_type = media::accepted(request.headers(), &[MEDIA_JSON, MEDIA_LINES])?;
    let asked = ReadRequest::from_query(query(&request))?;
    let start = within_reach(asked.start()?, asked.view);
    start.within(app.tenant.position())?;
    let (filter, view) = (app.visible(asked.filter), asked.view);
    ask(&Arc::clone(&app), move |tenant| {
        // Asked before reading: a page without a cursor has then seen everything up to this position.
        let newest = tenant.position();
        let page = read_page(start, |from| tenant.read(&filter, start.direction, from, start.limit))?;
        let next = |recorded: &Recorded| recorded.stamp.position;
        if media_type == MEDIA_LINES {
            return lines(&app.shown(view), &page, start, next);
        }
        let (mut out, cursor) = open_page(&app.shown(view), &page, start, next)?;
        close_page(&mut out, cursor.as_deref(), newest);
        out.push(b'}');
        Ok(answer::json(out))
    })
    .await
}

/// No larger a page than upcasters should work for.
pub(crate) fn within_reach(start: Start, view: View) -> Start {
    let limit = if view.version.is_stored() { start.limit } else { start.limit.min(UPCAST_EVENTS) };
    Start { limit, ..start }
}

/// Reads a page, over empty stretches.
pub(crate) fn read_page(start: Start, read: impl Fn(Option<u64>) -> Result<Page, Fault>) -> Result<Page, Fault> {
    over_stretches(start.from, read, |page| page.next.filter(|_| page.events.is_empty()))
}

/// Reads what `from` leads to, and where that is empty what is behind it; `rest` says where that is.
pub(crate) fn over_stretches<P>(
    from: Option<u64>,
    read: impl Fn(Option<u64>) -> Result<P, Fault>,
    rest: impl Fn(&P) -> Option<u64>,
) -> Result<P, Fault> {
    let mut page = read(from)?;
    for _ in 1..STRETCHES {
        let Some(next) = rest(&page) else { break };
        page = read(Some(next))?;
    }
    Ok(page)
}

/// Writes `{"events":[…]` and says where the next page begins; `key` is where a page would begin with an event.
pub(crate) fn open_page(
    shown: &Shown<'_>,
    page: &Page,
    start: Start,
    key: impl Fn(&Recorded) -> u64,
) -> Result<(Vec<u8>, Option<String>), NotDone> {
    let mut out = b"{\"events\":[".to_vec();
    let mut next = page.next;
    for (index, event) in page.events.iter().enumerate() {
        if out.len() >= PAGE_BYTES {
            next = Some(key(event));
            break;
        }
        if index > 0 {
            out.push(b',');
        }
        shown.write(event, &mut out)?;
    }
    out.push(b']');
    Ok((out, next.map(|next| start.cursor(next))))
}

/// Writes the members behind the events, without the closing brace.
pub(crate) fn close_page(out: &mut Vec<u8>, cursor: Option<&str>, newest: u64) {
    out.extend_from_slice(b",\"cursor\":");
    match cursor {
        Some(cursor) => answer::text(out, cursor),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"position\":");
    answer::number(out, newest);
}

/// The page as one event a line, with the cursor in a header.
pub(crate) fn lines(
    shown: &Shown<'_>,
    page: &Page,
    start: Start,
    key: impl Fn(&Recorded) -> u64,
) -> Result<Response, NotDone> {
    let mut out = Vec::new();
    let mut next = page.next;
    for event in &page.events {
        if out.len() >= PAGE_BYTES {
            next = Some(key(event));
            break;
        }
        shown.write(event, &mut out)?;
        out.push(b'\n');
    }
    let mut response = answer::typed(MEDIA_LINES, Body::from(out));
    if let Some(cursor) = next.and_then(|next| HeaderValue::try_from(start.cursor(next)).ok()) {
        response.headers_mut().insert(CURSOR_HEADER, cursor);
    }
    Ok(response)
}

/// How events are shown to a reader. A payload is read when its event is written, so that a page has one in memory, and not all.
pub(crate) struct Shown<'a> {
    tenant: &'a Tenant,
    view: View,
}

impl App {
    /// Events of the tenant, as this reader wants them.
    pub(crate) fn shown(&self, view: View) -> Shown<'_> {
        Shown { tenant: &self.tenant, view }
    }

    /// An event that is looked for, if the caller may see it.
    async fn find(
        self: &Arc<Self>,
        look: impl FnOnce(&Tenant) -> Result<Option<Recorded>, Fault> + Send + 'static,
    ) -> Result<Option<Recorded>, Problem> {
        let app = Arc::clone(self);
        problem::blocking(move || {
            let Some(found) = look(&app.tenant)? else { return Ok(None) };
            Ok(app.sees(&found)?.then_some(found))
        })
        .await
    }

    /// An event as this reader wants it, off the threads that serve sockets if a payload has to be read or data to be turned.
    async fn show(self: &Arc<Self>, recorded: Recorded, view: View) -> Result<Recorded, Problem> {
        if view.version.is_stored() && (view.data.is_reference() || !recorded.has_payload()) {
            return Ok(recorded);
        }
        ask(self, move |tenant| Shown { tenant, view }.of(&recorded)).await
    }
}

impl Shown<'_> {
    fn of(&self, recorded: &Recorded) -> Result<Recorded, NotDone> {
        let recorded = self.tenant.upcast(recorded.clone(), self.view.version)?;
        match self.view.data {
            DataForm::Reference => Ok(recorded),
            DataForm::Resolved => Ok(self.tenant.resolve(recorded)?),
        }
    }

    fn write(&self, recorded: &Recorded, out: &mut Vec<u8>) -> Result<(), NotDone> {
        match self.view.is_plain() {
            true => recorded.write_json(out),
            false => self.of(recorded)?.write_json(out),
        }
        Ok(())
    }
}

pub(crate) async fn by_id(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_by_id(app, request).await)
}

async fn run_by_id(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let EventRequest { key, view } = EventRequest::from_query(query(&request))?;
    let found = find(&app, key).await?;
    Ok(event(&app.show(found, view).await?))
}

/// The newest event of that source and id.
pub(crate) async fn find(app: &Arc<App>, key: EventKey) -> Result<Recorded, Problem> {
    let EventKey { source, id } = key.clone();
    let found = app.find(move |tenant| tenant.event_by_id(&source, &id)).await?;
    found.ok_or_else(|| {
        let detail = format!("expected an event with source {} and id {}, found none", key.source, key.id);
        Problem::new(Code::EventNotFound, detail)
    })
}

pub(crate) async fn at_position(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_at_position(app, request).await)
}

async fn run_at_position(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (position, view) = (position(&request)?, View::from_query(query(&request))?);
    let found = app.find(move |tenant| tenant.event_at(position)).await?;
    let seen = found.ok_or_else(|| nothing_at(&app, position))?;
    Ok(event(&app.show(seen, view).await?))
}

pub(crate) fn nothing_at(app: &App, position: u64) -> Problem {
    let newest = app.tenant.position();
    let detail = match newest {
        0 => format!("expected an event at position {position}, found an empty log"),
        // Nobody learns from this whether there is one: positions have no gaps.
        newest if (1..=newest).contains(&position) => {
            format!("expected an event at position {position} that the credential may read, found none")
        }
        _ => format!("expected a position from 1 to {newest}, found {position}"),
    };
    Problem::new(Code::PositionNotFound, detail).with("newest", newest)
}

/// The position in the path, `/v1/positions/{position}…`.
pub(crate) fn position(request: &Request) -> Result<u64, Problem> {
    let text = request.uri().path().split('/').nth(3).unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(|| Problem::parameter("position", "a whole number from 1", text))
}

pub(crate) fn query(request: &Request) -> &str {
    request.uri().query().unwrap_or_default()
}

fn event(recorded: &Recorded) -> Response {
    let mut out = Vec::with_capacity(512);
    recorded.write_json(&mut out);
    answer::typed(MEDIA_EVENT, out)
}
