//! `quipu event get`: one event, its attributes one a line or as JSON.

use super::super::client::Client;
use super::super::exit::{Exit, Outcome};
use super::super::output::Out;
use super::Which;

pub fn run(which: Which, client: &Client, out: &mut Out) -> Outcome {
    let (path, query) = which.route("");
    let event = client.json(&path, &query)?;
    out.object(&event)?;
    Ok(Exit::Ok)
}
