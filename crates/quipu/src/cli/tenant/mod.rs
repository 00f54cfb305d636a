//! `quipu tenant …`: which tenants a server has, and what they may use. For operators: whoever has a key of the tenant `system`
//! with the permission operate, or needs no key.

mod export;
mod quota;

use clap::{Args, Subcommand};
use quipu_api::tenant::{CreatedTenantAnswer, DeletedTenantAnswer, TenantAnswer, TenantsAnswer};
use serde_json::json;

use super::Global;
use super::client::{Client, Query, encode};
use super::confirm::Confirm;
use super::count::counted;
use super::event::client;
use super::exit::{Exit, Outcome};
use super::output::{Format, Out};
use quota::Flags;

const HEADER: [&str; 5] = ["NAME", "STATE", "SINCE", "QUOTAS", "REASON"];

#[derive(Debug, Subcommand)]
pub enum TenantCommand {
    /// Make a tenant; the text of its first key is printed this once
    Create(Create),
    /// List tenants, their states and quotas
    List,
    /// Show a tenant: its state, its quotas, and what it uses
    Show(Named),
    /// Let nobody into a tenant; its data stays
    Suspend(Suspend),
    /// Let everybody in again who has a key
    Resume(Named),
    /// Change quotas of a tenant; those that are not named stay
    Quota(Quota),
    /// Write all events of a tenant as JSON lines, for `quipu store import`
    Export(export::Export),
    /// Delete a suspended tenant with everything of it; asks first
    Delete(Delete),
}

/// Which tenant.
#[derive(Debug, Args)]
pub struct Named {
    /// The name of the tenant
    tenant: String,
}

#[derive(Debug, Args)]
pub struct Create {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    quotas: Flags,
}

#[derive(Debug, Args)]
pub struct Suspend {
    #[command(flatten)]
    which: Named,
    /// Why; operators see it, the tenant does not
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Args)]
pub struct Quota {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    quotas: Flags,
}

#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    which: Named,
    #[command(flatten)]
    confirm: Confirm,
}

impl Named {
    /// Its route; `tail` is "" or begins with a slash.
    fn path(&self, tail: &str) -> String {
        format!("/v1/tenants/{}{tail}", encode(&self.tenant))
    }
}

pub fn run(command: TenantCommand, global: &Global, out: &mut Out) -> Outcome {
    let client = client(global)?;
    match command {
        TenantCommand::Create(create) => run_create(&create, &client, out),
        TenantCommand::List => list(&client, out),
        TenantCommand::Show(which) => {
            out.object(&client.json(&which.path(""), &Query::new())?)?;
            Ok(Exit::Ok)
        }
        TenantCommand::Suspend(Suspend { which, reason }) => {
            let text = client.send(&which.path("/suspend"), &json!({ "reason": reason }))?;
            changed(&text, &client, out)
        }
        TenantCommand::Resume(which) => changed(&client.act(&which.path("/resume"))?, &client, out),
        TenantCommand::Quota(Quota { which, quotas }) => {
            let before: TenantAnswer = client.parsed(&which.path(""), &Query::new())?;
            let text = client.put(&which.path("/quotas"), &quotas.over(before.quotas))?;
            changed(&text, &client, out)
        }
        TenantCommand::Export(export) => export::run(&export, &client, out),
        TenantCommand::Delete(delete) => run_delete(&delete, &client, out),
    }
}

fn run_create(create: &Create, client: &Client, out: &mut Out) -> Outcome {
    let quotas = create.quotas.over(quipu_domain::Quotas::default());
    let text = client.send("/v1/tenants", &json!({ "name": create.which.tenant, "quotas": quotas }))?;
    let made: CreatedTenantAnswer = client.parse(&text)?;
    match (out.format, &made.key.key) {
        // The text of the key is all that goes to standard output, so that a script can take it.
        (Format::Table, Some(token)) => {
            let (name, key) = (&made.tenant.name, &made.key.id);
            eprintln!("the tenant {name} was made; its first key {key} may administer it, its text is not shown again");
            out.line(token)?;
        }
        _ => out.json(&text)?,
    }
    Ok(Exit::Ok)
}

fn list(client: &Client, out: &mut Out) -> Outcome {
    let answer: TenantsAnswer = client.parsed("/v1/tenants", &Query::new())?;
    match out.format {
        Format::Json => out.document(&answer)?,
        Format::Ndjson => answer.tenants.iter().try_for_each(|tenant| out.document(tenant))?,
        Format::Table => out.table(&HEADER, &answer.tenants.iter().map(row).collect::<Vec<_>>())?,
    }
    Ok(Exit::Ok)
}

fn row(tenant: &TenantAnswer) -> Vec<String> {
    let TenantAnswer { name, state, since, quotas, reason, .. } = tenant.clone();
    vec![name, state, since, quota::shown(quotas), reason.unwrap_or_default()]
}

/// The tenant as it is now.
fn changed(text: &str, client: &Client, out: &mut Out) -> Outcome {
    match out.format {
        Format::Json | Format::Ndjson => out.json(text)?,
        Format::Table => {
            let tenant: TenantAnswer = client.parse(text)?;
            out.line(&format!("{} is {}; quotas: {}", tenant.name, tenant.state, quota::shown(tenant.quotas)))?;
        }
    }
    Ok(Exit::Ok)
}

fn run_delete(delete: &Delete, client: &Client, out: &mut Out) -> Outcome {
    let path = delete.which.path("");
    let there: TenantAnswer = client.parsed(&path, &Query::new())?;
    if let Some(usage) = there.usage {
        eprintln!(
            "{}: {}, {} and {} go with it, for good",
            there.name,
            counted(usage.position, "event"),
            counted(usage.subscriptions, "subscription"),
            counted(usage.keys, "key")
        );
    }
    delete.confirm.ask(&format!("delete {}", there.name))?;
    let text = client.delete(&format!("{path}?confirm={}", encode(&there.name)))?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{} was deleted", client.parse::<DeletedTenantAnswer>(&text)?.deleted))?,
    }
    Ok(Exit::Ok)
}
