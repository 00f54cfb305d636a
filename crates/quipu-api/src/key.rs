//! Keys as they are made and listed, and what a credential may do. The text of a key is in one answer only: that to whoever
//! had it made.

use std::fmt;

use quipu_domain::Grant;
use quipu_domain::access::{Fingerprint, GRANTS_MAX};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::problem::read_json;

/// How long the secret before is good after a rotation, unless asked otherwise: a day, in which everybody who has it can get
/// the new one.
pub const KEEP_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;

/// A key that is to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// What people call it, 1 to 128 bytes.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// What it may do; at most 16 grants.
    #[schemars(length(min = 1, max = GRANTS_MAX))]
    pub grants: Vec<Grant>,
    /// Limits it to events whose `userid` this is. Such a key may publish and read only.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub user: Option<String>,
    /// Binds it to a certificate, by its SHA-256 in hexadecimal digits: it is good on connections on which the client has
    /// shown that one in the handshake of TLS.
    #[serde(default)]
    pub certificate: Option<Fingerprint>,
    /// How long it is good, milliseconds; until it is revoked without it.
    #[serde(rename = "lifems", default)]
    #[schemars(range(min = 1))]
    pub life_ms: Option<u64>,
}

/// A rotation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the secret before is still good, milliseconds: a day by default, 0 if somebody else knows it.
    #[serde(rename = "keepms", default = "keep_ms")]
    pub keep_ms: u64,
}

/// A key.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct KeyAnswer {
    /// What it is called by in requests; a part of its text that is no secret.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// The user whose events it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The SHA-256 of the certificate that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Fingerprint>,
    /// When it was made.
    pub made: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Until when the secret before the newest is good, if it still is.
    #[serde(rename = "rotatinguntil", default, skip_serializing_if = "Option::is_none")]
    pub rotating_until: Option<String>,
    /// When it was used last; after a restart of the server up to an hour too early. Nothing if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// The text of the key, this once: when it was made or rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// All keys.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct KeysAnswer {
    /// The keys, by their ids.
    pub keys: Vec<KeyAnswer>,
}

/// A key that is good for nothing any more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RevokedAnswer {
    /// Its id.
    pub revoked: String,
}

/// Who asks, and what he may do.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct AccessAnswer {
    /// The tenant that all requests with this credential run in.
    pub tenant: String,
    /// The id of the key; nothing for requests without a credential on a server that takes such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What people call the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The identity provider that a token is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// What the provider calls the bearer of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When the token ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// What it may do.
    pub grants: Vec<Grant>,
    /// The user whose events it is limited to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A ticket, this once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct TicketAnswer {
    /// What the parameter `ticket` of a stream is.
    pub ticket: String,
    /// Until when a stream can be opened with it.
    pub expires: String,
}

fn keep_ms() -> u64 {
    KEEP_MS_DEFAULT
}

impl CreateKey {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with name, grants, user, certificate and lifems")
    }
}

impl RotateKey {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with keepms")
    }
}

impl fmt::Debug for KeyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAnswer").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for TicketAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketAnswer").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_does_not_show_its_ticket_to_a_log() {
        let answer = TicketAnswer { ticket: "qt_hunter2".into(), expires: "2026-01-31T09:31:00.000Z".into() };
        assert!(!format!("{answer:?}").contains("hunter2"));
    }

    #[test]
    fn an_answer_does_not_show_its_key_to_a_log() {
        let text = r#"{"id":"1","name":"n","grants":[],"made":"2026-01-01T00:00:00Z","key":"qp_hunter2"}"#;
        let answer: KeyAnswer = serde_json::from_str(text).unwrap();
        assert!(!format!("{answer:?}").contains("hunter2"));
    }

    #[test]
    fn bodies_say_where_they_are_wrong() {
        assert_eq!(RotateKey::from_json(b"{}").unwrap().keep_ms, KEEP_MS_DEFAULT);
        assert_eq!(RotateKey::from_json(br#"{"keepms":0}"#).unwrap().keep_ms, 0);
        for text in [r#"{"name":"a","grants":[{"permissions":["fly"]}]}"#, r#"{"name":"a"}"#, "[]", r#"{"grants":1}"#] {
            let problem = CreateKey::from_json(text.as_bytes()).unwrap_err();
            assert!(problem.detail.starts_with("expected"), "{problem:?}");
        }
    }
}
