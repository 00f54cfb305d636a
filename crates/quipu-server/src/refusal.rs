//! What the engine refuses about subscriptions, dead letters and operations, as problems: the contract does not know the engine.

use quipu_api::{Code, Problem};
use quipu_domain::delivery::NotInFlight;
use quipu_engine::{
    CatalogRefusal, KeyRefusal, NotDone, OperationRefusal, ProjectionRefusal, ReplayRefusal, SchemaRefusal,
    SubscriptionRefusal, Tenant, TenantRefusal,
};
use std::sync::Arc;

use crate::pusher::{NotMade, Pushers};
use crate::{App, problem, saga, schedule, schema};

/// A refusal as the public sees it.
pub(crate) fn refused(refusal: &SubscriptionRefusal) -> Problem {
    let detail = refusal.to_string();
    let of = |code| Problem::new(code, detail.as_str());
    match refusal {
        SubscriptionRefusal::NotFound { name } => of(Code::SubscriptionNotFound).with("name", clip(name)),
        SubscriptionRefusal::Exists { name } => of(Code::SubscriptionExists).with("name", clip(name)),
        SubscriptionRefusal::InvalidName { .. } => of(Code::InvalidSubscription).with("pointer", "/name"),
        SubscriptionRefusal::Invalid(invalid) => {
            of(Code::InvalidSubscription).with("pointer", invalid.pointer.as_ref())
        }
        SubscriptionRefusal::InvalidPattern(invalid) => of(Code::InvalidPattern)
            .with("path", invalid.path.as_str())
            .with("expected", invalid.expected.as_str())
            .with("found", invalid.found.as_str()),
        SubscriptionRefusal::InvalidTransform(invalid) => {
            let of = of(Code::InvalidSubscription).with("pointer", invalid.pointer.as_str());
            of.with("line", invalid.line).with("column", invalid.column)
        }
        SubscriptionRefusal::TooMany { limit } => of(Code::TooManySubscriptions).with("limit", *limit),
        SubscriptionRefusal::NotInFlight { position, why: NotInFlight::Late } => {
            of(Code::DeliveryNotInFlight).with("position", *position)
        }
        SubscriptionRefusal::NotInFlight { position, why: NotInFlight::OutOfOrder { first } } => {
            of(Code::AnswerOutOfOrder).with("position", *position).with("first", *first)
        }
        SubscriptionRefusal::DeadLetterNotFound { id } => of(Code::DeadLetterNotFound).with("id", *id),
        SubscriptionRefusal::DeadLetterDecided { id } => of(Code::DeadLetterDecided).with("id", *id),
    }
}

/// A refusal of an operation as the public sees it.
fn refused_operation(refusal: &OperationRefusal) -> Problem {
    let detail = refusal.to_string();
    let of = |code| Problem::new(code, detail.as_str());
    match refusal {
        OperationRefusal::NotFound { id } => of(Code::OperationNotFound).with("id", *id),
        OperationRefusal::WrongState { id, state } => {
            of(Code::OperationState).with("id", *id).with("state", state.to_string())
        }
        OperationRefusal::Nothing | OperationRefusal::NoInstance { .. } => {
            of(Code::InvalidOperation).with("pointer", "/select")
        }
        OperationRefusal::TooManyItems { limit } => {
            of(Code::InvalidOperation).with("pointer", "/select").with("limit", *limit)
        }
        OperationRefusal::TooMany { limit } => of(Code::TooManyOperations).with("limit", *limit),
        OperationRefusal::NoRoom { limit, held } => {
            of(Code::TooManyOperations).with("limit", *limit).with("held", *held)
        }
        OperationRefusal::SubscriptionNotFound { name } => {
            // The detail of the engine has the whole name.
            let detail = format!("expected a subscription, found none with the name {}", clip(name));
            let problem = Problem::new(Code::InvalidOperation, detail);
            problem.with("pointer", "/work/redrive/to").with("name", clip(name))
        }
        OperationRefusal::InvalidRate { .. } => {
            let detail = "expected ratepersecond above 0 and at most 1e9";
            Problem::new(Code::InvalidOperation, detail).with("pointer", "/ratepersecond")
        }
        OperationRefusal::Replay(refusal) => refused_replay(refusal),
    }
}

