//! The mode: schemas are read and written, always. Another mode would be a promise that nobody keeps: whoever may register does so
//! by our own operations too, and who may not has a key without the permission `schema`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json as value;

use super::refusal::{Number, Refused, found};
use super::wire::{json, read};
use crate::App;

const READWRITE: &str = "READWRITE";
/// What Confluent's registry has beside it.
const OTHERS: [&str; 4] = ["READONLY", "READONLY_OVERRIDE", "IMPORT", "FORWARD"];

#[derive(Deserialize)]
struct ModeBody {
    mode: String,
}

pub(super) async fn get() -> Response {
    answer()
}

/// There is nothing to take back.
pub(super) async fn unset() -> Response {
    answer()
}

pub(super) async fn set(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    found(run_set(app, request).await)
}

async fn run_set(app: Arc<App>, request: Request) -> Result<Response, Refused> {
    let ModeBody { mode } = read(&app, request, "an object with mode").await?;
    check(&mode)?;
    Ok(answer())
}

fn check(mode: &str) -> Result<(), Refused> {
    let is = |known: &str| mode.eq_ignore_ascii_case(known);
    if is(READWRITE) {
        return Ok(());
    }
    if OTHERS.into_iter().any(is) {
        let detail = format!(
            "expected the mode {READWRITE}, found {mode}: to keep somebody from registering, take the permission schema from his key"
        );
        return Err(Refused::new(Number::NotPermitted, detail));
    }
    let mode: String = mode.chars().take(64).collect();
    Err(Refused::new(Number::InvalidMode, format!("expected the mode {READWRITE}, found {mode:?}")))
}

fn answer() -> Response {
    json(&value!({ "mode": READWRITE }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_mode_is_taken_others_are_not_permitted_and_what_is_none_is_invalid() {
        for (mode, expected) in [
            ("READWRITE", None),
            ("readwrite", None),
            ("READONLY", Some(Number::NotPermitted)),
            ("READONLY_OVERRIDE", Some(Number::NotPermitted)),
            ("IMPORT", Some(Number::NotPermitted)),
            ("SLEEPY", Some(Number::InvalidMode)),
            ("", Some(Number::InvalidMode)),
        ] {
            assert_eq!(check(mode).err().map(|refused| refused.number()), expected, "{mode}");
        }
    }
}
