//! The router, built from the catalogue: an operation without a handler, or a handler without an operation, does not
//! pass the test below.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};
use quipu_api::{Code, OPERATIONS, Problem};

use crate::{
    Host, admission, answer, append, audit, catalog, consume, deadletter, document, health, intervention, key,
    operation, pattern, problem, projection, publish, read, registry, replay, saga, schedule, schema, secret, state,
    stream, subscription, tail, tenant, ticket, timer, trace, verification, websocket, what_if,
};

type Route = fn() -> MethodRouter<Arc<Host>>;

const HANDLERS: &[(&str, Route)] = &[
    ("event.publish", || post(publish::publish)),
    ("event.append", || post(append::append)),
    ("timer.set", || post(timer::set)),
    ("timer.list", || get(timer::list)),
    ("timer.get", || get(timer::show)),
    ("timer.cancel", || delete(timer::cancel)),
    ("timer.cancelkey", || delete(timer::cancel_key)),
    ("event.list", || get(read::list)),
    ("event.get", || get(read::by_id)),
    ("event.trace", || get(trace::by_id)),
    ("position.get", || get(read::at_position)),
    ("position.trace", || get(trace::at_position)),
    ("stream.list", || get(stream::list)),
    ("stream.read", || get(stream::read)),
    ("event.tail", || get(tail::tail)),
    ("event.connect", || get(websocket::connect)),
    ("pattern.test", || post(pattern::test)),
    ("subscription.create", || post(subscription::create)),
    ("subscription.list", || get(subscription::list)),
    ("subscription.get", || get(subscription::get)),
    ("subscription.change", || put(subscription::change)),
    ("subscription.delete", || delete(subscription::delete)),
    ("subscription.pause", || post(subscription::pause)),
    ("subscription.resume", || post(subscription::resume)),
    ("subscription.seek", || post(subscription::seek)),
    ("subscription.explain", || get(subscription::explain)),
    ("delivery.pull", || post(consume::pull)),
    ("delivery.answer", || post(consume::answer)),
    ("deadletter.list", || get(deadletter::list)),
    ("deadletter.groups", || get(deadletter::groups)),
    ("deadletter.get", || get(deadletter::get)),
    ("deadletter.redrive", || post(deadletter::redrive)),
    ("deadletter.discard", || post(deadletter::discard)),
    ("operation.preview", || post(operation::preview)),
    ("operation.confirm", || post(operation::confirm)),
    ("operation.cancel", || post(operation::cancel)),
    ("operation.list", || get(operation::list)),
    ("operation.get", || get(operation::get)),
    ("operation.items", || get(operation::items)),
    ("replay.preview", || post(replay::preview)),
    ("schema.register", || post(schema::register)),
    ("schema.check", || post(schema::check)),
    ("schema.list", || get(schema::list)),
    ("schema.get", || get(schema::get)),
    ("schema.version", || get(schema::version)),
    ("schema.diff", || get(schema::diff)),
    ("schema.deprecate", || post(schema::deprecate)),
    ("schema.remove", || delete(schema::remove)),
    ("schema.rules", || put(schema::rules)),
    ("schema.defaults", || put(schema::defaults)),
    ("schema.defaultrules", || get(schema::default_rules)),
    ("schema.infer", || get(schema::infer)),
    ("schema.upcast", || put(schema::upcast)),
    ("schema.verify", || get(schema::verify)),
    ("catalog.get", || get(catalog::list)),
    ("catalog.declare", || put(catalog::declare)),
    ("catalog.withdraw", || delete(catalog::withdraw)),
    ("catalog.asyncapi", || get(catalog::asyncapi)),
    ("catalog.import", || post(catalog::import)),
    ("catalog.mermaid", || get(catalog::mermaid)),
    ("projection.list", || get(projection::list)),
    ("projection.apply", || put(projection::apply)),
    ("projection.get", || get(projection::get)),
    ("projection.remove", || delete(projection::remove)),
    ("projection.rows", || get(projection::rows)),
    ("projection.sql", || post(projection::sql)),
    ("projection.skip", || post(projection::skip)),
    ("projection.resume", || post(projection::resume)),
    ("projection.compare", || get(projection::compare)),
    ("projection.digest", || get(projection::digest)),
    ("projection.switch", || post(projection::switch)),
    ("projection.revert", || post(projection::revert)),
    ("projection.drop", || delete(projection::drop_next)),
    ("saga.list", || get(saga::list)),
    ("saga.apply", || put(saga::apply)),
    ("saga.get", || get(saga::get)),
    ("saga.remove", || delete(saga::remove)),
    ("saga.diagram", || get(saga::diagram)),
    ("rule.list", || get(saga::list_rules)),
    ("rule.apply", || put(saga::apply_rule)),
    ("rule.get", || get(saga::get_rule)),
    ("rule.remove", || delete(saga::remove_rule)),
    ("expectation.list", || get(saga::list_expectations)),
    ("expectation.apply", || put(saga::apply_expectation)),
    ("expectation.get", || get(saga::get_expectation)),
    ("expectation.remove", || delete(saga::remove_expectation)),
    ("instance.list", || get(saga::instances)),
    ("instance.get", || get(saga::get_instance)),
    ("instance.timeline", || get(saga::timeline)),
    ("instance.cancel", || post(saga::cancel)),
    ("instance.pause", || post(saga::pause)),
    ("instance.resume", || post(saga::resume)),
    ("instance.retry", || post(saga::retry)),
    ("instance.skip", || post(saga::skip)),
    ("instance.resolve", || post(saga::resolve)),
    ("schedule.list", || get(schedule::list)),
    ("schedule.apply", || put(schedule::apply)),
    ("schedule.get", || get(schedule::get)),
    ("schedule.remove", || delete(schedule::remove)),
    ("schedule.pause", || post(schedule::pause)),
    ("schedule.resume", || post(schedule::resume)),
    ("instance.preview", || post(intervention::preview)),
    ("saga.whatif", || post(what_if::ask)),
    ("projection.verify", || post(verification::verify)),
    ("projection.verdicts", || get(verification::verdicts)),
    ("baseline.create", || post(verification::create)),
    ("baseline.list", || get(verification::list)),
    ("baseline.remove", || delete(verification::remove)),
    ("secret.list", || get(secret::list)),
    ("secret.rotate", || post(secret::rotate)),
    ("saga.secrets", || get(secret::list_of_saga)),
    ("saga.rotate", || post(secret::rotate_of_saga)),
    ("endpoint.get", || get(secret::endpoint)),
    ("key.create", || post(key::create)),
    ("key.list", || get(key::list)),
    ("key.get", || get(key::get)),
    ("key.rotate", || post(key::rotate)),
    ("key.revoke", || delete(key::revoke)),
    ("access.get", || get(key::access)),
    ("access.ticket", || post(ticket::give)),
    ("audit.list", || get(audit::list)),
    ("audit.report", || get(audit::report)),
    ("audit.export", || get(audit::export)),
    ("tenant.create", || post(tenant::create)),
    ("tenant.list", || get(tenant::list)),
    ("tenant.get", || get(tenant::get)),
    ("tenant.suspend", || post(tenant::suspend)),
    ("tenant.resume", || post(tenant::resume)),
    ("tenant.limit", || put(tenant::limit)),
    ("tenant.export", || get(tenant::export)),
    ("tenant.delete", || delete(tenant::delete)),
    ("checkpoint.get", || get(state::checkpoint)),
    ("store.stats", || get(state::stats)),
    ("health.live", || get(health::live)),
    ("health.ready", || get(health::ready)),
    ("api.openapi", || get(document::read_openapi)),
    ("error.explain", || get(document::explain)),
    ("api.index", || get(document::index)),
];

