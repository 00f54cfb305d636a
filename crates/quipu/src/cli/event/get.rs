//! `quipu event get`: one event, its attributes one a line or as JSON.

use clap::Args;

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::Out;
use super::{Resolve, Which};

#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    resolve: Resolve,
}

pub fn run(get: Get, client: &Client, out: &mut Out) -> Outcome {
    let (path, mut query) = get.which.route("");
    query.extend(get.resolve.pair());
    let event = client.json(&path, &query)?;
    out.object(&event)?;
    Ok(Exit::Ok)
}
