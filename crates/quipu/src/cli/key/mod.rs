//! `quipu key …`: who may call the server, and what each may do.

mod create;
mod list;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use quipu::Quipu;
use quipu_api::key::{AccessAnswer, KEEP_MS_DEFAULT, KeyAnswer, RevokedAnswer};
use quipu_domain::{Grant, Permission};
use serde_json::json;

use super::Global;
use super::client::{Client, Query, encode};
use super::config::Settings;
use super::confirm::Confirm;
use super::duration::milliseconds;
use super::event::client;
use super::exit::{Exit, Failure, Outcome};
use super::folder::{TENANT_DEFAULT, open};
use super::output::{Format, Out};

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its text is printed this once
    Create(Box<create::Create>),
    /// List keys, what they may do, and when each was used last
    List,
    /// Show a key
    Show(Id),
    /// Give a key another secret; the one before is good for a day more
    Rotate(Rotate),
    /// Make a key good for nothing
    Revoke(Revoke),
    /// Show what the key that this command uses may do
    Access,
}

/// Which key.
#[derive(Debug, Args)]
pub struct Id {
    /// Its id
    id: String,
}

#[derive(Debug, Args)]
pub struct Rotate {
    #[command(flatten)]
    which: Id,
    /// How long the secret before is good: 0s if somebody else knows it
    #[arg(long, value_name = "DURATION", value_parser = milliseconds)]
    keep: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Revoke {
    #[command(flatten)]
    which: Id,
    #[command(flatten)]
    confirm: Confirm,
}

/// A data folder that no server uses, for the first key of a server that takes nobody without one.
#[derive(Debug, Args)]
pub struct Folder {
    /// A data folder that no server uses, made if it does not exist; without it the server is asked
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A tenant of the folder
    #[arg(long, default_value = TENANT_DEFAULT, requires = "data")]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

impl Folder {
    /// The tenant of the folder and its name, if one is named.
    fn open(&self) -> Result<Option<(Quipu, &str)>, Failure> {
        match &self.data {
            None => self.settings.refuse().map(|()| None),
            Some(folder) => {
                let is_new = !folder.join("tenants").join(&self.tenant).join("log").exists();
                let opened = open(folder, &self.tenant, &self.settings)?;
                if is_new {
                    eprintln!("the tenant {} was made in {}", self.tenant, folder.display());
                }
                Ok(Some((opened, &self.tenant)))
            }
        }
    }
}

impl Id {
    fn path(&self, tail: &str) -> String {
        format!("/v1/keys/{}{tail}", encode(&self.id))
    }
}

pub fn run(command: KeyCommand, global: &Global, out: &mut Out) -> Outcome {
    match command {
        KeyCommand::Create(create) => create::run(*create, global, out),
        KeyCommand::List => list::run(&client(global)?, out),
        KeyCommand::Show(id) => show(&id, &client(global)?, out),
        KeyCommand::Rotate(rotate) => run_rotate(&rotate, &client(global)?, out),
        KeyCommand::Revoke(revoke) => run_revoke(&revoke, &client(global)?, out),
        KeyCommand::Access => access(&client(global)?, out),
    }
}

fn show(id: &Id, client: &Client, out: &mut Out) -> Outcome {
    out.object(&client.json(&id.path(""), &Query::new())?)?;
    Ok(Exit::Ok)
}

fn run_rotate(rotate: &Rotate, client: &Client, out: &mut Out) -> Outcome {
    let body = json!({ "keepms": rotate.keep.unwrap_or(KEEP_MS_DEFAULT) });
    let text = client.send(&rotate.which.path("/rotate"), &body)?;
    let key: KeyAnswer = client.parse(&text)?;
    if let Some(until) = &key.rotating_until {
        eprintln!("the secret before is good until {until}");
    }
    shown(&key, &text, out)
}

/// The text of a key is all that goes to standard output, so that a script can take it.
fn shown(key: &KeyAnswer, text: &str, out: &mut Out) -> Outcome {
    match (out.format, &key.key) {
        (Format::Table, Some(token)) => {
            eprintln!("key {} ({}): {}; its text is not shown again", key.id, key.name, granted(&key.grants));
            out.line(token)?;
        }
        _ => out.json(text)?,
    }
    Ok(Exit::Ok)
}

fn run_revoke(revoke: &Revoke, client: &Client, out: &mut Out) -> Outcome {
    let path = revoke.which.path("");
    let key: KeyAnswer = client.parsed(&path, &Query::new())?;
    let used = key.used.map_or("was never used".to_owned(), |time| format!("was used last at {time}"));
    eprintln!("{}: {}; it {used}", key.name, granted(&key.grants));
    revoke.confirm.ask(&format!("revoke {}", key.name))?;
    let text = client.delete(&path)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{} was revoked", client.parse::<RevokedAnswer>(&text)?.revoked))?,
    }
    Ok(Exit::Ok)
}

fn access(client: &Client, out: &mut Out) -> Outcome {
    let text = client.json("/v1/access", &Query::new())?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let answer: AccessAnswer = client.parse(&text)?;
    let (credential, who) = match &answer {
        AccessAnswer { id: Some(id), name: Some(name), .. } => ("key", format!("{name} ({id})")),
        AccessAnswer { issuer: Some(issuer), subject: Some(subject), .. } => {
            ("token", format!("{subject} of {issuer}"))
        }
        _ => ("key", "nobody in particular: the server takes requests without a key".to_owned()),
    };
    let may = if answer.grants.is_empty() { "nothing".to_owned() } else { granted(&answer.grants) };
    let mut pairs = vec![("tenant", answer.tenant), (credential, who), ("may", may)];
    pairs.extend(answer.expires.map(|expires| ("until", expires)));
    pairs.extend(answer.user.map(|user| ("only the events of", user)));
    out.pairs(&pairs)?;
    Ok(Exit::Ok)
}

/// Grants in one line.
fn granted(grants: &[Grant]) -> String {
    let one = |grant: &Grant| {
        let words: Vec<_> = grant.permissions.iter().map(|one: &Permission| one.as_str()).collect();
        let pattern = grant.pattern.as_ref().map(|pattern| format!(" {}", pattern.get())).unwrap_or_default();
        let names = grant.subscriptions.as_ref().map(|names| format!(" of {}", names.join(", "))).unwrap_or_default();
        format!("{}{pattern}{names}", words.join(", "))
    };
    grants.iter().map(one).collect::<Vec<_>>().join("; ")
}
