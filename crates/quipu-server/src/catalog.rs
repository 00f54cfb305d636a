//! The catalog: which event types there are, and what is declared of them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_api::Problem;
use quipu_api::catalog::{
    CatalogLine, CatalogPage, CatalogVersionLine, ConsumerLine, DeclarationBody, PublisherLine, SeenAt, WithdrawnAnswer,
};
use quipu_api::request::CatalogRequest;
use quipu_domain::Timestamp;
use quipu_engine::{CatalogInfo, CatalogType, Declaration, Finding};
use serde_json::json as value;

use crate::read::query;
use crate::refusal::ask;
use crate::subscription::{json, read_body};
use crate::{App, problem};

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
