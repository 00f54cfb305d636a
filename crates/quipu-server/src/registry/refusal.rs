//! What is refused, as the dialect says it: a number whose first three digits are the HTTP status, and a message. The numbers are
//! those that Confluent documents; what it has no number for has its HTTP status.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use quipu_api::{Code, Problem};
use quipu_engine::{NotDone, SchemaRefusal, Tenant};
use serde_json::json;

use super::entry::{CHALLENGE, MEDIA_REFUSED};
use crate::audited::Said;
use crate::{App, answer as answers, problem};

/// The numbers of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    SubjectNotFound,
    VersionNotFound,
    SchemaNotFound,
    /// It was deleted before.
    SubjectDeleted,
    /// It has to be deleted before it is deleted for good.
    SubjectNotDeleted,
    VersionDeleted,
    VersionNotDeleted,
    LevelNotSet,
    Incompatible,
    InvalidSchema,
    InvalidVersion,
    InvalidLevel,
    InvalidMode,
    NotPermitted,
    Referenced,
    InvalidSubject,
    SchemaTooLarge,
    InvalidRules,
    /// What is here has none.
    Status(u16),
}

impl Number {
    fn value(self) -> u32 {
        match self {
            Self::SubjectNotFound => 40401,
            Self::VersionNotFound => 40402,
            Self::SchemaNotFound => 40403,
            Self::SubjectDeleted => 40404,
            Self::SubjectNotDeleted => 40405,
            Self::VersionDeleted => 40406,
            Self::VersionNotDeleted => 40407,
            Self::LevelNotSet => 40408,
            Self::Incompatible => 40901,
            Self::InvalidSchema => 42201,
            Self::InvalidVersion => 42202,
            Self::InvalidLevel => 42203,
            Self::InvalidMode => 42204,
            Self::NotPermitted => 42205,
            Self::Referenced => 42206,
            Self::InvalidSubject => 42208,
            Self::SchemaTooLarge => 42209,
            Self::InvalidRules => 42210,
            // A failure in the backend.
            Self::Status(500) => 50001,
            Self::Status(status) => status.into(),
        }
    }

    fn status(self) -> u16 {
        match self.value() {
            long @ 10_000.. => (long / 100) as u16,
            short => short as u16,
        }
    }

    /// What stands in the trail.
    fn code(self) -> Code {
        match self.status() {
            404 => Code::SchemaNotFound,
            409 => Code::IncompatibleSchema,
            _ if self == Self::Referenced => Code::SchemaInUse,
            _ => Code::InvalidSchema,
        }
    }
}

/// Why something is not done.
#[derive(Debug)]
pub(super) struct Refused {
    number: Number,
    problem: Box<Problem>,
}

impl Refused {
    pub fn new(number: Number, detail: impl Into<String>) -> Self {
        Self { number, problem: Box::new(Problem::new(number.code(), detail)) }
    }

    /// The same with another number.
    pub fn numbered(self, number: Number) -> Self {
        Self { number, ..self }
    }

    /// The same with more to say.
    pub fn saying(mut self, detail: &str) -> Self {
        self.problem.detail.push_str(detail);
        self
    }

    pub fn number(&self) -> Number {
        self.number
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { number: Number::Status(problem.status), problem: Box::new(problem) }
    }
}

