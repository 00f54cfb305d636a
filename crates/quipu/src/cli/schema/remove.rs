//! `quipu schema remove`: the server refuses it while anything uses the version, so nobody is asked here.

use quipu_api::schema::RemovedSchemaAnswer;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::Numbered;

pub fn run(which: &Numbered, client: &Client, out: &mut Out) -> Outcome {
    let text = client.delete(&which.path(""))?;
    match out.format {
        Format::Json | Format::Ndjson => out.json(&text)?,
        Format::Table => out.line(&format!("{} was removed", client.parse::<RemovedSchemaAnswer>(&text)?.removed))?,
    }
    Ok(Exit::Ok)
}
