//! The conditional append: all or nothing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use quipu_api::{AppendRequest, Code, Problem};
use quipu_engine::{Append, Appended, NotAppended};
use tokio::sync::oneshot;

use crate::{App, answer, body, media, problem};

pub(crate) async fn append(State(app): State<Arc<App>>, request: Request) -> Response {
    problem::answer(run(app, request).await)
}

async fn run(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (parts, request_body) = request.into_parts();
    if let Err(problem) = media::is_json(&parts.headers) {
        body::linger(request_body);
        return Err(problem);
    }
    let bytes = body::whole(&parts.headers, request_body, app.body_limits()).await?;
    let append = read(&app, &bytes)?;
    drop(bytes);
    let (sender, reply) = oneshot::channel();
    app.tenant.append(append, move |appended| {
        // The receiver is gone if the client is; the append is decided all the same.
        let _ = sender.send(appended);
    });
    match reply.await {
        Ok(Ok(appended)) => Ok(answer::json(write(&appended))),
        Ok(Err(NotAppended::Refused(refusal))) => Err(refusal.into()),
        Ok(Err(NotAppended::Fault(fault))) => Err(problem::fault(&fault)),
        Err(_) => Err(problem::no_answer()),
    }
}

fn read(app: &App, bytes: &[u8]) -> Result<Append, Problem> {
    // serde reads an array as the fields of a struct in their order; nobody means that.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        return Err(Problem::pointer("", "expected an object with events, conditions and checkpoint, found an array"));
    }
    let request: AppendRequest = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            let detail = format!("expected an object with events, conditions and checkpoint: {error}");
            Problem::pointer("", detail)
        }
        _ => Problem::new(Code::MalformedJson, format!("expected JSON, found {error}"))
            .with("line", error.line())
            .with("column", error.column()),
    })?;
    request.check_counts()?;
    let (conditions, checkpoint) = (request.conditions()?, request.checkpoint()?);
    let mut events = Vec::with_capacity(request.events.len());
    for (index, text) in request.events.iter().enumerate() {
        let prepared = app.prepare(text.get().as_bytes());
        events.push(
            prepared.map_err(|problem| problem.with("pointer", format!("/events/{index}")).with("index", index))?,
        );
    }
    Ok(Append { events, conditions, checkpoint })
}

fn write(appended: &Appended) -> Vec<u8> {
    let mut out = b"{\"commit\":".to_vec();
    answer::number(&mut out, appended.commit);
    out.extend_from_slice(if appended.is_duplicate { b",\"duplicate\":true" } else { b",\"duplicate\":false" });
    out.extend_from_slice(b",\"events\":[");
    for (index, place) in appended.events.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{".as_slice() } else { b",{" });
        answer::place(&mut out, place);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_engine::Place;

    #[test]
    fn the_answer_reads_as_the_wire_type_and_back() {
        let place = |position, stream_version| Place { position, stream_version };
        let events = vec![place(1, Some(1)), place(2, None)];
        for appended in [
            Appended { commit: 7, events, is_duplicate: false },
            Appended { commit: 8, events: vec![], is_duplicate: true },
        ] {
            let written = write(&appended);
            let answer: quipu_api::AppendAnswer = serde_json::from_slice(&written).unwrap();
            assert_eq!((answer.commit, answer.duplicate), (appended.commit, appended.is_duplicate));
            assert_eq!(serde_json::to_vec(&answer).unwrap(), written);
        }
    }
}
