//! SHA-256, by which secrets are looked up that are not kept, and certificates are called.

use ring::digest::{SHA256, digest};

pub(crate) type Hash = [u8; 32];

pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}
