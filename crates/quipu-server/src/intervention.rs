//! Acts on many instances of sagas: previewed here, and then operations like others. What they do is the engine's.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use quipu_api::Problem;
use quipu_api::intervention::{ActWord, InterventionPreview, InterventionRequest, InterventionWork};
use quipu_api::operation::WorkBody;
use quipu_engine::{Intervention, PREVIEW_MS};

use crate::refusal::scan;
use crate::subscription::{json, read_body};
use crate::{App, operation, problem, saga};

pub(crate) async fn preview(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run_preview(app, request).await)
}

async fn run_preview(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let asked = read_body(&app, request, InterventionRequest::from_json).await?;
    let rate = asked.rate_per_second.map(operation::rate);
    let InterventionWork { act, from, reason } = asked.work;
    let act = intervention(act, from);
    let (access, callers) = (app.access().clone(), Arc::clone(&app.home.callers));
    let answer = scan(&app, move |tenant| {
        let filter = saga::filter(asked.select.into(), tenant.now());
        let (info, sample) = tenant.preview_intervention(act, reason.as_deref().unwrap_or_default(), &filter, rate)?;
        Ok(InterventionPreview {
            operation: operation::answer(&info),
            confirm_before: info.time.plus_ms(PREVIEW_MS).to_string(),
            sample: sample.into_iter().map(|info| saga::instance(info, &access, &callers)).collect(),
        })
    })
    .await?;
    let told = serde_json::to_value(&answer.operation).expect("a wire type is JSON");
    app.tell_of(format!("operations/{}", answer.operation.id), told);
    let mut response = json(&answer);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

fn intervention(act: ActWord, from: Option<String>) -> Intervention {
    match act {
        ActWord::Cancel => Intervention::Cancel,
        ActWord::Pause => Intervention::Pause,
        ActWord::Resume => Intervention::Resume,
        ActWord::Retry => Intervention::Retry { from },
        ActWord::Skip => Intervention::Skip,
        ActWord::Resolve => Intervention::Resolve,
    }
}

/// What an operation does to each instance.
pub(crate) fn work(act: &Intervention, reason: &str) -> WorkBody {
    let (act, from) = match act {
        Intervention::Cancel => (ActWord::Cancel, None),
        Intervention::Pause => (ActWord::Pause, None),
        Intervention::Resume => (ActWord::Resume, None),
        Intervention::Retry { from } => (ActWord::Retry, from.clone()),
        Intervention::Skip => (ActWord::Skip, None),
        Intervention::Resolve => (ActWord::Resolve, None),
    };
    WorkBody::Saga(InterventionWork { act, from, reason: Some(reason.to_owned()).filter(|reason| !reason.is_empty()) })
}