/// A refusal of a replay as the public sees it.
fn refused_replay(refusal: &ReplayRefusal) -> Problem {
    let at = |pointer: &str| Problem::new(Code::InvalidOperation, refusal.to_string()).with("pointer", pointer);
    // Names come from definitions, which have short ones, or were cut.
    match refusal {
        ReplayRefusal::InvalidPlace { pointer, .. } => at(pointer),
        ReplayRefusal::EmptyRange { from, until } => at("/until").with("from", *from).with("until", *until),
        ReplayRefusal::InvalidSpeed => at("/speed"),
        ReplayRefusal::InvalidPattern(invalid) => refused(&SubscriptionRefusal::InvalidPattern(invalid.clone())),
        ReplayRefusal::NoSuchSubscription { name } => at("/shadow/of").with("name", clip(name)),
        ReplayRefusal::InvalidShadow { .. } => at("/shadow"),
        ReplayRefusal::WebhooksBlocked { name } => at("/webhooks").with("name", clip(name)),
        ReplayRefusal::Answers { name } | ReplayRefusal::NotAccepted { name } => at("/to").with("name", clip(name)),
        ReplayRefusal::TooMany { limit } => {
            Problem::new(Code::TooManyOperations, refusal.to_string()).with("limit", *limit)
        }
        ReplayRefusal::Abandoned => Problem::new(Code::Overloaded, refusal.to_string()),
    }
}

/// A refusal of a key as the public sees it.
fn refused_key(refusal: &KeyRefusal) -> Problem {
    let of = |code| Problem::new(code, refusal.to_string());
    match refusal {
        KeyRefusal::NotFound { id } => of(Code::KeyNotFound).with("id", clip(id)),
        KeyRefusal::InvalidName { .. } => of(Code::InvalidKey).with("pointer", "/name"),
        KeyRefusal::NoGrants => of(Code::InvalidKey).with("pointer", "/grants"),
        KeyRefusal::Invalid(invalid) => {
            Problem::new(Code::InvalidKey, invalid.detail.as_str()).with("pointer", invalid.pointer.as_str())
        }
        KeyRefusal::InvalidLife { what, limit, .. } => {
            of(Code::InvalidKey).with("pointer", format!("/{what}")).with("limit", *limit)
        }
        KeyRefusal::TooMany { limit } => of(Code::TooManyKeys).with("limit", *limit),
    }
}

/// A refusal of an act on a tenant as operators see it.
fn refused_tenant(refusal: &TenantRefusal) -> Problem {
    let of = |code| Problem::new(code, refusal.to_string());
    match refusal {
        TenantRefusal::NotFound { name } => of(Code::TenantNotFound).with("tenant", clip(name)),
        TenantRefusal::Exists { name } => of(Code::TenantExists).with("tenant", clip(name)),
        TenantRefusal::InvalidName { .. } => of(Code::InvalidTenant).with("pointer", "/name"),
        TenantRefusal::InvalidReason { limit } => {
            of(Code::InvalidTenant).with("pointer", "/reason").with("limit", *limit)
        }
        TenantRefusal::WrongState { name, state, .. } => {
            of(Code::TenantState).with("tenant", clip(name)).with("state", *state)
        }
        TenantRefusal::Busy { name } => of(Code::TenantState).with("tenant", clip(name)).with("state", "deleting"),
        TenantRefusal::TooMany { limit } => of(Code::TooManyTenants).with("limit", *limit),
    }
}

/// A refusal of a schema as the public sees it.
fn refused_schema(refusal: &SchemaRefusal) -> Problem {
    let of = |code| Problem::new(code, refusal.to_string());
    match refusal {
        SchemaRefusal::NotFound { name } => of(Code::SchemaNotFound).with("schema", clip(name)),
        SchemaRefusal::InvalidType { name } => of(Code::InvalidSchema).with("schema", clip(name)),
        SchemaRefusal::Invalid(invalid) => {
            of(Code::InvalidSchema).with("pointer", format!("/schema{}", invalid.pointer().unwrap_or_default()))
        }
        SchemaRefusal::Exists { name } => of(Code::SchemaExists).with("schema", clip(name)),
        SchemaRefusal::WrongVersion { next, .. } => of(Code::SchemaExists).with("next", *next),
        SchemaRefusal::InvalidExample { index, violations } => of(Code::InvalidSchema)
            .with("pointer", format!("/examples/{index}"))
            .with("violations", serde_json::json!(violations)),
        SchemaRefusal::Incompatible(incompatible) => of(Code::IncompatibleSchema)
            .with("schema", clip(&incompatible.name))
            .with("compatibility", serde_json::json!(schema::compatibility_answer(&incompatible.checked))),
        SchemaRefusal::InvalidUpcaster(invalid) => of(Code::InvalidSchema)
            .with("pointer", invalid.pointer.as_str())
            .with("line", invalid.line)
            .with("column", invalid.column),
        SchemaRefusal::NothingToUpcast { .. } => of(Code::InvalidSchema).with("pointer", "/upcaster"),
        SchemaRefusal::OtherUpcaster { name } => of(Code::SchemaExists).with("schema", clip(name)),
        SchemaRefusal::UpcasterFails { name, checked } => of(Code::UpcasterFails)
            .with("schema", clip(name))
            .with("upcaster", serde_json::json!(schema::upcast_answer(checked))),
        SchemaRefusal::NotUpcast { position, failure, .. } => of(Code::NotUpcast)
            .with("position", *position)
            .with("version", failure.version)
            .with("reason", failure.reason.as_str()),
        SchemaRefusal::InUse { name, by } => of(Code::SchemaInUse).with("schema", clip(name)).with("by", clip(by)),
        SchemaRefusal::TooLong { limit, .. } => of(Code::InvalidSchema).with("limit", *limit),
        SchemaRefusal::TooMany { limit, .. } => of(Code::TooManySchemas).with("limit", *limit),
    }
}

