//! `quipu key create`: one grant from flags, or several from a file.

use clap::Args;
use quipu_api::MEDIA_JSON;
use quipu_api::key::KeyAnswer;
use quipu_domain::access::Fingerprint;
use quipu_domain::{Grant, Permission};
use quipu_engine::{NewKey, NotDone};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::super::Global;
use super::super::client::document;
use super::super::duration::milliseconds;
use super::super::event::client;
use super::super::exit::{Failure, Outcome};
use super::super::folder::local_act;
use super::super::output::Out;
use super::super::subscription::definition::read;
use super::{Folder, shown};

#[derive(Debug, Args)]
pub struct Create {
    /// What people call it
    name: String,
    /// What it may do; may be repeated: publish, read, consume, manage, redrive, edit, replay, observe, administer, audit; and operate in the tenant system
    #[arg(long = "may", value_name = "PERMISSION", value_parser = permission, required_unless_present = "grants")]
    may: Vec<Permission>,
    /// Only events of this type as it is written, with publish and read; `order.*` for all that begin alike; may be repeated
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "pattern")]
    types: Vec<String>,
    /// Only events of this source, with publish and read; may be repeated
    #[arg(long = "source", value_name = "SOURCE", conflicts_with = "pattern")]
    sources: Vec<String>,
    /// Only events that this EventBridge pattern matches, with publish and read
    #[arg(long, value_name = "JSON", value_parser = json_text)]
    pattern: Option<Box<RawValue>>,
    /// Only this subscription, with consume, manage, observe, redrive and edit; `mail.*` for all that begin alike; may be repeated
    #[arg(long = "subscription", value_name = "NAME")]
    subscriptions: Vec<String>,
    /// Several grants as a JSON array, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["may", "types", "sources", "pattern", "subscriptions"])]
    grants: Option<String>,
    /// Only events of this userid, with publish and read
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Only on connections that show the certificate of this SHA-256: openssl x509 -in FILE -noout -fingerprint -sha256
    #[arg(long, value_name = "SHA256")]
    certificate: Option<Fingerprint>,
    /// How long it is good, such as 90d; until it is revoked without it
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    life: Option<u64>,
    #[command(flatten)]
    folder: Folder,
}

pub fn run(create: Create, global: &Global, out: &mut Out) -> Outcome {
    let grants = match &create.grants {
        Some(path) => from_file(path)?,
        None => vec![create.grant()?],
    };
    let Create { name, user, certificate, life, folder, .. } = create;
    if let Some((quipu, tenant)) = folder.open()? {
        let tenant_of = quipu.engine().tenant(tenant)?;
        let made = tenant_of.audited(local_act(&tenant_of, "key.create", "keys"), |tenant, act| {
            let made = tenant.create_key(NewKey { name, grants, user, certificate, life_ms: life })?;
            act.subject = format!("keys/{}", made.0.id);
            act.details = serde_json::to_value(quipu_server::key_answer(made.0.clone())).unwrap_or_default();
            Ok::<_, NotDone>(made)
        });
        let (info, secret) = made.map_err(quipu::Error::from)?;
        let key = Some(secret.token(tenant, &info.id).to_string());
        let answer = KeyAnswer { key, ..quipu_server::key_answer(info) };
        quipu.close()?;
        let text = serde_json::to_string(&answer).map_err(|error| Failure::failed(error.to_string()))?;
        return shown(&answer, &text, out);
    }
    let client = client(global)?;
    let body = json!({ "name": name, "grants": grants, "user": user, "certificate": certificate, "lifems": life });
    let text = client.read(client.post("/v1/keys", MEDIA_JSON, &document(&body)?)?)?;
    shown(&client.parse(&text)?, &text, out)
}

impl Create {
    fn grant(&self) -> Result<Grant, Failure> {
        let failed = |error: serde_json::Error| Failure::failed(error.to_string());
        let mut members = serde_json::Map::new();
        if !self.types.is_empty() {
            members.insert("type".into(), self.types.iter().map(|text| matcher(text)).collect());
        }
        if !self.sources.is_empty() {
            members.insert("source".into(), self.sources.iter().map(|text| json!(text)).collect());
        }
        let made = (!members.is_empty()).then(|| to_raw_value(&members)).transpose().map_err(failed)?;
        let subscriptions = Some(self.subscriptions.clone()).filter(|names| !names.is_empty());
        let permissions = self.may.iter().copied().collect();
        Ok(Grant { permissions, pattern: self.pattern.clone().or(made), subscriptions })
    }
}

/// `order.*` as a prefix, anything else as it is.
fn matcher(text: &str) -> Value {
    match text.strip_suffix('*') {
        Some(prefix) => json!({ "prefix": prefix }),
        None => json!(text),
    }
}

fn from_file(path: &str) -> Result<Vec<Grant>, Failure> {
    serde_json::from_str(&read(path)?)
        .map_err(|error| Failure::failed(format!("{path}: expected grants, found {error}")))
}

fn permission(text: &str) -> Result<Permission, String> {
    Permission::parse(text).ok_or_else(|| {
        let all: Vec<_> = Permission::ALL.iter().map(|one| one.as_str()).collect();
        format!("expected one of {}", all.join(", "))
    })
}

fn json_text(text: &str) -> Result<Box<RawValue>, String> {
    serde_json::from_str(text).map_err(|error| format!("expected JSON, found {error}"))
}
