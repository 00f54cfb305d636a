//! Webhooks over TLS: an endpoint must prove who it is.

use std::sync::Arc;

use quipu_domain::{Event, PushMode, Timestamp};
use quipu_server::webhook::{Answer, Call, Endpoint, Options, Resolver, Webhooks};
use tokio_rustls::TlsAcceptor;

use crate::authority::Authority;
use crate::host::{DEADLINE, within};
use crate::receiver::{Receiver, Reply, answer};

/// An authority of this test: its certificate as PEM, and an endpoint that it vouches for under a name.
async fn endpoint(name: &str) -> (Vec<u8>, Receiver) {
    let authority = Authority::new();
    let tls = TlsAcceptor::from(Arc::new(authority.issue(name).server_config()));
    let replies = vec![Reply::Bytes(answer(200, "", "ok"))];
    (authority.pem().into_bytes(), Receiver::start_at("127.0.0.1:0", Some(tls), replies).await)
}

async fn send(authorities_pem: Option<Vec<u8>>, url: &str) -> Answer {
    let resolver = Resolver::new(|_| async { Ok(vec!["127.0.0.1".parse().unwrap()]) });
    let allowed = vec!["127.0.0.1".parse().unwrap()];
    let webhooks = Webhooks::new(Options { allowed, authorities_pem, resolver, ..Options::default() }).unwrap();
    let (endpoint, event) = (Endpoint::parse(url).unwrap(), Event::builder("1", "/s", "t").build().unwrap());
    let call = Call {
        endpoint: &endpoint,
        subscription: "billing",
        idempotency_key: "key",
        attempt: 1,
        replay: None,
        secrets: &[],
        now: Timestamp(0),
        timeout: DEADLINE,
        mode: PushMode::Binary,
        event: &event,
        stamp: None,
        transformed: None,
    };
    within(webhooks.send(call)).await
}

#[tokio::test]
async fn an_endpoint_with_a_certificate_of_a_trusted_authority_is_called() {
    let (authority, mut receiver) = endpoint("hooks.example").await;
    let url = format!("https://hooks.example:{}/", receiver.address.port());
    assert!(matches!(send(Some(authority), &url).await, Answer::Delivered { status: 200, .. }));
    assert_eq!(receiver.next().await.header("host"), format!("hooks.example:{}", receiver.address.port()));
}

#[tokio::test]
async fn an_endpoint_of_an_unknown_authority_or_another_name_is_not_told_anything() {
    let (authority, receiver) = endpoint("hooks.example").await;
    let port = receiver.address.port();
    for (authorities, host) in [(None, "hooks.example"), (Some(authority), "other.example")] {
        let Answer::Failed { failure, .. } = send(authorities, &format!("https://{host}:{port}/")).await else {
            panic!("{host}: expected a failure, found a delivery");
        };
        assert!(failure.error.contains("certificate") && failure.status.is_none(), "{}", failure.error);
    }
}