pub(crate) fn router(host: &Arc<Host>) -> Router {
    let mut router = Router::new();
    for operation in OPERATIONS {
        let handler = HANDLERS.iter().find(|(name, _)| *name == operation.name);
        let (_, route) = handler.expect("a test holds handlers and operations to each other");
        let admitting = middleware::from_fn_with_state((Arc::clone(host), operation), admission::admit);
        // A subject may hold slashes, so it is the whole rest of the path.
        router = router.route(&operation.path.replace("{subject}", "{*subject}"), route().route_layer(admitting));
    }
    router = router.nest(registry::PREFIX, registry::router(host));
    if host.server.has_noop_route {
        router = router.route("/noop", post(noop));
    }
    router.fallback(not_found).method_not_allowed_fallback(not_allowed).with_state(Arc::clone(host))
}

async fn not_found(request: Request) -> Response {
    let path: String = request.uri().path().chars().take(200).collect();
    problem::respond(&Problem::new(Code::RouteNotFound, format!("expected one of the paths listed at /, found {path}")))
}

async fn not_allowed(request: Request) -> Response {
    let detail = format!("expected one of the methods in the header Allow, found {}", request.method());
    problem::respond(&Problem::new(Code::MethodNotAllowed, detail))
}

async fn noop(body: bytes::Bytes) -> Response {
    drop(body);
    answer::json(b"{}".to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_operation_has_a_handler_and_every_handler_an_operation() {
        let operations: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.name).collect();
        let handlers: BTreeSet<_> = HANDLERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(operations, handlers);
        assert_eq!(HANDLERS.len(), handlers.len());
    }
}
