//! The Confluent dialect: `/registry` speaks the REST API of Confluent's Schema Registry for JSON schemas, so that serializers of
//! Kafka clients register and check where events are held to the same schemas. It keeps nothing of its own: every route is one of
//! our operations by another name, with its permission and its act in the trail.
//!
//! The API is described at <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>.

mod compatibility;
mod config;
mod entry;
mod mode;
mod page;
mod refusal;
mod register;
mod schemas;
mod subject;
mod subjects;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use quipu_api::{Code, Problem};

use crate::{Host, problem};

/// Where it is.
pub(crate) const PREFIX: &str = "/registry";

type Route = fn() -> MethodRouter<Arc<Host>>;

/// Path, what it is in our catalogue, handler. A delete that is permanent is [`entry::REMOVE`].
const ROUTES: &[(&str, &str, Route)] = &[
    ("/", "schema.list", || get(schemas::root)),
    ("/contexts", "schema.list", || get(schemas::contexts)),
    ("/schemas", "schema.list", || get(schemas::list)),
    ("/schemas/types", "schema.list", || get(schemas::types)),
    ("/schemas/ids/{id}", "schema.list", || get(schemas::by_id)),
    ("/schemas/ids/{id}/schema", "schema.list", || get(schemas::text_by_id)),
    ("/schemas/ids/{id}/subjects", "schema.list", || get(schemas::subjects_of_id)),
    ("/schemas/ids/{id}/versions", "schema.list", || get(schemas::versions_of_id)),
    ("/subjects", "schema.list", || get(subjects::list)),
    ("/subjects/{subject}", "schema.get", || post(register::look_up)),
    ("/subjects/{subject}", entry::DEPRECATE, || delete(subjects::delete)),
    ("/subjects/{subject}/versions", "schema.get", || get(subjects::versions)),
    ("/subjects/{subject}/versions", "schema.register", || post(register::register)),
    ("/subjects/{subject}/versions/{version}", "schema.version", || get(subjects::version)),
    ("/subjects/{subject}/versions/{version}", entry::DEPRECATE, || delete(subjects::delete_version)),
    ("/subjects/{subject}/versions/{version}/schema", "schema.version", || get(subjects::text)),
    ("/subjects/{subject}/versions/{version}/referencedby", "schema.version", || get(subjects::referenced_by)),
    ("/compatibility/subjects/{subject}/versions", "schema.check", || post(compatibility::with_all)),
    ("/compatibility/subjects/{subject}/versions/{version}", "schema.check", || post(compatibility::with_one)),
    ("/config", "schema.list", || get(config::of_all)),
    ("/config", "schema.defaults", || put(config::set_for_all)),
    ("/config", "schema.defaults", || delete(config::unset_for_all)),
    ("/config/{subject}", "schema.get", || get(config::of_one)),
    ("/config/{subject}", "schema.rules", || put(config::set_for_one)),
    ("/config/{subject}", "schema.rules", || delete(config::unset_for_one)),
    ("/mode", "schema.list", || get(mode::get)),
    ("/mode", "schema.defaults", || put(mode::set)),
    ("/mode/{subject}", "schema.get", || get(mode::get)),
    ("/mode/{subject}", "schema.rules", || put(mode::set)),
    ("/mode/{subject}", "schema.rules", || delete(mode::unset)),
];

/// What is below [`PREFIX`].
pub(crate) fn router(host: &Arc<Host>) -> Router<Arc<Host>> {
    let mut router = Router::new();
    for (path, name, route) in ROUTES {
        let operation = quipu_api::operation(name).expect("a test holds the routes to the catalogue");
        let entering = middleware::from_fn_with_state((Arc::clone(host), operation), entry::enter);
        router = router.route(path, route().route_layer(entering));
    }
    router.fallback(not_found).method_not_allowed_fallback(not_allowed)
}

/// Also for what newer registries have and this one has not, such as associations: clients go on without it.
async fn not_found(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    let detail = format!("expected a path of the Schema Registry's API below {PREFIX}, found {path}");
    refusal::answer(problem::respond(&Problem::new(Code::RouteNotFound, detail)))
}

async fn not_allowed(request: Request) -> Response {
    let detail = format!("expected one of the methods in the header Allow, found {}", request.method());
    refusal::answer(problem::respond(&Problem::new(Code::MethodNotAllowed, detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_an_operation_of_the_catalogue() {
        for (path, name, _) in ROUTES {
            assert!(quipu_api::operation(name).is_some(), "{path}: {name}");
        }
        assert!(quipu_api::operation(entry::REMOVE).is_some());
    }
}
