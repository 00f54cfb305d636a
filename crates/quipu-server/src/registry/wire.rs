//! Bodies of the dialect: what is sent and what is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use quipu_engine::{NewSchema, SchemaInfo, SchemaReference, Tenant};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::page::Shown;
use super::refusal::{Number, Refused};
use super::subject::{Subject, VersionAsked};
use crate::{App, answer, body, media, publish};

/// What a body may be and an answer is, the best first.
pub(super) const MEDIA_V1: &str = "application/vnd.schemaregistry.v1+json";
pub(super) const MEDIA: [&str; 3] = [MEDIA_V1, "application/vnd.schemaregistry+json", quipu_api::MEDIA_JSON];
/// What a body may be too: clients that do not say what they send.
const MEDIA_GENERIC: &str = "application/octet-stream";
/// The one type of schema that is spoken here, and what a request that says none means.
pub(super) const JSON: &str = "JSON";
const TYPE_UNSAID: &str = "AVRO";

/// Most references of a schema, as the engine has it too.
const REFERENCES_MAX: usize = 64;
/// Longest body, bytes: a schema of 256 KiB that is escaped, and its references.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A schema that is to be registered, looked up or checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaBody {
    schema: Option<String>,
    schema_type: Option<String>,
    references: Option<Vec<ReferenceBody>>,
    version: Option<i64>,
    id: Option<i64>,
    metadata: Option<Value>,
    rule_set: Option<Value>,
}

/// What a schema calls another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ReferenceBody {
    name: String,
    subject: String,
    version: i64,
}

/// A version of a subject.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SchemaFound {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    schema_type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<ReferenceBody>,
    schema: String,
}

impl SchemaFound {
    /// One that is there, without what it is called.
    pub fn of(tenant: &Tenant, found: SchemaInfo) -> Result<Self, Refused> {
        let references = tenant.schema_references(&found.kind, found.version)?;
        let references = references.into_iter().map(ReferenceBody::from).collect();
        Ok(Self { subject: None, version: None, id: None, schema_type: JSON, references, schema: found.text })
    }

    /// One that is there, under a name of its type.
    pub fn named(tenant: &Tenant, name: String, found: SchemaInfo) -> Result<Self, Refused> {
        let (version, id) = (found.version, found.id);
        Ok(Self { subject: Some(name), version: Some(version), id: Some(id), ..Self::of(tenant, found)? })
    }
}

impl From<SchemaReference> for ReferenceBody {
    fn from(SchemaReference { name, kind, version }: SchemaReference) -> Self {
        Self { name, subject: Subject::of_reference(&kind), version: version.into() }
    }
}

impl SchemaBody {
    /// The schema that it says, as ours.
    pub fn schema(self, tenant: &Tenant) -> Result<NewSchema, Refused> {
        let invalid = |detail: String| Err(Refused::new(Number::InvalidSchema, detail));
        let kind = self.schema_type.as_deref().filter(|kind| !kind.is_empty()).unwrap_or(TYPE_UNSAID);
        if !kind.eq_ignore_ascii_case(JSON) {
            let kind: String = kind.chars().take(64).collect();
            return invalid(format!(
                "expected a schema with the schemaType {JSON}, found {kind}: only {JSON} is spoken here"
            ));
        }
        let Some(text) = self.schema else { return invalid("expected a schema, found none".to_owned()) };
        if is_said(self.rule_set.as_ref()) {
            let detail = "expected a schema without a ruleSet, found one: rules are not executed here";
            return Err(Refused::new(Number::InvalidRules, detail));
        }
        if is_said(self.metadata.as_ref()) {
            return invalid("expected a schema without metadata, found some: they would be lost here".to_owned());
        }
        if self.id.is_some_and(|id| id > 0) {
            let detail =
                "expected a schema without an id, found one: ids are given here, and the mode IMPORT is not spoken";
            return Err(Refused::new(Number::NotPermitted, detail));
        }
        let asked = self.references.unwrap_or_default();
        // Before any of them is looked for.
        if asked.len() > REFERENCES_MAX {
            return invalid(format!("expected at most {REFERENCES_MAX} references, found {}", asked.len()));
        }
        let mut references = BTreeMap::new();
        for reference in asked {
            let (name, whose) = reference.resolve(tenant)?;
            if references.insert(name.clone(), whose).is_some() {
                let name: String = name.chars().take(64).collect();
                return invalid(format!("expected references with different names, found two with the name {name}"));
            }
        }
        // 0 and -1 mean the next one.
        let version = self.version.and_then(|version| u32::try_from(version).ok()).filter(|version| *version > 0);
        Ok(NewSchema { version, text, references, ..NewSchema::default() })
    }
}

impl ReferenceBody {
    /// The name in the text, and the type with its version.
    fn resolve(self, tenant: &Tenant) -> Result<(String, String), Refused> {
        let Self { name, subject, version } = self;
        let found = VersionAsked::parse(&version.to_string()).and_then(|version| {
            let subject = Subject::parse(&subject)?;
            let entry = subject.version(tenant, version, Shown::All)?;
            Ok(format!("{}.v{}", entry.kind, entry.version))
        });
        // What it refers to is a part of the schema: that it is not there is a fault of the schema.
        Ok((name, found.map_err(|refused| refused.numbered(Number::InvalidSchema))?))
    }
}

/// Whether a member is more than an empty one.
pub(super) fn is_said(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Object(members)) => !members.values().all(|member| !is_said(Some(member))),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

/// Reads a body.
pub(super) async fn read<T: DeserializeOwned + Send + 'static>(
    app: &Arc<App>,
    request: Request,
    expected: &'static str,
) -> Result<T, Refused> {
    let (parts, body) = request.into_parts();
    if let Err(problem) = media::is_one_of(&parts.headers, &[MEDIA[0], MEDIA[1], MEDIA[2], MEDIA_GENERIC]) {
        body::linger(body);
        return Err(problem.into());
    }
    let whole = body::whole_within(app, &parts.headers, body, BODY_BYTES_MAX).await?;
    let (parsed, _held) = publish::parse(app, whole, move |_, bytes| body::object(bytes, expected)).await?;
    Ok(parsed)
}

/// What a schema is sent as.
pub(super) const SCHEMA_EXPECTED: &str = "an object with schema, schemaType and references";

/// An answer.
pub(super) fn json(body: &impl Serialize) -> Response {
    answer::json(serde_json::to_vec(body).expect("a wire type is JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_without_anything_in_it_says_nothing() {
        for (value, expected) in [
            (json!(null), false),
            (json!({}), false),
            (json!([]), false),
            (json!({"domainRules": null, "migrationRules": []}), false),
            (json!({"domainRules": [1]}), true),
            (json!("x"), true),
        ] {
            assert_eq!(is_said(Some(&value)), expected, "{value}");
        }
        assert!(!is_said(None));
    }
}
