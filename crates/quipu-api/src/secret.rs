//! Secrets of webhooks and of calls of sagas as they are made and listed, and how the endpoint of a subscription is. A secret is in one answer
//! only: that to whoever had it made.

use std::fmt;

use quipu_domain::WriteOnly;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Body of a rotation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateRequest {
    /// The new secret: `whsec_` and the base64 of 24 to 64 random bytes. Made by the server without it.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub secret: Option<WriteOnly>,
}

/// Answer to a rotation.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RotateAnswer {
    /// The subscription or the saga.
    pub name: String,
    /// The secret that was made, this once; nothing if it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// All that webhooks or calls are signed with now, newest first.
    pub secrets: Vec<SecretLine>,
}

/// What may be known of the secrets of a subscription or a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretsAnswer {
    /// The subscription or the saga.
    pub name: String,
    /// All that webhooks or calls are signed with now, newest first.
    pub secrets: Vec<SecretLine>,
}

/// What may be known of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretLine {
    /// Its number in the subscription or the saga.
    pub id: u64,
    /// When it was made.
    pub created: String,
    /// How long ago that was.
    #[serde(rename = "ageseconds")]
    pub age_seconds: u64,
    /// It is signed with until then; the newest has no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// How the endpoint of a subscription is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointAnswer {
    /// The subscription.
    pub name: String,
    /// Scheme, host and port of the endpoint; null if it is not called by this server.
    pub endpoint: Option<String>,
    /// Whether it is tried.
    pub circuit: CircuitWord,
    /// When it is tried again, if the circuit is open or the rate limit holds the next webhook back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Webhooks on their way.
    #[serde(rename = "inhand")]
    pub in_hand: u64,
    /// Why nothing is sent now, in one sentence; null if nothing stands against it.
    pub sentence: Option<String>,
}

/// Whether an endpoint is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CircuitWord {
    /// It works: everything goes.
    Closed,
    /// It failed: nothing goes for a while.
    Open,
    /// One webhook is on its way and decides.
    Probing,
}

impl fmt::Debug for RotateAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotateAnswer").field("name", &self.name).field("secrets", &self.secrets).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_body_nor_answer_shows_its_secret_to_a_log() {
        let request: RotateRequest = serde_json::from_str(r#"{"secret":"whsec_hunter2"}"#).unwrap();
        let answer = RotateAnswer { name: "s".into(), secret: Some("whsec_hunter2".into()), secrets: Vec::new() };
        let shown = format!("{request:?} {answer:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(serde_json::from_str::<RotateRequest>(r#"{"secrets":"x"}"#).is_err());
    }
}
