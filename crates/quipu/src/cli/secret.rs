//! `quipu saga secret …` and `quipu subscription secret …`: what calls and webhooks are signed with. A secret is no argument, which
//! others on the machine can see: it is in a file, comes over standard input, or is made by the server and printed once.

use clap::{Args, Subcommand};
use quipu_api::secret::{RotateAnswer, SecretLine, SecretsAnswer};
use serde::Serialize;
use zeroize::Zeroizing;

use super::client::{Client, Query, encode};
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Out};
use super::subscription::definition::read;

const HEADER: [&str; 3] = ["SECRET", "CREATED", "SIGNS UNTIL"];

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// List the numbers and ages of secrets, never the secrets
    List(Owner),
    /// Sign with another secret, and for a day more with the one before as well
    Set(Set),
}

/// Whose they are.
#[derive(Debug, Args)]
pub struct Owner {
    /// Its name
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub struct Set {
    #[command(flatten)]
    of: Owner,
    /// The secret, `whsec_` and base64, in a file, - for standard input; without it the server makes one, which is printed this once
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
}

/// The body, which the API only reads.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

/// `route` is that of all that they may belong to.
pub fn run(command: SecretCommand, route: &str, client: &Client, out: &mut Out) -> Outcome {
    let path = |owner: &Owner| format!("{route}/{}/secrets", encode(&owner.name));
    match command {
        SecretCommand::List(of) => list(&path(&of), client, out),
        SecretCommand::Set(set) => replace(&set, &path(&set.of), client, out),
    }
}

fn list(path: &str, client: &Client, out: &mut Out) -> Outcome {
    let text = client.json(path, &Query::new())?;
    match out.format {
        Format::Table => show(&client.parse::<SecretsAnswer>(&text)?.secrets, out)?,
        Format::Json | Format::Ndjson => out.json(&text)?,
    }
    Ok(Exit::Ok)
}

fn replace(set: &Set, path: &str, client: &Client, out: &mut Out) -> Outcome {
    let given = set.secret_file.as_deref().map(|file| read(file).map(Zeroizing::new)).transpose()?;
    let secret = given.as_ref().map(|text| text.trim_end_matches(['\r', '\n']));
    if secret.is_some_and(str::is_empty) {
        return Err(Failure::usage("--secret-file: expected a secret, found nothing"));
    }
    let text = Zeroizing::new(client.send(path, &Body { secret })?);
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let answer: RotateAnswer = client.parse(&text)?;
    show(&answer.secrets, out)?;
    if let Some(secret) = &answer.secret {
        out.line(&format!("{} signs with {secret}, which is not shown again", answer.name))?;
    }
    Ok(Exit::Ok)
}

fn show(secrets: &[SecretLine], out: &mut Out) -> Result<(), Failure> {
    let row = |one: &SecretLine| vec![one.id.to_string(), one.created.clone(), one.until.clone().unwrap_or_default()];
    out.table(&HEADER, &secrets.iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}
