//! The hash of a secret, which is all that is kept of it. The secret has 256 bits of chance, so a fast hash is as safe as a
//! slow one: there is nothing to guess.

use std::fmt;

use quipu_domain::access::KeySecret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Keeps these hashes apart from all others that are made of the same bytes (BLAKE3, "derive key").
const CONTEXT: &str = "quipu 2026-11-22 secret of an API key";

/// The hash of a secret.
#[derive(Clone, Copy)]
pub(crate) struct SecretHash(blake3::Hash);

impl SecretHash {
    pub fn of(secret: &KeySecret) -> Self {
        Self(blake3::derive_key(CONTEXT, secret.bytes()).into())
    }

    /// Of no secret: what one is compared with where there is no key, so that both take the same time.
    pub fn of_none() -> Self {
        Self([0; 32].into())
    }

    /// Whether both are of the same secret. Takes as long wherever they differ: `blake3::Hash` compares in constant time.
    pub fn is(self, other: Self) -> bool {
        self.0 == other.0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl Serialize for SecretHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.to_hex().as_str())
    }
}

impl<'de> Deserialize<'de> for SecretHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        blake3::Hash::from_hex(&text).map(Self).map_err(serde::de::Error::custom)
    }
}