/// A refusal of the catalog as the public sees it.
fn refused_catalog(refusal: &CatalogRefusal) -> Problem {
    let of = |code| Problem::new(code, refusal.to_string());
    let invalid = |member: &str| of(Code::InvalidDeclaration).with("pointer", format!("/{member}"));
    match refusal {
        CatalogRefusal::NotFound { kind } => of(Code::DeclarationNotFound).with("name", clip(kind)),
        CatalogRefusal::InvalidType { .. } => of(Code::InvalidDeclaration).with("pointer", ""),
        CatalogRefusal::InvalidName { member } => invalid(member),
        CatalogRefusal::TooLong { member, limit } | CatalogRefusal::TooManyNames { member, limit } => {
            invalid(member).with("limit", *limit)
        }
        CatalogRefusal::TooMany { limit, .. } => of(Code::TooManyDeclarations).with("limit", *limit),
        CatalogRefusal::ImportTooLarge { limit } => of(Code::InvalidAsyncApi).with("pointer", "").with("limit", *limit),
    }
}

/// A refusal of a projection as the public sees it.
fn refused_projection(refusal: &ProjectionRefusal) -> Problem {
    let of = |code| Problem::new(code, refusal.to_string());
    match refusal {
        ProjectionRefusal::NotFound { name } => of(Code::ProjectionNotFound).with("name", clip(name)),
        ProjectionRefusal::Invalid(_) => of(Code::InvalidProjection),
        ProjectionRefusal::TooMany { limit, .. } => of(Code::TooManyProjections).with("limit", *limit),
        ProjectionRefusal::NoRelease { name, .. } => of(Code::ReleaseNotFound).with("name", clip(name)),
        ProjectionRefusal::InvalidReason { limit } => {
            of(Code::InvalidProjection).with("pointer", "/reason").with("limit", *limit)
        }
        ProjectionRefusal::NoEvent { position } => of(Code::PositionNotFound).with("position", *position),
        ProjectionRefusal::NoBaseline { name } => of(Code::BaselineNotFound).with("name", clip(name)),
        ProjectionRefusal::BaselineExists { name } => of(Code::BaselineExists).with("name", clip(name)),
        ProjectionRefusal::InvalidBaseline { .. } => of(Code::InvalidProjection).with("pointer", "/name"),
    }
}

/// A name that a stranger sent, short enough for a problem.
pub(crate) fn clip(name: &str) -> String {
    name.chars().take(128).collect()
}

pub(crate) fn not_done(not_done: &NotDone) -> Problem {
    match not_done {
        NotDone::Refused(refusal) => refused(refusal),
        NotDone::RefusedOperation(refusal) => refused_operation(refusal),
        NotDone::RefusedKey(refusal) => refused_key(refusal),
        NotDone::RefusedTenant(refusal) => refused_tenant(refusal),
        NotDone::RefusedSchema(refusal) => refused_schema(refusal),
        NotDone::RefusedCatalog(refusal) => refused_catalog(refusal),
        NotDone::RefusedProjection(refusal) => refused_projection(refusal),
        NotDone::RefusedSaga(refusal) => saga::refused(refusal),
        NotDone::RefusedSchedule(refusal) => schedule::refused(refusal),
        NotDone::Failed(fault) => problem::fault(fault),
    }
}

/// Asks the engine off the threads that serve sockets: it may read the log, or wait for a commit.
pub(crate) async fn ask<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Arc<Tenant>) -> Result<T, NotDone> + Send + 'static,
) -> Result<T, Problem> {
    let tenant = Arc::clone(&app.tenant);
    app.home.blocking(move || Ok(work(&tenant))).await?.map_err(|error| not_done(&error))
}

/// As [`ask`], what may read the whole log: few do at once in a tenant.
pub(crate) async fn scan<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Arc<Tenant>) -> Result<T, NotDone> + Send + 'static,
) -> Result<T, Problem> {
    let tenant = Arc::clone(&app.tenant);
    app.home.scanning(move || Ok(work(&tenant))).await?.map_err(|error| not_done(&error))
}

