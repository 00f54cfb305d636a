//! What a changed saga would have made of history. The answer is the engine's.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use quipu_api::saga::{DECLARATION_BYTES_MAX, read_saga};
use quipu_api::what_if::{WhatIfAnswer, WhatIfBody, WhatIfRequest, WhatIfWord};
use quipu_api::{Code, Problem};
use quipu_engine::{WhatIf, WhatIfDifference, WhatIfVerdict};
use serde_json::json as value;

use crate::refusal::scan;
use crate::subscription::{json, read_body};
use crate::{App, problem};

pub(crate) async fn ask(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    problem::answer(run(app, request).await)
}

async fn run(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let WhatIfRequest { declaration, from, until } = read_body(&app, request, WhatIfRequest::from_json).await?;
    if declaration.get().len() > DECLARATION_BYTES_MAX {
        let detail = format!("expected a declaration of at most {DECLARATION_BYTES_MAX} bytes");
        return Err(Problem::pointer("/declaration", detail).with("limit", DECLARATION_BYTES_MAX));
    }
    let changed = read_saga(declaration.get().as_bytes())?;
    app.tell(value!({ "saga": changed.saga, "from": from, "until": until }));
    // Dropped with this when the client has left: nobody reads on for him.
    let here = Arc::new(());
    let is_here = Arc::downgrade(&here);
    let found =
        scan(&app, move |tenant| tenant.what_if(changed, &from, &until, &|| is_here.strong_count() > 0)).await?;
    drop(here);
    let gone = || Problem::new(Code::Unavailable, "the question was taken back");
    Ok(json(&answer(found.ok_or_else(gone)?)))
}

fn answer(found: WhatIf) -> WhatIfAnswer {
    let difference = |one: WhatIfDifference| WhatIfBody {
        verdict: match one.verdict {
            WhatIfVerdict::Otherwise => WhatIfWord::Otherwise,
            WhatIfVerdict::OnlyNew => WhatIfWord::OnlyNew,
            WhatIfVerdict::OnlyOld => WhatIfWord::OnlyOld,
            WhatIfVerdict::Unknown => WhatIfWord::Unknown,
            WhatIfVerdict::Intervened => WhatIfWord::Intervened,
        },
        key: one.key,
        number: one.number,
        was: one.was,
        would_be: one.would_be,
        step: one.step,
        why: one.why,
    };
    WhatIfAnswer {
        from: found.from,
        until: found.until,
        until_time: found.until_time.to_string(),
        same: found.same,
        otherwise: found.otherwise,
        only_new: found.only_new,
        only_old: found.only_old,
        unknown: found.unknown,
        intervened: found.intervened,
        open: found.open,
        before: found.before,
        left_out: found.left_out,
        differences: found.differences.into_iter().map(difference).collect(),
    }
}