impl From<NotDone> for Refused {
    fn from(not_done: NotDone) -> Self {
        let refused = Self::from(crate::refusal::not_done(&not_done));
        let NotDone::RefusedSchema(refusal) = &not_done else { return refused };
        match refusal {
            SchemaRefusal::NotFound { .. } => refused.numbered(Number::SchemaNotFound),
            SchemaRefusal::InvalidType { .. } => refused.numbered(Number::InvalidSubject),
            SchemaRefusal::Invalid(_)
            | SchemaRefusal::InvalidExample { .. }
            | SchemaRefusal::Exists { .. }
            | SchemaRefusal::WrongVersion { .. }
            // The dialect knows no upcasters.
            | SchemaRefusal::InvalidUpcaster(_)
            | SchemaRefusal::NothingToUpcast { .. }
            | SchemaRefusal::OtherUpcaster { .. }
            | SchemaRefusal::UpcasterFails { .. }
            | SchemaRefusal::NotUpcast { .. } => refused.numbered(Number::InvalidSchema),
            SchemaRefusal::TooLong { .. } => refused.numbered(Number::SchemaTooLarge),
            SchemaRefusal::Incompatible(_) => refused.numbered(Number::Incompatible),
            SchemaRefusal::InUse { .. } | SchemaRefusal::TooMany { .. } => refused.numbered(Number::NotPermitted),
        }
    }
}

/// Asks the engine off the threads that serve sockets.
pub(super) async fn ask<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Arc<Tenant>) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let tenant = Arc::clone(&app.tenant);
    app.home.blocking(move || Ok(work(&tenant))).await?
}

/// As [`ask`], what may read the whole log, or compares schemas: few do at once in a tenant.
pub(super) async fn scan<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Arc<Tenant>) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let tenant = Arc::clone(&app.tenant);
    app.home.scanning(move || Ok(work(&tenant))).await?
}

/// What was found or what stood against it. It gets its form on the way out.
pub(super) fn found(result: Result<Response, Refused>) -> Response {
    result.unwrap_or_else(|Refused { number, problem }| {
        let mut response = problem::respond(&problem);
        *response.status_mut() = status(number.status());
        response.extensions_mut().insert(number);
        response
    })
}

/// A refusal in the form of the dialect, whoever has refused.
pub(super) fn answer(refused: Response) -> Response {
    let (parts, _) = refused.into_parts();
    let number = parts.extensions.get::<Number>().copied().unwrap_or(Number::Status(parts.status.as_u16()));
    let said = parts.extensions.get::<Said>().map(|said| said.detail.as_str());
    let message = said.or(parts.status.canonical_reason()).unwrap_or_default();
    let body = json!({ "error_code": number.value(), "message": message });
    let mut response = answers::typed(MEDIA_REFUSED, body.to_string());
    *response.status_mut() = status(number.status());
    let headers = response.headers_mut();
    for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER, header::ALLOW] {
        parts.headers.get(&name).map(|value| headers.insert(name, value.clone()));
    }
    if parts.status == StatusCode::UNAUTHORIZED {
        headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
    }
    response
}

fn status(number: u16) -> StatusCode {
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_begins_with_its_status() {
        for (number, value, status) in [
            (Number::SubjectNotFound, 40401, 404),
            (Number::Incompatible, 40901, 409),
            (Number::InvalidRules, 42210, 422),
            (Number::Status(500), 50001, 500),
            (Number::Status(429), 429, 429),
            (Number::Status(503), 503, 503),
        ] {
            assert_eq!((number.value(), number.status()), (value, status), "{number:?}");
        }
    }

    #[test]
    fn every_refusal_of_a_schema_has_its_number() {
        let name = || "a.v1".to_owned();
        for (refusal, number) in [
            (SchemaRefusal::NotFound { name: name() }, 40403),
            (SchemaRefusal::InvalidType { name: name() }, 42208),
            (SchemaRefusal::Exists { name: name() }, 42201),
            (SchemaRefusal::WrongVersion { given: 1, next: 2 }, 42201),
            (SchemaRefusal::InvalidExample { index: 0, violations: Vec::new() }, 42201),
            (SchemaRefusal::InUse { name: name(), by: name() }, 42205),
            (SchemaRefusal::TooLong { what: "a reference", limit: 1 }, 42209),
            (SchemaRefusal::TooMany { what: "types", limit: 1 }, 42205),
        ] {
            assert_eq!(Refused::from(NotDone::from(refusal.clone())).number().value(), number, "{refusal}");
        }
    }
}
