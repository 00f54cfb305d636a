//! Reading streams: which there are, and the events of one.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use percent_encoding::percent_decode_str;
use quipu_api::request::{Start, View};
use quipu_api::{Code, MEDIA_JSON, MEDIA_LINES, Problem, StreamLine, StreamRequest, StreamsPage, StreamsRequest};
use quipu_engine::{NotDone, Recorded, StreamInfo};

use crate::read::{close_page, lines, open_page, query, read_page, within_reach};
use crate::refusal::ask;
use crate::{App, answer, media, problem};

const PATH: &str = "/v1/streams/";

pub(crate) async fn list(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_list(app, request).await)
}

async fn run_list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = StreamsRequest::from_query(query(&request))?;
    let start = asked.start()?;
    start.within(app.tenant.position())?;
    problem::blocking(move || {
        let (streams, next) = app.tenant.streams(&asked.prefix, start.from.unwrap_or(0), start.limit)?;
        let line = |info: StreamInfo| StreamLine {
            subject: info.subject,
            version: info.version,
            position: info.position,
            first_position: info.first_position,
        };
        let streams = streams.into_iter().map(line).collect();
        let page = StreamsPage { streams, cursor: next.map(|next| start.cursor(next)) };
        Ok(answer::json(serde_json::to_vec(&page).expect("a page of streams is JSON")))
    })
    .await
}

pub(crate) async fn read(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_read(app, request).await)
}

async fn run_read(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let media_type = media::accepted(request.headers(), &[MEDIA_JSON, MEDIA_LINES])?;
    let subject = subject(request.uri().path())?;
    let asked = StreamRequest::from_query(query(&request))?;
    let start = within_reach(asked.start(&subject)?, asked.view);
    ask(&Arc::clone(&app), move |_| page(&app, &subject, (start, asked.view), media_type)).await?
}

/// A page of a stream, in versions.
fn page(
    app: &App,
    subject: &str,
    (start, view): (Start, View),
    media_type: &str,
) -> Result<Result<Response, Problem>, NotDone> {
    let newest = app.tenant.position();
    let version = app.tenant.stream(subject)?.version;
    if version == 0 {
        let detail = format!("expected a stream {subject}, found no event with this subject");
        return Ok(Err(Problem::new(Code::StreamNotFound, detail).with("stream", subject)));
    }
    if let Err(problem) = start.within(version) {
        return Ok(Err(problem));
    }
    let page = read_page(start, |from| app.tenant.read_stream(subject, start.direction, from, start.limit))?;
    let key = |recorded: &Recorded| recorded.stamp.stream_version.unwrap_or_default();
    if media_type == MEDIA_LINES {
        return Ok(Ok(lines(&app.shown(view), &page, start, key)?));
    }
    let (mut out, cursor) = open_page(&app.shown(view), &page, start, key)?;
    close_page(&mut out, cursor.as_deref(), newest);
    out.extend_from_slice(b",\"version\":");
    answer::number(&mut out, version);
    out.push(b'}');
    Ok(Ok(answer::json(out)))
}

/// The rest of the path, percent-decoded once. Taken from the path as it came, so that a subject that begins or ends
/// with a slash stays what it is.
fn subject(path: &str) -> Result<String, Problem> {
    let raw = path.strip_prefix(PATH).unwrap_or_default();
    match percent_decode_str(raw).decode_utf8() {
        Ok(subject) => Ok(subject.into_owned()),
        Err(_) => Err(Problem::parameter("subject", "percent-encoded UTF-8", raw)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_the_rest_of_the_path() {
        for (path, name) in [
            ("/v1/streams/order/17", "order/17"),
            ("/v1/streams/order%2F17", "order/17"),
            ("/v1/streams//a/", "/a/"),
            ("/v1/streams/a%20b%25", "a b%"),
        ] {
            assert_eq!(subject(path).as_deref(), Ok(name));
        }
        assert!(subject("/v1/streams/%ff").is_err());
    }
}
