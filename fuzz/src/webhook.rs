//! What says where webhooks go and what signs them: URLs, blocks of addresses, secrets.

use std::net::IpAddr;

use quipu_server::PublicHost;
use quipu_server::webhook::{Block, Endpoint, Secret, sign};

/// A URL, a block of addresses, a host or a secret, whichever the text is: its written form means the same.
pub fn webhook(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut means = text.parse::<PublicHost>().is_ok();
    if let Ok(endpoint) = Endpoint::parse(text) {
        let origin = endpoint.origin();
        assert_eq!(Endpoint::parse(&origin).expect("an origin is a URL").origin(), origin);
        means = true;
    }
    if let Ok(block) = text.parse::<Block>() {
        assert_eq!(block.to_string().parse(), Ok(block));
        let address = text.split('/').next().and_then(|address| address.parse::<IpAddr>().ok());
        let address = address.expect("a block begins with an address");
        // One in other clothes is not of the block of those that it is written like.
        assert!(block.contains(address) || address != address.to_canonical());
        means = true;
    }
    if let Ok(secret) = Secret::parse(text) {
        assert_eq!(secret.expose().as_str(), text);
        sign(&[secret], "an-id", 1, bytes);
        means = true;
    }
    if let Ok(url) = quipu_api::server_url(text) {
        assert_eq!(quipu_api::server_url(url).ok(), Some(url));
        means = true;
    }
    means
}

/// The file that keeps the secrets.
pub fn secrets(bytes: &[u8]) -> bool {
    let Some(written) = quipu_server::secrets::read_again(bytes) else { return false };
    assert_eq!(quipu_server::secrets::read_again(&written), Some(written));
    true
}
