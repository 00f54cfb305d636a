//! Reading the audit trail: pages of it, reports, and the whole of it with its hash chain.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use quipu_api::audit::{ActAnswer, ActorBody, ActsPage, ReportAnswer};
use quipu_api::request::AuditRequest;
use quipu_api::{MEDIA_HTML, MEDIA_JSON, MEDIA_LINES, Problem};
use quipu_domain::Direction;
use quipu_domain::limits::PAGE_EVENTS_MAX;
use quipu_engine::{
    ActOutcome, AuditEntry, AuditPage, AuditQuery, Fault, Head, Tenant, export_begin, export_commit, export_end,
};

use crate::read::{over_stretches, query};
use crate::subscription::json;
use crate::{App, answer, media, problem, report};

/// Acts that are read at once for a report.
const REPORT_PAGE: usize = 1_000;

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = AuditRequest::from_query(query(&request))?;
    let start = asked.start()?;
    let query = audit_query(&asked);
    problem::blocking(move || {
        let read = |from| app.tenant.audited_acts(&query, start.direction, from, start.limit);
        let rest = |page: &AuditPage| page.next.filter(|_| page.entries.is_empty());
        let page = over_stretches(start.from, read, rest)?;
        let cursor = page.next.map(|next| start.cursor(next));
        Ok(json(&ActsPage { acts: page.entries.into_iter().map(act_answer).collect(), cursor }))
    })
    .await
}

pub(crate) async fn report(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_report(app, request).await)
}

async fn run_report(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let media_type = media::accepted(request.headers(), &[MEDIA_JSON, MEDIA_HTML])?;
    let asked = AuditRequest::from_query(query(&request))?;
    for (name, is_there) in
        [("direction", asked.direction.is_some()), ("limit", asked.limit.is_some()), ("cursor", asked.cursor.is_some())]
    {
        if is_there {
            return Err(Problem::parameter(name, "none in a report", "one"));
        }
    }
    let made = problem::blocking(move || make_report(&app.home.name, &app.tenant, &asked)).await?;
    if media_type == MEDIA_HTML {
        let mut page = answer::typed("text/html; charset=utf-8", report::html(&made));
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(report::POLICY));
        return Ok(page);
    }
    Ok(json(&made))
}

/// Everything that is asked for, as far as a report goes.
///
/// # Errors
/// The trail cannot be read.
fn make_report(name: &str, tenant: &Tenant, asked: &AuditRequest) -> Result<ReportAnswer, Fault> {
    let query = audit_query(asked);
    let (mut acts, mut from) = (Vec::new(), None);
    loop {
        let limit = REPORT_PAGE.min(PAGE_EVENTS_MAX - acts.len());
        let page = tenant.audited_acts(&query, Direction::Forward, from, limit)?;
        acts.extend(page.entries.into_iter().map(act_answer));
        from = page.next;
        if from.is_none() || acts.len() >= PAGE_EVENTS_MAX {
            break;
        }
    }
    Ok(ReportAnswer {
        tenant: name.to_owned(),
        made: tenant.now().to_string(),
        question: asked.question(),
        // Asked for at last: everything above is in it.
        head: tenant.audit_head()?.to_string(),
        complete: from.is_none(),
        acts,
    })
}

fn audit_query(asked: &AuditRequest) -> AuditQuery {
    AuditQuery {
        subject: asked.subject.clone(),
        actor: asked.actor.clone(),
        operation: asked.operation.clone(),
        correlation: asked.correlation.clone(),
        outcome: asked.outcome.as_deref().and_then(ActOutcome::parse),
        time: asked.time,
    }
}

fn act_answer(entry: AuditEntry) -> ActAnswer {
    ActAnswer {
        position: entry.position,
        time: entry.time.to_string(),
        act: entry.act,
        operation: entry.operation,
        actor: ActorBody { id: entry.actor.id, name: entry.actor.name },
        address: entry.address,
        subject: entry.subject,
        correlation: entry.correlation,
        outcome: entry.outcome.as_str().to_owned(),
        code: entry.code,
        detail: entry.detail,
        details: entry.details,
        count: entry.count,
    }
}

/// Where an export stands.
enum Stage {
    Begin,
    At(Option<u64>),
    End,
}

pub(crate) async fn export(Extension(app): Extension<Arc<App>>) -> Response {
    problem::answer(run_export(app).await)
}

async fn run_export(app: Arc<App>) -> Result<Response, Problem> {
    let tenant = Arc::clone(&app.tenant);
    let head = problem::blocking(move || tenant.audit_head()).await?;
    let lines = stream::try_unfold(Stage::Begin, move |stage| {
        let app = Arc::clone(&app);
        async move {
            // A body that breaks off has no last line, which whoever verifies it misses.
            app.demand_good().map_err(|problem| std::io::Error::other(problem.detail))?;
            let read = move || next_lines(&app, head, stage);
            let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)?;
            read.map_err(std::io::Error::other)
        }
    });
    Ok(answer::typed(MEDIA_LINES, Body::from_stream(lines)))
}

/// The next lines and where the export stands after them; nothing after its end.
fn next_lines(app: &App, head: Head, stage: Stage) -> Result<Option<(Bytes, Stage)>, Fault> {
    let mut out = Vec::new();
    let stage = match stage {
        Stage::End => return Ok(None),
        Stage::Begin => {
            export_begin(&mut out, &app.home.name);
            Stage::At(None)
        }
        Stage::At(from) => {
            let (commits, next) = app.tenant.scan_trail(from, head)?;
            commits.iter().for_each(|commit| export_commit(&mut out, commit));
            if next.is_none() {
                export_end(&mut out, head);
            }
            next.map_or(Stage::End, |next| Stage::At(Some(next)))
        }
    };
    Ok(Some((Bytes::from(out), stage)))
}
