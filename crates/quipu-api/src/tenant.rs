//! Tenants as operators make, see and change them. What a tenant has recorded is not here: operators do not read it, but for
//! an export.

use std::fmt;

use quipu_domain::Quotas;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Problem;
use crate::key::KeyAnswer;
use crate::problem::read_json;

/// A tenant that is to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTenant {
    /// Its name: 1 to 64 of a-z, 0-9, - and _, and not `system`.
    pub name: String,
    /// What it may use; where nothing is said, what the server says for all.
    #[serde(default)]
    pub quotas: Quotas,
}

/// A suspension.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendTenant {
    /// Why, for other operators: 1 to 1,024 bytes. The tenant does not see it.
    pub reason: String,
}

/// A tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TenantAnswer {
    /// Its name.
    pub name: String,
    /// What it is: active, suspended, making (nobody was told of it yet) or deleting.
    pub state: String,
    /// Why it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is in this state.
    pub since: String,
    /// When it was made; of one that was made by an older version when it was found.
    pub made: String,
    /// Its own quotas; where nothing is said, what the server says for all.
    pub quotas: Quotas,
    /// What it uses; only where one tenant is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<TenantUsage>,
}

/// What a tenant uses.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TenantUsage {
    /// The position of its newest event.
    pub position: u64,
    /// Bytes of its log, which its storage quota is about.
    #[serde(rename = "storagebytes")]
    pub storage_bytes: u64,
    /// Its subscriptions.
    pub subscriptions: u64,
    /// Its keys.
    pub keys: u64,
    /// Requests that are under way, open tails, long polls and WebSockets among them.
    pub connections: u64,
}

/// All tenants.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TenantsAnswer {
    /// The tenants, by their names.
    pub tenants: Vec<TenantAnswer>,
}

/// A tenant that was made.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct CreatedTenantAnswer {
    /// The tenant.
    pub tenant: TenantAnswer,
    /// Its first key, which may administer it, with its text, this once.
    pub key: KeyAnswer,
}

/// A tenant that is gone.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeletedTenantAnswer {
    /// Its name.
    pub deleted: String,
}

impl CreateTenant {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with name and quotas")
    }
}

impl SuspendTenant {
    /// Reads the body.
    ///
    /// # Errors
    /// It is no such object; the problem says where.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        read_json(bytes, "an object with reason")
    }
}

/// Reads quotas, which take the place of all that were there.
///
/// # Errors
/// They are no such object; the problem says where.
pub fn quotas_from_json(bytes: &[u8]) -> Result<Quotas, Problem> {
    read_json(
        bytes,
        "an object with eventspersecond, bytespersecond, subscriptions, connections and storagebytes, each above 0",
    )
}

impl fmt::Debug for CreatedTenantAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedTenantAnswer").field("tenant", &self.tenant).field("key", &self.key).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_does_not_show_the_key_of_a_tenant_to_a_log() {
        let text = r#"{"tenant":{"name":"a","state":"active","since":"t","made":"t","quotas":{}},
            "key":{"id":"1","name":"n","grants":[],"made":"t","key":"qp_hunter2"}}"#;
        let answer: CreatedTenantAnswer = serde_json::from_str(text).unwrap();
        assert!(!format!("{answer:?}").contains("hunter2"));
    }

    #[test]
    fn bodies_say_where_they_are_wrong() {
        assert_eq!(CreateTenant::from_json(br#"{"name":"a"}"#).unwrap().quotas, Quotas::default());
        for text in [r#"{"name":"a","quotas":{"connections":0}}"#, r#"{"name":"a","retention":1}"#, "[]", "{}"] {
            let problem = CreateTenant::from_json(text.as_bytes()).unwrap_err();
            assert!(problem.detail.starts_with("expected"), "{problem:?}");
        }
        assert!(SuspendTenant::from_json(b"{}").is_err());
        assert!(quotas_from_json(br#"{"eventspersecond":0}"#).is_err());
    }
}
