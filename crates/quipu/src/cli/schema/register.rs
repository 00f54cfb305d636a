//! `quipu schema register`: a file becomes a version.

use clap::Args;
use quipu_api::schema::RegisteredAnswer;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out, escape};
use super::proposal::Proposal;

#[derive(Debug, Args)]
pub struct Register {
    #[command(flatten)]
    proposal: Proposal,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// What people should know of it
    #[arg(long)]
    description: Option<String>,
}

pub fn run(register: Register, client: &Client, out: &mut Out) -> Outcome {
    let Register { proposal, owner, description } = register;
    let mut body = proposal.read()?.body;
    (body.owner, body.description) = (owner, description);
    let text = client.send(&proposal.which.path(""), &body)?;
    if out.format != Format::Table {
        out.json(&text)?;
        return Ok(Exit::Ok);
    }
    let RegisteredAnswer { schema, known, compatibility } = client.parse(&text)?;
    let what = if known { "was there with this schema" } else { "was registered" };
    out.line(&format!("{}.v{} {what}; its number is {}", schema.kind, schema.version, schema.id))?;
    out.flush()?;
    for reason in compatibility.reasons {
        eprintln!("the rules could not tell, and no stored event breaks it: {}", escape(&reason));
    }
    Ok(Exit::Ok)
}
