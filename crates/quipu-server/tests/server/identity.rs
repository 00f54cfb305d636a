//! Tokens of identity providers: signed for real, by keys that a real HTTP server publishes.

mod attacks;
mod catalogue;
mod provider;
mod rotation;
mod shapes;
mod streams;
mod tickets;

use quipu_server::{Anybody, Providers, Server};
use serde_json::{Value, json};

use crate::host::Host;
use provider::Provider;

/// A server that believes these providers, for the tenant `test` and another, and takes nobody without a credential.
async fn believing(providers: &[Value]) -> Host {
    let providers = Providers::from_json(&json!(providers).to_string()).unwrap();
    Host::start_beside("other", Server { anybody: Anybody::None, providers, ..Server::default() }).await
}

/// A provider in whose tokens `tenant` is the tenant and `roles` are names of permissions.
fn plain(provider: &Provider) -> Value {
    let grants = |one: quipu_domain::Permission| (one.as_str().to_owned(), json!([{"permissions":[one.as_str()]}]));
    let grants: serde_json::Map<_, _> = crate::access::in_a_tenant().map(grants).collect();
    json!({
        "issuer": provider.issuer(),
        "audiences": ["quipu"],
        "tenant": {"claim": "tenant"},
        "roles": {"claim": "roles", "grants": grants},
    })
}

/// What a good token of [`plain`] says.
fn claims(provider: &Provider, roles: &[&str]) -> Value {
    json!({
        "iss": provider.issuer(),
        "aud": "quipu",
        "sub": "ada",
        "exp": NOW + 300,
        "tenant": "test",
        "roles": roles,
    })
}

/// When the tests begin: 2026-01-31T09:30:00Z, in seconds.
const NOW: i64 = 1_769_851_800;

/// Claims with others in their place; null takes one away.
fn with(mut claims: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}
