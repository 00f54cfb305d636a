//! What new versions are held to: the level of a subject, or that of all subjects that have none of their own.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use quipu_domain::schema::compatibility::Level;
use serde::Deserialize;
use serde_json::{Map, Value, json as value};

use super::page::is_true;
use super::refusal::{Number, Refused, ask, found};
use super::subject::Subject;
use super::wire::{is_said, json, read};
use crate::{App, read as reading};

/// A level, and what else Confluent's registry lets a subject have.
#[derive(Deserialize)]
struct ConfigBody {
    compatibility: Option<String>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// What is taken beside the level: schemas are compared as they are meant whether or not it is said.
const NORMALIZE: &str = "normalize";

impl ConfigBody {
    /// The level, if it says nothing else.
    fn level(&self) -> Result<Level, Refused> {
        let mut others = self.others.iter().filter(|(name, value)| *name != NORMALIZE && is_said(Some(value)));
        if let Some((name, _)) = others.next() {
            let name: String = name.chars().take(64).collect();
            let detail = format!("expected compatibility, found {name} beside it, which is not spoken here");
            return Err(Refused::new(Number::NotPermitted, detail));
        }
        let said = self.compatibility.as_deref().unwrap_or_default();
        Level::parse(said).ok_or_else(|| {
            let found: String = said.chars().take(64).collect();
            let detail = format!(
                "expected compatibility to be NONE, BACKWARD, FORWARD or FULL, or one of the last three with _TRANSITIVE, found {found:?}"
            );
            Refused::new(Number::InvalidLevel, detail)
        })
    }
}

/// As the dialect writes it.
fn written(level: Level) -> String {
    level.as_str().to_uppercase().replace('-', "_")
}

fn answer(level: Level) -> Response {
    json(&value!({ "compatibilityLevel": written(level) }))
}

pub(super) async fn of_all(Extension(app): Extension<Arc<App>>) -> Response {
    found(ask(&app, |tenant| Ok(answer(tenant.schema_level(None)))).await)
}

pub(super) async fn of_one(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let is_default_taken = is_true(reading::query(&request), "defaultToGlobal");
    let asked = ask(&app, move |tenant| {
        let subject = Subject::parse(&name)?;
        match subject.own_level(tenant) {
            Some(level) => Ok(answer(level)),
            None if is_default_taken => Ok(answer(tenant.schema_level(Some(&subject.kind)))),
            None => {
                let detail = format!(
                    "expected a compatibility level of {}, found that it has none of its own",
                    subject.clipped()
                );
                Err(Refused::new(Number::LevelNotSet, detail))
            }
        }
    });
    found(asked.await)
}

pub(super) async fn set_for_all(Extension(app): Extension<Arc<App>>, request: Request) -> Response {
    found(set(app, None, request).await)
}

pub(super) async fn set_for_one(
    Extension(app): Extension<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    found(set(app, Some(name), request).await)
}

async fn set(app: Arc<App>, name: Option<String>, request: Request) -> Result<Response, Refused> {
    let subject = name.as_deref().map(Subject::parse).transpose()?;
    let body: ConfigBody = read(&app, request, "an object with compatibility").await?;
    let level = body.level()?;
    app.tell(value!({ "compatibility": level }));
    ask(&app, move |tenant| Ok(tenant.set_schema_level(subject.map(|subject| subject.kind).as_deref(), Some(level))?))
        .await?;
    Ok(json(&value!({ "compatibility": written(level) })))
}

pub(super) async fn unset_for_all(Extension(app): Extension<Arc<App>>) -> Response {
    let unset = ask(&app, |tenant| {
        let before = tenant.schema_level(None);
        tenant.set_schema_level(None, None)?;
        Ok(answer(before))
    });
    found(unset.await)
}

pub(super) async fn unset_for_one(Extension(app): Extension<Arc<App>>, Path(name): Path<String>) -> Response {
    let unset = ask(&app, move |tenant| {
        let subject = Subject::parse(&name)?;
        // Who sets nothing back writes nothing down.
        subject.own_level(tenant).ok_or_else(|| subject.not_found())?;
        let before = tenant.set_schema_level(Some(&subject.kind), None)?;
        Ok(answer(before.unwrap_or_else(|| tenant.schema_level(Some(&subject.kind)))))
    });
    found(unset.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_read_and_written_as_the_dialect_does() {
        for name in
            ["NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"]
        {
            let body = |name: &str| serde_json::from_value::<ConfigBody>(value!({ "compatibility": name })).unwrap();
            assert_eq!(written(body(name).level().unwrap()), name);
            assert_eq!(written(body(&name.to_lowercase()).level().unwrap()), name);
        }
    }

    #[test]
    fn what_is_not_spoken_is_refused_and_not_lost() {
        for (body, expected) in [
            (value!({ "compatibility": "FULL", "normalize": true, "compatibilityGroup": null }), None),
            (value!({ "compatibility": "FULL", "compatibilityGroup": "major" }), Some(Number::NotPermitted)),
            (value!({ "compatibility": "FULL", "alias": "a" }), Some(Number::NotPermitted)),
            (value!({ "compatibility": "SIDEWAYS" }), Some(Number::InvalidLevel)),
            (value!({}), Some(Number::InvalidLevel)),
        ] {
            let found = serde_json::from_value::<ConfigBody>(body.clone()).unwrap().level();
            assert_eq!(found.err().map(|refused| refused.number()), expected, "{body}");
        }
    }
}
