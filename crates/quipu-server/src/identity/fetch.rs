//! Getting the keys of a provider: its configuration says where they are (OpenID Connect Discovery 1.0, section 4), or the
//! operator does. Over https, or http on this machine; within a time, up to a size, and no redirect is followed: a provider
//! says its own address.

use std::time::Duration;

use axum::http::{HeaderValue, Request, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;

use super::jwk::Jwks;
use crate::webhook::{Addresses, Block, Checked, Connector, Endpoint, InvalidAuthorities, Resolver, in_words, trusted};

/// How long all of it may take. The first request of a provider waits for it.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest document. The largest sets of keys, with their certificates, have some 20 KiB.
const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Where the keys of a provider are.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub issuer: String,
    /// If the operator says so.
    pub jwks: Option<Endpoint>,
}

/// Reads documents of providers.
#[derive(Clone)]
pub(super) struct Fetcher(Client<Connector, Empty<Bytes>>);

/// What is read of a provider's configuration.
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

/// A URL that a provider may be at.
pub(super) fn place(url: &str) -> Result<Endpoint, String> {
    let endpoint = Endpoint::parse(url).map_err(|invalid| invalid.to_string())?;
    match endpoint.uri().scheme_str() == Some("https") || is_of_this_machine(&endpoint) {
        true => Ok(endpoint),
        false => Err(format!("expected https, or http on this machine, found {endpoint}")),
    }
}

fn is_of_this_machine(endpoint: &Endpoint) -> bool {
    match endpoint.address() {
        Some(address) => address.to_canonical().is_loopback(),
        None => endpoint.uri().host() == Some("localhost"),
    }
}

impl Source {
    /// Where its configuration is.
    fn discovery(&self) -> String {
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        format!("{issuer}/.well-known/openid-configuration")
    }

    /// Where its keys are, as its configuration says. One on the network does not send us to this machine.
    fn discovered(&self, document: &[u8]) -> Result<Endpoint, String> {
        let found: Discovered = serde_json::from_slice(document)
            .map_err(|error| format!("expected a configuration with issuer and jwks_uri, found {error}"))?;
        if found.issuer != self.issuer {
            let shown: String = found.issuer.chars().take(200).collect();
            return Err(format!("expected the configuration of {}, found that of {shown}", self.issuer));
        }
        let keys = place(&found.jwks_uri).map_err(|detail| format!("jwks_uri: {detail}"))?;
        let is_local = place(&self.issuer).is_ok_and(|issuer| is_of_this_machine(&issuer));
        match is_of_this_machine(&keys) && !is_local {
            true => Err("jwks_uri: expected an address that is not of this machine, found one that is".to_owned()),
            false => Ok(keys),
        }
    }
}

impl Fetcher {
    pub fn new() -> Result<Self, InvalidAuthorities> {
        // The operator names a provider, and may have it in his own network.
        let everywhere = ["0.0.0.0/0", "::/0"].map(|block| block.parse::<Block>().expect("it is a block"));
        let checked = Checked { addresses: Addresses::new(everywhere.to_vec()).into(), resolver: Resolver::system() };
        let connector = Connector::new(checked, trusted(None)?, FETCH_TIMEOUT);
        // Asked every ten minutes, so no connection is kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self(client))
    }

    /// The keys of a provider; why there are none otherwise.
    pub async fn jwks(&self, source: &Source) -> Result<Jwks, String> {
        let all = async {
            let keys = match &source.jwks {
                Some(keys) => keys.clone(),
                None => source.discovered(&self.document(&place(&source.discovery())?).await?)?,
            };
            Jwks::parse(&self.document(&keys).await?)
        };
        let late = |_| format!("expected an answer within {} s, found none", FETCH_TIMEOUT.as_secs());
        tokio::time::timeout(FETCH_TIMEOUT, all).await.map_err(late)?
    }

    async fn document(&self, endpoint: &Endpoint) -> Result<Bytes, String> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = endpoint.uri().clone();
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let answer = self.0.request(request).await.map_err(|error| in_words(&error, endpoint))?;
        if answer.status().as_u16() != 200 {
            return Err(format!("expected status 200 from {endpoint}, found {}", answer.status().as_u16()));
        }
        let body = Limited::new(answer.into_body(), DOCUMENT_BYTES_MAX).collect().await;
        let broken = |error| format!("expected up to {DOCUMENT_BYTES_MAX} bytes from {endpoint}, found that {error}");
        Ok(body.map_err(broken)?.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_called_over_https_or_on_this_machine() {
        for url in
            ["https://a.example/x", "https://10.0.0.1", "http://127.0.0.1:8080", "http://[::1]/a", "http://localhost"]
        {
            assert!(place(url).is_ok(), "{url}");
        }
        for url in ["http://a.example", "http://10.0.0.1", "http://localhost.a.example", "ftp://localhost", "a", ""] {
            assert!(place(url).unwrap_err().starts_with("expected "), "{url}");
        }
    }

    #[test]
    fn a_configuration_is_that_of_the_issuer_and_leads_to_no_other_machine_than_it_may() {
        let source = |issuer: &str| Source { issuer: issuer.to_owned(), jwks: None };
        let document = |issuer: &str, keys: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}","more":[1]}}"#);
        let (far, near) = ("https://a.example/realms/r", "http://127.0.0.1:8080");
        for (issuer, said, keys, is_taken) in [
            (far, far, "https://keys.example/jwks", true),
            (far, "https://a.example/realms/r/", "https://keys.example/jwks", false),
            (far, "https://evil.example", "https://keys.example/jwks", false),
            (far, far, "http://keys.example/jwks", false),
            (far, far, "http://127.0.0.1/jwks", false),
            (far, far, "https://localhost/jwks", false),
            (near, near, "http://127.0.0.1:8081/jwks", true),
            (near, near, "https://keys.example/jwks", true),
        ] {
            let found = source(issuer).discovered(document(said, keys).as_bytes());
            assert_eq!(found.is_ok(), is_taken, "{issuer} {said} {keys} {found:?}");
        }
        for text in ["", "[]", "{}", r#"{"issuer":1,"jwks_uri":2}"#] {
            assert!(source(far).discovered(text.as_bytes()).is_err(), "{text}");
        }
        for (issuer, expected) in [
            (far, "https://a.example/realms/r/.well-known/openid-configuration"),
            ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
        ] {
            assert_eq!(source(issuer).discovery(), expected);
        }
    }
}
