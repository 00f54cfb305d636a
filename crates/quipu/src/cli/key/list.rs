//! `quipu key list`: every key of the tenant.

use quipu_api::key::{KeyAnswer, KeysAnswer};

use super::super::client::{Client, Query};
use super::super::exit::{Exit, Outcome};
use super::super::output::{Format, Out};
use super::granted;

const HEADER: [&str; 6] = ["ID", "NAME", "MAY", "USER", "EXPIRES", "USED"];

pub fn run(client: &Client, out: &mut Out) -> Outcome {
    let answer: KeysAnswer = client.parsed("/v1/keys", &Query::new())?;
    match out.format {
        Format::Json => out.document(&answer)?,
        Format::Ndjson => answer.keys.iter().try_for_each(|key| out.document(key))?,
        Format::Table => out.table(&HEADER, &answer.keys.iter().map(row).collect::<Vec<_>>())?,
    }
    Ok(Exit::Ok)
}

fn row(key: &KeyAnswer) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![key.id.clone(), key.name.clone(), granted(&key.grants), text(&key.user), text(&key.expires), text(&key.used)]
}