/// As [`ask`], of whoever makes the subscriptions that push; `prefix` is where `push` stands in the body.
pub(crate) async fn ask_pushers<T: Send + 'static>(
    app: &App,
    prefix: &str,
    work: impl FnOnce(&Pushers, &Arc<Tenant>) -> Result<T, NotMade> + Send + 'static,
) -> Result<T, Problem> {
    let (pushers, tenant) = (Arc::clone(&app.home.pushers), Arc::clone(&app.tenant));
    let made = app.home.blocking(move || Ok(work(&pushers, &tenant))).await?;
    made.map_err(|not_made| not_made.problem(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quipu_domain::{InvalidSubscription, Pattern};

    #[test]
    fn every_refusal_of_an_operation_has_its_code_and_members() {
        let state = quipu_engine::OperationState::Running;
        for (refusal, code, member) in [
            (OperationRefusal::NotFound { id: 1 }, Code::OperationNotFound, "id"),
            (OperationRefusal::WrongState { id: 1, state }, Code::OperationState, "state"),
            (OperationRefusal::Nothing, Code::InvalidOperation, "pointer"),
            (OperationRefusal::NoInstance { act: "retry" }, Code::InvalidOperation, "pointer"),
            (OperationRefusal::TooManyItems { limit: 1 }, Code::InvalidOperation, "limit"),
            (OperationRefusal::TooMany { limit: 1 }, Code::TooManyOperations, "limit"),
            (OperationRefusal::NoRoom { limit: 1, held: 1 }, Code::TooManyOperations, "held"),
            (OperationRefusal::SubscriptionNotFound { name: "a".repeat(9_999) }, Code::InvalidOperation, "name"),
            (OperationRefusal::InvalidRate { problem: "no" }, Code::InvalidOperation, "pointer"),
        ] {
            let problem = not_done(&refusal.into());
            assert_eq!(problem.code(), Some(code));
            assert!(problem.members.contains_key(member), "{problem:?}");
            assert!(problem.detail.len() < 300, "{problem:?}");
        }
    }

    #[test]
    fn every_refusal_of_a_tenant_has_its_code_and_members() {
        let name = || "a".repeat(9);
        let wrong = TenantRefusal::WrongState { name: name(), state: "active", expected: "suspended" };
        for (refusal, code, member) in [
            (TenantRefusal::NotFound { name: name() }, Code::TenantNotFound, "tenant"),
            (TenantRefusal::Exists { name: name() }, Code::TenantExists, "tenant"),
            (TenantRefusal::InvalidName { name: name() }, Code::InvalidTenant, "pointer"),
            (TenantRefusal::InvalidReason { limit: 1 }, Code::InvalidTenant, "pointer"),
            (wrong, Code::TenantState, "state"),
            (TenantRefusal::Busy { name: name() }, Code::TenantState, "state"),
            (TenantRefusal::TooMany { limit: 1 }, Code::TooManyTenants, "limit"),
        ] {
            let problem = not_done(&refusal.into());
            assert_eq!(problem.code(), Some(code));
            assert!(problem.members.contains_key(member), "{problem:?}");
        }
    }

    #[test]
    fn every_refusal_has_its_code_and_members() {
        let name = || "a".to_owned();
        let invalid = InvalidSubscription { pointer: "/key".into(), detail: "no".into() };
        let pattern = Pattern::parse(r#"{"a":1}"#).unwrap_err();
        for (refusal, code, member) in [
            (SubscriptionRefusal::NotFound { name: name() }, Code::SubscriptionNotFound, "name"),
            (SubscriptionRefusal::Exists { name: name() }, Code::SubscriptionExists, "name"),
            (SubscriptionRefusal::InvalidName { name: name() }, Code::InvalidSubscription, "pointer"),
            (SubscriptionRefusal::Invalid(invalid), Code::InvalidSubscription, "pointer"),
            (SubscriptionRefusal::InvalidPattern(pattern), Code::InvalidPattern, "path"),
            (SubscriptionRefusal::TooMany { limit: 1 }, Code::TooManySubscriptions, "limit"),
            (
                SubscriptionRefusal::NotInFlight { position: 1, why: NotInFlight::Late },
                Code::DeliveryNotInFlight,
                "position",
            ),
            (
                SubscriptionRefusal::NotInFlight { position: 2, why: NotInFlight::OutOfOrder { first: 1 } },
                Code::AnswerOutOfOrder,
                "first",
            ),
            (SubscriptionRefusal::DeadLetterNotFound { id: 1 }, Code::DeadLetterNotFound, "id"),
            (SubscriptionRefusal::DeadLetterDecided { id: 1 }, Code::DeadLetterDecided, "id"),
        ] {
            let problem = refused(&refusal);
            assert_eq!(problem.code(), Some(code));
            assert!(problem.members.contains_key(member), "{problem:?}");
        }
    }
}
