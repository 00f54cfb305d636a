//! `quipu catalog declare`: replaces what was declared of a type.

use clap::Args;
use quipu_api::catalog::DeclarationBody;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Named;

#[derive(Debug, Args)]
pub struct Declare {
    #[command(flatten)]
    which: Named,
    /// A source of events that is meant to publish it; may be repeated
    #[arg(long = "publisher", value_name = "SOURCE")]
    publishers: Vec<String>,
    /// Who is meant to read it; may be repeated
    #[arg(long = "consumer", value_name = "NAME")]
    consumers: Vec<String>,
    /// Who answers for it
    #[arg(long)]
    owner: Option<String>,
    /// What people should know of it
    #[arg(long)]
    description: Option<String>,
    /// The address of the channel that it goes over in other systems
    #[arg(long, value_name = "ADDRESS")]
    channel: Option<String>,
}

pub fn run(declare: Declare, client: &Client, out: &mut Out) -> Outcome {
    let Declare { which, publishers, consumers, owner, description, channel } = declare;
    let (publishers, consumers) = (publishers.into_iter().collect(), consumers.into_iter().collect());
    let body = DeclarationBody { publishers, consumers, owner, description, channel };
    let text = client.put(&which.path(), &body)?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{} was declared", which.kind))?,
    }
    Ok(Exit::Ok)
}
